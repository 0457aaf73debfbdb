# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable, Iterator
from itertools import chain, combinations

import pytest

from proxy.model.caller import UNAUTHENTICATED, Caller, Tie
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Fact, FactSet, Truth
from proxy.policy.matchers import (
    Test,
    any_in,
    negate,
    none_in,
    none_of,
    of_categories,
    one_of,
    only_in,
    ties_by,
)
from tests.support.policy_facts import some

CHINA = frozenset({"CN", "HK"})
SCALARS: dict[str, Callable[[frozenset[str]], Test]] = {"any": one_of, "none": none_of}
SETS: dict[str, Callable[[frozenset[str]], Test]] = {"any": any_in, "none": none_in, "only": only_in}


def subsets(universe: str) -> Iterator[frozenset[str]]:
    return map(frozenset, chain.from_iterable(combinations(universe, size) for size in range(len(universe) + 1)))


@pytest.mark.parametrize(
    ("fact", "any_", "none"),
    [
        pytest.param("CN", True, False, id="a known value that is named"),
        pytest.param("JP", False, True, id="a known value that is not named"),
        pytest.param("cn", False, True, id="letter case is not forgiven"),
        pytest.param(ABSENT, False, True, id="absent is none of them"),
        pytest.param(UNKNOWN, None, None, id="unknown could be any of them"),
        pytest.param(NOT_APPLICABLE, False, False, id="not applicable makes both false"),
    ],
)
def test_a_scalar_in_every_state(fact: Fact[str], any_: Truth, none: Truth) -> None:
    assert one_of(CHINA)(fact) is any_
    assert none_of(CHINA)(fact) is none


@pytest.mark.parametrize(
    ("fact", "any_", "none", "only"),
    [
        pytest.param(some("CN"), True, False, True, id="closed, all inside"),
        pytest.param(some("CN", "JP"), True, False, False, id="closed, one inside and one outside"),
        pytest.param(some("JP"), False, True, False, id="closed, all outside"),
        pytest.param(some(), False, True, True, id="closed and empty"),
        pytest.param(some("CN", is_open=True), True, False, None, id="open, the known one inside"),
        pytest.param(some("CN", "JP", is_open=True), True, False, False, id="open, one inside and one outside"),
        pytest.param(some("JP", is_open=True), None, None, False, id="open, the known one outside"),
        pytest.param(some(is_open=True), None, None, None, id="open and nothing known"),
        pytest.param(ABSENT, False, True, True, id="absent is the empty set"),
        pytest.param(UNKNOWN, None, None, None, id="unknown"),
        pytest.param(NOT_APPLICABLE, False, False, False, id="not applicable makes all false"),
    ],
)
def test_a_set_in_every_state(fact: Fact[FactSet], any_: Truth, none: Truth, only: Truth) -> None:
    assert any_in(CHINA)(fact) is any_
    assert none_in(CHINA)(fact) is none
    assert only_in(CHINA)(fact) is only


@pytest.mark.parametrize("matcher", ["any", "none", "only"])
def test_a_set_matcher_answers_just_where_every_completion_agrees(matcher: str) -> None:
    """The oracle: an open set is every set it could be; ``z`` is a member nobody thought of."""
    classical: Callable[[frozenset[str], frozenset[str]], bool] = {
        "any": lambda members, values: bool(members & values),
        "none": lambda members, values: not members & values,
        "only": lambda members, values: members <= values,
    }[matcher]
    for values in subsets("abc"):
        if not values:
            continue
        for members in subsets("abc"):
            for is_open in (False, True):
                hidden = subsets("abcz") if is_open else iter([frozenset[str]()])
                answers = {classical(members | more, values) for more in hidden}
                expected = answers.pop() if len(answers) == 1 else None
                assert SETS[matcher](values)(FactSet(members, is_open)) is expected, (values, members, is_open)


@pytest.mark.parametrize("matcher", ["any", "none", "only"])
def test_hiding_a_member_never_turns_an_answer_round(matcher: str) -> None:
    for values in subsets("abc"):
        test = SETS[matcher](values)
        for members in subsets("abc"):
            before = test(FactSet(members))
            for kept in (members - {member} for member in members):
                assert test(FactSet(kept, is_open=True)) in {before, None}
            assert test(FactSet(members, is_open=True)) in {before, None}
            assert test(UNKNOWN) is None


