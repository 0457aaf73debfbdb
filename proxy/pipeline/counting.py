# SPDX-License-Identifier: Apache-2.0
"""How much a caller has read, for the decision on one request.

1. A request is decided as if it were the caller's first. What is refused so is refused by any count, since more is
   never a reason to allow: nobody is asked, and nothing is counted.
2. Else it is counted, itself included, and decided by the counts, unless they are below what any rule asks for.
3. What is then refused is taken back: what was denied was not read.

In between another request may find a place taken that is then given back. It can be refused by that, never allowed.
"""

from typing import Final

import msgspec

from proxy.ledger.record import Recorder
from proxy.model.counts import FIRST, UNAVAILABLE, UNCOUNTED, Asked, Count, Counted, Counts, CountsNeeded
from proxy.model.decision import Reason
from proxy.model.facts import State
from proxy.model.ports import Volume
from proxy.policy.attributes import Facts
from proxy.policy.counted import find_states, whose_count

_NOTHING_ASKED: Final = Counted(())


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

    def find(self, facts: Facts, request_id: str, recorder: Recorder) -> Facts | CountsNeeded:
        """Return the facts with the counts, or what must be asked for first; that is asked for once."""
        needed, is_asked = self._needed, self._needed is not None
        if needed is None:
            needed = self._needed = make_question(self._asked, facts, request_id, recorder)
        counted = self._volume.count(needed) if needed.counts else _NOTHING_ASKED
        if counted is None and not is_asked:
            return needed
        self._counted = counted = counted or UNAVAILABLE
        self.counts = needed.read(counted)
        self.is_as_first = not needed.states and counted.numbers is not None
        for each, number in zip(needed.counts, counted.numbers or (), strict=False):
            self.is_as_first &= number < each.asked.at_least
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


def make_question(asked: tuple[Asked, ...], facts: Facts, request_id: str, recorder: Recorder) -> CountsNeeded:
    """Return what is to be asked for one request, and what of it nobody needs to be asked."""
    whose, subject, api = whose_count(facts.caller), facts.subject, facts.resource.api
    if isinstance(whose, State):
        return CountsNeeded(request_id, (), {each.tally.name: whose for each in asked})
    caller = recorder.name_counted(api, whose)
    request = request_id.encode()
    states = find_states(subject)
    member = recorder.name_counted(api, subject.id) if isinstance(subject.id, str) else b""
    counts = tuple(
        Count(
            each,
            caller,
            str(subject.country) if each.tally.is_by_country else "",
            member if each.tally.is_of_subjects else request,
        )
        for each in asked
        if each.tally.name not in states
    )
    names = {each.tally.name for each in asked}
    return CountsNeeded(request_id, counts, {name: state for name, state in states.items() if name in names})
