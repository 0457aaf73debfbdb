# SPDX-License-Identifier: Apache-2.0
"""What a rule can ask of a fact: tests in three-valued logic (Kleene).

Each test takes one fact and answers True, False or None (unknown). The states of a fact, as rows:

==============  ==================  =================  ===============  ==============================  ============
state           value, any, glob,   none, not          exists: true,    any, has_all of a set           none, only
                cidr, lt, gt,                          exists: false                                    of a set
                between
==============  ==================  =================  ===============  ==============================  ============
known           as it says          as it says         True, False      as sets; an open set is unknown where a
                                                                        hidden member could decide
absent          False               True               False, True      as the empty set
unknown         None                None               None             None                            None
not applicable  False               False              False            False                           False
==============  ==================  =================  ===============  ==============================  ============

Tests are values: they can be compared, and handed from one process to another.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Protocol

import msgspec

from proxy.model.caller import Caller
from proxy.model.facts import ABSENT, EMPTY_SET, NOT_APPLICABLE, UNKNOWN, Fact, FactSet, State, Truth


class Test(Protocol):
    """Asks one thing of one fact."""

    def __call__(self, fact: Any, /) -> Truth:
        """Answer True, False or None."""
        ...


class OneOf(msgspec.Struct, frozen=True):
    """Whether a scalar is one of the values."""

    values: frozenset[str]

    def __call__(self, fact: Fact[str], /) -> Truth:
        """Answer for a fact in any of its four states."""
        if isinstance(fact, State):
            return None if fact is UNKNOWN else False
        return fact in self.values


class NoneOf(msgspec.Struct, frozen=True):
    """Whether a scalar is none of the values."""

    values: frozenset[str]

    def __call__(self, fact: Fact[str], /) -> Truth:
        """Answer for a fact in any of its four states."""
        if isinstance(fact, State):
            return None if fact is UNKNOWN else fact is ABSENT
        return fact not in self.values


class Exists(msgspec.Struct, frozen=True):
    """Whether a scalar is known to be there, or known not to be."""

    wanted: bool

    def __call__(self, fact: Fact[Any], /) -> Truth:
        """Answer for a fact in any of its four states."""
        if fact is UNKNOWN or fact is NOT_APPLICABLE:
            return None if fact is UNKNOWN else False
        return (fact is not ABSENT) is self.wanted


class Glob(msgspec.Struct, frozen=True):
    """Whether a text is of one of the patterns, each cut up at its ``*``. Linear in the text, whatever the pattern."""

    patterns: tuple[tuple[str, ...], ...]

    def __call__(self, fact: Fact[str], /) -> Truth:
        """Answer for a fact in any of its four states."""
        if isinstance(fact, State):
            return None if fact is UNKNOWN else False
        return any(_fits(fact, pieces) for pieces in self.patterns)


def _fits(text: str, pieces: tuple[str, ...]) -> bool:
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    start, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, start, end)
        if found < 0:
            return False
        start = found + len(piece)
    return True


class InBlocks(msgspec.Struct, frozen=True):
    """Whether an address lies in one of the blocks."""

    blocks: tuple[tuple[int, int, int], ...]
    """Version of IP, first and last address as numbers."""

    def __call__(self, fact: Fact[str], /) -> Truth:
        """Answer for a fact in any of its four states."""
        if isinstance(fact, State):
            return None if fact is UNKNOWN else False
        try:
            address = ip_address(fact)
        except ValueError:
            return None
        number = int(address)
        return any(version == address.version and low <= number <= high for version, low, high in self.blocks)


class Within(msgspec.Struct, frozen=True):
    """Whether a number, or an instant in seconds since 1970, is in [start, end)."""

    start: float
    end: float

    def __call__(self, fact: Fact[float], /) -> Truth:
        """Answer for a fact in any of its four states."""
        if isinstance(fact, State):
            return None if fact is UNKNOWN else False
        return self.start <= fact < self.end


class AnyIn(msgspec.Struct, frozen=True):
    """Whether a set has a member among the values."""

    values: frozenset[str]

    def __call__(self, fact: Fact[FactSet], /) -> Truth:
        """Answer for a fact in any of its four states."""
        if isinstance(fact, State):
            return None if fact is UNKNOWN else False
        if not self.values.isdisjoint(fact.members):
            return True
        return None if fact.is_open else False


class NoneIn(msgspec.Struct, frozen=True):
    """Whether a set has no member among the values."""

    values: frozenset[str]

    def __call__(self, fact: Fact[FactSet], /) -> Truth:
        """Answer for a fact in any of its four states."""
        if isinstance(fact, State):
            return None if fact is UNKNOWN else fact is ABSENT
        if not self.values.isdisjoint(fact.members):
            return False
        return None if fact.is_open else True


class OnlyIn(msgspec.Struct, frozen=True):
    """Whether a set has no member outside the values."""

    values: frozenset[str]
    needs_member: bool = False
    """Whether nothing follows from an empty set: who is tied to no country is not tied to good ones only."""

    def __call__(self, fact: Fact[FactSet], /) -> Truth:
        """Answer for a fact in any of its four states."""
        if isinstance(fact, State):
            return None if fact is UNKNOWN else fact is ABSENT
        if not fact.members <= self.values:
            return False
        return None if fact.is_open or (self.needs_member and not fact.members) else True


class HasAll(msgspec.Struct, frozen=True):
    """Whether a set has every one of the values."""

    values: frozenset[str]

    def __call__(self, fact: Fact[FactSet], /) -> Truth:
        """Answer for a fact in any of its four states."""
        if isinstance(fact, State):
            return None if fact is UNKNOWN else False
        if self.values <= fact.members:
            return True
        return None if fact.is_open else False


class OfCategories(msgspec.Struct, frozen=True):
    """Asks about data categories: a named one is matched by itself and by what is below it.

    A declared ancestor of a named category may or may not hold it, and is unknown.
    """

    named: frozenset[str]
    matcher: str
    """``any``, ``none``, ``only`` or ``has_all``."""

    def __call__(self, fact: Fact[FactSet], /) -> Truth:
        """Answer for a fact in any of its four states."""
        if isinstance(fact, State):
            if fact is not ABSENT:
                return None if fact is UNKNOWN else False
            fact = EMPTY_SET
        if self.matcher == "has_all":
            return conjunction(self._any(fact, frozenset({name})) for name in self.named)
        if self.matcher == "only":
            answers = [_falls_under(member, self.named) for member in fact.members]
            return False if False in answers else None if None in answers or fact.is_open else True
        truth = self._any(fact, self.named)
        return negate(truth) if self.matcher == "none" else truth

    @staticmethod
    def _any(fact: FactSet, named: frozenset[str]) -> Truth:
        answers = [_falls_under(member, named) for member in fact.members]
        return True if True in answers else None if None in answers or fact.is_open else False


def _falls_under(member: str, named: frozenset[str]) -> Truth:
    if any(member == name or member.startswith(f"{name}.") for name in named):
        return True
    return None if any(name.startswith(f"{member}.") for name in named) else False


def negate(truth: Truth) -> Truth:
    """Return Kleene's negation: unknown stays unknown."""
    return None if truth is None else not truth


