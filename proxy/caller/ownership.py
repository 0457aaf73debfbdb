# SPDX-License-Identifier: Apache-2.0
"""Who controls whom, by one control rule, over a whole register at one instant: exact arithmetic over a graph.

Three ways to compute, and each is a field's own:

- *cascade*: the OFAC 50 per cent guidance (FAQ 398-402) and 28 CFR 202.211. Stakes of all carriers of a country are
  added up; a holder that reaches the threshold passes its *whole* stake down, one that does not passes nothing;
  shares are not multiplied. Least fixpoint, so circular holdings end and cover nobody by themselves.
- *product*: the shares along a path are multiplied and the paths added up (``multiplied``).
- *max-path*: the shares along the strongest single path, multiplied. (The weakest link of the best path, the other
  reading, is a cascade with ``aggregate: false``.)

For all of them:

- A ``home`` entity ends the upward walk: it carries its own country and nothing of its owners'.
- What nobody disclosed may belong to anyone, as may what lies between the ends of a range. An entity that could tip
  over the threshold by that is *open*, and so may be what it holds.
- Interests are tallied apart, and the largest decides: half of the shares and half of the votes are not the whole.
- Where a rule names ``countries``, those are one party: their stakes add up.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from proxy.caller.holdings import COUNTED, WHOLE, ZERO, Entity, Holding, Order, abridge

MAX_OWNERS: Final = 32
"""Owners in control of one entity that are told by name; there may be others where there are as many."""

_Lines = dict[str, tuple[str, ...]]
"""Mark (a country, or an entity as an owner) to the path by which it came."""


class Rule(msgspec.Struct, frozen=True):
    """A control rule: a threshold in per cent, and how stakes are counted against it."""

    threshold: Decimal
    inclusive: bool = True
    """Whether reaching the threshold suffices."""
    propagation: str = "cascade"
    aggregate: bool = True
    """Whether stakes of several holders are added up."""
    interests: tuple[str, ...] = COUNTED
    countries: frozenset[str] = frozenset()
    """Countries that are one party."""

    def reaches(self, share: Decimal) -> bool:
        """Say whether a share of per cent means control."""
        return share >= self.threshold if self.inclusive else share > self.threshold

    def tallies(self, holdings: tuple[Holding, ...]) -> Iterable[tuple[Holding, ...]]:
        """Return the holdings that count together: once, or once for each interest where they differ."""
        if not any(holding.interest for holding in holdings):
            return (holdings,)
        return [tuple(each for each in holdings if each.interest in {"", interest}) for interest in self.interests]


class Controlled(msgspec.Struct, frozen=True):
    """What the rule says of one entity."""

    countries: Mapping[str, tuple[str, ...]]
    """Country to the path of entity ids by which it came, nearest owner first."""
    owners: frozenset[str]
    """Every entity that controls this one, as far as they are told."""
    is_open: bool
    """Whether countries may control it, too, through somebody undisclosed."""
    owners_open: bool
    """The same of ``owners``: that a country controls may be certain where it is not certain through whom."""


def compute_cascade(entities: Mapping[str, Entity], order: Order, rule: Rule) -> dict[str, Controlled]:
    """Apply a cascade to a whole register of entities, in an order where owners come first."""
    by_country = _Cascade(entities, order, rule, {id_: entity.country for id_, entity in entities.items()})
    by_owner = _Cascade(entities, order, rule, None)
    shared: dict[int, frozenset[str]] = {}
    same: dict[tuple[int, int, bool, bool], Controlled] = {}
    found = {}
    for id_ in entities:
        countries, paths = by_country.paths[id_], by_owner.paths[id_]
        owners = shared.get(id(paths))
        if owners is None:
            owners = shared[id(paths)] = frozenset(paths)
        key = (id(countries), id(owners), id_ in by_country.open, id_ in by_owner.open)
        of_sisters = same.get(key)
        if of_sisters is None or id_ in owners:
            others = owners - {id_} if id_ in owners else owners
            of_sisters = Controlled(countries, others, key[2], key[3])
            if others is owners:
                same[key] = of_sisters
        found[id_] = of_sisters
    return found


class _Cascade:
    """One propagation: every entity carries its mark, and those that control it, to what it holds.

    An entity that one owner controls has that owner's marks, and shares them with its sisters.

    Args:
        entities: the register.
        order: owners first.
        rule: the rule.
        seeds: entity to its mark; None: each is its own, and no paths are kept.
    """

    def __init__(
        self, entities: Mapping[str, Entity], order: Order, rule: Rule, seeds: Mapping[str, str] | None
    ) -> None:
        self._entities = entities
        self._holds = order.dependants
        self._rule = rule
        self._seeds = seeds
        self._party = rule.countries if seeds is not None else frozenset[str]()
        self._limit = MAX_OWNERS if seeds is None else len(entities) + 1
        self._lines: dict[str, _Lines] = {}
        self.paths: dict[str, _Lines] = {}
        self.open: set[str] = set()
        nothing: _Lines = {}
        sisters: dict[tuple[int, bool, bool, int], tuple[_Lines, bool]] = {}
        for part in order.parts:
            if len(part) == 1:
                (id_,) = part
                entity = entities[id_]
                key = (id(entity.owners), entity.complete, entity.home, id(entity.dispersed))
                found = sisters.get(key)
                if found is None:
                    self.paths[id_] = self._marks_of(id_, nothing)
                    found = sisters[key] = self.paths[id_], self._may_be_controlled(id_)
                self.paths[id_], is_open = found
                self._set_lines(id_)
                if is_open:
                    self.open.add(id_)
            else:
                self._settle(part)

    def _set_lines(self, id_: str) -> None:
        """Note what an entity carries to those it holds."""
        if id_ not in self._holds:
            return
        if self._seeds is None:
            lines: _Lines = {id_: (), **self.paths[id_]}
            if len(lines) > self._limit:
                lines = dict(list(lines.items())[: self._limit])
                self.open.add(id_)
        else:
            lines = {mark: abridge((id_, *path)) for mark, path in self.paths[id_].items()}
            lines[self._seeds[id_]] = (id_,)
        self._lines[id_] = lines

    def _settle(self, part: tuple[str, ...]) -> None:
        """Compute a circle: its marks only grow, and so do those that are open."""
        inside = frozenset(part)
        for id_ in part:
            self.paths[id_] = {}
            self._set_lines(id_)
        queue = deque(part)
        queued = set(part)
        while queue:
            id_ = queue.popleft()
            queued.discard(id_)
            paths = self.paths[id_]
            new = {mark: path for mark, path in self._marks_of(id_, {}).items() if mark not in paths}
            if new:
                paths.update(new)
                self._set_lines(id_)
                more = [held for held in self._holds.get(id_, ()) if held in inside and held not in queued]
                queue.extend(more)
                queued.update(more)
        queue = deque(part)
        while queue:
            id_ = queue.popleft()
            if id_ not in self.open and self._may_be_controlled(id_):
                self.open.add(id_)
                queue.extend(held for held in self._holds.get(id_, ()) if held in inside)

    def _marks_of(self, id_: str, nothing: _Lines) -> _Lines:
        """Return the marks that control an entity for certain, from what its owners carry."""
        entity = self._entities[id_]
        if entity.home or not entity.owners:
            return nothing
        if len(entity.owners) == 1 and not entity.owners[0].interest:
            only = entity.owners[0]
            return self._lines[only.owner] if self._rule.reaches(only.low) else nothing
        found: _Lines = {}
        for holdings in self._rule.tallies(entity.owners):
            for mark, path in self._count(holdings):
                found.setdefault(mark, path)
        return found

    def _count(self, holdings: tuple[Holding, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield the marks that reach the threshold, each by the path of its largest holder."""
        rule = self._rule
        tally: dict[str, Decimal] = {}
        best: _Lines = {}
        of_party: dict[str, tuple[str, ...]] = {}
        party = ZERO
        for holding in sorted(holdings, key=lambda each: (-each.low, each.owner)):
            lines, low = self._lines[holding.owner], holding.low
            for mark, path in lines.items():
                if mark not in tally:
                    tally[mark], best[mark] = low, path
                elif rule.aggregate:
                    tally[mark] += low
            members = self._party & lines.keys()
            if members:
                party = party + low if rule.aggregate else max(party, low)
                for member in sorted(members):
                    of_party.setdefault(member, lines[member])
        for mark, share in tally.items():
            if rule.reaches(share):
                yield mark, best[mark]
        if of_party and rule.reaches(party):
            yield from of_party.items()

    def _may_be_controlled(self, id_: str) -> bool:
        """Say whether a mark that is not known to may control an entity."""
        entity = self._entities[id_]
        if entity.home:
            return False
        if not entity.owners:
            return not entity.complete and self._rule.reaches(WHOLE)
        only = entity.owners[0]
        is_plain = only.low == only.high and not only.interest and not only.indirect
        if len(entity.owners) == 1 and is_plain and self._party.isdisjoint(self._lines[only.owner]):
            is_complete = entity.complete and only.low + entity.dispersed >= WHOLE
            if only.owner in self.open or not self._rule.reaches(only.low):
                return self._rule.reaches(only.low if is_complete else WHOLE)
            return not is_complete and self._rule.reaches(WHOLE - only.low)
        return any(
            self._tips(id_, holdings, Spread(holdings, entity)) for holdings in self._rule.tallies(entity.owners)
        )

    def _tips(self, id_: str, holdings: tuple[Holding, ...], spread: "Spread") -> bool:
        """Say whether the threshold may be reached by a mark that is not certain."""
        through = frozenset(holding.owner for holding in holdings if holding.owner in self.open)
        if spread.is_certain and not through:
            return False
        rule, certain = self._rule, self.paths[id_]
        if rule.reaches(spread.most(through, aggregate=rule.aggregate)):
            return True
        carriers: dict[str, set[str]] = {}
        for holding in holdings:
            for mark in self._lines[holding.owner]:
                if mark not in certain:
                    carriers.setdefault(mark, set()).add(holding.owner)
        groups = {frozenset(owners) for owners in carriers.values()}
        if not self._party <= certain.keys():  # somebody else of the party may hold some of it, with those who do
            groups.add(
                frozenset(each.owner for each in holdings if not self._party.isdisjoint(self._lines[each.owner]))
            )
        return any(rule.reaches(spread.most(through | owners, aggregate=rule.aggregate)) for owners in groups)


