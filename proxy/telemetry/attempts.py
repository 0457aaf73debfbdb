# SPDX-License-Identifier: Apache-2.0
"""Who was denied what within the last hour, as far as it takes to tell who tries one thing after the other.

- Nobody is named: callers, routes and data subjects stand here as keyed hashes of 64 bits. The key is made when the
  gateway starts, the same for all its workers, and is written nowhere.
- What is remembered is bounded, whoever tries whatever: ``MAX_MEMBERS`` of each caller, ``MAX_HELD`` in all. Beyond
  that the oldest is let go, and counted as that.
- Who is denied by one worker today and by another one next minute is one caller: workers ``tell`` what they remember,
  and their supervisor ``takes`` it, or looks at all of it together (``elsewhere``).
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Final

import msgspec

from proxy.clock import unix_seconds

SECONDS: Final = 3600
"""How long an attempt is remembered."""
KEY_BYTES: Final = 32
MAX_MEMBERS: Final = 256
"""Routes, and data subjects, of one caller that are told apart: whoever watches is alarmed long before."""
MAX_HELD: Final = 65_536
"""Routes and data subjects of all callers: some 10 MiB."""
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
        self._callers: dict[Who, Attempt] = {}
        """The one that was denied last stands last."""
        self._held = 0
        self.elsewhere: Callable[[], Iterable[Iterable[Attempt]]] = tuple
        """Returns what others remember."""

    def name(self, text: str) -> int:
        """Return the keyed hash under which somebody or something is remembered."""
        state = self._state.copy()
        state.update(text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(state.digest(), "big")

    def note(self, who: Who, place: int, whose: str, now: int) -> None:
        """Remember that a request was denied.

        Args:
            who: asked.
            place: the name of the route, or of the shape of what is undeclared.
            whose: the API and the data subject's id; empty where that is nobody, or nobody knows who.
            now: seconds since 1970.
        """
        attempt = self._find(who)
        attempt.at = now
        self._add(attempt.routes, place, now)
        if whose:
            self._add(attempt.subjects, self.name(whose), now)
        if self._held > MAX_HELD:
            self._bound()

    def take(self, told: Iterable[Attempt]) -> None:
        """Remember what another one did, which has ended."""
        for each in told:
            attempt = self._find((each.affiliate, each.caller))
            attempt.at = max(attempt.at, each.at)
            for mine, its in ((attempt.routes, each.routes), (attempt.subjects, each.subjects)):
                for name, at in its.items():
                    self._add(mine, name, max(at, mine.get(name, 0)))
        self._bound()

    def tell(self) -> tuple[Attempt, ...]:
        """Return what is remembered of the last hour."""
        self._forget_old(int(self._clock()) - SECONDS)
        return tuple(self._callers.values())

    def find_most_routes(self) -> Mapping[tuple[str, ...], float]:
        """Return, by affiliate, the most routes that one of its callers was denied."""
        return self._find_most(lambda attempt: attempt.routes)

    def find_most_subjects(self) -> Mapping[tuple[str, ...], float]:
        """Return, by affiliate, the most data subjects whose data one of its callers was denied."""
        return self._find_most(lambda attempt: attempt.subjects)

    def _find_most(self, members: Callable[[Attempt], Members]) -> Mapping[tuple[str, ...], float]:
        since = int(self._clock()) - SECONDS
        tried: dict[Who, set[int]] = {}
        for each in chain(self.tell(), *self.elsewhere()):
            names = {name for name, at in members(each).items() if at > since}
            tried.setdefault((each.affiliate, each.caller), set()).update(names)
        most: dict[tuple[str, ...], float] = {}
        for (affiliate, _), names in tried.items():
            most[affiliate,] = max(most.get((affiliate,), 0), len(names))
        return most

    def _find(self, who: Who) -> Attempt:
        """Return what is remembered of a caller, as the one that was denied last."""
        attempt = self._callers.pop(who, None) or Attempt(*who, {}, {}, 0)
        self._callers[who] = attempt
        return attempt

    def _add(self, members: Members, name: int, at: int) -> None:
        if members.pop(name, None) is not None:
            self._held -= 1
        elif len(members) >= MAX_MEMBERS:
            del members[next(iter(members))]
            self._held -= 1
            self._count_forgotten()
        members[name] = at
        self._held += 1

    def _bound(self) -> None:
        """Let go of whoever was not denied for longest, where too much is remembered."""
        while self._held > MAX_HELD:
            self._drop(next(iter(self._callers)))
            self._count_forgotten()

    def _drop(self, who: Who) -> None:
        attempt = self._callers.pop(who)
        self._held -= len(attempt.routes) + len(attempt.subjects)

    def _forget_old(self, since: int) -> None:
        for who in [who for who, attempt in self._callers.items() if attempt.at <= since]:
            self._drop(who)
        for attempt in self._callers.values():
            for members in (attempt.routes, attempt.subjects):
                for name in [name for name, at in members.items() if at <= since]:
                    del members[name]
                    self._held -= 1
