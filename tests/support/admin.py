# SPDX-License-Identifier: Apache-2.0
"""A listener of operators on a real socket, and what is said to it byte by byte."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web

from proxy.admin.serving import Find, make_server


class Told(msgspec.Struct, frozen=True):
    """An answer as it came over the wire."""

    status: int
    fields: dict[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """Return the problem document that it is."""
        assert self.fields["content-type"] == "application/problem+json", self
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        assert document["type"]
        assert document["title"]
        return document


class Listener(msgspec.Struct, frozen=True):
    """Where it is."""

    port: int
    server: web.Server

    async def ask(self, path: str, method: str = "GET", host: str = "127.0.0.1") -> Told:
        """Send a request as it should be."""
        return await self.say(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    async def say(self, data: bytes) -> Told:
        """Send bytes, and read until the listener closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                await writer.drain()
            answer = await asyncio.wait_for(reader.read(), 20)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return read_answer(answer)


def read_answer(data: bytes) -> Told:
    """Return the answer that bytes are."""
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    assert line.startswith("HTTP/1."), data[:200]
    pairs = (field.partition(": ") for field in fields)
    return Told(int(line.split()[1]), {name.lower(): value for name, _, value in pairs}, body)


@contextlib.asynccontextmanager
async def serve_pages(find: Find, *, is_local: bool = True) -> AsyncIterator[Listener]:
    """Serve operators on a free port of loopback until the end of the block."""
    server = make_server(find, is_local=is_local)
    runner = web.ServerRunner(server)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Listener(int(runner.addresses[0][1]), server)
    finally:
        await runner.cleanup()
