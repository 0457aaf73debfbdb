# SPDX-License-Identifier: Apache-2.0
"""Group commit: one wait of the disk serves all who wrote before it began, and nobody who wrote later."""

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable, Iterator

import pytest

from proxy.errors import LedgerError
from proxy.ledger.commit import GroupCommit


class Disk:
    """A disk that takes as long as the test wants, and says what the test wants."""

    def __init__(self) -> None:
        self.begun = 0
        self.at_once = 0
        self.go_on = threading.Semaphore(0)
        self.error: Exception | None = None
        self.failures = 0

    def sync(self) -> None:
        self.begun += 1
        self.at_once += 1
        assert self.at_once == 1, "the disk is waited for twice at a time"
        assert self.go_on.acquire(timeout=20)
        self.at_once -= 1
        if self.error is not None:
            self.failures += 1
            raise self.error


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.go_on.release(1000)


@pytest.fixture
def commit(disk: Disk) -> Iterator[GroupCommit]:
    commit = GroupCommit(disk.sync, lambda: disk.failures)
    yield commit
    disk.go_on.release(1000)
    commit.close()


async def turn_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def test_whoever_comes_while_the_disk_is_waited_for_waits_for_the_next_time_together(
    disk: Disk, commit: GroupCommit
) -> None:
    first = commit.wait(0)
    await turn_until(lambda: disk.begun == 1)
    later = [commit.wait(0) for _ in range(100)]
    disk.go_on.release()
    await first
    assert not any(waiting.done() for waiting in later)
    await turn_until(lambda: disk.begun == 2)
    last = commit.wait(0)
    disk.go_on.release()
    await asyncio.gather(*later)
    assert not last.done()
    disk.go_on.release()
    await last
    assert disk.begun == 3


async def test_a_disk_that_says_no_fails_all_who_had_written_by_then(disk: Disk, commit: GroupCommit) -> None:
    disk.error = LedgerError("no")
    first = [commit.wait(0)]
    await turn_until(lambda: disk.begun == 1)
    later = [commit.wait(0), commit.wait(0)]
    disk.go_on.release()
    await asyncio.wait(first)
    disk.error = None
    disk.go_on.release()
    await asyncio.wait(later)  # the kernel tells of an error once: that it says yes now means nothing for them
    after = [commit.wait(disk.failures)]
    disk.go_on.release()
    await asyncio.wait(after)
    types = [type(waiting.exception()) for waiting in first + later + after]
    assert types == [LedgerError, LedgerError, LedgerError, type(None)]


async def test_a_disk_that_said_no_to_somebody_else_fails_who_had_written_before(
    disk: Disk, commit: GroupCommit
) -> None:
    waiting = commit.wait(disk.failures)
    await turn_until(lambda: disk.begun == 1)
    disk.failures += 1  # whoever publishes a checkpoint was told
    disk.go_on.release()
    with pytest.raises(LedgerError, match="said no since"):
        await waiting


async def test_whoever_leaves_takes_nobody_along(disk: Disk, commit: GroupCommit) -> None:
    async def wait() -> None:
        await commit.wait(0)

    tasks = [asyncio.ensure_future(wait()) for _ in range(3)]
    await turn_until(lambda: disk.begun == 1)
    late = [asyncio.ensure_future(wait()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in (tasks[0], late[0]):
        task.cancel()
    disk.go_on.release(2)
    assert [type(done) for done in await asyncio.gather(*tasks, *late, return_exceptions=True)] == [
        asyncio.CancelledError, type(None), type(None), asyncio.CancelledError, type(None), type(None),
    ]  # fmt: skip


async def test_a_failure_that_nobody_waits_for_is_not_told_as_a_defect(disk: Disk, commit: GroupCommit) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    disk.error = LedgerError("no")
    waiting = commit.wait(0)
    disk.go_on.release()
    await turn_until(waiting.done)
    del waiting
    gc.collect()
    assert told == []


async def test_what_is_waited_for_after_the_end_fails_and_so_does_what_was_not_begun(
    disk: Disk, commit: GroupCommit
) -> None:
    first = commit.wait(0)
    await turn_until(lambda: disk.begun == 1)
    later = commit.wait(0)
    disk.go_on.release()
    commit.close()
    await first
    for waiting in (later, commit.wait(0), commit.wait(0)):
        with pytest.raises(LedgerError, match="closed"):
            await waiting
    commit.close()


def test_a_loop_that_ends_while_the_disk_is_waited_for_ends(disk: Disk, commit: GroupCommit) -> None:
    async def leave() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await commit.wait(0)
        commit.wait(0).cancel()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    loop.close()
    disk.go_on.release(2)


@pytest.mark.parametrize("requests", [1, 64, 1000])
async def test_many_requests_take_few_waits(disk: Disk, commit: GroupCommit, requests: int) -> None:
    disk.go_on.release(requests)
    await asyncio.gather(*[commit.wait(0) for _ in range(requests)])
    assert disk.begun <= 2
