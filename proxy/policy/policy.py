# SPDX-License-Identifier: Apache-2.0
"""A policy: all rules of a bundle with their index, grants and purposes, in an order that no file decides."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from proxy.model.api import Transform
from proxy.model.decision import Decision, Effect, Severity
from proxy.policy.index import Index, bits_of, mask_of
from proxy.policy.rules import Grant, Purpose, Rule

_SEVERITIES: Final = tuple(Severity)
_EFFECTS: Final = (Effect.DENY, Effect.MASK, Effect.ALLOW)


class Tier:
    """Rules that are asked together, indexed. The place of a rule is its bit.

    Args:
        rules: in any order; they come to stand invariants first, then denies by severity and id, masks, allows.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules: tuple[Rule, ...] = tuple(sorted(rules, key=rank))
        self.index = Index(self.rules)
        self._describe()

    def _describe(self) -> None:
        """Note which bits are which."""
        self.invariants = self._mask(rule.is_invariant for rule in self.rules)
        self.denies = self._mask(rule.effect is Effect.DENY for rule in self.rules)
        self.masks = self._mask(rule.effect is Effect.MASK for rule in self.rules)
        self.allows = self._mask(rule.effect is Effect.ALLOW for rule in self.rules)
        self.liftable = self._mask(rule.is_liftable for rule in self.rules)
        transforms: dict[tuple[tuple[str, Transform], ...], list[int]] = {}
        for bit in bits_of(self.masks):
            transforms.setdefault(tuple(sorted(self.rules[bit].transforms.items())), []).append(bit)
        self.transforms = [(each, mask_of(bits)) for each, bits in transforms.items()]
        self.bits = {rule.id: bit for bit, rule in enumerate(self.rules)}
        self.settled: dict[int, Decision] = {}
        """What it comes to where these rules hold, no other does and none is unsure: nothing else has a part in it."""

    @staticmethod
    def _mask(answers: Iterable[bool]) -> int:
        return mask_of(bit for bit, answer in enumerate(answers) if answer)


def rank(rule: Rule) -> tuple[Any, ...]:
    """Return what rules are ordered by: none is nearer to deciding for the file it stands in."""
    return (
        not rule.is_invariant,
        _EFFECTS.index(rule.effect),
        _SEVERITIES.index(rule.severity) if rule.effect is Effect.DENY else 0,
        rule.id,
    )


class Policy:
    """Everything that decides.

    Args:
        rules: of all modes, invariants among them.
        grants: what may be lifted, when and by whom.
        purposes: what a caller may say it reads for.
    """

    def __init__(self, rules: Sequence[Rule], grants: Iterable[Grant] = (), purposes: Iterable[Purpose] = ()) -> None:
        self.tier = Tier(rule for rule in rules if not rule.is_shadow)
        shadow = [rule for rule in rules if rule.is_shadow]
        self.shadow: Tier | None = Tier(shadow) if shadow else None
        self.urgent: Tier | None = None
        """Emergency denies: they come and go without the rest."""
        self.grants = tuple(sorted(grants, key=lambda grant: grant.id))
        self.grants_of: dict[str, list[Grant]] = {}
        """By keyed pseudonym of the subject."""
        for grant in self.grants:
            for subject in grant.subjects:
                self.grants_of.setdefault(subject, []).append(grant)
        self.purposes: Mapping[str, Purpose] = {purpose.id: purpose for purpose in purposes}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules, those in shadow mode last."""
        tiers = (self.urgent, self.tier, self.shadow)
        return tuple(rule for tier in tiers if tier is not None for rule in tier.rules)

    @property
    def denies(self) -> tuple[Rule, ...]:
        """The deny rules in force, invariants and emergency denies among them."""
        return self._of(Effect.DENY)

    @property
    def masks(self) -> tuple[Rule, ...]:
        """The mask rules in force."""
        return self._of(Effect.MASK)

    @property
    def allows(self) -> tuple[Rule, ...]:
        """The allow rules in force."""
        return self._of(Effect.ALLOW)

    def _of(self, effect: Effect) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.effect is effect and not rule.is_shadow)

    def active_grants(self, now: float) -> tuple[Grant, ...]:
        """Return the grants whose dates hold at a moment, seconds since 1970."""
        return tuple(grant for grant in self.grants if grant.since <= now < grant.until)

    def with_urgent(self, rules: Sequence[Rule]) -> "Policy":
        """Return this policy with these emergency denies, in place of any that it has."""
        policy = copy.copy(self)
        policy.urgent = Tier(rules) if rules else None
        return policy
