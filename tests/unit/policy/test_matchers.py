# SPDX-License-Identifier: Apache-2.0
import pickle
from collections.abc import Callable, Iterator
from itertools import chain, combinations
from typing import Any

import msgspec
import pytest

from proxy.model.caller import UNAUTHENTICATED, Caller, Tie
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Fact, FactSet, Truth
from proxy.policy.attributes import Facts
from proxy.policy.matchers import (
    AnyIn,
    ClaimOf,
    ControlOf,
    Exists,
    Glob,
    HasAll,
    InBlocks,
    NoneIn,
    NoneOf,
    OfCategories,
    OneOf,
    OnlyIn,
    TiesBy,
    Within,
    conjunction,
    negate,
)
from proxy.policy.matchers import (
    Test as Matcher,
)
from tests.support.policy_facts import EMPLOYEE, facts_of, some

CHINA = frozenset({"CN", "HK"})
SETS: dict[str, Callable[[frozenset[str]], Matcher]] = {"any": AnyIn, "none": NoneIn, "only": OnlyIn, "has_all": HasAll}


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
    assert OneOf(CHINA)(fact) is any_
    assert NoneOf(CHINA)(fact) is none


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
    assert AnyIn(CHINA)(fact) is any_
    assert NoneIn(CHINA)(fact) is none
    assert OnlyIn(CHINA)(fact) is only


