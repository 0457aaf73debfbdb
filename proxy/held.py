# SPDX-License-Identifier: Apache-2.0
"""What a file says, taken up when the file changes, while requests are served. This module does I/O.

Whatever goes wrong, what is held stays, with the reason in the log and for the readiness detail.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from proxy.errors import SekishoError
from proxy.pause import Pause

T = TypeVar("T")


class HeldFile(Generic[T]):
    """What a file says, in one process.

    Args:
        what: what it is, for the log: ``key ring``.
        log: where that is told.
        read: returns what stands there; it blocks.
        parse: makes a value of that. Both raise errors of ours for what cannot be used.
        seconds: how often the file is looked at; 0: only when told.
    """

    def __init__(
        self, what: str, log: logging.Logger, read: Callable[[], str], parse: Callable[[str], T], *, seconds: float
    ) -> None:
        self.value = parse(read())
        """What is in use."""
        self.stale = ""
        """Why the file as it lies there is not in use; empty while it is."""
        self._what = what
        self._log = log
        self._read = read
        self._parse = parse
        self._seconds = seconds
        self._pause = Pause()
        self._text: str | None = None
        """What was read last; nothing at first, so that a change since the start is seen."""

    def poke(self) -> None:
        """Look now."""
        self._pause.end()

    async def watch(self, adopt: Callable[[], None]) -> None:
        """Watch until cancelled.

        Args:
            adopt: puts the value in use to use; an error of ours that it raises leaves the old one in use.
        """
        while True:
            await self._pause.wait(self._seconds or None)
            try:
                await self.look(adopt)
            except Exception:  # noqa: BLE001 - the watch must outlive whatever a file does
                self._log.exception("the %s could not be looked at", self._what)

    async def look(self, adopt: Callable[[], None]) -> None:
        """Take up the file if it has changed; arguments as of ``watch``."""
        held = self.value
        try:
            text = await asyncio.to_thread(self._read)
            if text == self._text and not self.stale:
                return
            value = self._parse(text)
            if value != held:
                self.value = value
                adopt()
                self._log.info("the %s is in use as it lies there now", self._what)
        except SekishoError as error:
            self.value = held
            if str(error) != self.stale:
                told = "the %s is not in use as it lies there: the last good one is"
                self._log.error(told, self._what, extra={"error": str(error)})
            self.stale = str(error)
            return
        self._text, self.stale = text, ""
