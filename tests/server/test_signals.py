# SPDX-License-Identifier: Apache-2.0
"""``sekisho run`` as a process of its own, told to look at its folder."""

import asyncio
import shutil
import signal
import sys
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.support.keys import write_pseudonym_keys
from tests.support.ledger import write_ledger_key
from tests.support.world import ISSUERS, POLICIES, serve_raw, wait_for


async def start(folder: Path, idp: str) -> asyncio.subprocess.Process:
    policies = folder / "policies"
    shutil.copytree(POLICIES, policies)
    write_pseudonym_keys(folder / "key")
    flags = {"policies": policies, "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "ledger": folder / "ledger",
             "ledger-key": write_ledger_key(folder / "ledger.key"), "pseudonym-key": folder / "key"}  # fmt: skip
    arguments = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    for name in ISSUERS:
        arguments += ["--jwks", f"{name}={idp}/{name}"]
    with (folder / "log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            "env", "SEKISHO_WATCH_SECONDS=0", sys.executable, "-m", "proxy.cli", "run", *arguments,
            stdout=log, stderr=log,
        )  # fmt: skip


async def stop(process: asyncio.subprocess.Process) -> int:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    return await asyncio.wait_for(process.wait(), 30)


def log_of(folder: Path) -> str:
    return (folder / "log").read_text(encoding="utf-8")


def break_(folder: Path) -> None:
    (folder / "policies" / "rules" / "deny.yaml").write_text("rules: [", encoding="utf-8")


async def test_sighup_makes_a_running_gateway_try_its_folder(tmp_path: Path) -> None:
    async def keys(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(ISSUERS[request.path.strip("/")].key_set())

    async with serve_raw(keys) as idp:
        process = await start(tmp_path, idp)
        try:
            await wait_for(lambda: '"ready"' in log_of(tmp_path), 30)
            break_(tmp_path)
            process.send_signal(signal.SIGHUP)
            await wait_for(lambda: "the last good one is" in log_of(tmp_path), 30)
            assert process.returncode is None
        finally:
            assert await stop(process) == 0


async def test_sighup_before_it_is_ready_does_not_end_it_and_is_not_forgotten(tmp_path: Path) -> None:
    is_asked, go_on = asyncio.Event(), asyncio.Event()

    async def keys(request: web.BaseRequest) -> web.StreamResponse:
        is_asked.set()
        await go_on.wait()
        return web.json_response(ISSUERS[request.path.strip("/")].key_set())

    async with serve_raw(keys) as idp:
        process = await start(tmp_path, idp)
        try:
            await asyncio.wait_for(is_asked.wait(), 30)
            break_(tmp_path)
            process.send_signal(signal.SIGHUP)
            async with aiohttp.ClientSession() as session:  # a round trip, so that the signal has arrived
                go_on.set()
                await session.get(f"{idp}/corp")
            await wait_for(lambda: "the last good one is" in log_of(tmp_path) or process.returncode is not None, 30)
            assert process.returncode is None
        finally:
            assert await stop(process) == 0


async def test_sigusr2_replaces_nobody_where_one_process_serves_and_ends_nothing(tmp_path: Path) -> None:
    async def keys(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(ISSUERS[request.path.strip("/")].key_set())

    async with serve_raw(keys) as idp:
        process = await start(tmp_path, idp)
        try:
            await wait_for(lambda: '"ready"' in log_of(tmp_path), 60)
            process.send_signal(signal.SIGUSR2)
        finally:
            assert await stop(process) == 0
