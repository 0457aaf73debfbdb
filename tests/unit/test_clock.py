# SPDX-License-Identifier: Apache-2.0
"""Instants: RFC 3339 in UTC, always of one length, so that they sort as they happened."""

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.clock import elapsed_seconds, render_instant, unix_seconds

INSTANTS = [
    pytest.param(0.0, "1970-01-01T00:00:00.000Z", id="the beginning"),
    pytest.param(1616457600.0, "2021-03-23T00:00:00.000Z", id="a whole second keeps its milliseconds"),
    pytest.param(1616457600.9996, "2021-03-23T00:00:00.999Z", id="milliseconds are cut, not rounded up"),
    pytest.param(951782400.5, "2000-02-29T00:00:00.500Z", id="a leap day"),
    pytest.param(2147483648.0, "2038-01-19T03:14:08.000Z", id="behind the end of 32 bits"),
]  # fmt: skip
UNIX = st.floats(0, 253402300799, allow_nan=False)


@pytest.mark.parametrize(("unix", "rendered"), INSTANTS)
def test_an_instant_is_rendered(unix: float, rendered: str) -> None:
    assert render_instant(unix) == rendered


@given(UNIX)
def test_a_rendered_instant_has_one_form_and_reads_back_to_the_millisecond(unix: float) -> None:
    rendered = render_instant(unix)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", rendered)
    assert abs(datetime.fromisoformat(rendered).timestamp() - unix) <= 0.0011


@given(UNIX, UNIX)
def test_rendered_instants_sort_as_they_happened(one: float, other: float) -> None:
    first, second = sorted((one, other))
    assert render_instant(first) <= render_instant(second)


def test_the_wall_clock_is_ours_and_the_elapsed_one_never_goes_back() -> None:
    assert unix_seconds() > 1616457600
    readings = [elapsed_seconds() for _ in range(1000)]
    assert readings == sorted(readings)
