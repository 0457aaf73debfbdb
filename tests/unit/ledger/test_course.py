# SPDX-License-Identifier: Apache-2.0
"""The course of events: what rows of times may be taken at once."""

from typing import Final

import pytest

from proxy.clock import render_instant
from proxy.ledger.course import ROW_LENGTH, Course, is_silence
from tests.support.tampering import NOON


def row(seconds: float, kind: str = "decision") -> bytes:
    return f'{render_instant(NOON + seconds)}","line":"{kind}"'.encode()[:ROW_LENGTH]


ROWS: Final[dict[str, tuple[list[bytes], list[int] | None]]] = {
    "one after another": ([row(0), row(0.001), row(5), row(5, "end"), row(6)], []),
    "over an hour, in steps": ([row(60 * minutes) for minutes in range(200)], []),
    "kinds that say something of the ledger": (
        [row(0), row(1, "checkpoint"), row(1, "released"), row(1, "recovered"), row(1, "start"), row(1, "refusals")],
        [1, 3, 4],
    ),
    "one that goes back": ([row(0), row(5), row(4.999), row(6)], None),
    "before what came before": ([row(-1)], None),
    "a silence": ([row(0), row(3900), row(3901)], None),
    "a silence before": ([row(4000)], None),
    "a month that is none": ([row(0), row(1).replace(b"-11-", b"-13-")], None),
    "a second that is none": ([row(0), row(1).replace(b":01.", b":61."), row(120)], None),
    "no time": ([row(0), b"x" * ROW_LENGTH], None),
    "a row that is cut off": ([row(0), row(1)[:-2]], None),
}


@pytest.mark.parametrize(("rows", "expected"), ROWS.values(), ids=ROWS)
def test_rows_are_taken_at_once_if_they_need_no_closer_look(rows: list[bytes], expected: list[int] | None) -> None:
    course = Course()
    assert course.passes([row(-0.5)]) == []
    assert course.passes(rows) == expected
    assert course.until == (rows[-1] if expected is not None else row(-0.5))[:24]
    assert course.since == row(-0.5)[:24]


def test_a_start_explains_a_silence_across_what_stands_before_it() -> None:
    for last, problems in (("start", 0), ("decision", 1)):
        course = Course()
        course.see(row(0)[:24], "decision", (1, 0))
        course.turn("decision", (1, 0))
        for n, kind in enumerate(("recovered", "segment", "bundle", last), 2):
            course.see(row(9000)[:24], kind, (n, n - 1))
            course.turn(kind, (n, n - 1))
        assert [(kind, place) for kind, place, _ in course.problems] == [("gap", (2, 1))] * problems


def test_silence_is_more_than_65_minutes() -> None:
    at = [render_instant(NOON + seconds) for seconds in (0, 3900, 3900.001)]
    assert (is_silence(at[0], at[1]), is_silence(at[0], at[2]), is_silence("", at[2])) == (False, True, False)
