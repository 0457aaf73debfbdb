# SPDX-License-Identifier: Apache-2.0
"""What operators are told of a real gateway: of its API's health, and while it stops."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.server.test_workers import run_crew
from tests.support.world import headers, run_world, serve_raw

JP = "/v1/jp/users/42"


class Api:
    """An API with a path of its own for its health, whose answers to callers wait until they are let go."""

    def __init__(self) -> None:
        self.health = 200
        self.asked: list[dict[str, str]] = []
        """The fields of each question for its health."""
        self.taken = asyncio.Event()
        self.go_on = asyncio.Event()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/healthz":
            self.asked.append(dict(request.headers))
            return web.Response(status=self.health, text="s3cret")
        self.taken.set()
        await self.go_on.wait()
        return web.json_response({"id": "42", "name": "n"})


@contextlib.asynccontextmanager
async def an_api() -> AsyncIterator[tuple[Api, str]]:
    api = Api()
    async with serve_raw(api.answer) as url:
        yield api, url


async def told(url: str, **options: Any) -> tuple[int, dict[str, Any]]:
    async with aiohttp.request("GET", url, **options) as answer:
        assert answer.content_type == ("application/json" if answer.status == 200 else "application/problem+json")
        return answer.status, await answer.json(content_type=None)


async def test_an_api_that_only_the_gateway_reaches_is_probed_through_it(tmp_path: Path) -> None:
    async with an_api() as (api, url), run_world(tmp_path, url, upstream_health={"users": "/healthz"}) as world:
        place = f"{world.admin}/apis/users/health"
        assert await told(place, headers=headers()) == (200, {"healthy": True})
        api.health = 503
        await _become(place, 503)
        status, problem = await told(place)
        assert (status, problem["type"]) == (503, "urn:sekisho:admin:api-unhealthy")
        assert problem["detail"] == "users: it answers 503; users/JP: it answers 503"
        assert len(api.asked) % 2 == 0, "two places, each time"
        assert all({name.lower() for name in asked} == {"host", "user-agent", "accept", "connection"}
                   for asked in api.asked), "nothing of whoever asked goes on"  # fmt: skip
        assert (await told(f"{world.admin}/apis/orders/health"))[0] == 404
        assert world.records() == []
        assert "sekisho_decisions_total{" not in await _metrics(world.admin), "it is no decision"


async def test_without_a_path_an_api_is_not_asked(tmp_path: Path) -> None:
    async with an_api() as (api, url), run_world(tmp_path, url) as world:
        assert (await told(f"{world.admin}/apis/users/health"))[0] == 404
        assert api.asked == []


async def test_while_it_stops_it_says_so_until_the_last_request_has_ended(tmp_path: Path) -> None:
    async with an_api() as (api, url), contextlib.AsyncExitStack() as stack, aiohttp.ClientSession() as session:
        world = await stack.enter_async_context(run_world(tmp_path, url, upstream_health={"users": "/healthz"}))
        asked = asyncio.ensure_future(session.get(world.url + JP, headers=headers()))
        await asyncio.wait_for(api.taken.wait(), 10)
        stopping = asyncio.ensure_future(stack.aclose())
        await _become(f"{world.admin}/readyz", 503)
        _, problem = await told(f"{world.admin}/readyz")
        assert (problem["stopping"], problem["detail"][:15]) == (True, "It is stopping:")
        assert await told(f"{world.admin}/livez") == (200, {"alive": True})
        assert (await told(f"{world.admin}/apis/users/health"))[0] == 200
        assert "sekisho_passages_in_progress 1.0" in await _metrics(world.admin)
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(world.url + JP, headers=headers())
        api.go_on.set()
        assert (await asked).status == 200
        await asyncio.wait_for(stopping, 20)


@pytest.mark.timeout(180)
async def test_a_supervisor_tells_the_same(tmp_path: Path) -> None:
    async with an_api() as (api, url), run_crew(
        tmp_path, upstream=url, upstream_health='{"users": "/healthz"}'
    ) as crew, aiohttp.ClientSession() as session:  # fmt: skip
        place = f"{crew.admin}/apis/users/health"
        assert await told(place) == (200, {"healthy": True})
        api.health = 500
        await _become(place, 503)
        asked = asyncio.ensure_future(session.get(crew.url + JP, headers=headers()))
        await asyncio.wait_for(api.taken.wait(), 30)
        crew.process.send_signal(signal.SIGTERM)
        await _become(f"{crew.admin}/readyz", 503)
        assert (await told(f"{crew.admin}/readyz"))[1]["stopping"] is True
        api.go_on.set()
        assert (await asked).status == 200
        assert await asyncio.wait_for(crew.process.wait(), 60) == 0


async def _become(url: str, status: int) -> None:
    async with asyncio.timeout(20):
        while (await told(url))[0] != status:
            await asyncio.sleep(0.01)


async def _metrics(admin: str) -> str:
    async with aiohttp.request("GET", f"{admin}/metrics") as answer:
        return await answer.text()
