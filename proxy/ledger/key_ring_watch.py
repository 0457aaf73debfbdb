# SPDX-License-Identifier: Apache-2.0
"""A changed key ring is taken up while requests are served, or it is not, and that is told. This module does I/O.

A month that was added names people from its first instant on; a key that was erased is gone from memory as well.
Whatever goes wrong, the ring that is held stays, with the reason in the log and the readiness detail.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from proxy.clock import render_instant, unix_seconds
from proxy.errors import SekishoError, UsageError
from proxy.ledger.key_ring_file import parse_key_text, read_key_ring, read_key_text
from proxy.ledger.lines import KeysLine
from proxy.ledger.pseudonym import KeyRing, KeyRingError, period_of
from proxy.pause import Pause
from proxy.telemetry import Metrics

log = logging.getLogger("sekisho.ledger")


class HeldKeyRing:
    """The key ring of one process.

    Args:
        path: its file.
        metrics: shows until when each month has a key.
        seconds: how often the file is looked at; 0: only when told.
        clock: reads the wall clock.

    Raises:
        UsageError: there is none, it is none, or none of its months has begun.
    """

    def __init__(
        self, path: Path | None, metrics: Metrics, *, seconds: float, clock: Callable[[], float] = unix_seconds
    ) -> None:
        self.ring = read_key_ring(path)
        """The one in use."""
        self._path = path or Path()  # there is one: it was read
        self._seconds = seconds
        self._clock = clock
        self._pause = Pause()
        self._text: str | None = None
        """What was read last; nothing at first, so that a change since the start is seen."""
        self._stale = ""
        """Why the file as it lies there is not in use; empty while it is."""
        self._check(self.ring)
        metrics.pseudonym_keys_until.set_function(lambda: self.ring.until(self._clock()))

    def _check(self, ring: KeyRing) -> None:
        try:
            ring.check_begun(self._clock())
        except KeyRingError as error:
            raise UsageError(f"The key ring {self._path} cannot be used: {error}.") from None

    def line(self) -> KeysLine:
        """Return the line that says by which key people are named now."""
        return KeysLine(pseudonyms=self.ring.period_at(self._clock()))

    def find_doubts(self) -> tuple[str, ...]:
        """Return what an operator should know: that a key is too old, or that the file cannot be used."""
        now = self._clock()
        used, period = self.ring.period_at(now), period_of(now)
        old = f"the key of {used} still names people in {period}: add months with `sekisho keygen FILE --extend`"
        return (*((old,) if used != period else ()), *((self._stale,) if self._stale else ()))

    def poke(self) -> None:
        """Look now."""
        self._pause.end()

    async def watch(self, adopt: Callable[[], None]) -> None:
        """Watch until cancelled.

        Args:
            adopt: has the ring in use named in the ledger and by whoever makes records; an error of ours that it
                raises leaves the old one in use.
        """
        while True:
            await self._pause.wait(self._seconds or None)
            try:
                await self.look(adopt)
            except Exception:  # the watch must outlive whatever a file does
                log.exception("the key ring could not be looked at")

    async def look(self, adopt: Callable[[], None]) -> None:
        """Take up the file if it has changed; arguments as of ``watch``."""
        held = self.ring
        try:
            text = await asyncio.to_thread(read_key_text, self._path)
            if text == self._text and not self._stale:
                return
            ring = parse_key_text(self._path, text)
            self._check(ring)
            if ring != held:
                self.ring = ring
                adopt()
                log.info("key ring in use", extra={"until": render_instant(ring.until(self._clock()))})
        except SekishoError as error:
            self.ring = held
            if str(error) != self._stale:
                log.error(  # noqa: TRY400 - the sentence says it all
                    "the key ring is not in use as it lies there: the last good one is", extra={"error": str(error)}
                )
            self._stale = str(error)
            return
        self._text, self._stale = text, ""
