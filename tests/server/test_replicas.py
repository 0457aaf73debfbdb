# SPDX-License-Identifier: Apache-2.0
"""Gateways that are replicas of one deployment: one key, one folder, and a ledger for each."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.cli import main
from proxy.errors import UsageError
from proxy.ledger.audit_parts import PartsAudit
from proxy.ledger.segments import list_ledgers
from tests.support.command import start_command
from tests.support.ledger import KEY, read_records
from tests.support.watch import poll
from tests.support.world import ENGINEER, ISSUERS, POLICIES, World, headers, run_world, serve_raw

JP = "/v1/jp/users/42"


async def api(_request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"id": "42", "name": "n"})


@contextlib.asynccontextmanager
async def run_replica(folder: Path, upstream: str, name: str, **flags: Any) -> AsyncIterator[World]:
    """Run a gateway that shares the ledger's folder with others."""
    room = folder / name
    room.mkdir(exist_ok=True)
    async with run_world(room, upstream, ledger=folder / "ledger", replica=name, **flags) as world:
        yield world


async def ask(world: World, claims: dict[str, Any] | None = None) -> str:
    """Ask for a user, and return the id of the decision."""
    async with aiohttp.request("GET", world.url + JP, headers=headers(claims)) as response:
        await response.read()
        return response.headers["Sekisho-Decision-Id"]


def paths(folder: Path) -> list[str]:
    return [each.relative_to(folder).as_posix() for each in list_ledgers(folder)]


async def test_replicas_share_a_folder_and_a_key_and_are_read_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger, vkey = tmp_path / "ledger", str(KEY.verifier)
    async with serve_raw(api) as upstream:
        async with run_replica(tmp_path, upstream, "pod-a") as a, run_replica(tmp_path, upstream, "pod-b") as b:
            ids = [await ask(a), await ask(b, ENGINEER), await ask(a, ENGINEER)]
            with pytest.raises(UsageError, match=r"replica-pod-a: stop it.+by SEKISHO_REPLICA"):
                async with run_replica(tmp_path, upstream, "pod-a"):
                    pass
        async with run_replica(tmp_path, upstream, "pod-a") as a:  # it comes back under its name
            ids.append(await ask(a))
    assert paths(ledger) == ["replica-pod-a", "replica-pod-b"]
    for name, starts in (("pod-a", 2), ("pod-b", 1)):
        assert [line["replica"] for line in read_records(ledger / f"replica-{name}", "start")] == [name] * starts
        assert len(list((ledger / f"replica-{name}" / "bundles").iterdir())) == 1
    reports = PartsAudit([ledger], [KEY.verifier]).run()
    assert [(report.is_good, report.is_ended) for report in reports] == [(True, True)] * 2

    assert main(["ledger", "query", str(ledger), "--format", "json"]) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ids
    for id_ in ids:
        assert main(["ledger", "show", str(ledger), id_]) == 0
        assert main(["explain", "--ledger", str(ledger), "--id", id_]) == 0
        proof = tmp_path / f"{id_}.tlog-proof"
        assert main(["ledger", "prove", str(ledger), id_, "--key", vkey, "--out", str(proof)]) == 0
        assert main(["ledger", "check-proof", str(proof), "--key", vkey]) == 0
    capsys.readouterr()
    assert main(["ledger", "tail", str(ledger), "--line", "start"]) == 0
    assert re.findall(r"replica (\S+), begins", capsys.readouterr().out) == ["pod-a", "pod-b", "pod-a"]


@pytest.mark.timeout(240)
async def test_a_replica_of_two_workers_has_all_of_its_own_below_its_name(tmp_path: Path) -> None:
    async def keys(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(ISSUERS[request.path.strip("/")].key_set())

    settings: dict[str, Any] = {"workers": 2, "replica": "pod-a", "watch_seconds": 0}
    async with serve_raw(api) as upstream, serve_raw(keys) as idp:
        process = await start_command(
            tmp_path, POLICIES, settings, upstream=upstream, jwks={name: f"{idp}/{name}" for name in ISSUERS}
        )
        try:
            listen = await poll(lambda: _find_address(tmp_path / "log", process), 120)
            for _ in range(8):
                async with aiohttp.request("GET", f"http://{listen}{JP}", headers=headers()) as response:
                    assert response.status == 200
        finally:
            if process.returncode is None:
                process.terminate()
            assert await asyncio.wait_for(process.wait(), 60) == 0
    ledger = tmp_path / "ledger"
    assert paths(ledger) == ["replica-pod-a/worker-1", "replica-pod-a/worker-2"]
    assert sorted(each.name for each in ledger.iterdir()) == ["replica-pod-a"]
    assert (ledger / "replica-pod-a" / "bundles").is_dir()
    reports = PartsAudit([ledger], [KEY.verifier]).run()
    assert [report.origins for report in reports] == [(f"{KEY.name}/{part}",) for part in paths(ledger)]
    assert [(report.is_good, report.is_ended) for report in reports] == [(True, True)] * 2
    decisions = [line for part in paths(ledger) for line in read_records(ledger / part, "decision")]
    assert len(decisions) == 8
    assert main(["explain", "--ledger", str(ledger), "--id", decisions[0]["id"]]) == 0


async def _find_address(log: Path, process: asyncio.subprocess.Process) -> str:
    text = log.read_text(encoding="utf-8")
    assert process.returncode is None, text
    lines = [json.loads(line) for line in text.split("\n")[:-1] if line.startswith("{")]
    return next((str(line["path"]) for line in lines if line.get("message") == "ready"), "")
