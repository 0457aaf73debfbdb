# SPDX-License-Identifier: Apache-2.0
"""The ledger of a gateway on real sockets: every line is one of the schema, and nothing that anybody wrote is in it."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any, Final

import aiohttp
import jsonschema
from aiohttp import web

from proxy.demo.issuer import make_issuer_app
from proxy.ledger.json_schema import make_schema
from proxy.ledger.lines import LINES
from tests.support.ledger import read_raw
from tests.support.world import (
    ENGINEER,
    ISSUERS,
    STAFF,
    SUPPORT,
    World,
    exchange,
    run_world,
    serve_app,
    serve_raw,
    token,
    wait_for,
)

MARK: Final = "zqxmarker"
NUMBER: Final = "9182736"
"""Begins the ids of data subjects; the last digit says how the API answers."""
USER: Final = f"/v1/jp/users/{NUMBER}"
VALIDATOR: Final = jsonschema.Draft202012Validator(make_schema())


async def _answer(request: web.BaseRequest) -> web.StreamResponse:
    """Answer with the mark everywhere; what is asked for says how."""
    await request.read()
    fields = {"Set-Cookie": f"{MARK}={MARK}", "X-Mark": MARK, "Content-Type": f"text/{MARK}"}
    if request.path.endswith(("3", "3/phone")):
        assert request.transport is not None
        request.transport.abort()
    if not request.path.endswith("2"):
        return web.Response(text=MARK, headers=fields, reason=MARK)
    response = web.StreamResponse(headers=fields)
    await response.prepare(request)
    for _ in range(20):
        await response.write(MARK.encode() * 1000)
        await asyncio.sleep(0.01)
    return response


def _fields(claims: dict[str, Any] | None) -> dict[str, str]:
    sent = {
        "X-Forwarded-For": "10.20.3.7",
        "Cookie": f"session={MARK}",
        "User-Agent": MARK,
        "Referer": f"https://example.com/{MARK}",
        "X-Mark": MARK,
        "Traceparent": f"00-{MARK:z<32}-{MARK:z<16}-01",
        "Tracestate": f"{MARK}={MARK}",
        "Sekisho-Purpose": MARK,
        "Sekisho-Case": MARK,
    }
    if claims is None:
        return sent
    marked = {"sub": MARK, "email": f"{MARK}@example.com", "name": MARK, MARK: MARK}
    return sent | {"Authorization": f"Bearer {token(claims, **marked)}"}


async def _drive(world: World) -> set[int]:
    """Ask for everything that there is an outcome for; return the statuses that came."""
    seen = set()
    asked: list[tuple[dict[str, Any] | None, str, str]] = [
        (STAFF, "GET", f"{USER}1"),
        (STAFF, "GET", f"{USER}1?q={MARK}"),
        (STAFF, "GET", f"{USER}2"),
        (STAFF, "GET", f"{USER}3"),
        (STAFF, "GET", f"/v1/{MARK}/{MARK}"),
        (STAFF, "DELETE", f"{USER}1"),
        (ENGINEER, "GET", f"{USER}1"),
        (SUPPORT, "PUT", f"{USER}1/phone"),
        (SUPPORT, "PUT", f"{USER}3/phone"),
        *[(None, "GET", f"{USER}1")] * 25,
    ]
    async with aiohttp.ClientSession() as session:
        for claims, method, target in asked:
            body = f'{{"phone":"{MARK}"}}' if method == "PUT" else None
            with contextlib.suppress(aiohttp.ClientError):
                async with session.request(method, world.url + target, headers=_fields(claims), data=body) as response:
                    seen.add(response.status)
                    await response.read()
    for line in (f"GET {USER}%{MARK} HTTP/1.1", f"{MARK} {USER}1 HTTP/1.1", f"{MARK} {MARK} {MARK}"):
        seen.add((await exchange(world, line, f"Host: {MARK}", f"Cookie: {MARK}")).status)
    return seen


async def _leave_midway(world: World) -> None:
    """Ask for an answer, and be gone before all of it came."""
    reader, writer = await asyncio.open_connection(world.host, world.port)
    sent = _fields(STAFF) | {"Host": "gateway"}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    writer.write(f"GET {USER}2 HTTP/1.1\r\n{head}\r\n".encode())
    await reader.readline()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_every_line_is_one_of_the_schema_and_nothing_that_anybody_wrote_is_in_it(tmp_path: Path) -> None:
    async with serve_raw(_answer) as upstream, serve_app(make_issuer_app(ISSUERS)) as idp:
        jwks = {name: f"{idp}/{name}/jwks.json?key={MARK}" for name in ISSUERS}
        async with run_world(tmp_path, upstream, ledger_checkpoint_lines=10, jwks=jwks) as world:
            seen = await _drive(world)
            await _leave_midway(world)
            await wait_for(lambda: any(end.get("reason") == "client-gone" for end in world.records("end")))
    lines = read_raw(world.ledger)
    records = [json.loads(line) for line in lines]
    for record in records:
        VALIDATOR.validate(record)
    assert [line for line in lines if MARK.encode() in line.lower() or NUMBER.encode() in line] == []
    assert {200, 400, 401, 403, 404, 405, 502} <= seen
    kinds = {record["line"] for record in records}
    assert kinds >= {"segment", "start", "bundle", "decision", "released", "end", "refusals", "checkpoint", "stop"}
    assert kinds <= {kind.__struct_config__.tag for kind in LINES}
    assert [record["n"] for record in records] == list(range(len(records)))
