# SPDX-License-Identifier: Apache-2.0
"""An API that misbehaves as it is told to by the id of the user who is asked for: `python -m bench.faulty_api`.

- The first two digits of an id choose the manner, a row of `MANNERS`; the rest makes it unique. An answer's body says
  throughout whose it is (`body_of`), so that whoever gets a byte of another's notices.
- It is a process of its own, so that it can be killed. What it was asked, it has noted in a file by then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench.processes import LOOPBACK

FIRST: Final = 10
"""The two digits of the first manner: an id does not begin with 0."""
SMALL_BYTES: Final = 300
LARGE_BYTES: Final = 1 << 20
POISON: Final = b"these bytes belong to nobody\n"
"""What no caller may ever see."""
STALL_SECONDS: Final = 60.0
DRIP_SECONDS: Final = 0.02
DRIPS: Final = 20
RESET: Final = struct.pack("ii", 1, 0)
"""Linger for no time: closing resets the connection."""
HEAD_BYTES: Final = 1 << 18


def body_of(user: str, size: int) -> bytes:
    """Return so many bytes that say throughout whose they are."""
    line = b"record of %s\n" % user.encode()
    return (line * (size // len(line) + 1))[:size]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and the connection that it came over."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    method: str
    user: str
    length: int
    """Of the request's body; -1: it comes in chunks."""

    async def take_body(self) -> None:
        """Read the request's body to its end."""
        if self.length >= 0:
            await self.reader.readexactly(self.length)
        else:
            await self.reader.readuntil(b"0\r\n\r\n")

    async def say(self, data: bytes) -> None:
        """Send, and wait while whoever asked reads slowly."""
        self.writer.write(data)
        await self.writer.drain()

    async def wait(self) -> None:
        """Say nothing until whoever asked has gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STALL_SECONDS):
                await self.reader.read(1)

    def reset(self) -> None:
        """Cut the connection."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.writer.transport.abort()


def head_of(size: int) -> bytes:
    """Return the head of an answer of so many bytes."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % size


async def answer(asked: Asked, size: int) -> None:
    """Answer as one should."""
    await asked.take_body()
    await asked.say(head_of(size) + body_of(asked.user, size))


async def answer_in_chunks(asked: Asked) -> None:
    """Answer in chunks, the last bytes of each in a write of their own."""
    await asked.take_body()
    await asked.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    body = body_of(asked.user, SMALL_BYTES)
    for start in range(0, SMALL_BYTES, 100):
        await asked.say(b"64\r\n" + body[start : start + 60])
        await asyncio.sleep(0)
        await asked.say(body[start + 60 : start + 100] + b"\r\n")
    await asked.say(b"0\r\n\r\n")


async def answer_until_close(asked: Asked) -> None:
    """Answer without saying how long, and close."""
    await asked.take_body()
    await asked.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body_of(asked.user, SMALL_BYTES))
    asked.writer.close()


async def announce_first(asked: Asked) -> None:
    """Send an interim answer before the answer."""
    await asked.take_body()
    await asked.say(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    await answer(asked, SMALL_BYTES)


async def drip(asked: Asked) -> None:
    """Answer a few bytes at a time."""
    await asked.take_body()
    data = head_of(SMALL_BYTES) + body_of(asked.user, SMALL_BYTES)
    step = len(data) // DRIPS + 1
    for start in range(0, len(data), step):
        await asked.say(data[start : start + step])
        await asyncio.sleep(DRIP_SECONDS)


async def answer_early(asked: Asked) -> None:
    """Answer before the request's body has come, and close."""
    await asked.say(head_of(SMALL_BYTES) + body_of(asked.user, SMALL_BYTES))
    asked.writer.close()


async def say_too_much(asked: Asked) -> None:
    """Answer, and go on at once as if somebody had asked again.

    All in one piece: what came later would be, for everybody, the answer to whatever had been asked by then.
    """
    await asked.take_body()
    own = head_of(SMALL_BYTES) + body_of(asked.user, SMALL_BYTES)
    await asked.say(own + head_of(len(POISON)) + POISON)


async def stall(asked: Asked) -> None:
    """Do not answer."""
    await asked.wait()


