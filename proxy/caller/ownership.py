# SPDX-License-Identifier: Apache-2.0
"""Who controls whom, by the cascade rule, as exact arithmetic over a graph of holdings.

The rule is that of the OFAC 50 per cent guidance (FAQ 398-402) and 28 CFR 202.211: stakes of all carriers of a
country are added up; a holder that reaches the threshold passes its *whole* stake down, one that does not passes
nothing; shares are not multiplied. The result is the least fixpoint, so circular holdings end and cover nobody by
themselves.

- A ``home`` entity ends the upward walk: it carries its own country and nothing of its owners'.
- What nobody disclosed may belong to anyone: unless ``complete``, the rest of 100 per cent is *potential*, and an
  entity that the potential could tip over the threshold is *open*. Openness passes down like a country.
"""

from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

_WHOLE: Final = Decimal(100)


class Entity(msgspec.Struct, frozen=True):
    """One entity of the register, as the graph sees it."""

    country: str
    home: bool
    owners: tuple[tuple[str, Decimal], ...]
    """Owner id and share in per cent; the loader has made sure that all ids exist."""
    complete: bool


class Rule(msgspec.Struct, frozen=True):
    """A control rule: a threshold in per cent, and whether reaching it suffices."""

    threshold: Decimal
    inclusive: bool

    def reaches(self, share: Decimal) -> bool:
        """Say whether a share of per cent means control."""
        return share >= self.threshold if self.inclusive else share > self.threshold


class Controlled(msgspec.Struct, frozen=True):
    """What the rule says of one entity."""

    countries: Mapping[str, tuple[str, ...]]
    """Country to the path of entity ids by which it came, nearest owner first."""
    owners: frozenset[str]
    """Every entity that controls this one."""
    is_open: bool
    """Whether countries may control it, too, through somebody undisclosed."""
    owners_open: bool
    """The same of ``owners``: that a country controls may be certain where it is not certain through whom."""


def compute_control(entities: Mapping[str, Entity], rule: Rule) -> dict[str, Controlled]:
    """Apply a control rule to a whole register of entities."""
    by_country = _Cascade(entities, rule, {id_: entity.country for id_, entity in entities.items()})
    by_owner = _Cascade(entities, rule, {id_: id_ for id_ in entities})
    owners_open = by_owner.open_entities()
    is_open = by_country.open_entities()
    return {
        id_: Controlled(
            by_country.paths[id_],
            frozenset(by_owner.paths[id_]) - {id_},
            id_ in is_open,
            id_ in owners_open,
        )
        for id_ in entities
    }


class _Cascade:
    """One propagation: every entity carries its seed, and what controls it, to those it holds."""

    def __init__(self, entities: Mapping[str, Entity], rule: Rule, seeds: Mapping[str, str]) -> None:
        self.entities = entities
        self.rule = rule
        self.seeds = seeds
        self.holdings: dict[str, list[tuple[str, Decimal]]] = {id_: [] for id_ in entities}
        for id_, entity in sorted(entities.items()):
            for owner, share in sorted(entity.owners):
                self.holdings[owner].append((id_, share))
        self.tallies: dict[str, dict[str, Decimal]] = {id_: {} for id_ in entities}
        self.paths: dict[str, dict[str, tuple[str, ...]]] = {id_: {} for id_ in entities}
        self._propagate()

    def _propagate(self) -> None:
        queue = deque(sorted(self.seeds.items()))
        while queue:
            owner, mark = queue.popleft()
            for held, share in self.holdings[owner]:
                if self.entities[held].home:
                    continue
                tally = self.tallies[held]
                tally[mark] = tally.get(mark, Decimal(0)) + share
                if self.rule.reaches(tally[mark]) and mark not in self.paths[held]:
                    self.paths[held][mark] = (owner, *self._path(owner, mark))
                    if mark != self.seeds[held]:
                        queue.append((held, mark))

    def _path(self, owner: str, mark: str) -> tuple[str, ...]:
        return () if self.seeds[owner] == mark else self.paths[owner][mark]

    def _carries(self, id_: str, mark: str) -> bool:
        return self.seeds[id_] == mark or mark in self.paths[id_]

    def open_entities(self) -> frozenset[str]:
        """Return the entities that somebody undisclosed may control."""
        found: set[str] = set()
        queue = deque(id_ for id_, entity in self.entities.items() if not entity.home)
        while queue:
            id_ = queue.popleft()
            if id_ in found or not self._is_open(id_, found):
                continue
            found.add(id_)
            queue.extend(held for held, _ in self.holdings[id_] if not self.entities[held].home)
        return frozenset(found)

    def _is_open(self, id_: str, found: set[str]) -> bool:
        entity = self.entities[id_]
        disclosed = sum((share for _, share in entity.owners), Decimal(0))
        hidden = Decimal(0) if entity.complete else _WHOLE - disclosed
        through = [(owner, share) for owner, share in entity.owners if owner in found]
        anyone = hidden + sum((share for _, share in through), Decimal(0))
        if self.rule.reaches(anyone):
            return True
        return any(
            self.rule.reaches(
                tally + hidden + sum((s for owner, s in through if not self._carries(owner, mark)), Decimal(0))
            )
            for mark, tally in self.tallies[id_].items()
            if mark not in self.paths[id_]
        )
