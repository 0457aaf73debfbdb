# SPDX-License-Identifier: Apache-2.0
"""Checkpoints go to second places, so that cutting off the ledger's end is detected. This module does I/O.

- What matters is the newest checkpoint. While a witness cannot be had, of those that wait the first is kept, then one
  for every ten minutes, and the newest; they are delivered in order.
- Whoever offers a checkpoint waits for nothing: a task of each witness delivers, and tries again after 1 second,
  then 2, 4 … at most 5 minutes.
- Nothing of this survives the process: after a restart the next checkpoint is delivered, and proves those before it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from proxy.clock import elapsed_seconds
from proxy.errors import UsageError
from proxy.ledger.tree_head import TreeHead
from proxy.ledger.witness_place import NotDeliveredError, Result, Witness
from proxy.telemetry import Metrics

SPACING_SECONDS: Final = 600.0
"""One checkpoint for so long is kept of those that wait."""
MAX_WAITING: Final = 256
"""Checkpoints that wait for one witness: those of one and a half days; then every second one goes."""
FIRST_DELAY_SECONDS: Final = 1.0
MAX_DELAY_SECONDS: Final = 300.0

log = logging.getLogger("sekisho.witness")


class Offered(msgspec.Struct, frozen=True):
    """A checkpoint that waits."""

    head: TreeHead
    note: str
    at: float
    """When it was offered, by the monotonic clock."""


class Waiting:
    """What a witness was not given yet, oldest first."""

    def __init__(self) -> None:
        self._offers: list[Offered] = []
        self._since = 0.0

    def __len__(self) -> int:
        return len(self._offers)

    @property
    def first(self) -> Offered:
        """The one to be delivered next."""
        return self._offers[0]

    def add(self, offered: Offered) -> None:
        """Add the newest; it takes the place of the one before unless that is to be kept."""
        offers = self._offers
        if not offers:
            self._since = offered.at
        if len(offers) > 1 and offers[-1].at - offers[-2].at < SPACING_SECONDS:
            offers[-1] = offered
        else:
            offers.append(offered)
        if len(offers) > MAX_WAITING:
            offers[1:-1] = offers[1:-1:2]

    def drop_first(self, *, is_delivered: bool) -> None:
        """Let go of the first, which was delivered, or will not be."""
        del self._offers[0]
        if is_delivered and self._offers:
            self._since = self._offers[0].at

    def lag(self, now: float) -> float:
        """Return how long ago the witness fell behind what was offered, in seconds; 0 if it has everything.

        One that takes no checkpoint falls further behind, also while new ones take the place of old ones.
        """
        return max(0.0, now - self._since) if self._offers else 0.0


class Witnesses:
    """Delivers the checkpoints of one ledger.

    Args:
        places: where to.
        metrics: counted are attempts, by witness and result, and shown is how far each is behind.
        delay: seconds before a second attempt; it doubles with each.
    """

    def __init__(self, places: Sequence[Witness], metrics: Metrics, *, delay: float = FIRST_DELAY_SECONDS) -> None:
        self._ways = [_Way(place, metrics, delay) for place in places]
        self._tasks: list[asyncio.Future[None]] = []

    def offer(self, head: TreeHead, note: str) -> None:
        """Take a checkpoint to be delivered. Call it on the loop; it neither waits nor raises."""
        try:
            offered = Offered(head, note, elapsed_seconds())
            for way in self._ways:
                way.offer(offered)
        except Exception:  # what is recorded must not depend on who else is told
            log.exception("a checkpoint could not be offered to the witnesses")

    def start(self) -> None:
        """Begin to deliver, in tasks of this object's own on the running loop."""
        self._tasks = [asyncio.ensure_future(way.run()) for way in self._ways]

    async def finish(self, seconds: float = 5.0) -> None:
        """Try at once to deliver what still waits, for so long at most, and stop."""
        for way in self._ways:
            way.end()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for way in self._ways:
            await way.close()


class _Way:
    """The way to one witness."""

    def __init__(self, place: Witness, metrics: Metrics, delay: float) -> None:
        self._place = place
        self._count = metrics.witness_deliveries.count
        self._first_delay = delay
        self._waiting = Waiting()
        self._told = asyncio.Event()
        self._ending = asyncio.Event()
        metrics.witness_lag.labels(place.name).set_function(lambda: self._waiting.lag(elapsed_seconds()))

    def offer(self, offered: Offered) -> None:
        self._waiting.add(offered)
        self._told.set()

    def end(self) -> None:
        self._ending.set()
        self._told.set()

    async def run(self) -> None:
        """Deliver until told to end."""
        delay = self._first_delay
        while True:
            await self._told.wait()
            while self._waiting:
                if await self._try(self._waiting.first):
                    delay = self._first_delay
                    continue
                if self._ending.is_set():
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._ending.wait()
                delay = min(2 * delay, MAX_DELAY_SECONDS)
            if self._ending.is_set():
                return
            self._told.clear()

    async def _try(self, offered: Offered) -> bool:
        """Deliver one checkpoint, and say whether it was taken."""
        try:
            await self._place.deliver(offered.head, offered.note)
        except NotDeliveredError as error:
            self._note_failure(error.result, str(error))
            return False
        except Exception:  # the task must outlive whatever a witness does
            self._count(self._place.name, Result.FAILED)
            log.exception("a checkpoint could not be delivered", extra={"path": self._place.name})
            return False
        self._count(self._place.name, Result.DELIVERED)
        self._waiting.drop_first(is_delivered=True)
        return True

    def _note_failure(self, result: Result, why: str) -> None:
        self._count(self._place.name, result)
        extra = {"path": self._place.name, "error": why}
        if result is Result.CONFLICT:
            log.error("split view: a witness keeps another checkpoint than the one this ledger signed", extra=extra)
        else:
            log.warning("a witness has not taken a checkpoint: it is tried again", extra=extra)
        if result is not Result.FAILED and len(self._waiting) > 1:  # a newer one may be taken
            self._waiting.drop_first(is_delivered=False)

    async def close(self) -> None:
        if self._waiting:
            log.warning(
                "the last checkpoint was not delivered: the next start delivers the next",
                extra={"path": self._place.name},
            )
        await self._place.close()


def check_against(
    latest: TreeHead,
    witness: str,
    *,
    ledger: Path,
    size: int,
    root: bytes,
    root_at: Callable[[int], bytes | None],
) -> None:
    """Hold a ledger to the latest checkpoint of it that a witness keeps, before a line is added.

    Args:
        latest: that checkpoint, verified.
        witness: what the witness is called.
        ledger: its folder, for the sentence.
        size: its lines.
        root: the root of the tree over them.
        root_at: returns the root over so many of its first lines; None where they are no longer kept.

    Raises:
        UsageError: lines are gone or were changed since; the sentence says what to do.
    """
    if latest.size == 0:
        return
    mend = (
        f"Put the whole ledger back from a copy; if there is none, keep {ledger} as it is for whoever looks into it, "
        "and begin another one with --ledger and a key of another name."
    )
    if latest.size > size:
        raise UsageError(
            f"The ledger {ledger} has {size} lines, and the witness {witness} keeps a checkpoint of {latest.size}: "
            f"lines at its end are gone. {mend}"
        )
    found = root if latest.size == size else root_at(latest.size)
    if found is None:
        log.warning("the ledger no longer keeps the lines of a witness' checkpoint", extra={"path": witness})
    elif found != latest.root:
        raise UsageError(
            f"The first {latest.size} lines of the ledger {ledger} are not those of the checkpoint that the witness "
            f"{witness} keeps: lines were changed, or it is another ledger of that name. {mend}"
        )
