# SPDX-License-Identifier: Apache-2.0
"""The unit in a machine with a real systemd: installed, started and operated by the commands of its own page.

Needs root, namespaces and a package index; where no machine can be made, it says why and is skipped.
"""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import pytest
from aiohttp import web

from proxy.demo.issuer import make_issuer_app
from tests.support.command import reserve_port
from tests.support.image import ROOT
from tests.support.ledger import read_records
from tests.support.machine import Machine, boot_machine
from tests.support.watch import poll
from tests.support.wheel import build_wheel
from tests.support.world import ISSUERS, POLICIES, headers, serve_app, serve_raw

pytestmark = [pytest.mark.timeout(600)]

FOLDER: Final = ROOT / "deploy" / "systemd"
INSTALL, START, *_ = re.findall(r"```sh\n(.*?)```", (FOLDER / "README.md").read_text("utf-8"), re.DOTALL)
UNIT: Final = "sekisho.service"
_NO_PROGRAMS: Final = ("proc", "devpts", "hugetlbfs")
JP: Final = "/v1/jp/users/42"
PATIENCE_SECONDS: Final = 60


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine on which the commands of the page have installed the gateway."""
    with boot_machine() as machine:
        build_wheel(machine.shared)
        shutil.copy(ROOT / "deploy" / "lock" / "runtime.txt", machine.shared)
        for path in FOLDER.iterdir():
            shutil.copy(path, machine.shared)
        shutil.copytree(POLICIES, machine.shared / "policies")
        machine.run(f"cd /mnt\n{INSTALL}")
        yield machine


class Service(msgspec.Struct, frozen=True):
    """The service as it is set for a test."""

    machine: Machine
    url: str
    admin: str

    async def ask(self) -> int:
        async with aiohttp.request("GET", self.url + JP, headers=headers()) as response:
            await response.read()
            return response.status

    def set(self, **variables: str) -> None:
        """Add to what the deployment sets."""
        lines = "".join(f"SEKISHO_{name.upper()}='{value}'\n" for name, value in variables.items())
        self.machine.run(f"cat >>/etc/sekisho/sekisho.env <<'END'\n{lines}END")

    async def run(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a script there while the API and the issuer serve here."""
        return await asyncio.to_thread(self.machine.run, script, check=check)

    async def start(self) -> None:
        started = await self.run(START, check=False)
        assert started.returncode == 0, started.stderr + self.machine.run("journalctl --output short --no-pager").stdout

    def status(self) -> str:
        return self.machine.show(UNIT, "StatusText")

    def main_pid(self) -> int:
        return int(self.machine.show(UNIT, "MainPID"))

    def records(self, folder: Path) -> list[str]:
        """Return the kinds of lines of the ledger, from a copy."""
        self.machine.run(f"cp -r /var/lib/sekisho/ledger /mnt/{folder.name}")
        copy = self.machine.shared / folder.name
        return [record["line"] for each in (copy, *copy.glob("worker-*")) for record in read_records(each)]


@pytest.fixture
async def service(machine: Machine) -> AsyncIterator[Service]:
    async def api(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"id": "42"})

    machine.run(f"rm -rf /var/lib/sekisho /etc/sekisho/policies /etc/systemd/system/{UNIT}.d")
    machine.run("cp -r /mnt/policies /mnt/sekisho.env /etc/sekisho")
    with reserve_port() as port, reserve_port() as admin:
        async with serve_raw(api) as upstream, serve_app(make_issuer_app(ISSUERS)) as idp:
            service = Service(machine, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}")
            service.set(
                listen=f"127.0.0.1:{port}",
                admin=f"127.0.0.1:{admin}",
                upstream=json.dumps({"users": upstream, "users/JP": upstream}),
                jwks=json.dumps({name: f"{idp}/{name}/jwks.json" for name in ISSUERS}),
            )
            yield service
            await service.run(f"systemctl stop {UNIT}")


async def _until(is_so: Callable[[], bool]) -> None:
    """Ask there until it is so, while the API and the issuer serve here: who starts needs them."""
    await poll(lambda: asyncio.to_thread(is_so), PATIENCE_SECONDS)


