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

from tests.support.command import Command, reserve_port, start_command, write_policies
from tests.support.watch import poll
from tests.support.world import ISSUERS, POLICIES, headers, serve_raw, wait_for

WORKERS: Final = 2
JP: Final = "/v1/jp/users/42"


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

    async def ask(self) -> int:
        async with aiohttp.request("GET", self.url + JP, headers=headers()) as response:
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
async def run_crew(folder: Path, *, policies: Path = POLICIES, **settings: Any) -> AsyncIterator[Crew]:
    async def api(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"id": "42", "name": "n"})

    async def keys(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(ISSUERS[request.path.strip("/")].key_set())

    async with serve_raw(api) as upstream, serve_raw(keys) as idp:
        with reserve_port() as port:
            process = await start_command(
                folder, policies, {"workers": WORKERS, "watch_seconds": 0, **settings}, admin=f"127.0.0.1:{port}",
                upstream=upstream, jwks={name: f"{idp}/{name}" for name in ISSUERS},
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
