# SPDX-License-Identifier: Apache-2.0
"""Asks one directory elsewhere for countries, and keeps what it said for a while. This module does I/O.

- Ids are asked for together, several in a question, and an id that is being asked for is not asked for again: whoever
  needs it waits for the same answer. Questions under way are bounded, and each has a deadline, its waiting included.
- What was said is believed for as long as the bundle says, from when it was asked, by the clock of requests and by one
  that nobody sets. After that it says nothing: who lives elsewhere now would be judged by where he lived before.
- No answer, a late one, or one that makes no sense is a failure, kept for a second, so that a flood of requests for one
  id does not become a flood of questions.
- After some failures in a row nobody is asked for a second; then one question is tried. Only what says that a directory
  is down counts, never what an id may have caused: callers choose ids.
- Ids are people: they are kept in memory, and neither logged nor counted.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from proxy.clock import elapsed_seconds, unix_seconds
from proxy.errors import FetchError
from proxy.model.subject import Located, Told
from proxy.model.table import parse_key
from proxy.subject.register import Asked
from proxy.subject.told import FAILED, NOT_FOUND
from proxy.telemetry import Metrics

PATIENCE: Final = 3
"""Failures in a row, after which nobody is asked for a while."""
RETRY_SECONDS: Final = 1.0
FAILED_SECONDS: Final = 1.0
"""How long a failure is kept."""
TELL_SECONDS: Final = 10.0
"""The least time between two lines in the log on one directory."""

log = logging.getLogger("sekisho.lookups")


class Backend(Protocol):
    """Whoever is asked. It connects when it is first asked, and again after it was closed."""

    def check(self) -> None:
        """Look whether everything that it needs here is there: files, secrets, a library.

        Raises:
            FetchError: something is not.
        """
        ...

    def split(self, ids: Sequence[str]) -> Iterable[list[str]]:
        """Return ids in parts that can each be asked for at once."""
        ...

    async def ask(self, ids: Sequence[str]) -> Mapping[str, Located]:
        """Return what is said of ids; one that is not there is not known.

        Raises:
            FetchError: it is down: it cannot be reached, or says so itself.
            ValueError: what it said makes no sense.
            Exception: of its library; the same as if it were down.
        """
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...


_Kept: TypeAlias = tuple[Located, float, float]
"""What was said, and until when it is believed: seconds since 1970, and a reading of the monotonic clock."""


class Asking:
    """What one directory said.

    Args:
        asked: who it is, and how it is asked.
        backend: asks it.
        metrics: counted are ids, by result.
    """

    def __init__(self, asked: Asked, backend: Backend, metrics: Metrics) -> None:
        self.asked = asked
        self._backend = backend
        self._metrics = metrics
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        """The one that was used last is the last."""
        self._under_way: dict[str, asyncio.Future[None]] = {}
        self._room = asyncio.Semaphore(asked.at_once)
        self._failures = 0
        """Questions in a row that were not answered."""
        self._silent_until = 0.0
        """Until when nobody is asked, by the monotonic clock."""
        self._told_at = -TELL_SECONDS

    def show(self) -> None:
        """Show in metrics what is kept."""
        self._metrics.lookup_entries.labels(self.asked.id).set_function(lambda: len(self._kept))
        self._metrics.lookup_down.labels(self.asked.id).set(self._failures >= PATIENCE)

    def find(self, id_: str, now: float) -> Located | None:
        """Return what was said of an id; None if nothing was that is still believed."""
        kept = self._kept.get(id_)
        if kept is None:
            return None if id_ and parse_key(id_) is not None else NOT_FOUND
        said, until, ends = kept
        if now >= until or elapsed_seconds() >= ends:
            del self._kept[id_]
            return None
        self._kept.move_to_end(id_)
        return said

    async def ask(self, ids: Iterable[str]) -> None:
        """Ask for ids of which nothing is known, and wait for all answers; whoever leaves ends no question."""
        now = unix_seconds()
        unknown = [id_ for id_ in dict.fromkeys(ids) if self.find(id_, now) is None]
        for part in self._backend.split([id_ for id_ in unknown if id_ not in self._under_way]):
            question = asyncio.ensure_future(self._question(part))
            self._under_way.update(dict.fromkeys(part, question))
            question.add_done_callback(self._forget(part))
        waiting = {self._under_way[id_] for id_ in unknown}
        if waiting:
            await asyncio.wait(waiting)

    async def close(self) -> None:
        """End what is under way, and close what is open."""
        questions = {*self._under_way.values()}
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)
        await self._backend.close()

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.wait({*self._under_way.values()})

    def _forget(self, part: Sequence[str]) -> Callable[[asyncio.Future[None]], None]:
        def forget(_: asyncio.Future[None]) -> None:
            for id_ in part:
                self._under_way.pop(id_, None)

        return forget

    async def _question(self, part: Sequence[str]) -> None:
        """Ask for some ids, and keep what was said of each."""
        asked, began = unix_seconds(), elapsed_seconds()
        if self._is_silent(began):
            self._fail(part, "skipped")
            return
        try:
            async with asyncio.timeout(self.asked.timeout_seconds), self._room:
                told = await self._backend.ask(part)
        except ValueError as error:  # of this question's ids, perhaps: it says nothing of others
            self._fail(part, "failed")
            self._tell(f"what it said makes no sense: {error}")
            return
        except Exception as error:  # noqa: BLE001 - whatever is wrong, it did not answer
            self._fail(part, "failed")
            self._note_failure(error)
            return
        finally:
            self._metrics.lookup_seconds.observe(elapsed_seconds() - began)
        self._note_answer()
        for id_ in part:
            said = told.get(id_, NOT_FOUND)
            self._metrics.lookups.count(self.asked.id, said.told.name.lower().replace("_", "-"))
            if said.told is Told.FAILED:
                self._keep(id_, said, unix_seconds(), elapsed_seconds(), FAILED_SECONDS)
            else:
                found = said.told is Told.FOUND
                seconds = self.asked.fresh_seconds if found else self.asked.fresh_not_found_seconds
                self._keep(id_, said, asked, began, seconds)

    def _keep(self, id_: str, said: Located, asked: float, began: float, seconds: float) -> None:
        self._kept.pop(id_, None)
        self._kept[id_] = said, asked + seconds, began + seconds
        if len(self._kept) > self.asked.kept:
            self._kept.popitem(last=False)

    def _fail(self, part: Iterable[str], result: str) -> None:
        now, elapsed = unix_seconds(), elapsed_seconds()
        for id_ in part:
            self._metrics.lookups.count(self.asked.id, result)
            self._keep(id_, FAILED, now, elapsed, FAILED_SECONDS)

    def _is_silent(self, now: float) -> bool:
        """Say whether nobody is asked now; of those who come after a silence the first may try."""
        if self._failures < PATIENCE:
            return False
        if now < self._silent_until:
            return True
        self._silent_until = now + self.asked.timeout_seconds + RETRY_SECONDS
        return False

    def _note_failure(self, error: Exception) -> None:
        self._failures += 1
        if self._failures >= PATIENCE:
            self._silent_until = elapsed_seconds() + RETRY_SECONDS
            self._metrics.lookup_down.labels(self.asked.id).set(1)
        self._tell(str(error) if isinstance(error, FetchError) else type(error).__name__)

    def _note_answer(self) -> None:
        if self._failures >= PATIENCE:
            log.info("directory answers again", extra={"lookup": self.asked.id})
            self._metrics.lookup_down.labels(self.asked.id).set(0)
        self._failures = 0

    def _tell(self, why: str) -> None:
        now = elapsed_seconds()
        if now >= self._told_at + TELL_SECONDS:
            self._told_at = now
            log.warning("directory does not tell", extra={"lookup": self.asked.id, "error": why})
