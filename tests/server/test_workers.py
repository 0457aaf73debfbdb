# SPDX-License-Identifier: Apache-2.0
"""``sekisho run --workers 2`` as real processes: what is promised while workers die, are replaced, and reload."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import pytest
from aiohttp import web

from proxy.errors import SekishoError
from proxy.settings import read_settings
from proxy.supervisor.run import run_workers
from tests.support.command import reserve_port, start_command, write_policies
from tests.support.keys import write_pseudonym_keys
from tests.support.ledger import write_ledger_key
from tests.support.watch import poll
from tests.support.world import ENGINEER, ISSUERS, OFFICE, POLICIES, STAFF, headers, serve_raw, wait_for

WORKERS: Final = 2
PATIENCE_SECONDS: Final = 150.0
"""Four programs come up and two end, while load takes the processors."""
JP: Final = "/v1/jp/users/42"
SEOUL: Final = "10.82.0.7"


class Crew(msgspec.Struct, frozen=True):
    """A supervisor that runs, with its workers."""

    process: asyncio.subprocess.Process
    url: str
    admin: str
    folder: Path
    policies: Path

    def log(self) -> list[dict[str, Any]]:
        text = (self.folder / "log").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.split("\n")[:-1] if line.startswith("{")]

    def said(self, message: str) -> int:
        return sum(message in str(line.get("message")) for line in self.log())

    async def readiness(self) -> dict[str, Any]:
        async with aiohttp.request("GET", f"{self.admin}/readyz") as response:
            return {"status": response.status, **await response.json()}

    async def metric(self, name: str) -> float:
        async with aiohttp.request("GET", f"{self.admin}/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    async def pids(self) -> list[int]:
        return [each["pid"] for each in (await self.readiness())["workers"]]

    async def series(self, name: str) -> int:
        async with aiohttp.request("GET", f"{self.admin}/metrics") as response:
            return sum(line.startswith(f"{name}{{") for line in (await response.text()).splitlines())

    async def ask(self, target: str = JP, claims: dict[str, Any] = STAFF, address: str = OFFICE) -> int:
        async with aiohttp.request("GET", self.url + target, headers=headers(claims, address)) as response:
            await response.read()
            return response.status

    def decisions(self) -> list[dict[str, Any]]:
        lines = [
            json.loads(line)
            for path in (self.folder / "ledger").glob("worker-*/*.jsonl")
            for line in path.read_text(encoding="utf-8").split("\n")[:-1]
        ]
        return [line for line in lines if line["line"] == "decision"]


@contextlib.asynccontextmanager
async def run_crew(
    folder: Path, *, policies: Path = POLICIES, upstream: str = "", **settings: Any
) -> AsyncIterator[Crew]:
    async def api(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"id": "42", "name": "n"})

    async def keys(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(ISSUERS[request.path.strip("/")].key_set())

    async with serve_raw(api) as own, serve_raw(keys) as idp:
        with reserve_port() as port:
            process = await start_command(
                folder, policies, {"workers": WORKERS, "watch_seconds": 0, **settings}, admin=f"127.0.0.1:{port}",
                upstream=upstream or own, jwks={name: f"{idp}/{name}" for name in ISSUERS},
            )  # fmt: skip
            try:
                listen = await poll(lambda: _find_address(folder / "log", process), 60)
                yield Crew(process, f"http://{listen}", f"http://127.0.0.1:{port}", folder, policies)
            finally:
                if process.returncode is None:
                    process.terminate()
                await asyncio.wait_for(process.wait(), 60)


async def _find_address(log: Path, process: asyncio.subprocess.Process) -> str:
    text = log.read_text(encoding="utf-8")
    assert process.returncode is None, text
    lines = [json.loads(line) for line in text.split("\n")[:-1] if line.startswith("{")]
    return next((str(line["path"]) for line in lines if line.get("message") == "ready"), "")


async def test_two_workers_serve_on_one_bundle_and_are_told_as_one(tmp_path: Path) -> None:
    async with run_crew(tmp_path) as crew:
        assert {await crew.ask() for _ in range(24)} == {200}
        readiness = await crew.readiness()
        assert (readiness["status"], readiness["ready"], len(readiness["workers"])) == (200, True, WORKERS)
        assert await crew.metric("sekisho_workers_serving") == WORKERS
        assert await crew.metric("sekisho_decisions_total") == 24
        assert len(crew.decisions()) == 24
        written = [path.name for path in (tmp_path / "ledger").iterdir()]
        assert {"worker-1", "worker-2", "bundles"} <= {*written}
    assert crew.process.returncode == 0


async def test_a_worker_that_is_killed_is_replaced_and_what_it_counted_stays(tmp_path: Path) -> None:
    async with run_crew(tmp_path) as crew:
        for _ in range(12):
            assert await crew.ask() == 200
        before = await crew.metric("sekisho_decisions_total")  # read by this, and so not lost
        victim = (await crew.pids())[0]
        os.kill(victim, signal.SIGKILL)
        for _ in range(40):  # whoever connects meanwhile is taken by the other one
            assert await crew.ask() == 200
        await _wait_until_whole(crew, without=victim)
        assert await crew.metric("sekisho_decisions_total") == before + 40
        assert await crew.metric('sekisho_worker_ends_total{how="killed"}') == 1


async def test_who_is_denied_by_several_workers_is_one_caller_and_what_crosses_a_border_adds_up(tmp_path: Path) -> None:
    """Each request on a connection of its own, so that both workers get some; one of them is killed midway."""
    async with run_crew(tmp_path) as crew:
        try_all = sorted([f"/v1/jp/users/{n}" for n in range(20)] + [f"/v1/tw/reports/{n}" for n in range(20, 25)])
        for asked, target in enumerate(try_all, 1):
            assert await crew.ask(target, ENGINEER) == 403
            assert await crew.ask(JP, STAFF, SEOUL) == 200
            if asked == len(try_all) // 2:
                assert await crew.metric("sekisho_denied_subjects_most") == asked  # read by this, and so not lost
                victim = (await crew.pids())[0]
                os.kill(victim, signal.SIGKILL)
                await _wait_until_whole(crew, without=victim)
        for _ in range(5):
            await crew.ask("/v1/jp/users/0", ENGINEER)
        assert await crew.metric("sekisho_denied_subjects_most") == len(try_all)
        assert await crew.metric("sekisho_denied_routes_most") == 2
        assert await crew.metric("sekisho_cross_border_requests_total{") == len(try_all)
        assert await crew.metric("sekisho_rule_info") == await crew.series("sekisho_rule_info") > 0
        serving = [path for path in (tmp_path / "ledger").glob("worker-*") if any(path.glob("*.jsonl"))]
        assert len(serving) > 1


@pytest.mark.timeout(240)
async def test_a_rolling_restart_under_load_refuses_and_resets_no_connection(tmp_path: Path) -> None:
    async with run_crew(tmp_path) as crew:
        before = await crew.pids()
        answers: list[int] = []
        is_over = asyncio.Event()

        async def load() -> None:
            while not is_over.is_set():
                answers.append(await crew.ask())  # a connection of its own each time; an error ends the test

        loading = [asyncio.ensure_future(load()) for _ in range(2)]
        crew.process.send_signal(signal.SIGUSR2)
        await wait_for(lambda: crew.said("all workers are replaced"), PATIENCE_SECONDS)
        is_over.set()
        await asyncio.gather(*loading)
        after = await crew.pids()
        assert not {*before} & {*after}
        assert len(after) == WORKERS
        assert {*answers} == {200}
        assert len(answers) == len(crew.decisions())
        assert await crew.metric("sekisho_decisions_total") == len(answers)


@pytest.mark.timeout(240)
async def test_a_rolling_restart_ends_no_connection_that_is_kept_before_it_is_answered(tmp_path: Path) -> None:
    async with run_crew(tmp_path) as crew:
        is_over = asyncio.Event()
        loading = [asyncio.ensure_future(_ask_on_kept_connections(crew, is_over)) for _ in range(2)]
        crew.process.send_signal(signal.SIGUSR2)
        await wait_for(lambda: crew.said("all workers are replaced"), PATIENCE_SECONDS)
        is_over.set()
        answers = [answer for each in await asyncio.gather(*loading) for answer in each]
        assert {status for status, _ in answers} == {200}
        assert any(is_last for _, is_last in answers), "who was replaced has said so"
        assert len(answers) == len(crew.decisions())


async def _ask_on_kept_connections(crew: Crew, is_over: asyncio.Event) -> list[tuple[int, bool]]:
    """Ask again and again, on one connection as long as it is not said to be closed; one that ends otherwise raises.

    Returns:
        Of each answer its status, and whether it was said to be the last of its connection.
    """
    host, _, port = crew.url.removeprefix("http://").rpartition(":")
    head = "".join(f"{name}: {value}\r\n" for name, value in headers().items())
    request = f"GET {JP} HTTP/1.1\r\nHost: {host}:{port}\r\n{head}\r\n".encode()
    answers: list[tuple[int, bool]] = []
    while not is_over.is_set():
        reader, writer = await asyncio.open_connection(host, int(port))
        is_last = False
        while not is_last and not is_over.is_set():
            writer.write(request)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
            length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
            await reader.readexactly(length)
            is_last = "connection: close" in lines
            answers.append((int(lines[0].split()[1]), is_last))
        writer.close()
        await writer.wait_closed()
    return answers


async def test_sigterm_under_load_loses_nothing(tmp_path: Path) -> None:
    answered: list[str] = []
    async with run_crew(tmp_path) as crew:

        async def load() -> None:
            with contextlib.suppress(aiohttp.ClientError, OSError):  # it stops meanwhile
                while True:
                    async with aiohttp.request("GET", crew.url + JP, headers=headers()) as response:
                        await response.read()
                        answered.append(response.headers["Sekisho-Decision-Id"])

        loading = [asyncio.ensure_future(load()) for _ in range(4)]
        await wait_for(lambda: len(answered) > 50)
        crew.process.terminate()
        await asyncio.gather(*loading)
        assert await asyncio.wait_for(crew.process.wait(), 30) == 0
        recorded = {line["id"]: line for line in crew.decisions()}
        assert {*answered} <= recorded.keys()
        assert all(line.get("complete") is True for id_, line in recorded.items() if id_ in set(answered))


@pytest.mark.timeout(240)
async def test_sigterm_under_load_answers_or_refuses_and_resets_nobody(tmp_path: Path) -> None:
    async with run_crew(tmp_path) as crew:
        loading = [asyncio.ensure_future(_ask_on_kept_connections(crew, asyncio.Event())) for _ in range(16)]
        await wait_for(lambda: len(crew.decisions()) > 200, PATIENCE_SECONDS)
        crew.process.terminate()
        ends = await asyncio.gather(*loading, return_exceptions=True)
        assert {type(each) for each in ends} == {ConnectionRefusedError}
        assert await asyncio.wait_for(crew.process.wait(), 30) == 0
        assert not [line for line in crew.log() if line["level"] == "error"]


async def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    async with run_crew(tmp_path) as crew:
        pids = await crew.pids()
        crew.process.kill()
        await wait_for(lambda: not any(map(_is_running, pids)), 30)
        stops = [
            path
            for path in (tmp_path / "ledger").glob("worker-*/*.jsonl")
            if '"line":"stop"' in path.read_text("utf-8")
        ]
        assert len(stops) == WORKERS  # in order, not by being killed


BROKEN: Final = "rules: ["


async def test_a_reload_puts_one_digest_in_force_everywhere_or_nowhere(tmp_path: Path) -> None:
    policies = write_policies(tmp_path / "policies")
    async with run_crew(tmp_path, policies=policies) as crew:
        first = (await crew.readiness())["policy"]
        rules = policies / "rules" / "deny.yaml"
        good = rules.read_text(encoding="utf-8")
        rules.write_text(BROKEN, encoding="utf-8")
        crew.process.send_signal(signal.SIGHUP)
        await wait_for(lambda: crew.said("the last good one is"), 60)
        readiness = await crew.readiness()
        assert (readiness["policy"], readiness["ready"], bool(readiness["stale"])) == (first, True, True)
        assert await crew.metric("sekisho_bundle_stale") == 1

        rules.write_text(good.replace("severity: critical", "severity: high", 1), encoding="utf-8")
        crew.process.send_signal(signal.SIGHUP)
        await wait_for(lambda: crew.said("policy in force"), 60)
        readiness = await crew.readiness()
        assert (readiness["ready"], readiness["stale"]) == (True, [])
        assert readiness["policy"] != first
        assert await crew.metric("sekisho_bundle_info") == 1  # one child: every worker says the same two digests
        in_force = {
            json.loads(line)["policy"]
            for path in (tmp_path / "ledger").glob("worker-*/*.jsonl")
            for line in [each for each in path.read_text("utf-8").split("\n") if '"line":"bundle"' in each][-1:]
        }
        assert in_force == {readiness["policy"]}


async def test_a_worker_that_comes_back_has_what_was_put_in_force_meanwhile(tmp_path: Path) -> None:
    policies = write_policies(tmp_path / "policies")
    async with run_crew(tmp_path, policies=policies) as crew:
        victim = (await crew.pids())[0]
        rules = policies / "rules" / "deny.yaml"
        rules.write_text(
            rules.read_text(encoding="utf-8").replace("severity: critical", "severity: high", 1), encoding="utf-8"
        )
        crew.process.send_signal(signal.SIGHUP)
        await wait_for(lambda: crew.said("policy in force"), 60)
        os.kill(victim, signal.SIGKILL)
        await _wait_until_whole(crew, without=victim)
        assert (await crew.readiness())["ready"]


async def _wait_until_whole(crew: Crew, without: int) -> None:
    """Wait until as many workers as there shall be are ready, and a certain one is not among them."""
    async with asyncio.timeout(60):
        while True:
            readiness = await crew.readiness()
            if readiness["ready"] and without not in [each["pid"] for each in readiness["workers"]]:
                return
            await asyncio.sleep(0.05)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


CANNOT_START: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "a ledger on standard output": ({"ledger": Path("-")}, "name a folder with --ledger"),
    "no key for the ledger": ({"ledger_key": Path("/nowhere/ledger.key")}, "worker [12]: The key of the ledger"),
    "keys that cannot be had": ({"jwks": {"corp": "http://127.0.0.1:9/"}}, "worker [12]: The keys of issuer 'corp'"),
    "a policy folder that is not there": ({"policies": Path("/nowhere")}, "does not exist"),
    "an address that is none": ({"listen": "8080"}, "--listen"),
}


@pytest.mark.parametrize(("flags", "mend"), CANNOT_START.values(), ids=CANNOT_START.keys())
async def test_what_keeps_workers_from_starting_is_told_with_the_mend(
    tmp_path: Path, flags: dict[str, Any], mend: str
) -> None:
    settings = read_settings(
        **{
            "policies": POLICIES,
            "listen": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            "workers": WORKERS,
            "ledger": tmp_path / "ledger",
            "ledger_key": write_ledger_key(tmp_path / "ledger.key"),
            "pseudonym_key": write_pseudonym_keys(tmp_path / "pseudonym.key"),
            **flags,
        }
    )
    with pytest.raises(SekishoError, match=mend):
        async with run_workers(settings):
            pass
