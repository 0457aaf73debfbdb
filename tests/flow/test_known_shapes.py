# SPDX-License-Identifier: Apache-2.0
"""What is recognised at a glance comes to what it comes to by the book, whatever was seen before."""

import re
from typing import Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.model.inspection import Inspection
from proxy.redaction import kept_shapes
from proxy.redaction.filters import make_filter
from proxy.redaction.treatment import Treatment
from tests.support.json_draws import answers, inspections, tables
from tests.support.json_writing import SPLITS, split
from tests.support.judging import Table, TableJudge, drive, name_value, seal_cursor

BY_THE_BOOK: Final = 1_000_000
"""Sightings of a skeleton before it becomes a shape: more than there are."""
SCALAR: Final = re.compile(rb'"(?:[^"\\]|\\.)*"(?!\s*:)|-?[0-9][0-9.eE+-]*|true|false|null')
OTHERS: Final = st.sampled_from(
    [
        *(
            b"null",
            b"true",
            b"7",
            b"-0.5e1",
            b'""',
            b'"x"',
            b'"JP"',
            b'"TW"',
            b'["JP"]',
            b"[]",
            b"{}",
            b'[1,"JP",null]',
        ),
        *(b'"\\u004aP"', b'"\\"', b"01", b"1" * 130, b'{"a":1,"a":2}', b"[[]]", '"あ"'.encode()),
    ]
)


@st.composite
def altered(draw: st.DrawFn, body: bytes) -> bytes:
    """Return a body with some scalars in it replaced."""
    spots = [match.span() for match in SCALAR.finditer(body)]
    chosen = draw(st.lists(st.sampled_from(spots), max_size=3, unique=True)) if spots else []
    for start, end in sorted(chosen, reverse=True):
        body = body[:start] + draw(OTHERS) + body[end:]
    return body


def come_to(inspection: Inspection, table: Table, treatment: Treatment, body: bytes, sizes: list[int]) -> object:
    judge = TableJudge(table, asks=False)
    return drive(make_filter(inspection, judge, treatment), judge, split(body, sizes)).outcome


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(st.data(), inspections(), tables(), st.booleans(), SPLITS)
def test_a_glance_and_the_book_agree(
    data: st.DataObject,
    inspection: Inspection,
    table: Table,
    hides: bool,  # noqa: FBT001
    sizes: list[int],
) -> None:
    treatment = Treatment(name=name_value, seal=seal_cursor, hides=hides)
    body = data.draw(answers(inspection)).body
    bodies = [body, *(data.draw(altered(body)) for _ in range(4))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_shapes, "SIGHTINGS", 1)
        at_a_glance = [come_to(inspection, table, treatment, each, sizes) for each in bodies]
        patch.setattr(kept_shapes, "SIGHTINGS", BY_THE_BOOK)
        unseen = msgspec.structs.replace(inspection)
        by_the_book = [come_to(unseen, table, treatment, each, sizes) for each in bodies]
    assert at_a_glance == by_the_book
