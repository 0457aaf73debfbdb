# SPDX-License-Identifier: Apache-2.0
import contextlib
import subprocess
import sys

import pytest
from pydantic import ValidationError

from proxy.telemetry import Metrics
from proxy.volume.memory import MemoryCounts
from proxy.volume.opening import open_counts
from proxy.volume.options import VolumeOptions
from proxy.volume.shared import SharedCounts
from tests.support.counts import a_question, see
from tests.support.redis_server import serve_fake_redis


async def test_unless_told_it_is_this_process_that_counts() -> None:
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as stack:
        counting = await open_counts(stack, VolumeOptions(), metrics)
    assert isinstance(counting.volume, MemoryCounts)
    assert counting.source is None
    see(counting.volume, a_question())
    assert metrics.registry.get_sample_value("sekisho_counts_members") == 1


async def test_a_redis_is_asked_where_one_is_named() -> None:
    async with serve_fake_redis() as (fake, url), contextlib.AsyncExitStack() as stack:
        counting = await open_counts(stack, VolumeOptions(counts=url), Metrics())
        assert isinstance(counting.volume, SharedCounts)
        assert counting.source is counting.volume
        assert [b"INFO", b"memory"] in fake.commands


def test_the_library_is_loaded_only_where_it_is_used() -> None:
    code = "import sys, proxy.wiring; print('redis' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize(
    "place",
    [
        "memory", "redis://cache:6379/0", "redis://cache", "rediss://10.0.0.1:6380/2", "redis://[::1]:6379",
        "redis://gateway@cache:6379/0", "unix:///run/redis.sock", "unix:///run/redis.sock?db=1",
    ],
)  # fmt: skip
def test_a_place_that_can_be_asked_is_taken(place: str) -> None:
    assert VolumeOptions(counts=place).counts == place


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("redis://:hunter2@cache:6379/0", id="a password"),
        pytest.param("redis://gateway:hunter2@cache:6379/0", id="a user and a password"),
        pytest.param("redis://cache:6379/0?password=hunter2", id="a password as a parameter"),
        pytest.param("unix:///run/redis.sock?password=hunter2", id="a password of a socket"),
        pytest.param("http://hunter2", id="another protocol"),
        pytest.param("hunter2", id="a word"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_place_that_is_none_or_holds_a_secret_is_refused_without_saying_it(place: str) -> None:
    with pytest.raises(ValidationError) as raised:
        VolumeOptions(counts=place)
    (fault,) = raised.value.errors()
    assert "hunter2" not in fault["msg"]
    assert "counts_password_file" in fault["msg"]