def conjunction(truths: Any) -> Truth:
    """Return Kleene's conjunction: one False is False, else one unknown is unknown."""
    result: Truth = True
    for truth in truths:
        if truth is False:
            return False
        if truth is None:
            result = None
    return result


class TiesBy(msgspec.Struct, frozen=True):
    """Finds the countries that a caller is tied to by ties of these kinds, or labels such as ``control.majority``."""

    labels: frozenset[str]

    def __call__(self, facts: Any, /) -> Fact[FactSet]:
        """Return what it finds in the facts."""
        caller: Caller = facts.caller
        if caller.countries is NOT_APPLICABLE:
            return NOT_APPLICABLE
        if not caller.ties and not caller.open_ties:
            return UNKNOWN  # nobody of whom anything is known
        members = frozenset(tie.country for tie in caller.ties if self._counts(tie.label))
        return FactSet(members, any(map(self._counts, caller.open_ties)))

    def _counts(self, label: str) -> bool:
        return label in self.labels or label.partition(".")[0] in self.labels


class ControlOf(msgspec.Struct, frozen=True):
    """Finds what a control rule says of a caller's affiliate."""

    rule: str
    part: str
    """``countries`` or ``owners``."""

    def __call__(self, facts: Any, /) -> Fact[FactSet]:
        """Return what it finds in the facts."""
        control: Any = facts.caller.control.get(self.rule)
        if control is None:
            affiliate = facts.caller.affiliate
            return affiliate if isinstance(affiliate, State) else UNKNOWN
        found: Fact[FactSet] = getattr(control, self.part)
        return found


class ClaimOf(msgspec.Struct, frozen=True):
    """Finds a claim that an issuer maps under a name of the bundle's own."""

    name: str

    def __call__(self, facts: Any, /) -> Fact[str]:
        """Return what it finds in the facts."""
        caller: Caller = facts.caller
        if caller.affiliate is NOT_APPLICABLE:
            return NOT_APPLICABLE
        claims: Mapping[str, Fact[str]] = caller.claims
        return claims.get(self.name, UNKNOWN)
