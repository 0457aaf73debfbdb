# SPDX-License-Identifier: Apache-2.0
"""Asks an SQLite database that others write for countries. This module does I/O.

- It is opened for reading alone, and ids are parameters of the bundle's query, never a part of its text.
- A database is read by threads of its own. What takes too long is broken off by SQLite itself: no thread is lost.
- A file that was put in the place of another one is opened anew: whoever has the old one open would read it for ever.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from proxy.clock import elapsed_seconds
from proxy.errors import FetchError
from proxy.model.subject import Located
from proxy.subject.places import IDS, split_ids
from proxy.subject.register import Asked, SqliteQuery
from proxy.subject.told import read_rows

MAX_ROWS: Final = 16
"""Of one id: it has no more countries than that."""
MAX_VALUE_BYTES: Final = 64 * 1024
_STEPS: Final = 2000
"""Instructions of SQLite's machine between two looks at the clock: some tens of microseconds."""


class _Opened(msgspec.Struct):
    """A connection, and which file it has open."""

    connection: sqlite3.Connection
    file: tuple[int, int]
    """Its device and number: another file under the same name has other ones."""


class SqliteDirectory:
    """An SQLite database.

    Args:
        asked: how long it may take, and how many questions there are at once.
        how: the question.
    """

    def __init__(self, asked: Asked, how: SqliteQuery) -> None:
        self._asked = asked
        self._how = how
        self._idle: list[_Opened] = []
        """Connections that no thread uses."""
        self._threads: ThreadPoolExecutor | None = None

    def check(self) -> None:
        """Look whether the database is there.

        Raises:
            FetchError: it is not.
        """
        if not Path(self._how.file).is_file():
            raise FetchError(
                f"there is no database {self._how.file}: name another place with --lookup {self._asked.id}=PATH"
            )

    def split(self, ids: Sequence[str]) -> Iterable[list[str]]:
        """Return ids in parts."""
        return split_ids(ids, self._asked.batch)

    async def ask(self, ids: Sequence[str]) -> Mapping[str, Located]:
        """Return what is said of ids.

        Raises:
            FetchError: it cannot be read, or takes too long.
            ValueError: it says more than is asked.
        """
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._asked.at_once, "sekisho-lookup")
        until = elapsed_seconds() + self._asked.timeout_seconds
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._ask, ids, until)

    async def close(self) -> None:
        """Close the connections that no thread uses; those that one does it closes itself."""
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)
        while self._idle:
            self._idle.pop().connection.close()

    def _ask(self, ids: Sequence[str], until: float) -> Mapping[str, Located]:
        try:
            opened = self._take()
            with contextlib.ExitStack() as stack:
                stack.callback(opened.connection.close)
                rows = self._query(opened.connection, ids, until)
                stack.pop_all()  # it is sound: another question may use it
        except sqlite3.DataError as error:  # a value that is too long
            raise ValueError(str(error)) from error
        except (sqlite3.Error, OSError) as error:
            raise FetchError(f"it cannot be read: {error}") from error
        self._idle.append(opened)
        if len(rows) > MAX_ROWS * len(ids):
            raise ValueError(f"it says more than {MAX_ROWS} countries of an id")
        return read_rows(rows, self._asked.form)

    def _query(self, connection: sqlite3.Connection, ids: Sequence[str], until: float) -> list[tuple[object, ...]]:
        connection.set_progress_handler(lambda: elapsed_seconds() > until, _STEPS)
        connection.execute(f"PRAGMA busy_timeout = {max(0, round(1000 * (until - elapsed_seconds())))}")
        marks = ", ".join("?" * len(ids))
        statement = (
            f"WITH told (id, country) AS (\n{self._how.query.replace(IDS, marks)}\n)\n"
            "SELECT CAST(id AS TEXT), CAST(country AS TEXT) FROM told LIMIT ?"
        )
        return connection.execute(statement, (*ids, MAX_ROWS * len(ids) + 1)).fetchall()

    def _take(self) -> _Opened:
        """Return a connection to the file as it lies there now."""
        status = os.stat(self._how.file)  # noqa: PTH116 - in a thread
        file = status.st_dev, status.st_ino
        with contextlib.suppress(IndexError):
            while True:
                opened = self._idle.pop()
                if opened.file == file:
                    return opened
                opened.connection.close()
        connection = sqlite3.connect(
            f"{Path(self._how.file).as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.text_factory = _read_text
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        for pragma in ("query_only = ON", "mmap_size = 0", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        return _Opened(connection, file)


def _read_text(data: bytes) -> str:
    """Read a text; one that is no UTF-8 is no id that was asked for, and no country."""
    return data.decode("utf-8", "replace")
