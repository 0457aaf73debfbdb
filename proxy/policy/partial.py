# SPDX-License-Identifier: Apache-2.0
"""The decision before the subject is known: once for each class of subject that the rules tell apart.

Unresolved is not unknown. While the API has not said yet whose record it is, the subject may be anybody: one of the
countries and ids that candidate rules name, any other, or one that will turn out to be unknown.

- If every class is denied, the request is denied without calling the API.
- If every class is allowed without transforms, the answer streams through untouched.
- Else each record of the answer is decided by its own subject.

Candidates are the rules that everything else that is known leaves possible. What a rule asks of the subject in a way
that no list of values covers (a pattern, an expression, a grant's pseudonyms) leaves its class undecided.
"""

import enum
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from proxy.model.api import Transform
from proxy.model.decision import Decision, Effect
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.subject import Subject
from proxy.policy.attributes import Facts
from proxy.policy.evaluate import decide, holds_now
from proxy.policy.expression import Expression
from proxy.policy.index import Masks, bits_of, mask_of
from proxy.policy.matchers import Exists, NoneOf, OneOf, Test, conjunction
from proxy.policy.policy import Policy, Tier
from proxy.policy.rules import Block, Literal, Rule

MAX_CLASSES: Final = 2048
"""More than that are not worth deciding beforehand: ids are then left to the records."""

_ANYBODY: Final = Subject()


class Verdict(enum.StrEnum):
    """What is to be done before the subject is known."""

    DENY = "deny"
    ALLOW = "allow"
    BY_RECORD = "by-record"


class Values(msgspec.Struct, frozen=True):
    """Values of one attribute that the candidate rules do not tell apart."""

    named: frozenset[str] = frozenset()
    """Those that are named; empty for the two other cases."""
    is_unknown: bool = False
    """Whether it is the unknown value, rather than any value that nobody names."""

    @property
    def sample(self) -> Fact[str]:
        """One of them, to decide by."""
        if self.is_unknown:
            return UNKNOWN
        return min(self.named) if self.named else "\0"

    def __str__(self) -> str:
        return "unknown" if self.is_unknown else ", ".join(sorted(self.named)) or "any other"


class SubjectClass(msgspec.Struct, frozen=True):
    """Subjects that one decision serves."""

    country: Values
    id: Values
    effect: Effect | None
    """None: it depends on the record."""
    transforms: frozenset[tuple[str, Transform]]
    decision: Decision | None
    """None where only the effect is certain, or nothing is."""


