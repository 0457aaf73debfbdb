# SPDX-License-Identifier: Apache-2.0
"""What happens when a Redis does not do what it should. What it counts is tested in ``tests/e2e``, with a real one."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client import generate_latest

from proxy.errors import UsageError
from proxy.telemetry import Metrics
from proxy.volume.options import VolumeOptions
from proxy.volume.shared import PATIENCE, RETRY_SECONDS, SharedCounts
from tests.support.counts import a_question
from tests.support.redis_server import Answer, FakeRedis, array, serve_fake_redis
from tests.support.world import wait_for


class Shared:
    """What counts, with the server that it asks."""

    def __init__(self, fake: FakeRedis, counts: SharedCounts, metrics: Metrics) -> None:
        self.fake = fake
        self.counts = counts
        self._metrics = metrics

    async def numbers(self, member: str = "a") -> tuple[int, ...] | None:
        needed = a_question(member)
        await self.counts.ask(needed)
        counted = self.counts.count(needed)
        return None if counted is None else counted.numbers

    def shown(self, name: str) -> bool:
        return name in generate_latest(self._metrics.registry).decode()


@contextlib.asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Shared]:
    metrics = Metrics()
    async with serve_fake_redis() as (fake, url):
        counts = SharedCounts(VolumeOptions(**{"counts": url, "counts_timeout_seconds": 10, **options}), metrics)
        try:
            yield Shared(fake, counts, metrics)
        finally:
            await counts.close()


@pytest.fixture
async def shared() -> AsyncIterator[Shared]:
    async with running() as shared:
        yield shared


async def test_it_asks_and_answers(shared: Shared) -> None:
    assert await shared.numbers() == (1,)
    assert shared.shown('sekisho_counts_asked_total{result="counted"} 1.0')
    assert shared.shown("sekisho_counts_unavailable 0.0")


async def test_what_is_denied_is_taken_back_after_the_answer(shared: Shared) -> None:
    needed = a_question()
    await shared.counts.ask(needed)
    assert needed.answer is not None
    shared.counts.settle(needed, needed.answer, is_allowed=False)
    await wait_for(lambda: len(shared.fake.scripts) == 2)
    assert shared.fake.scripts[1][-3:] == [a_question().counts[0].members[0], b"1800000000000000", b""]


async def test_what_is_allowed_stays(shared: Shared) -> None:
    needed = a_question()
    await shared.counts.ask(needed)
    assert needed.answer is not None
    shared.counts.settle(needed, needed.answer, is_allowed=True)
    assert await shared.numbers() == (1,)
    assert len(shared.fake.scripts) == 2


async def _hang(command: list[bytes]) -> Answer:
    await asyncio.sleep(60)
    return None


WRONG: Final[dict[str, Callable[[list[bytes]], Any]]] = {
    "it is full": lambda _: b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "it is a replica": lambda _: b"-READONLY You can't write against a read only replica.\r\n",
    "it is loading": lambda _: b"-LOADING Redis is loading the dataset in memory\r\n",
    "it asks for a password": lambda _: b"-NOAUTH Authentication required.\r\n",
    "its script is broken": lambda _: b"-ERR user_script:1: broken\r\n",
    "it answers another question": lambda _: array(b"another", 1, b"18", b""),
    "it answers with a text": lambda _: b"+OK\r\n",
    "it answers with nothing": lambda _: b"*-1\r\n",
    "it counts nobody": lambda command: array(command[4], 0, b"18", b""),
    "it speaks another language": lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "it closes the connection": lambda _: None,
    "it hangs": _hang,
}


@pytest.mark.parametrize("says", WRONG.values(), ids=WRONG)
async def test_what_is_no_count_is_nothing(
    says: Callable[[list[bytes]], Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="sekisho")
    async with running(counts_timeout_seconds=1 if says is _hang else 10) as shared:
        shared.fake.on_script = says
        assert [await shared.numbers() for _ in range(2)] == [None, None]
        assert shared.shown("sekisho_counts_unavailable 1.0")
        assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1, "one line an outage"
        shared.fake.on_script = FakeRedis.count_one
        assert await shared.numbers() == (1,)
        assert shared.shown("sekisho_counts_unavailable 0.0")
        assert shared.shown('sekisho_counts_asked_total{result="failed"} 2.0')
    assert caplog.records[-1].message == "how much callers read is counted again"


async def test_what_the_server_says_is_not_logged_but_its_kind(
    shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    shared.fake.on_script = lambda _: b"-OOM secret words\r\n"
    await shared.numbers()
    (record,) = caplog.records
    assert record.__dict__["error"] == "OutOfMemoryError"
    assert "secret" not in str(record.__dict__)


async def test_while_it_hangs_not_every_request_waits(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("proxy.volume.shared.elapsed_seconds", lambda: now[0])
    shared.fake.on_script = lambda _: b"-OOM x\r\n"
    for _ in range(PATIENCE + 2):
        assert await shared.numbers() is None
    assert len(shared.fake.scripts) == PATIENCE
    assert shared.shown('sekisho_counts_asked_total{result="skipped"} 2.0')
    shared.fake.on_script = FakeRedis.count_one
    now[0] += RETRY_SECONDS
    assert await shared.numbers() == (1,)


async def test_a_server_that_forgets_to_make_room_is_not_asked(
    shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    shared.fake.maxmemory, shared.fake.policy = 1_000_000, "allkeys-lru"
    assert await shared.numbers() is None
    assert not shared.fake.scripts
    assert "set it to noeviction" in caplog.records[0].__dict__["error"]
    shared.fake.policy = "noeviction"
    assert await shared.numbers() == (1,)


async def test_a_server_without_a_bound_forgets_nothing(shared: Shared) -> None:
    shared.fake.policy = "allkeys-lru"
    assert await shared.numbers() == (1,)


async def test_a_caller_that_leaves_is_taken_back_and_nobody_gets_its_answer(shared: Shared) -> None:
    gate = asyncio.Event()

    async def late(command: list[bytes]) -> Answer:
        await gate.wait()
        return FakeRedis.count_one(command)

    shared.fake.on_script = late
    leaving = asyncio.ensure_future(shared.numbers())
    await wait_for(lambda: shared.fake.scripts)
    leaving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await leaving
    gate.set()
    await wait_for(lambda: len(shared.fake.scripts) == 2)
    assert int(shared.fake.scripts[1][2]) == 1
    assert await shared.numbers("b") == (1,)


async def test_nobody_there_is_an_outage_and_no_reason_not_to_start(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as gone:
        pass
    url = gone.counts._options.counts
    counts = SharedCounts(VolumeOptions(counts=url, counts_timeout_seconds=10), Metrics())
    await counts.start()
    needed = a_question()
    await counts.ask(needed)
    await counts.close()
    assert counts.count(needed) is None
    assert len(caplog.records) == 1


async def test_the_password_comes_from_a_file_for_each_connection(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("first\n", encoding="utf-8")
    async with running(counts_password_file=secret) as shared:
        await shared.numbers()
        assert [b"AUTH", b"first"] in shared.fake.commands
        secret.write_text("second\n", encoding="utf-8")
        shared.fake.on_script = lambda _: None
        await shared.numbers()
        shared.fake.on_script = FakeRedis.count_one
        await shared.numbers()
        assert [b"AUTH", b"second"] in shared.fake.commands


async def test_a_user_goes_with_the_password(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("word", encoding="utf-8")
    async with serve_fake_redis() as (fake, url):
        options = VolumeOptions(counts=url.replace("://", "://gateway@"), counts_password_file=secret)
        counts = SharedCounts(options, Metrics())
        await counts.ask(a_question())
        await counts.close()
    assert [b"AUTH", b"gateway", b"word"] in fake.commands


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(
            {"counts_password_file": Path("/nowhere")},
            "/nowhere of SEKISHO_COUNTS_PASSWORD_FILE: ",
            id="no password file",
        ),
        pytest.param({"counts_ca": Path("/nowhere")}, "no rediss://", id="a CA without TLS"),
        pytest.param({"counts_ca": Path("/nowhere"), "counts": "rediss://h"}, "cannot be read", id="no CA"),
    ],
)
def test_a_file_that_is_missing_is_told_at_start(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SharedCounts(VolumeOptions(**{"counts": "redis://127.0.0.1:1/0", **options}), Metrics())
