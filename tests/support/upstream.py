# SPDX-License-Identifier: Apache-2.0
"""An API of bytes on loopback, and somebody who asks it and keeps what is heard."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from proxy.clock import elapsed_seconds
from proxy.gateway.options import GatewayOptions
from proxy.gateway.ticker import Ticker
from proxy.gateway.upstream.exchange import UpstreamRequest
from proxy.gateway.upstream.handle import UpstreamHandle
from proxy.gateway.upstream.pool import Pool
from proxy.gateway.upstream.upstreams import Upstreams
from proxy.gateway.wire.heads import ResponseFrame
from proxy.model.api import Api, Upstream
from proxy.model.decision import Reason
from proxy.telemetry import Metrics

FIELDS = b"Host: users.internal\r\nAccept: */*\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Act: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class BytesApi:
    """Does to each connection what it is told, and keeps what arrives on each."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.received: list[bytearray] = []
        self.ended: list[bool] = []
        """Of each connection, whether the other side has closed it."""
        self.tasks: list[asyncio.Task[None] | None] = []
        self.port = 0
        self.path = ""

    @property
    def url(self) -> str:
        return f"unix:{self.path}" if self.path else f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.current_task())
        place = len(self.received)
        self.received.append(bytearray())
        self.ended.append(False)
        read = reader.read

        async def keep(n: int = -1) -> bytes:
            data = await read(n)
            self.received[place] += data
            return data

        reader.read = keep  # type: ignore[method-assign]
        try:
            await self.act(reader, writer)
            while await keep(65536):
                pass
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            self.ended[place] = True
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(
    act: Act, *, port: int = 0, path: str = "", context: ssl.SSLContext | None = None
) -> AsyncIterator[BytesApi]:
    """Serve on loopback, or on a Unix socket."""
    api = BytesApi(act)
    if path:
        api.path = path
        server = await asyncio.start_unix_server(api.serve, path)
    else:
        server = await asyncio.start_server(api.serve, "127.0.0.1", port, ssl=context)
        api.port = server.sockets[0].getsockname()[1]
    try:
        yield api
    finally:
        server.close()
        tasks = [task for task in api.tasks if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Read to the end of a head; what of a body comes with it, too."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await reader.read(65536)
        if not more:
            raise ConnectionError("closed")
        data += more
    return data


def answering(*answers: bytes, then_close: bool = False) -> Act:
    """Return an act: to each request, an answer."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await read_head(reader)
            writer.write(answer)
        if then_close:
            await writer.drain()
            writer.close()

    return act


async def _serve_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_head(reader)
        writer.write(OK)


for_ever: Act = _serve_for_ever


class Heard:
    """Whoever asks: keeps what it is told, and gives the parts of a body when it is asked for them.

    Args:
        parts: of the body.
        during: called within each call, with its name and this.
    """

    def __init__(self, *parts: bytes, during: Callable[[str, "Heard"], None] = lambda *_: None) -> None:
        self.parts = parts
        self.during = during
        self.calls: list[tuple[Any, ...]] = []
        self.body = b""
        self.frame: ResponseFrame | None = None
        self.reason: Reason | None = None
        self.is_whole = False
        self.over = asyncio.Event()
        self.handle: UpstreamHandle

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self.calls]

    def _note(self, name: str, *what: Any) -> None:
        assert not self.over.is_set(), f"{name} after the last call"
        self.calls.append((name, *what))
        self.during(name, self)

    def upstream_ready(self) -> None:
        self._note("ready")
        for part in self.parts:
            self.handle.write(part)
        if self.parts:
            self.handle.end()

    def pause_upload(self) -> None:
        self._note("pause")

    def resume_upload(self) -> None:
        self._note("resume")

    def upstream_answered(self, frame: ResponseFrame, body: bytes, is_whole: bool) -> None:  # noqa: FBT001
        self.frame = frame
        self.body += body
        self._note("answered", frame.status)
        if is_whole:
            self.is_whole = True
            self.over.set()

    def upstream_upgraded(self, frame: ResponseFrame, rest: bytes) -> None:
        self.frame = frame
        self.body += rest
        self._note("upgraded")

    def upstream_sent(self, data: bytes) -> None:
        self.body += data
        self._note("sent", len(data))

    def upstream_ended(self) -> None:
        self._note("ended")
        self.is_whole = True
        self.over.set()

    def upstream_failed(self, reason: Reason) -> None:
        self.reason = reason
        self._note("failed", reason)
        self.over.set()

    async def end(self) -> "Heard":
        await asyncio.wait_for(self.over.wait(), 10)
        return self


class Asking:
    """Upstreams, and who drives them: the ticker is asked as often as a condition is looked at.

    Args:
        url: where the API is.
        options: what differs from the defaults.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self.ticker = Ticker()
        self.metrics = Metrics()
        self.api = Api("users", (), Upstream(url, None), forwards_authorization=False)
        self.upstreams = Upstreams(GatewayOptions(**options), self.metrics, self.ticker)
        self.upstreams.adopt([self.api])

    @property
    def pool(self) -> Pool:
        return self.upstreams._pools[self.api.id, self.api.upstream.url]

    def begin(self, heard: Heard, method: str = "GET", country: object = None, **changes: Any) -> Heard:
        told = {"length": None, "is_chunked": False} | changes
        if heard.parts and "length" not in changes and "is_chunked" not in changes:
            told["length"] = sum(map(len, heard.parts))
        before = len(heard.calls)
        request = UpstreamRequest(method, "/v1/jp/users/42", FIELDS, **told)
        heard.handle = self.upstreams.begin(self.api, self.api.find_upstream(country), request, heard)
        assert len(heard.calls) == before, "nothing is heard while it begins"
        return heard

    async def ask(self, method: str = "GET", *parts: bytes, **changes: Any) -> Heard:
        return await self.begin(Heard(*parts), method, **changes).end()

    def tick(self, later: float = 0.0) -> None:
        self.ticker.tick(elapsed_seconds() + later)

    async def becomes(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.001)
                self.tick()

    def measure(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"api": "users"} | labels)


@contextlib.asynccontextmanager
async def asking(url: str, **options: Any) -> AsyncIterator[Asking]:
    """Ask an API."""
    made = Asking(url, **options)
    try:
        yield made
    finally:
        await made.upstreams.close()
