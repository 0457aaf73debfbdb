# SPDX-License-Identifier: Apache-2.0
"""The sample API over a real socket and a real database file."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from proxy.demo.people import User, generate_reports, generate_users
from proxy.demo.records import create_database
from proxy.demo.sample_api import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp.typedefs import Handler, Middleware

    Client = TestClient[web.Request, web.Application]

USERS = tuple(generate_users(per_country=120))
REPORTS = tuple(generate_reports(USERS))
USER = USERS[41]
PHONE = "/v1/jp/users/42/phone"

NOBODY = [
    pytest.param("/v1/jp/users/999999", id="a user that does not exist"),
    pytest.param("/v1/kr/users/42", id="a user of another country"),
    pytest.param("/v1/JP/users/42", id="a country in upper case"),
    pytest.param("/v1/jp/users/042", id="an id with a leading zero"),
    pytest.param("/v1/jp/users/%EF%BC%94%EF%BC%92", id="an id in full-width digits"),
    pytest.param("/v1/jp/users/42/", id="a slash too many"),
    pytest.param("/v1/kr/reports/42", id="a report of another country"),
    pytest.param("/v1/law-enforcement/kr/users/42", id="in full, a user of another country"),
    pytest.param("/v1/fr/export", id="an export of a country without users"),
    pytest.param("/v1/nothing", id="a path that does not exist"),
]
BAD_PHONES = [
    pytest.param(b"", id="no body"),
    pytest.param(b'{"phone": ', id="half a body"),
    pytest.param(b"\xff\xfe\xff", id="no text"),
    pytest.param(b"[" * 100_000, id="a nest too deep to parse"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b'{"mobile": "090-0000-0000"}', id="no phone"),
    pytest.param(b'{"phone": 9000000000}', id="a phone that is a number"),
    pytest.param(b'{"phone": ""}', id="an empty phone"),
    pytest.param(b'{"phone": "' + b"0" * 33 + b'"}', id="a phone too long"),
    pytest.param(rb'{"phone": "\ud800"}', id="half a surrogate pair"),
]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "sample.db"
    create_database(path, USERS, REPORTS)
    return path


@pytest_asyncio.fixture
async def client(database: Path) -> AsyncIterator[Client]:
    async with TestClient(TestServer(create_app(database))) as client:
        yield client


def as_served(user: User) -> dict[str, str]:
    return {"id": user.id, "country": user.country, "name": user.name, "phone": user.phone}


@asynccontextmanager
async def run(app: web.Application) -> AsyncIterator[str]:
    """Serve as in production: a TestServer would cancel the handler when the client goes."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def tell_when_ended(ended: asyncio.Event) -> Middleware:
    @web.middleware
    async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        finally:
            ended.set()

    return tell


async def test_status_is_ok(client: Client) -> None:
    response = await client.get("/v1/status")
    assert (response.status, await response.json()) == (200, {"status": "ok"})


async def test_user_is_shown_in_their_own_script(client: Client) -> None:
    response = await client.get("/v1/jp/users/42")
    assert response.status == 200
    assert await response.json() == as_served(USER)
    assert USER.name in await response.text()


async def test_user_is_shown_in_full_to_law_enforcement(client: Client) -> None:
    response = await client.get("/v1/law-enforcement/jp/users/42")
    assert await response.json() == as_served(USER) | {"email": USER.email, "line_id": USER.line_id}


async def test_report_is_shown(client: Client) -> None:
    response = await client.get("/v1/jp/reports/42")
    report = REPORTS[41]
    assert await response.json() == {
        "id": "42",
        "country": "JP",
        "reporter_id": report.reporter_id,
        "text": report.text,
    }


@pytest.mark.parametrize("path", NOBODY)
async def test_get_refuses_with_404(client: Client, path: str) -> None:
    response = await client.get(path)
    problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["status"], problem["title"]) == (404, 404, "Not Found")


async def test_phone_is_changed(client: Client) -> None:
    response = await client.put(PHONE, json={"phone": "090-0000-0000"})
    assert (response.status, await response.read()) == (204, b"")
    shown = await client.get("/v1/jp/users/42")
    assert (await shown.json())["phone"] == "090-0000-0000"


@pytest.mark.parametrize("body", BAD_PHONES)
async def test_phone_refuses_with_400(client: Client, body: bytes) -> None:
    response = await client.put(PHONE, data=body)
    assert (response.status, response.content_type) == (400, "application/problem+json")
    shown = await client.get("/v1/jp/users/42")
    assert (await shown.json())["phone"] == USER.phone


async def test_phone_of_a_user_of_another_country_is_not_found(client: Client) -> None:
    response = await client.put("/v1/kr/users/42/phone", json={"phone": "010-0000-0000"})
    assert (response.status, response.content_type) == (404, "application/problem+json")


async def test_wrong_method_is_told_the_right_one(client: Client) -> None:
    response = await client.post(PHONE, json={})
    assert (response.status, response.headers["Allow"]) == (405, "PUT")
    assert response.content_type == "application/problem+json"


async def test_export_streams_every_user_of_the_country_once(client: Client) -> None:
    response = await client.get("/v1/jp/export")
    lines = (await response.text()).splitlines()
    assert (response.content_type, "Content-Length" in response.headers) == ("application/x-ndjson", False)
    assert [json.loads(line) for line in lines] == [as_served(user) for user in USERS if user.country == "JP"]


async def test_export_waits_for_a_slow_client_and_stops_quietly_when_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, ended = tmp_path / "large.db", asyncio.Event()
    # 48 MB: more than the sockets' buffers take, so that the export cannot end unread.
    create_database(path, [replace(USER, id=str(n), name="x" * 1_000_000) for n in range(48)], ())
    app = create_app(path)
    app.middlewares.append(tell_when_ended(ended))
    async with run(app) as url, ClientSession(url) as session:
        response = await session.get("/v1/jp/export")
        await response.content.readany()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ended.wait(), 0.2)
        response.close()
        await asyncio.wait_for(ended.wait(), 20)
    assert [record for record in caplog.records if record.name.startswith("aiohttp")] == []


def test_create_database_does_not_write_over_an_old_one(database: Path) -> None:
    before = database.read_bytes()
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        create_database(database, (), ())
    assert database.read_bytes() == before


def test_create_database_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "sample.db"
    with pytest.raises(sqlite3.IntegrityError):
        create_database(path, (USER, USER), ())
    create_database(path, USERS, REPORTS)


async def test_create_app_does_not_start_without_its_database(tmp_path: Path) -> None:
    missing = tmp_path / "missing.db"
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        await TestServer(create_app(missing)).start_server()
    assert not missing.exists()
