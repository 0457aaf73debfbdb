# SPDX-License-Identifier: Apache-2.0
"""The registers ``affiliates`` and ``control_rules``, and what each affiliate ties its people to.

- Everything is computed at load; a request looks an affiliate up and nothing more.
- A missing line is unknown, not none: an owner nobody declared may be anyone unless ``owners_complete``, a
  principal nobody declared, too, unless ``works_for`` is written (an empty list says: nobody).
- To whom an employer hands work on is what the register's rows say, and there may be more unless the employer lists
  them itself (``subcontractors``): a row that went missing would else be a tie that went missing.
- Contracts may not go round in a circle; ownership may, and does.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final

import msgspec
from pydantic import Field

from proxy.caller.ownership import Controlled, Entity, Rule, compute_control
from proxy.model.caller import Control, Tie, TieKind
from proxy.model.entry import Country, Entry, Flag, Id, Share, Text, choice
from proxy.model.facts import FactSet
from proxy.model.problem import Problem, nearest

MAX_CHAIN: Final = 64
"""Contracts from a subcontractor up to whom the work is for in the end."""
ROLES: Final = (
    "parent", "subsidiary", "affiliate", "joint-venture", "contractor", "subcontractor", "state-body",
)  # fmt: skip
"""What an entity can be to the organisation. The set is closed, so that a rule about `parnt` cannot be written."""


class Holding(Entry):
    """One owner of an affiliate."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"interest", "from", "until", "min", "max"})
    id: Id
    share: Share
    """Per cent."""


class AffiliateEntry(Entry):
    """One entity: who owns it, and for whom it works."""

    ASSUMED: ClassVar[Mapping[str, Any]] = {"country": "JP"}
    NOT_YET: ClassVar[frozenset[str]] = frozenset({"lei", "source", "as_of", "valid_from", "valid_to", "control"})
    id: Id
    name: Text | None = None
    country: Country
    """Where it is organised."""
    home: Flag = False
    """Ends the upward walk of ownership, for itself and what it controls."""
    roles: list[Annotated[str, choice(*ROLES)]] = Field(default_factory=list)
    owners: list[Holding] = Field(default_factory=list)
    owners_complete: Flag = False
    """Whether no owner is missing from ``owners``."""
    dispersed: Share | None = None
    """Per cent in the hands of many of whom none matters. With ``owners_complete``, the owners that are listed and
    this make up 100, so that an owner cannot go missing unseen."""
    works_for: list[Id] | None = None
    """Its principals, all of them; nobody if the list is empty. Who they are is unknown if it is not written."""
    subcontractors: list[Id] | None = None
    """To whom it hands work on: all those that say they work for it. Who they are is unknown if it is not written."""
    shares_accounts: Flag = False
    """Whether people of its subcontractors may use its people's accounts."""


class ControlRuleEntry(Entry):
    """A named way to compute who controls whom."""

    id: Id
    threshold: Share
    comparator: Annotated[str, choice(">=", ">")] = ">="
    propagation: Annotated[str, choice("cascade")] = "cascade"
    default: Flag = False
    """Whether its ties count without being named."""


class Affiliation(msgspec.Struct, frozen=True):
    """What working for an affiliate means for a caller."""

    id: str
    name: str
    country: str
    roles: FactSet
    ties: tuple[Tie, ...]
    open_ties: frozenset[str]
    counted: frozenset[str]
    """Labels of ties that count for this affiliate's people without being named."""
    control: Mapping[str, Control]


class Affiliates(msgspec.Struct, frozen=True):
    """The register, computed."""

    by_id: Mapping[str, Affiliation]
    unknown_ties: frozenset[str]
    """Labels that are open for a caller whose affiliate is not known."""
    counted: frozenset[str]


def check_affiliates(entries: Sequence[AffiliateEntry], ids: frozenset[str]) -> list[Problem]:
    """Return what is wrong across entries: owners and principals that do not exist, shares over 100 per cent.

    Args:
        entries: the entries that are sound by themselves.
        ids: every id that is written in the register.
    """
    problems = []
    for index, entry in enumerate(entries):
        for place, holding in enumerate(entry.owners):
            if holding.id not in ids:
                problems.append(
                    Problem(
                        (index, "owners", place, "id"),
                        f"no affiliate {holding.id!r}{nearest(holding.id, ids)}",
                    )
                )
        for place, principal in enumerate(entry.works_for or ()):
            if principal not in ids:
                problems.append(
                    Problem((index, "works_for", place), f"no affiliate {principal!r}{nearest(principal, ids)}")
                )
        problems += [problem.under(index) for problem in _check_entry(entry)]
    circles = _check_circles(entries)
    return problems + _check_subcontractors(entries, ids) + (circles or _check_chains(entries))


