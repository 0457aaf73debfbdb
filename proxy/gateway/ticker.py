# SPDX-License-Identifier: Apache-2.0
"""Deadlines, kept by one timer for all connections: setting one is an assignment, no timer to make and to cancel."""

import asyncio
import logging
from typing import Final, Protocol

from proxy.clock import elapsed_seconds

TICK_SECONDS: Final = 0.25
"""How late a deadline may be noticed."""
LATE_SECONDS: Final = 1.0
"""How late a tick may come before the process cannot be said to keep up."""
LATE_TICKS: Final = 2
"""How many in a row: one alone may be a large bundle that was loaded."""

log = logging.getLogger("sekisho.gateway")


class Watched(Protocol):
    """Something with deadlines of its own."""

    def check(self, now: float) -> None:
        """Do what is due.

        Args:
            now: a reading of ``elapsed_seconds``.
        """
        ...


class Ticker:
    """Asks whatever is watched, again and again, whether something is due."""

    def __init__(self) -> None:
        self._watched: set[Watched] = set()
        self._late = 0
        """How many ticks in a row came late."""

    @property
    def is_late(self) -> bool:
        """Whether the process has more to do than it can."""
        return self._late >= LATE_TICKS

    def watch(self, watched: Watched) -> None:
        """Ask it from now on."""
        self._watched.add(watched)

    def forget(self, watched: Watched) -> None:
        """Ask it no longer."""
        self._watched.discard(watched)

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            due = elapsed_seconds() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            now = elapsed_seconds()
            self._late = self._late + 1 if now - due > LATE_SECONDS else 0
            self.tick(now)

    def tick(self, now: float) -> None:
        """Ask once."""
        for watched in [*self._watched]:
            try:
                watched.check(now)
            except Exception:  # one connection's trouble must not hold up the others
                log.exception("a deadline could not be kept")
