# SPDX-License-Identifier: Apache-2.0
"""Units that look alike, recognised at a glance.

The records of an API differ in their values and hardly in their form. What ``values`` and ``survey`` found out of one
holds of every other that has the same **skeleton**: the same names, brackets and spaces in the same order, byte for
byte, with scalars of any kind in the same places. So a skeleton becomes one pattern, and whatever matches it is well
formed, has no repeated name, and has declared and undeclared values where they are known to be.

- Literal in a skeleton is everything but scalars, and lists of scalars: a declared value is the one or the other. What
  is more than that stands in a skeleton with its brackets, so no declared value matches it, nor it a declared value.
- Numbers are matched up to a length: a longer one matches nothing, and is read by the book.
- Nothing is decided here that the slow way would decide otherwise; only the slow way tells what is wrong.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from proxy.model.api import Transform
from proxy.model.inspection import Beyond, Field, Inspection, Member
from proxy.model.json_path import JsonPath
from proxy.redaction.grammar import Grammar, scalar_pattern
from proxy.redaction.rulings import How
from proxy.redaction.survey import Edits, Survey
from proxy.redaction.values import ARRAY, NULL, OBJECT, Node

MAX_BYTES: Final = 8192
"""Of a unit of which a shape is made."""
MAX_SLOTS: Final = 256
MAX_PLANS: Final = 8
"""Of a shape: ways in which records of it are rewritten."""
MAX_SEPARATORS: Final = 4
"""Of a plan: what stands between two units."""

Stretch = tuple[int, int]


class Piece(NamedTuple):
    """A part of what leaves of a unit: as it stands, or something in its place."""

    group: int
    declared: Field | Member | None
    how: How | None


class Plan:
    """A pattern of all units of a shape that are treated alike.

    Args:
        body: the pattern; its first group is the unit.
        groups: how many it has, and one for what follows the last unit.
        country: the group of the country; 0 where none is there. ``id_`` likewise.
        pieces: what leaves; empty where the unit leaves as it is.
        is_masking: whether a field is transformed.
    """

    __slots__ = ("_body", "_rows", "country", "groups", "id", "is_masking", "match", "pieces")

    def __init__(
        self, body: bytes, groups: int, country: int, id_: int, pieces: tuple[Piece, ...], *, is_masking: bool
    ) -> None:
        self._body = body
        self.groups = groups
        self.country = country
        self.id = id_
        self.pieces = pieces
        self.is_masking = is_masking
        self.match = re.compile(body).match
        self._rows: dict[bytes, re.Pattern[bytes]] = {}

    def split(self, text: memoryview, separator: bytes) -> list[bytes | None]:
        """Return units that stand in a row, as ``re.split`` does: nothing, then the groups, for each; nothing at last.

        What follows the last unit counts as one more, and is its last group; its others are None. No byte is looked at
        twice.

        Args:
            text: begins with a unit.
            separator: what stands behind every unit.
        """
        rows = self._rows.get(separator)
        if rows is None:
            if len(self._rows) == MAX_SEPARATORS:
                self._rows.clear()
            rows = self._rows[separator] = re.compile(rb"(?s:%b%b|(.++))" % (self._body, re.escape(separator)))
        return rows.split(text)


class Skeleton(NamedTuple):
    """What units that look alike have in common."""

    raw: bytes
    """One of them, with nothing in the slots."""
    survey: Survey
    slots: Mapping[Stretch, bytes]
    """Where any scalar may stand, or any list of them, and the pattern of that."""
    country: Stretch | None
    """Where the country stands, None where none does."""
    id: Stretch | None
    body: bytes
    """A pattern of all of it, without groups."""


class Shape:
    """Units that look alike.

    Args:
        skeleton: theirs.
    """

    __slots__ = ("_plans", "_skeleton", "is_whole", "plain")

    def __init__(self, skeleton: Skeleton) -> None:
        self._skeleton = skeleton
        self._plans: dict[str, Plan | None] = {}
        self.is_whole = not skeleton.survey.undeclared
        """Whether nothing of it is undeclared."""
        self.plain = self._draw((), {}, {}, is_masking=False)
        """Of units that leave as they are."""

    def find_plan(self, key: str, changes: Mapping[int, How]) -> Plan | None:
        """Return how units of this shape leave under a ruling; None where that is found out one by one.

        Args:
            key: of the ruling.
            changes: what it does to declared values, by identity of their declaration.
        """
        if key not in self._plans:
            if len(self._plans) >= MAX_PLANS:
                return None
            self._plans[key] = self._make_plan(changes)
        return self._plans[key]

    def _make_plan(self, changes: Mapping[int, How]) -> Plan | None:
        survey = self._skeleton.survey
        removed: list[int] = []
        replaced: dict[int, How] = {}
        for number, leaf in enumerate(survey.leaves):
            how = changes.get(id(leaf.declared))
            if how is None:
                continue
            if leaf.owner is None or leaf.owner.kind == ARRAY:
                return None  # a slot may be for the list, none for its elements
            if how in {Transform.REMOVE, Beyond.TOTAL}:
                removed.append(number)
            else:
                replaced[number] = how
        edits = Edits(survey, removed, replaced)
        if not (edits.gone or edits.replaced):
            return self.plain
        is_masking = any(isinstance(survey.leaves[number].declared, Field) for number in (*removed, *replaced))
        return self._draw(edits.gone, edits.replaced, replaced, is_masking=is_masking)

    def _draw(
        self, gone: Collection[Stretch], anew: Mapping[Stretch, int], how: Mapping[int, How], *, is_masking: bool
    ) -> Plan:
        """Return the pattern with a group for whatever is asked of it."""
        skeleton = self._skeleton
        size = len(skeleton.raw)
        kept = _between([*gone, *anew], size) if gone or anew else []
        asked = [(0, size), *kept, *anew, *(each for each in (skeleton.country, skeleton.id) if each is not None)]
        body, numbers = _render(skeleton.raw, skeleton.slots, asked)
        leaves = skeleton.survey.leaves
        pieces = [(each, Piece(numbers[each], None, None)) for each in kept]
        pieces += [
            (stretch, Piece(numbers[stretch], leaves[number].declared, how[number])) for stretch, number in anew.items()
        ]
        return Plan(
            body,
            len(numbers) + 1,
            numbers[skeleton.country] if skeleton.country else 0,
            numbers[skeleton.id] if skeleton.id else 0,
            tuple(piece for _, piece in sorted(pieces, key=lambda each: each[0])),
            is_masking=is_masking,
        )


def _between(stretches: list[Stretch], size: int) -> list[Stretch]:
    """Return what lies between sorted-out stretches."""
    kept, at = [], 0
    for start, end in sorted(stretches):
        if start > at:
            kept.append((at, start))
        at = end
    return [*kept, (at, size)] if at < size else kept


def _render(raw: bytes, slots: Mapping[Stretch, bytes], asked: list[Stretch]) -> tuple[bytes, dict[Stretch, int]]:
    """Return a pattern of a skeleton, and the number of the group of each stretch that is asked for."""
    groups = sorted(set(asked), key=lambda each: (each[0], -each[1]))
    numbers = {stretch: number for number, stretch in enumerate(groups, start=1)}
    edges = sorted({len(raw), *(edge for stretch in (*groups, *slots) for edge in stretch)})
    patterns = {start: (end, pattern) for (start, end), pattern in slots.items()}
    parts, at = [], 0
    for edge in edges:
        if edge > at:
            end, pattern = patterns.get(at, (-1, b""))
            parts.append(pattern if end == edge else re.escape(raw[at:edge]))
        parts += [b")"] * sum(1 for stretch in groups if stretch[1] == edge)
        parts += [b"("] * sum(1 for stretch in groups if stretch[0] == edge)
        at = edge
    return b"".join(parts), numbers


class Learner:
    """Makes shapes of units that were read by the book.

    Args:
        inspection: what is declared.
        grammar: of the text.
        number_chars: the longest number.
    """

    __slots__ = ("_inspection", "_list", "_scalar")

    def __init__(self, inspection: Inspection, grammar: Grammar, number_chars: int) -> None:
        self._inspection = inspection
        self._scalar = scalar_pattern(number_chars)
        item = rb"%b%b%b" % (grammar.space, self._scalar, grammar.space)
        self._list = rb"\[(?:%b(?:,%b)*+|%b)\]" % (item, item, grammar.space)

    def find_skeleton(self, raw: bytes, node: Node, survey: Survey) -> Skeleton | None:
        """Return the skeleton of a unit, None of one that is hardly like any other."""
        if node.kind != OBJECT or len(raw) > MAX_BYTES:
            return None
        literal: set[int] = set()
        country = self._find(self._inspection.country, survey.record, literal)
        id_ = self._find(None if self._inspection.is_id_key else self._inspection.id, survey.record, literal)
        free = {leaf.node.start for leaf in survey.leaves}
        free |= {owner.children[index].start for owner, out in survey.undeclared.values() for index in out}
        slots = {
            (each.start, each.end): self._list if each.kind == ARRAY else self._scalar
            for each in _find_slots(node, survey.lists, free, literal)
        }
        for (start, end), pattern in slots.items():
            if start in survey.strays:  # null would be another matter
                slots[start, end] = b"(?!null)" + pattern
        spots = [(each.start, each.end) for each in (*country, *id_)]
        if len(country) > 1 or len(id_) > 1 or len(slots) > MAX_SLOTS or any(spot not in slots for spot in spots):
            return None
        bare = bytearray(raw)
        for start, end in slots:
            bare[start:end] = bytes(end - start)  # nothing personal is kept
        return Skeleton(
            bytes(bare),
            survey,
            slots,
            (country[0].start, country[0].end) if country else None,
            (id_[0].start, id_[0].end) if id_ else None,
            _render(raw, slots, [])[0],
        )

    def _find(self, path: JsonPath | None, node: Node, literal: set[int]) -> list[Node]:
        """Return what stands at a path, and note what is on the way: other scalars there would be another matter."""
        if path is None:
            return []
        nodes = [node]
        for step in path:
            literal |= {each.start for each in nodes}
            nodes = [
                child
                for each in nodes
                for at, child in enumerate(each.children)
                if not isinstance(step, str) or (each.kind == OBJECT and each.names[at] == step)
            ]
        return nodes


def _find_slots(
    node: Node, lists: Collection[int], free: Collection[int], literal: Collection[int], *, is_free: bool = False
) -> Iterator[Node]:
    """Yield in whose place any scalar may stand, or any list of scalars."""
    is_free = is_free or node.start in free
    if node.kind not in {OBJECT, ARRAY}:
        if is_free and not (node.start in literal and node.kind == NULL):
            yield node
    elif (
        node.kind == ARRAY
        and (is_free or node.start in lists)
        and node.start not in literal
        and all(child.kind not in {OBJECT, ARRAY} for child in node.children)
    ):
        yield node
    else:
        for child in node.children:
            yield from _find_slots(child, lists, free, literal, is_free=is_free)
