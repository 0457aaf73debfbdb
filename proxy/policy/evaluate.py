# SPDX-License-Identifier: Apache-2.0
"""The decision: deny overrides, allow is needed, default deny.

- A deny rule applies when it is true *or unknown*; an allow rule only when it is true.
- Whoever adds a deny rule can only take away; the order of rules and files does not matter.
- An error inside a rule is not caught here: it reaches the caller of ``decide``, who refuses.
"""

from collections.abc import Sequence

from proxy.model.decision import AppliedRule, Certainty, Decision, Effect, Reason
from proxy.model.facts import Truth
from proxy.policy.attributes import Facts
from proxy.policy.rules import Policy, Rule


def decide(policy: Policy, facts: Facts) -> Decision:
    """Decide one request with one subject."""
    denies = [rule for rule in policy.denies if holds(rule, facts) is not False]
    if denies:
        return _deny([_apply(rule, facts) for rule in denies])
    truths = [(rule, holds(rule, facts)) for rule in policy.allows]
    allows = [rule for rule, truth in truths if truth is True]
    if allows:
        applied = tuple(AppliedRule(rule.id, Effect.ALLOW, Certainty.MATCHED, rule.title) for rule in allows)
        return Decision(Effect.ALLOW, Reason.RULE_ALLOWS, applied[0], applied, ())
    missed = sorted({name for rule, truth in truths if truth is None for name in find_unknown(rule, facts)})
    return Decision(Effect.DENY, Reason.NO_RULE_ALLOWS, None, (), tuple(missed))


def holds(rule: Rule, facts: Facts) -> Truth:
    """Evaluate the conditions of a rule as a Kleene conjunction."""
    truth: Truth = True
    for condition in rule.conditions:
        answer = condition.test(condition.get(facts))
        if answer is False:
            return False
        if answer is None:
            truth = None
    return truth


def find_unknown(rule: Rule, facts: Facts) -> tuple[str, ...]:
    """Return the attributes that leave a rule's conditions unknown."""
    return tuple(c.attribute for c in rule.conditions if c.test(c.get(facts)) is None)


def _apply(rule: Rule, facts: Facts) -> AppliedRule:
    unknown = find_unknown(rule, facts)
    certainty = Certainty.BY_UNKNOWN if unknown else Certainty.MATCHED
    return AppliedRule(rule.id, rule.effect, certainty, rule.title, unknown)


def _deny(applied: Sequence[AppliedRule]) -> Decision:
    """Deny by the first matched rule, else the first by unknown; rules come by severity and id."""
    determining = next((rule for rule in applied if rule.certainty is Certainty.MATCHED), applied[0])
    unknown = sorted({name for rule in applied for name in rule.unknown})
    return Decision(Effect.DENY, Reason.RULE_DENIES, determining, tuple(applied), tuple(unknown))
