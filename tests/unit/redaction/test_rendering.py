# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence
from typing import Final

import pytest

from proxy.model.api import Transform
from proxy.model.facts import UNKNOWN
from proxy.model.filtering import Verdict
from proxy.redaction.grammar import DOCUMENT
from proxy.redaction.places import find_unit, locate
from proxy.redaction.rendering import Batch, Renderer, Unit
from proxy.redaction.rulings import Ruling, Rulings
from proxy.redaction.shapes import Learner, Plan, Shape
from proxy.redaction.survey import Survey
from proxy.redaction.values import ValueReader
from tests.support.filtering import ALLOWED, TREATMENT, ByCountry, declare, masking

DECLARED: Final = declare(records="$[*]", country="$.country", id="$.id")
RAW: Final = b'{"id":"1","x":[7],"name":"Minjun","country":"KR"}'
UNFIT: Final = b'{"id":"1","x":[7],"name":17,"country":"KR"}'


def survey_of(raw: bytes) -> Survey:
    node = ValueReader(DOCUMENT, 1000, 64, 128).read(raw, 0, is_ended=True)
    assert node is not None
    return Survey(DECLARED, find_unit(locate(DECLARED), DECLARED.records), node)


def shape_of(raw: bytes) -> Shape:
    node = ValueReader(DOCUMENT, 1000, 64, 128).read(raw, 0, is_ended=True)
    assert node is not None
    skeleton = Learner(DECLARED, DOCUMENT, 128).find_skeleton(raw, node, survey_of(raw))
    assert skeleton is not None
    return Shape(skeleton)


def judged(verdict: Verdict) -> tuple[Renderer, Ruling]:
    rulings = Rulings(DECLARED, ByCountry({UNKNOWN: verdict}), TREATMENT)
    ruling = rulings.of((UNKNOWN,), UNKNOWN)
    assert ruling is not None
    return Renderer(rulings, survey_of), ruling


VERDICTS: Final = {
    "nothing": (ALLOWED, b'{"id":"1","name":"Minjun","country":"KR"}', False),
    "mask": (masking({"user.name": Transform.MASK}), b'{"id":"1","name":"**njun","country":"KR"}', True),
    "remove": (masking({"user": Transform.REMOVE}), b"{}", True),
    "redact": (
        masking({"user.name": Transform.REDACT, "user.country": Transform.NULL}),
        b'{"id":"1","name":"[redacted]","country":null}',
        True,
    ),
}


@pytest.mark.parametrize("says", VERDICTS)
def test_a_plan_and_the_book_agree(says: str) -> None:
    verdict, left, is_masked = VERDICTS[says]
    renderer, ruling = judged(verdict)
    assert renderer.render(Unit(RAW, survey=survey_of(RAW)), ruling) == (left, is_masked)
    assert renderer.render(Unit(RAW, shape=shape_of(RAW)), ruling) == (left, is_masked)
    assert renderer.render_by_book(RAW, None, ruling) == (left, is_masked)


def test_what_does_not_fit_leaves_nothing() -> None:
    renderer, ruling = judged(masking({"user.name": Transform.MASK}))
    for unit in (Unit(UNFIT), Unit(UNFIT, shape=shape_of(RAW))):
        assert renderer.render(unit, ruling) is None


def batch_of(shape: Shape, plan: Plan, raws: Sequence[bytes], rest: bytes = b"") -> Batch:
    return Batch(shape, plan, memoryview(b"".join(raw + b"," for raw in raws) + rest), b",", is_lines=False)


@pytest.mark.parametrize("rest", [b"", b"x", RAW])
def test_a_batch_has_columns(rest: bytes) -> None:
    shape = shape_of(RAW)
    batch = batch_of(shape, shape.plain, [RAW, UNFIT], rest)
    assert batch.count == 2
    assert batch.units == [RAW, UNFIT]
    assert batch.text == RAW + b"," + UNFIT
    assert batch.size == len(batch.text) + 1
    assert batch.column(shape.plain.country) == [b'"KR"', b'"KR"']


@pytest.mark.parametrize("says", VERDICTS)
def test_units_in_a_row_come_to_the_same_as_one_by_one(says: str) -> None:
    verdict, left, _ = VERDICTS[says]
    renderer, ruling = judged(verdict)
    shape = shape_of(RAW)
    plan = renderer.find_plan(shape, ruling)
    assert plan is not None
    assert renderer.plan_of(shape) is plan
    for by in (shape.plain, plan):
        batch = batch_of(shape, by, [RAW, UNFIT, RAW])
        assert renderer.compose(batch, plan, [True, False, True]) == [left, left]


def test_units_in_a_row_that_do_not_fit_are_left_out() -> None:
    renderer, ruling = judged(VERDICTS["mask"][0])
    shape = shape_of(RAW)
    plan = renderer.find_plan(shape, ruling)
    made = renderer.compose(batch_of(shape, shape.plain, [RAW, UNFIT]), plan, [True, True])
    assert made == [VERDICTS["mask"][1], None]
    assert renderer.compose(batch_of(shape, shape.plain, [RAW]), None, [True]) == [None]
