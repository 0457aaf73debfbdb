# SPDX-License-Identifier: Apache-2.0
"""A gateway that asks a directory whose data it is, over real sockets; the directory goes away midway."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from tests.support.command import write_policies
from tests.support.world import World, headers, run_world, serve_raw, wait_for

ROUTES: Final = """\
      - id: by-id
        methods: [GET]
        path: /v1/find/by-id/{user_id}/now
        action: read
        subject: {id: "{user_id}", lookup: directory}

      - id: search
        methods: [GET]
        path: /v1/search
        action: read
        subject: {records: "$.users[*]", id: "$.id", lookup: directory}
        fields: {"$.name": user.name, "$.id": user.unique_id}
        searchable_by: []

"""
EDITS: Final = (
    ("apis/users.yaml", "      - id: user-phone\n", f"{ROUTES}      - id: user-phone\n"),
    (
        "rules/allow.yaml",
        "rules:\n",
        (
            "rules:\n  - {id: by-id, effect: allow, when: {caller.affiliate: ly, subject.country: JP,"
            " resource.route: {any: [by-id, search]}}}\n"
        ),
    ),
)
LOOKUPS: Final = """\
lookups:
  - id: directory
    kind: http
    url: http://127.0.0.1:9/users?ids={ids}
    records: $[*]
    record_id: key
    select: $.country
    timeout: 2s
"""
COUNTRIES: Final = {"1": "JP", "2": "TW", "3": "JP", "5": "JP"}
USERS: Final = [{"id": number, "name": f"name-{number}"} for number in range(1, 5)]


class Directory:
    """A directory that knows some countries, and can be taken for down."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.status = 200

    async def answer(self, request: web.BaseRequest) -> web.Response:
        ids = set(request.query["ids"].split(","))
        self.asked.append(ids)
        found = {id_: {"country": country} for id_, country in COUNTRIES.items() if id_ in ids}
        return web.json_response(found, status=self.status)


async def answer_users(request: web.BaseRequest) -> web.Response:
    return web.json_response({"users": USERS} if request.path == "/v1/search" else {"name": "name-of-one"})


class Served:
    """A gateway, and the directory that it asks."""

    def __init__(self, world: World, directory: Directory, policies: Path) -> None:
        self.world = world
        self.directory = directory
        self.policies = policies

    async def ask(self, target: str) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.world.url + target, headers={**headers(), "Host": "users.internal"}) as answer,
        ):
            body = await answer.read()
            return answer.status, json.loads(body)

    async def refusal(self, target: str) -> tuple[int, str]:
        status, body = await self.ask(target)
        assert "name-" not in json.dumps(body)
        return status, body["reason"]


@contextlib.asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[Served]:
    policies = write_policies(tmp_path / "policies", *EDITS)
    (policies / "lookups.yaml").write_text(LOOKUPS)
    directory = Directory()
    async with serve_raw(answer_users) as api, serve_raw(directory.answer) as url:
        lookup = {"directory": f"{url}/users?ids={{ids}}"}
        async with run_world(tmp_path, api, policies=policies, lookup=lookup) as world:
            yield Served(world, directory, policies)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as found:
        yield found


async def test_the_directory_says_whose_data_it_is(served: Served) -> None:
    assert await served.ask("/v1/find/by-id/1/now") == (200, {"name": "name-of-one"})
    assert await served.refusal("/v1/find/by-id/2/now") == (403, "no-rule-allows")
    assert await served.refusal("/v1/find/by-id/4/now") == (403, "no-rule-allows"), "as of somebody else"
    assert await served.ask("/v1/find/by-id/1/now") == (200, {"name": "name-of-one"})
    assert served.directory.asked == [{"1"}, {"2"}, {"4"}]
    records = await served.world.wait_for_records(4)
    assert records[2]["reason"] == "rule-denies", "nobody is called so: he may be Japanese"
    countries = [(record["subject"]["country"], record["subject"].get("source", "")) for record in records]
    assert countries[0][0] == "JP"
    assert countries[1][0] == "TW"


async def test_records_of_an_answer_are_asked_for_together(served: Served) -> None:
    assert await served.ask("/v1/search") == (200, {"users": [USERS[0], USERS[2]]})
    assert served.directory.asked == [{"1", "2", "3", "4"}]


async def test_an_answer_on_people_of_whom_nobody_can_tell_is_refused(served: Served) -> None:
    served.directory.status = 503
    assert await served.refusal("/v1/search") == (503, "lookup-unavailable")


async def test_while_it_is_down_nobody_is_served_whose_decision_hangs_on_it(served: Served) -> None:
    assert (await served.ask("/v1/find/by-id/1/now"))[0] == 200
    served.directory.status = 503
    for target in ("/v1/find/by-id/3/now", "/v1/find/by-id/2/now", "/v1/find/by-id/5/now"):
        assert await served.refusal(target) == (503, "lookup-unavailable"), target
    assert (await served.ask("/v1/find/by-id/1/now"))[0] == 200, "what was said is still fresh"
    assert (await served.ask("/v1/jp/users/42"))[0] == 200, "nothing hangs on the directory"
    served.directory.status = 200

    async def is_back() -> bool:
        return (await served.ask("/v1/search"))[0] == 200

    async with asyncio.timeout(15):
        while not await is_back():
            await asyncio.sleep(0.2)
    assert await served.ask("/v1/search") == (200, {"users": [USERS[0], USERS[2]]})


async def test_another_bundle_asks_the_way_it_says(served: Served) -> None:
    assert (await served.ask("/v1/find/by-id/1/now"))[0] == 200
    before = served.world.records("bundle")
    (served.policies / "lookups.yaml").write_text(LOOKUPS + "    format: alpha3\n")
    served.world.poke()
    await wait_for(lambda: len(served.world.records("bundle")) > len(before), 30)
    assert await served.refusal("/v1/find/by-id/1/now") == (503, "lookup-unavailable"), (
        "JP is no country of three letters"
    )
    assert served.directory.asked == [{"1"}, {"1"}]
