# SPDX-License-Identifier: Apache-2.0
"""Hot reload under attack, on real sockets: storms, half a folder, killed children, lost ledgers and keys."""

import asyncio
import contextlib
import functools
import gc
import json
import os
import shutil
import signal
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from proxy.bundle.snapshot import Snapshot
from proxy.demo.issuer import Issuer
from proxy.errors import LedgerError
from proxy.in_force import InForce
from proxy.ledger.lines import BundleLine
from proxy.ledger.writer import LedgerWriter
from proxy.policy.policy import Policy
from tests.server.test_reload import URGENT, USER, Place, _answer, a_place, becomes, edit, metric, readiness, status
from tests.support.world import ENGINEER, ISSUERS, POLICIES, headers, run_world, serve_raw, wait_for

OPEN: Final = "rules/allow.yaml"
NOT_LY: Final = (OPEN, "      caller.affiliate: ly\n", "      caller.affiliate: naver\n")
"""An edit under which LY's staff reads nothing any more."""
CHILD: Final = "proxy.lifecycle.candidate"


def children() -> list[int]:
    """Return the processes that load a folder for this one."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            if parent == os.getpid() and CHILD in (process / "cmdline").read_bytes().decode():
                found.append(int(process.name))
    return found


async def _is_stale(place: Place, told: str = "") -> bool:
    return any(told in reason for reason in (await readiness(place))["stale"])


async def _is(answer: Any, expected: Any) -> bool:
    return bool(await answer == expected)


def without_tests(place: Place) -> None:
    """Take the bundle's own tests away, which would forbid what is tried here."""
    edit(place, "bundle.yaml", "  tests/line-2021.yaml: [tests]\n", "")
    (place.policies / "tests" / "line-2021.yaml").unlink()


def cut_off(place: Place) -> None:
    (place.policies / "emergency_denies").mkdir()
    (place.policies / "emergency_denies" / "now.yaml").write_text(URGENT, encoding="utf-8")


# Emergency denies outlive whatever befalls the folder.


@pytest.mark.parametrize(
    "befall",
    [
        pytest.param(lambda place: place.policies.rename(place.policies.parent / "gone"), id="the folder goes away"),
        pytest.param(lambda place: _replace_by_file(place.policies), id="a file stands in the folder's place"),
        pytest.param(lambda place: _empty(place.policies), id="the folder is empty"),
    ],
)
async def test_an_emergency_deny_outlives(tmp_path: Path, befall: Callable[[Place], Any]) -> None:
    async with a_place(tmp_path) as place:
        cut_off(place)
        await becomes(lambda: _is(metric(place, "sekisho_reloads_total"), 1.0))
        befall(place)
        await becomes(lambda: _is(metric(place, "sekisho_reloads_total"), 2.0))
        assert await _is_stale(place)
        assert (await readiness(place))["emergency_denies"] == ["emergency.cut-off"]
        assert await status(place) == 403


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _replace_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("", encoding="utf-8")


async def test_an_emergency_deny_that_the_bundles_own_tests_forbid_keeps_neither_changes_nor_a_start_out(
    tmp_path: Path,
) -> None:
    async with a_place(tmp_path) as place:
        cut_off(place)
        await becomes(lambda: _is(metric(place, "sekisho_reloads_total"), 1.0))
        assert (await readiness(place))["stale"] == []
    policies = place.policies
    async with serve_raw(_answer) as api, run_world(tmp_path, api, policies=policies, watch_seconds=0.05) as world:
        again = Place(world.host, world.port, world.admin, world.ledger, world.poke, policies=policies)
        assert await status(again) == 403
        assert (await readiness(again))["emergency_denies"] == ["emergency.cut-off"]


# What cannot be had for a while is had later, without anybody touching the folder.


async def test_a_swap_that_the_ledger_does_not_take_changes_nothing_and_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, is_broken = LedgerWriter.append, True

    def refuse(writer: LedgerWriter, lines: Sequence[Any]) -> None:
        if is_broken and any(isinstance(line, BundleLine) and line.policy != before for line in lines):
            raise LedgerError("no space left on device")
        append(writer, lines)

    async with a_place(tmp_path) as place:
        before = (await readiness(place))["policy"]
        monkeypatch.setattr(LedgerWriter, "append", refuse)
        without_tests(place)
        edit(place, *NOT_LY)
        await becomes(lambda: _is_stale(place, "no space left"))
        assert await status(place) == 200
        assert (await readiness(place))["policy"] == before
        is_broken = False
        await becomes(lambda: _is(status(place), 403))
        assert (await readiness(place))["stale"] == []


