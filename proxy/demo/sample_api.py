# SPDX-License-Identifier: Apache-2.0
"""The sample API: a small personal-data service over SQLite, for the gateway to stand in front of.

- It trusts whoever reaches it. Asking who, from where and why is the gateway's work.
- The country in a path is authoritative: a user is found under their own country, in lower case, only. ``listings``
  has the routes that answer for whatever country it is.
- It reads no header of its own accord, and keeps and logs nothing of a request. What aiohttp logs belongs to
  whoever runs the application: start it with ``access_log=None``, and mind that the logger ``aiohttp.server``
  quotes requests that are not HTTP.
- Every refusal is ``application/problem+json`` (RFC 9457) and repeats nothing of what the caller sent; only
  what is not HTTP is refused by aiohttp itself, before it comes here.

It does not know the gateway, its policies, or how the people were made up.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from aiohttp import web

from proxy.demo.listings import make_listings
from proxy.demo.records import RECORDS, Records
from proxy.demo.wire import explain_refusals, not_found, stream_lines, to_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp.typedefs import Handler

    from proxy.demo.records import Row

_USER = "SELECT id, country, name, phone FROM users WHERE country = ? AND id = ?"
_USER_IN_FULL = "SELECT id, country, name, phone, email, line_id FROM users WHERE country = ? AND id = ?"
_REPORT = "SELECT id, country, reporter_id, text FROM reports WHERE country = ? AND id = ?"
_USERS_AFTER = """
    SELECT id, country, name, phone FROM users
    WHERE country = ? AND position > coalesce((SELECT position FROM users WHERE id = ?), 0)
    ORDER BY position LIMIT 50
"""
_PAYMENTS = """
    SELECT id, country, user_id, paid_on, shop, amount, currency FROM payments
    WHERE country = ? AND user_id = ? ORDER BY position
"""
_CHANGE_PHONE = "UPDATE users SET phone = ? WHERE country = ? AND id = ?"

_COUNTRY = "{country:[a-z]{2}}"
_ID = "{id:[0-9]+}"
_PHONE = re.compile(r"[0-9+() -]{1,32}")


def create_app(database: Path) -> web.Application:
    """Build the service over a database file, which is opened when the application starts."""

    async def open_records(app: web.Application) -> AsyncIterator[None]:
        with Records(database) as app[RECORDS]:
            yield

    app = web.Application(middlewares=[explain_refusals])
    app.cleanup_ctx.append(open_records)
    app.add_routes(
        [
            web.get("/v1/status", _show_status),
            web.get(f"/v1/{_COUNTRY}/users/{_ID}", _show(_USER)),
            web.put(f"/v1/{_COUNTRY}/users/{_ID}/phone", _change_phone),
            web.get(f"/v1/{_COUNTRY}/reports/{_ID}", _show(_REPORT)),
            web.get(f"/v1/law-enforcement/{_COUNTRY}/users/{_ID}", _show(_USER_IN_FULL)),
            web.get(f"/v1/{_COUNTRY}/payments/{_ID}", _list_payments),
            web.get(f"/v1/{_COUNTRY}/export", _export, allow_head=False),
            *make_listings(),
        ],
    )
    return app


async def _show_status(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _show(statement: str) -> Handler:
    """Make a handler that answers with the one row of this country and id."""

    async def show(request: web.Request) -> web.Response:
        rows = await request.app[RECORDS].read(statement, *_country_and_id(request))
        if not rows:
            raise not_found()
        return web.json_response(rows[0], dumps=to_json)

    return show


async def _change_phone(request: web.Request) -> web.Response:
    phone = _parse_phone(await request.read())
    if not await request.app[RECORDS].change(_CHANGE_PHONE, phone, *_country_and_id(request)):
        raise not_found()
    return web.Response(status=204)


async def _list_payments(request: web.Request) -> web.Response:
    payments = await request.app[RECORDS].read(_PAYMENTS, *_country_and_id(request))
    if not payments:
        raise not_found()
    return web.json_response({"payments": payments, "total": len(payments)}, dumps=to_json)


async def _export(request: web.Request) -> web.StreamResponse:
    records, country = request.app[RECORDS], request.match_info["country"].upper()
    users = await records.read(_USERS_AFTER, country, "")
    if not users:
        raise not_found()

    async def turn_pages() -> AsyncIterator[list[Row]]:
        page = users
        while page:
            yield page
            page = await records.read(_USERS_AFTER, country, page[-1]["id"])

    return await stream_lines(request, turn_pages())


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
