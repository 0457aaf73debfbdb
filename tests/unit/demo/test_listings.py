# SPDX-License-Identifier: Apache-2.0
"""The sample API's answers about users of any country, over a real socket and a real database file."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.demo.listings import FEED_LENGTH, MAX_IDS
from proxy.demo.people import COUNTRIES, PAYMENTS_EACH, generate_payments, generate_reports, generate_users
from proxy.demo.records import create_database
from proxy.demo.sample_api import create_app

Client: TypeAlias = TestClient[web.Request, web.Application]

USERS = tuple(generate_users(per_country=120))
REPORTS = tuple(generate_reports(USERS))
PAYMENTS = tuple(generate_payments(USERS))
LIN = [user for user in USERS if "林" in user.name]
"""A surname in Japan and in Taiwan."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "sample.db"
    create_database(path, USERS, REPORTS, PAYMENTS)
    return path


@pytest_asyncio.fixture
async def client(database: Path) -> AsyncIterator[Client]:
    async with TestClient(TestServer(create_app(database))) as client:
        yield client


async def read(client: Client, path: str, **params: str) -> Any:
    response = await client.get(path, params=params)
    assert response.status == 200, await response.text()
    return await response.json()


def ids(answer: Any, member: str = "users") -> list[str]:
    return [record["id"] for record in answer[member]]


async def test_a_search_finds_a_name_in_whatever_country(client: Client) -> None:
    answer = await read(client, "/v1/users", name="林", limit="100")
    assert ids(answer) == [user.id for user in LIN]
    assert {user["country"] for user in answer["users"]} == {"JP", "TW"}
    assert answer["users"][0] == asdict(LIN[0])


async def test_totals_count_what_other_pages_show_too(client: Client) -> None:
    answer = await read(client, "/v1/users", name="林", limit="3")
    assert len(answer["users"]) == 3
    assert answer["total"] == len(LIN)
    assert answer["facets"] == {"country": Counter(user.country for user in LIN)}


async def test_pages_are_turned_by_the_id_of_the_last(client: Client) -> None:
    found, after = [], ""
    while after is not None:
        answer = await read(client, "/v1/users", name="林", limit="4", after=after)
        found += ids(answer)
        after = answer["next"]
    assert found == [user.id for user in LIN]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param({"country": "TW"}, [user for user in USERS if user.country == "TW"], id="a country"),
        pytest.param({"phone": USERS[41].phone}, [USERS[41]], id="a phone number"),
        pytest.param({"ids": "44,42,7777"}, [USERS[41], USERS[43]], id="ids, of which one is nobody's"),
        pytest.param({"name": "林", "country": "JP"}, [u for u in LIN if u.country == "JP"], id="both must hold"),
        pytest.param({"country": "FR"}, [], id="a country without users"),
    ],
)
async def test_a_search_is_narrowed(client: Client, params: dict[str, str], expected: list[Any]) -> None:
    answer = await read(client, "/v1/users", limit="100", **params)
    assert ids(answer) == [user.id for user in expected][:100]
    assert answer["total"] == len(expected)


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"limit": "0"}, id="none at all"),
        pytest.param({"limit": "101"}, id="too many"),
        pytest.param({"limit": "٣"}, id="another digit"),
        pytest.param({"country": "jp"}, id="a country in lower case"),
        pytest.param({"ids": ",".join("7" * (MAX_IDS + 1))}, id="too many ids"),
    ],
)
async def test_a_search_that_makes_no_sense_is_refused(client: Client, params: dict[str, str]) -> None:
    response = await client.get("/v1/users", params=params)
    assert (response.status, response.content_type) == (400, "application/problem+json")


async def test_a_country_in_a_body_is_a_wish(client: Client) -> None:
    response = await client.post("/v1/users/search", json={"country": "TW", "name": "林", "limit": 100})
    countries = [user["country"] for user in (await response.json())["users"]]
    taiwanese = sum(user.country == "TW" for user in LIN)
    assert countries == ["TW"] * taiwanese + ["JP"] * (len(LIN) - taiwanese)
    assert 0 < taiwanese < len(LIN)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="no body"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"[" * 100_000, id="a nest too deep to parse"),
        pytest.param(b'{"name": 7}', id="a name that is a number"),
        pytest.param(rb'{"name": "\ud800"}', id="half a surrogate pair"),
        pytest.param(b'{"country": ["TW"]}', id="countries"),
        pytest.param(b'{"limit": true}', id="a limit that is none"),
    ],
)
async def test_a_search_by_body_that_makes_no_sense_is_refused(client: Client, body: bytes) -> None:
    response = await client.post("/v1/users/search", data=body)
    assert (response.status, response.content_type) == (400, "application/problem+json")


async def test_a_user_is_found_by_the_id_alone(client: Client) -> None:
    user = USERS[41]
    answer = await read(client, "/v1/users/by-id/42")
    assert answer == {"id": "42", "country": "JP", "name": user.name, "phone": user.phone}
    assert (await client.get("/v1/users/by-id/999999")).status == 404


async def test_an_export_has_every_user_once(client: Client) -> None:
    response = await client.get("/v1/export")
    lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert (response.content_type, "Content-Length" in response.headers) == ("application/x-ndjson", False)
    assert [(line["id"], line["country"], line["phone"]) for line in lines] == [
        (user.id, user.country, user.phone) for user in USERS
    ]


async def test_payments_of_one_user(client: Client) -> None:
    answer = await read(client, "/v1/jp/payments/42")
    assert answer["total"] == PAYMENTS_EACH
    assert ids(answer, "payments") == [payment.id for payment in PAYMENTS if payment.user_id == "42"]
    assert {payment["currency"] for payment in answer["payments"]} == {"JPY"}
    assert (await client.get("/v1/kr/payments/42")).status == 404


async def test_payments_of_whomever(client: Client) -> None:
    found, after = [], ""
    while after is not None:
        answer = await read(client, "/v1/payments", limit="100", after=after)
        found += answer["payments"]
        after = answer["next"]
    assert [(each["id"], each["country"], each["amount"]) for each in found] == [
        (payment.id, payment.country, payment.amount) for payment in PAYMENTS
    ]


async def test_payments_of_one_day(client: Client) -> None:
    answer = await read(client, "/v1/payments", limit="100", day="2021-09-30")
    assert ids(answer, "payments") == [each.id for each in PAYMENTS if each.paid_on == "2021-09-30"][:100]


async def test_the_feed_tells_reports_as_events(client: Client) -> None:
    response = await client.get("/v1/reports/feed")
    events = (await response.text()).split("\n\n")
    assert (response.content_type, events.pop()) == ("text/event-stream", "")
    assert all(event.startswith("event: report\ndata: {") for event in events)
    told = [json.loads(event.partition("data: ")[2]) for event in events]
    assert [each["text"] for each in told] == [report.text for report in REPORTS[:FEED_LENGTH]]
    assert {each["country"] for each in told} == set(COUNTRIES)
