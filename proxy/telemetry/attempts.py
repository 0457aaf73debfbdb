# SPDX-License-Identifier: Apache-2.0
"""Who was denied what within the last hour, as far as it takes to tell who tries one thing after the other.

- Nobody is named: callers, routes and data subjects stand here as keyed hashes of 64 bits. The key is made when the
  gateway starts, the same for all its workers, and is written nowhere.
- What is remembered is bounded, whoever tries whatever: ``MAX_MEMBERS`` of each caller, ``MAX_HELD`` in all. Beyond
  that the oldest is let go, and counted as that: of the affiliate of which most is remembered, so that nobody has
  somebody of another affiliate forgotten by having many of its own denied.
- Everything stands in the order of time, oldest first, so that to forget is to look at what stands first. Where the
  clock was set back, what was denied before that is remembered for as much longer.
- Who is denied by one worker today and by another one next minute is one caller: workers ``tell`` what they remember,
  and their supervisor ``takes`` it, or looks at all of it together (``elsewhere``).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, islice
from typing import Final

import msgspec

from proxy.clock import unix_seconds

SECONDS: Final = 3600
"""How long an attempt is remembered."""
KEY_BYTES: Final = 32
MAX_MEMBERS: Final = 256
"""Routes, and data subjects, of one caller that are told apart: whoever watches is alarmed long before."""
MAX_HELD: Final = 65_536
"""Routes and data subjects of all callers: 24 MiB where each caller was denied one thing of one subject."""
_ROOM: Final = 4096
"""Of these so many are let go at once, so that who holds most is seldom looked for."""
_NAME_BYTES: Final = 8

Who = tuple[str, int]
"""The affiliate somebody works for, and the name."""
Members = dict[int, int]
"""Hashes, each with the second since 1970 when it was denied last; oldest first."""


class Attempt(msgspec.Struct, array_like=True):
    """What one caller was denied."""

    affiliate: str
    caller: int
    routes: Members
    subjects: Members
    at: int
    """When it was denied last, seconds since 1970."""


class _Affiliate:
    """Who of one affiliate is remembered."""

    __slots__ = ("callers", "held")

    def __init__(self) -> None:
        self.callers: OrderedDict[int, Attempt] = OrderedDict()
        """By name; the one that was denied last stands last."""
        self.held = 0
        """Routes and data subjects of all of them."""


class Attempts:
    """Remembers who was denied what.

    Args:
        key: of the hashes, secret.
        count_forgotten: is called for each route, data subject or caller that is let go for want of room.
        clock: reads the wall clock, seconds since 1970.
    """

    def __init__(
        self, key: bytes, count_forgotten: Callable[[], None], clock: Callable[[], float] = unix_seconds
    ) -> None:
        self._state = hashlib.blake2b(digest_size=_NAME_BYTES, key=key, person=b"attempts")
        self._count_forgotten = count_forgotten
        self._clock = clock
        self._affiliates: dict[str, _Affiliate] = {}
        self._held = 0
        self._since = 0
        """What was denied until then is forgotten."""
        self.elsewhere: Callable[[], Iterable[Iterable[Attempt]]] = tuple
        """Returns what others remember."""

    def name(self, text: str) -> int:
        """Return the keyed hash under which somebody or something is remembered."""
        state = self._state.copy()
        state.update(text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(state.digest(), "big")

    def note(self, who: Who, place: int, whose: Iterable[str], now: int) -> None:
        """Remember that a request was denied.

        Args:
            who: asked.
            place: the name of the route, or of the shape of what is undeclared.
            whose: of each data subject the API and the id, as far as that is known; more than ``MAX_MEMBERS`` are no
                more than these.
            now: seconds since 1970.
        """
        affiliate, attempt = self._find(who)
        attempt.at = now
        self._add(affiliate, attempt.routes, place, now)
        for each in islice(whose, MAX_MEMBERS):
            self._add(affiliate, attempt.subjects, self.name(each), now)
        if self._held > MAX_HELD:
            self._bound()

    def take(self, told: Iterable[Attempt]) -> None:
        """Remember what another one did, which has ended."""
        for each in told:
            affiliate, attempt = self._find((each.affiliate, each.caller))
            attempt.at = max(attempt.at, each.at)
            for mine, its in ((attempt.routes, each.routes), (attempt.subjects, each.subjects)):
                last = {name: max(at, mine.get(name, 0)) for name, at in its.items()}
                for name, at in sorted((mine | last).items(), key=_when):
                    self._add(affiliate, mine, name, at)
        for affiliate in self._affiliates.values():
            affiliate.callers = OrderedDict(sorted(affiliate.callers.items(), key=lambda each: each[1].at))
        self._bound()

    def tell(self) -> tuple[Attempt, ...]:
        """Return what is remembered of the last hour."""
        self._forget_old(int(self._clock()) - SECONDS)
        return tuple(chain.from_iterable(each.callers.values() for each in self._affiliates.values()))

    def find_most_routes(self) -> Mapping[tuple[str, ...], float]:
        """Return, by affiliate, the most routes that one of its callers was denied."""
        return self._find_most(lambda attempt: attempt.routes)

    def find_most_subjects(self) -> Mapping[tuple[str, ...], float]:
        """Return, by affiliate, the most data subjects whose data one of its callers was denied."""
        return self._find_most(lambda attempt: attempt.subjects)

    def _find_most(self, members: Callable[[Attempt], Members]) -> Mapping[tuple[str, ...], float]:
        since = int(self._clock()) - SECONDS
        told = [each for other in self.elsewhere() for each in other]
        if told:
            return _find_most_of([*self.tell(), *told], members, since)
        self._forget_old(since)
        return {
            (name,): max(len(members(attempt)) for attempt in affiliate.callers.values())
            for name, affiliate in self._affiliates.items()
        }

    def _find(self, who: Who) -> tuple[_Affiliate, Attempt]:
        """Return what is remembered of a caller, as the one that was denied last, with its affiliate."""
        name, caller = who
        affiliate = self._affiliates.get(name)
        if affiliate is None:
            affiliate = self._affiliates[name] = _Affiliate()
        attempt = affiliate.callers.get(caller)
        if attempt is None:
            attempt = affiliate.callers[caller] = Attempt(name, caller, {}, {}, 0)
        else:
            affiliate.callers.move_to_end(caller)
        return affiliate, attempt

    def _add(self, affiliate: _Affiliate, members: Members, name: int, at: int) -> None:
        if members.pop(name, None) is None:
            if len(members) >= MAX_MEMBERS:
                del members[next(iter(members))]
                self._count_forgotten()
            else:
                self._hold(affiliate, 1)
        members[name] = at

    def _hold(self, affiliate: _Affiliate, more: int) -> None:
        affiliate.held += more
        self._held += more

    def _bound(self) -> None:
        """Where too much is remembered let go of whoever was not denied for longest, where there are most."""
        if self._held <= MAX_HELD:
            return
        enough = MAX_HELD - min(_ROOM, MAX_HELD // 8)
        share = enough // len(self._affiliates)
        for name, affiliate in sorted(self._affiliates.items(), key=lambda each: -each[1].held):
            while affiliate.held > share and self._held > enough:
                self._drop_oldest(affiliate)
                self._count_forgotten()
            if not affiliate.callers:
                del self._affiliates[name]
            if self._held <= enough:
                return

    def _drop_oldest(self, affiliate: _Affiliate) -> None:
        _, attempt = affiliate.callers.popitem(last=False)
        self._hold(affiliate, -len(attempt.routes) - len(attempt.subjects))

    def _forget_old(self, since: int) -> None:
        if since == self._since:  # it is asked for what is left of routes, then of data subjects
            return
        self._since = since
        for name, affiliate in [*self._affiliates.items()]:
            callers = affiliate.callers
            while callers and next(iter(callers.values())).at <= since:
                self._drop_oldest(affiliate)
            for attempt in callers.values():
                self._hold(affiliate, -_forget(attempt.routes, since) - _forget(attempt.subjects, since))
            if not callers:
                del self._affiliates[name]


def _when(member: tuple[int, int]) -> int:
    return member[1]


def _forget(members: Members, since: int) -> int:
    """Forget what was denied until then, and return how much that was."""
    old = 0
    while members and members[first := next(iter(members))] <= since:
        del members[first]
        old += 1
    return old


def _find_most_of(
    told: Iterable[Attempt], members: Callable[[Attempt], Members], since: int
) -> Mapping[tuple[str, ...], float]:
    """Return, by affiliate, the most that one of its callers was denied since then, whoever denied it."""
    tried: dict[Who, set[int]] = {}
    for each in told:
        names = {name for name, at in members(each).items() if at > since}
        tried.setdefault((each.affiliate, each.caller), names).update(names)
    most: dict[tuple[str, ...], float] = {}
    for (affiliate, _), names in tried.items():
        most[affiliate,] = max(most.get((affiliate,), 0), len(names))
    return most
