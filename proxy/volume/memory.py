# SPDX-License-Identifier: Apache-2.0
"""Counts what callers read in this process, at once. They begin anew with it, and no other process knows them.

- A tally holds when each of its members was last allowed, oldest first, and forgets what lies before its window.
- It holds no more members than some rule tells apart. The latest are kept, so that the number is exact up to there.
- All tallies together hold a bounded number of members. Beyond that nobody can tell, for whoever would need a place.
- Time is a monotonic clock's: the wall clock can be set, and a count would forget by that.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from proxy.model.counts import TALLIES, UNAVAILABLE, Count, Counted, CountsNeeded

SWEEP_SECONDS: Final = 1.0
"""The least time between two looks at all tallies for members to be forgotten, where there is no room."""

_Members: TypeAlias = OrderedDict[bytes, float]
_Place: TypeAlias = tuple[bytes, str]


class MemoryCounts:
    """What callers read through one process.

    Args:
        max_members: how many members all tallies together hold.
        clock: a monotonic reading in seconds.
    """

    def __init__(self, max_members: int, clock: Callable[[], float]) -> None:
        self._max_members = max_members
        self._clock = clock
        self._tallies: dict[str, OrderedDict[_Place, _Members]] = {}
        self._swept_at = -SWEEP_SECONDS
        self.members = 0
        """How many members are held."""

    def count(self, needed: CountsNeeded) -> Counted:
        """Return the counts with this request included, which is not held yet."""
        now = self._clock()
        more = 0
        for each in needed.counts:
            more += len(each.members)
        if self.members + more > self._max_members:
            self._sweep(now)
            if self.members + more > self._max_members:
                return UNAVAILABLE
        return Counted(tuple([self._number(each, now) for each in needed.counts]))

    def settle(self, needed: CountsNeeded, counted: Counted, *, is_allowed: bool) -> None:  # noqa: ARG002 - the port's
        """Hold what was allowed."""
        if is_allowed:
            now = self._clock()
            for each in needed.counts:
                if each.members:
                    self._hold(each, now)

    def _number(self, count: Count, now: float) -> int:
        members = self._find(count)
        if members is None:
            number = len(count.members)
        else:
            self._forget(members, now - count.asked.tally.seconds)
            number = len(members)
            for each in count.members:
                number += each not in members
        return max(1, min(number, count.asked.at_most))

    def _find(self, count: Count) -> _Members | None:
        places = self._tallies.get(count.asked.tally.name)
        return None if places is None else places.get((count.caller, count.group))

    def _hold(self, count: Count, now: float) -> None:
        tally = count.asked.tally
        places = self._tallies.setdefault(tally.name, OrderedDict())
        place = (count.caller, count.group)
        members = places.get(place)
        if members is None:
            members = places[place] = OrderedDict()
        else:
            places.move_to_end(place)
        before = len(members)
        for each in count.members:
            members[each] = now
            members.move_to_end(each)
        while len(members) > count.asked.at_most:
            members.popitem(last=False)
        self.members += len(members) - before
        self._forget_idle(places, now - tally.seconds)

    def _forget_idle(self, places: "OrderedDict[_Place, _Members]", since: float) -> None:
        """Forget callers of whom nothing was allowed within the window: they stand first."""
        while places:
            place, members = next(iter(places.items()))
            if members and members[next(reversed(members))] > since:
                return
            self.members -= len(members)
            del places[place]

    def _forget(self, members: _Members, since: float) -> None:
        while members and members[next(iter(members))] <= since:
            members.popitem(last=False)
            self.members -= 1

    def _sweep(self, now: float) -> None:
        if now - self._swept_at < SWEEP_SECONDS:
            return
        self._swept_at = now
        for name, places in self._tallies.items():
            since = now - TALLIES[name].seconds
            for members in places.values():
                self._forget(members, since)
            self._forget_idle(places, since)
