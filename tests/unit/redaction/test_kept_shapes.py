# SPDX-License-Identifier: Apache-2.0
from typing import Final

from proxy.redaction.grammar import DOCUMENT
from proxy.redaction.kept_shapes import MAX_CANDIDATES, MAX_SHAPES, RARE, SIGHTINGS, KeptShapes
from proxy.redaction.places import find_unit, locate
from proxy.redaction.shapes import Learner, Skeleton
from proxy.redaction.survey import Survey
from proxy.redaction.values import Node, ValueReader
from tests.support.filtering import declare

DECLARED: Final = declare(records="$[*]")


def kept() -> KeptShapes:
    return KeptShapes(Learner(DECLARED, DOCUMENT, 128))


def note(shapes: KeptShapes, name: str, times: int) -> None:
    raw = f'{{"{name}":1}}'.encode()
    for _ in range(times):
        node = ValueReader(DOCUMENT, 1000, 64, 128).read(raw, 0, is_ended=True)
        assert node is not None
        shapes.note(raw, node, Survey(DECLARED, find_unit(locate(DECLARED), DECLARED.records), node))


def test_what_was_seen_often_becomes_a_shape() -> None:
    shapes = kept()
    note(shapes, "a", SIGHTINGS - 1)
    assert shapes.shapes == []
    note(shapes, "a", 1)
    assert [one.plain.match(b'{"a":2}') is not None for one in shapes.shapes] == [True]


def test_a_shape_that_is_met_goes_forward() -> None:
    shapes = kept()
    for name in "abc":
        note(shapes, name, SIGHTINGS)
    first, second, last = shapes.shapes
    shapes.meet(last)
    assert shapes.shapes == [first, last, second]
    shapes.meet(last)
    shapes.meet(last)
    assert shapes.shapes == [last, first, second]


def test_many_kinds_of_records_make_few_shapes() -> None:
    shapes = kept()
    for number in range(MAX_SHAPES + 5):
        note(shapes, f"n{number}", SIGHTINGS)
    assert len(shapes.shapes) == MAX_SHAPES
    assert shapes.shapes[0].plain.match(b'{"n%d":1}' % (MAX_SHAPES - 1)) is not None
    note(shapes, "often", SIGHTINGS * RARE)
    assert len(shapes.shapes) == MAX_SHAPES
    assert shapes.shapes[0].plain.match(b'{"often":1}') is not None


def test_kinds_that_differ_without_end_are_forgotten() -> None:
    shapes = kept()
    for number in range(MAX_CANDIDATES * 3):
        note(shapes, f"n{number}", 1)
    assert len(shapes._sightings) <= MAX_CANDIDATES


class CountingLearner(Learner):
    """Counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__(DECLARED, DOCUMENT, 128)
        self.asked = 0

    def find_skeleton(self, raw: bytes, node: Node, survey: Survey) -> Skeleton | None:
        self.asked += 1
        return super().find_skeleton(raw, node, survey)


def test_where_there_are_too_many_kinds_few_records_are_looked_at() -> None:
    """To find the skeleton of a record costs as much as to read it."""
    learner = CountingLearner()
    shapes = KeptShapes(learner)
    for number in range(MAX_SHAPES):
        note(shapes, f"n{number}", SIGHTINGS)
    assert learner.asked == MAX_SHAPES * SIGHTINGS
    for number in range(RARE * 10):
        note(shapes, f"m{number}", 1)
    assert learner.asked == MAX_SHAPES * SIGHTINGS + 10
