# SPDX-License-Identifier: Apache-2.0
"""One end of the connected Unix sockets between a supervisor and a worker: messages, and slices of bundles as they are.

Each frame is its length in 4 bytes, a byte that says what it is, and its content. Whoever is at the other end is our
own process, started by us: what it says is believed, and what cannot be read ends the channel.
"""

import asyncio
import socket
from collections.abc import AsyncIterable
from typing import Final, Generic, TypeVar

import msgspec

LENGTH_BYTES: Final = 4
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
_MESSAGE: Final = b"m"
_SLICE: Final = b"s"
_encode: Final = msgspec.msgpack.Encoder().encode

Sent = TypeVar("Sent", bound=msgspec.Struct)
Received = TypeVar("Received", bound=msgspec.Struct)


class ChannelEndError(Exception):
    """The other end is gone, or says what nobody understands."""


class Channel(Generic[Sent, Received]):
    """One end; made by ``connect``.

    Args:
        reader: of the socket.
        writer: of the socket.
        understood: the messages that come from the other end, a union of tagged structs.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, understood: object) -> None:
        self._reader = reader
        self._writer = writer
        self._decode = msgspec.msgpack.Decoder(understood).decode
        self._sending = asyncio.Lock()
        """Held over all that belongs together: a message and the slices that follow it."""

    async def send(self, message: Sent) -> None:
        """Send a message.

        Raises:
            ChannelEndError: nobody takes it.
        """
        async with self._sending:
            await self._write(_MESSAGE, _encode(message))

    async def send_with(self, message: Sent, slices: AsyncIterable[bytes]) -> None:
        """Send a message, the slices that follow it, and an empty one.

        Raises:
            ChannelEndError: nobody takes them.
        """
        async with self._sending:
            await self._write(_MESSAGE, _encode(message))
            async for each in slices:
                await self._write(_SLICE, each)
            await self._write(_SLICE, b"")

    async def receive(self) -> Received:
        """Return the next message.

        Raises:
            ChannelEndError: there is none.
        """
        kind, content = await self._read()
        if kind != _MESSAGE:
            raise ChannelEndError("a slice came where a message is expected")
        try:
            message: Received = self._decode(content)
        except msgspec.MsgspecError as error:
            raise ChannelEndError(f"a message cannot be read: {error}") from error
        return message

    async def receive_slice(self) -> bytes:
        """Return the next slice; empty after the last.

        Raises:
            ChannelEndError: there is none.
        """
        kind, content = await self._read()
        if kind != _SLICE:
            raise ChannelEndError("a message came where a slice is expected")
        return content

    async def close(self) -> None:
        """Let go of the socket, once what was sent has left."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return

    async def _write(self, kind: bytes, content: bytes) -> None:
        try:
            self._writer.write((len(content) + 1).to_bytes(LENGTH_BYTES, "big") + kind)
            self._writer.write(content)
            await self._writer.drain()
        except (OSError, RuntimeError) as error:
            raise ChannelEndError("the other end is gone") from error

    async def _read(self) -> tuple[bytes, bytes]:
        try:
            length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES), "big")
            if not 1 <= length <= MAX_FRAME_BYTES:
                raise ChannelEndError("a frame has no length that could be")
            frame = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise ChannelEndError("the other end is gone") from error
        return frame[:1], frame[1:]


async def connect(end: socket.socket, understood: object) -> Channel[Sent, Received]:
    """Return the channel over one of two connected sockets.

    Args:
        end: is the channel's from now on.
        understood: the messages that come from the other end.
    """
    reader, writer = await asyncio.open_unix_connection(sock=end)
    return Channel(reader, writer, understood)
