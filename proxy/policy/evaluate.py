# SPDX-License-Identifier: Apache-2.0
"""The decision: deny overrides mask, masks add up, allow is needed, default deny.

- A deny or mask rule applies when it is true *or unknown*; an allow rule and a grant only when true.
- Whoever adds a deny rule can only take away; the order of rules and files does not matter.
- An invariant is a deny that nothing lifts. A grant lifts rules that say they may be lifted, and allows nothing.
- Rules in shadow mode are asked after the decision, and cannot change it, not even by an error.
- An error inside a rule is not caught here: it reaches the caller of ``decide``, who refuses.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from proxy.model.api import Transform, combine_transforms
from proxy.model.decision import (
    NO_TRANSFORMS,
    AppliedRule,
    Certainty,
    Decision,
    Effect,
    Lifted,
    Reason,
    Shadow,
)
from proxy.model.facts import ABSENT, UNKNOWN, Fact, Truth, known
from proxy.policy.attributes import Facts
from proxy.policy.index import Masks, bits_of
from proxy.policy.matchers import conjunction
from proxy.policy.policy import Policy, Tier, rank
from proxy.policy.rules import Grant, Rule

MAX_LISTED: Final = 8
"""Rules that a decision names; the count of the rest is told."""
MAX_UNKNOWN: Final = 3
"""Of them, those that apply by unknown. Where much is unknown thousands can, and to say why costs for each."""
MAX_SETTLED: Final = 1024
"""Decisions that are kept for each tier of rules."""
_PEOPLE: Final = frozenset({"employee", "contractor"})


def decide(policy: Policy, facts: Facts) -> Decision:
    """Decide one request with one subject."""
    possible, unsure = policy.tier.index.find(facts)
    lifted: tuple[Lifted, ...] = ()
    until = math.inf
    if policy.grants_of and possible & policy.tier.liftable:
        for bit, grant in _lift(policy, possible, facts):
            lifted = (*lifted, Lifted(policy.tier.rules[bit].id, grant.id))
            until = min(until, grant.until)
            possible &= ~(1 << bit)
    decision = None
    if policy.urgent is not None:
        decision = _deny_urgently(policy, policy.urgent, facts, (possible, unsure))
    elif not unsure:
        decision = policy.tier.settled.get(possible)
    if decision is None:
        decision = _weigh(policy.tier, facts, possible, unsure)
    if lifted:
        decision = msgspec.structs.replace(decision, lifted=lifted, until=until)
    if policy.shadow is not None:
        shadow = _shadow(policy.shadow, facts, decision)
        return decision if shadow is None else msgspec.structs.replace(decision, shadow=shadow)
    return decision


def _weigh(tier: Tier, facts: Facts, possible: int, unsure: int) -> Decision:
    """Deny if a rule denies, else allow if one allows, else deny by default.

    Where no rule is unsure, that follows from which rules hold, by whatever facts they do: then it is kept.
    """
    denying = possible & tier.denies
    decision = _deny(tier, facts, denying, unsure) if denying else _allow(tier, facts, possible, unsure)
    if not unsure:
        if len(tier.settled) >= MAX_SETTLED:
            tier.settled.clear()
        tier.settled[possible] = decision
    return decision


def _deny(tier: Tier, facts: Facts, denying: int, unsure: int) -> Decision:
    """Deny by the first of: invariants, matched rules, severity, id. Some rule denies."""
    if unsure & denying:
        return _say_no(_list_denies(tier, denying, unsure, facts), denying.bit_count())
    bits = bits_of(denying, MAX_LISTED)
    first = tier.rules[bits[0]]
    reason = Reason.INVARIANT_DENIES if first.is_invariant else Reason.RULE_DENIES
    applied = tuple([tier.rules[bit].matched for bit in bits])
    unlisted = denying.bit_count() - MAX_LISTED if len(bits) == MAX_LISTED else 0
    return Decision(Effect.DENY, reason, applied[0], applied, (), NO_TRANSFORMS, unlisted)


def _deny_urgently(policy: Policy, urgent: Tier, facts: Facts, masks: Masks) -> Decision | None:
    """Deny by emergency denies and all others together; None if no rule denies."""
    denying = masks[0] & policy.tier.denies
    cutting, open_ = urgent.index.find(facts)
    if not denying and not cutting:
        return None
    said = _list_denies(policy.tier, denying, masks[1], facts) + _list_denies(urgent, cutting, open_, facts)
    said.sort(key=_say)
    return _say_no(said, denying.bit_count() + cutting.bit_count())


def _say_no(said: list[tuple[Rule, AppliedRule]], total: int) -> Decision:
    listed = tuple([applied for _, applied in said[:MAX_LISTED]])
    reason = Reason.INVARIANT_DENIES if said[0][0].is_invariant else Reason.RULE_DENIES
    unknown = _names(applied.unknown for applied in listed)
    return Decision(Effect.DENY, reason, listed[0], listed, unknown, NO_TRANSFORMS, total - len(listed))


def _say(each: tuple[Rule, AppliedRule]) -> tuple[object, ...]:
    """Order what denies: invariants first, then what matched, then by severity and id."""
    rule, applied = each
    return not rule.is_invariant, applied.certainty is not Certainty.MATCHED, rank(rule)


def _list_denies(tier: Tier, denying: int, unsure: int, facts: Facts) -> list[tuple[Rule, AppliedRule]]:
    """Return the denying rules in the order of their say."""
    listed: list[tuple[Rule, AppliedRule]] = []
    left = MAX_UNKNOWN
    invariants = denying & tier.invariants
    for group in (invariants, denying ^ invariants) if invariants else (denying,):
        matched = group & ~unsure if unsure else group
        for bit in bits_of(matched, MAX_LISTED - len(listed)):
            rule = tier.rules[bit]
            listed.append((rule, rule.matched))
        if unsure and len(listed) < MAX_LISTED:
            for bit in bits_of(group & unsure, min(left, MAX_LISTED - len(listed))):
                rule = tier.rules[bit]
                listed.append((rule, _by_unknown(rule, facts)))
                left -= 1
    return listed


def _allow(tier: Tier, facts: Facts, possible: int, unsure: int) -> Decision:
    """Allow by a rule that is known to hold, with what mask rules ask; else deny by default."""
    allowing = possible & tier.allows
    if unsure:
        allowing &= ~unsure
    if not allowing:
        missed = [tier.rules[bit] for bit in bits_of(possible & tier.allows, MAX_UNKNOWN)]
        unknown = _names(find_unknown(rule, facts) for rule in missed)
        return Decision(Effect.DENY, Reason.NO_RULE_ALLOWS, None, (), unknown)
    masking = possible & tier.masks
    applied = [tier.rules[bit].matched for bit in bits_of(allowing, MAX_LISTED)]
    if not masking:
        unlisted = allowing.bit_count() - MAX_LISTED if len(applied) == MAX_LISTED else 0
        return Decision(Effect.ALLOW, Reason.RULE_ALLOWS, applied[0], tuple(applied), (), NO_TRANSFORMS, unlisted)
    applied = applied[: MAX_LISTED // 2]
    applied += [
        _apply(tier.rules[bit], facts, unsure >> bit & 1) for bit in bits_of(masking, MAX_LISTED - len(applied))
    ]
    return Decision(
        Effect.ALLOW,
        Reason.RULE_ALLOWS,
        applied[0],
        tuple(applied),
        _names(rule.unknown for rule in applied),
        _add_up(tier, masking),
        allowing.bit_count() + masking.bit_count() - len(applied),
    )


def _add_up(tier: Tier, masking: int) -> Mapping[str, Transform]:
    """Return what all masks that apply come to, by data category."""
    found: dict[str, Transform] = {}
    for transforms, mask in tier.transforms:
        if masking & mask:
            for category, transform in transforms:
                found[category] = combine_transforms(found.get(category, transform), transform)
    return found


def _lift(policy: Policy, possible: int, facts: Facts) -> Iterable[tuple[int, Grant]]:
    """Return the rules that grants lift here, by their bits, each with one grant."""
    lifted: dict[int, Grant] = {}
    liftable = possible & policy.tier.liftable
    for grant in policy.grants_of.get(facts.subject.reference, ()):
        if not holds_now(grant, facts):
            continue
        for rule_id in grant.lifts:
            bit = policy.tier.bits.get(rule_id)
            if bit is not None and liftable >> bit & 1:
                lifted.setdefault(bit, grant)
    return lifted.items()


def holds_now(grant: Grant, facts: Facts) -> bool:
    """Say whether a grant holds: inside its dates, for whom it is meant, and not for one who approved it."""
    time = facts.time
    principal = facts.caller.principal
    return (
        isinstance(time, float)
        and grant.since <= time < grant.until
        and bool(principal)
        and not has_approved(grant, facts)
        and facts.subject.reference in grant.subjects
        and conjunction(condition.literal(facts) for condition in grant.when) is True
    )


def has_approved(grant: Grant, facts: Facts) -> bool:
    """Say whether one who approved it may take part: by any name, through any issuer, and in any part.

    Behind a service, or somebody of whom nobody knows that it is none, is nobody knows who.
    """
    caller = facts.caller
    behind = caller.on_behalf_of
    is_nobody = behind.id is ABSENT and not behind.principal
    if not is_nobody and behind.kind not in _PEOPLE:
        return True
    people = (caller.principal, behind.principal, *caller.passed_on)
    own = {principal.partition("|")[2] for principal in people} | {known(caller.id), known(behind.id)}
    folded = {name.casefold() for name in own if name}
    return any(approver.partition("|")[2].casefold() in folded for approver in grant.approved_by)


def _shadow(tier: Tier, facts: Facts, decision: Decision) -> Shadow | None:
    """Say what shadow rules would have done; an error among them is theirs alone."""
    try:
        return _watch(tier, facts, decision)
    except Exception:  # noqa: BLE001 - a rule that is only watched must not refuse anybody
        return None


def _watch(tier: Tier, facts: Facts, decision: Decision) -> Shadow | None:
    possible, unsure = tier.index.find(facts)
    denying = possible & tier.denies
    masking = possible & tier.masks
    allowing = possible & ~unsure & tier.allows
    applying = denying | masking | allowing
    if not applying:
        return None
    applied = tuple(_apply(tier.rules[bit], facts, unsure >> bit & 1) for bit in bits_of(applying, MAX_LISTED))
    if denying:
        would = Effect.DENY
    elif allowing and decision.reason is Reason.NO_RULE_ALLOWS:
        would = Effect.ALLOW
    else:
        would = decision.effect
    added = _add_up(tier, masking) if would is Effect.ALLOW and masking else {}
    is_stricter = any(
        combine_transforms(decision.transforms.get(category, transform), transform)
        is not decision.transforms.get(category)
        for category, transform in added.items()
    )
    return Shadow(applied, would, would is not decision.effect or is_stricter)


def claim_purpose(policy: Policy, facts: Facts, claimed: str | None) -> Fact[str]:
    """Return the purpose of a request: what the caller claims if it may, else unknown; absent if it claims none.

    Args:
        policy: declares who may claim what.
        facts: of the request, its case among them.
        claimed: what the request says.
    """
    if claimed is None:
        return ABSENT
    purpose = policy.purposes.get(claimed)
    if purpose is None or (purpose.needs_case and known(facts.case) is None):
        return UNKNOWN
    may_claim = conjunction(condition.literal(facts) for condition in purpose.may_claim)
    return claimed if may_claim is True else UNKNOWN


def holds(rule: Rule, facts: Facts) -> Truth:
    """Evaluate one rule by itself, as explain and tests do; the index answers for all at once."""
    return conjunction(literal(facts) for literal in rule.literals)


def find_unknown(rule: Rule, facts: Facts) -> tuple[str, ...]:
    """Return the attributes that leave a rule unknown."""
    names = []
    for condition in rule.when:
        literal = condition.literal
        if literal.test(literal.get(facts)) is None:  # negated or not
            names.append(condition.attribute)
    for block in rule.unless:
        if block(facts) is None:
            names += [each.attribute for each in block.conditions if each.literal(facts) is None]
    return tuple(dict.fromkeys(names))


def _apply(rule: Rule, facts: Facts, is_unsure: int) -> AppliedRule:
    return _by_unknown(rule, facts) if is_unsure else rule.matched


def _by_unknown(rule: Rule, facts: Facts) -> AppliedRule:
    return AppliedRule(rule.id, rule.effect, Certainty.BY_UNKNOWN, rule.title, find_unknown(rule, facts))


def _names(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({name for group in groups for name in group}))
