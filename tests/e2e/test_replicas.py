# SPDX-License-Identifier: Apache-2.0
"""Replicas as processes of their own, behind a real Redis: what they share, and what the end of one takes.

Needs Debian's ``redis-server``; run by ``make e2e``, not by ``make test``.
"""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import pytest
from aiohttp import web

from proxy.ledger.audit_parts import PartsAudit
from proxy.ledger.inventory import read_heads
from tests.support.bundle_folder import a_bundle
from tests.support.keys import write_pseudonym_keys
from tests.support.ledger import KEY, read_records, write_ledger_key
from tests.support.redis_server import RealRedis, run_redis
from tests.support.world import ISSUERS, headers, serve_raw, wait_for

LIMIT: Final = """\
  - id: ten-an-hour
    effect: deny
    when: {subject.country: JP, counts.country_subjects_1h: {gt: 10}}
"""
START_SECONDS: Final = 90


class Replica(msgspec.Struct):
    """A process under a name."""

    name: str
    process: asyncio.subprocess.Process
    url: str

    async def ask(self, user: int) -> int:
        """Ask for a user; 0 where nobody answers."""
        try:
            target = f"{self.url}/v1/jp/users/{user}"
            async with aiohttp.request("GET", target, headers={**headers(), "Host": "users.internal"}) as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, OSError):
            return 0

    async def end(self, number: signal.Signals) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 60)


class Deployment(msgspec.Struct, frozen=True):
    """What replicas share."""

    folder: Path
    arguments: Sequence[str]
    redis: RealRedis
    running: list[Replica]

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    async def start(self, name: str) -> Replica:
        """Start a replica as a pod would, and wait until it serves."""
        log = self.folder / f"{name}-{len(self.running)}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                "env", f"SEKISHO_REPLICA={name}", *self.arguments, stdout=file, stderr=file
            )
        started = Replica(name, process, "")
        self.running.append(started)
        started.url = await wait_for(lambda: _find_url(log, process), START_SECONDS)
        return started

    def reports(self) -> list[Any]:
        """Return what is wrong with the ledgers, held against what the witness keeps."""
        heads = read_heads([self.folder / "witness"], [KEY.verifier])
        return PartsAudit([self.ledger], [KEY.verifier], heads).run()


def _find_url(log: Path, process: asyncio.subprocess.Process) -> str:
    text = log.read_text(encoding="utf-8")
    assert process.returncode is None, text
    lines = [json.loads(line) for line in text.split("\n")[:-1] if line.startswith("{")]
    return next((f"http://{line['path']}" for line in lines if line.get("message") == "ready"), "")


@contextlib.asynccontextmanager
async def deploy(folder: Path, *variables: str) -> AsyncIterator[Deployment]:
    """Prepare a deployment of a policy with a limit, in front of an API."""

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.json_response({"name": "A"})

    async def keys(request: web.BaseRequest) -> web.Response:
        return web.json_response(ISSUERS[request.path.strip("/")].key_set())

    for name in ("bundle", "witness"):
        (folder / name).mkdir()
    a_bundle(folder / "bundle", rules=LIMIT)
    write_ledger_key(folder / "ledger.key")
    write_pseudonym_keys(folder / "pseudonym.key")
    async with run_redis(folder) as redis, serve_raw(answer) as api, serve_raw(keys) as idp:
        flags = {
            "policies": folder / "bundle", "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "ledger": folder / "ledger",
            "ledger-key": folder / "ledger.key", "ledger-witness": folder / "witness",
            "pseudonym-key": folder / "pseudonym.key",
        }  # fmt: skip
        arguments = [*variables, f"SEKISHO_COUNTS={redis.url}", "SEKISHO_COUNTS_TIMEOUT_SECONDS=5"]
        arguments += [sys.executable, "-m", "proxy.cli", "run"]
        arguments += [*(part for name, value in flags.items() for part in (f"--{name}", str(value)))]
        arguments += [part for place in ("users", "users/JP") for part in ("--upstream", f"{place}={api}")]
        arguments += [part for name in ISSUERS for part in ("--jwks", f"{name}={idp}/{name}")]
        deployment = Deployment(folder, arguments, redis, [])
        try:
            yield deployment
        finally:
            for each in deployment.running:
                if each.process.returncode is None:
                    await each.end(signal.SIGTERM)


@pytest.mark.timeout(300)
async def test_a_limit_is_of_all_replicas_and_the_death_of_one_takes_nothing_with_it(tmp_path: Path) -> None:
    async with deploy(tmp_path) as deployment:
        a, b = await deployment.start("pod-a"), await deployment.start("pod-b")
        said = [await each.ask(user) for user in range(3) for each in (a, b)]  # three subjects, each asked for twice
        assert said == [200] * 6
        assert [await a.ask(user) for user in range(3, 7)] == [200] * 4
        await a.end(signal.SIGKILL)
        assert [await b.ask(user) for user in range(7, 13)] == [200] * 3 + [403] * 3  # what the dead one counted counts
        assert [await b.ask(user) for user in range(3)] == [200] * 3  # nobody new
        a = await deployment.start("pod-a")
        assert [await a.ask(user) for user in (0, 13)] == [200, 403]
        for each in (a, b):
            assert await each.end(signal.SIGTERM) == 0
        first, second = deployment.reports()
        assert not [str(fault) for report in (first, second) for fault in report.faults]
        assert (first.is_ended, second.is_ended) == (True, True)
        assert [remark.kind for remark in first.remarks] == ["crash"]  # and its tree goes on
        decided = [len(read_records(deployment.ledger / f"replica-{name}", "decision")) for name in ("pod-a", "pod-b")]
        assert decided == [3 + 4 + 2, 3 + 6 + 3]


@pytest.mark.timeout(300)
async def test_a_deployment_is_rolled_one_pod_after_the_other_and_no_request_is_lost(tmp_path: Path) -> None:
    """New pods under new names, as a Deployment has them: a balancer sends callers to whoever is ready."""
    async with deploy(tmp_path, "SEKISHO_DRAIN_SECONDS=10") as deployment:
        serving = [await deployment.start(name) for name in ("pod-1", "pod-2")]
        answers: list[int] = []
        asked: list[Replica] = []
        is_over = asyncio.Event()

        async def load(turn: int) -> None:
            while not is_over.is_set():
                turn += 1
                replica = serving[turn % len(serving)]
                asked.append(replica)
                answers.append(await replica.ask(1))
                asked.remove(replica)

        loading = [asyncio.ensure_future(load(turn)) for turn in range(2)]
        for old, name in ((serving[0], "pod-3"), (serving[1], "pod-4")):
            serving.append(await deployment.start(name))
            serving.remove(old)  # what a readiness probe and the preStop pause see to
            enough = len(answers) + 4
            await wait_for(lambda old=old, enough=enough: old not in asked and len(answers) > enough, 30)  # type: ignore[misc]
            assert await old.end(signal.SIGTERM) == 0
        is_over.set()
        await asyncio.gather(*loading)
        for each in serving:
            assert await each.end(signal.SIGTERM) == 0
        assert {*answers} == {200}
        reports = deployment.reports()
        assert len(reports) == 4
        assert all(report.is_good and report.is_ended for report in reports)
        ledgers = deployment.ledger.glob("replica-*")
        assert sum(len(read_records(each, "decision")) for each in ledgers) == len(answers)
