# SPDX-License-Identifier: Apache-2.0
"""A changed key ring is taken up while requests are served, or it is not, and that is told. This module does I/O.

A month that was added names people from its first instant on; a key that was erased is gone from memory as well.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from proxy.clock import unix_seconds
from proxy.errors import UsageError
from proxy.held import HeldFile
from proxy.ledger.key_ring_file import find_key_file, parse_key_text, read_key_text
from proxy.ledger.lines import KeysLine
from proxy.ledger.pseudonym import KeyRing, KeyRingError, period_of
from proxy.telemetry import Metrics


class HeldKeyRing(HeldFile[KeyRing]):
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
        self._clock = clock
        self._path = find_key_file(path)
        log = logging.getLogger("sekisho.ledger")
        super().__init__("key ring", log, lambda: read_key_text(self._path), self._parse_begun, seconds=seconds)
        metrics.pseudonym_keys_until.set_function(lambda: self.ring.until(self._clock()))

    @property
    def ring(self) -> KeyRing:
        """The one in use."""
        return self.value

    def _parse_begun(self, text: str) -> KeyRing:
        ring = parse_key_text(self._path, text)
        try:
            ring.check_begun(self._clock())
        except KeyRingError as error:
            raise UsageError(f"The key ring {self._path} cannot be used: {error}.") from None
        return ring

    def line(self) -> KeysLine:
        """Return the line that says by which key people are named now."""
        return KeysLine(pseudonyms=self.ring.period_at(self._clock()))

    def find_doubts(self) -> tuple[str, ...]:
        """Return what an operator should know: that a key is too old, or that the file cannot be used."""
        now = self._clock()
        used, period = self.ring.period_at(now), period_of(now)
        old = f"the key of {used} still names people in {period}: add months with `sekisho keygen FILE --extend`"
        return (*((old,) if used != period else ()), *((self.stale,) if self.stale else ()))
