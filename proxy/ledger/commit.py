# SPDX-License-Identifier: Apache-2.0
"""Group commit: many requests wait for one sync of the disk. This module does I/O.

While one sync is under way, lines go on being written; all who wrote meanwhile wait for the next one together. So a
disk that takes 5 ms serves 200 groups a second, however many requests there are in each.

Where the disk says no, all fail who had written by then, those included who wait for the next sync: the kernel tells of
an error once and takes what it could not write for written, so that the next sync says yes of it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from proxy.errors import LedgerError


class GroupCommit:
    """Lets callers wait until what they wrote is on disk.

    Args:
        sync: waits for the disk; raises ``LedgerError``. It is called in a thread of its own, never twice at a time.
        failures: how often the disk has said no so far, also to others who waited for it.
    """

    def __init__(self, sync: Callable[[], None], failures: Callable[[], int]) -> None:
        self._sync = sync
        self.failures = failures
        self._executor = ThreadPoolExecutor(1, "ledger-sync")
        self._waiting: list[asyncio.Future[None]] = []
        self._since = 0
        """The failures before the first of them wrote."""
        self._is_busy = False

    def wait(self, since: int) -> asyncio.Future[None]:
        """Return what is done once everything that was written before this call is on disk, or fails with why not.

        Args:
            since: the failures before it was written.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if not self._waiting:
            self._since = since
        self._waiting.append(future)
        if not self._is_busy:
            self._is_busy = True
            loop.call_soon(self._begin, loop)
        return future

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the disk with all who have written by now; called last in a turn of the loop, so that they have."""
        group, since, self._waiting = self._waiting, self._since, []
        self._is_busy = bool(group)
        if not group:
            return
        try:
            running = loop.run_in_executor(self._executor, self._sync)
        except RuntimeError:  # it was closed
            self._is_busy = False
            _settle(group, LedgerError("The ledger is closed: nobody waits for the disk any more."))
            return
        running.add_done_callback(lambda done: self._end(loop, group, since, done))

    def _end(
        self, loop: asyncio.AbstractEventLoop, group: list[asyncio.Future[None]], since: int, done: asyncio.Future[None]
    ) -> None:
        error: BaseException | None = LedgerError("The wait for the disk was given up.")
        if not done.cancelled():
            error = done.exception()
        if error is None and self.failures() != since:
            error = LedgerError("The disk has said no since, and tells nobody of what.")
        _settle(group, error)
        loop.call_soon(self._begin, loop)  # after those whose wait is over: what they write next is of the next group

    def close(self) -> None:
        """Wait for the sync under way, and end the thread."""
        self._executor.shutdown(wait=True)


def _settle(group: list[asyncio.Future[None]], error: BaseException | None) -> None:
    for future in group:
        if future.done():  # whoever waited has left
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
            future.exception()  # not everybody who records waits, and the writer has counted it