async def test_an_issuer_that_is_taken_away_is_trusted_until_the_ledger_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = LedgerWriter.append

    def refuse(writer: LedgerWriter, lines: Sequence[Any]) -> None:
        if any(isinstance(line, BundleLine) for line in lines):
            raise LedgerError("no space left on device")
        append(writer, lines)

    is_up = asyncio.Event()
    is_up.set()
    async with contextlib.AsyncExitStack() as stack:
        folder = tmp_path / "start"
        shutil.copytree(POLICIES, folder)
        text = (folder / "issuers.yaml").read_text(encoding="utf-8")
        for name, old in (("corp", "https://idp.ly.example"), ("naver-sso", "https://sso.naver.example")):
            idp = await stack.enter_async_context(an_idp(ISSUERS[name], is_up))
            text = text.replace(f"jwks: {old}/jwks.json", f"jwks: {idp}")
        (folder / "issuers.yaml").write_text(text, encoding="utf-8")
        api = await stack.enter_async_context(serve_raw(_answer))
        world = await stack.enter_async_context(run_world(tmp_path, api, policies=folder, watch_seconds=0.05, jwks={}))
        place = Place(world.host, world.port, world.admin, world.ledger, world.poke, policies=folder)
        monkeypatch.setattr(LedgerWriter, "append", refuse)
        without_tests(place)
        text = (place.policies / "issuers.yaml").read_text(encoding="utf-8")
        (place.policies / "issuers.yaml").write_text(text.partition("  - id: naver-sso")[0], encoding="utf-8")
        await becomes(lambda: _is_stale(place))
        assert (await readiness(place))["issuers_without_keys"] == []


@contextlib.asynccontextmanager
async def an_idp(issuer: Issuer, is_up: asyncio.Event) -> AsyncIterator[str]:
    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(issuer.key_set()) if is_up.is_set() else web.Response(status=503)

    async with serve_raw(answer) as url:
        yield f"{url}/jwks.json"


async def test_an_issuer_whose_keys_cannot_be_had_leaves_the_old_bundle_until_they_can(tmp_path: Path) -> None:
    is_up = asyncio.Event()
    async with a_place(tmp_path) as place, an_idp(Issuer("https://new.example"), is_up) as idp:
        text = (place.policies / "issuers.yaml").read_text(encoding="utf-8")
        added = text.partition("  - id: corp")[1] + text.partition("  - id: corp")[2].partition("  - id: naver")[0]
        added = added.replace("id: corp", "id: new-idp").replace("https://idp.ly.example", "https://new.example")
        lines = [line if "jwks:" not in line else f"    jwks: {idp}" for line in added.splitlines()]
        (place.policies / "issuers.yaml").write_text(text + "\n" + "\n".join(lines) + "\n", encoding="utf-8")
        await becomes(lambda: _is_stale(place))
        assert "new-idp" in str((await readiness(place))["stale"])
        assert await status(place) == 200
        is_up.set()
        await becomes(lambda: _is_fresh(place))
        assert await status(place) == 200


async def _is_fresh(place: Place) -> bool:
    return not (await readiness(place))["stale"]


async def test_a_key_file_that_changes_is_in_force(tmp_path: Path) -> None:
    """A key that is taken away must not be believed for another refresh interval."""
    folder = tmp_path / "start"
    shutil.copytree(POLICIES, folder)
    keys = folder / "keys"
    keys.mkdir()
    for name, issuer in ISSUERS.items():
        (keys / f"{name}.json").write_text(json.dumps(issuer.key_set()), encoding="utf-8")
    places = {name: f"file:keys/{name}.json" for name in ISSUERS}
    async with (
        serve_raw(_answer) as api,
        run_world(tmp_path, api, policies=folder, watch_seconds=0.05, jwks=places) as world,
    ):
        place = Place(world.host, world.port, world.admin, world.ledger, world.poke, policies=folder)
        assert await status(place) == 200
        other = json.dumps(Issuer("https://idp.ly.example").key_set())
        (keys / "corp.json").write_text(other, encoding="utf-8")
        await becomes(lambda: _is(status(place), 401))


async def test_what_changes_while_the_gateway_starts_is_in_force(tmp_path: Path) -> None:
    """Keys may take seconds to come; the folder was read before."""
    policies = tmp_path / "policies"
    is_asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.BaseRequest) -> web.StreamResponse:
        is_asked.set()
        await go_on.wait()
        return web.json_response(ISSUERS["corp"].key_set())

    async def meddle() -> None:
        await is_asked.wait()
        cut_off(Place("", 0, "", tmp_path, policies=policies))
        go_on.set()

    async with serve_raw(slow) as idp:
        meddling = asyncio.ensure_future(meddle())
        async with a_place(tmp_path, jwks={"corp": idp, "naver-sso": idp}) as place:
            await meddling
            await becomes(lambda: _is(status(place), 403))


# Folders that are written while they are looked at.


