# SPDX-License-Identifier: Apache-2.0
"""Any order of events between callers and an API that may do anything: nobody ever hears of another's answer.

The API's bytes go through real sockets, so that the kernel says whether a connection is quiet; what the loop would do
is done by the machine, in whatever order and in whatever pieces.
"""

import asyncio
import contextlib
import re
import socket
from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.clock import elapsed_seconds
from proxy.gateway.options import GatewayOptions
from proxy.gateway.ticker import Ticker
from proxy.gateway.upstream.connection import UpstreamConnection
from proxy.gateway.upstream.exchange import UpstreamRequest
from proxy.gateway.upstream.handle import UpstreamHandle
from proxy.gateway.upstream.pool import Pool
from proxy.gateway.upstream.tls import TlsFiles, UpstreamTls
from proxy.telemetry import Metrics
from tests.support.upstream import Heard

_HEAD: Final = b"HTTP/1.1 200 OK\r\n"
ANSWERS: Final[dict[str, tuple[bytes, bool]]] = {
    # what: the answer, with @ for who asked; whether it is whole
    "length": (_HEAD + b"Content-Length: 3\r\n\r\n@@@", True),
    "chunks": (_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n@\r\n2\r\n@@\r\n0\r\n\r\n", True),
    "nothing": (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\n" + _HEAD + b"Content-Length: 1\r\n\r\n@", True),
    "closing": (_HEAD + b"Connection: close\r\nContent-Length: 1\r\n\r\n@", True),
    "too long": (_HEAD + b"Content-Length: 1\r\n\r\n@@@", True),
    "two answers": (_HEAD + b"Content-Length: 1\r\n\r\n@" + _HEAD + b"Content-Length: 1\r\n\r\n@", True),
    "too short": (_HEAD + b"Content-Length: 9\r\n\r\n@@@", False),
    "to the end": (_HEAD + b"\r\n@@@", False),
    "bad chunk": (_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n@\r\nx\r\n", False),
    "garbage": (b"@@@@\r\n\r\n", False),
    "silence": (b"", False),
}  # fmt: skip


class Line:
    """A transport whose other end the machine holds."""

    def __init__(self, answers: dict[int, str]) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)  # noqa: FBT003
        self.answers = answers
        self.connection: UpstreamConnection
        self.is_paused = self.is_closed = self.is_lost = False
        self.asked: list[int] = []

    def write(self, data: bytes) -> None:
        """Take a head, and have the API answer it."""
        assert not self.is_closed
        (place,) = map(int, re.findall(rb"GET /(\d+) HTTP/1.1", data))
        self.asked.append(place)
        with contextlib.suppress(OSError):
            self.theirs.send(ANSWERS[self.answers[place]][0].replace(b"@", b"%d" % (place % 10)))

    def deliver(self, size: int) -> None:
        """Do what the loop does when there is something to read."""
        if self.is_closed or self.is_paused:
            return
        try:
            data = self.ours.recv(size)
        except BlockingIOError:
            return
        if data:
            self.connection.data_received(data)
        else:
            self.connection.eof_received()
            self.abort()

    def lose(self) -> None:
        """Do what the loop does once a transport is closed."""
        if self.is_closed and not self.is_lost:
            self.is_lost = True
            self.connection.connection_lost(None)
            self.ours.close()
            self.theirs.close()

    def abort(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def get_extra_info(self, name: str) -> Any:
        return self.ours if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        pass


class ByHand(Pool):
    """A pool whose connections the machine makes."""

    def _dial_more(self, now: float) -> None:
        pass


class Passages(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.options = GatewayOptions(upstream_connections=3)
        self.pool = ByHand(
            "users",
            "http://x",
            UpstreamTls("users", TlsFiles()),
            options=self.options,
            metrics=Metrics(),
            ticker=Ticker(),
        )
        self.heard: list[Heard] = []
        self.cancelled: set[int] = set()
        self.answers: dict[int, str] = {}
        self.lines: list[Line] = []

    def teardown(self) -> None:
        for line in self.lines:
            line.abort()
            line.lose()
        self.loop.close()

    def _begin(self, answer: str, *, goes_on: bool = False) -> None:
        place = len(self.heard)
        self.answers[place] = answer

        def during(name: str, heard: Heard) -> None:
            if goes_on and name in {"answered", "ended", "failed"} and len(self.heard) < 30:
                self._begin("length")

        heard = Heard(during=during)
        self.heard.append(heard)
        heard.handle = UpstreamHandle(
            UpstreamRequest("GET", f"/{place}", b"", None, is_chunked=False), heard, self.pool
        )
        self.pool.submit(heard.handle)

    @rule(answer=st.sampled_from([*ANSWERS, "length", "length", "chunks", "chunks"]), goes_on=st.booleans())
    def ask(self, *, answer: str, goes_on: bool) -> None:
        self._begin(answer, goes_on=goes_on)

    @rule()
    def connect(self) -> None:
        if self.pool.waiting and len(self.pool.open) < self.options.upstream_connections:
            line = Line(self.answers)
            self.lines.append(line)
            line.connection = UpstreamConnection(self.pool, self.options)
            line.connection.connection_made(line)  # type: ignore[arg-type]

    @rule()
    def serve(self) -> None:
        """Connect who waits, and deliver all there is."""
        for _ in range(3):
            self.connect()
            for line in self.lines:
                line.deliver(4096)

    @rule(size=st.sampled_from([1, 5, 20, 45, 4096]), which=st.integers(0, 2))
    def deliver(self, size: int, which: int) -> None:
        open_lines = [line for line in self.lines if not line.is_closed]
        if open_lines:
            open_lines[which % len(open_lines)].deliver(size)

    @rule()
    def lose(self) -> None:
        for line in self.lines:
            line.lose()

    @rule(which=st.integers(0, 2))
    def speak_unasked(self, which: int) -> None:
        idle = [line for line in self.lines if line.connection in self.pool.idle and not line.is_closed]
        if idle:
            with contextlib.suppress(OSError):
                idle[which % len(idle)].theirs.send(_HEAD + b"Content-Length: 1\r\n\r\n?")

    @rule(which=st.integers(0, 2))
    def close(self, which: int) -> None:
        open_lines = [line for line in self.lines if not line.is_closed]
        if open_lines:
            with contextlib.suppress(OSError):
                open_lines[which % len(open_lines)].theirs.shutdown(socket.SHUT_WR)

    @rule(which=st.integers(0, 29), what=st.sampled_from(["pause", "resume", "cancel"]))
    def handle(self, which: int, what: str) -> None:
        if self.heard:
            place = which % len(self.heard)
            heard = self.heard[place]
            if what == "cancel" and not heard.over.is_set():
                self.cancelled.add(place)
                heard.over.set()
            getattr(heard.handle, what)()

    @rule(later=st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 10.0, 100.0]))
    def wait(self, later: float) -> None:
        self.pool.check(elapsed_seconds() + later)

    @invariant()
    def nobody_hears_of_anothers_answer(self) -> None:
        for place, heard in enumerate(self.heard):
            told = heard.body
            assert set(told) <= {ord(str(place % 10))}, (place, told)

    @invariant()
    def only_what_is_whole_is_said_to_be(self) -> None:
        for place, heard in enumerate(self.heard):
            if heard.is_whole and place not in self.cancelled:
                assert ANSWERS[self.answers[place]][1] or self.answers[place] == "to the end"

    @invariant()
    def nothing_is_asked_twice(self) -> None:
        asked = [place for line in self.lines for place in line.asked]
        assert len(asked) == len(set(asked))

    @invariant()
    def connections_are_idle_or_somebodys(self) -> None:
        for line in self.lines:
            if line.connection in self.pool.idle:
                assert line.connection._handle is None
        assert set(self.pool.idle) <= self.pool.open


TestPassages = Passages.TestCase
TestPassages.settings = settings(
    max_examples=120,
    stateful_step_count=50,
)
