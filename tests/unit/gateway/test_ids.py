# SPDX-License-Identifier: Apache-2.0
"""Request ids: ULIDs that sort by time, differ within one millisecond, and read as 128 bits."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.ids import make_request_id

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
MOMENTS = st.integers(0, 2**48 - 1)

KNOWN = [
    pytest.param(0.0, "0000000000", id="the beginning"),
    pytest.param(1469918176.385, "01ARYZ6S41", id="the example of the ULID specification"),
    pytest.param((2**48 - 1) / 1000, "7ZZZZZZZZZ", id="the last moment"),
]


def decode(text: str) -> int:
    number = 0
    for letter in text:
        number = number * 32 + ALPHABET.index(letter)
    return number


@pytest.mark.parametrize(("now", "prefix"), KNOWN)
def test_an_id_begins_with_its_time(now: float, prefix: str) -> None:
    assert make_request_id(now)[:10] == prefix


@given(MOMENTS)
def test_an_id_is_a_ulid_and_its_time_is_read_back(milliseconds: int) -> None:
    made = make_request_id(milliseconds / 1000)
    assert re.fullmatch(rf"[0-7][{ALPHABET}]{{25}}", made)
    assert abs((decode(made) >> 80) - milliseconds) <= 1


@given(MOMENTS, MOMENTS)
def test_ids_sort_by_time(one: int, other: int) -> None:
    first, second = sorted((one, other))
    if second - first > 1:
        assert make_request_id(first / 1000) < make_request_id(second / 1000)


def test_ids_of_one_moment_all_differ_and_use_all_of_their_random_bits() -> None:
    tails = [decode(make_request_id(0)[10:]) for _ in range(2000)]
    assert len(set(tails)) == len(tails)
    ones = [sum(tail >> bit & 1 for tail in tails) for bit in range(80)]
    assert [bit for bit, count in enumerate(ones) if not 700 < count < 1300] == []


def test_a_forked_process_gives_other_ids() -> None:
    make_request_id(0)  # more random parts are drawn than one needs
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, make_request_id(0).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)
    assert len(theirs) == 26
    assert theirs not in {make_request_id(0) for _ in range(1000)}
