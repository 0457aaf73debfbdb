# SPDX-License-Identifier: Apache-2.0
"""A gateway that limits how much somebody reads, over real sockets; ``tests/e2e`` has one with a real Redis."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from proxy.errors import UsageError
from proxy.settings import read_settings
from proxy.wiring import load_first
from tests.support.bundle_folder import a_bundle
from tests.support.redis_server import serve_fake_redis
from tests.support.world import World, headers, run_world, serve_raw

LIMIT: Final = """\
  - id: ten-an-hour
    effect: deny
    when: {subject.country: JP, counts.country_subjects_1h: {gt: 10}}
"""


async def answer(request: web.BaseRequest) -> web.Response:
    return web.json_response({"name": "A"})


async def statuses(world: World, users: Iterable[int]) -> list[int]:
    sent = {**headers(), "Host": "users.internal"}
    async with aiohttp.ClientSession() as session:

        async def ask(user: int) -> int:
            async with session.get(f"{world.url}/v1/jp/users/{user}", headers=sent) as said:
                await said.read()
                return said.status

        return await asyncio.gather(*map(ask, users))


def limited(folder: Path) -> dict[str, Any]:
    (folder / "bundle").mkdir()
    a_bundle(folder / "bundle", rules=LIMIT)
    return {"policies": folder / "bundle"}


async def test_many_requests_at_once_do_not_pass_a_limit_together(tmp_path: Path) -> None:
    async with serve_raw(answer) as api, run_world(tmp_path, api, **limited(tmp_path)) as world:
        assert sorted(await statuses(world, range(40))) == [200] * 10 + [403] * 30
        async with aiohttp.ClientSession() as session, session.get(f"{world.admin}/metrics") as said:
            assert "sekisho_counts_members 10.0" in await said.text()


async def test_a_redis_that_hangs_is_503_within_its_time_for_whoever_is_limited(tmp_path: Path) -> None:
    async def hang(command: list[bytes]) -> bytes | None:
        await asyncio.sleep(60)
        return None

    async with serve_fake_redis() as (fake, url), serve_raw(answer) as api:
        fake.on_script = hang
        flags = limited(tmp_path) | {"counts": url, "counts_timeout_seconds": 0.5}
        async with run_world(tmp_path, api, **flags) as world:
            assert await statuses(world, [42]) == [503]
            (line,) = world.decisions()
            assert (line["reason"], line["status"]) == ("counts-unavailable", 503)


def test_more_workers_than_one_need_a_store_that_they_share(tmp_path: Path) -> None:
    told = limited(tmp_path) | {"workers": 2}
    with pytest.raises(UsageError, match="2 workers would each count by themselves"):
        load_first(read_settings(**told))
    _, snapshot = load_first(read_settings(**told, counts="redis://127.0.0.1:6379/0"))
    assert snapshot.policy.rules
