# SPDX-License-Identifier: Apache-2.0
"""What the sample API holds: users, reported messages and payments, in one SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple
from typing import TYPE_CHECKING, TypeAlias

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Self

    from proxy.demo.people import Payment, Report, User

Value: TypeAlias = str | int
Row: TypeAlias = dict[str, Value]

_SCHEMA = (
    """CREATE TABLE users (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, country TEXT NOT NULL,
       name TEXT NOT NULL, phone TEXT NOT NULL, email TEXT NOT NULL, line_id TEXT NOT NULL)""",
    """CREATE TABLE reports (id TEXT PRIMARY KEY, country TEXT NOT NULL, reporter_id TEXT NOT NULL,
       text TEXT NOT NULL)""",
    """CREATE TABLE payments (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, country TEXT NOT NULL,
       user_id TEXT NOT NULL, paid_on TEXT NOT NULL, shop TEXT NOT NULL, amount INTEGER NOT NULL,
       currency TEXT NOT NULL)""",
    "CREATE INDEX users_by_country ON users (country, position)",
    "CREATE INDEX payments_by_user ON payments (user_id, position)",
)


def create_database(
    path: Path, users: Iterable[User], reports: Iterable[Report], payments: Iterable[Payment] = ()
) -> None:
    """Write everything into a new database file, or nothing.

    Raises:
        sqlite3.OperationalError: the file cannot be written, or is such a database already.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("BEGIN")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.executemany("INSERT INTO users VALUES (NULL, ?, ?, ?, ?, ?, ?)", map(astuple, users))
        connection.executemany("INSERT INTO reports VALUES (?, ?, ?, ?)", map(astuple, reports))
        connection.executemany("INSERT INTO payments VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", map(astuple, payments))


class Records:
    """An open database. One thread does all its work, so that the loop never waits for a disk."""

    def __init__(self, database: Path) -> None:
        """Open the file.

        Raises:
            sqlite3.OperationalError: there is no such file.
        """
        # mode=rw: a file that is missing is an error, not a new and empty database.
        uri = f"{database.absolute().as_uri()}?mode=rw"
        self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sample-api-records")

    def __enter__(self) -> Self:
        """Return the records themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the statement that runs, then close the file."""
        self._thread.shutdown()
        self._connection.close()

    async def read(self, statement: str, *values: Value) -> list[Row]:
        """Return what a statement finds."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, statement, values)

    async def change(self, statement: str, *values: Value) -> int:
        """Return how many rows a statement changed."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._change, statement, values)

    def _read(self, statement: str, values: tuple[Value, ...]) -> list[Row]:
        return [dict(row) for row in self._connection.execute(statement, values)]

    def _change(self, statement: str, values: tuple[Value, ...]) -> int:
        return self._connection.execute(statement, values).rowcount


RECORDS = web.AppKey("RECORDS", Records)
