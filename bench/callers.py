# SPDX-License-Identifier: Apache-2.0
"""A load of many callers: every request has another token and another path, which h2load cannot send.

- The requests are bytes made beforehand, sent in turn and again from the first; connections stay open for a round.
- Exactly as many as asked for are answered, and each answer is checked whole: a wrong one spoils the round.
- It runs in this process, bound to the driver's core for the time of a round.
"""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

from bench.harness import Answered, BenchError
from bench.processes import LOOPBACK, pinned
from proxy.clock import elapsed_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

CONNECTIONS: Final = 32
HOST: Final = "users.internal"
SILENCE_SECONDS: Final = 20.0
READ_BYTES: Final = 1 << 16


@dataclass(slots=True)
class Line:
    """One connection, and what has come of the answer that it waits for."""

    connection: socket.socket
    held: bytes = b""


@dataclass(frozen=True, slots=True)
class Callers:
    """The requests of many callers, sent in turn; a round goes on where the last one ended."""

    heads: Sequence[bytes]
    status: int
    answer: bytes
    """The body that every answer ends with."""
    core: int
    connections: int = CONNECTIONS
    _turn: Iterator[bytes] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_turn", cycle(self.heads))

    def drive(self, port: int, requests: int) -> Answered:
        """Send so many requests, as fast as the answers come.

        Raises:
            BenchError: If an answer is not as it should be, or none comes.
        """
        with pinned(self.core), ExitStack() as stack:
            lines = dict(stack.enter_context(connected(port)) for _ in range(min(self.connections, requests)))
            started = elapsed_seconds()
            self._exchange(lines, islice(self._turn, requests), requests)
            return Answered(requests, elapsed_seconds() - started)

    def _exchange(self, lines: Mapping[int, Line], heads: Iterator[bytes], unanswered: int) -> None:
        with select.epoll() as poll:
            for number, line in lines.items():
                poll.register(number, select.EPOLLIN)
                line.connection.sendall(next(heads))
            while unanswered:
                ready = poll.poll(SILENCE_SECONDS)
                if not ready:
                    held = next((line.held for line in lines.values() if line.held), b"nothing")
                    raise BenchError(f"no whole answer in {SILENCE_SECONDS:g} s; what came is {held[:300]!r}")
                for number, _ in ready:
                    unanswered -= self._is_answered(lines[number], heads)

    def _is_answered(self, line: Line, heads: Iterator[bytes]) -> bool:
        """Take what has come; once that is a whole answer, send the next request."""
        came = line.connection.recv(READ_BYTES)
        line.held += came
        if not came or not line.held.startswith(b"HTTP/1.1 %d " % self.status):
            raise BenchError(f"an answer is not {self.status}: {line.held[:300]!r}")
        if not line.held.endswith(self.answer):
            return False
        line.held = b""
        head = next(heads, None)
        if head is not None:
            line.connection.sendall(head)
        return True


@contextmanager
def connected(port: int) -> Iterator[tuple[int, Line]]:
    """Connect, and close at the end."""
    with socket.create_connection((LOOPBACK, port), timeout=SILENCE_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection.fileno(), Line(connection)


def render_head(path: str, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of one GET."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in {"Host": HOST, **headers}.items())
    return f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode()


def round_of(callers: Callers, port: int, seconds: float) -> Callable[[], Answered]:
    """Warm a gateway up; return what sends a round of about so many seconds."""
    # Every token once: what a gateway keeps of verified ones, it has from here on.
    seen = callers.drive(port, len(callers.heads))
    requests = max(callers.connections, round(seen.requests / seen.seconds * seconds))
    return partial(callers.drive, port, requests)
