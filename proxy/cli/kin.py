# SPDX-License-Identifier: Apache-2.0
"""One affiliate among those who own it and those it works with, as a value, as a tree and as a Mermaid diagram."""

import math
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from rich.text import Text
from rich.tree import Tree

from proxy.bundle.snapshot import Snapshot
from proxy.caller.holdings import STATE, WHOLE, ZERO
from proxy.caller.register import Contract, Party, Stake
from proxy.clock import render_instant
from proxy.model.country import NAMES
from proxy.model.facts import State, describe

MAX_DEPTH: Final = 12
"""Levels that are drawn upwards and downwards; computed are all."""
MAX_DRAWN: Final = 200
"""Entities that are drawn."""


class Link(msgspec.Struct, frozen=True):
    """One step from an affiliate to another entity, and what stands behind that."""

    id: str
    name: str
    country: str
    how: str
    """What is held, or how long it works for whom."""
    links: tuple["Link", ...] = ()
    remarks: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """What one control rule says of the affiliate."""

    rule: str
    countries: str
    owners: str
    paragraph: str
    paths: tuple[str, ...]


class Kin(msgspec.Struct, frozen=True):
    """An affiliate at one instant."""

    id: str
    name: str
    country: str
    at: str
    roles: tuple[str, ...]
    remarks: tuple[str, ...]
    owners: tuple[Link, ...]
    principals: tuple[Link, ...]
    subcontractors: tuple[Link, ...]
    verdicts: tuple[Verdict, ...]
    watch: tuple[str, ...]


def find_kin(id_: str, snapshot: Snapshot, at: float) -> Kin:
    """Return what the register says of one affiliate, which is in it, at one instant."""
    walk = _Walk({party.id: party for party in snapshot.parties}, at)
    party = walk.parties[id_]
    affiliation = snapshot.affiliates.at(at).by_id.get(id_)
    verdicts: list[Verdict] = []
    watch: tuple[str, ...] = ()
    gone = "not an affiliate at this time: its people are of no affiliate that is known"
    if affiliation is not None:
        for rule, control in affiliation.control.items():
            ties = [tie for tie in affiliation.ties if tie.label == f"control.{rule}"]
            paths = tuple(f"{tie.country}: {' ← '.join(tie.path)}" for tie in ties)
            paragraph = "" if isinstance(control.paragraph, State) else describe(control.paragraph)
            verdicts.append(Verdict(rule, describe(control.countries), describe(control.owners), paragraph, paths))
        watch = tuple(f"{each.owner} holds {_percent(each.low, each.high)}" for each in affiliation.watch)
    return Kin(
        id=id_,
        name=party.name,
        country=party.country,
        at=render_instant(at),
        roles=tuple(sorted(party.roles)),
        remarks=walk.remarks(party) if affiliation is not None else (gone,),
        owners=walk.owners(party, frozenset({id_}), 0),
        principals=walk.principals(party, frozenset({id_}), 0),
        subcontractors=walk.subcontractors(party, frozenset({id_}), 0),
        verdicts=tuple(verdicts),
        watch=watch,
    )


class _Walk:
    def __init__(self, parties: Mapping[str, Party], at: float) -> None:
        self.parties = parties
        self._at = at
        self._left = MAX_DRAWN
        self._below: dict[str, list[tuple[Party, Contract]]] = {}
        for party in parties.values():
            for contract in party.works_for or ():
                self._below.setdefault(contract.principal, []).append((party, contract))

    def remarks(self, party: Party) -> tuple[str, ...]:
        """Say what the register leaves open about one entity."""
        told = [*self._of_owners(party)]
        if party.works_for is None and not party.home:
            told.append("for whom it works is not said")
        if party.subcontractors is None:
            told.append("to whom it hands work on is not said: there may be more")
        return tuple(told)

    def _of_owners(self, party: Party) -> tuple[str, ...]:
        told = []
        if party.home:
            told.append("home: the upward walk of ownership ends here")
        live = [each.holding for each in party.owners or () if self._is_live(each)]
        disclosed = sum((each.low for each in live if not each.indirect), party.dispersed or ZERO)
        if party.complete:
            told.append("the owners are complete" + (f", {party.dispersed:f} % dispersed" if party.dispersed else ""))
        elif disclosed < WHOLE and not party.home:
            told.append(f"{WHOLE - disclosed:f} % of it is undisclosed: it may be anyone's")
        return tuple(told)

    def owners(self, party: Party, above: frozenset[str], depth: int) -> tuple[Link, ...]:
        found = []
        for stake in party.owners or ():
            holding = stake.holding
            how = f"{_percent(holding.low, holding.high)}{f' of {holding.interest}' if holding.interest else ''}"
            how += (", indirectly" if holding.indirect else "") + _dates(stake)
            how += "" if self._is_live(stake) else ", not at this time: it is nobody's who is known"
            if holding.owner.startswith(STATE):
                code = holding.owner.removeprefix(STATE)
                found.append(Link(holding.owner, f"the state of {NAMES[code]}", code, how))
            else:
                found.append(self._link(holding.owner, how, above, depth, self.owners))
        return tuple(found)

    def principals(self, party: Party, above: frozenset[str], depth: int) -> tuple[Link, ...]:
        return tuple(
            self._link(each.principal, f"by contract{self._when(each)}", above, depth, self.principals)
            for each in party.works_for or ()
        )

    def subcontractors(self, party: Party, above: frozenset[str], depth: int) -> tuple[Link, ...]:
        return tuple(
            self._link(other.id, f"by contract{self._when(contract)}", above, depth, self.subcontractors)
            for other, contract in self._below.get(party.id, ())
        )

    def _link(self, id_: str, how: str, above: frozenset[str], depth: int, onward: object) -> Link:
        party = self.parties[id_]
        self._left -= 1
        if id_ in above:
            return Link(id_, party.name, party.country, how, remarks=("a circle: it stands further up",))
        if depth >= MAX_DEPTH or self._left <= 0:
            return Link(id_, party.name, party.country, how, remarks=("and on: `sekisho affiliates show` it",))
        if onward == self.owners and party.home:
            return Link(id_, party.name, party.country, how, remarks=self._of_owners(party))
        links = onward(party, above | {id_}, depth + 1)  # type: ignore[operator]
        remarks = self._of_owners(party) if onward == self.owners else ()
        return Link(id_, party.name, party.country, how, links, remarks)

    def _is_live(self, dated: Stake | Contract) -> bool:
        return dated.since <= self._at < dated.until

    def _when(self, contract: Contract) -> str:
        return _dates(contract) + ("" if self._is_live(contract) else ", not at this time")


