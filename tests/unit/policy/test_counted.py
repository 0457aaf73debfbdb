# SPDX-License-Identifier: Apache-2.0
from collections.abc import Mapping
from typing import Any, Final

import pytest

from proxy.model.caller import UNAUTHENTICATED, Caller, Person
from proxy.model.counts import MAX_LIMIT, TALLIES, Counts
from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, Fact
from proxy.model.subject import NO_SUBJECT, Subject
from proxy.policy.attributes import ATTRIBUTES, COUNTS, Resource
from proxy.policy.compile import compile_rule
from proxy.policy.counted import find_counted, find_counting, find_states, whose_count
from proxy.policy.evaluate import decide
from proxy.policy.policy import Policy
from proxy.policy.rules import Rule
from tests.support.policy_draws import a_grant
from tests.support.policy_facts import EMPLOYEE, VOCABULARY, entry_of, some, sound

USER: Final = Resource("users", "user", some("user.name"), "JP", "read")
EXPORT: Final = Resource("users", "export", some("user.name"), "JP", "export")
OTHER: Final = Resource("orders", "order", some(), "JP", "read")


def a_rule(when: Mapping[str, Any], effect: str = "deny", **more: Any) -> Rule:
    return sound(compile_rule(entry_of("r", effect, when=dict(when), **more), VOCABULARY))


def counted(*rules: Rule, policy: Policy | None = None) -> dict[str, dict[str, int]]:
    found = find_counted(policy or Policy(rules), (USER, EXPORT, OTHER))
    return {api: {each.tally.name: each.at_most for each in asked} for api, asked in found.items()}


def test_every_tally_is_an_attribute_and_a_field() -> None:
    assert [name for name in ATTRIBUTES if name.startswith(COUNTS)] == [f"{COUNTS}{name}" for name in TALLIES]
    assert Counts.__struct_fields__ == tuple(TALLIES)


def test_without_a_rule_that_asks_nothing_is_counted() -> None:
    assert counted(a_rule({"subject.country": "JP"}), a_rule({"caller.kind": "employee"}, "allow")) == {}


WHERE: Final[dict[str, tuple[Mapping[str, Any], dict[str, Any]]]] = {
    "a rule for all APIs": ({}, {"users": {"subjects_1h": 101}, "orders": {"subjects_1h": 101}}),
    "a rule for one route is counted on all routes of its API": (
        {"resource.route": "user"},
        {"users": {"subjects_1h": 101}},
    ),
    "a rule for an action": ({"action": "export"}, {"users": {"subjects_1h": 101}}),
    "a rule for no route that there is": ({"resource.route": "user", "action": "export"}, {}),
    "a rule for data that may be there": ({"resource.data": {"any": ["user.name"]}}, {"users": {"subjects_1h": 101}}),
}


@pytest.mark.parametrize(("when", "expected"), WHERE.values(), ids=WHERE)
def test_it_is_counted_where_a_rule_can_ask(when: Mapping[str, Any], expected: dict[str, Any]) -> None:
    assert counted(a_rule({"counts.subjects_1h": {"gt": "100"}, **when})) == expected


def test_the_largest_number_that_rules_tell_apart_is_held() -> None:
    rules = (
        a_rule({"counts.subjects_1h": {"gt": "10"}}).renamed("a"),
        a_rule({"counts.subjects_1h": {"gt": "100"}}).renamed("b"),
        a_rule({"counts.subjects_1h": {"lt": "200"}}, "allow").renamed("c"),
        a_rule({"counts.requests_1m": {"gt": str(MAX_LIMIT)}, "resource.api": "users"}).renamed("d"),
    )
    (asked,) = [each for each in find_counted(Policy(rules), (USER,))["users"] if each.tally.name == "subjects_1h"]
    assert (asked.at_least, asked.at_most) == (11, 200)
    largest = MAX_LIMIT + 1
    assert counted(*rules) == {"users": {"subjects_1h": 200, "requests_1m": largest}, "orders": {"subjects_1h": 200}}
    assert sorted(find_counting(Policy(rules))) == ["a", "b", "c", "d"]


LIMITED: Final = {"counts.requests_1m": {"gt": "5"}}
ALSO: Final[dict[str, Policy]] = {
    "an exception": Policy([a_rule({"caller.kind": "employee"}, "allow", unless=[LIMITED])]),
    "an exception of several conditions": Policy(
        [a_rule({"caller.kind": "employee"}, "allow", unless=[{**LIMITED, "subject.country": "JP"}])]
    ),
    "a rule in shadow mode": Policy([a_rule(LIMITED, mode="shadow")]),
    "an emergency deny": Policy([]).with_urgent([a_rule(LIMITED)]),
    "a grant": Policy([], [a_grant(when={"counts.requests_1m": {"lt": "6"}})]),
}


@pytest.mark.parametrize("policy", ALSO.values(), ids=ALSO)
def test_it_is_counted_for_all_that_asks(policy: Policy) -> None:
    assert counted(policy=policy)["users"] == {"requests_1m": 6}


BOB: Final = Person(principal="corp|bob")
WHOSE: Final[dict[str, tuple[Caller, Fact[str]]]] = {
    "whoever calls": (Caller(principal="corp|alice"), "corp|alice"),
    "the person for whom a service acts": (Caller(principal="corp|console", on_behalf_of=BOB), "corp|bob"),
    "a service of which nobody says for whom": (Caller(principal="corp|console"), "corp|console"),
    "nobody knows who": (Caller(), UNKNOWN),
    "nobody in particular": (UNAUTHENTICATED, NOT_APPLICABLE),
}


@pytest.mark.parametrize(("caller", "expected"), WHOSE.values(), ids=WHOSE)
def test_a_request_is_counted_for(caller: Caller, expected: Fact[str]) -> None:
    assert whose_count(caller) == expected


BY_COUNTRY: Final = {"country_subjects_1h", "country_subjects_24h"}
OF_SUBJECTS: Final = BY_COUNTRY | {"subjects_1h", "subjects_24h"}
STATES: Final[dict[str, tuple[Subject, dict[str, Any]]]] = {
    "all is known": (Subject(country="JP", id="42"), {}),
    "the country is not known": (Subject(id="42"), dict.fromkeys(BY_COUNTRY, UNKNOWN)),
    "whose data it is is not known": (Subject(country="JP"), dict.fromkeys(OF_SUBJECTS, UNKNOWN)),
    "it is nobody's data": (NO_SUBJECT, dict.fromkeys(OF_SUBJECTS, NOT_APPLICABLE)),
}


@pytest.mark.parametrize(("subject", "expected"), STATES.values(), ids=STATES)
def test_what_cannot_be_counted_has_its_state(subject: Subject, expected: dict[str, Any]) -> None:
    assert find_states(subject) == expected


def test_facts_without_counts_are_refused_by_a_limit() -> None:
    policy = Policy([a_rule({"counts.subjects_1h": {"gt": "100"}}), a_rule({"caller.kind": "employee"}, "allow")])
    decision = decide(policy, EMPLOYEE)
    assert decision.rule is not None
    assert (decision.effect, decision.rule.certainty) == ("deny", "by-unknown")
    assert decision.unknown == ("counts.subjects_1h",)