class Spread:
    """How much of an entity a group of owners can hold at most, with what nobody disclosed.

    Args:
        holdings: the holdings that count together.
        entity: the entity that is held.
    """

    def __init__(self, holdings: tuple[Holding, ...], entity: Entity) -> None:
        self.direct = [holding for holding in holdings if not holding.indirect]
        self.indirect = [holding for holding in holdings if holding.indirect]
        self.dispersed = entity.dispersed
        self.disclosed = sum((holding.low for holding in self.direct), ZERO)
        highest = sum((holding.high for holding in self.direct), ZERO)
        self.is_complete = entity.complete and highest + self.dispersed >= WHOLE
        """A list that does not come to 100 is not complete, whatever it says."""
        self.is_certain = self.is_complete and all(each.low == each.high for each in holdings)

    @property
    def rest(self) -> Decimal:
        """What may be a stranger's."""
        return ZERO if self.is_complete else max(ZERO, WHOLE - self.disclosed)

    def most(self, owners: Collection[str], *, aggregate: bool) -> Decimal:
        """Return the most that these owners may hold, one of whom may be a stranger, together or the largest alone."""
        direct = [holding for holding in self.direct if holding.owner in owners]
        indirect = [holding.high for holding in self.indirect if holding.owner in owners]
        if aggregate:
            return self._direct(direct) + sum(indirect, ZERO)
        return max((*(self._direct([holding]) for holding in direct), *indirect, self.rest))

    def _direct(self, holdings: list[Holding]) -> Decimal:
        others = self.disclosed - sum((holding.low for holding in holdings), ZERO)
        room = max(ZERO, WHOLE - others - self.dispersed)
        return min(room, sum((holding.high for holding in holdings), ZERO)) if self.is_complete else room
