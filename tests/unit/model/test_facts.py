# SPDX-License-Identifier: Apache-2.0

import pytest

from proxy.model.facts import ABSENT, EMPTY_SET, NOT_APPLICABLE, UNKNOWN, FactSet, State, describe, known


@pytest.mark.parametrize("state", State)
def test_a_state_is_no_known_value(state: State) -> None:
    assert known(state) is None


@pytest.mark.parametrize("value", ["JP", "", "unknown", 0, False, EMPTY_SET], ids=repr)
def test_a_value_is_known_even_if_it_is_empty(value: object) -> None:
    assert known(value) is value


def test_the_states_differ_from_each_other_and_from_every_text() -> None:
    assert len({ABSENT, UNKNOWN, NOT_APPLICABLE}) == len(State)
    assert not set(State) & {state.value for state in State}


DESCRIBED = {
    "a value": ("JP", "JP"),
    "absent": (ABSENT, "absent"),
    "unknown": (UNKNOWN, "unknown"),
    "not applicable": (NOT_APPLICABLE, "not applicable"),
    "a set, in order": (FactSet(frozenset({"KR", "CN"})), "CN, KR"),
    "an open set": (FactSet(frozenset({"CN"}), is_open=True), "CN, and possibly others"),
    "an empty set": (EMPTY_SET, "none"),
    "an empty open set": (FactSet(frozenset(), is_open=True), "none, and possibly others"),
}


@pytest.mark.parametrize(("fact", "text"), DESCRIBED.values(), ids=DESCRIBED)
def test_describe(fact: object, text: str) -> None:
    assert describe(fact) == text


def test_an_open_set_is_not_the_closed_one() -> None:
    assert FactSet(frozenset({"CN"}), is_open=True) != FactSet(frozenset({"CN"}))
    assert hash(FactSet(frozenset({"CN", "KR"}))) == hash(FactSet(frozenset({"KR", "CN"})))


def test_a_set_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        EMPTY_SET.is_open = True  # type: ignore[misc]
