# SPDX-License-Identifier: Apache-2.0
"""Both protocols of the data path as targets: bytes arrive in one piece and in many, and the same must come of them.

The caller's side drives the real gateway with the reference bundle and real tokens, before an API that is not there;
the API's side drives a real connection of a pool that is not there. Neither opens a connection of its own.
"""

import asyncio
import atexit
import functools
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import msgspec

from proxy.clock import unix_seconds
from proxy.gateway.connection import ClientConnection
from proxy.gateway.gateway import Gateway
from proxy.gateway.options import GatewayOptions
from proxy.gateway.ticker import Ticker
from proxy.gateway.upstream.connection import UpstreamConnection
from proxy.gateway.upstream.exchange import NOBODY, Exchange, UpstreamRequest
from proxy.gateway.upstream.handle import UpstreamHandle
from proxy.gateway.wire.bodies import response_body
from proxy.gateway.wire.heads import ResponseFrame, find_head_end, read_response
from proxy.model.api import Api, Upstream
from proxy.model.decision import Reason
from proxy.telemetry import Metrics
from tests.support.passages import a_checkpoint
from tests.support.world import STAFF, SUPPORT, token

OFFICE: Final = "10.20.3.7"
TURNS: Final = 6
"""Turns of the loop in which everything that was set off has happened: nothing here waits for anything."""
QUIET_TURNS: Final = 3
"""Turns without a request under way in which the next one would have begun."""
SHORTEST: Final = len("G / HTTP/1.1\r\n\r\n")
"""Bytes of a request."""
BOUNDARY: Final = b"\n--\n"
"""Divides an input into what each of several callers sends."""


class SilentSocket:
    """A number for ``poll`` to look at: that of a pipe into which nothing is ever written."""

    ENDS: Final = os.pipe()

    def fileno(self) -> int:
        return self.ENDS[0]


def cut(data: bytes, most: int = 61) -> Iterator[bytes]:
    """Cut data into pieces whose sizes it says itself."""
    at = 0
    while at < len(data):
        size = data[at] % most + 1
        yield data[at : at + size]
        at += size


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self, end: SilentSocket | None = None) -> None:
        super().__init__({"peername": (OFFICE, 40000), "socket": end, "ssl_object": None})
        self.written = b""
        self.is_over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.is_over

    def close(self) -> None:
        self.is_over = True

    def abort(self) -> None:
        self.is_over = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_over = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


# The caller's side.


class Asked(msgspec.Struct):
    """What an API was asked, and how far that came."""

    request: UpstreamRequest
    exchange: Exchange
    body: bytes = b""
    is_whole: bool = False


class FakeApis:
    """Stands for the connections to the APIs: answers with what was asked, once all of it is there."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def begin(self, api: Api, upstream: Upstream, request: UpstreamRequest, exchange: Exchange) -> UpstreamHandle:
        asked = Asked(request, exchange)
        self.asked.append(asked)
        handle = UpstreamHandle(request, exchange, cast("Any", self))
        handle.carrier = FakeCarrier(asked, handle)
        loop = asyncio.get_running_loop()
        loop.call_soon(*((self._make_ready, handle) if handle.has_body else (self.answer, asked, handle)))
        return handle

    def abandon(self, handle: UpstreamHandle) -> None:
        raise AssertionError("nobody waits here")

    @staticmethod
    def _make_ready(handle: UpstreamHandle) -> None:
        handle.exchange.upstream_ready()

    @staticmethod
    def answer(asked: Asked, handle: UpstreamHandle) -> None:
        asked.is_whole = True
        body = b"" if asked.request.method == "HEAD" else echo(asked)
        frame = read_response(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(echo(asked)))
        assert frame is not None
        exchange, handle.exchange, handle.carrier = handle.exchange, NOBODY, None
        exchange.upstream_answered(frame, body, is_whole=True)


def echo(asked: Asked) -> bytes:
    return b"%s %s %s" % (asked.request.method.encode(), asked.request.target.encode(), asked.body)


class FakeCarrier:
    """Takes the body of a request."""

    def __init__(self, asked: Asked, handle: UpstreamHandle) -> None:
        self._asked = asked
        self._handle = handle

    def upload(self, data: bytes) -> None:
        self._asked.body += data

    def end_upload(self) -> None:
        length = self._asked.request.length
        assert length is None or length == len(self._asked.body), "a body is not as long as its head says"
        asyncio.get_running_loop().call_soon(self._answer)

    def _answer(self) -> None:
        if self._handle.carrier is self:
            FakeApis.answer(self._asked, self._handle)

    def pause_answer(self) -> None:
        pass

    def resume_answer(self) -> None:
        pass

    def give_up(self) -> None:
        self._handle.carrier = None


class FakeLedger:
    """Counts lines."""

    def __init__(self) -> None:
        self.count = 0

    def append(self, lines: Sequence[Any]) -> None:
        self.count += len(lines)


class Troubles(logging.Handler):
    """Keeps what may never be: a defect that the gateway has caught, or the loop."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[object] = []
        logging.getLogger("sekisho").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append((record.getMessage(), record.exc_info))

    def note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.seen.append(context)