def _check_chains(entries: Sequence[AffiliateEntry]) -> list[Problem]:
    """Report a chain of contracts that nobody could follow; contracts are known not to go round in a circle."""
    principals = {entry.id: tuple(entry.works_for or ()) for entry in entries}
    places = {entry.id: index for index, entry in enumerate(entries)}
    frontier = {id_ for id_, above in principals.items() if above}
    for _ in range(MAX_CHAIN):
        frontier = {above for id_ in frontier for above in principals.get(id_, ()) if above != id_}
        if not frontier:
            return []
    first = min(frontier & places.keys(), default=None)
    message = f"a chain of more than {MAX_CHAIN} contracts leads here"
    return [] if first is None else [Problem((places[first],), message)]


def _check_subcontractors(entries: Sequence[AffiliateEntry], ids: frozenset[str]) -> list[Problem]:
    handed_on: dict[str, set[str]] = {}
    for entry in entries:
        for principal in entry.works_for or ():
            handed_on.setdefault(principal, set()).add(entry.id)
    problems = []
    for index, entry in enumerate(entries):
        if entry.subcontractors is None:
            continue
        working = handed_on.get(entry.id, set())
        problems += [
            Problem((index, "subcontractors"), f"{other!r} says that it works for this one, and is missing here")
            for other in sorted(working - set(entry.subcontractors))
        ]
        for place, other in enumerate(entry.subcontractors):
            where = (index, "subcontractors", place)
            if other not in ids:
                problems.append(Problem(where, f"no affiliate {other!r}{nearest(other, ids)}"))
            elif other not in working and len(entries) == len(ids):
                problems.append(Problem(where, f"{other!r} does not say that it works for this one"))
    return problems


def _check_circles(entries: Sequence[AffiliateEntry]) -> list[Problem]:
    """Report each circle of contracts once, at the entry that comes first."""
    principals = {entry.id: tuple(entry.works_for or ()) for entry in entries}
    places = {entry.id: index for index, entry in enumerate(entries)}
    problems = []
    settled: set[str] = set()
    for entry in entries:
        circle = _find_circle(entry.id, principals, settled)
        if circle:
            first = min(circle, key=lambda id_: places.get(id_, 0))
            path = " → ".join((*circle, circle[0]))
            problems.append(Problem((places.get(first, 0), "works_for"), f"contracts go round in a circle: {path}"))
    return problems


def _find_circle(start: str, edges: Mapping[str, tuple[str, ...]], settled: set[str]) -> list[str]:
    """Return a circle that is reached from here, without recursion: contracts may chain for thousands of rows."""
    path: list[str] = []
    on_path: set[str] = set()
    stack = [(start, 0)]
    while stack:
        id_, place = stack.pop()
        if place == 0:
            if id_ in settled:
                continue
            path.append(id_)
            on_path.add(id_)
        following = edges.get(id_, ())
        if place == len(following):
            settled.add(path.pop())
            on_path.discard(id_)
            continue
        stack.append((id_, place + 1))
        if following[place] == id_:  # told of the entry itself
            continue
        if following[place] in on_path:
            settled |= on_path
            return path[path.index(following[place]) :]
        stack.append((following[place], 0))
    return []


def _check_entry(entry: AffiliateEntry) -> list[Problem]:
    problems = []
    total = sum((holding.share for holding in entry.owners), Decimal(0))
    whole = total + (entry.dispersed or 0)
    if whole > 100:
        problems.append(Problem(("owners",), f"the shares add up to {whole} per cent, more than 100"))
    if entry.dispersed is not None and not entry.owners_complete:
        problems.append(Problem(("dispersed",), "it goes with `owners_complete: true`", at_key=True))
    if entry.owners_complete and "owners" in entry.model_fields_set and whole < 100:
        message = f"the list is complete and adds up to {whole} per cent: say who holds the rest, or `dispersed: "
        problems.append(Problem(("owners",), f"{message}{100 - whole}` if it is many of whom none matters"))
    owners = [holding.id for holding in entry.owners]
    if len(set(owners)) != len(owners):
        problems.append(Problem(("owners",), "an owner stands twice: add its shares up"))
    if entry.id in owners:
        problems.append(Problem(("owners",), f"{entry.id!r} cannot own itself"))
    if entry.id in (entry.works_for or ()):
        problems.append(Problem(("works_for",), f"{entry.id!r} cannot work for itself"))
    return problems


