# SPDX-License-Identifier: Apache-2.0
"""What is left of a unit under a ruling: by the plan of its shape, or by the book."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from typing import Final, cast

from proxy.model.api import Transform
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.inspection import Beyond, Field
from proxy.redaction.rulings import NOWHERE, Countries, How, Ruling, Rulings
from proxy.redaction.shapes import Plan, Shape
from proxy.redaction.survey import Edits, Survey
from proxy.redaction.transforms import NULL, REDACTED

CONSTANTS: Final[Mapping[How, bytes]] = {Transform.REDACT: REDACTED, Transform.NULL: NULL}
"""Transforms that make the same of every value."""
NOTHING: Final = b"null"
"""In the place of an element that goes, so that those behind it stay where they are."""


class Unit:
    """A unit that awaits its verdict.

    Args:
        raw: its bytes.
        name: the name before it, as it stands there; empty where it has none.
        countries: of its subject.
        id_: of its subject.
        shape: it has, if any is known.
        survey: of it, if it was read by the book.
    """

    __slots__ = ("countries", "id", "name", "raw", "shape", "survey")

    def __init__(  # noqa: PLR0917 - one is made for each record
        self,
        raw: bytes,
        name: bytes = b"",
        countries: Countries = NOWHERE,
        id_: Fact[str] = UNKNOWN,
        shape: Shape | None = None,
        survey: Survey | None = None,
    ) -> None:
        self.raw = raw
        self.name = name
        self.countries = countries
        self.id = id_
        self.shape = shape
        self.survey = survey


class Batch:
    """Units in a row that one plan matches, by columns.

    Args:
        shape: they have.
        plan: that matches them.
        text: begins with the units.
        separator: stands behind each of them.
        is_lines: whether each is a document, and a line.
    """

    __slots__ = ("_parts", "_stride", "_text", "count", "is_lines", "plan", "separator", "shape", "size")

    def __init__(self, shape: Shape, plan: Plan, text: memoryview, separator: bytes, *, is_lines: bool) -> None:
        self.shape = shape
        self.plan = plan
        self.separator = separator
        self.is_lines = is_lines
        parts = plan.split(text, separator)
        self._stride = plan.groups + 1
        rest = parts[-2] if len(parts) > 1 else None
        self.count = len(parts) // self._stride - (rest is not None)
        self.size = len(text) - (0 if rest is None else len(rest))
        """Bytes of the units, with what stands behind each."""
        self._text = text
        self._parts = cast("Sequence[bytes]", parts)

    @property
    def text(self) -> bytes:
        """The units, with what stands between two."""
        return bytes(self._text[: self.size - len(self.separator)])

    def column(self, group: int) -> Sequence[bytes]:
        """Return what a group matched, unit by unit."""
        return self._parts[group : self.count * self._stride : self._stride]

    @property
    def units(self) -> Sequence[bytes]:
        """The units."""
        return self.column(1)


class Renderer:
    """Renders units.

    Args:
        rulings: knows what takes the place of values.
        resurvey: reads a unit by the book that a shape recognised.
    """

    __slots__ = ("_last", "_resurvey", "_rulings")

    def __init__(self, rulings: Rulings, resurvey: Callable[[bytes], Survey]) -> None:
        self._rulings = rulings
        self._resurvey = resurvey
        self._last: tuple[Shape, Plan] | None = None

    def plan_of(self, shape: Shape) -> Plan:
        """Return by which plan to read units of a shape in a row: the one by which units before were changed."""
        return self._last[1] if self._last is not None and self._last[0] is shape else shape.plain

    def find_plan(self, shape: Shape, ruling: Ruling) -> Plan | None:
        """Return how units of a shape leave under a ruling; None where that is found out one by one."""
        if shape.is_whole and not ruling.key:
            return shape.plain
        plan = shape.find_plan(ruling.key, ruling.changes)
        if plan is not None:
            self._last = shape, plan
        return plan

    def render(self, unit: Unit, ruling: Ruling) -> tuple[bytes, bool] | None:
        """Return what leaves of a unit, and whether it is masked; None where a transform does not fit."""
        shape = unit.shape
        if shape is not None:
            plan = self.find_plan(shape, ruling)
            if plan is shape.plain:
                return unit.raw, False
            match = plan.match(unit.raw) if plan is not None else None
            if plan is not None and match is not None:
                made = self._compose(plan, [(match[piece.group],) for piece in plan.pieces])[0]
                if made is not None:
                    return made, plan.is_masking
        return self.render_by_book(unit.raw, unit.survey, ruling)

    def compose(self, batch: Batch, plan: Plan | None, chosen: Sequence[bool]) -> list[bytes | None]:
        """Return what is left of units in a row by a plan, of those that are chosen; None where it cannot be had so."""
        units = list(compress(batch.units, chosen))
        if plan is batch.shape.plain:
            return cast("list[bytes | None]", units)
        if plan is batch.plan:
            return self._compose(plan, [list(compress(batch.column(group), chosen)) for group, _, _ in plan.pieces])
        matches = [plan.match(raw) for raw in units] if plan is not None else []
        if plan is None or None in matches:
            return [None] * len(units)
        found = cast("list[re.Match[bytes]]", matches)
        return self._compose(plan, [[match[group] for match in found] for group, _, _ in plan.pieces])

    def _compose(self, plan: Plan, columns: Sequence[Sequence[bytes]]) -> list[bytes | None]:
        changed: list[Sequence[bytes | None]] = []
        fits = True
        for (_, declared, how), column in zip(plan.pieces, columns, strict=True):
            if declared is None or how is None:
                changed.append(column)
                continue
            fixed = CONSTANTS.get(how)
            if fixed is not None:
                changed.append([fixed] * len(column))
                continue
            change = self._rulings.changer(declared, how)
            made = [change(raw) for raw in column]
            fits = fits and None not in made
            changed.append(made)
        rows = zip(*changed, strict=True)
        if fits:
            return [b"".join(row) for row in cast("Iterable[Sequence[bytes]]", rows)]
        return [None if None in row else b"".join(cast("Sequence[bytes]", row)) for row in rows]

    def render_by_book(self, raw: bytes, survey: Survey | None, ruling: Ruling) -> tuple[bytes, bool] | None:
        """Return what leaves of a unit, read anew where no survey of it is at hand; see ``render``."""
        survey = survey or self._resurvey(raw)
        removed: list[int] = []
        values: dict[int, bytes] = {}
        is_masked = False
        for number, leaf in enumerate(survey.leaves):
            how = ruling.changes.get(id(leaf.declared))
            if how is None:
                continue
            is_field = isinstance(leaf.declared, Field)
            is_masked = is_masked or is_field
            made = None
            if how not in {Transform.REMOVE, Beyond.TOTAL}:
                made = self._rulings.changer(leaf.declared, how)(raw[leaf.node.start : leaf.node.end])
                if made is None and is_field:
                    return None
            if made is None:
                removed.append(number)
            values[number] = NOTHING if made is None else made
        if not (values or survey.undeclared):
            return raw, is_masked
        replaced = [number for number in values if number not in removed]
        return Edits(survey, removed, replaced).apply(raw, values), is_masked