@pytest.mark.parametrize("matcher", ["any", "none", "only", "has_all"])
def test_a_set_matcher_answers_just_where_every_completion_agrees(matcher: str) -> None:
    """The oracle: an open set is every set it could be; ``z`` is a member nobody thought of."""
    classical: Callable[[frozenset[str], frozenset[str]], bool] = {
        "any": lambda members, values: bool(members & values),
        "none": lambda members, values: not members & values,
        "only": lambda members, values: members <= values,
        "has_all": lambda members, values: values <= members,
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


@pytest.mark.parametrize("matcher", ["any", "none", "only", "has_all"])
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
    assert OfCategories(frozenset({named}), "any")(fact) is any_
    assert OfCategories(frozenset({named}), "none")(fact) is none
    assert OfCategories(frozenset({named}), "only")(fact) is only


@pytest.mark.parametrize(("truth", "negated"), [(True, False), (False, True), (None, None)])
def test_negation_leaves_unknown_unknown(truth: Truth, negated: Truth) -> None:
    assert negate(truth) is negated


def facts_of_caller(caller: Caller) -> Facts:
    return msgspec.structs.replace(EMPLOYEE, caller=caller)


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
    assert AnyIn(CHINA)(TiesBy(frozenset(labels))(facts_of_caller(caller))) is expected


def test_a_kind_whose_register_is_complete_and_empty_ties_to_nothing() -> None:
    # The list of subcontractors is complete by its law (caller/affiliates.py): no line there, no tie.
    caller = tied(("employer", "JP"))
    assert AnyIn(CHINA)(TiesBy(frozenset({"subcontractor"}))(facts_of_caller(caller))) is False


A, B = frozenset({"a"}), frozenset({"a", "b"})
GLOB = Glob((("a", "b", "c"),))
BLOCKS = InBlocks(((4, 0x0A000000, 0x0AFFFFFF), (6, 1 << 32, (1 << 33) - 1)))


@pytest.mark.parametrize(
    ("test", "absent", "unknown", "not_applicable"),
    [
        pytest.param(OneOf(A), False, None, False, id="a value"),
        pytest.param(NoneOf(A), True, None, False, id="none of values"),
        pytest.param(Exists(wanted=True), False, None, False, id="there"),
        pytest.param(Exists(wanted=False), True, None, False, id="not there"),
        pytest.param(GLOB, False, None, False, id="a pattern"),
        pytest.param(BLOCKS, False, None, False, id="a block of addresses"),
        pytest.param(Within(0, 1), False, None, False, id="a time"),
        pytest.param(AnyIn(A), False, None, False, id="any of a set"),
        pytest.param(HasAll(A), False, None, False, id="all of a set"),
        pytest.param(NoneIn(A), True, None, False, id="none of a set"),
        pytest.param(OnlyIn(A), True, None, False, id="only of a set"),
        pytest.param(OfCategories(A, "any"), False, None, False, id="any of categories"),
        pytest.param(OfCategories(A, "has_all"), False, None, False, id="all of categories"),
        pytest.param(OfCategories(A, "none"), True, None, False, id="none of categories"),
        pytest.param(OfCategories(A, "only"), True, None, False, id="only of categories"),
    ],
)
def test_every_matcher_in_every_state_but_known(
    test: Matcher, absent: Truth, unknown: Truth, not_applicable: Truth
) -> None:
    assert (test(ABSENT), test(UNKNOWN), test(NOT_APPLICABLE)) == (absent, unknown, not_applicable)
    assert pickle.loads(pickle.dumps(test)) == test  # noqa: S301 - our own
    assert hash(pickle.loads(pickle.dumps(test))) == hash(test)  # noqa: S301


@pytest.mark.parametrize(
    ("test", "fact", "truth"),
    [
        pytest.param(Exists(wanted=True), "x", True, id="there"),
        pytest.param(Exists(wanted=False), "x", False, id="there, and should not be"),
        pytest.param(Exists(wanted=True), "", True, id="an empty text is a text"),
        pytest.param(GLOB, "abc", True, id="a pattern whose stars stand for nothing"),
        pytest.param(GLOB, "axbxc", True, id="for something"),
        pytest.param(GLOB, "ac", False, id="without its middle"),
        pytest.param(GLOB, "xabc", False, id="with more before it"),
        pytest.param(GLOB, "abcx", False, id="with more behind it"),
        pytest.param(GLOB, "ABC", False, id="in capitals"),
        pytest.param(Glob((("ab", "ba"),)), "aba", False, id="begin and end do not overlap"),
        pytest.param(Glob((("", "b", ""),)), "abc", True, id="stars at both ends"),
        pytest.param(Glob((("x", ""), ("a", ""))), "abc", True, id="the second of two patterns"),
        pytest.param(Glob((("a", "b", "b", ""),)), "ab", False, id="one letter for two pieces"),
        pytest.param(BLOCKS, "10.255.255.255", True, id="the last address of a block"),
        pytest.param(BLOCKS, "11.0.0.0", False, id="the next"),
        pytest.param(BLOCKS, "::1:0:0", True, id="of the other version"),
        pytest.param(BLOCKS, "::a00:1", False, id="the same number in the other version"),
        pytest.param(BLOCKS, "no address", None, id="no address"),
        pytest.param(Within(1, 2), 1.0, True, id="the first instant"),
        pytest.param(Within(1, 2), 2.0, False, id="the last"),
        pytest.param(Within(1, 2), 0.9, False, id="before"),
        pytest.param(HasAll(B), some("a", "b", "c"), True, id="all, and more"),
        pytest.param(HasAll(B), some("a"), False, id="one is missing"),
        pytest.param(HasAll(B), some("a", is_open=True), None, id="one may be hidden"),
        pytest.param(OfCategories(frozenset({NAME, PHONE}), "has_all"), some(NAME, PHONE), True, id="both categories"),
        pytest.param(OfCategories(frozenset({NAME, PHONE}), "has_all"), some(NAME), False, id="one category"),
        pytest.param(
            OfCategories(frozenset({NAME, PHONE}), "has_all"), some(NAME, CONTACT), None, id="an ancestor of one"
        ),
    ],
)
def test_a_matcher_of_a_known_fact(test: Matcher, fact: Any, truth: Truth) -> None:
    assert test(fact) is truth


@pytest.mark.parametrize(
    ("truths", "all_"),
    [([], True), ([True, None], None), ([None, False], False), ([False, None], False), ([True, True], True)],
)
def test_conjunction(truths: list[Truth], all_: Truth) -> None:
    assert conjunction(truths) is all_


@pytest.mark.parametrize(
    ("caller", "fact"),
    [
        pytest.param({"affiliate": "ly", "claims": {"amr": "x"}}, "x", id="a claim that was said"),
        pytest.param({"affiliate": "ly", "claims": {"amr": ABSENT}}, ABSENT, id="one that is known to be none"),
        pytest.param({"affiliate": "ly"}, UNKNOWN, id="one that nobody said"),
        pytest.param({"affiliate": NOT_APPLICABLE}, NOT_APPLICABLE, id="of nobody in particular"),
    ],
)
def test_a_claim_of_the_bundles_own(caller: dict[str, Any], fact: Any) -> None:
    assert ClaimOf("amr")(facts_of(caller)) == fact


def test_control_of_a_rule_reads_the_part_that_is_asked_for() -> None:
    assert ControlOf("majority", "owners")(EMPLOYEE) == some("a-holdings")
    assert ControlOf("majority", "countries")(EMPLOYEE) == some("JP")
