# SPDX-License-Identifier: Apache-2.0
"""All workers put one bundle in force, or none does: each way in which one of them may fail."""

import asyncio
from collections.abc import Callable
from itertools import product
from typing import Any, Final, cast

import pytest

from proxy.bundle.snapshot import Snapshot
from proxy.supervisor.swap import Offer, WorkerError, swap

OLD: Final = "old"
NEW: Final = "new"


class Simulated:
    """A worker that does what it is told, but for what it is said to fail at."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.in_force = OLD
        self.prepared = ""
        self.is_dead = False

    async def prepare(self, offer: Offer) -> None:
        await self._do("prepare")
        self.prepared = NEW

    async def commit(self, offer: Offer) -> None:
        await self._do("commit")
        self.in_force, self.prepared = self.prepared, ""

    async def abort(self, offer: Offer) -> None:
        await self._do("abort")
        self.prepared = ""

    def kill(self) -> None:
        self.is_dead = True

    async def _do(self, step: str) -> None:
        await asyncio.sleep(0)
        if self.fails == step:
            raise WorkerError(f"{step} is not done")


def offer(*, is_urgent: bool = False) -> Offer:
    return Offer(1, cast("Snapshot", None), is_urgent)


def alive(workers: list[Simulated]) -> set[str]:
    return {each.in_force for each in workers if not each.is_dead}


FAILURES: Final = [*product(["", "prepare", "commit", "abort"], repeat=3)]


@pytest.mark.parametrize("is_urgent", [False, True], ids=["a bundle", "emergency denies"])
@pytest.mark.parametrize("fails", FAILURES, ids=lambda each: ",".join(name or "fine" for name in each))
async def test_whoever_lives_has_one_and_the_same_in_force(fails: tuple[str, ...], is_urgent: bool) -> None:  # noqa: FBT001
    workers = [Simulated(each) for each in fails]
    try:
        await swap(workers, offer(is_urgent=is_urgent))
    except WorkerError:
        assert alive(workers) == {OLD}
        assert not any(each.is_dead for each in workers), "none was ended for what nobody did"
    else:
        assert alive(workers) == {NEW}


async def test_one_that_does_not_take_it_over_keeps_all_from_it() -> None:
    workers = [Simulated(), Simulated("prepare")]
    with pytest.raises(WorkerError, match="prepare is not done"):
        await swap(workers, offer())
    assert [each.prepared for each in workers] == ["", ""]


async def test_emergency_denies_are_not_held_up_by_one_that_does_not_take_them_over() -> None:
    workers = [Simulated(), Simulated("prepare")]
    await swap(workers, offer(is_urgent=True))
    assert (workers[0].in_force, workers[1].is_dead) == (NEW, True)


async def test_what_no_worker_can_put_in_force_is_refused_and_ends_none() -> None:
    workers = [Simulated("commit"), Simulated("commit")]
    with pytest.raises(WorkerError):
        await swap(workers, offer())
    assert alive(workers) == {OLD}


async def test_no_worker_is_told_to_commit_before_all_are_ready() -> None:
    log: list[str] = []

    def logging(name: str, wait: int) -> Callable[[], Any]:
        class Logged(Simulated):
            async def prepare(self, offer: Offer) -> None:
                for _ in range(wait):
                    await asyncio.sleep(0)
                log.append(f"{name} ready")

            async def commit(self, offer: Offer) -> None:
                log.append(f"{name} commits")

        return Logged

    await swap([logging("a", 0)(), logging("b", 20)()], offer())
    assert log == ["a ready", "b ready", "a commits", "b commits"]


async def test_without_workers_there_is_nothing_to_wait_for() -> None:
    await swap([], offer())


async def test_a_defect_is_not_taken_for_a_worker_that_refuses() -> None:
    class Broken(Simulated):
        async def prepare(self, offer: Offer) -> None:
            raise RuntimeError("a defect")

    with pytest.raises(RuntimeError):
        await swap([Broken()], offer())
