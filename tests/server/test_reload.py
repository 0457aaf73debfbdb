# SPDX-License-Identifier: Apache-2.0
"""A policy folder that changes under a running gateway, on real sockets."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from proxy.clock import unix_seconds
from tests.support.world import (
    ENGINEER,
    ISSUERS,
    POLICIES,
    SUPPORT,
    World,
    headers,
    run_world,
    serve_raw,
    token,
    wait_for,
)

USER: Final = "/v1/jp/users/42"
URGENT: Final = """\
rules:
  - id: cut-off
    effect: deny
    title: Everybody of LY is cut off for now
    when: {caller.affiliate: ly}
"""


class Place(World, frozen=True, kw_only=True):
    """A running gateway, and its policy folder."""

    policies: Path


async def _answer(_request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"id": 42})


@contextlib.asynccontextmanager
async def a_place(folder: Path, handler: Callable[..., Any] = _answer, **flags: Any) -> AsyncIterator[Place]:
    policies = folder / "policies"
    shutil.copytree(POLICIES, policies)
    async with (
        serve_raw(handler) as api,
        run_world(folder, api, policies=policies, **{"watch_seconds": 0.05, **flags}) as world,
    ):
        yield Place(world.host, world.port, world.admin, world.ledger, world.poke, policies=policies)


async def status(place: Place, claims: dict[str, Any] | None = None, target: str = USER) -> int:
    async with aiohttp.ClientSession() as session, session.get(place.url + target, headers=headers(claims)) as answer:
        return answer.status


async def readiness(place: Place) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{place.admin}/readyz") as answer:
        state: dict[str, Any] = await answer.json()
        return state


async def metric(place: Place, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{place.admin}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


async def becomes(condition: Callable[[], Any]) -> None:
    """Wait until an asynchronous question is answered with yes."""
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.02)


def edit(place: Place, file: str, old: str, new: str) -> None:
    path = place.policies / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


async def test_a_rule_that_is_taken_away_and_put_back_changes_answers_without_a_restart(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        assert await status(place) == 200
        before = (await readiness(place))["policy"]
        rule = "      caller.affiliate: ly\n      caller.kind: employee\n"
        edit(place, "rules/allow.yaml", rule, rule.replace("employee", "service"))
        edit(place, "tests/line-2021.yaml", "rule: ly-staff-read-japan}", "rule: ly-staff-read-japan} # changed")
        for file in ("tests/line-2021.yaml", "bundle.yaml"):
            text = (place.policies / file).read_text(encoding="utf-8")
            cut = text.replace("  tests/line-2021.yaml: [tests]\n", "") if file == "bundle.yaml" else ""
            (place.policies / file).write_text(cut, encoding="utf-8")
        (place.policies / "tests" / "line-2021.yaml").unlink()
        await becomes(lambda: _is(status(place), 403))
        state = await readiness(place)
        assert state["stale"] == []
        assert state["policy"] != before
        assert [record["policy"] for record in place.records("bundle")] == [before, state["policy"]]
        assert await metric(place, 'sekisho_reloads_total{result="loaded"}') == 1


async def _is(answer: Any, expected: Any) -> bool:
    return bool(await answer == expected)


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        pytest.param("rules/deny.yaml", "effect: deny", "effect: den", "is not one of", id="a misspelt effect"),
        pytest.param("rules/deny.yaml", "rules:", "rules: [", "no YAML", id="half a file"),
        pytest.param("rules/deny.yaml", "id: jp-no-china", "id: jp-no-chine", "jp-no-china", id="a rule tests know"),
        pytest.param("rules/deny.yaml", "subject.country: JP, caller.countries", "subject.country: KR, "
                     "caller.countries", "the test", id="a change that the bundle's own tests forbid"),
    ],
)  # fmt: skip
async def test_what_cannot_be_put_in_force_leaves_the_last_good_bundle_there(
    tmp_path: Path, file: str, old: str, new: str, told: str
) -> None:
    async with a_place(tmp_path) as place:
        before = (await readiness(place))["policy"]
        edit(place, file, old, new)
        await becomes(lambda: _is_stale(place))
        state = await readiness(place)
        assert state["policy"] == before
        assert any(told in reason for reason in state["stale"]), state["stale"]
        assert state["ready"]
        assert await status(place) == 200
        assert await status(place, ENGINEER) == 403
        assert await metric(place, "sekisho_bundle_stale") == 1
        edit(place, file, new, old)
        await becomes(lambda: _is_fresh(place))
        assert await metric(place, "sekisho_bundle_stale") == 0


async def _is_stale(place: Place) -> bool:
    return bool((await readiness(place))["stale"])


async def _is_fresh(place: Place) -> bool:
    return not (await readiness(place))["stale"]


async def test_an_api_that_is_probed_under_its_name_keeps_it(tmp_path: Path) -> None:
    """Else nobody would be told before the probe fails, and the gateway could not be started again."""
    async with a_place(tmp_path, upstream={}, upstream_health={"users": "/healthz"}) as place:
        edit(place, "apis/users.yaml", "  - id: users\n", "  - id: people\n")
        await becomes(lambda: _is_stale(place))
        (told,) = (await readiness(place))["stale"]
        assert "SEKISHO_UPSTREAM_HEALTH names an API 'users'" in told


async def test_a_folder_that_goes_away_and_comes_back_cuts_nobody_off(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        place.policies.rename(tmp_path / "elsewhere")
        await becomes(lambda: _is_stale(place))
        assert await status(place) == 200
        (tmp_path / "elsewhere").rename(place.policies)
        await becomes(lambda: _is_fresh(place))


async def test_sighup_tries_the_folder_at_once_where_nothing_is_watched(tmp_path: Path) -> None:
    async with a_place(tmp_path, watch_seconds=0) as place:
        edit(place, "rules/deny.yaml", "effect: deny", "effect: den")
        assert (await readiness(place))["stale"] == []
        place.poke()
        await becomes(lambda: _is_stale(place))


async def test_an_emergency_deny_is_in_force_although_the_rest_of_the_folder_is_broken(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        (place.policies / "affiliates.yaml").write_text("affiliates: [", encoding="utf-8")
        await becomes(lambda: _is_stale(place))
        assert await status(place) == 200
        (place.policies / "emergency_denies").mkdir()
        (place.policies / "emergency_denies" / "now.yaml").write_text(URGENT, encoding="utf-8")
        await becomes(lambda: _is(status(place), 403))
        state = await readiness(place)
        assert state["emergency_denies"] == ["emergency.cut-off"]
        assert state["stale"]
        (place.policies / "emergency_denies" / "now.yaml").write_text("rules: [", encoding="utf-8")
        await becomes(lambda: _tells(place, "emergency_denies/now.yaml"))
        assert await status(place) == 403, "a file that broke keeps in force what it said"
        (place.policies / "emergency_denies" / "now.yaml").unlink()
        await becomes(lambda: _is(status(place), 200))


async def test_an_emergency_deny_outlives_a_new_name_of_its_file_and_a_mistake_in_it(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        folder = place.policies / "emergency_denies"
        folder.mkdir()
        (folder / "now.yaml").write_text(URGENT, encoding="utf-8")
        await becomes(lambda: _is(status(place), 403))
        tried = await metric(place, "sekisho_reloads_total")
        (folder / "now.yaml").rename(folder / "later.yaml")
        await becomes(lambda: _is_more(metric(place, "sekisho_reloads_total"), tried))
        (folder / "later.yaml").write_text("rules: [", encoding="utf-8")
        await becomes(lambda: _tells(place, "emergency_denies/later.yaml"))
        assert await status(place) == 403


async def _is_more(answer: Any, than: float) -> bool:
    return bool(await answer > than)


async def test_a_key_file_that_went_missing_does_not_hold_an_emergency_deny_up(tmp_path: Path) -> None:
    policies = tmp_path / "made"
    shutil.copytree(POLICIES, policies)
    (policies / "corp.json").write_text(json.dumps(ISSUERS["corp"].key_set()), encoding="utf-8")
    async with (
        serve_raw(_answer) as api,
        run_world(
            tmp_path,
            api,
            policies=policies,
            watch_seconds=0.05,
            jwks={"corp": "file:corp.json", "naver-sso": "file:corp.json"},
        ) as world,
    ):
        place = Place(world.host, world.port, world.admin, world.ledger, world.poke, policies=policies)
        assert await status(place) == 200
        (policies / "corp.json").unlink()
        (policies / "rules" / "deny.yaml").write_text("rules: [", encoding="utf-8")
        (policies / "emergency_denies").mkdir()
        (policies / "emergency_denies" / "now.yaml").write_text(URGENT, encoding="utf-8")
        await becomes(lambda: _is(status(place), 403))


async def _tells(place: Place, text: str) -> bool:
    return any(text in reason for reason in (await readiness(place))["stale"])


async def test_an_answer_under_way_is_cut_when_it_is_denied_meanwhile_and_another_is_not(tmp_path: Path) -> None:
    more = asyncio.Event()

    async def stream(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await more.wait()
        await response.write(b"last")
        return response

    async with a_place(tmp_path, stream) as place, aiohttp.ClientSession() as session:
        staff = await session.get(place.url + USER, headers=headers())
        status_page = await session.get(f"{place.url}/v1/status")
        assert await staff.content.readexactly(5) == b"first"
        assert await status_page.content.readexactly(5) == b"first"
        (place.policies / "emergency_denies").mkdir()
        (place.policies / "emergency_denies" / "now.yaml").write_text(URGENT, encoding="utf-8")
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(staff.read(), 20)
        more.set()
        assert await status_page.read() == b"last"
        ends = await place.wait_for_ends(2)
        assert sorted((end["complete"], end.get("reason", "")) for end in ends) == [
            (False, "policy-changed"), (True, "")
        ]  # fmt: skip


async def test_a_request_that_waits_for_the_api_is_refused_when_it_is_denied_meanwhile(tmp_path: Path) -> None:
    never = asyncio.Event()

    async def wait(_request: web.BaseRequest) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    async with a_place(tmp_path, wait) as place, aiohttp.ClientSession() as session:
        asking = asyncio.ensure_future(session.get(place.url + USER, headers=headers()))
        await wait_for(place.policies.exists)
        await becomes(lambda: _is(metric(place, "sekisho_passages_in_progress"), 1.0))
        (place.policies / "emergency_denies").mkdir()
        (place.policies / "emergency_denies" / "now.yaml").write_text(URGENT, encoding="utf-8")
        answer = await asyncio.wait_for(asking, 20)
        assert answer.status == 403
        assert (await answer.json())["reason"] == "policy-changed"
        never.set()


async def test_nothing_outlives_its_token(tmp_path: Path) -> None:
    never = asyncio.Event()

    async def stream(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await never.wait()
        return response

    async with a_place(tmp_path, stream) as place, aiohttp.ClientSession() as session:
        soon = token(SUPPORT, exp=int(unix_seconds()) - 28)
        fields = {**headers(), "Authorization": f"Bearer {soon}"}
        answer = await session.get(place.url + USER, headers=fields)
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(answer.read(), 20)
        never.set()


HEADER: Final = "issuer,subject,affiliate,kind,site_country,residence,citizenships,from,until\n"


async def test_a_table_of_people_is_put_in_force_and_changed_without_a_restart(tmp_path: Path) -> None:
    registers = tmp_path / "registers"
    async with a_place(tmp_path, registers_folder=registers) as place:
        seen = {(await readiness(place))["registers"]}
        people = place.policies / "people.csv"
        people.write_text(f"{HEADER}corp,e-1,ly,employee,JP,JP,JP,,\n", encoding="utf-8")
        edit(place, "bundle.yaml", "files:\n", "files:\n  people.csv: [people]\n")
        await becomes(lambda: _registers_but(place, seen))
        assert len(list(registers.glob("*.sekisho"))) == 1
        seen.add((await readiness(place))["registers"])

        people.write_text(f"{HEADER}corp,e-1,shanghai-digital,employee,CN,CN,CN,,\n", encoding="utf-8")
        await becomes(lambda: _registers_but(place, seen))
        assert len(list(registers.glob("*.sekisho"))) == 2
        seen.add((await readiness(place))["registers"])

        people.write_text(f"{HEADER}corp,e-1,nobody,employee,CN,CN,CN,,\n", encoding="utf-8")
        await becomes(lambda: _is_stale(place))
        state = await readiness(place)
        assert any("people.csv:2:10: affiliate: no affiliate 'nobody'" in reason for reason in state["stale"])
        assert state["registers"] in seen
        assert await status(place) == 200


async def _registers_but(place: Place, seen: set[str]) -> bool:
    state = await readiness(place)
    return state["registers"] not in seen and not state["stale"]
