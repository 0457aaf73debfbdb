# SPDX-License-Identifier: Apache-2.0
"""The paragraphs of 28 CFR 202.211(a), one by one."""

from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.caller.control import compute_control
from proxy.caller.covered_persons import Law, classify_entities, covered_person
from proxy.caller.holdings import Entity, exact, order_owners
from proxy.caller.ownership import Rule
from proxy.model.caller import KINDS
from proxy.model.facts import EMPTY_SET, NOT_APPLICABLE, UNKNOWN, Fact, FactSet

CONCERN: Final = frozenset({"CN", "RU"})
LAW: Final = Law(CONCERN, frozenset({"US"}), frozenset({"listed"}))


def graph(*lines: str) -> dict[str, Entity]:
    """Read lines such as ``a JP complete x:50``; ``state:CN:50`` is a state."""
    entities = {"state:CN": Entity("CN", complete=True)}
    for line in lines:
        words = line.split()
        owners = tuple(exact(*word.rsplit(":", 1)) for word in words if ":" in word)
        entities[words[0]] = Entity(words[1], "home" in words, owners, "open" not in words, Decimal(0))
        rest = 100 - sum((each.low for each in owners), Decimal(0))
        if owners and "open" not in words:
            entities[words[0]] = Entity(words[1], "home" in words, owners, complete=True, dispersed=rest)
    return entities


def classify(*lines: str, law: Law = LAW) -> dict[str, FactSet]:
    entities = graph(*lines)
    rule, order = Rule(Decimal(50), countries=CONCERN), order_owners(entities)
    return classify_entities(entities, order, rule, law, compute_control(entities, rule, order))


ENTITIES: Final = {
    "one that is organised in a country of concern": (("e CN",), "1"),
    "one that a state of concern owns by half": (("e SG state:CN:50",), "1"),
    "one that an entity of (1) owns by half": (("x CN", "e SG x:50"), "2"),
    "one that an entity of (2) owns by half": (("x CN", "y SG x:50", "e SG y:50"), "1"),
    "one that two countries of concern own by half together": (("x CN", "y RU", "e SG x:25 y:25"), "2"),
    "one that a state and an entity own by half together": (("x CN", "e SG x:25 state:CN:25"), "2"),
    "one in a country of concern that another one there owns": (("x CN", "e CN x:100"), "12"),
    "one that is designated": (("listed SG",), ""),
    "one that a designated entity owns": (("listed SG", "e JP listed:60"), "2"),
    "one that they own by less than half": (("x CN", "e SG x:49"), ""),
    "a domestic one, whoever owns it": (("x CN", "e US x:100"), ""),
    "one below a domestic one, as if that were foreign": (("x CN", "u US x:100", "e SG u:100"), "1"),
    "home, whoever owns it": (("x CN", "e JP home x:100"), ""),
    "one in a circle that an entity of (1) reaches": (("x CN", "y SG x:50 e:10", "e SG y:60"), "1"),
}


@pytest.mark.parametrize(("lines", "paragraphs"), ENTITIES.values(), ids=ENTITIES)
def test_an_entity_falls_under(lines: tuple[str, ...], paragraphs: str) -> None:
    found = classify(*lines).get("e", EMPTY_SET)
    assert found == FactSet(frozenset(paragraphs))


def test_who_is_designated_falls_under_5() -> None:
    assert classify("listed US")["listed"] == FactSet(frozenset({"5"}))


def test_an_entity_of_undisclosed_owners_may_be_covered() -> None:
    assert classify("e SG open")["e"] == FactSet(frozenset(), is_open=True)


ONE, NOBODY, ANY = FactSet(frozenset({"1"})), EMPTY_SET, FactSet(frozenset(), is_open=True)
PERSONS: Final[dict[str, tuple[Any, Any, Any, FactSet]]] = {
    "an employee of an entity of (1)": (ONE, "employee", "SG", FactSet(frozenset({"3"}))),
    "a contractor of one": (ONE, "contractor", "SG", FactSet(frozenset({"3"}))),
    "a resident of a country of concern": (NOBODY, "employee", "CN", FactSet(frozenset({"4"}))),
    "both at once": (ONE, "employee", "RU", FactSet(frozenset({"3", "4"}))),
    "neither": (NOBODY, "employee", "SG", EMPTY_SET),
    "an employee who lives in the United States": (ONE, "employee", "US", EMPTY_SET),
    "an employee whose residence is not known": (ONE, "employee", UNKNOWN, FactSet(frozenset({"3"}), is_open=True)),
    "somebody whose affiliate is not known": (UNKNOWN, "employee", "CN", FactSet(frozenset({"4"}), is_open=True)),
    "an employee of one that may be covered": (ANY, "employee", "SG", ANY),
    "a service of an entity of (1)": (ONE, "service", NOT_APPLICABLE, ONE),
    "a service of nobody": (NOBODY, "service", NOT_APPLICABLE, EMPTY_SET),
    "somebody of whom it is not known what it is": (ONE, UNKNOWN, "SG", FactSet(frozenset({"1", "3"}))),
}


@pytest.mark.parametrize(("entity", "kind", "residence", "expected"), PERSONS.values(), ids=PERSONS)
def test_a_caller_falls_under(entity: Fact[FactSet], kind: Any, residence: Any, expected: FactSet) -> None:
    assert covered_person(LAW, entity, kind, residence) == expected


SETS = st.builds(FactSet, st.frozensets(st.sampled_from("125"), max_size=2), st.booleans())


@given(SETS, st.sampled_from(KINDS), st.sampled_from(["CN", "SG", "US"]), st.integers(0, 2))
def test_what_becomes_unknown_excuses_nobody(entity: FactSet, kind: str, residence: str, gone: int) -> None:
    facts: list[Any] = [entity, kind, residence]
    before = covered_person(LAW, *facts)
    facts[gone] = UNKNOWN
    after = covered_person(LAW, *facts)
    assert before.members <= after.members or after.is_open
    assert after.is_open or not before.is_open
