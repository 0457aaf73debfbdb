# SPDX-License-Identifier: Apache-2.0
"""An API that is served in two countries: each request goes where its subject's country is served."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from aiohttp import web

from tests.support.command import write_policies
from tests.support.world import World, headers, run_world, serve_raw

EVERYWHERE: Final = (
    "rules/allow.yaml",
    "rules:\n",
    """\
rules:
  - id: all
    effect: allow
    when: {caller.affiliate: ly, subject.country: {any: [JP, KR, TW]}, resource.route: user}
""",
)


@contextlib.asynccontextmanager
async def place(country: str) -> AsyncIterator[str]:
    """Serve the API in a country: it says which it is, and how it was called."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.json_response({"name": f"{country} {request.headers['Host']}"})

    async with serve_raw(answer) as url:
        yield url


class Served:
    """A gateway, and where its API is."""

    def __init__(self, world: World, places: dict[str, str]) -> None:
        self.world = world
        self.places = places

    async def ask(self, target: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.world.url + target, headers={**headers(), "Host": "users.internal"}) as answer,
        ):
            return answer.status, str((await answer.json()).get("name", ""))

    async def metrics(self) -> str:
        async with aiohttp.request("GET", f"{self.world.admin}/metrics") as answer:
            return await answer.text()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    policies = write_policies(tmp_path / "policies", EVERYWHERE)
    async with place("Korea") as korea, place("Japan") as japan:
        places = {"users": korea, "users/JP": japan}
        async with run_world(tmp_path, korea, policies=policies, upstream=places) as world:
            yield Served(world, places)


async def test_each_request_goes_where_its_subjects_country_is_served(served: Served) -> None:
    korea, japan = (served.places[name].removeprefix("http://") for name in ("users", "users/JP"))
    assert await served.ask("/v1/jp/users/42") == (200, f"Japan {japan}")
    assert await served.ask("/v1/tw/users/42") == (200, f"Korea {korea}")
    assert await served.ask("/v1/jp/users/43") == (200, f"Japan {japan}")


async def test_the_ledger_and_the_metrics_name_the_places(served: Served) -> None:
    await served.ask("/v1/jp/users/42")
    (start,) = served.world.records("start")
    assert start["upstreams"] == served.places
    told = await served.metrics()
    assert 'sekisho_upstream_connections{api="users/JP",state="idle"} 1.0' in told
    assert 'sekisho_upstream_connections{api="users",state="idle"} 0.0' in told


async def test_where_one_place_is_down_the_other_one_serves(tmp_path: Path) -> None:
    policies = write_policies(tmp_path / "policies", EVERYWHERE)
    async with place("Korea") as korea:
        places = {"users": korea, "users/JP": "http://127.0.0.1:1"}
        async with run_world(tmp_path, korea, policies=policies, upstream=places) as world:
            served = Served(world, places)
            assert (await served.ask("/v1/jp/users/42"))[0] == 502
            assert (await served.ask("/v1/tw/users/42"))[0] == 200
