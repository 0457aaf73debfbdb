# SPDX-License-Identifier: Apache-2.0
from typing import Any

import msgspec
import pytest

from proxy.model.decision import Effect
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Truth
from proxy.policy.evaluate import decide
from proxy.policy.explain import ConditionExplained, explain, explain_grants
from proxy.policy.policy import Policy
from tests.support.policy_draws import a_grant, with_part
from tests.support.policy_facts import EMPLOYEE, NO_FACTS, NOW, a_rule, facts_of, some


def line(when: dict[str, Any], facts: Any = EMPLOYEE) -> ConditionExplained:
    ((condition,),) = (rule.when for rule in explain(Policy([a_rule("r", "deny", when)]), facts))
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
            {"caller.control.majority.owners": {"any": ["ly"]}}, "{any: [ly]}", "a-holdings", False, id="owners"
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
    (explained,) = explain(Policy([a_rule("r", effect, when)]), EMPLOYEE)
    assert explained.applies is applies
    assert (explained.id, explained.effect) == ("r", effect)


@pytest.mark.parametrize("facts", [EMPLOYEE, NO_FACTS, facts_of()], ids=["somebody", "nothing known", "little known"])
def test_explaining_agrees_with_deciding(facts: Any) -> None:
    policy = Policy(
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


def test_an_exception_is_shown_block_by_block() -> None:
    rule = a_rule("r", "deny", unless=[{"action": "read", "case": "x"}, {"caller.residence": "JP"}])
    (explained,) = explain(Policy([rule]), EMPLOYEE)
    assert [[line.truth for line in block] for block in explained.unless] == [[True, False], [None]]
    assert explained.truth is None


def test_a_rule_in_shadow_and_an_emergency_deny_are_explained_too() -> None:
    policy = Policy([a_rule("s", "deny", mode="shadow")]).with_urgent([a_rule("e", "deny")])
    assert [(each.id, each.is_shadow) for each in explain(policy, EMPLOYEE)] == [("e", False), ("s", True)]


GRANTED = msgspec.structs.replace(
    with_part(with_part(EMPLOYEE, "subject", reference="users:1"), "caller", principal="corp|carol"), time=NOW
)


@pytest.mark.parametrize(
    ("facts", "why_not"),
    [
        pytest.param(GRANTED, [], id="it holds"),
        pytest.param(msgspec.structs.replace(GRANTED, time=UNKNOWN), ["time is not known"], id="no time"),
        pytest.param(msgspec.structs.replace(GRANTED, time=0.0), ["it holds from 2027-01-01"], id="too early"),
        pytest.param(with_part(GRANTED, "subject", reference=""), ["none of its subjects"], id="another subject"),
        pytest.param(with_part(GRANTED, "caller", principal=""), ["none of the approvers"], id="nobody"),
        pytest.param(with_part(GRANTED, "caller", principal="corp|bob"), ["may not use it"], id="an approver"),
        pytest.param(with_part(GRANTED, "caller", affiliate=UNKNOWN), ["not known to hold"], id="unknown conditions"),
        pytest.param(
            msgspec.structs.replace(EMPLOYEE, time=0.0),
            ["it holds from", "none of its subjects", "none of the approvers"],
            id="all that is wrong at once",
        ),
    ],
)
def test_a_grant_says_why_it_does_not_hold(facts: Any, why_not: list[str]) -> None:
    (explained,) = explain_grants(Policy([], [a_grant()]), facts)
    assert explained.holds is (not why_not)
    assert len(explained.why_not) == len(why_not)
    assert all(words in said for words, said in zip(why_not, explained.why_not, strict=True))
