# SPDX-License-Identifier: Apache-2.0
"""What is left of a unit under a ruling: by the plan of its shape, or by the book."""

from collections.abc import Callable, Sequence
from typing import Final, cast

from proxy.model.api import Transform
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.inspection import Beyond, Field
from proxy.redaction.rulings import NOWHERE, Countries, Ruling, Rulings
from proxy.redaction.shapes import Plan, Shape
from proxy.redaction.survey import Edits, Survey

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
        parts: as ``Plan.split`` returns them.
        is_lines: whether each is a document, and a line.
    """

    __slots__ = ("_parts", "_stride", "count", "is_lines", "plan", "shape")

    def __init__(self, shape: Shape, plan: Plan, parts: Sequence[bytes | None], *, is_lines: bool) -> None:
        self.shape = shape
        self.plan = plan
        self.is_lines = is_lines
        self._stride = plan.groups + 1
        count = len(parts) // self._stride
        if count and parts[(count - 1) * self._stride + 1] is None:
            count -= 1  # what follows the last unit
        self.count = count
        self._parts = cast("Sequence[bytes]", parts)

    def column(self, group: int) -> Sequence[bytes]:
        """Return what a group matched, unit by unit."""
        return self._parts[group : self.count * self._stride : self._stride]

    def row(self, index: int) -> Sequence[bytes]:
        """Return what the groups of a unit matched, by their numbers."""
        return self._parts[index * self._stride : (index + 1) * self._stride]

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

    __slots__ = ("_resurvey", "_rulings")

    def __init__(self, rulings: Rulings, resurvey: Callable[[bytes], Survey]) -> None:
        self._rulings = rulings
        self._resurvey = resurvey

    def render(self, unit: Unit, ruling: Ruling) -> tuple[bytes, bool] | None:
        """Return what leaves of a unit, and whether it is masked; None where a transform does not fit."""
        shape = unit.shape
        if shape is not None:
            if shape.is_whole and not ruling.key:
                return unit.raw, False
            plan = shape.find_plan(ruling.key)
            match = plan.match(unit.raw) if plan is not None else None
            if plan is not None and match is not None:
                made = self.compose(plan, (b"", *match.groups()))
                if made is not None:
                    return made, plan.is_masking
        return self._render_by_book(unit.raw, unit.survey or self._resurvey(unit.raw), ruling)

    def compose(self, plan: Plan, groups: Sequence[bytes]) -> bytes | None:
        """Put the pieces of a unit together, None where one of them cannot be had so."""
        if not plan.pieces:
            return groups[1]
        parts = []
        for group, declared, how in plan.pieces:
            part = groups[group]
            if declared is not None and how is not None:
                made = self._rulings.change(declared, how, part)
                if made is None:
                    return None
                part = made
            parts.append(part)
        return b"".join(parts)

    def _render_by_book(self, raw: bytes, survey: Survey, ruling: Ruling) -> tuple[bytes, bool] | None:
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
                made = self._rulings.change(leaf.declared, how, raw[leaf.node.start : leaf.node.end])
                if made is None and is_field:
                    return None
            if made is None:
                removed.append(number)
            values[number] = NOTHING if made is None else made
        if not (values or survey.undeclared):
            return raw, is_masked
        replaced = [number for number in values if number not in removed]
        return Edits(survey, removed, replaced).apply(raw, values), is_masked
