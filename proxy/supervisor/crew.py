# SPDX-License-Identifier: Apache-2.0
"""The workers of one supervisor: as many as there shall be, on one bundle, on all gates. This module does I/O."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from itertools import count
from typing import Any, Final, Protocol

from proxy.bundle.snapshot import Snapshot
from proxy.ledger.archive import Archive
from proxy.lifecycle.kept import keep_bundle
from proxy.supervisor.backoff import STEADY_SECONDS, find_delay
from proxy.supervisor.balance import share_gates
from proxy.supervisor.merge import Family, add_retired, merge_metrics, read_metrics
from proxy.supervisor.messages import Seen
from proxy.supervisor.swap import Offer, Swapping, WorkerError, swap
from proxy.telemetry import Metrics
from proxy.telemetry.attempts import Attempt

LOOK_SECONDS: Final = 15.0
"""How often workers are asked how they are: what one has counted since then is lost where it is killed."""
ANSWER_SECONDS: Final = 2.0
"""How long whoever asks for metrics or readiness waits for a worker's own."""
MAX_UNANSWERED: Final = 3
"""A worker that says nothing so often in a row hangs, and is ended."""
MARGIN_SECONDS: Final = 10.0
"""Beyond ``drain_seconds``, for the ledger to be signed and witnesses to be told."""
_CHANCES: Final = 1000

log = logging.getLogger("sekisho.workers")


class Worker(Swapping, Protocol):
    """A worker; ``member.Member`` is one."""

    number: int
    gates: tuple[int, ...]
    seen: Seen | None
    last: tuple[Family, ...]
    attempts: tuple[Attempt, ...]
    unanswered: int
    is_leaving: bool

    @property
    def pid(self) -> int:
        """Of its process."""

    @property
    def age(self) -> float:
        """Seconds since it was started."""

    async def accept(self, gates: tuple[int, ...]) -> None:
        """Have it take callers on these gates, and on no others."""

    async def look(self, seconds: float) -> None:
        """Ask it how it is."""

    async def renew_keys(self) -> None:
        """Have it read the keys again that lie in the policy folder."""

    async def renew(self) -> None:
        """Have it look now at what it watches by itself."""

    async def shut(self) -> None:
        """Have it let go of gates that are others'."""

    async def stop(self) -> None:
        """Have it end in order."""

    async def wait(self) -> int:
        """Wait until it has ended, and return its exit code."""


Start = Callable[[int, Snapshot], Awaitable[Worker]]
"""Starts the worker of a number with a bundle; ``WorkerError`` where it does not come up."""


