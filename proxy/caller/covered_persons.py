# SPDX-License-Identifier: Apache-2.0
"""Which paragraph of 28 CFR 202.211(a) a caller falls under, as a control rule with ``paragraphs`` computes it.

1. An entity that is organised, or has its principal place of business, in a country of concern; or that states of
   concern or persons of (2) own by the rule's threshold, alone or together.
2. An entity that persons of (1), (3), (4) or (5) own by the threshold, alone or together.
3. An individual who is an employee or a contractor of a country of concern, or of an entity of (1), (2) or (5).
4. An individual who is primarily a resident of a country of concern.
5. Whoever the Attorney General has designated: the affiliates that the rule lists.

Foreign persons only: an entity of a ``domestic`` country and a person who lives there are none, whoever owns or
employs them, unless they are designated. An entity that could be covered through somebody undisclosed may fall under
any paragraph: the set is open. Which countries are of concern is data of the rule.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from proxy.caller.control import compute_control
from proxy.caller.holdings import STATE, ZERO, Entity, Order
from proxy.caller.ownership import Controlled, Rule
from proxy.model.facts import EMPTY_SET, UNKNOWN, Fact, FactSet, State

US_28_CFR_202_211: Final = "us-28cfr202.211"
_DESIGNATED: Final = "designated"
"""Stands for the country of a designated entity, which is of concern wherever it is."""
_OPEN: Final = FactSet(frozenset(), is_open=True)


class Law(msgspec.Struct, frozen=True):
    """The data of one rule with paragraphs."""

    concern: frozenset[str]
    """Countries of concern."""
    domestic: frozenset[str] = frozenset()
    """Countries whose entities and residents are no foreign persons."""
    designated: frozenset[str] = frozenset()
    """Affiliates."""


def classify_entities(
    entities: Mapping[str, Entity], order: Order, rule: Rule, law: Law, controlled: Mapping[str, Controlled]
) -> dict[str, FactSet]:
    """Return the paragraphs that each entity falls under by itself.

    Args:
        entities: the register.
        order: owners first.
        rule: the rule; its countries are those of concern.
        law: the rest of the rule.
        controlled: what the rule says of each entity.
    """
    if law.designated:
        marked = {
            id_: msgspec.structs.replace(entity, country=_DESIGNATED) if id_ in law.designated else entity
            for id_, entity in entities.items()
        }
        with_designated = msgspec.structs.replace(rule, countries=law.concern | {_DESIGNATED})
        controlled = compute_control(marked, with_designated, order)
    paragraphs: dict[str, FactSet] = {}
    labels: dict[str, frozenset[str]] = {}
    same: dict[FactSet, FactSet] = {}
    for part in order.parts:
        growing = True
        while growing:
            before = [labels.get(id_) for id_ in part]
            for id_ in part:
                is_owned = any(each in law.concern or each == _DESIGNATED for each in controlled[id_].countries)
                own = {"5"} if id_ in law.designated else set[str]()
                if entities[id_].country in law.concern:
                    own.add("1")
                labels[id_] = _add_owned(own, entities[id_], rule, law, labels) if is_owned else frozenset(own)
            growing = len(part) > 1 and before != [labels[id_] for id_ in part]
        for id_ in part:
            is_foreign = entities[id_].country not in law.domestic or id_ in law.designated
            found = FactSet(labels[id_], controlled[id_].is_open) if is_foreign else EMPTY_SET
            paragraphs[id_] = same.setdefault(found, found)
    return paragraphs


_NEITHER: Final = frozenset[str]()


def _add_owned(
    own: set[str], entity: Entity, rule: Rule, law: Law, labels: Mapping[str, frozenset[str]]
) -> frozenset[str]:
    """Return the paragraphs of an entity that is owned, as if it were a foreign person: what it owns may be one.

    Args:
        own: what it falls under whoever owns it.
        entity: the entity.
        rule: the rule.
        law: the rest of the rule.
        labels: paragraphs of its owners, as far as they are told yet.
    """
    of = {holding.owner: labels.get(holding.owner, _NEITHER) for holding in entity.owners}
    states = {owner for owner in of if owner.startswith(STATE) and owner.removeprefix(STATE) in law.concern}
    if _reach(entity, rule, states | {owner for owner, label in of.items() if "2" in label}):
        return frozenset(own | {"1"})
    if not own or _reach(entity, rule, {owner for owner, label in of.items() if label & {"1", "5"}} - states):
        return frozenset(own | {"2"})
    return frozenset(own)


def _reach(entity: Entity, rule: Rule, owners: set[str]) -> bool:
    if not owners:
        return False
    return any(
        rule.reaches(sum((holding.low for holding in holdings if holding.owner in owners), ZERO))
        for holdings in rule.tallies(entity.owners)
    )


def covered_person(law: Law, entity: Fact[FactSet], kind: Fact[str], residence: Fact[str]) -> FactSet:
    """Return the paragraphs that a caller falls under.

    Args:
        law: the rule.
        entity: those of the caller's affiliate; unknown where that is.
        kind: employee, contractor or service.
        residence: where the caller lives.
    """
    of_entity = _OPEN if isinstance(entity, State) else entity
    if kind == "service":
        return of_entity
    person = _individual(law, of_entity, residence)
    if isinstance(kind, State):
        return FactSet(person.members | of_entity.members, person.is_open or of_entity.is_open)
    return person


def _individual(law: Law, entity: FactSet, residence: Fact[str]) -> FactSet:
    if not isinstance(residence, State) and residence in law.domestic:
        return EMPTY_SET
    members = {"3"} if entity.members else set[str]()
    if not isinstance(residence, State) and residence in law.concern:
        members.add("4")
    return FactSet(frozenset(members), entity.is_open or residence is UNKNOWN)
