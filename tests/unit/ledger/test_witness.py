# SPDX-License-Identifier: Apache-2.0
"""Checkpoints reach their witnesses, late or not, and a ledger that lost its end or was changed is found out."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UsageError
from proxy.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from proxy.ledger.note import SigningKey
from proxy.ledger.tree_head import TreeHead, sign_tree_head
from proxy.ledger.witness import MAX_WAITING, SPACING_SECONDS, Offered, Waiting, Witnesses, check_against
from proxy.ledger.witness_place import FolderWitness, NotDeliveredError, Result
from proxy.telemetry import Metrics
from tests.support.world import wait_for

KEY = SigningKey.generate("ledger")
DELAY = 0.001


def a_head(size: int) -> TreeHead:
    return TreeHead("ledger", size, b"r" * 32)


def offer(witnesses: Witnesses, *sizes: int) -> None:
    for size in sizes:
        witnesses.offer(a_head(size), sign_tree_head(KEY, a_head(size)))


class Place:
    """A witness that does as it is told, and remembers."""

    def __init__(self, name: str = "place") -> None:
        self.name = name
        self.kept: list[int] = []
        self.attempts = 0
        self.answers: list[Exception] = []
        """For the next attempts; then each is taken."""
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.is_closed = False

    async def deliver(self, head: TreeHead, note: str) -> None:
        self.attempts += 1
        await self.is_open.wait()
        assert f"\n{head.size}\n" in note
        if self.answers:
            raise self.answers.pop(0)
        self.kept.append(head.size)

    async def close(self) -> None:
        self.is_closed = True


def failing(times: int, result: Result = Result.FAILED) -> list[Exception]:
    return [NotDeliveredError(result, "it is not there") for _ in range(times)]


async def next_attempt(place: Place) -> None:
    seen = place.attempts
    await wait_for(lambda: place.attempts > seen)


@contextlib.asynccontextmanager
async def delivering(*places: Place, metrics: Metrics | None = None) -> AsyncIterator[Witnesses]:
    witnesses = Witnesses(places, metrics or Metrics(), delay=DELAY)
    witnesses.start()
    try:
        yield witnesses
    finally:
        await witnesses.finish(0.05)


def counted(metrics: Metrics, witness: str = "place") -> dict[str, float]:
    values = {
        result: metrics.registry.get_sample_value(
            "sekisho_witness_deliveries_total", {"witness": witness, "result": result}
        )
        for result in Result
    }
    return {result: value for result, value in values.items() if value}


def lag(metrics: Metrics, witness: str = "place") -> float:
    return metrics.registry.get_sample_value("sekisho_witness_lag_seconds", {"witness": witness}) or 0.0


# Delivery.


async def test_each_checkpoint_reaches_each_witness() -> None:
    one, two, metrics = Place("one"), Place("two"), Metrics()
    async with delivering(one, two, metrics=metrics) as witnesses:
        offer(witnesses, 1)
        await wait_for(lambda: one.kept and two.kept)
        offer(witnesses, 2)
        await wait_for(lambda: 2 in one.kept and 2 in two.kept)
    assert one.kept == two.kept == [1, 2]
    assert (counted(metrics, "one"), lag(metrics, "one")) == ({"delivered": 2}, 0)
    assert one.is_closed
    assert two.is_closed


async def test_what_was_offered_before_the_start_is_delivered() -> None:
    place = Place()
    witnesses = Witnesses([place], Metrics(), delay=DELAY)
    offer(witnesses, 1)
    witnesses.start()
    await witnesses.finish()
    assert place.kept == [1]


async def test_a_witness_that_fails_is_asked_again_until_it_takes_it() -> None:
    place, metrics = Place(), Metrics()
    place.answers = [*failing(2), OSError("a defect"), *failing(1)]
    async with delivering(place, metrics=metrics) as witnesses:
        offer(witnesses, 1)
        await wait_for(lambda: place.kept)
    assert (place.kept, place.attempts, counted(metrics)) == ([1], 5, {"failed": 4, "delivered": 1})


async def test_of_what_comes_while_a_witness_hangs_the_newest_is_delivered_next() -> None:
    place, metrics = Place(), Metrics()
    place.is_open.clear()
    async with delivering(place, metrics=metrics) as witnesses:
        offer(witnesses, 1)
        await wait_for(lambda: place.attempts)
        offer(witnesses, 2, 3, 4, 5)
        assert lag(metrics) > 0
        place.is_open.set()
        await wait_for(lambda: 5 in place.kept)
        assert lag(metrics) == 0
    assert place.kept == [1, 5]


async def test_one_witness_that_hangs_does_not_hold_up_another() -> None:
    one, two = Place("one"), Place("two")
    one.is_open.clear()
    async with delivering(one, two) as witnesses:
        offer(witnesses, 1)
        await wait_for(lambda: two.kept)
        offer(witnesses, 2)
        await wait_for(lambda: 2 in two.kept)
    assert (one.kept, two.kept) == ([], [1, 2])


@pytest.mark.parametrize("result", [Result.REFUSED, Result.CONFLICT])
async def test_a_checkpoint_that_is_not_taken_does_not_stand_in_the_way_of_newer_ones(result: Result) -> None:
    place, metrics = Place(), Metrics()
    place.answers = failing(3, result)
    async with delivering(place, metrics=metrics) as witnesses:
        offer(witnesses, 1)
        await wait_for(lambda: place.attempts)
        offer(witnesses, 2)
        await wait_for(lambda: place.kept)
    assert place.kept[-1] == 2
    assert counted(metrics)[result] == 3


async def test_a_witness_that_refuses_everything_is_ever_further_behind() -> None:
    place, metrics = Place(), Metrics()
    place.answers = failing(1000, Result.REFUSED)
    async with delivering(place, metrics=metrics) as witnesses:
        behind = 0.0
        for size in range(1, 6):
            offer(witnesses, size)
            await next_attempt(place)
            assert lag(metrics) > behind
            behind = lag(metrics)


async def test_a_split_view_is_an_error_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = TreeHead("ledger", 1, b"x" * 32)
    await FolderWitness(tmp_path).deliver(other, sign_tree_head(KEY, other))
    metrics = Metrics()
    witnesses = Witnesses([FolderWitness(tmp_path)], metrics, delay=DELAY)
    witnesses.start()
    offer(witnesses, 1)
    await wait_for(lambda: counted(metrics, str(tmp_path)))
    offer(witnesses, 2)
    await wait_for(lambda: counted(metrics, str(tmp_path)).get("delivered"))
    await witnesses.finish()
    told = [record for record in caplog.records if record.levelname == "ERROR"]
    assert {record.getMessage().partition(":")[0] for record in told} == {"split view"}
    assert FolderWitness(tmp_path).latest("ledger", [KEY.verifier]) == a_head(2)


async def test_at_the_end_a_witness_that_was_being_waited_for_is_asked_once_more() -> None:
    place = Place()
    place.answers = failing(1)
    witnesses = Witnesses([place], Metrics(), delay=3600)
    witnesses.start()
    offer(witnesses, 1)
    await wait_for(lambda: place.attempts)
    offer(witnesses, 2)
    async with asyncio.timeout(10):
        await witnesses.finish()
    assert place.kept == [1, 2]


@pytest.mark.parametrize("is_hanging", [True, False], ids=["hangs", "fails"])
async def test_at_the_end_nobody_is_waited_for_for_ever_who(is_hanging: bool, caplog: pytest.LogCaptureFixture) -> None:  # noqa: FBT001
    place = Place()
    place.answers = failing(1000)
    if is_hanging:
        place.is_open.clear()
    witnesses = Witnesses([place], Metrics(), delay=3600)
    witnesses.start()
    offer(witnesses, 1)
    async with asyncio.timeout(10):
        await witnesses.finish(0.05)
    assert "the last checkpoint was not delivered" in caplog.records[-1].message
    assert place.is_closed


async def test_to_offer_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    witnesses = Witnesses([Place()], Metrics())
    witnesses._ways.append(None)  # type: ignore[arg-type]  # a defect
    offer(witnesses, 1)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    Witnesses([], Metrics()).offer(a_head(1), "")


# What waits.


def wait(*times: float) -> Waiting:
    waiting = Waiting()
    for number, at in enumerate(times):
        waiting.add(Offered(a_head(number), "", at))
    return waiting


def sizes(waiting: Waiting) -> list[int]:
    return [each.head.size for each in waiting._offers]


KEPT = [
    pytest.param([0], [0], id="one"),
    pytest.param([0, 60], [0, 1], id="the first and the newest"),
    pytest.param([0, 60, 120, 180], [0, 3], id="of those in between none within ten minutes"),
    pytest.param([0, 300, 600, 900], [0, 2, 3], id="one after ten minutes, and the newest"),
    pytest.param([0, 3600, 7200], [0, 1, 2], id="all of an idle day"),
]


@pytest.mark.parametrize(("times", "kept"), KEPT)
def test_of_those_that_wait_are_kept(times: list[float], kept: list[int]) -> None:
    assert sizes(wait(*times)) == kept


@given(st.lists(st.integers(0, 1200), max_size=600))
def test_what_waits_is_bounded_in_order_and_ends_with_the_newest(steps: list[int]) -> None:
    times = [float(sum(steps[: index + 1])) for index in range(len(steps))]
    waiting = wait(*times)
    kept = sizes(waiting)
    assert len(kept) <= MAX_WAITING
    assert kept == sorted(set(kept))
    if steps:
        assert (kept[0], kept[-1]) == (0, len(steps) - 1)
        assert waiting.lag(times[-1]) == times[-1] - times[0]
    if len(times) < MAX_WAITING:
        gaps = [times[b] - times[a] for a, b in itertools.pairwise(kept)]
        assert all(gap >= SPACING_SECONDS for gap in gaps[:-1])


def test_a_witness_is_behind_since_the_first_that_it_was_not_given() -> None:
    waiting = wait(100, 800, 1500)
    assert waiting.lag(1600) == 1500
    waiting.drop_first(is_delivered=False)
    assert waiting.lag(1600) == 1500
    waiting.drop_first(is_delivered=True)
    assert waiting.lag(1600) == 100
    waiting.drop_first(is_delivered=True)
    assert waiting.lag(1600) == 0
    waiting.add(Offered(a_head(9), "", 1700))
    assert waiting.lag(1701) == 1


# At the start.

LINES = [leaf_hash(json.dumps(number).encode()) for number in range(20)]


def root_of(size: int) -> bytes:
    frontier = Frontier()
    frontier.extend(LINES[:size])
    return frontier.root()


def check(latest: TreeHead, size: int, first_kept: int = 0) -> None:
    check_against(
        latest,
        "/mnt/witness",
        ledger=Path("ledger"),
        size=size,
        root=root_of(size),
        root_at=lambda at: root_of(at) if at >= first_kept else None,
    )


@pytest.mark.parametrize(("kept", "size"), [(0, 0), (0, 5), (1, 5), (4, 5), (5, 5), (16, 20)])
def test_a_ledger_that_goes_on_from_the_checkpoint_passes(kept: int, size: int) -> None:
    check(TreeHead("ledger", kept, root_of(kept)), size)


GONE = [
    pytest.param(5, b"", 4,
                 "has 4 lines, and the witness /mnt/witness keeps a checkpoint of 5: lines at its end are gone",
                 id="the last line is gone"),
    pytest.param(5, b"", 0, "has 0 lines", id="all lines are gone"),
    pytest.param(5, b"x" * 32, 5, "The first 5 lines .+ are not those", id="another root at its size"),
    pytest.param(5, b"x" * 32, 9, "The first 5 lines .+ are not those", id="another root at an earlier size"),
]  # fmt: skip


@pytest.mark.parametrize(("kept", "root", "size", "told"), GONE)
def test_a_ledger_is_found_out_and_the_mend_is_told_where(kept: int, root: bytes, size: int, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        check(TreeHead("ledger", kept, root or root_of(kept)), size)
    assert "Put the whole ledger back from a copy" in str(caught.value)


def test_lines_that_retention_removed_are_told_and_pass(caplog: pytest.LogCaptureFixture) -> None:
    check(TreeHead("ledger", 5, root_of(5)), 20, first_kept=8)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert root_of(0) == EMPTY_ROOT
