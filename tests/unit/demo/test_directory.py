# SPDX-License-Identifier: Apache-2.0
"""The directory over a real socket."""

from collections.abc import AsyncIterator
from typing import TypeAlias

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.demo.directory import MAX_IDS, create_directory

Client: TypeAlias = TestClient[web.Request, web.Application]


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    async with TestClient(TestServer(create_directory({"42": "JP", "43": "KR"}))) as client:
        yield client


async def test_a_user_has_a_country_and_nothing_else_is_told(client: Client) -> None:
    response = await client.get("/countries/42")
    assert (response.status, await response.json()) == (200, {"country": "JP"})


async def test_nobody_has_none(client: Client) -> None:
    response = await client.get("/countries/44")
    assert (response.status, response.content_type) == (404, "application/problem+json")
    assert "44" not in await response.text()


async def test_many_are_told_at_once_and_an_id_of_nobody_is_left_out(client: Client) -> None:
    response = await client.get("/countries?ids=43,44,42")
    assert await response.json() == {"countries": {"43": "KR", "42": "JP"}}


@pytest.mark.parametrize(("count", "status"), [(MAX_IDS, 200), (MAX_IDS + 1, 400)])
async def test_there_is_a_bound_on_many(client: Client, count: int, status: int) -> None:
    response = await client.get("/countries", params={"ids": ",".join("7" * count)})
    assert response.status == status
