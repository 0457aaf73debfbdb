# SPDX-License-Identifier: Apache-2.0
"""The ledger on a small real file system that fills, goes away and comes back, or is read-only: 503, nothing leaves."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from bench import kills
from bench.processes import free_port
from proxy.errors import UsageError
from proxy.ledger.audit import verify_folder
from proxy.ledger.lines import EndLine
from proxy.ledger.segments import list_segments
from proxy.ledger.writer import LedgerWriter
from proxy.telemetry import Metrics
from tests.support.ledger import KEY, read_verified
from tests.support.small_disk import SmallDisk, mount_small_disk, on_a_small_disk
from tests.support.world import ENGINEER, STAFF, SUPPORT, World, headers, run_world, serve_raw, wait_for

USER = "/v1/jp/users/42"
SECRET = "Hanako Yamada"
WORKERS = 16
KINDS: list[tuple[str, str, dict[str, Any]]] = [("GET", "", STAFF), ("PUT", "/phone", SUPPORT), ("GET", "", ENGINEER)]


class Answer(msgspec.Struct, frozen=True):
    """What a caller got."""

    id: str
    status: int
    body: bytes

    @property
    def reason(self) -> str:
        return str(json.loads(self.body)["reason"]) if self.status >= 400 else ""


class Setting(msgspec.Struct):
    """A gateway whose ledger is on a small disk, and an API."""

    disk: SmallDisk
    world: World
    changes: list[str]
    """Paths of requests to the API that are no reads."""

    async def ask(self, method: str = "GET", rest: str = "", claims: dict[str, Any] | None = STAFF) -> Answer:
        fields = headers(claims) if claims is not None else {"X-Forwarded-For": "10.20.3.7"}
        async with aiohttp.request(method, f"{self.world.url}{USER}{rest}", headers=fields) as response:
            body = await response.read()
            return Answer(response.headers["Sekisho-Decision-Id"], response.status, body)

    async def becomes(self, status: int) -> None:
        async with asyncio.timeout(20):
            while (await self.ask()).status != status:
                await asyncio.sleep(0.02)

    def segments(self) -> list[int]:
        """Return the numbers of the first lines of the segments that stand in the ledger's place."""
        folder = self.world.ledger
        return [segment.first for segment in list_segments(folder)] if folder.is_dir() else []

    async def refuses_everything(self) -> None:
        """Whoever asks for whatever gets 503 and nothing of the API's, and no change reaches it."""
        before = len(self.changes)
        requests: list[tuple[str, str, dict[str, Any] | None]] = [
            ("GET", "", STAFF), ("PUT", "/phone", SUPPORT), ("GET", "", ENGINEER), ("GET", "/nothing", STAFF),
            ("GET", "", None),
        ]  # fmt: skip
        for method, rest, claims in requests:
            answer = await self.ask(method, rest, claims)
            while answer.status in {401, 403, 404}:  # the short line of a refusal has found room in the last page
                answer = await self.ask(method, rest, claims)
            assert (answer.status, answer.reason) == (503, "ledger-unavailable"), (method, rest)
            assert SECRET.encode() not in answer.body
        assert len(self.changes) == before


