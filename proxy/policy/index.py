# SPDX-License-Identifier: Apache-2.0
"""Which rules hold, for all rules at once: one bit a rule, one mask a fact.

A decision must cost the same with ten rules and with ten thousand, and also when facts are unknown, or an unknown
affiliate would be a cheap attack. So nothing is asked rule by rule:

- A rule is a conjunction of literals, each a test of one fact. For each attribute a column knows, for every value
  that some rule names, which rules' literals are not False there (*possible*), and which are True (*certain*). The
  conjunction of all columns is the answer for all rules: ``possible & ~certain`` are those that are unknown.
- Columns are gathered by the part of the facts that they read. What a caller, an origin and a resource come to, and
  what the three come to together, is kept: a request costs a look-up and an AND or two.
- What reads several parts at once (an expression, an exception of several conditions) is asked last, of the rules
  that everything else left possible.

Nothing here is generated from text; the masks are plain integers.
"""

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from proxy.model.facts import FactSet, State, Truth
from proxy.policy.attributes import Facts, Scope
from proxy.policy.matchers import AnyIn, NoneIn, NoneOf, OneOf, OnlyIn, Within
from proxy.policy.rules import Literal, Rule, whole

Masks: TypeAlias = tuple[int, int]
"""The rules that are possible, and those of them that are unsure: true or false, nobody knows. What is possible and
not unsure is certain. Mostly nothing is unsure, and then nothing is paid for it."""
Posting: TypeAlias = int | tuple[int, ...]
"""Rules as a mask, or one by one where they are few among many."""

_OTHER: Final = "\0"
"""A text that is no value of any fact."""
_KEPT_BYTES: Final = 32 * 1024 * 1024
"""Of masks kept of each kind: callers, origins, resources, and combinations of them."""
_MOST_KEPT: Final = 20_000
_FEW: Final = 16
_MANY: Final = 2048


