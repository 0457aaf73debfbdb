# SPDX-License-Identifier: Apache-2.0
"""How much a caller has read, for the decision on one request.

1. A request is decided as if it were the caller's first. What is refused so is refused by any count, since more is
   never a reason to allow: nobody is asked, and nothing is counted.
2. Else it is counted, itself included, and decided by the counts, unless they are below what any rule asks for.
3. What is then refused is taken back: what was denied was not read.

In between another request may find a place taken that is then given back. It can be refused by that, never allowed.

Where only the answer tells the subjects, 2 decides by the counts as they stand, and ``counting_answers`` goes on.
"""

from typing import Final

import msgspec

from proxy.ledger.record import Recorder
from proxy.model.counts import FIRST, UNAVAILABLE, UNCOUNTED, Asked, Counted, Counts, CountsNeeded
from proxy.model.decision import Reason
from proxy.model.ports import Volume
from proxy.pipeline.counting_questions import make_question
from proxy.policy.attributes import Facts

_NOTHING_ASKED: Final = Counted(())
_FIRST: Final = frozenset({1})


class Counting:
    """The counts of one request.

    Args:
        volume: counts.
        asked: what is to be counted.
    """

    __slots__ = ("_asked", "_counted", "_needed", "_volume", "counts", "is_as_first")

    def __init__(self, volume: Volume, asked: tuple[Asked, ...]) -> None:
        self._volume = volume
        self._asked = asked
        self._needed: CountsNeeded | None = None
        self._counted: Counted | None = None
        self.counts: Counts = UNCOUNTED
        self.is_as_first = False
        """Whether no rule can tell the counts from those of a first request."""

    def find(self, facts: Facts, request_id: str, recorder: Recorder, *, awaits: bool = False) -> Facts | CountsNeeded:
        """Return the facts with the counts, or what must be asked for first; that is asked for once.

        Args:
            facts: of the request.
            request_id: its id.
            recorder: names who is counted, and for whom, without naming them.
            awaits: whether the answer tells the subjects: then ``AnswerCounting`` goes on.
        """
        needed, is_asked = self._needed, self._needed is not None
        if needed is None:
            needed = self._needed = make_question(self._asked, facts, request_id, recorder, awaits=awaits)
        counted = self._volume.count(needed) if needed.counts else _NOTHING_ASKED
        if counted is None and not is_asked:
            return needed
        self._counted = counted = counted or UNAVAILABLE
        self.counts = needed.read(counted)
        self.is_as_first = needed.is_low(counted) and set(needed.settled.values()) <= _FIRST
        return msgspec.structs.replace(facts, counts=self.counts)

    def settle(self, refusal: Reason | None) -> Reason | None:
        """Keep what was counted for a request that is allowed, take it back for one that is refused.

        Returns:
            Why it is refused: where it is by counts that nobody could tell, that is the reason.
        """
        needed, counted = self._needed, self._counted
        if needed is None or counted is None:
            return refusal
        if counted.numbers is None:
            return refusal and Reason.COUNTS_UNAVAILABLE
        if needed.counts:
            self._volume.settle(needed, counted, is_allowed=refusal is None)
        return refusal


def as_first(facts: Facts) -> Facts:
    """Return the facts as if the request were the caller's first."""
    return msgspec.structs.replace(facts, counts=FIRST)