async def test_a_storm_of_changes_makes_one_child_at_a_time_and_ends_with_the_last_state(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        without_tests(place)
        most, stop = 0, asyncio.get_running_loop().time() + 3
        while asyncio.get_running_loop().time() < stop:
            (place.policies / OPEN).touch()
            most = max(most, len(children()))
            await asyncio.sleep(0.02)
        edit(place, *NOT_LY)
        await becomes(lambda: _is(status(place), 403))
        assert most <= 1
        await wait_for(lambda: not children(), 20)
        assert await metric(place, "sekisho_reloads_total") <= 3


async def test_a_folder_that_is_copied_slowly_is_never_in_force_without_its_deny_file(tmp_path: Path) -> None:
    """The manifest names the deny file: while that is missing, nothing of the new folder is in force."""
    async with a_place(tmp_path) as place:
        shutil.rmtree(place.policies / "rules")
        files = sorted(POLICIES.rglob("*.yaml"), key=lambda path: ("deny" in path.name, path.name))
        asked: list[int] = []
        for source in files:
            target = place.policies / source.relative_to(POLICIES)
            target.parent.mkdir(exist_ok=True)
            target.unlink(missing_ok=True)
            data = source.read_bytes()
            target.write_bytes(data[: len(data) // 2])
            asked.append(await status(place, ENGINEER))
            await asyncio.sleep(0.25)
            target.write_bytes(data)
            asked.append(await status(place, ENGINEER))
        await becomes(lambda: _is_fresh(place))
        assert set(asked) == {403}


async def test_a_folder_that_is_swapped_by_renaming_is_in_force(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        other = tmp_path / "other"
        shutil.copytree(place.policies, other)
        there = Place("", 0, "", tmp_path, policies=other)
        without_tests(there)
        edit(there, *NOT_LY)
        place.policies.rename(tmp_path / "old")
        other.rename(place.policies)
        await becomes(lambda: _is(status(place), 403))


# Children.


async def test_a_child_that_is_killed_leaves_the_old_bundle_and_the_folder_is_tried_again(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        without_tests(place)
        edit(place, *NOT_LY)
        (child,) = await wait_for(children, 20)
        os.kill(child, signal.SIGKILL)
        await becomes(lambda: _is_stale(place))
        await becomes(lambda: _is(status(place), 403))


async def test_a_stop_in_the_middle_of_a_reload_leaves_no_child(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        edit(place, "bundle.yaml", "language: 1", "language: 1\n")
        await wait_for(children, 20)
    assert children() == []


async def _has_loaded(place: Place, times: int) -> bool:
    return await metric(place, 'sekisho_reloads_total{result="loaded"}') >= times


# Requests under way.


async def test_fifty_answers_stream_through_a_reload_whole_and_each_keeps_its_bundle(tmp_path: Path) -> None:
    more, count = asyncio.Event(), 50

    async def stream(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await more.wait()
        await response.write(b"last!" * 1000)
        return response

    async with a_place(tmp_path, stream) as place, aiohttp.ClientSession() as session:
        before = (await readiness(place))["policy"]
        without_tests(place)
        answers = await asyncio.gather(*(session.get(place.url + USER, headers=headers()) for _ in range(count)))
        edit(place, "rules/deny.yaml", "severity: critical", "severity: high")
        await becomes(lambda: _is(metric(place, 'sekisho_reloads_total{result="loaded"}'), 1.0))
        later = await session.get(place.url + USER, headers=headers())
        more.set()
        bodies = await asyncio.gather(*(answer.read() for answer in (*answers, later)))
        assert {len(body) for body in bodies} == {5005}
        records = place.records()
        assert len(records) == count + 1
        first, second = (record["bundle"][:32] for record in place.records("bundle"))
        assert [record["bundle"] for record in records[:count]] == [first] * count
        assert records[-1]["bundle"] == second
        assert (await readiness(place))["policy"] != before


async def test_bundles_that_were_in_force_are_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    retired: list[weakref.ref[Policy]] = []
    adopt = InForce.adopt

    async def watch(self: Any, snapshot: Snapshot) -> None:
        retired.append(weakref.ref(self.snapshot.policy))
        await adopt(self, snapshot)

    monkeypatch.setattr(InForce, "adopt", watch)
    async with a_place(tmp_path) as place, aiohttp.ClientSession() as session:
        for number in range(1, 5):
            edit(place, "bundle.yaml", "The LINE case", f"{number} The LINE case")
            edit(place, "rules/deny.yaml", "owner: security-team", f"owner: security-team{number}")
            await becomes(functools.partial(_has_loaded, place, number))
            await (await session.get(place.url + USER, headers=headers())).read()
            edit(place, "rules/deny.yaml", f"owner: security-team{number}", "owner: security-team")
        gc.collect()
        await wait_for(lambda: not [each for each in retired[:-1] if each() is not None], 10)
