# SPDX-License-Identifier: Apache-2.0
"""What a rule can ask of a fact: tests in three-valued logic (Kleene).

Each test takes one fact and answers True, False or None (unknown). The states of a fact, as rows:

================  =======================  =====================  =====================================
state             value, any               none, not              any, none, only of a set
================  =======================  =====================  =====================================
known             is it one of them        is it none of them     as sets; an open set is unknown where a
                                                                  hidden member could decide
absent            False                    True                   as the empty set
unknown           None                     None                   None
not applicable    False                    False                  False
================  =======================  =====================  =====================================
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from proxy.model.caller import Caller
from proxy.model.facts import ABSENT, EMPTY_SET, NOT_APPLICABLE, UNKNOWN, Fact, FactSet, State, Truth

Test: TypeAlias = Callable[[Any], Truth]


def one_of(values: frozenset[str]) -> Test:
    """Ask whether a scalar is one of the values."""

    def test(fact: Fact[str]) -> Truth:
        if isinstance(fact, State):
            return None if fact is UNKNOWN else False
        return fact in values

    return test


def none_of(values: frozenset[str]) -> Test:
    """Ask whether a scalar is none of the values."""

    def test(fact: Fact[str]) -> Truth:
        if isinstance(fact, State):
            return None if fact is UNKNOWN else fact is ABSENT
        return fact not in values

    return test


def any_in(values: frozenset[str]) -> Test:
    """Ask whether a set has a member among the values."""

    def test(fact: Fact[FactSet]) -> Truth:
        if isinstance(fact, State):
            return None if fact is UNKNOWN else False
        if not values.isdisjoint(fact.members):
            return True
        return None if fact.is_open else False

    return test


def none_in(values: frozenset[str]) -> Test:
    """Ask whether a set has no member among the values."""

    def test(fact: Fact[FactSet]) -> Truth:
        if isinstance(fact, State):
            return None if fact is UNKNOWN else fact is ABSENT
        if not values.isdisjoint(fact.members):
            return False
        return None if fact.is_open else True

    return test


def only_in(values: frozenset[str]) -> Test:
    """Ask whether a set has no member outside the values."""

    def test(fact: Fact[FactSet]) -> Truth:
        if isinstance(fact, State):
            return None if fact is UNKNOWN else fact is ABSENT
        if not fact.members <= values:
            return False
        return None if fact.is_open else True

    return test


def of_categories(categories: Iterable[str], matcher: str) -> Test:
    """Ask about data categories: a named one is matched by itself and by what is below it.

    A declared ancestor of a named category may or may not hold it, and is unknown.
    """
    named = frozenset(categories)

    def sort(fact: FactSet) -> Truth:
        """Say whether any member (``any``, ``none``) falls under the named categories, or all do (``only``)."""
        answers = [_falls_under(member, named) for member in fact.members]
        if matcher == "only":
            return False if False in answers else None if None in answers or fact.is_open else True
        return True if True in answers else None if None in answers or fact.is_open else False

    def test(fact: Fact[FactSet]) -> Truth:
        if isinstance(fact, State):
            if fact in {UNKNOWN, NOT_APPLICABLE}:
                return None if fact is UNKNOWN else False
            fact = EMPTY_SET
        truth = sort(fact)
        return negate(truth) if matcher == "none" else truth

    return test


def _falls_under(member: str, named: frozenset[str]) -> Truth:
    if any(member == name or member.startswith(f"{name}.") for name in named):
        return True
    return None if any(name.startswith(f"{member}.") for name in named) else False


def negate(truth: Truth) -> Truth:
    """Return Kleene's negation: unknown stays unknown."""
    return None if truth is None else not truth


def ties_by(labels: frozenset[str]) -> Callable[[Caller], Fact[FactSet]]:
    """Return how to find the countries that a caller is tied to by ties of these kinds or labels.

    Args:
        labels: tie kinds, or labels such as ``control.majority``.
    """

    def counts(label: str) -> bool:
        return label in labels or label.partition(".")[0] in labels

    def find(caller: Caller) -> Fact[FactSet]:
        if caller.countries is NOT_APPLICABLE:
            return NOT_APPLICABLE
        if not caller.ties and not caller.open_ties:
            return UNKNOWN  # nobody of whom anything is known
        members = frozenset(tie.country for tie in caller.ties if counts(tie.label))
        return FactSet(members, any(counts(label) for label in caller.open_ties))

    return find