@contextlib.asynccontextmanager
async def a_setting(folder: Path, disk: SmallDisk, durability: str = "written") -> AsyncIterator[Setting]:
    changes: list[str] = []

    async def api(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        if request.method != "GET":
            changes.append(request.path)
        return web.json_response({"name": SECRET})

    options = {"ledger": disk.place / "ledger", "ledger_durability": durability}
    async with serve_raw(api) as url, run_world(folder, url, **options) as world:
        yield Setting(disk, world, changes)


async def keep_asking(setting: Setting, got: list[Answer], number: int) -> None:
    """Ask again and again, for this and that, until cancelled."""
    while True:
        method, rest, claims = KINDS[number % len(KINDS)]
        got.append(await setting.ask(method, rest, claims))


@contextlib.asynccontextmanager
async def under_load(setting: Setting) -> AsyncIterator[list[Answer]]:
    """Let many ask in the block; yields what they got."""
    got: list[Answer] = []
    workers = [asyncio.ensure_future(keep_asking(setting, got, number)) for number in range(WORKERS)]
    try:
        yield got
    finally:
        for worker in workers:
            worker.cancel()
        done = await asyncio.gather(*workers, return_exceptions=True)
    assert [type(each) for each in done] == [asyncio.CancelledError] * WORKERS


def has_more(got: list[Answer], count: int) -> bool:
    return len(got) > count


def check_records(folder: Path, got: list[Answer]) -> None:
    """Whatever was answered has its record, but where it was said that there can be none."""
    records = {record["id"]: record for record in read_verified(folder) if record["line"] == "decision"}
    for answer in got:
        if answer.status < 300:
            assert records[answer.id]["released"]
            assert records[answer.id].get("status", answer.status) == answer.status  # a change's comes at its end
        elif answer.reason != "ledger-unavailable":
            assert records[answer.id]["reason"] == answer.reason


@pytest.mark.parametrize("durability", ["written", "synced"])
@on_a_small_disk
async def test_a_disk_that_fills_under_load_is_503_and_room_made_is_used(
    tmp_path: Path, durability: str, request: pytest.FixtureRequest
) -> None:
    with mount_small_disk(tmp_path) as disk:
        async with a_setting(tmp_path, disk, durability) as setting:
            for _ in range(2):
                async with under_load(setting) as got:
                    await wait_for(lambda: sum(answer.status == 200 for answer in got) > 30, 30)
                    disk.fill()
                    await wait_for(lambda: all(answer.status == 503 for answer in got[-40:]), 30)
                    await setting.refuses_everything()
                    changes, asked = len(setting.changes), len(got)
                    await wait_for(partial(has_more, got, asked + 60), 30)
                    assert {answer.reason for answer in got[asked:]} == {"ledger-unavailable"}
                    assert len(setting.changes) == changes
                    disk.free()
                    await wait_for(lambda: got[-1].status == 200, 30)
                assert not any(SECRET.encode() in answer.body for answer in got if answer.status != 200)
                check_records(setting.world.ledger, got)
        assert verify_folder(disk.place / "ledger", [KEY.verifier]).is_good
        assert read_verified(disk.place / "ledger")[-1]["line"] == "checkpoint"


@on_a_small_disk
async def test_a_full_disk_at_the_end_ends_the_gateway_in_order(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with mount_small_disk(tmp_path) as disk:
        async with a_setting(tmp_path, disk) as setting:
            await setting.becomes(200)
            disk.fill()
        disk.free()
        async with a_setting(tmp_path, disk) as setting:
            await setting.becomes(200)
        assert verify_folder(disk.place / "ledger", [KEY.verifier]).is_good


@on_a_small_disk
async def test_a_read_only_file_system_in_its_place_is_503_until_it_is_gone(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with mount_small_disk(tmp_path) as disk:
        async with a_setting(tmp_path, disk) as setting:
            await setting.becomes(200)
            disk.cover()
            await setting.becomes(503)
            await setting.refuses_everything()
            disk.uncover()
            await setting.becomes(200)
            with pytest.raises(UsageError, match="Another gateway"):
                LedgerWriter(setting.world.ledger, Metrics(), KEY)
        assert verify_folder(disk.place / "ledger", [KEY.verifier]).is_good
        read_verified(disk.place / "ledger")


@on_a_small_disk
async def test_a_disk_that_is_mounted_read_only_is_not_started_on(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with mount_small_disk(tmp_path) as disk:
        disk.set_writable(to=False)
        with pytest.raises(UsageError, match="Read-only file system"):
            LedgerWriter(disk.place / "ledger", Metrics(), KEY)
        disk.set_writable(to=True)
        LedgerWriter(disk.place / "ledger", Metrics(), KEY).close()


@on_a_small_disk
async def test_a_disk_that_goes_away_is_503_and_gone_on_with_when_it_comes_back(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with mount_small_disk(tmp_path) as disk:
        async with a_setting(tmp_path, disk) as setting:
            await setting.becomes(200)
            disk.take_away()
            await setting.becomes(503)
            await setting.refuses_everything()
            assert not (disk.place / "ledger").exists(), "nothing is recorded on the disk below"
            disk.put_back()
            await setting.becomes(200)
            assert setting.segments() == [0]
        assert verify_folder(disk.place / "ledger", [KEY.verifier]).is_good
        read_verified(disk.place / "ledger")


def fill_last_page(ledger: Path) -> None:
    """Write lines until what is left of the last page of the segment is too little for the lines of a start."""
    writer = LedgerWriter(ledger, Metrics(), kills.KEY)
    while -list_segments(ledger)[-1].path.stat().st_size % 4096 > 300:
        writer.append([EndLine(id="0" * 26, complete=True)])
    writer.close()


FULL = [pytest.param(False, id="before its first line"), pytest.param(True, id="behind other lines")]


@pytest.mark.parametrize("has_begun", FULL)
@on_a_small_disk
async def test_a_disk_that_is_full_at_the_start_ends_it_with_a_sentence(
    tmp_path: Path,
    has_begun: bool,  # noqa: FBT001
    request: pytest.FixtureRequest,
) -> None:
    with mount_small_disk(tmp_path) as disk:
        gateway = kills.Killed(tmp_path / "gateway", "http://127.0.0.1:9", "written")
        gateway.ledger = disk.place / "ledger"
        if has_begun:
            process, _ = await gateway.start()
            process.terminate()
            assert await process.wait() == 0
            (tmp_path / "gateway" / "log").unlink()
            fill_last_page(gateway.ledger)
        disk.fill()
        process = await gateway.spawn(free_port())
        try:
            assert await asyncio.wait_for(process.wait(), 60) == 2, gateway.log()
        finally:
            await kills.kill(process)
        (said,) = [line for line in gateway.log().splitlines() if not line.startswith("{")]
        assert re.fullmatch(r"sekisho: The (ledger|bundle) .+No space left on device.+", said)
        disk.free()
        process, _ = await gateway.start()
        process.terminate()
        assert await process.wait() == 0
        assert verify_folder(gateway.ledger, [kills.KEY.verifier]).is_good
