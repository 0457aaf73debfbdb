# SPDX-License-Identifier: Apache-2.0
"""Ids of requests say when they were asked; whatever is no id of ours says nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.ids import make_request_id
from proxy.model.request_id import ALPHABET, LENGTH, read_instant

ID = "01ARYZ6S41TSV4RRFFQ69G5FAV"
NO_IDS = [
    pytest.param("", id="empty"),
    pytest.param(ID[:-1], id="short"),
    pytest.param(ID + "0", id="long"),
    pytest.param(ID.lower(), id="in small letters"),
    pytest.param(ID.replace("V", "U"), id="with a letter that the alphabet leaves out"),
    pytest.param(ID[:-1] + "\n", id="with a line feed"),
    pytest.param(ID[:-1] + "１", id="with a digit of full width"),
]


def test_the_example_of_the_ulid_specification_is_read() -> None:
    assert read_instant(ID) == 1469918176.385


@given(st.integers(0, 2**48 - 1))
def test_the_instant_of_an_id_is_read_back_to_the_millisecond(milliseconds: int) -> None:
    instant = read_instant(make_request_id(milliseconds / 1000))
    assert instant is not None
    assert abs(instant * 1000 - milliseconds) < 1.01


@pytest.mark.parametrize("text", NO_IDS)
def test_it_is_no_id_where_it_is(text: str) -> None:
    assert read_instant(text) is None


@given(st.text(alphabet=ALPHABET, min_size=LENGTH, max_size=LENGTH) | st.text())
def test_reading_takes_any_text(text: str) -> None:
    instant = read_instant(text)
    assert (instant is not None) == (len(text) == LENGTH and set(text) <= set(ALPHABET))