async def test_it_starts_serves_reloads_and_stops_as_the_page_says(service: Service, tmp_path: Path) -> None:
    machine = service.machine
    await service.start()
    assert await service.ask() == 200  # at once: it is started who serves
    assert service.status().startswith(f"callers are served on {service.url.removeprefix('http://')}: bundle line-2021")
    assert machine.show(UNIT, "User") == "sekisho"
    await service.run("echo 'rules: [' >/etc/sekisho/policies/rules/deny.yaml; systemctl reload sekisho")
    await _until(lambda: service.status().endswith("is not in force: see the log"))
    assert await service.ask() == 200
    await service.run("cp /mnt/policies/rules/deny.yaml /etc/sekisho/policies/rules; systemctl reload sekisho")
    await _until(lambda: not service.status().endswith("see the log"))
    await _until(lambda: machine.show(UNIT, "ActiveState") == "active")
    await service.run("systemctl stop sekisho")
    assert [machine.show(UNIT, name) for name in ("Result", "ExecMainStatus", "ActiveState")] == [
        "success",
        "0",
        "inactive",
    ]
    assert service.records(tmp_path)[-2:] == ["stop", "checkpoint"]
    log = [json.loads(line) for line in machine.journal(UNIT).splitlines() if line.startswith("{")]
    assert "ready" in [line["message"] for line in log]
    machine.run("sekisho ledger verify /var/lib/sekisho/ledger --key /etc/sekisho/credentials/ledger.key.pub")


async def test_it_can_do_nothing_but_its_work(service: Service) -> None:
    await service.start()
    pid = service.main_pid()
    status = dict(re.findall(r"(?m)^(\w+):\s*(.*)$", service.machine.run(f"cat /proc/{pid}/status").stdout))
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    within = f"nsenter --target {pid} --mount --user --setuid $(id -u sekisho) --setgid $(id -g sekisho) --"
    for place in ("/etc/sekisho/x", "/usr/lib/sekisho/x", "/x", "/etc/sekisho/policies/x"):
        assert (await service.run(f"{within} touch {place}", check=False)).returncode != 0, place
    for place in ("/var/lib/sekisho/x", "/var/cache/sekisho/x"):
        await service.run(f"{within} touch {place}")
    for secret in ("/etc/sekisho/credentials/ledger.key", "/etc/shadow"):
        assert (await service.run(f"{within} cat {secret}", check=False)).returncode != 0, secret
    assert _find_writable_and_executable(service.machine.run(f"cat /proc/{pid}/mountinfo").stdout) == []
    limits = service.machine.run(f"cat /proc/{pid}/limits").stdout
    assert re.search(r"(?m)^Max core file size +0 +0 ", limits)


def _find_writable_and_executable(mounts: str) -> list[str]:
    """Return where something could be written and then executed."""
    rows = [(line.split(), line.partition(" - ")[2].split()[0]) for line in mounts.splitlines()]
    on_top = {fields[4]: {*fields[5].split(","), kind} for fields, kind in rows}
    return [at for at, flags in on_top.items() if "rw" in flags and not flags & {"noexec", *_NO_PROGRAMS}]


async def test_who_is_killed_or_hangs_is_started_again(service: Service) -> None:
    machine = service.machine
    machine.run(f"mkdir /etc/systemd/system/{UNIT}.d")
    machine.run(f"printf '[Service]\\nWatchdogSec=5s\\nRestartSec=100ms\\n' >/etc/systemd/system/{UNIT}.d/test.conf")
    await service.start()
    first = service.main_pid()
    await service.run(f"kill -KILL {first}")
    await _until_another_serves(service, first)
    second = service.main_pid()
    await service.run(f"kill -STOP {second}")
    await _until_another_serves(service, second)
    assert "Watchdog timeout" in machine.run(f"journalctl --unit {UNIT} --no-pager").stdout


async def _until_another_serves(service: Service, pid: int) -> None:
    await _until(lambda: service.main_pid() not in {0, pid})
    await _until(lambda: service.machine.show(UNIT, "SubState") == "running")
    assert await service.ask() == 200


async def test_workers_are_told_of_as_one_and_replaced_while_callers_are_served(
    service: Service, tmp_path: Path
) -> None:
    machine = service.machine
    service.set(workers="2")
    await service.start()
    assert {await service.ask() for _ in range(8)} == {200}
    before = await _worker_pids(service)
    await service.run("systemctl kill --kill-whom=main --signal=USR2 sekisho")

    async def all_are_replaced() -> bool:
        pids = await _worker_pids(service)
        return len(pids) == 2 and not pids & before

    assert await poll(all_are_replaced, 120)
    assert await service.ask() == 200
    await service.run("systemctl stop sekisho")
    assert [machine.show(UNIT, name) for name in ("Result", "ExecMainStatus")] == ["success", "0"]
    assert service.records(tmp_path).count("stop") >= 2


async def _worker_pids(service: Service) -> set[int]:
    async with aiohttp.request("GET", f"{service.admin}/readyz") as response:
        return {each["pid"] for each in (await response.json())["workers"]}


async def test_what_cannot_start_says_why_in_the_journal_and_is_tried_again(service: Service) -> None:
    service.set(workrs="2")
    await service.run(START, check=False)
    await _until(lambda: "SEKISHO_WORKRS is no setting" in service.machine.journal(UNIT))
    # Between two starts it is inactive for a moment.
    await _until(lambda: service.machine.show(UNIT, "ActiveState") == "activating")
