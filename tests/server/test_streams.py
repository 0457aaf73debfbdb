# SPDX-License-Identifier: Apache-2.0
import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from proxy.demo.issuer import make_issuer_app
from tests.support.keys import write_pseudonym_keys
from tests.support.ledger import write_ledger_key
from tests.support.talk import measure
from tests.support.world import (
    DATA_TEAM,
    ISSUERS,
    POLICIES,
    SUPPORT,
    World,
    headers,
    run_world,
    serve_raw,
    wait_for,
)

MIB = 1024 * 1024
EXPORT = "/v1/jp/export"
PHONE = "/v1/jp/users/42/phone"
BLOCK = b"x" * (64 * 1024)


class StreamingApi:
    """An API that streams, counts, and breaks off where it is told."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.is_cancelled = False
        self.blocks = 16
        self.length: int | None = None
        self.break_after: int | None = None
        self.silent = asyncio.Event()
        self.silent.set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except (asyncio.CancelledError, ConnectionError):
            self.is_cancelled = True
            raise

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        async for chunk in request.content.iter_any():
            self.received += len(chunk)
        await self.silent.wait()
        response = web.StreamResponse()
        response.content_length = self.length
        await response.prepare(request)
        for number in range(self.blocks):
            if number == self.break_after and request.transport is not None:
                request.transport.abort()
            await response.write(BLOCK)
            self.sent += len(BLOCK)
        return response


@pytest.fixture
def api() -> StreamingApi:
    return StreamingApi()


@pytest.fixture
async def world(tmp_path: Path, api: StreamingApi) -> AsyncIterator[World]:
    async with (
        serve_raw(api.handle, handler_cancellation=True) as url,
        run_world(tmp_path, url) as world,
    ):
        yield world


async def test_a_stream_comes_through_whole(world: World, api: StreamingApi) -> None:
    async with aiohttp.request("GET", world.url + EXPORT, headers=headers(DATA_TEAM)) as response:
        assert len(await response.read()) == api.sent == 16 * len(BLOCK)


@pytest.mark.parametrize("length", [None, 16 * len(BLOCK)], ids=["chunked", "of a stated length"])
async def test_an_api_that_dies_midway_is_never_mistaken_for_a_whole_answer(
    world: World, api: StreamingApi, length: int | None
) -> None:
    api.length, api.break_after = length, 8
    async with aiohttp.request("GET", world.url + EXPORT, headers=headers(DATA_TEAM)) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    (end,) = await world.wait_for_ends(1)
    assert (end["complete"], end["reason"]) == (False, "upstream-broken")
    assert await measure(world, 'sekisho_upstream_failures_total{api="users",reason="upstream-broken"}') == 1


async def test_a_client_that_hangs_up_midway_ends_the_apis_work(world: World, api: StreamingApi) -> None:
    api.blocks = 100_000
    async with aiohttp.request("GET", world.url + EXPORT, headers=headers(DATA_TEAM)) as response:
        await response.content.readany()
    (end,) = await world.wait_for_ends(1)
    assert (end["complete"], end["reason"]) == (False, "client-gone")
    await wait_for(lambda: api.is_cancelled)


async def test_a_client_that_hangs_up_before_the_answer_is_recorded(world: World, api: StreamingApi) -> None:
    api.silent.clear()
    asking = asyncio.ensure_future(_fetch(f"{world.url}/v1/jp/users/42"))
    await _in_progress(world)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    (record,) = await wait_for(world.records)
    assert (record["effect"], record["released"], record["reason"]) == ("allow", False, "client-gone")
    api.silent.set()


async def test_an_api_that_is_silent_too_long_is_504(tmp_path: Path, api: StreamingApi) -> None:
    api.silent.clear()
    async with serve_raw(api.handle) as url, run_world(tmp_path, url, upstream_first_byte_seconds=0.5) as world:
        async with aiohttp.request("GET", f"{world.url}/v1/jp/users/42", headers=headers()) as response:
            assert response.status == 504
        (record,) = world.records()
        assert (record["reason"], record["released"]) == ("upstream-timeout", False)
        api.silent.set()


async def test_an_api_that_is_not_there_is_502(tmp_path: Path, api: StreamingApi) -> None:
    async with serve_raw(api.handle) as url:
        pass
    async with run_world(tmp_path, url) as world:
        async with aiohttp.request("GET", f"{world.url}/v1/jp/users/42", headers=headers()) as response:
            assert response.status == 502
        (record,) = world.records()
        assert (record["effect"], record["reason"]) == ("allow", "upstream-unreachable")


async def test_a_slow_reader_holds_the_api_back(world: World, api: StreamingApi) -> None:
    api.blocks = 2048  # 128 MiB, far beyond what sockets hold
    async with aiohttp.request("GET", world.url + EXPORT, headers=headers(DATA_TEAM), read_bufsize=1024) as response:
        await response.content.readany()
        held = -1
        while held != api.sent:  # until the API can send no more
            held = api.sent
            await asyncio.sleep(0.1)
        assert held < 64 * MIB
        assert response.connection is not None
        total = 0
        async for chunk in response.content.iter_any():
            total += len(chunk)
    assert api.sent == 128 * MIB
    assert total > 100 * MIB


async def test_a_stop_lets_requests_under_way_end(tmp_path: Path, api: StreamingApi) -> None:
    api.silent.clear()
    async with serve_raw(api.handle) as url:
        async with asyncio.TaskGroup() as tasks, run_world(tmp_path, url) as world:
            asked = tasks.create_task(_fetch(f"{world.url}/v1/jp/users/42"))
            await _in_progress(world)
            asyncio.get_running_loop().call_later(0.2, api.silent.set)
        assert asked.result() == (200, 16 * len(BLOCK))
    assert [record["line"] for record in _lines(world)] == ["start", "bundle", "decision", "end", "stop"]


async def _fetch(url: str) -> tuple[int, int]:
    async with aiohttp.request("GET", url, headers=headers()) as response:
        return response.status, len(await response.read())


async def _in_progress(world: World) -> None:
    async with asyncio.timeout(10):
        while True:
            async with aiohttp.request("GET", f"{world.admin}/metrics") as response:
                if "sekisho_passages_in_progress 1.0" in await response.text():
                    return


def _lines(world: World) -> list[dict[str, object]]:
    return [record for line in ("start", "bundle", "decision", "end", "stop") for record in world.records(line)]


class TestMemory:
    """100 MiB each way through a gateway of its own process: memory stays flat."""

    async def test_big_bodies_take_no_more_memory_than_small_ones(self, tmp_path: Path, api: StreamingApi) -> None:
        runner = web.AppRunner(make_issuer_app(ISSUERS))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        idp = "http://{}:{}".format(*runner.addresses[0][:2])
        async with serve_raw(api.handle) as url:
            small = await self._peak_kib(tmp_path, url, idp, api, 1)
            big = await self._peak_kib(tmp_path, url, idp, api, 100)
        await runner.cleanup()
        assert big - small < 24 * 1024, f"{small} KiB with 1 MiB each way, {big} KiB with 100"

    async def _peak_kib(self, folder: Path, url: str, idp: str, api: StreamingApi, mib: int) -> int:
        key = write_pseudonym_keys(folder / f"{mib}.key")
        flags = ["--policies", str(POLICIES), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        flags += ["--ledger", str(folder / f"ledger-{mib}"), "--pseudonym-key", str(key), "--upstream", f"users={url}"]
        flags += ["--upstream", f"users/JP={url}"]
        flags += ["--ledger-key", str(write_ledger_key(folder / f"{mib}.ledger-key"))]
        flags += [argument for name in ISSUERS for argument in ("--jwks", f"{name}={idp}/{name}/jwks.json")]
        log = folder / f"{mib}.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen([sys.executable, "-m", "proxy.cli", "run", *flags], stderr=stderr)
        try:
            listen = await wait_for(lambda: re.search(r'"message": "ready".*"path": "([^"]+)"', log.read_text()), 30)
            await self._transfer(f"http://{listen[1]}", api, mib)
        finally:
            process.send_signal(signal.SIGTERM)
            _, status, usage = await asyncio.to_thread(os.wait4, process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)

    async def _transfer(self, gateway: str, api: StreamingApi, mib: int) -> None:
        async def upload() -> AsyncIterator[bytes]:
            for _ in range(mib * MIB // len(BLOCK)):
                yield BLOCK

        api.blocks, api.received = mib * MIB // len(BLOCK), 0
        async with aiohttp.request("PUT", gateway + PHONE, headers=headers(SUPPORT), data=upload()) as response:
            total = 0
            async for chunk in response.content.iter_any():
                total += len(chunk)
        assert (api.received, total) == (mib * MIB, mib * MIB)
