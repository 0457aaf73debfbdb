# SPDX-License-Identifier: Apache-2.0
"""How much a caller has read with those whom an answer shows, before their records leave.

The request was decided by the counts as they stood (``counting``). For each part of the answer that is about to leave:

1. Whom it shows is counted, in one question for all of them.
2. If by these counts anything else is decided of any of them than was, the part does not leave, nor what comes behind
   it, and it is taken back: a count holds nobody whose record did not leave.

So nobody reads one more than a limit lets them, in one answer as in many requests. What left in parts before stays
counted.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from proxy.ledger.record import Recorder
from proxy.model.counts import UNAVAILABLE, Asked, Counted, Counts, CountsNeeded
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.model.ports import Volume
from proxy.model.subject import Subject
from proxy.pipeline.counting import Counting
from proxy.pipeline.counting_questions import make_question_of
from proxy.policy.attributes import Facts
from proxy.policy.counted import find_states

_NOTHING_ASKED: Final = Counted(())

Verdict: TypeAlias = Callable[[Facts], object]
"""What would be decided by some facts, as a value that can be compared."""
_Numbers: TypeAlias = Mapping[tuple[str, str], int]
"""By tally and country; the country is empty where all are counted together."""


class Crossing(msgspec.Struct, frozen=True):
    """A part of an answer that may not leave because of how much the caller has read."""

    facts: Facts
    """Of a record of it, with the counts by which something else is decided."""
    is_counted: bool
    """Whether these are numbers; else nobody could tell."""

    def find_reason(self, refusal: Reason | None) -> Reason:
        """Return why it does not leave.

        Args:
            refusal: why by these facts a record is refused; None where it would leave otherwise than it was made to.
        """
        return refusal or Reason.TRANSFORMS_NOT_APPLIED if self.is_counted else Reason.COUNTS_UNAVAILABLE


class AnswerCounting:
    """The counts of those whom an answer shows, part by part: ``ask``, meet what it returns, if anything, ``judge``.

    Args:
        volume: counts.
        asked: what is counted.
        counting: of the request, which was found with ``awaits``.
        facts: by which records are judged: the request's, with its counts.
        request_id: its id.
        recorder: names who is counted, and for whom, without naming them.
    """

    __slots__ = (
        "_asked",
        "_counted",
        "_facts",
        "_is_as_first",
        "_needed",
        "_parts",
        "_recorder",
        "_request_id",
        "_shown",
        "_volume",
        "counts",
    )

    def __init__(
        self,
        volume: Volume,
        asked: Iterable[Asked],
        *,
        counting: Counting,
        facts: Facts,
        request_id: str,
        recorder: Recorder,
    ) -> None:
        self._volume = volume
        self._asked = tuple(each for each in asked if each.tally.is_of_subjects)
        self._is_as_first = counting.is_as_first
        self._facts = facts
        self._request_id = request_id
        self._recorder = recorder
        self._parts = 0
        self._shown: tuple[Subject, ...] = ()
        """Of a part, one subject of each kind that rules can tell apart."""
        self._needed: CountsNeeded | None = None
        self._counted: Counted | None = None
        self.counts: Counts = facts.counts
        """With whom the answer has shown so far; of counts by country, the largest."""

    def ask(self, subjects: Iterable[Subject]) -> CountsNeeded | None:
        """Take note of whom a part shows, and return what must be asked for before ``judge``, if anything.

        Args:
            subjects: of its records, in any order, each as often as it comes.
        """
        shown = tuple(subjects)
        self._shown = tuple({(each.country, each.reference, type(each.id)): each for each in shown}.values())
        self._parts += 1
        question_id = f"{self._request_id}/{self._parts}"
        self._needed = needed = make_question_of(shown, self._asked, self._facts, question_id, self._recorder)
        self._counted = self._volume.count(needed) if needed.counts else _NOTHING_ASKED
        return needed if self._counted is None else None

    def judge(self, verdict: Verdict) -> Crossing | None:
        """Hold the limits before a part leaves; None where it may, and it is counted.

        Args:
            verdict: what would be decided of a record.
        """
        needed = self._needed
        if needed is None:
            return None
        counted = self._counted or self._volume.count(needed) or UNAVAILABLE
        self._needed = self._counted = None
        crossing = None if self._is_beyond_telling(needed, counted) else self._find_crossing(needed, counted, verdict)
        if needed.counts and counted.numbers is not None:
            self._volume.settle(needed, counted, is_allowed=crossing is None)
        self.counts = self._sum_up(needed, counted) if crossing is None else crossing.facts.counts
        return crossing

    def _is_beyond_telling(self, needed: CountsNeeded, counted: Counted) -> bool:
        """Say whether no rule tells these counts from those by which the records were judged: all are as of a first."""
        return self._is_as_first and needed.is_low(counted) and all(isinstance(each.id, str) for each in self._shown)

    def _find_crossing(self, needed: CountsNeeded, counted: Counted, verdict: Verdict) -> Crossing | None:
        numbers = _by_group(needed, counted)
        for subject in self._shown:
            judged = msgspec.structs.replace(self._facts, subject=subject)
            facts = msgspec.structs.replace(judged, counts=self._count_of(subject, needed, numbers))
            if facts.counts != judged.counts and verdict(facts) != verdict(judged):
                return Crossing(facts, counted.numbers is not None)
        return None

    def _count_of(self, subject: Subject, needed: CountsNeeded, numbers: _Numbers) -> Counts:
        """Return the counts by which a subject's record is to be decided."""
        known = {**find_states(subject), **needed.settled}
        found: dict[str, Any] = {}
        for each in self._asked:
            name = each.tally.name
            group = str(subject.country) if each.tally.is_by_country else ""
            found[name] = known[name] if name in known else numbers.get((name, group), UNKNOWN)
        return msgspec.structs.replace(self._facts.counts, **found)

    def _sum_up(self, needed: CountsNeeded, counted: Counted) -> Counts:
        """Return the counts so far, as the ledger has them."""
        numbers = _by_group(needed, counted)
        found: dict[str, Any] = {}
        for count in needed.counts:
            name = count.asked.tally.name
            said, before = numbers.get((name, count.group), UNKNOWN), found.get(name, getattr(self.counts, name))
            found[name] = max(said, before) if isinstance(said, int) and isinstance(before, int) else UNKNOWN
        return msgspec.structs.replace(self.counts, **found)


def _by_group(needed: CountsNeeded, counted: Counted) -> _Numbers:
    keys = [(count.asked.tally.name, count.group) for count in needed.counts]
    return {} if counted.numbers is None else dict(zip(keys, counted.numbers, strict=True))
