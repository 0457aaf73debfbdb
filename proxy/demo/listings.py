# SPDX-License-Identifier: Apache-2.0
"""The routes of the sample API that answer for users of any country: searches, an export, payments, a feed.

- What they find they answer, whoever's it is: each record says its country.
- ``total`` and ``facets`` count all that was found, not only what one page shows; ``next`` is the id of the last of
  the page, to be sent back as ``after``.
- A country that a search is asked for is a filter in a query, and only a wish in a body: those of that country come
  first, and the others behind them.
"""

import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from aiohttp import web

from proxy.demo.records import RECORDS, Row, Value
from proxy.demo.wire import not_found, stream_events, stream_lines, to_json

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
MAX_IDS: Final = 100
FEED_LENGTH: Final = 6
"""Reports that the feed tells before it ends; one of a real platform would go on."""
_PAGE: Final = 50

_COLUMNS: Final = "id, country, name, phone, email, line_id"
_FOUND: Final = """
    (?1 = '' OR country = ?1) AND instr(name, ?2) AND instr(phone, ?3)
    AND (?4 = '[]' OR id IN (SELECT value FROM json_each(?4)))
"""
_SEARCH: Final = f"""
    SELECT {_COLUMNS} FROM users
    WHERE {_FOUND} AND position > coalesce((SELECT position FROM users WHERE id = ?5), 0)
    ORDER BY position LIMIT ?6
"""  # noqa: S608 - constants
_FACETS: Final = f"SELECT country, count(*) AS found FROM users WHERE {_FOUND} GROUP BY country ORDER BY country"  # noqa: S608
_WISHED: Final = f"SELECT {_COLUMNS} FROM users WHERE instr(name, ?) ORDER BY country <> ?, position LIMIT ?"  # noqa: S608
_USER: Final = "SELECT id, country, name, phone FROM users WHERE id = ?"
_USERS_AFTER: Final = """
    SELECT id, country, name, phone FROM users
    WHERE position > coalesce((SELECT position FROM users WHERE id = ?), 0) ORDER BY position LIMIT ?
"""
_PAYMENTS_AFTER: Final = """
    SELECT id, country, user_id, paid_on, shop, amount, currency FROM payments
    WHERE (?1 = '' OR paid_on = ?1) AND position > coalesce((SELECT position FROM payments WHERE id = ?2), 0)
    ORDER BY position LIMIT ?3
"""
_REPORTS: Final = "SELECT id, country, reporter_id, text FROM reports ORDER BY rowid LIMIT ?"

_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_NAME: Final = re.compile(r"[^\x00-\x1f\ud800-\udfff]{0,64}")
_LIMIT: Final = re.compile(r"[1-9][0-9]{0,2}")


def make_listings() -> list[web.RouteDef]:
    """Return the routes."""
    return [
        web.get("/v1/users", _search),
        web.post("/v1/users/search", _search_by_body),
        web.get("/v1/users/by-id/{id:[0-9]+}", _show),
        web.get("/v1/payments", _list_payments),
        web.get("/v1/export", _export, allow_head=False),
        web.get("/v1/reports/feed", _feed, allow_head=False),
    ]


async def _search(request: web.Request) -> web.Response:
    query = request.query
    found = (
        _read_country(query.get("country", "")),
        query.get("name", ""),
        query.get("phone", ""),
        json.dumps(_split_ids(query.get("ids", ""))),
    )
    limit = _read_limit(query.get("limit", str(DEFAULT_LIMIT)))
    records = request.app[RECORDS]
    users = await records.read(_SEARCH, *found, query.get("after", ""), limit + 1)
    facets = {str(row["country"]): int(row["found"]) for row in await records.read(_FACETS, *found)}
    answer = {
        "users": users[:limit],
        "total": sum(facets.values()),
        "facets": {"country": facets},
        "next": users[limit - 1]["id"] if len(users) > limit else None,
    }
    return web.json_response(answer, dumps=to_json)


async def _search_by_body(request: web.Request) -> web.Response:
    asked = _read_search(await request.read())
    country, name = _read_country(asked.get("country", "")), _read_name(asked.get("name", ""))
    limit = _read_limit(str(asked.get("limit", DEFAULT_LIMIT)))
    users = await request.app[RECORDS].read(_WISHED, name, country, limit)
    return web.json_response({"users": users}, dumps=to_json)


async def _show(request: web.Request) -> web.Response:
    rows = await request.app[RECORDS].read(_USER, request.match_info["id"])
    if not rows:
        raise not_found()
    return web.json_response(rows[0], dumps=to_json)


async def _list_payments(request: web.Request) -> web.Response:
    query = request.query
    limit = _read_limit(query.get("limit", str(DEFAULT_LIMIT)))
    found = (query.get("day", ""), query.get("after", ""), limit + 1)
    payments = await request.app[RECORDS].read(_PAYMENTS_AFTER, *found)
    last = payments[limit - 1]["id"] if len(payments) > limit else None
    return web.json_response({"payments": payments[:limit], "next": last}, dumps=to_json)


async def _export(request: web.Request) -> web.StreamResponse:
    return await stream_lines(request, _turn_pages(request))


async def _turn_pages(request: web.Request) -> AsyncIterator[list[Row]]:
    last: Value = ""
    while page := await request.app[RECORDS].read(_USERS_AFTER, last, _PAGE):
        yield page
        last = page[-1]["id"]


async def _feed(request: web.Request) -> web.StreamResponse:
    async def tell() -> AsyncIterator[list[Row]]:
        yield await request.app[RECORDS].read(_REPORTS, FEED_LENGTH)

    return await stream_events(request, tell(), "report")


def _read_search(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise web.HTTPBadRequest(text='Send {"country": "TW", "name": "...", "limit": 20}.')
    return asked


def _read_country(text: object) -> str:
    if not isinstance(text, str) or (text and not _COUNTRY.fullmatch(text)):
        raise web.HTTPBadRequest(text="A country is two capital letters.")
    return text


def _read_name(text: object) -> str:
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise web.HTTPBadRequest(text="A name is a text of at most 64 characters.")
    return text


def _read_limit(text: str) -> int:
    if not _LIMIT.fullmatch(text) or int(text) > MAX_LIMIT:
        raise web.HTTPBadRequest(text=f"A limit is a number from 1 to {MAX_LIMIT}.")
    return int(text)


def _split_ids(text: str) -> Sequence[str]:
    ids = text.split(",") if text else []
    if len(ids) > MAX_IDS:
        raise web.HTTPBadRequest(text=f"Ask for at most {MAX_IDS} ids at once.")
    return ids
