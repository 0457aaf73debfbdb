# SPDX-License-Identifier: Apache-2.0
"""The sample API: a small personal-data service over SQLite, for the gateway to stand in front of.

- It trusts whoever reaches it. Asking who, from where and why is the gateway's work.
- The country in a path is authoritative: a user is found under their own country, in lower case, only.
- It reads no header of its own accord, and keeps and logs nothing of a request. What aiohttp logs belongs to
  whoever runs the application: start it with ``access_log=None``, and mind that the logger ``aiohttp.server``
  quotes requests that are not HTTP.
- Every refusal is ``application/problem+json`` (RFC 9457) and repeats nothing of what the caller sent; only
  what is not HTTP is refused by aiohttp itself, before it comes here.

It does not know the gateway, its policies, or how the people were made up.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import astuple
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path
    from typing import Self

    from aiohttp.typedefs import Handler

    from proxy.demo.people import Report, User

    Row = dict[str, str]

_SCHEMA = (
    """CREATE TABLE users (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, country TEXT NOT NULL,
       name TEXT NOT NULL, phone TEXT NOT NULL, email TEXT NOT NULL, line_id TEXT NOT NULL)""",
    """CREATE TABLE reports (id TEXT PRIMARY KEY, country TEXT NOT NULL, reporter_id TEXT NOT NULL,
       text TEXT NOT NULL)""",
    "CREATE INDEX users_by_country ON users (country, position)",
)
_USER = "SELECT id, country, name, phone FROM users WHERE country = ? AND id = ?"
_USER_IN_FULL = "SELECT id, country, name, phone, email, line_id FROM users WHERE country = ? AND id = ?"
_REPORT = "SELECT id, country, reporter_id, text FROM reports WHERE country = ? AND id = ?"
_USERS_AFTER = """
    SELECT id, country, name, phone FROM users
    WHERE country = ? AND position > coalesce((SELECT position FROM users WHERE id = ?), 0)
    ORDER BY position LIMIT 50
"""
_CHANGE_PHONE = "UPDATE users SET phone = ? WHERE country = ? AND id = ?"

_COUNTRY = "{country:[a-z]{2}}"
_ID = "{id:[0-9]+}"
_PHONE = re.compile(r"[0-9+() -]{1,32}")


def create_database(path: Path, users: Iterable[User], reports: Iterable[Report]) -> None:
    """Write users and reports into a new database file, all of them or none.

    Raises:
        sqlite3.OperationalError: the file cannot be written, or is such a database already.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("BEGIN")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.executemany("INSERT INTO users VALUES (NULL, ?, ?, ?, ?, ?, ?)", map(astuple, users))
        connection.executemany("INSERT INTO reports VALUES (?, ?, ?, ?)", map(astuple, reports))


def create_app(database: Path) -> web.Application:
    """Build the service over a database file, which is opened when the application starts."""

    async def open_records(app: web.Application) -> AsyncIterator[None]:
        with Records(database) as app[RECORDS]:
            yield

    app = web.Application(middlewares=[_explain_refusals])
    app.cleanup_ctx.append(open_records)
    app.add_routes(
        [
            web.get("/v1/status", _show_status),
            web.get(f"/v1/{_COUNTRY}/users/{_ID}", _show(_USER)),
            web.put(f"/v1/{_COUNTRY}/users/{_ID}/phone", _change_phone),
            web.get(f"/v1/{_COUNTRY}/reports/{_ID}", _show(_REPORT)),
            web.get(f"/v1/law-enforcement/{_COUNTRY}/users/{_ID}", _show(_USER_IN_FULL)),
            web.get(f"/v1/{_COUNTRY}/export", _export, allow_head=False),
        ],
    )
    return app


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

    async def read(self, statement: str, *values: str) -> list[Row]:
        """Return what a statement finds."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, statement, values)

    async def change(self, statement: str, *values: str) -> int:
        """Return how many rows a statement changed."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._change, statement, values)

    def _read(self, statement: str, values: tuple[str, ...]) -> list[Row]:
        return [dict(row) for row in self._connection.execute(statement, values)]

    def _change(self, statement: str, values: tuple[str, ...]) -> int:
        return self._connection.execute(statement, values).rowcount


RECORDS = web.AppKey("RECORDS", Records)


@web.middleware
async def _explain_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        problem = {
            "type": "about:blank",
            "title": refusal.reason,
            "status": refusal.status,
            "detail": refusal.text,
        }
        refusal.text = _to_json(problem)
        refusal.content_type = "application/problem+json"
        raise


async def _show_status(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _show(statement: str) -> Handler:
    """Make a handler that answers with the one row of this country and id."""

    async def show(request: web.Request) -> web.Response:
        rows = await request.app[RECORDS].read(statement, *_country_and_id(request))
        if not rows:
            raise _not_found()
        return web.json_response(rows[0], dumps=_to_json)

    return show


async def _change_phone(request: web.Request) -> web.Response:
    phone = _parse_phone(await request.read())
    if not await request.app[RECORDS].change(_CHANGE_PHONE, phone, *_country_and_id(request)):
        raise _not_found()
    return web.Response(status=204)


async def _export(request: web.Request) -> web.StreamResponse:
    records, country = request.app[RECORDS], request.match_info["country"].upper()
    users = await records.read(_USERS_AFTER, country, "")
    if not users:
        raise _not_found()
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    # The client may go at any line. The next write says so, and nothing more is read for it.
    with suppress(ConnectionError):
        await response.prepare(request)
        while users:
            for user in users:
                await response.write(_to_json(user).encode() + b"\n")
            users = await records.read(_USERS_AFTER, country, users[-1]["id"])
        await response.write_eof()
    return response


def _country_and_id(request: web.Request) -> tuple[str, str]:
    return request.match_info["country"].upper(), request.match_info["id"]


def _parse_phone(body: bytes) -> str:
    try:
        phone = json.loads(body)["phone"]
    except (ValueError, KeyError, TypeError, RecursionError):
        phone = None
    if not isinstance(phone, str) or not _PHONE.fullmatch(phone):
        raise web.HTTPBadRequest(text='Send {"phone": "..."}: 1 to 32 digits, spaces, +, - and parentheses.')
    return phone


def _not_found() -> web.HTTPNotFound:
    return web.HTTPNotFound(text="Nothing under this country and id.")


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