class Crew:
    """Keeps workers running.

    Args:
        size: how many.
        start: makes one.
        snapshot: the bundle to begin with.
        archive: keeps what is put in force, before it is.
        metrics: of the supervisor itself.
        drain_seconds: how long a worker may take to end.
    """

    def __init__(
        self, size: int, start: Start, snapshot: Snapshot, *, archive: Archive, metrics: Metrics, drain_seconds: float
    ) -> None:
        self.snapshot = snapshot
        """The bundle in force."""
        self.workers: list[Worker] = []
        """Those that serve."""
        self._size = size
        self._start = start
        self._archive = archive
        self._metrics = metrics
        self._stop_seconds = drain_seconds + MARGIN_SECONDS
        self._generation = 0
        """How many bundles were put in force after the first."""
        self._offers = count(1)
        self._numbers: set[int] = set()
        self._alive: set[Worker] = set()
        """Those that serve, those that are about to, and those that were told to end."""
        self._watching: set[asyncio.Future[None]] = set()
        self._keeping: list[asyncio.Future[None]] = []
        self._rolling: asyncio.Future[None] | None = None
        self._changing = asyncio.Lock()
        """Over what all workers are to agree on: the bundle, who serves, who accepts where."""
        self._short = asyncio.Event()
        self._failures = 0
        self._retired: tuple[Family, ...] = ()
        self.is_stopping = False
        """Whether all are told to end."""
        metrics.attempts.elsewhere = lambda: [each.attempts for each in self._alive]

    async def begin(self) -> None:
        """Start all workers, and keep them running.

        Raises:
            WorkerError: one of them does not come up; then none is left.
        """
        started = await asyncio.gather(*(self._add() for _ in range(self._size)), return_exceptions=True)
        for each in started:
            if isinstance(each, BaseException):
                await self.stop()
                raise each
        self._keeping = [asyncio.ensure_future(self._refill()), asyncio.ensure_future(self._look_after())]

    async def _add(self) -> Worker:
        """Start one worker more, which serves when this returns.

        Raises:
            WorkerError: it does not come up.
        """
        number = next(each for each in count(1) if each not in self._numbers)
        self._numbers.add(number)
        generation = self._generation
        try:
            worker = await self._start(number, self.snapshot)
        except BaseException:
            self._numbers.discard(number)
            raise
        self._alive.add(worker)
        self._hold(self._watch(worker))
        async with self._changing:
            if generation != self._generation:
                await self._bring_up_to_date(worker)
            self.workers.append(worker)
            await self._share()
        return worker

    async def _bring_up_to_date(self, worker: Worker) -> None:
        try:
            await swap([worker], Offer(next(self._offers), self.snapshot))
        except WorkerError:
            worker.kill()
            raise

    def _hold(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _share(self) -> None:
        """Have every gate served: whoever gets one more takes it before another lets go of it."""
        self._metrics.workers_serving.set(len(self.workers))
        held = {each.number: each.gates for each in self.workers}
        shares = share_gates(self._size, held, [each.number for each in self.workers])
        for goal in ({each: {*held[each], *shares[each]} for each in held}, shares):
            for worker in [*self.workers]:
                try:
                    await worker.accept(tuple(sorted(goal[worker.number])))
                except WorkerError as error:
                    log.error("a worker does not accept callers: it is ended", extra={"error": str(error)})  # noqa: TRY400
                    worker.kill()

    async def _watch(self, worker: Worker) -> None:
        """Wait for a worker's end, and do what it asks for."""
        code = await worker.wait()
        how = "told" if worker.is_leaving else "by-itself" if code >= 0 else "killed"
        self._metrics.worker_ends.count(how)
        async with self._changing:
            self._retired = add_retired(self._retired, worker.last)
            self._metrics.attempts.take(worker.attempts)
            self._alive.discard(worker)
            self._numbers.discard(worker.number)
            if worker in self.workers:
                self.workers.remove(worker)
                if not self.is_stopping:  # whoever is about to end takes no gate, and must not be ended for that
                    await self._share()
        if not worker.is_leaving and not self.is_stopping:
            log.error("worker %d has ended (%s): another one is started", worker.number, how)
            self._failures = 0 if worker.age > STEADY_SECONDS else self._failures + 1
        self._short.set()

    async def _refill(self) -> None:
        """Start workers in the place of those that have ended."""
        while True:
            await self._short.wait()
            self._short.clear()
            while len(self.workers) < self._size:
                chance = secrets.randbelow(_CHANCES) / _CHANCES
                await asyncio.sleep(find_delay(self._failures, chance))
                try:
                    await self._add()
                except WorkerError as error:
                    self._failures += 1
                    log.error("a worker does not come up", extra={"error": str(error)})  # noqa: TRY400
                except Exception:  # the crew must outlive whatever keeps one from being started
                    self._failures += 1
                    log.exception("a worker could not be started")

    # What all of them do.

    async def adopt(self, snapshot: Snapshot) -> None:
        """Have all workers put a bundle in force.

        Raises:
            ArchiveError: it cannot be kept.
            WorkerError: none of them does.
        """
        await keep_bundle(self._archive, snapshot)
        async with self._changing:
            is_urgent = snapshot.issuers is self.snapshot.issuers
            await swap(self.workers, Offer(next(self._offers), snapshot, is_urgent))
            self.snapshot = snapshot
            self._generation += 1

    async def renew(self) -> None:
        """Have all workers read the keys again that lie in the policy folder.

        Raises:
            WorkerError: some cannot.
        """
        answers = await asyncio.gather(*(each.renew_keys() for each in self.workers), return_exceptions=True)
        failures = [each for each in answers if isinstance(each, BaseException)]
        if failures:
            raise WorkerError("; ".join(map(str, failures)))

    def poke(self) -> None:
        """Have all workers look now at what they watch by themselves."""
        for worker in self.workers:
            self._hold(worker.renew())

    async def look(self) -> None:
        """Ask all workers how they are; those that end answer no more."""
        if self.is_stopping:
            return
        await asyncio.gather(*(each.look(ANSWER_SECONDS) for each in self.workers))

    def read_metrics(self) -> tuple[Family, ...]:
        """Return the metrics of all processes as those of one, as far as workers have said theirs."""
        told = [each.last for each in self._alive]
        return merge_metrics(read_metrics(self._metrics.registry), told, self._retired)

    async def _look_after(self) -> None:
        """Ask workers how they are, again and again, and end those that hang."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._changing.locked():  # taking a bundle over, a worker answers nothing else
                continue
            await self.look()
            for worker in self.workers:
                if worker.unanswered >= MAX_UNANSWERED:
                    log.error("worker %d does not answer: it is ended", worker.number)
                    worker.kill()

    # Ends.

    def roll(self) -> None:
        """Replace all workers, one after the other, while callers are served; once at a time."""
        if self._rolling is None or self._rolling.done():
            self._rolling = asyncio.ensure_future(self._roll([*self.workers]))

    async def _roll(self, olds: Sequence[Worker]) -> None:
        log.info("workers are replaced, one after the other")
        for old in olds:
            try:
                await self._add()
            except Exception as error:  # noqa: BLE001 - whatever it is: those that serve go on
                log.error(  # noqa: TRY400 - the sentence says it all
                    "the workers that are left are not replaced: a new one does not come up",
                    extra={"error": str(error)},
                )
                return
            await self._retire(old)
        log.info("all workers are replaced")

    async def _retire(self, worker: Worker) -> None:
        """Have others take a worker's callers, and wait for its end."""
        async with self._changing:
            if worker not in self.workers:
                return
            self.workers.remove(worker)
            await self._share()
            await worker.stop()
        await self._see_off([worker])

    async def _see_off(self, workers: Sequence[Worker]) -> None:
        """Wait until workers have ended; those that take too long are ended."""
        ends = [asyncio.ensure_future(each.wait()) for each in workers]
        if ends:
            await asyncio.wait(ends, timeout=self._stop_seconds)
        for worker, end in zip(workers, ends, strict=True):
            if not end.done():
                log.error("worker %d does not end: it is ended", worker.number)
                worker.kill()
        await asyncio.gather(*ends)

    async def stop(self) -> None:
        """End all workers in order."""
        self.is_stopping = True
        tasks = [*self._keeping, *([self._rolling] if self._rolling else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        workers = [*self._alive]
        await asyncio.gather(*(each.shut() for each in workers))  # of all gates, before one of them stops accepting
        await asyncio.gather(*(each.stop() for each in workers))
        await self._see_off(workers)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MARGIN_SECONDS):
                while self._watching:
                    await asyncio.wait(self._watching)
