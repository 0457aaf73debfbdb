# SPDX-License-Identifier: Apache-2.0
"""A Redis of a test's own, and a server that speaks as much of RESP as a client needs, for what a real one does not do
on demand.
"""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

Answer = bytes | None
"""What is written; None: the connection is closed instead."""

INFO: Final = "maxmemory:{maxmemory}\r\nmaxmemory_policy:{policy}\r\n"


class FakeRedis:
    """Answers as it is told, and remembers every command."""

    def __init__(self) -> None:
        self.commands: list[list[bytes]] = []
        self.on_script: Callable[[list[bytes]], Answer | Awaitable[Answer]] = self.count_one
        self.on_read: Callable[[bytes], Answer | Awaitable[Answer]] = lambda _: b"$0\r\n\r\n"
        """Answers a ``GETRANGE`` of a key."""
        self.maxmemory = 0
        self.policy = "noeviction"
        self.connections = 0

    @property
    def scripts(self) -> list[list[bytes]]:
        """The calls of scripts."""
        return [command for command in self.commands if command[0] == b"EVALSHA"]

    @staticmethod
    def count_one(command: list[bytes]) -> bytes:
        """Answer what ``SEE`` does to whoever is the first."""
        keys = int(command[2])
        if len(command) == 3 + 5 * keys:  # what takes back has no word of its own
            return b":1\r\n"
        said: list[int | bytes] = [1, b"1800000000000000", b""]
        return array(command[3 + keys], *said * keys)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while command := await _read_command(reader):
                self.commands.append(command)
                answer = await self._answer(command)
                if answer is None:
                    return
                writer.write(answer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, command: list[bytes]) -> Answer:
        if command[0] == b"INFO":
            text = INFO.format(maxmemory=self.maxmemory, policy=self.policy).encode()
            return b"$%d\r\n%b\r\n" % (len(text), text)
        if command[0] == b"EVALSHA":
            said = self.on_script(command)
            return said if said is None or isinstance(said, bytes) else await said
        if command[0] == b"GETRANGE":
            value = self.on_read(command[1])
            return value if value is None or isinstance(value, bytes) else await value
        return b"+OK\r\n"


@contextlib.asynccontextmanager
async def serve_fake_redis() -> AsyncIterator[tuple[FakeRedis, str]]:
    """Serve one on a free port; yields it and its URL."""
    fake = FakeRedis()
    server = await asyncio.start_server(fake._serve, "127.0.0.1", 0)
    try:
        yield fake, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()


def array(*items: int | bytes) -> bytes:
    """Render an answer of several parts."""
    parts = [b":%d\r\n" % item if isinstance(item, int) else b"$%d\r\n%b\r\n" % (len(item), item) for item in items]
    return b"*%d\r\n" % len(parts) + b"".join(parts)


MISSING: Final = "redis-server is missing (Debian: apt-get install --no-install-recommends redis-server)."
_QUIET: Final = ("--port", "0", "--save", "", "--appendonly", "no")
_START_SECONDS: Final = 20


class RealRedis(msgspec.Struct):
    """A ``redis-server``, behind a socket in a folder of the test's."""

    folder: Path
    arguments: tuple[str, ...]
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        where = ("--unixsocket", str(self.socket), "--dir", str(self.folder))
        self.process = subprocess.Popen(
            [shutil.which("redis-server") or MISSING, *_QUIET, *where, *self.arguments], stdout=subprocess.DEVNULL
        )
        async with asyncio.timeout(_START_SECONDS):
            while not await self._answers():
                assert self.process.poll() is None, "redis-server ended"
                await asyncio.sleep(0.02)

    def stop(self) -> None:
        """End it as a crash does: nothing is kept."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    async def ask(self, *words: str) -> bytes:
        """Say one command and return the first line of the answer."""
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            said = [b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()) for word in words]
            writer.write(b"*%d\r\n" % len(said) + b"".join(said))
            return await reader.readline()
        finally:
            writer.close()

    async def _answers(self) -> bool:
        try:
            return bool(await self.ask("PING"))
        except OSError:
            return False


@contextlib.asynccontextmanager
async def run_redis(folder: Path, *arguments: str) -> AsyncIterator[RealRedis]:
    """Run a real one until the block ends."""
    if shutil.which("redis-server") is None:
        raise AssertionError(MISSING)
    redis = RealRedis(folder, arguments)
    await redis.start()
    try:
        yield redis
    finally:
        redis.stop()


async def _read_command(reader: asyncio.StreamReader) -> list[bytes]:
    head = await reader.readline()
    if not head:
        return []
    parts = []
    for _ in range(int(head[1:])):
        length = int((await reader.readline())[1:])
        parts.append((await reader.readexactly(length + 2))[:-2])
    return parts
