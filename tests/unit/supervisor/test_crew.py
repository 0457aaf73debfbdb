# SPDX-License-Identifier: Apache-2.0
"""A crew of simulated workers: who serves, on which gates, on which bundle, whatever becomes of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.ledger.archive import Archive
from proxy.supervisor import backoff
from proxy.supervisor import crew as crew_module
from proxy.supervisor.crew import Crew
from proxy.supervisor.merge import Family, Sample
from proxy.supervisor.messages import Seen
from proxy.supervisor.swap import Offer, WorkerError
from proxy.telemetry import Metrics
from proxy.telemetry.attempts import Attempt
from tests.support.world import POLICIES, wait_for

SIZE: Final = 2


class Simulated:
    """A worker that does what it is told."""

    def __init__(self, number: int, snapshot: Snapshot) -> None:
        self.number = number
        self.gates: tuple[int, ...] = ()
        self.snapshot = snapshot
        self.seen: Seen | None = None
        self.last: tuple[Family, ...] = (Family("t", "counter", "", (Sample("t_total", (), 1.0),)),)
        self.attempts: tuple[Attempt, ...] = ()
        self.unanswered = 0
        self.is_leaving = False
        self.pid = 100 + number
        self.age = 0.0
        self.hangs = False
        self.refuses = False
        self.pokes = 0
        self.has_shut = False
        self._prepared = snapshot
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def prepare(self, offer: Offer) -> None:
        self._check()
        self._prepared = offer.snapshot

    async def commit(self, offer: Offer) -> None:
        self._check()
        self.snapshot = self._prepared

    async def abort(self, offer: Offer) -> None:
        self._check()

    async def accept(self, gates: tuple[int, ...]) -> None:
        self._check()
        self.gates = gates

    async def look(self, seconds: float) -> None:
        self.unanswered = self.unanswered + 1 if self.hangs else 0

    async def renew_keys(self) -> None:
        self._check()

    async def renew(self) -> None:
        self.pokes += 1

    async def shut(self) -> None:
        self.has_shut = True

    async def stop(self) -> None:
        self.is_leaving = True
        if not self.hangs:
            self.end(0)

    def kill(self) -> None:
        self.end(-9)

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    def end(self, code: int) -> None:
        """Be at the end, as a process is."""
        if not self._end.done():
            self._end.set_result(code)

    def _check(self) -> None:
        if self.refuses or self._end.done():
            raise WorkerError(f"worker {self.number} refuses")


class Yard:
    """Starts simulated workers, and knows all of them."""

    def __init__(self) -> None:
        self.started: list[Simulated] = []
        self.refuses_next = False
        """Whether the next one comes up, and refuses whatever it is told then."""
        self.failures = 0
        """How many of the next do not come up."""
        self.gate = asyncio.Event()
        """Whether those that are started come up now."""
        self.gate.set()

    async def start(self, number: int, snapshot: Snapshot) -> Simulated:
        if self.failures:
            self.failures -= 1
            raise WorkerError("it does not come up")
        await self.gate.wait()
        self.started.append(Simulated(number, snapshot))
        self.started[-1].refuses, self.refuses_next = self.refuses_next, False
        return self.started[-1]


@pytest.fixture(scope="module")
def bundles() -> tuple[Snapshot, Snapshot]:
    return load_bundle(POLICIES, {}), load_bundle(POLICIES, {})


@pytest.fixture
def yard(monkeypatch: pytest.MonkeyPatch) -> Yard:
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.001)
    monkeypatch.setattr(crew_module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(crew_module, "MARGIN_SECONDS", 0.05)
    return Yard()


@pytest_asyncio.fixture
async def crew(yard: Yard, bundles: tuple[Snapshot, Snapshot], tmp_path: Path) -> AsyncIterator[Crew]:
    made = Crew(SIZE, yard.start, bundles[0], archive=Archive(tmp_path), metrics=Metrics(), drain_seconds=0.05)
    await made.begin()
    yield made
    await made.stop()


def alive(crew: Crew) -> list[int]:
    return sorted(each.number for each in crew.workers)


def gates(crew: Crew) -> list[int]:
    return sorted(gate for each in crew.workers for gate in each.gates)


def counted(crew: Crew, name: str) -> float:
    return sum(each.value for family in crew.read_metrics() for each in family.samples if each.name == name)


async def test_each_worker_has_a_gate(crew: Crew) -> None:
    assert (alive(crew), [len(each.gates) for each in crew.workers], gates(crew)) == ([1, 2], [1, 1], [0, 1])


async def test_the_gate_of_a_worker_that_died_is_taken_over_before_the_next_comes_up(crew: Crew, yard: Yard) -> None:
    yard.gate.clear()
    yard.started[0].end(-9)
    await wait_for(lambda: alive(crew) == [2])
    await wait_for(lambda: yard.started[1].gates == (0, 1))
    assert counted(crew, "sekisho_workers_serving") == 1
    yard.gate.set()
    await wait_for(lambda: alive(crew) == [1, 2])
    await wait_for(lambda: sorted(len(each.gates) for each in crew.workers) == [1, 1])
    assert gates(crew) == [0, 1]
    assert counted(crew, "sekisho_worker_ends_total") == 1
    assert counted(crew, "t_total") == 3, "what it had counted is gone"


async def test_another_one_is_started_until_one_comes_up(crew: Crew, yard: Yard) -> None:
    yard.failures = 3
    yard.started[0].end(1)
    await wait_for(lambda: alive(crew) == [1, 2] and yard.started[0] not in crew.workers)
    assert yard.failures == 0


async def test_one_that_hangs_is_ended_and_replaced(crew: Crew, yard: Yard) -> None:
    yard.started[0].hangs = True
    await wait_for(lambda: len(yard.started) == SIZE + 1 and alive(crew) == [1, 2])


async def test_one_that_does_not_take_its_gate_is_ended(crew: Crew, yard: Yard) -> None:
    yard.started[1].refuses = True
    yard.started[0].end(-9)
    await wait_for(lambda: len(yard.started) == SIZE + 2 and alive(crew) == [1, 2])
    await wait_for(lambda: gates(crew) == [0, 1])


async def test_one_that_comes_up_while_a_bundle_is_put_in_force_has_it_before_it_serves(
    crew: Crew, yard: Yard, bundles: tuple[Snapshot, Snapshot]
) -> None:
    yard.gate.clear()
    yard.started[0].end(-9)
    await wait_for(lambda: alive(crew) == [2])
    await crew.adopt(bundles[1])
    yard.gate.set()
    await wait_for(lambda: alive(crew) == [1, 2])
    assert {id(each.snapshot) for each in yard.started[1:]} == {id(bundles[1])}


async def test_one_that_cannot_be_brought_up_to_date_never_serves(
    crew: Crew, yard: Yard, bundles: tuple[Snapshot, Snapshot]
) -> None:
    yard.gate.clear()
    yard.refuses_next = True
    yard.started[0].end(-9)
    await wait_for(lambda: alive(crew) == [2])
    await crew.adopt(bundles[1])
    yard.gate.set()
    await wait_for(lambda: alive(crew) == [1, 2])
    third, fourth = yard.started[SIZE:]
    assert third._end.done()
    assert fourth.snapshot is bundles[1]


async def test_one_that_is_coming_up_when_all_are_stopped_is_stopped_too(crew: Crew, yard: Yard) -> None:
    yard.gate.clear()
    yard.started[0].end(-9)
    await wait_for(lambda: alive(crew) == [2])
    async with crew._changing:  # so that the one in its place is there, and does not serve yet
        yard.gate.set()
        await wait_for(lambda: len(yard.started) == SIZE + 1)
        stopping = asyncio.ensure_future(crew.stop())
        await wait_for(lambda: yard.started[SIZE].is_leaving)
    await asyncio.wait_for(stopping, 5)


async def test_a_bundle_that_one_refuses_is_in_force_nowhere(
    crew: Crew, yard: Yard, bundles: tuple[Snapshot, Snapshot]
) -> None:
    yard.started[1].refuses = True
    with pytest.raises(WorkerError, match="worker 2 refuses"):
        await crew.adopt(bundles[1])
    assert crew.snapshot is bundles[0]
    assert {id(each.snapshot) for each in yard.started} == {id(bundles[0])}


async def test_a_bundle_is_kept_before_any_worker_hears_of_it(
    crew: Crew, yard: Yard, bundles: tuple[Snapshot, Snapshot], tmp_path: Path
) -> None:
    await crew.adopt(bundles[1])
    assert (tmp_path / "bundles" / bundles[1].digest).is_dir()


async def test_a_rolling_restart_replaces_one_after_the_other_and_every_gate_is_served_throughout(
    crew: Crew, yard: Yard
) -> None:
    olds = [*yard.started]
    crew.roll()
    crew.roll()  # which changes nothing
    while any(each in crew.workers for each in olds):
        assert {*gates(crew)} == {0, 1}
        assert len(crew.workers) >= SIZE
        await asyncio.sleep(0)
    await wait_for(lambda: len(crew.workers) == SIZE and len(yard.started) == 2 * SIZE)
    assert all(each.is_leaving for each in olds)


async def test_a_rolling_restart_whose_first_does_not_come_up_leaves_all_as_they_are(crew: Crew, yard: Yard) -> None:
    yard.failures = 1
    crew.roll()
    await wait_for(lambda: not yard.failures)
    with contextlib.suppress(TimeoutError):
        await wait_for(lambda: len(yard.started) > SIZE, 0.1)
    assert [each.is_leaving for each in yard.started] == [False, False]
    assert gates(crew) == [0, 1]


async def test_one_that_does_not_end_is_ended(crew: Crew, yard: Yard) -> None:
    yard.started[0].hangs = True
    await asyncio.wait_for(crew.stop(), 5)
    assert all(each._end.done() for each in yard.started)


async def test_one_that_still_serves_its_last_requests_is_not_ended_because_another_one_has(
    yard: Yard, bundles: tuple[Snapshot, Snapshot], tmp_path: Path
) -> None:
    made = Crew(SIZE, yard.start, bundles[0], archive=Archive(tmp_path), metrics=Metrics(), drain_seconds=30)
    await made.begin()
    slow = yard.started[0]
    slow.hangs = slow.refuses = True  # told to end, it listens to nothing
    stopping = asyncio.ensure_future(made.stop())
    await wait_for(lambda: alive(made) == [1])
    await asyncio.sleep(0)
    assert not slow._end.done()
    slow.end(0)
    await asyncio.wait_for(stopping, 5)
    assert await slow.wait() == 0


async def test_all_let_go_of_the_gates_before_one_of_them_is_told_to_end(crew: Crew, yard: Yard) -> None:
    first, second = yard.started
    stop = first.stop

    async def stop_first() -> None:
        assert second.has_shut
        await stop()

    first.stop = stop_first  # type: ignore[method-assign]
    await crew.stop()
    assert first.is_leaving


async def test_where_one_of_the_first_does_not_come_up_none_is_left(
    yard: Yard, bundles: tuple[Snapshot, Snapshot], tmp_path: Path
) -> None:
    yard.failures = 1
    made = Crew(SIZE, yard.start, bundles[0], archive=Archive(tmp_path), metrics=Metrics(), drain_seconds=0.05)
    with pytest.raises(WorkerError, match="does not come up"):
        await made.begin()
    assert all(each._end.done() for each in yard.started)


async def test_all_are_told_to_look_and_to_read_their_keys(crew: Crew, yard: Yard) -> None:
    crew.poke()
    await crew.renew()
    await wait_for(lambda: [each.pokes for each in yard.started] == [1, 1])
    yard.started[0].refuses = True
    with pytest.raises(WorkerError, match="worker 1 refuses"):
        await crew.renew()
