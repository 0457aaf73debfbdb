# SPDX-License-Identifier: Apache-2.0
"""Which refusals of unknown callers are still written one by one, and which are only counted.

Anybody who reaches the gateway can be refused without limit, and each refusal is a line: that must not fill the disk.
So within a minute so many of an address are written by themselves (of an IPv6 address: of its /64, which one customer
has whole), and so many of all together; the others are counted by address and reason. Whose caller is known is not
asked about here, and always written.

- Nothing is lost: each refusal is written or counted, and what is counted is handed out once, unless it is put back.
- Memory is bounded: by the number of addresses kept, and of reasons for each.
- The wall clock may go anywhere. A minute ends once the clock stands 60 seconds after its beginning; where the clock is
  set back, what is left of the minute begins there. So 60 seconds of the clock going forward have one minute at most.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Final, TypeAlias

import msgspec

OTHER: Final = "other"
MINUTE_SECONDS: Final = 60.0
MAX_REASONS: Final = 32
"""Reasons kept apart for one address; a line stays short whatever somebody tries."""


class Counted(msgspec.Struct, frozen=True):
    """Refusals that were not written one by one."""

    ip: str
    """The address, as lines have it; the /64 of IPv6 addresses; ``other`` for those beyond the number kept."""
    count: int
    reasons: dict[str, int]
    """How many of each reason; they sum to ``count``."""
    since: float
    """When the first was refused, by the wall clock, seconds since 1970."""
    until: float
    """When the last was."""


class _Tally:
    """What one address did."""

    __slots__ = ("count", "reasons", "since", "until", "written")

    def __init__(self) -> None:
        self.written = 0
        self.count = 0
        self.reasons: dict[str, int] = {}
        self.since = self.until = 0.0

    def add(self, count: int, reasons: dict[str, int], since: float, until: float) -> None:
        """Add what was counted between two moments."""
        for reason, number in reasons.items():
            name = reason if reason in self.reasons or len(self.reasons) < MAX_REASONS else OTHER
            self.reasons[name] = self.reasons.get(name, 0) + number
        self.since = min(self.since, since) if self.count else since
        self.until = max(self.until, until) if self.count else until
        self.count += count


_Tallies: TypeAlias = dict[str, _Tally]


class Flood:
    """Counts the refusals of unknown callers of one gateway.

    Args:
        per_address: how many of one address are written by themselves in a minute.
        per_minute: how many of all addresses are.
        addresses: how many addresses are told apart; the others together have the limit of one.
    """

    def __init__(self, per_address: int = 20, per_minute: int = 600, addresses: int = 1024) -> None:
        self._per_address = per_address
        self._per_minute = per_minute
        self._addresses = addresses
        self._began = 0.0
        self._written = 0
        self._now: _Tallies = {}
        """Of this minute."""
        self._ended: _Tallies = {}
        """Of minutes that ended and were not handed out yet."""

    def take(self, ip: str, reason: str, now: float) -> bool:
        """Say whether a refusal is written by itself; else it is counted.

        Args:
            ip: the address it came from, or what is said in place of one that is not known.
            reason: why; one of an enumeration.
            now: the wall clock, seconds since 1970.
        """
        self._turn(now)
        tally = self._find(self._now, _group(ip))
        if self._written < self._per_minute and tally.written < self._per_address:
            tally.written += 1
            self._written += 1
            return True
        tally.add(1, {reason: 1}, now, now)
        return False

    def drain(self, now: float, *, all: bool = False) -> list[Counted]:  # noqa: A002 - the word for it
        """Hand out what was counted in minutes that have ended, each once; at most one value for each address kept.

        Args:
            now: the wall clock, seconds since 1970.
            all: also of the minute under way. Its limits stay used up.
        """
        self._turn(now)
        if all:
            self._end_counts()
        ended, self._ended = self._ended, {}
        return [Counted(ip, each.count, each.reasons, each.since, each.until) for ip, each in ended.items()]

    def put_back(self, counted: Iterable[Counted]) -> None:
        """Take back what was handed out and could not be recorded; it is handed out again."""
        for each in counted:
            self._find(self._ended, each.ip).add(each.count, each.reasons, each.since, each.until)

    def _turn(self, now: float) -> None:
        """Begin another minute where one has ended."""
        if now - self._began >= MINUTE_SECONDS:
            self._end_counts()
            self._now.clear()
            self._written = 0
            self._began = now
        elif now < self._began:
            self._began = now

    def _end_counts(self) -> None:
        """Put what was counted in this minute with what can be handed out."""
        for ip, tally in self._now.items():
            if tally.count:
                self._find(self._ended, ip).add(tally.count, tally.reasons, tally.since, tally.until)
                tally.count, tally.reasons = 0, {}

    def _find(self, tallies: _Tallies, ip: str) -> _Tally:
        tally = tallies.get(ip)
        if tally is None:
            name = ip if len(tallies) - (OTHER in tallies) < self._addresses else OTHER
            tally = tallies.get(name)
            if tally is None:
                tally = tallies[name] = _Tally()
        return tally


@lru_cache(maxsize=1024)  # a flood has few addresses, and reading one takes ten times as long as all else here
def _group(ip: str) -> str:
    """Return under what name an address is counted."""
    if ":" not in ip:
        return ip
    try:
        address = IPv6Address(ip)
    except AddressValueError:
        return OTHER
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"
