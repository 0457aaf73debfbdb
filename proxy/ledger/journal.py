# SPDX-License-Identifier: Apache-2.0
"""What a gateway records into: the writer, and all that goes on around it. This module does I/O.

- Refusals of unknown callers beyond a limit are counted, and the counts are lines (``flood``).
- With ``synced``, whoever appends waits until its lines are on disk, in groups (``commit``).
- Once a second: what time asks for is done, and the checkpoints that were signed are published: on disk first.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from proxy.clock import render_instant, unix_seconds
from proxy.errors import LedgerError
from proxy.ledger.commit import GroupCommit
from proxy.ledger.entry import Rendered
from proxy.ledger.flood import Counted, Flood
from proxy.ledger.lines import Line, RefusalsLine, StopLine
from proxy.ledger.witness import Witnesses
from proxy.ledger.writer import LedgerWriter

KEEP_SECONDS: Final = 1.0

log = logging.getLogger("sekisho.ledger")


class Journal:
    """The ledger as a gateway sees it.

    Args:
        writer: appends lines.
        synced: whether lines must be on disk, not only in the kernel, before anything leaves.
        witnesses: are told of each checkpoint whose lines are on disk.
        clock: reads the wall clock.
    """

    def __init__(
        self,
        writer: LedgerWriter,
        *,
        synced: bool = False,
        witnesses: Witnesses | None = None,
        clock: Callable[[], float] = unix_seconds,
    ) -> None:
        self.writer = writer
        self._commit = GroupCommit(writer.sync, lambda: writer.sync_failures) if synced else None
        self._witnesses = witnesses
        self._clock = clock
        self._flood = Flood()
        self._has_begun = False

    def begin(self, restate: Callable[[], Sequence[Line]], start: Line) -> None:
        """Record that a gateway starts, and what is in force.

        Args:
            restate: returns the lines that say what is in force, for the beginning of every segment as well.
            start: the line of the start.

        Raises:
            LedgerError: it is not recorded.
        """
        self.writer.append([start, *restate()])
        self.writer.sign(self._clock())  # a ledger that just began can be verified at once
        self.writer.restate = restate
        if self._witnesses is not None:
            self._witnesses.start()
        self._has_begun = True

    def append(self, lines: Sequence[Line | Rendered]) -> Awaitable[None] | None:
        """Record lines, in the kernel when this returns.

        Returns:
            None where that is enough; else what to wait for before the lines may be acted on.

        Raises:
            LedgerError: none of them is recorded. So may what is returned.
        """
        if not lines:
            return None
        line = lines[0]
        if type(line) is Rendered and line.stranger and len(lines) == 1 and self._is_folded(line):
            return None
        failures = self.writer.sync_failures
        self.writer.append(lines)
        return None if self._commit is None else self._commit.wait(failures)

    def _is_folded(self, line: Rendered) -> bool:
        return not self._flood.take(line.stranger, line.reason, self._clock())

    def _drain(self, *, all: bool = False) -> None:  # noqa: A002 - as the flood calls it
        counted = self._flood.drain(self._clock(), all=all)
        if not counted:
            return
        try:
            self.writer.append([*map(_count, counted)])
        except LedgerError:
            self._flood.put_back(counted)
            raise

    async def keep(self) -> None:
        """Do, again and again, what time asks for."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            with _telling("the ledger could not be kept"):
                self._drain()
            with _telling("the ledger could not be kept"):
                self.writer.tick()
            with _telling("the ledger could not be kept"):  # also what was signed before the disk was full
                await self._publish()

    async def _publish(self) -> None:
        published = await asyncio.to_thread(self.writer.publish)
        if published is not None and self._witnesses is not None:
            self._witnesses.offer(published.head, published.note)

    async def close(self) -> None:
        """Record the stop, if there was a start, sign it, publish that, and let go of the files."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.writer.close)
            if self._commit is not None:
                stack.callback(self._commit.close)
            if not self._has_begun:
                return
            with _telling("the stop could not be recorded"):
                self._drain(all=True)
            with _telling("the stop could not be recorded"):
                self.writer.append([StopLine()])
                self.writer.sign(self._clock())
            with _telling("the last checkpoint could not be published"):
                await self._publish()
            if self._witnesses is not None:
                await self._witnesses.finish()


@contextlib.contextmanager
def _telling(what: str) -> Iterator[None]:
    """Log what goes wrong, and go on: nothing may end the round, or keep the files from being closed."""
    try:
        yield
    except LedgerError as error:
        log.warning(what, extra={"error": str(error)})
    except Exception:
        log.exception(what)


def _count(counted: Counted) -> RefusalsLine:
    return RefusalsLine(
        ip=counted.ip,
        count=counted.count,
        reasons=counted.reasons,
        since=render_instant(counted.since),
        until=render_instant(counted.until),
    )