def _percent(low: object, high: object) -> str:
    return f"{low:f} %" if low == high else f"{low:f} to {high:f} %"


def _dates(dated: Stake | Contract) -> str:
    since = "" if math.isinf(dated.since) else f" from {render_instant(dated.since)}"
    return since + ("" if math.isinf(dated.until) else f" until {render_instant(dated.until)}")


def draw_tree(kin: Kin) -> Tree:
    """Return the tree for a terminal."""
    roles = f", {', '.join(kin.roles)}" if kin.roles else ""
    tree = Tree(Text(f"{kin.id}: {kin.name} ({kin.country}{roles}) at {kin.at}"))
    for remark in kin.remarks:
        tree.add(Text(remark))
    for title, links in (
        ("owned by", kin.owners), ("works for", kin.principals), ("hands work on to", kin.subcontractors),
    ):  # fmt: skip
        if links:
            _draw_links(tree.add(Text(title)), links)
    for verdict in kin.verdicts:
        told = f"control rule {verdict.rule}: controlled by {verdict.countries}"
        branch = tree.add(Text(told + (f"; paragraph {verdict.paragraph}" if verdict.paragraph else "")))
        for path in verdict.paths:
            branch.add(Text(path))
        branch.add(Text(f"through: {verdict.owners}"))
    if kin.watch:
        branch = tree.add(Text("watch: minorities of 25 per cent and more"))
        for each in kin.watch:
            branch.add(Text(each))
    return tree


def _draw_links(tree: Tree, links: tuple[Link, ...]) -> None:
    for link in links:
        branch = tree.add(Text(f"{link.id}: {link.name} ({link.country}), {link.how}"))
        for remark in link.remarks:
            branch.add(Text(remark))
        _draw_links(branch, link.links)


def draw_mermaid(kin: Kin) -> str:
    """Return a flow chart: owners above what they hold, principals above who works for them."""
    names = {kin.id: f"{kin.name}<br>{kin.country}"}
    arrows: dict[str, None] = {}
    for links, is_up, dashed in (
        (kin.owners, True, False),
        (kin.principals, True, True),
        (kin.subcontractors, False, True),
    ):
        for one, other, link in _arrows(kin.id, links):
            names[link.id] = f"{link.name}<br>{link.country}"
            first, second = (other, one) if is_up else (one, other)
            line = f'-. "{_safe(link.how)}" .->' if dashed else f'-- "{_safe(link.how)}" -->'
            arrows[f"  {_node(first)} {line} {_node(second)}"] = None
    nodes = [f'  {_node(id_)}["{_safe(name)}"]' for id_, name in names.items()]
    return "\n".join(["flowchart TB", *nodes, *arrows, f"  style {_node(kin.id)} stroke-width:3px"])


def _arrows(start: str, links: tuple[Link, ...]) -> Iterator[tuple[str, str, Link]]:
    for link in links:
        yield start, link.id, link
        yield from _arrows(link.id, link.links)


def _node(id_: str) -> str:
    """Return an id that Mermaid takes: letters, digits and `_`, each other character by its number."""
    return "n_" + "".join(each if each.isascii() and each.isalnum() else f"_{ord(each)}_" for each in id_)


def _safe(text: str) -> str:
    """Return a text without what would end a label."""
    return (
        text.replace("&", "&amp;")
        .replace('"', "&quot;")
        .replace("<br>", "\n")
        .replace("<", "&lt;")
        .replace("\n", "<br>")
    )
