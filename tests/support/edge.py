# SPDX-License-Identifier: Apache-2.0
"""A gateway as a process of its own, and both its ends as bytes: what a caller sends and hears, what the API gets.

The event loop runs only while a test plays, so that tests and hypothesis are plain functions, and one gateway serves
a whole module.
"""

import asyncio
import contextlib
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from proxy.demo.issuer import make_issuer_app
from tests.support.command import Command, run_command, write_policies
from tests.support.ledger import read_records
from tests.support.raw_http import STREAM_LIMIT, MalformedError, Message, read_answer, read_request
from tests.support.world import ENGINEER, ISSUERS, STAFF, SUPPORT, serve_app, token

HOST: Final = "users.internal"
CLIENT: Final = "10.20.3.7"
RESET: Final = b"<reset>"
CLOSE_SECONDS: Final = 8.0
"""How soon a connection that is not used again must be closed; nothing is sent meanwhile."""
USER: Final = "/v1/jp/users/42"
PHONE: Final = f"{USER}/phone"
FENCE: Final = "/v1/jp/users/999999999999"
"""What is asked last, over a connection of its own: whatever went to the API before has reached it by then."""

# Fields of a request from the office, of nobody and of somebody.
NOBODY_S: Final = (f"Host: {HOST}", f"X-Forwarded-For: {CLIENT}")
STAFF_S: Final = (*NOBODY_S, "Authorization: Bearer <staff>")
SUPPORT_S: Final = (*NOBODY_S, "Authorization: Bearer <support>")
_CALLERS: Final[Mapping[bytes, dict[str, Any]]] = {b"<staff>": STAFF, b"<support>": SUPPORT, b"<engineer>": ENGINEER}


def lines(*parts: str | bytes) -> bytes:
    """Write lines, each with its CRLF; the head of a message ends with an empty one."""
    return b"".join((part if isinstance(part, bytes) else part.encode()) + b"\r\n" for part in parts)


def get(target: str | bytes = USER, *fields: str | bytes) -> bytes:
    """Write a GET of somebody who may; a target as bytes goes out as it is."""
    raw = target if isinstance(target, bytes) else target.encode()
    return lines(b"GET %s HTTP/1.1" % raw, *STAFF_S, *fields, b"")


def put(*fields: str | bytes, body: bytes = b"", start: str = f"PUT {PHONE} HTTP/1.1") -> bytes:
    """Write an update of somebody who may; its body goes out as it is."""
    return lines(start, *SUPPORT_S, *fields, b"") + body


def chunked(body: bytes, *fields: str | bytes) -> bytes:
    """Write an update in chunks; they go out as they are."""
    return put("Transfer-Encoding: chunked", *fields, body=body)


class Heard(msgspec.Struct, frozen=True):
    """What came back over one connection."""

    answers: tuple[Message, ...]
    """Whole ones, without interim ones."""
    interim: tuple[Message, ...]
    is_closed: bool
    """Whether the gateway has closed it."""
    is_cut: bool
    """Whether it did so within an answer."""

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]


class RecordingApi:
    """An API that keeps each byte that reaches it, and answers with what was asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, Message]] = []
        """Each whole request, with the number of its connection."""
        self.malformed: list[str] = []
        self.answers: dict[str, bytes] = {}
        """Target to what is written in place of an answer of our own; the connection stays open."""
        self._connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection."""
        self._connections += 1
        number = self._connections
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            try:
                while True:
                    request = await read_request(reader)
                    self.seen.append((number, request))
                    writer.write(self.answers.get(request.target) or _echo(request))
                    await writer.drain()
            except (MalformedError, asyncio.LimitOverrunError) as error:
                self.malformed.append(str(error))
        writer.close()

    @property
    def requests(self) -> list[Message]:
        """What was asked, but for fences."""
        return [request for _, request in self.seen if request.target != FENCE]


def _echo(request: Message) -> bytes:
    body = b"" if request.method == "HEAD" else b" ".join(request.start)
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(b" ".join(request.start)) + body


def fill_in(data: bytes) -> bytes:
    """Put tokens in the place of ``<staff>``, ``<support>`` and ``<engineer>``."""
    for name, claims in _CALLERS.items():
        if name in data:
            data = data.replace(name, token(claims).encode())
    return data