class Partial(msgspec.Struct, frozen=True):
    """The decision by classes of subject; every subject is in exactly one of them."""

    classes: tuple[SubjectClass, ...]
    by_country: Mapping[str, int]
    """Named countries to the group of classes that they are in; groups follow one another."""
    by_id: Mapping[str, int]

    @property
    def verdict(self) -> Verdict:
        """Say what is to be done before the subject is known."""
        if all(each.effect is Effect.DENY for each in self.classes):
            return Verdict.DENY
        if all(each.effect is Effect.ALLOW and not each.transforms for each in self.classes):
            return Verdict.ALLOW
        return Verdict.BY_RECORD

    def find(self, subject: Subject) -> SubjectClass:
        """Return the class of a subject."""
        ids = max(self.by_id.values(), default=-1) + 3
        row = _place(subject.country, self.by_country, len(self.classes) // ids)
        return self.classes[row * ids + _place(subject.id, self.by_id, ids)]


def _place(fact: Fact[str], named: Mapping[str, int], groups: int) -> int:
    """Return the group of a value: named ones first, any other, unknown last."""
    if not isinstance(fact, str):
        return groups - 1
    return named.get(fact, groups - 2)


def decide_unresolved(policy: Policy, facts: Facts) -> Partial:
    """Decide a request whose subject is not resolved yet; ``facts.subject`` is not looked at."""
    unresolved = msgspec.structs.replace(facts, subject=_ANYBODY)
    candidates = [rule for tier in _tiers(policy) for rule in _possible(tier, unresolved)]
    asked = [literal for rule in candidates for literal in _flat(rule.literals)]
    countries = _tell_apart("subject.country", asked)
    ids = _tell_apart("subject.id", asked)
    is_open = _is_pattern
    if len(countries) * len(ids) > MAX_CLASSES:
        ids, is_open = [Values(), Values(is_unknown=True)], _reads_more_than_country
    undecided = [_Undecided(rule, is_open) for rule in candidates if any(map(is_open, rule.literals))]
    leftover = _Leftover(undecided, _lifting(policy, unresolved))
    classes = [
        _decide_class(policy, facts, country, id_, leftover) for country, id_ in itertools.product(countries, ids)
    ]
    return Partial(tuple(classes), _groups(countries), _groups(ids))


def _groups(classes: Sequence[Values]) -> dict[str, int]:
    return {value: group for group, values in enumerate(classes) for value in values.named}


class _Leftover(msgspec.Struct, frozen=True):
    """What a class of subject does not settle."""

    undecided: "list[_Undecided]"
    lifting: int
    """The rules that some grant may lift."""


class _Undecided:
    """A rule that asks of the subject what its class does not tell."""

    def __init__(self, rule: Rule, is_open: Callable[[Literal], bool]) -> None:
        self.rule = rule
        self._told = [literal for literal in rule.literals if not is_open(literal)]

    def is_possible(self, facts: Facts) -> bool:
        return conjunction(literal(facts) for literal in self._told) is not False


def _tiers(policy: Policy) -> Iterator[Tier]:
    yield policy.tier
    if policy.urgent is not None:
        yield policy.urgent


def _possible(tier: Tier, facts: Facts) -> list[Rule]:
    return [tier.rules[bit] for bit in bits_of(tier.index.find(facts)[0])]


def _flat(literals: Iterable[Literal]) -> Iterator[Literal]:
    """Return literals, with those inside of exceptions."""
    for literal in literals:
        if isinstance(literal.test, Block):
            yield from _flat(condition.literal for condition in literal.test.conditions)
        else:
            yield literal


def _tell_apart(attribute: str, literals: Iterable[Literal]) -> list[Values]:
    """Return the classes of values: named ones that all tests answer alike, any other, and unknown."""
    listed = [literal for literal in literals if literal.key == attribute and isinstance(literal.test, (OneOf, NoneOf))]
    naming: dict[str, set[frozenset[str]]] = {}
    for values in {_values_of(literal) for literal in listed}:
        for value in values:
            naming.setdefault(value, set()).add(values)
    classes: dict[frozenset[frozenset[str]], set[str]] = {}
    for value, lists in naming.items():  # what a list says of a value is whether it names it
        classes.setdefault(frozenset(lists), set()).add(value)
    named = sorted((Values(frozenset(members)) for members in classes.values()), key=lambda each: min(each.named))
    return [*named, Values(), Values(is_unknown=True)]


def _values_of(literal: Literal) -> frozenset[str]:
    test: Any = literal.test
    values: frozenset[str] = test.values
    return values


def _subject_names(literal: Literal) -> Iterator[tuple[str, Test]]:
    """Return the attributes of the subject that a literal reads, each with the test."""
    for each in _flat([literal]):
        test: Any = each.test
        names = test.mentions if isinstance(test, Expression) else {each.key}
        yield from ((name, test) for name in names if name.startswith("subject."))


def _is_pattern(literal: Literal) -> bool:
    """Say whether a literal asks something of the subject that no list of values covers."""
    return any(not isinstance(test, (OneOf, NoneOf, Exists)) for _, test in _subject_names(literal))


def _reads_more_than_country(literal: Literal) -> bool:
    return _is_pattern(literal) or any(name != "subject.country" for name, _ in _subject_names(literal))


def _lifting(policy: Policy, facts: Facts) -> int:
    """Return the rules that some grant may lift here, for a subject of its own."""
    mask = 0
    for grant in policy.grants:
        anyone = Subject(reference=min(grant.subjects))
        conditions = [condition for condition in grant.when if not any(_subject_names(condition.literal))]
        open_grant = msgspec.structs.replace(grant, when=tuple(conditions))
        if holds_now(open_grant, msgspec.structs.replace(facts, subject=anyone)):
            mask |= _mask_of_ids(policy.tier, set(grant.lifts))
    return mask


def _decide_class(policy: Policy, facts: Facts, country: Values, id_: Values, leftover: _Leftover) -> SubjectClass:
    here = msgspec.structs.replace(facts, subject=Subject(country=country.sample, id=id_.sample))
    masks = policy.tier.index.find(here)
    still = [each.rule for each in leftover.undecided if each.is_possible(here)]
    if still or masks[0] & leftover.lifting:
        effect = _bound(policy, here, masks, still, leftover.lifting)
        return SubjectClass(country, id_, effect, frozenset(), None)
    decision = decide(policy, here)
    return SubjectClass(country, id_, decision.effect, frozenset(decision.transforms.items()), decision)


def _bound(policy: Policy, facts: Facts, masks: Masks, undecided: list[Rule], lifting: int) -> Effect | None:
    """Return the effect that depends neither on undecided rules nor on what a grant may lift; None if none does."""
    tier, outside = policy.tier, {rule.id for rule in undecided}
    aside = _mask_of_ids(tier, outside)
    possible = masks[0] & ~aside
    certain = possible & ~masks[1]
    if possible & tier.denies & ~lifting:
        return Effect.DENY
    if policy.urgent is not None:
        urgent = policy.urgent.index.find(facts)[0]
        if urgent & ~_mask_of_ids(policy.urgent, outside):
            return Effect.DENY
    is_allowed = bool(certain & tier.allows)
    if not is_allowed and not any(rule.effect is Effect.ALLOW for rule in undecided):
        return Effect.DENY
    is_open = possible & (tier.denies | tier.masks) or any(rule.effect is not Effect.ALLOW for rule in undecided)
    return None if is_open or not is_allowed else Effect.ALLOW


def _mask_of_ids(tier: Tier, ids: set[str]) -> int:
    return mask_of(tier.bits[id_] for id_ in ids if id_ in tier.bits)
