# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL of a test's own."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec

MISSING: Final = "PostgreSQL is missing (Debian: apt-get install --no-install-recommends postgresql)."
LIBRARY: Final = "asyncpg is missing: install sekisho[postgresql]."
USER: Final = "sekisho"
PASSWORD: Final = "first"
_UNPRIVILEGED: Final = "postgres"
"""Whom Debian's package makes: a server does not run as root."""
_START_SECONDS: Final = 30
_QUIET: Final = ("fsync=off", "shared_buffers=16MB", "max_connections=20", "autovacuum=off", "log_min_messages=panic")


def find_program(name: str) -> str:
    """Return the path of a program of PostgreSQL, which Debian keeps out of the way."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = shutil.which(name) or (str(found[-1]) if found else "")
    assert path, MISSING
    return path


def load_library() -> Any:
    """Return what tests themselves ask with."""
    try:
        import asyncpg  # noqa: PLC0415 - an extra
    except ImportError:
        raise AssertionError(LIBRARY) from None
    return asyncpg


class RealPostgresql(msgspec.Struct):
    """A server on loopback, in a folder of the test's."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        """Make the files of a server with one user."""
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self.folder, password):
                shutil.chown(path, _UNPRIVILEGED)
        options = ("-U", USER, "--pwfile", str(password), "-A", "scram-sha-256", "-E", "UTF8", "--no-sync")
        subprocess.run([find_program("initdb"), "-D", str(self._data), *options], check=True, **self._quietly)

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        said = ["listen_addresses=127.0.0.1", f"port={self.port}", f"unix_socket_directories={self.folder}", *_QUIET]
        settings = [word for each in said for word in ("-c", each)]
        self.process = subprocess.Popen([find_program("postgres"), "-D", str(self._data), *settings], **self._quietly)
        async with asyncio.timeout(_START_SECONDS):
            while not await self._answers():
                assert self.process.poll() is None, "postgres ended"
                await asyncio.sleep(0.05)

    def stop(self) -> None:
        """End it at once, as an operator in a hurry does: sessions are cut."""
        if self.process is not None:
            self.process.send_signal(3)  # SIGQUIT: immediate shutdown; its children end with it
            self.process.wait()
            self.process = None

    async def run(self, statement: str, *arguments: Any, password: str = PASSWORD) -> list[Any]:
        """Run a statement as its only user, and return the rows."""
        connection = await load_library().connect(self.url, password=password)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def _answers(self) -> bool:
        asyncpg = load_library()
        try:
            await self.run("SELECT 1")
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
            return False
        except asyncpg.InvalidPasswordError:  # it was changed by a test
            return True
        return True

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _quietly(self) -> dict[str, Any]:
        own = {"user": _UNPRIVILEGED, "group": _UNPRIVILEGED} if os.geteuid() == 0 else {}
        return {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self.folder, **own}


@contextlib.asynccontextmanager
async def run_postgresql(port: int) -> AsyncIterator[RealPostgresql]:
    """Run one until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="sekisho-postgresql-"))  # pytest's own folders are closed to other users
    server = RealPostgresql(folder, port)
    try:
        await asyncio.to_thread(server.prepare)
        await server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