class Edge:
    """A running gateway and its API."""

    def __init__(self, runner: asyncio.Runner, command: Command, api: RecordingApi) -> None:
        self._runner = runner
        self.command = command
        self.api = api
        host, _, port = command.url.removeprefix("http://").rpartition(":")
        self._place = host, int(port)

    def play(self, *writes: bytes, answers: int | None = None, methods: Sequence[str] = ()) -> Heard:
        """Write to a new connection and hear what comes back.

        Args:
            writes: bytes, each written by itself.
            answers: how many to wait for; None: until the gateway closes.
            methods: of the requests, in order; GET where it is not told.
        """
        return self.play_all([(writes, answers)], methods)[0]

    def play_all(
        self, connections: Sequence[tuple[Sequence[bytes], int | None]], methods: Sequence[str] = ()
    ) -> list[Heard]:
        """Do so on several connections at once: what is written to each, and how many answers to wait for."""
        self.api.seen.clear()
        self.api.malformed.clear()
        return self._runner.run(self._play(connections, methods))

    def refusals(self) -> Counter[tuple[str, str]]:
        """Return how often the gateway has refused, by reason and status, as its metrics say."""
        text = self._runner.run(_fetch(f"{self.command.admin}/metrics"))
        found = re.findall(r'(?m)^sekisho_refusals_total\{reason="([^"]+)",status="([^"]+)"\} (\S+)$', text)
        return Counter({(reason, status): int(float(count)) for reason, status, count in found})

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the lines of the ledger; of callers nobody knows, floods leave counts alone there."""
        return read_records(self.command.folder / "ledger", kind)

    async def _play(
        self, connections: Sequence[tuple[Sequence[bytes], int | None]], methods: Sequence[str]
    ) -> list[Heard]:
        talks = [self._talk([fill_in(data) for data in writes], answers, methods) for writes, answers in connections]
        heard = await asyncio.gather(*talks)
        (answer,) = (await self._talk([fill_in(get(FENCE))], 1, ())).answers
        assert answer.status == 200, "others are served no longer"
        return heard

    async def _talk(self, writes: Sequence[bytes], answers: int | None, methods: Sequence[str]) -> Heard:
        with socket.socket() as connection:
            connection.setblocking(False)  # noqa: FBT003 - its only name
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(connection, self._place)
            reader = asyncio.StreamReader(limit=STREAM_LIMIT)
            tasks = [asyncio.ensure_future(_send(connection, writes)), asyncio.ensure_future(_feed(connection, reader))]
            try:
                return await _hear(reader, answers, methods)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)


async def _fetch(url: str) -> str:
    async with aiohttp.request("GET", url) as response:
        return await response.text()


async def _send(connection: socket.socket, writes: Sequence[bytes]) -> None:
    with contextlib.suppress(OSError):  # refused before all of it was taken: what was answered is still to be read
        for data in writes:
            await asyncio.get_running_loop().sock_sendall(connection, data)
            await asyncio.sleep(0)


async def _feed(connection: socket.socket, reader: asyncio.StreamReader) -> None:
    """Hand on what comes, up to its end; a reset is told only behind all that came before it."""
    try:
        while data := await asyncio.get_running_loop().sock_recv(connection, 65536):
            reader.feed_data(data)
    except OSError:
        reader.feed_data(RESET)
    reader.feed_eof()


async def _hear(reader: asyncio.StreamReader, answers: int | None, methods: Sequence[str]) -> Heard:
    heard: list[Message] = []
    interim: list[Message] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            while answers is None or len(heard) < answers:
                method = methods[len(heard)] if len(heard) < len(methods) else "GET"
                try:
                    message = await read_answer(reader, method)
                except asyncio.IncompleteReadError as error:
                    return Heard(tuple(heard), tuple(interim), is_closed=True, is_cut=bool(error.partial))
                (interim if message.start[0].startswith(b"1") else heard).append(message)
    return Heard(tuple(heard), tuple(interim), is_closed=False, is_cut=False)


@contextlib.contextmanager
def run_edge(folder: Path, *edits: tuple[str, str, str], settings: Mapping[str, float] | None = None) -> Iterator[Edge]:
    """Run a gateway in front of a recording API, on the reference bundle with a declared host.

    Args:
        folder: where everything goes.
        edits: of the bundle, as of ``write_policies``.
        settings: for the gateway's environment.
    """
    declared = ("apis/users.yaml", "    upstreams:", f"    hosts: [{HOST}]\n    upstreams:")
    policies = write_policies(folder / "policies", declared, *edits)
    with asyncio.Runner() as runner, contextlib.ExitStack() as stack:
        places = _enter(runner, stack, serve_app(make_issuer_app(ISSUERS)))
        api = RecordingApi()
        upstream = _enter(runner, stack, _serve(api))
        jwks = {name: f"{places}/{name}/jwks.json" for name in ISSUERS}
        running = run_command(folder / "gateway", policies, settings or {}, upstream=upstream, jwks=jwks)
        yield Edge(runner, _enter(runner, stack, running), api)


def _enter(runner: asyncio.Runner, stack: contextlib.ExitStack, context: Any) -> Any:
    async def leave() -> None:
        await context.__aexit__(None, None, None)

    value = runner.run(_as_coroutine(context.__aenter__))
    stack.callback(lambda: runner.run(leave()))
    return value


async def _as_coroutine(call: Callable[[], Any]) -> Any:
    return await call()


@contextlib.asynccontextmanager
async def _serve(api: RecordingApi) -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None]] = set()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(api.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(take, "127.0.0.1", 0, limit=STREAM_LIMIT)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in [*tasks]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