NAME, CONTACT, PHONE = "user.name", "user.contact", "user.contact.phone_number"


@pytest.mark.parametrize(
    ("named", "fact", "any_", "none", "only"),
    [
        pytest.param(PHONE, some(PHONE), True, False, True, id="the category itself"),
        pytest.param(CONTACT, some(PHONE), True, False, True, id="a category below the named one"),
        pytest.param(PHONE, some(CONTACT), None, None, None, id="an ancestor may or may not hold it"),
        pytest.param(PHONE, some(CONTACT, NAME), None, None, False, id="an ancestor, and one that is outside"),
        pytest.param(PHONE, some(CONTACT, PHONE), True, False, None, id="an ancestor, and the named one"),
        pytest.param(CONTACT, some(NAME), False, True, False, id="a sibling"),
        pytest.param("user.con", some(PHONE), False, True, False, id="a prefix of the letters is no ancestor"),
        pytest.param("user.contacts", some(CONTACT), False, True, False, id="nor a word that begins with it"),
        pytest.param(CONTACT, some(), False, True, True, id="no data at all"),
        pytest.param(CONTACT, some(is_open=True), None, None, None, id="fields that nobody declared"),
        pytest.param(CONTACT, some(PHONE, is_open=True), True, False, None, id="one declared, others not"),
        pytest.param(CONTACT, some(NAME, is_open=True), None, None, False, id="one outside, others not declared"),
        pytest.param(CONTACT, ABSENT, False, True, True, id="absent is the empty set"),
        pytest.param(CONTACT, UNKNOWN, None, None, None, id="unknown"),
        pytest.param(CONTACT, NOT_APPLICABLE, False, False, False, id="not applicable makes all false"),
    ],
)
def test_categories(named: str, fact: Fact[FactSet], any_: Truth, none: Truth, only: Truth) -> None:
    assert of_categories([named], "any")(fact) is any_
    assert of_categories([named], "none")(fact) is none
    assert of_categories([named], "only")(fact) is only


@pytest.mark.parametrize(("truth", "negated"), [(True, False), (False, True), (None, None)])
def test_negation_leaves_unknown_unknown(truth: Truth, negated: Truth) -> None:
    assert negate(truth) is negated


def tied(*ties: tuple[str, str], open_ties: tuple[str, ...] = ()) -> Caller:
    return Caller(
        countries=some("JP"),
        ties=tuple(Tie(label, country) for label, country in ties),
        open_ties=frozenset(open_ties),
    )


@pytest.mark.parametrize(
    ("labels", "caller", "expected"),
    [
        pytest.param({"employer"}, tied(("employer", "CN")), True, id="the kind that is asked for"),
        pytest.param({"employer"}, tied(("employer", "JP"), ("residence", "CN")), False, id="another kind"),
        pytest.param({"control"}, tied(("control.majority", "CN")), True, id="a kind stands for all its rules"),
        pytest.param({"control.majority"}, tied(("control.majority", "CN")), True, id="one rule by name"),
        pytest.param(
            {"control.minor"},
            tied(("control.majority", "CN"), ("control.minor", "JP")),
            False,
            id="another rule's tie does not count",
        ),
        pytest.param({"residence"}, tied(open_ties=("residence",)), None, id="a residence nobody told"),
        pytest.param({"employer"}, tied(("employer", "JP"), open_ties=("residence",)), False, id="open elsewhere"),
        pytest.param(
            {"control"}, tied(("control.majority", "JP"), open_ties=("control.majority",)), None, id="an open rule"
        ),
        pytest.param({"employer"}, Caller(), None, id="a caller of whom nothing is known"),
        pytest.param({"employer"}, UNAUTHENTICATED, False, id="nobody on an unauthenticated route"),
    ],
)
def test_ties_by_kind(labels: set[str], caller: Caller, expected: Truth) -> None:
    assert any_in(CHINA)(ties_by(frozenset(labels))(caller)) is expected


def test_a_kind_whose_register_is_complete_and_empty_ties_to_nothing() -> None:
    # The list of subcontractors is complete by its law (caller/affiliates.py): no line there, no tie.
    caller = tied(("employer", "JP"))
    assert any_in(CHINA)(ties_by(frozenset({"subcontractor"}))(caller)) is False