async def stall_midway(asked: Asked) -> None:
    """Answer half, and say no more."""
    await asked.take_body()
    await asked.say(head_of(SMALL_BYTES) + body_of(asked.user, SMALL_BYTES // 2))
    await asked.wait()


async def reset_midway(asked: Asked) -> None:
    """Answer half of much, and cut the connection."""
    await asked.take_body()
    await asked.say(head_of(LARGE_BYTES) + body_of(asked.user, LARGE_BYTES // 2))
    asked.reset()


async def reset_at_once(asked: Asked) -> None:
    """Cut the connection."""
    asked.reset()


async def close_midway(asked: Asked) -> None:
    """Answer half, and close in an orderly way."""
    await asked.take_body()
    await asked.say(head_of(SMALL_BYTES) + body_of(asked.user, SMALL_BYTES // 2))
    asked.writer.close()


async def break_a_chunk(asked: Asked) -> None:
    """Announce a chunk of a length that is none."""
    await asked.take_body()
    await asked.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + POISON + b"\r\n0\r\n\r\n")


async def talk_garbage(asked: Asked) -> None:
    """Answer in no protocol."""
    await asked.say(b"\x16\x03\x01\x00 " + POISON)
    await asked.wait()


async def frame_twice(asked: Asked) -> None:
    """Answer with a length and in chunks: RFC 9112, 6.1 has no answer like that."""
    await asked.take_body()
    fields = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    await asked.say(fields + b"5\r\nhello\r\n0\r\n\r\n" + POISON)


async def never_end_the_head(asked: Asked) -> None:
    """Send one field line that is too long for anybody."""
    await asked.say(b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * HEAD_BYTES)
    await asked.wait()


@dataclass(frozen=True, slots=True)
class Manner:
    """One way to answer."""

    name: str
    act: Callable[[Asked], Awaitable[None]]
    size: int = SMALL_BYTES
    """Of the whole answer's body."""
    is_fair: bool = False
    """Whether a caller may expect that body, whole."""
    share: int = 1
    """How often it is asked for beside the others."""


MANNERS: Final = (
    Manner("answers", partial(answer, size=SMALL_BYTES), is_fair=True, share=12),
    Manner("answers 1 MiB", partial(answer, size=LARGE_BYTES), LARGE_BYTES, is_fair=True, share=3),
    Manner("answers in chunks", answer_in_chunks, is_fair=True, share=3),
    Manner("answers until it closes", answer_until_close, is_fair=True),
    Manner("sends an interim answer first", announce_first, is_fair=True),
    Manner("drips", drip, is_fair=True),
    Manner("answers before it was asked to the end", answer_early),
    Manner("says more than it was asked for", say_too_much),
    Manner("does not answer", stall),
    Manner("answers half and stalls", stall_midway),
    Manner("answers half and resets", reset_midway, LARGE_BYTES),
    Manner("resets", reset_at_once),
    Manner("answers half and closes", close_midway),
    Manner("sends a chunk of no length", break_a_chunk),
    Manner("talks garbage", talk_garbage),
    Manner("frames an answer twice", frame_twice),
    Manner("never ends its head", never_end_the_head),
)


def manner_of(user: str) -> Manner:
    """Return the manner that an id chooses."""
    return MANNERS[int(user[:2]) - FIRST]


class FaultyApi:
    """Serve, and note every request.

    Args:
        notes: a file; each request is one line, its method and the user's id, before it is answered.
    """

    def __init__(self, notes: Path) -> None:
        self._notes = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                asked = parse_head(head, reader, writer)
                os.write(self._notes, f"{asked.method} {asked.user}\n".encode())
                await manner_of(asked.user).act(asked)
        writer.close()


def parse_head(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Asked:
    """Read what a gateway has written, which needs no strictness."""
    line, *fields = head.decode().split("\r\n")
    method, path, _ = line.split(" ")
    named = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    length = -1 if "transfer-encoding" in named else int(named.get("content-length", "0"))
    return Asked(reader, writer, method, path.split("/")[3], length)


async def run(port: int, notes: Path) -> None:
    """Serve until killed."""
    api = FaultyApi(notes)
    server = await asyncio.start_server(api.serve, LOOPBACK, port, backlog=1024)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.faulty_api", description="An API that misbehaves.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--notes", type=Path, required=True, help="where requests are noted")
    options = parser.parse_args()
    asyncio.run(run(options.port, options.notes))


if __name__ == "__main__":
    main()
