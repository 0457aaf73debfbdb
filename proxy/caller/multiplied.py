# SPDX-License-Identifier: Apache-2.0
"""Control rules that multiply shares along a path: ``product`` adds the paths up, ``max-path`` takes the best one.

- What a mark holds of an entity is an interval: between what is certain and what could be, with ranges and whatever
  nobody disclosed. Numbers are whole multiples of ``1 / UNIT``, rounded outwards: where nothing had to be rounded,
  which is twelve levels of shares in millionths of a per cent, the result is exact; where an interval holds the
  threshold, control is possible and not certain.
- Circular holdings: the lower ends begin at nothing, the upper ends at everything, and both come closer with each
  round. After a number of rounds that depends on the size of the circle alone they are taken as they are. So it ends,
  whatever the graph; what has not met by then is possible. In a circle that belongs to nobody else, it never meets.
- Interests are tallied apart at each entity, and the largest counts from there on.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from proxy.caller.holdings import WHOLE, ZERO, Entity, Holding, Order, abridge
from proxy.caller.ownership import MAX_OWNERS, Controlled, Rule, Spread

UNIT: Final = 10**96
"""What all of an entity is."""
_PARTS: Final = 10**8
"""Of a share: per cent have at most six decimals."""
_PARTY: Final = "*"
MAX_MARKS: Final = 256
"""Marks that are followed apart for one entity: more than there are countries."""
WORK: Final = 200_000
MAX_ROUNDS: Final = 64
MIN_ROUNDS: Final = 4
"""Rounds of a circle: as many as its holdings allow for so much work."""

_Paths = tuple[str, ...]
_Held = dict[str, tuple[int, int, _Paths]]
"""Mark to the least and the most that it holds of an entity, and by which path."""


class _Shares(msgspec.Struct, frozen=True):
    """What is known of all marks of one entity."""

    held: _Held
    others: int
    """The most that a mark which is not listed may hold."""


_NONE: Final = _Shares({}, 0)


def compute_multiplied(entities: Mapping[str, Entity], order: Order, rule: Rule) -> dict[str, Controlled]:
    """Apply a rule that multiplies to a whole register of entities, in an order where owners come first."""
    party = rule.countries
    seeds = {
        id_: (entity.country, _PARTY) if entity.country in party else (entity.country,)
        for id_, entity in entities.items()
    }
    by_country = _Multiplied(entities, order, rule, seeds, MAX_MARKS)
    by_owner = _Multiplied(entities, order, rule, {id_: (id_,) for id_ in entities}, MAX_OWNERS)
    found = {}
    for id_ in entities:
        countries, is_open = by_country.reached(id_)
        owners, owners_open = by_owner.reached(id_)
        if countries.pop(_PARTY, None) is not None:
            shares = by_country.shares[id_]
            held = shares.held
            countries |= {each: held[each][2] for each in sorted(party & held.keys()) if held[each][0]}
            is_open |= any(each not in countries and (shares.others or each in held) for each in party)
        owners.pop(id_, None)
        found[id_] = Controlled(countries, frozenset(owners), is_open, owners_open)
    return found


class _Multiplied:
    """One propagation of shares."""

    def __init__(
        self,
        entities: Mapping[str, Entity],
        order: Order,
        rule: Rule,
        seeds: Mapping[str, tuple[str, ...]],
        limit: int,
    ) -> None:
        self._entities = entities
        self._holds = order.dependants
        self._rule = rule
        self._threshold = int(rule.threshold.scaleb(6)) * UNIT // _PARTS
        self._is_sum = rule.propagation == "product"
        self._seeds = seeds
        self._limit = limit
        self._carried: dict[str, _Shares] = {}
        self.shares: dict[str, _Shares] = {}
        for part in order.parts:
            if len(part) > 1:
                self._settle(part)
                continue
            (id_,) = part
            self.shares[id_] = self._shares_of(id_)
            self._carry(id_)

    def reached(self, id_: str) -> tuple[dict[str, _Paths], bool]:
        """Return the marks that certainly reach the threshold with their paths, and whether others may."""
        shares = self.shares[id_]
        certain = {mark: path for mark, (low, _, path) in shares.held.items() if self._reaches(low)}
        possible = any(self._reaches(high) for mark, (_, high, _) in shares.held.items() if mark not in certain)
        return certain, possible or self._reaches(shares.others)

    def _reaches(self, share: int) -> bool:
        return share >= self._threshold if self._rule.inclusive else share > self._threshold

    def _carry(self, id_: str) -> None:
        """Note what an entity carries to those that it holds: its own marks wholly."""
        if not self._holds.get(id_, ()):
            return
        shares = self.shares[id_]
        held = {mark: (low, high, abridge((id_, *path))) for mark, (low, high, path) in shares.held.items()}
        held |= dict.fromkeys(self._seeds[id_], (UNIT, UNIT, (id_,)))
        self._carried[id_] = self._bound(_Shares(held, shares.others))

    def _bound(self, shares: _Shares) -> _Shares:
        """Leave out marks that say no more than what is said of all others, and all but the largest."""
        held = {mark: each for mark, each in shares.held.items() if each[0] or each[1] > shares.others}
        if len(held) <= self._limit:
            return _Shares(held, shares.others) if len(held) < len(shares.held) else shares
        ranked = sorted(held, key=lambda mark: (-held[mark][1], mark))
        others = max(shares.others, held[ranked[self._limit]][1])
        return _Shares({mark: held[mark] for mark in ranked[: self._limit]}, others)

    def _settle(self, part: tuple[str, ...]) -> None:
        edges = sum(len(self._entities[id_].owners) for id_ in part)
        for id_ in part:
            self.shares[id_] = _NONE if self._entities[id_].home else _Shares({}, UNIT)
            self._carry(id_)
        for _ in range(max(MIN_ROUNDS, min(MAX_ROUNDS, WORK // edges))):
            before = [self.shares[id_] for id_ in part]
            for id_ in part:
                self.shares[id_] = self._keep_paths(self.shares[id_].held, self._shares_of(id_))
                self._carry(id_)
            if before == [self.shares[id_] for id_ in part]:
                return

    def _keep_paths(self, before: _Held, shares: _Shares) -> _Shares:
        """Leave a path as it was first found: then it ends."""
        held = {
            mark: (low, high, before[mark][2] if mark in before and before[mark][0] else path)
            for mark, (low, high, path) in shares.held.items()
        }
        return _Shares(held, shares.others)

    def _shares_of(self, id_: str) -> _Shares:
        entity = self._entities[id_]
        if entity.home:
            return _NONE
        if not entity.owners:
            return _NONE if entity.complete else _Shares({}, UNIT)
        only = entity.owners[0]
        if len(entity.owners) == 1 and only.low == only.high and not only.interest and not only.indirect:
            return self._of_one(only, entity)
        tallies = [self._count(holdings, Spread(holdings, entity)) for holdings in self._rule.tallies(entity.owners)]
        if len(tallies) == 1:
            return tallies[0]
        others = max(each.others for each in tallies)
        held: _Held = {}
        for mark in {mark: None for each in tallies for mark in each.held}:
            found = [each.held.get(mark, (0, each.others, ())) for each in tallies]
            low, _, path = max(found, key=lambda each: each[0])
            held[mark] = (low, max(high for _, high, _ in found), path or max(each[2] for each in found))
        return _Shares(held, others)

    def _of_one(self, holding: Holding, entity: Entity) -> _Shares:
        """Return what every mark holds of an entity of which one owner's exact share is all that is told."""
        carried = self._carried[holding.owner]
        share = int(holding.low.scaleb(6))
        is_complete = entity.complete and holding.low + entity.dispersed >= WHOLE
        rest = 0 if is_complete else (_PARTS - share) * UNIT // _PARTS

        def most(high: int) -> int:
            if self._is_sum:
                return min(UNIT, rest - (-share * high // _PARTS))
            return max(rest, -(-share * high // _PARTS) if is_complete else high)

        held = {mark: (low * share // _PARTS, most(high), path) for mark, (low, high, path) in carried.held.items()}
        return _Shares(held, most(carried.others))

    def _count(self, holdings: tuple[Holding, ...], spread: Spread) -> _Shares:
        """Return what every mark holds of an entity through these holdings."""
        marks: dict[str, None] = {}
        for holding in holdings:
            marks |= dict.fromkeys(self._carried[holding.owner].held)
        held: _Held = {}
        for mark in marks:
            of_owners = [
                (holding, *self._carried[holding.owner].held.get(mark, (0, self._carried[holding.owner].others, ())))
                for holding in holdings
            ]
            lows = [(_floor(holding, low), path) for holding, low, _, path in of_owners]
            best, path = max(lows, key=lambda each: (each[0], bool(each[1])))
            low = sum(each for each, _ in lows) if self._is_sum else best
            high = self._most([(holding, high) for holding, _, high, _ in of_owners], spread)
            held[mark] = (min(low, UNIT), max(low, high), path)
        others = self._most([(holding, self._carried[holding.owner].others) for holding in holdings], spread)
        return _Shares(held, others)

    def _most(self, parts: list[tuple[Holding, int]], spread: Spread) -> int:
        """Return the most that a mark may hold which may hold so much of each owner."""
        direct = [(holding, share) for holding, share in parts if not holding.indirect]
        indirect = [_ceil(holding.high, share) for holding, share in parts if holding.indirect]
        rest = spread.rest
        if self._is_sum:
            total = sum(_ceil(holding.low, share) for holding, share in direct) + sum(indirect)
            return min(UNIT, total + _ceil(rest, UNIT) + self._stretch(direct, spread))
        alone = [_ceil(spread.most({holding.owner}, aggregate=True), share) for holding, share in direct]
        return min(UNIT, max((_ceil(rest, UNIT), *alone, *indirect)))

    def _stretch(self, direct: list[tuple[Holding, int]], spread: Spread) -> int:
        """Return what ranges of a complete list can add: what is left goes to the owners that carry most."""
        left = WHOLE - spread.disclosed - spread.dispersed if spread.is_complete else ZERO
        added = 0
        for holding, share in sorted(direct, key=lambda each: -each[1]):
            if left <= 0:
                break
            more = min(left, holding.high - holding.low)
            added += _ceil(more, share)
            left -= more
        return added


def _floor(holding: Holding, share: int) -> int:
    return int(holding.low.scaleb(6)) * share // _PARTS


def _ceil(per_cent: Decimal, share: int) -> int:
    return -(-int(per_cent.scaleb(6)) * share // _PARTS) if per_cent else 0