@functools.cache
def troubles() -> Troubles:
    return Troubles()


@functools.cache
def runner() -> asyncio.Runner:
    made = asyncio.Runner()
    atexit.register(made.close)
    return made


@functools.cache
def a_gateway() -> tuple[Gateway, FakeApis]:
    apis, checkpoint = FakeApis(), a_checkpoint()
    gateway = Gateway(
        checkpoint=lambda: checkpoint,
        keys=cast("Any", None),
        introspector=cast("Any", None),
        ledger=FakeLedger(),
        upstreams=cast("Any", apis),
        metrics=Metrics(),
        options=GatewayOptions(max_request_body_bytes=2000),
        ticker=Ticker(),
    )
    return gateway, apis


@functools.lru_cache(maxsize=2)
def tokens(minute: float) -> dict[bytes, bytes]:
    del minute
    return {b"<staff>": token(STAFF).encode(), b"<support>": token(SUPPORT).encode()}


class Heard(msgspec.Struct, frozen=True):
    """What one caller heard."""

    bodies: tuple[bytes, ...]
    """Of answers that are no refusals."""
    is_over: bool
    """Whether the gateway has ended the connection."""


Played = tuple[list[tuple[str, str, bytes]], list[Heard]]
"""What the APIs were asked, and what each caller heard."""


