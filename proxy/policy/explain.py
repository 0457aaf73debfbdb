# SPDX-License-Identifier: Apache-2.0
"""How a decision came about: every rule, condition by condition, with the fact and where it came from."""

import msgspec

from proxy.model.decision import Effect
from proxy.model.facts import Truth, describe
from proxy.policy.attributes import Facts
from proxy.policy.evaluate import holds
from proxy.policy.rules import Condition, Policy, Rule


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
    conditions: tuple[ConditionExplained, ...]

    @property
    def applies(self) -> bool:
        """Whether the rule applies: a deny rule also by unknown."""
        return self.truth is True or (self.truth is None and self.effect is Effect.DENY)


def explain(policy: Policy, facts: Facts) -> tuple[RuleExplained, ...]:
    """Explain every rule for one request."""
    return tuple(_explain_rule(rule, facts) for rule in (*policy.denies, *policy.allows))


def _explain_rule(rule: Rule, facts: Facts) -> RuleExplained:
    conditions = tuple(_explain_condition(condition, facts) for condition in rule.conditions)
    return RuleExplained(rule.id, rule.effect, rule.title, holds(rule, facts), conditions)


def _explain_condition(condition: Condition, facts: Facts) -> ConditionExplained:
    fact = condition.get(facts)
    truth = condition.test(fact)
    return ConditionExplained(condition.attribute, condition.text, describe(fact), condition.source, truth)
