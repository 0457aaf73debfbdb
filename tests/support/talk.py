# SPDX-License-Identifier: Apache-2.0
"""A caller's connection to a running gateway, by hand, and an API whose every byte is a test's."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp

from tests.support.raw_http import Message, read_answer
from tests.support.world import OFFICE, STAFF, SUPPORT, World, token

USER: Final = "/v1/jp/users/42"
PHONE: Final = f"{USER}/phone"
STATUS: Final = "/v1/status"
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PROXY, STRANGER = "127.0.0.1", "127.0.0.2"
PATIENCE_SECONDS: Final = 15.0
"""How long a test waits for anything."""


def ask(
    target: str = USER, *fields: str, method: str = "GET", claims: dict[str, Any] | None = STAFF, version: str = "1.1"
) -> bytes:
    """Write the head of a request from the office."""
    lines = [f"{method} {target} HTTP/{version}", "Host: a", f"X-Forwarded-For: {OFFICE}"]
    if claims is not None:
        lines.append(f"Authorization: Bearer {token(claims)}")
    return "\r\n".join([*lines, *fields, "", ""]).encode()


def put(*fields: str, body: bytes = b"", target: str = PHONE) -> bytes:
    """Write an update."""
    return ask(target, *fields, method="PUT", claims=SUPPORT) + body


class Talk:
    """One connection of a caller."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, method: str = "GET") -> Message:
        """Read the next answer."""
        return await asyncio.wait_for(read_answer(self.reader, method), PATIENCE_SECONDS)

    async def status(self, method: str = "GET") -> int:
        return (await self.answer(method)).status

    async def rest(self) -> bytes:
        """Read to the end, or up to the reset."""
        data = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while more := await self.reader.read(65536):
                    data += more
        return data

    def end(self) -> None:
        """End our side."""
        self.writer.write_eof()

    def reset(self) -> None:
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def talking(world: World, source: str = PROXY, *, takes: int = 0) -> AsyncIterator[Talk]:
    """Connect.

    Args:
        world: whereto.
        source: wherefrom; ``PROXY`` is trusted to pass on requests of others.
        takes: how many bytes the kernel holds for us; 0: as many as it likes.
    """
    connection = socket.socket()
    connection.setblocking(False)  # noqa: FBT003 - its only name
    if takes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
    connection.bind((source, 0))
    try:
        await asyncio.get_running_loop().sock_connect(connection, (world.host, world.port))
    except OSError:
        connection.close()
        raise
    reader, writer = await asyncio.open_connection(sock=connection, limit=max(takes, 65536))
    try:
        yield Talk(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class HandApi:
    """An API that reads requests' heads, and leaves it to the test what to answer."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.url = ""

    async def link(self, count: int = 1) -> "Link":
        """Wait for the connection of that number, counted from 1."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.links) < count:
                await asyncio.sleep(0.005)
        return self.links[count - 1]


class Link:
    """One connection to the API."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        """Read the head of the next request."""
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def ended(self) -> bytes:
        """Wait until the gateway has closed, and return what came before."""
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(), PATIENCE_SECONDS)
        return b""


@contextlib.asynccontextmanager
async def hand_api() -> AsyncIterator[HandApi]:
    """Serve an API by hand."""
    api = HandApi()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        api.links.append(Link(reader, writer))

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield api
    finally:
        server.close()
        for link in api.links:
            link.writer.transport.abort()


@contextlib.asynccontextmanager
async def answering_api(answer: bytes = OK) -> AsyncIterator[HandApi]:
    """Serve an API that answers every head, and drops bodies."""
    async with hand_api() as api:

        async def serve() -> None:
            served = 0
            tasks: set[asyncio.Task[None]] = set()
            try:
                while True:
                    link = await api.link(served + 1) if len(api.links) > served else None
                    if link is None:
                        await asyncio.sleep(0.002)
                        continue
                    served += 1
                    tasks.add(asyncio.ensure_future(_answer_all(link, answer)))
            finally:
                for task in tasks:
                    task.cancel()

        serving = asyncio.ensure_future(serve())
        try:
            yield api
        finally:
            serving.cancel()


async def _answer_all(link: Link, answer: bytes) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await link.reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            if found:
                await link.reader.readexactly(int(found[1]))
            link.send(answer)


async def measure(world: World, name: str) -> float:
    """Return the sum of a metric."""
    async with aiohttp.request("GET", f"{world.admin}/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


async def is_at_rest(world: World) -> bool:
    """Wait until nothing is under way and nobody connected."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await measure(world, "sekisho_connections") or await measure(world, "sekisho_passages_in_progress"):
            await asyncio.sleep(0.02)
    return True