async def _send(
    callers: Sequence[Sequence[bytes]], connections: Sequence[ClientConnection], transports: Sequence[Transport]
) -> None:
    """Let callers send in turns, and everything happen that this sets off."""
    for pieces in itertools.zip_longest(*callers, fillvalue=b""):
        for piece, connection, transport in zip(pieces, connections, transports, strict=True):
            if piece and not transport.is_over:
                connection.data_received(piece)
        await _settle(1)
    await _settle(sum(len(piece) for pieces in callers for piece in pieces) // SHORTEST + 1)


async def _settle(requests: int) -> None:
    """Let everything happen that so many requests set off, or until nothing is under way."""
    gateway, _ = a_gateway()
    quiet = 0
    for _ in range(TURNS * requests):
        await asyncio.sleep(0)
        quiet = 0 if gateway.under_way else quiet + 1
        if quiet == QUIET_TURNS:
            return


async def _play(callers: Sequence[Sequence[bytes]]) -> Played:
    gateway, apis = a_gateway()
    asyncio.get_running_loop().set_exception_handler(troubles().note)
    troubles().seen.clear()
    apis.asked.clear()
    transports, connections = [Transport() for _ in callers], [gateway.accept() for _ in callers]
    for connection, transport in zip(connections, transports, strict=True):
        connection.connection_made(transport)
    try:
        await _send(callers, connections, transports)
        heard = [hear(connection, transport) for connection, transport in zip(connections, transports, strict=True)]
    finally:
        for connection in connections:
            connection.connection_lost(None)
    assert not troubles().seen, troubles().seen
    assert not gateway.under_way
    assert not gateway.connections
    assert len({id(asked.exchange) for asked in apis.asked}) == len(apis.asked), "one decision, two requests"
    return [(a.request.method, a.request.target, a.body if a.is_whole else b"") for a in apis.asked], heard


def hear(connection: ClientConnection, transport: Transport) -> Heard:
    """Read what was written as a caller does: whole answers, one behind the other."""
    data, good = transport.written, list[bytes]()
    _, apis = a_gateway()
    mine = [a for a in apis.asked if cast("Any", a.exchange)._connection is connection and a.is_whole]
    while data:
        end = find_head_end(data)
        frame = read_response(data[:end])
        assert frame is not None, "no answer by our own grammar"
        data = data[end:]
        if frame.status < 200:
            continue
        refused = (
            "GET" if data.startswith(b"{") else "HEAD"
        )  # what stands there is a problem document, or the next head
        method = mine[len(good)].request.method if frame.status == 200 else refused
        body = response_body(frame, method)
        payload = b""
        if body is not None:
            payload, data = body.feed(data), body.rest
            assert body.is_done, "half an answer"
        if frame.status == 200:
            assert payload == (b"" if method == "HEAD" else echo(mine[len(good)])), "another one's answer"
            good.append(payload)
    assert len(good) == len(mine)
    return Heard(tuple(good), transport.is_over)


def fuzz_client_connection(data: bytes) -> None:
    """Let callers send, in one piece each and in many: the APIs are asked the same, and each hears its own answers.

    In pieces that may end sooner: a request that is refused while its body is on its way is the last one.
    """
    for name, value in tokens(unix_seconds() // 60).items():
        data = data.replace(name, value)
    callers = data.split(BOUNDARY)[:3]
    whole = [runner().run(_play([[caller]])) for caller in callers]
    small = [runner().run(_play([[*cut(caller, most=3)]])) for caller in callers]
    pieces = [runner().run(_play([[*cut(caller)]])) for caller in callers]
    for (asked, (heard,)), (asked_so, (heard_so,)) in zip(whole * 2, small + pieces, strict=True):
        assert asked[: len(asked_so)] == asked_so
        assert heard.bodies[: len(heard_so.bodies)] == heard_so.bodies
        assert (asked, heard) == (asked_so, heard_so) or heard_so.is_over, "something was overlooked"
    if len(callers) > 1:
        assert runner().run(_play([[*cut(caller)] for caller in callers]))[1] == [heard for _, (heard,) in pieces]


# The API's side.


class Told(msgspec.Struct):
    """Who asked, and all that it was told; the order is checked as it comes."""

    status: int = 0
    body: bytes = b""
    end: str = ""

    def _tell(self, status: int = 0, body: bytes = b"", end: str = "") -> None:
        assert not self.end, "told after the last call"
        assert bool(status) != bool(self.status) or end, "the head comes first, and once"
        self.status = status or self.status
        self.body += body
        self.end = end

    def upstream_ready(self) -> None:
        assert not self.end

    def pause_upload(self) -> None:
        assert not self.end

    def resume_upload(self) -> None:
        assert not self.end

    def upstream_answered(self, frame: ResponseFrame, body: bytes, is_whole: bool) -> None:  # noqa: FBT001
        assert not self.status
        self._tell(frame.status, body, "whole" if is_whole else "")

    def upstream_upgraded(self, frame: ResponseFrame, rest: bytes) -> None:
        self._tell(frame.status, rest)

    def upstream_sent(self, data: bytes) -> None:
        assert self.status
        self._tell(body=data)

    def upstream_ended(self) -> None:
        assert self.status
        self._tell(end="whole")

    def upstream_failed(self, reason: Reason) -> None:
        self._tell(end=reason)


class FakeHome:
    """Counts what a pool would."""

    def __init__(self) -> None:
        self.taken_back = 0

    def admit(self, connection: UpstreamConnection) -> None:
        pass

    def take_back(self, connection: UpstreamConnection, now: float) -> None:
        self.taken_back += 1

    def forget(self, connection: UpstreamConnection) -> None:
        pass

    def abandon(self, handle: UpstreamHandle) -> None:
        pass


_QUESTIONS: Final = (
    UpstreamRequest("GET", "/", b"", None, is_chunked=False),
    UpstreamRequest("HEAD", "/", b"", None, is_chunked=False),
    UpstreamRequest("GET", "/", b"", None, is_chunked=False, upgrade="websocket"),
    UpstreamRequest("PUT", "/", b"", 5, is_chunked=False),
)


async def _answer(question: UpstreamRequest, pieces: Sequence[bytes], *, is_ended: bool) -> tuple[Told, bool]:
    """Return what the one who asked was told, and whether the connection could be used again."""
    home, told, transport = FakeHome(), Told(), Transport(SilentSocket())
    connection = UpstreamConnection(home, GatewayOptions())
    connection.connection_made(transport)
    handle = UpstreamHandle(question, told, home)
    connection.start(handle, 0.0)
    await asyncio.sleep(0)
    if handle.has_body:
        handle.write(b"hello")
        handle.end()
    for piece in pieces:
        if not transport.is_over:
            connection.data_received(piece)
    if is_ended and not transport.is_over:
        connection.eof_received()
    is_reusable = home.taken_back == 1 and not transport.is_over
    assert home.taken_back <= 1
    assert not home.taken_back or told.end == "whole"
    connection.connection_lost(None)
    assert told.end, "nobody is left waiting"
    return told, is_reusable


def fuzz_upstream_connection(data: bytes) -> None:
    """Let an API answer, in one piece and in many: whoever asked is told the same, and never after the last call."""
    if not data:
        return
    question, is_ended, answer = _QUESTIONS[data[0] % len(_QUESTIONS)], bool(data[0] & 64), data[1:]
    whole, is_reusable = runner().run(_answer(question, [answer], is_ended=is_ended))
    for pieces in (cut(answer), cut(answer, most=3)):
        told, is_reusable_so = runner().run(_answer(question, [*pieces], is_ended=is_ended))
        assert (told.end, is_reusable_so) == (whole.end, is_reusable)
        assert told == whole or whole.end != "whole"
