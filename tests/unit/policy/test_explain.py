# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from proxy.model.decision import Effect
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Truth
from proxy.policy.compile import compile_policy
from proxy.policy.evaluate import decide
from proxy.policy.explain import ConditionExplained, explain
from tests.support.policy_facts import EMPLOYEE, NO_FACTS, a_rule, facts_of, some


def line(when: dict[str, Any], facts: Any = EMPLOYEE) -> ConditionExplained:
    ((condition,),) = (rule.conditions for rule in explain(compile_policy([a_rule("r", "deny", when)]), facts))
    return condition


@pytest.mark.parametrize(
    ("when", "asked", "fact", "truth"),
    [
        pytest.param({"subject.country": "JP"}, "JP", "JP", True, id="a value"),
        pytest.param({"subject.country": {"none": ["JP"]}}, "{none: [JP]}", "JP", False, id="a list"),
        pytest.param(
            {"origin.country": {"any": "$china"}}, "{any: $china}", "JP", False, id="a set, as it was written"
        ),
        pytest.param({"caller.residence": "JP"}, "JP", "unknown", None, id="an unknown fact"),
        pytest.param({"caller.groups": {"any": ["x"]}}, "{any: [x]}", "support", False, id="a set of texts"),
        pytest.param({"action": "read"}, "read", "read", True, id="the action"),
        pytest.param(
            {"caller.control.majority.owners": {"none": ["ly"]}}, "{none: [ly]}", "a-holdings", True, id="owners"
        ),
    ],
)
def test_a_line_says_what_was_asked_and_what_was_found(
    when: dict[str, Any], asked: str, fact: str, truth: Truth
) -> None:
    explained = line(when)
    assert (explained.asked, explained.fact, explained.truth) == (asked, fact, truth)
    assert explained.attribute == next(iter(when))
    assert explained.source


@pytest.mark.parametrize(
    ("fact", "shown"),
    [
        pytest.param(some("KR", "JP"), "JP, KR", id="members in order"),
        pytest.param(some(), "none", id="an empty set"),
        pytest.param(some("JP", is_open=True), "JP, and possibly others", id="an open set"),
        pytest.param(ABSENT, "absent", id="absent"),
        pytest.param(UNKNOWN, "unknown", id="unknown"),
        pytest.param(NOT_APPLICABLE, "not applicable", id="not applicable"),
    ],
)
def test_a_fact_is_shown_with_its_state(fact: Any, shown: str) -> None:
    assert line({"caller.countries": {"any": ["CN"]}}, facts_of(caller={"countries": fact})).fact == shown


def test_ties_that_were_asked_for_by_kind_are_the_ones_shown() -> None:
    # The employee counts as tied to JP alone; the subcontractor in CN was asked for by name, and decided.
    explained = line({"caller.countries": {"any": "$china", "by": ["subcontractor"]}})
    assert explained.truth is True
    assert "CN" in explained.fact


@pytest.mark.parametrize(
    ("effect", "when", "applies"),
    [
        pytest.param("deny", {"subject.country": "JP"}, True, id="a true deny"),
        pytest.param("deny", {"caller.residence": "JP"}, True, id="an unknown deny"),
        pytest.param("deny", {"subject.country": "KR"}, False, id="a false deny"),
        pytest.param("allow", {"subject.country": "JP"}, True, id="a true allow"),
        pytest.param("allow", {"caller.residence": "JP"}, False, id="an unknown allow"),
        pytest.param("allow", {"always": "true"}, True, id="always"),
    ],
)
def test_a_rule_says_whether_it_applies(effect: str, when: dict[str, Any], applies: bool) -> None:  # noqa: FBT001
    (explained,) = explain(compile_policy([a_rule("r", effect, when)]), EMPLOYEE)
    assert explained.applies is applies
    assert (explained.id, explained.effect) == ("r", effect)


@pytest.mark.parametrize("facts", [EMPLOYEE, NO_FACTS, facts_of()], ids=["somebody", "nothing known", "little known"])
def test_explaining_agrees_with_deciding(facts: Any) -> None:
    policy = compile_policy(
        [
            a_rule("china", "deny", {"caller.countries": {"any": "$china"}}),
            a_rule("abroad", "deny", {"origin.country": {"none": ["JP"]}}),
            a_rule("staff", "allow", {"caller.affiliate": "ly"}),
            a_rule("export", "allow", {"action": "export"}),
        ]
    )
    applying = [rule for rule in explain(policy, facts) if rule.applies]
    decision = decide(policy, facts)
    strongest = [rule.id for rule in applying if rule.effect is Effect.DENY] or [rule.id for rule in applying]
    assert [applied.id for applied in decision.applied] == strongest