class Index:
    """The literals of a list of rules, by attribute and value. The place of a rule in the list is its bit.

    Args:
        rules: in the order of their bits.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.all = (1 << len(rules)) - 1
        self._groups = {scope: _Group(self.all) for scope in Scope}
        self._late: dict[int, tuple[Literal, ...]] = {}
        for bit, rule in enumerate(rules):
            late = [literal for literal in rule.literals if literal.scope is Scope.MIXED]
            for literal in rule.literals:
                if literal.scope is not Scope.MIXED:
                    self._groups[literal.scope].add(bit, literal)
            if late:
                self._late[bit] = tuple(late)
        for group in self._groups.values():
            group.seal()
        self._late_mask = sum(1 << bit for bit in self._late)
        self._revive()

    def _revive(self) -> None:
        """Make what lives in one process only."""
        groups = self._groups
        self._caller, self._origin, self._resource = groups[Scope.CALLER], groups[Scope.ORIGIN], groups[Scope.RESOURCE]
        self._loose = [
            ask
            for scope in (Scope.SUBJECT, Scope.REQUEST, Scope.TIME, Scope.COUNTS)
            for ask in groups[scope].questions()
        ]
        self._room = max(64, min(_MOST_KEPT, _KEPT_BYTES // (256 + self.all.bit_length() // 4)))
        self._parts: dict[int, _Kept] = {}
        self._joint: dict[tuple[int, int, int], tuple[object, object, object, int, int]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("all", "_groups", "_late", "_late_mask")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._revive()

    def find(self, facts: Facts) -> Masks:
        """Return the rules that are possible, and those of them that are unsure."""
        caller, origin, resource = facts.caller, facts.origin, facts.resource
        kept = self._joint.get((id(caller), id(origin), id(resource)))
        if kept is None:
            kept = self._join(facts)
        _, _, _, possible, unsure = kept
        for get, masks in self._loose:
            here, open_ = masks(get(facts))
            possible &= here
            if open_:
                unsure |= open_
        if unsure:
            unsure &= possible
        if self._late and possible & self._late_mask:
            return self._ask_late(possible, unsure, facts)
        return possible, unsure

    def _join(self, facts: Facts) -> tuple[object, object, object, int, int]:
        """Combine what caller, origin and resource come to. They are kept, so that their ids stay their own."""
        possible, unsure = self._weigh(facts.caller, self._caller, facts)
        for part, group in ((facts.origin, self._origin), (facts.resource, self._resource)):
            here, open_ = self._weigh(part, group, facts)
            possible &= here
            unsure |= open_
        if len(self._joint) >= self._room:
            self._joint.clear()
            self._parts.clear()
        key = (id(facts.caller), id(facts.origin), id(facts.resource))
        kept = self._joint[key] = (facts.caller, facts.origin, facts.resource, possible, unsure & possible)
        return kept

    def _weigh(self, part: object, group: "_Group", facts: Facts) -> Masks:
        """Return what one part of the facts comes to, worked out once."""
        kept = self._parts.get(id(part))
        if kept is None or kept[0] is not part:
            if len(self._parts) >= self._room:
                self._joint.clear()
                self._parts.clear()
            kept = self._parts[id(part)] = (part, *group.masks(facts))
        return kept[1], kept[2]

    def _ask_late(self, possible: int, unsure: int, facts: Facts) -> Masks:
        for bit in bits_of(possible & self._late_mask):
            for literal in self._late[bit]:
                truth = literal(facts)
                if truth is None:
                    unsure |= 1 << bit
                elif truth is False:
                    possible &= ~(1 << bit)
                    break
        return possible, unsure & possible


_Kept: TypeAlias = tuple[object, int, int]


class _Group:
    """All literals that read one part of the facts."""

    def __init__(self, everything: int) -> None:
        self._all = everything
        self._columns: dict[str, _Column] = {}
        self._single: dict[Any, list[Any]] = {}
        """Literals that are asked one by one, each with all rules that have it."""
        self._moments = _Moments(everything)

    def questions(self) -> list[tuple[Callable[[Facts], Any], Callable[[Any], Masks]]]:
        """Return what is to be asked of each request: which fact to get, and what its masks are."""
        if self._single or not self._moments.is_empty:
            return [(whole, self.masks)]
        return [(column.get, column.masks) for column in self._columns.values()]

    def add(self, bit: int, literal: Literal) -> None:
        is_listed = not (isinstance(literal.test, OnlyIn) and literal.is_negated)
        column_of = _COLUMNS.get(type(literal.test)) if is_listed else None
        if isinstance(literal.test, Within) and literal.scope is Scope.TIME:
            self._moments.add(bit, literal)
            return
        if column_of is not None:
            column = self._columns.get(literal.key)
            if column is None:
                column = self._columns[literal.key] = column_of(literal.get, self._all)
            if column.add(bit, literal):
                return
        entry = self._single.setdefault((literal.key, literal.test, literal.is_negated), [literal, 0])
        entry[1] |= 1 << bit

    def seal(self) -> None:
        for column in self._columns.values():
            column.seal()
        self._moments.seal()

    def masks(self, facts: Facts) -> Masks:
        possible, unsure = self._all, 0
        for column in self._columns.values():
            here, open_ = column.masks(column.get(facts))
            possible &= here
            unsure |= open_
        for literal, mask in self._single.values():
            truth = literal(facts)
            if truth is None:
                unsure |= mask
            elif truth is False:
                possible &= ~mask
        if not self._moments.is_empty:
            here, open_ = self._moments.masks(facts.time)
            possible &= here
            unsure |= open_
        return possible, unsure


class _Column:
    """Literals on one attribute whose values can be listed, at most one a rule."""

    def __init__(self, get: Callable[[Facts], Any], everything: int) -> None:
        self.get = get
        self._all = everything
        self._taken = 0
        self._literals: list[tuple[int, Literal]] = []
        self._states: dict[State, Masks] = {}

    def add(self, bit: int, literal: Literal) -> bool:
        """Take a literal; False if the rule has one here already, so that this one is asked by itself."""
        if self._taken >> bit & 1:
            return False
        self._taken |= 1 << bit
        self._literals.append((bit, literal))
        return True

    def seal(self) -> None:
        """Work out the masks; nothing is added any more."""
        for state in State:
            by_kind: dict[Any, int] = {}
            for bit, literal in self._literals:
                kind = (type(literal.test), literal.is_negated)
                by_kind[kind] = by_kind.get(kind, 0) | 1 << bit
            possible, unsure = self._all, 0
            for (test, is_negated), mask in by_kind.items():
                truth: Truth = test(frozenset())(state)
                if truth is None:
                    unsure |= mask
                elif truth is is_negated:
                    possible &= ~mask
            self._states[state] = (possible, unsure)
        self._build()
        self._literals = []

    def _build(self) -> None:
        raise NotImplementedError

    def masks(self, fact: Any) -> Masks:
        raise NotImplementedError


class _Scalars(_Column):
    """One text: ``default`` holds for a value that nobody names, a named value turns some rules over."""

    def _build(self) -> None:
        flips: dict[str, list[int]] = {}
        default = self._all
        for bit, literal in self._literals:
            test: Any = literal.test
            truth_elsewhere = literal.decide(_OTHER)
            if truth_elsewhere is False:
                default &= ~(1 << bit)
            for value in test.values:
                flips.setdefault(value, []).append(bit)
        self._default = default, 0
        self._flips = {value: _post(bits, self._all) for value, bits in flips.items()}
        self._kept: dict[str, Masks] = {}

    def masks(self, fact: Any) -> Masks:
        masks = self._kept.get(fact)
        if masks is not None:
            return masks
        if isinstance(fact, State):
            return self._states[fact]
        flips = self._flips.get(fact)
        if flips is None:
            return self._default
        if len(self._kept) >= _FEW * _FEW:
            self._kept.clear()
        kept = self._kept[fact] = (self._default[0] ^ _unpost(flips), 0)
        return kept


class _Sets(_Column):
    """A set of texts: which rules want a member, which shun it, and which bear no member but those they name."""

    def _build(self) -> None:
        wants: dict[str, list[int]] = {}
        shuns: dict[str, list[int]] = {}
        bears: dict[str, list[int]] = {}
        kinds: dict[str, list[int]] = {"wants": [], "shuns": [], "bears": []}
        needy: list[int] = []
        for bit, literal in self._literals:
            test: Any = literal.test
            if isinstance(test, OnlyIn):
                kind, postings = "bears", bears
                if test.needs_member:
                    needy.append(bit)
            elif isinstance(test, AnyIn) is not literal.is_negated:
                kind, postings = "wants", wants
            else:
                kind, postings = "shuns", shuns
            kinds[kind].append(bit)
            for value in test.values:
                postings.setdefault(value, []).append(bit)
        self._wanting, self._shunning, self._bearing = (mask_of(bits) for bits in kinds.values())
        self._needy = mask_of(needy)
        self._wants, self._shuns, self._bears = (
            {value: _post(bits, self._all) for value, bits in postings.items()} for postings in (wants, shuns, bears)
        )

    def masks(self, fact: FactSet | State) -> Masks:
        if isinstance(fact, State):
            return self._states[fact]
        met = broken = 0
        borne = self._bearing
        for member in fact.members:
            if member in self._wants:
                met |= _unpost(self._wants[member])
            if member in self._shuns:
                broken |= _unpost(self._shuns[member])
            if borne:
                borne &= _unpost(self._bears.get(member, 0))
        possible = self._all & ~(broken | self._bearing) | borne
        unmet = self._wanting & ~met
        if fact.is_open:
            return possible, unmet | self._shunning | self._bearing
        return possible & ~unmet, 0 if fact.members else self._needy


class _Moments:
    """Literals on the clock: what holds now holds until the next moment that some rule names."""

    def __init__(self, everything: int) -> None:
        self._all = everything
        self._literals: list[tuple[int, Literal]] = []
        self._moments: list[float] = []
        self._unknown = 0
        self._from, self._until = 0.0, 0.0
        self._now = everything

    @property
    def is_empty(self) -> bool:
        return not self._literals

    def add(self, bit: int, literal: Literal) -> None:
        self._literals.append((bit, literal))

    def seal(self) -> None:
        moments: set[float] = set()
        for bit, literal in self._literals:
            test: Any = literal.test
            moments |= {test.start, test.end}
            self._unknown |= 1 << bit
        self._moments = sorted(moments)

    def masks(self, now: Any) -> Masks:
        if isinstance(now, State):
            return self._all, self._unknown  # the time is known, or unknown
        if not self._from <= now < self._until:
            self._move(now)
        return self._now, 0

    def _move(self, now: float) -> None:
        at = bisect.bisect_right(self._moments, now)
        self._from = self._moments[at - 1] if at else float("-inf")
        self._until = self._moments[at] if at < len(self._moments) else float("inf")
        ended = bytearray(self._all.bit_length() // 8 + 1)
        for bit, literal in self._literals:
            if literal.decide(now) is False:
                ended[bit >> 3] |= 1 << (bit & 7)
        self._now = self._all & ~int.from_bytes(ended, "little")


_COLUMNS: Final[Mapping[type, type[_Column]]] = {
    OneOf: _Scalars,
    NoneOf: _Scalars,
    AnyIn: _Sets,
    NoneIn: _Sets,
    OnlyIn: _Sets,
}


def _post(bits: Sequence[int], everything: int) -> Posting:
    if len(bits) <= _FEW and everything.bit_length() > _MANY:
        return tuple(bits)
    return mask_of(bits)


def _unpost(posting: Posting) -> int:
    if isinstance(posting, int):
        return posting
    return mask_of(posting)


def mask_of(bits: Iterable[int]) -> int:
    """Return the mask of bits."""
    listed = list(bits)
    if not listed:
        return 0
    array = bytearray(max(listed) // 8 + 1)
    for bit in listed:
        array[bit >> 3] |= 1 << (bit & 7)
    return int.from_bytes(array, "little")


def bits_of(mask: int, at_most: int | None = None) -> list[int]:
    """Return the bits of a mask, lowest first."""
    found: list[int] = []
    at = -1
    while mask and (at_most is None or len(found) < at_most):
        step = (mask & -mask).bit_length()
        at += step
        found.append(at)
        mask >>= step
    return found