def compute_affiliates(
    entries: Sequence[AffiliateEntry], rules: Sequence[ControlRuleEntry], counted_kinds: frozenset[TieKind]
) -> Affiliates:
    """Compute every affiliate's ties. The entries have been checked.

    Args:
        entries: the register.
        rules: the control rules.
        counted_kinds: the kinds of ties that the manifest counts.
    """
    entities = {
        entry.id: Entity(entry.country, entry.home, tuple((h.id, h.share) for h in entry.owners), entry.owners_complete)
        for entry in entries
    }
    controls = {rule.id: compute_control(entities, Rule(rule.threshold, rule.comparator == ">=")) for rule in rules}
    counted = {kind.value for kind in counted_kinds if kind is not TieKind.CONTROL}
    if TieKind.CONTROL in counted_kinds:
        counted |= {f"{TieKind.CONTROL}.{rule.id}" for rule in rules if rule.default}
    register = _Register(entries, controls, frozenset(counted))
    unknown = {TieKind.EMPLOYER, TieKind.PRINCIPAL, *(f"{TieKind.CONTROL}.{rule.id}" for rule in rules)}
    return Affiliates(
        {entry.id: register.affiliation(entry) for entry in entries},
        frozenset({*map(str, unknown), str(TieKind.SUBCONTRACTOR)}),
        frozenset(counted | ({str(TieKind.SUBCONTRACTOR)} if any(e.shares_accounts for e in entries) else set())),
    )


class _Register:
    def __init__(
        self,
        entries: Sequence[AffiliateEntry],
        controls: Mapping[str, Mapping[str, Controlled]],
        counted: frozenset[str],
    ) -> None:
        self.entries = {entry.id: entry for entry in entries}
        self.controls = controls
        self.counted = counted
        self.principals = {entry.id: tuple(entry.works_for or ()) for entry in entries}
        self.subcontractors: dict[str, tuple[str, ...]] = {entry.id: () for entry in entries}
        for entry in entries:
            for principal in entry.works_for or ():
                self.subcontractors[principal] += (entry.id,)

    def affiliation(self, entry: AffiliateEntry) -> Affiliation:
        control = {rule: controlled[entry.id] for rule, controlled in self.controls.items()}
        shared = {str(TieKind.SUBCONTRACTOR)} if entry.shares_accounts else set()
        return Affiliation(
            id=entry.id,
            name=entry.name or entry.id,
            country=entry.country,
            roles=FactSet(frozenset(entry.roles)),
            ties=tuple(self._ties(entry, control)),
            open_ties=frozenset(self._open_ties(entry, control)),
            counted=self.counted | shared,
            control={
                rule: Control(FactSet(frozenset(c.countries), c.is_open), FactSet(c.owners, c.owners_open))
                for rule, c in control.items()
            },
        )

    def _ties(self, entry: AffiliateEntry, control: Mapping[str, Controlled]) -> list[Tie]:
        ties = [Tie(TieKind.EMPLOYER, entry.country, (entry.id,))]
        for rule, controlled in control.items():
            ties += [
                Tie(f"{TieKind.CONTROL}.{rule}", country, (entry.id, *path))
                for country, path in sorted(controlled.countries.items())
            ]
        for kind, edges in (
            (TieKind.PRINCIPAL, self.principals),
            (TieKind.SUBCONTRACTOR, self.subcontractors),
        ):
            ties += [Tie(kind, self.entries[path[-1]].country, path) for path in _chains(entry.id, edges)]
        return ties

    def _open_ties(self, entry: AffiliateEntry, control: Mapping[str, Controlled]) -> list[str]:
        labels = [f"{TieKind.CONTROL}.{rule}" for rule, controlled in control.items() if controlled.is_open]
        chain = [entry.id, *(path[-1] for path in _chains(entry.id, self.principals))]
        if any(self.entries[id_].works_for is None and not self.entries[id_].home for id_ in chain):
            labels.append(TieKind.PRINCIPAL)
        hands_on = [entry.id, *(path[-1] for path in _chains(entry.id, self.subcontractors))]
        if any(self.entries[id_].subcontractors is None for id_ in hands_on):
            labels.append(TieKind.SUBCONTRACTOR)
        return labels


def _chains(start: str, edges: Mapping[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return a shortest path to every entity that is reached, breadth first; cycles end."""
    paths: list[tuple[str, ...]] = []
    seen = {start}
    frontier: list[tuple[str, ...]] = [(start,)]
    while frontier:
        reached: list[tuple[str, ...]] = []
        for path in frontier:
            for next_id in edges[path[-1]]:
                if next_id not in seen:
                    seen.add(next_id)
                    reached.append((*path, next_id))
        paths += reached
        frontier = reached
    return paths
