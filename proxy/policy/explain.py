# SPDX-License-Identifier: Apache-2.0
"""How a decision came about: every rule, condition by condition, with the fact and where it came from."""

from collections.abc import Iterable

import msgspec

from proxy.clock import render_instant
from proxy.model.decision import Effect
from proxy.model.facts import Truth, describe
from proxy.policy.attributes import Facts
from proxy.policy.evaluate import has_approved, holds, holds_now
from proxy.policy.matchers import conjunction
from proxy.policy.policy import Policy
from proxy.policy.rules import Condition, Grant, Rule


class ConditionExplained(msgspec.Struct, frozen=True):
    """One line of a rule: what was asked, what the fact was, whether it held."""

    attribute: str
    asked: str
    fact: str
    source: str
    truth: Truth


class RuleExplained(msgspec.Struct, frozen=True):
    """One rule: whether it held, and why."""

    id: str
    effect: Effect
    title: str
    truth: Truth
    applies: bool
    """A deny or mask rule applies also by unknown."""
    when: tuple[ConditionExplained, ...]
    unless: tuple[tuple[ConditionExplained, ...], ...]
    is_invariant: bool
    is_shadow: bool


class GrantExplained(msgspec.Struct, frozen=True):
    """One grant: whether it lifts here what it names, and why not."""

    id: str
    lifts: tuple[str, ...]
    holds: bool
    why_not: tuple[str, ...]


def explain(policy: Policy, facts: Facts) -> tuple[RuleExplained, ...]:
    """Explain every rule for one request."""
    return tuple(_explain_rule(rule, facts) for rule in policy.rules)


def explain_grants(policy: Policy, facts: Facts) -> tuple[GrantExplained, ...]:
    """Explain every grant for one request."""
    return tuple(
        GrantExplained(grant.id, tuple(sorted(grant.lifts)), holds_now(grant, facts), tuple(_why_not(grant, facts)))
        for grant in policy.grants
    )


def _why_not(grant: Grant, facts: Facts) -> Iterable[str]:
    time = facts.time
    if not isinstance(time, float):
        yield "the time is not known"
    elif not grant.since <= time < grant.until:
        yield f"it holds from {render_instant(grant.since)} until {render_instant(grant.until)}"
    if facts.subject.reference not in grant.subjects:
        yield "the subject is none of its subjects"
    if not facts.caller.principal:
        yield "who the caller is is not known, and so not that it is none of the approvers"
    elif has_approved(grant, facts):
        yield "the caller, or for whom it acts, approved it or may have, and may not use it"
    if conjunction(condition.literal(facts) for condition in grant.when) is not True:
        yield "its conditions are not known to hold"


def _explain_rule(rule: Rule, facts: Facts) -> RuleExplained:
    truth = holds(rule, facts)
    return RuleExplained(
        rule.id,
        rule.effect,
        rule.title,
        truth,
        truth is True or (truth is None and rule.effect is not Effect.ALLOW),
        _explain_conditions(rule.when, facts),
        tuple(_explain_conditions(block.conditions, facts) for block in rule.unless),
        rule.is_invariant,
        rule.is_shadow,
    )


def _explain_conditions(conditions: Iterable[Condition], facts: Facts) -> tuple[ConditionExplained, ...]:
    return tuple(_explain_condition(condition, facts) for condition in conditions)


def _explain_condition(condition: Condition, facts: Facts) -> ConditionExplained:
    fact = condition.literal.get(facts)
    shown = _show_fact(condition.attribute, fact)
    truth = condition.literal.decide(fact)
    return ConditionExplained(condition.attribute, condition.text, shown, condition.source, truth)


def _show_fact(attribute: str, fact: object) -> str:
    if attribute == "time" and isinstance(fact, float):
        return render_instant(fact)
    if isinstance(fact, dict):  # what an expression reads
        return ", ".join(f"{name}: {describe(each)}" for name, each in sorted(fact.items()))
    return describe(fact)
