# SPDX-License-Identifier: Apache-2.0
"""``sekisho run`` as a service whose manager is told: one process, and workers under a supervisor."""

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.command import start_command
from tests.support.service_manager import NotifySocket, listen_to_notices
from tests.support.world import ISSUERS, POLICIES, serve_raw, wait_for

PATIENCE_SECONDS = 90


async def _keys(request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response(ISSUERS[request.path.strip("/")].key_set())


async def _start(
    folder: Path, idp: str, notices: NotifySocket, workers: int, monkeypatch: pytest.MonkeyPatch
) -> asyncio.subprocess.Process:
    monkeypatch.setenv("NOTIFY_SOCKET", notices.address)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    shutil.copytree(POLICIES, folder / "policies")
    return await start_command(
        folder, folder / "policies", {"workers": workers, "watch_seconds": 0}, upstream="http://127.0.0.1:9",
        jwks={name: f"{idp}/{name}" for name in ISSUERS},
    )  # fmt: skip


@pytest.mark.timeout(240)
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_manager_is_told_when_callers_are_served_of_each_reload_and_of_the_end(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def log() -> str:
        return (tmp_path / "log").read_text(encoding="utf-8")

    with listen_to_notices(tmp_path / "notify") as notices:
        async with serve_raw(_keys) as idp:
            process = await _start(tmp_path, idp, notices, workers, monkeypatch)
            try:
                await wait_for(lambda: notices.said("READY") or process.returncode is not None, PATIENCE_SECONDS)
                assert '"ready"' in log()
                await wait_for(lambda: notices.said("WATCHDOG"))
                (tmp_path / "policies" / "rules" / "deny.yaml").write_text("rules: [", encoding="utf-8")
                process.send_signal(signal.SIGHUP)
                await wait_for(lambda: len(notices.said("READY")) == 2, PATIENCE_SECONDS)
                shutil.copy(POLICIES / "rules" / "deny.yaml", tmp_path / "policies" / "rules")
                process.send_signal(signal.SIGHUP)
                await wait_for(lambda: len(notices.said("READY")) == 3, PATIENCE_SECONDS)
            finally:
                process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 30) == 0
        order = [next(iter(told)) for told in notices.told() if "WATCHDOG" not in told]
        assert order == ["READY", "RELOADING", "READY", "RELOADING", "READY", "STOPPING"]
        at_first, broken, mended = [told["STATUS"] for told in notices.told() if "READY" in told]
    assert at_first.startswith("callers are served on 127.0.0.1:")
    assert broken == f"{at_first}; the folder as it lies there is not in force: see the log"
    assert mended == at_first


async def test_a_manager_is_told_of_the_end_also_before_callers_were_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_asked, is_over = asyncio.Event(), asyncio.Event()

    async def too_late(_request: web.BaseRequest) -> web.StreamResponse:
        is_asked.set()
        await is_over.wait()
        return web.Response()

    with listen_to_notices(f"@sekisho-test-{os.getpid()}") as notices:
        async with serve_raw(too_late) as idp:
            process = await _start(tmp_path, idp, notices, 1, monkeypatch)
            try:
                await asyncio.wait_for(is_asked.wait(), PATIENCE_SECONDS)
            finally:
                process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 30) == 0
            is_over.set()
        assert (notices.said("READY"), notices.said("STOPPING")) == ([], ["1"])
