# SPDX-License-Identifier: Apache-2.0
"""The decision before the subject is known, held against deciding for every subject."""

from itertools import product
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model.country import NAMES
from proxy.model.decision import Effect
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.subject import Subject
from proxy.policy import partial as partial_module
from proxy.policy.attributes import Facts
from proxy.policy.evaluate import decide
from proxy.policy.partial import Partial, Verdict, decide_unresolved
from proxy.policy.policy import Policy
from proxy.policy.rules import Rule
from tests.support.policy_draws import FACTS, RULES, a_drawn_rule, a_grant, grants_for, with_part
from tests.support.policy_facts import EMPLOYEE, NOW, a_rule, some

CHECKED: Final = settings(max_examples=40)
COUNTRIES: Final[tuple[Fact[str], ...]] = ("JP", "CN", "KR", "HK", "US", "ZW", UNKNOWN)
IDS: Final[tuple[Fact[str], ...]] = ("a1", "b1", "azure", "z", UNKNOWN)
SUBJECTS: Final = tuple(
    Subject(country=country, id=id_, reference=reference)
    for country, id_, reference in product(COUNTRIES, IDS, ("", "users:1"))
)


def check(policy: Policy, facts: Facts, subjects: tuple[Subject, ...] = SUBJECTS) -> Partial:
    """Assert that what is said beforehand is what is decided of each subject."""
    partial = decide_unresolved(policy, facts)
    decisions = []
    for subject in subjects:
        decision = decide(policy, msgspec.structs.replace(facts, subject=subject))
        found = partial.find(subject)
        if found.effect is not None:
            assert found.effect is decision.effect, subject
            if decision.effect is Effect.ALLOW:
                assert found.transforms == frozenset(decision.transforms.items()), subject
        decisions.append(decision)
    if partial.verdict is Verdict.DENY:
        assert all(decision.effect is Effect.DENY for decision in decisions)
    if partial.verdict is Verdict.ALLOW:
        assert all(decision.effect is Effect.ALLOW and not decision.transforms for decision in decisions)
    return partial


@CHECKED
@given(RULES, FACTS, st.lists(a_drawn_rule(("deny",)), max_size=2), st.data())
def test_what_is_said_beforehand_is_what_is_decided(
    rules: list[Rule], facts: Facts, urgent: list[Rule], data: st.DataObject
) -> None:
    cuts = [
        msgspec.structs.replace(rule, id=f"emergency.{place}", is_liftable=False, is_shadow=False)
        for place, rule in enumerate(urgent)
    ]
    policy = Policy(rules, data.draw(grants_for(rules))).with_urgent(cuts)
    check(policy, facts)


def is_listed(rule: Rule) -> bool:
    """Whether the rule asks of the subject nothing but values."""
    lines = [*rule.when, *(line for block in rule.unless for line in block.conditions)]
    return not any(
        ("subject." in f"{line.attribute} {line.text}" and (line.attribute == "expr" or "glob" in line.text))
        for line in lines
    )


@CHECKED
@given(RULES, FACTS)
def test_nothing_is_left_open_where_lists_of_values_decide(rules: list[Rule], facts: Facts) -> None:
    partial = check(Policy([rule for rule in rules if is_listed(rule)]), facts)
    assert all(each.effect is not None and each.decision is not None for each in partial.classes)


@CHECKED
@given(RULES, FACTS)
def test_every_subject_is_in_just_one_class(rules: list[Rule], facts: Facts) -> None:
    partial = decide_unresolved(Policy(rules), facts)
    named = [country for each in partial.classes for country in each.country.named]
    pairs = [(each.country, each.id) for each in partial.classes]
    assert len(set(pairs)) == len(pairs)
    assert sum(each.country.is_unknown and each.id.is_unknown for each in partial.classes) == 1
    assert set(named) <= NAMES.keys()


JAPAN: Final = {"subject.country": "JP"}
STAFF: Final = a_rule("staff", "allow", {"caller.affiliate": "ly"})
ANY_SUBJECT: Final = (*(Subject(country=country) for country in NAMES), Subject())


@pytest.mark.parametrize(
    ("rules", "verdict"),
    [
        pytest.param([], "deny", id="no rule allows"),
        pytest.param([STAFF], "allow", id="whoever it is"),
        pytest.param([STAFF, a_rule("d", "deny")], "deny", id="whoever it is, denied"),
        pytest.param([STAFF, a_rule("d", "deny", JAPAN)], "by-record", id="all but one country"),
        pytest.param([a_rule("a", "allow", JAPAN)], "by-record", id="one country alone"),
        pytest.param([STAFF, a_rule("m", "mask", JAPAN)], "by-record", id="masked in one country"),
        pytest.param([STAFF, a_rule("m", "mask")], "by-record", id="masked everywhere"),
        pytest.param(
            [STAFF, a_rule("d", "deny", {**JAPAN, "caller.kind": "service"})], "allow", id="a rule that cannot hold"
        ),
        pytest.param(
            [STAFF, a_rule("d", "deny", {**JAPAN, "caller.residence": "CN"})], "by-record", id="a rule that may hold"
        ),
        pytest.param([a_rule("d", "deny"), a_rule("a", "allow", JAPAN)], "deny", id="denied before it is allowed"),
        pytest.param(
            [STAFF, a_rule("d", "deny", JAPAN), a_rule("e", "deny", {"subject.country": {"none": ["JP"]}})], "deny",
            id="two denials that leave nobody",
        ),
        pytest.param([STAFF, a_rule("d", "deny", {"subject.id": {"glob": "vip-*"}})], "by-record", id="a pattern"),
        pytest.param([STAFF, a_rule("d", "deny", {"expr": 'subject.id == "x"'})], "by-record", id="an expression"),
        pytest.param(
            [a_rule("d", "deny"), a_rule("e", "deny", {"subject.id": {"glob": "vip-*"}})], "deny",
            id="a pattern that no longer matters",
        ),
        pytest.param([STAFF, a_rule("d", "deny", JAPAN, mode="shadow")], "allow", id="a rule that is only watched"),
        pytest.param(
            [STAFF, a_rule("d", "deny", unless=[{**JAPAN, "caller.kind": "employee"}])], "by-record",
            id="an exception of two lines",
        ),
        pytest.param([STAFF, a_rule("d", "deny", {"subject.country": {"exists": "false"}})], "by-record",
                     id="a country that is known, or not"),
    ],
)  # fmt: skip
def test_the_verdict(rules: list[Rule], verdict: str) -> None:
    assert check(Policy(rules), EMPLOYEE, ANY_SUBJECT).verdict == verdict


