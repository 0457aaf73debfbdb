# SPDX-License-Identifier: Apache-2.0
"""Chains of contracts, of any depth: up to whom the work is for in the end, and down to who does it in the end.

A chain ties to the country of everybody on it, and there is one tie a country: that of the longest chain, which shows
the others on its way. A chain that leads to somebody who did not say how it goes on is open.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from proxy.caller.holdings import Order, abridge, make_order

_Lines = Mapping[str, tuple[int, tuple[str, ...]]]
"""Country to the length of the chain that leads there, and the chain."""


class Chains(msgspec.Struct, frozen=True):
    """What is reached from one entity."""

    paths: Mapping[str, tuple[str, ...]]
    """Country to a chain of entity ids, the next one first."""
    is_open: bool


def follow(
    edges: Mapping[str, Sequence[str]], countries: Mapping[str, str], unsaid: Collection[str]
) -> dict[str, Chains]:
    """Follow contracts from every entity.

    Args:
        edges: entity to those that come next.
        countries: entity to its country.
        unsaid: entities that did not say who comes next.
    """
    linked = {id_: following for id_, following in edges.items() if following}
    for other in {other for following in linked.values() for other in following}:
        linked.setdefault(other, ())
    chains = _Chains(linked, countries, unsaid)
    same: dict[tuple[int, bool], Chains] = {}
    found = {}
    for id_ in edges:
        lines = chains.lines.get(id_, _NOWHERE)
        key = (id(lines), id_ in chains.open)
        reached = same.get(key)
        if reached is None:
            paths = {country: path for country, (_, path) in lines.items()}
            reached = same[key] = Chains(paths, key[1])
        found[id_] = reached
    return found


class _Chains:
    def __init__(
        self, edges: Mapping[str, Sequence[str]], countries: Mapping[str, str], unsaid: Collection[str]
    ) -> None:
        self._edges = edges
        self._countries = countries
        order: Order = make_order(edges)
        self._needed = order.dependants
        self._carried: dict[str, _Lines] = {}
        self.lines: dict[str, _Lines] = {}
        self.open: set[str] = set(unsaid)
        for part in order.parts:
            if len(part) == 1:
                (id_,) = part
                self.lines[id_] = self._find(id_)
                self._carry(id_)
                if any(following in self.open for following in edges[id_]):
                    self.open.add(id_)
            else:
                self._settle(part)

    def _settle(self, part: tuple[str, ...]) -> None:
        """Follow a circle, which the register's checks refuse: everybody on it is reached from everybody."""
        for id_ in part:
            self.lines[id_] = {}
            self._carry(id_)
        growing = True
        while growing:
            growing = False
            for id_ in part:
                new = {country: line for country, line in self._find(id_).items() if country not in self.lines[id_]}
                if new:
                    growing = True
                    self.lines[id_] = {**self.lines[id_], **new}
                    self._carry(id_)
        if any(following in self.open for id_ in part for following in (id_, *self._edges[id_])):
            self.open.update(part)

    def _find(self, id_: str) -> _Lines:
        following = self._edges[id_]
        if not following:
            return _NOWHERE
        if len(following) == 1:
            return self._carried[following[0]]
        found: dict[str, tuple[int, tuple[str, ...]]] = {}
        for other in sorted(following):
            for country, line in self._carried[other].items():
                if country not in found or line[0] > found[country][0]:
                    found[country] = line
        return found

    def _carry(self, id_: str) -> None:
        """Note what is reached by whoever is one step before an entity."""
        if id_ not in self._needed:
            return
        carried = {country: (length + 1, abridge((id_, *path))) for country, (length, path) in self.lines[id_].items()}
        carried.setdefault(self._countries[id_], (1, (id_,)))
        self._carried[id_] = carried


_NOWHERE: _Lines = {}