@pytest.mark.parametrize(
    ("rules", "countries"),
    [
        pytest.param([], ["any other", "unknown"], id="nobody is named"),
        pytest.param([a_rule("d", "deny", JAPAN)], ["JP", "any other", "unknown"], id="one is"),
        pytest.param(
            [a_rule("d", "deny", {"subject.country": {"any": ["CN", "HK", "JP"]}}), a_rule("e", "deny", JAPAN)],
            ["CN, HK", "JP", "any other", "unknown"], id="two that no rule tells apart",
        ),
        pytest.param(
            [a_rule("d", "deny", JAPAN, unless=[{"subject.country": "KR", "case": "x"}])],
            ["JP", "KR", "any other", "unknown"], id="one inside an exception",
        ),
        pytest.param(
            [a_rule("d", "deny", {**JAPAN, "action": "delete"})], ["any other", "unknown"], id="only candidates name"
        ),
    ],
)  # fmt: skip
def test_the_classes_that_rules_tell_apart(rules: list[Rule], countries: list[str]) -> None:
    partial = decide_unresolved(Policy([STAFF, *rules]), EMPLOYEE)
    assert sorted({str(each.country) for each in partial.classes}) == sorted(countries)


def test_more_ids_than_are_worth_it_are_left_to_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_module, "MAX_CLASSES", 16)
    many = [f"u{number}" for number in range(16)]
    named = [a_rule(id_, "deny", {"subject.id": id_}) for id_ in many]
    rules = [STAFF, a_rule("d", "deny", JAPAN), *named]
    subjects = tuple(Subject(country=country, id=id_) for country in ("JP", "KR") for id_ in ("u1", "x", UNKNOWN))
    partial = check(Policy(rules), EMPLOYEE, subjects)
    assert len(partial.classes) == 6
    assert partial.verdict is Verdict.BY_RECORD
    assert partial.find(Subject(country="JP", id="x")).effect is Effect.DENY


LIFTABLE: Final = a_rule("masked", "mask", liftable="true")
SHUT: Final = a_rule("shut", "deny", JAPAN, liftable="true")
GRANTED: Final = msgspec.structs.replace(with_part(EMPLOYEE, "caller", principal="corp|carol"), time=NOW)


@pytest.mark.parametrize(
    ("facts", "rules", "effects"),
    [
        pytest.param(GRANTED, [SHUT, STAFF], {"JP": None, "KR": Effect.ALLOW}, id="a deny that some grant may lift"),
        pytest.param(GRANTED, [LIFTABLE, STAFF], {"JP": None, "KR": None}, id="a mask that some grant may lift"),
        pytest.param(GRANTED, [SHUT], {"JP": Effect.DENY, "KR": Effect.DENY}, id="no rule allows anyway"),
        pytest.param(
            GRANTED, [SHUT, STAFF, a_rule("d", "deny", JAPAN)], {"JP": Effect.DENY, "KR": Effect.ALLOW},
            id="another deny stays",
        ),
        pytest.param(
            EMPLOYEE, [SHUT, STAFF], {"JP": Effect.DENY, "KR": Effect.ALLOW}, id="a grant that cannot hold here"
        ),
    ],
)  # fmt: skip
def test_what_a_grant_may_lift_is_left_open(facts: Facts, rules: list[Rule], effects: dict[str, Any]) -> None:
    policy = Policy([*rules], [a_grant(lifts=["masked", "shut"])])
    partial = check(policy, with_part(facts, "resource", data=some("user.name")))
    assert {country: partial.find(Subject(country=country, id="x")).effect for country in effects} == effects


@pytest.mark.parametrize(
    ("cut", "effect"),
    [
        pytest.param(None, Effect.DENY, id="denied by what is in force"),
        pytest.param(a_rule("cut", "deny", JAPAN), Effect.DENY, id="denied by an emergency rule"),
        pytest.param(a_rule("cut", "deny", {"subject.country": "KR"}), None, id="left open by one for another country"),
    ],
)
def test_an_emergency_deny_settles_what_a_pattern_leaves_open(cut: Rule | None, effect: Effect | None) -> None:
    firm = [] if cut else [a_rule("firm", "deny", JAPAN)]
    policy = Policy([STAFF, a_rule("vip", "mask", {"subject.id": {"glob": "vip-*"}}), *firm])
    policy = policy if cut is None else policy.with_urgent([cut])
    partial = check(policy, with_part(EMPLOYEE, "resource", data=some("user.name")))
    assert partial.find(Subject(country="JP", id="x")).effect is effect
