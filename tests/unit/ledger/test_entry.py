# SPDX-License-Identifier: Apache-2.0
"""The frame of a line: what is written is read back, and whatever is no frame is told from one."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.clock import render_instant
from proxy.ledger.entry import FIRST_PREV, HASH_LENGTH, TIME_LENGTH, Frame, encode_body, frame, read_frame
from proxy.ledger.lines import KeysLine, StopLine

TIME = b"2026-11-22T06:04:01.123Z"
LINE = frame(17, FIRST_PREV, TIME, encode_body(StopLine()))
HASHES = st.binary(min_size=32, max_size=32).map(base64.b64encode)


def test_a_line_is_its_frame_then_its_kind_then_the_rest() -> None:
    line = frame(17, FIRST_PREV, TIME, encode_body(KeysLine(pseudonyms="2026-11")))
    assert line == (
        b'{"n":17,"prev":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=","time":"2026-11-22T06:04:01.123Z",'
        b'"line":"keys","pseudonyms":"2026-11"}'
    )
    assert read_frame(line) == Frame(17, FIRST_PREV, TIME, "keys")


def test_the_lengths_are_those_of_every_line() -> None:
    assert (len(FIRST_PREV), len(TIME)) == (HASH_LENGTH, TIME_LENGTH)


@given(st.integers(0, 10**19 - 1), HASHES, st.integers(0, 253402300799), st.text())
def test_a_frame_that_was_written_is_read_back(n: int, prev: bytes, seconds: int, text: str) -> None:
    time = render_instant(seconds).encode()
    line = frame(n, prev, time, encode_body(KeysLine(pseudonyms=text)))
    assert read_frame(line) == Frame(n, prev, time, "keys")
    assert json.loads(line) == {
        "n": n,
        "prev": prev.decode(),
        "time": time.decode(),
        "line": "keys",
        "pseudonyms": text,
    }


@given(st.text())
def test_no_reader_takes_what_is_inside_a_line_for_its_end(text: str) -> None:
    line = encode_body(KeysLine(pseudonyms=text)).decode()
    assert line.splitlines() == [line]
    assert "\x7f" not in line


NO_FRAMES = [
    pytest.param(b"", id="nothing"),
    pytest.param(LINE[:-3], id="it ends within its kind"),
    pytest.param(LINE[1:], id="its first character is missing"),
    pytest.param(b" " + LINE, id="a space stands before it"),
    pytest.param(LINE.replace(b'"n":17', b'"n":017'), id="a number begins with zero"),
    pytest.param(LINE.replace(b'"n":17', b'"n":-1'), id="a number is negative"),
    pytest.param(LINE.replace(b'"n":17', b'"n":1e3'), id="a number is written with an exponent"),
    pytest.param(LINE.replace(b'"n":17', b'"n":' + b"9" * 20), id="a number is longer than any ledger"),
    pytest.param(LINE.replace(b'"n":17', '"n":١'.encode()), id="a number is of other digits"),
    pytest.param(LINE.replace(b",", b", "), id="there are spaces"),
    pytest.param(LINE.replace(b"47DE", b"47D"), id="a hash is short"),
    pytest.param(LINE.replace(b"47DE", b"47_E"), id="a hash is in the base64 of URLs"),
    pytest.param(LINE.replace(b"123Z", b"123+00:00"), id="a time has an offset"),
    pytest.param(LINE.replace(b".123Z", b"Z"), id="a time has no milliseconds"),
    pytest.param(LINE.replace(b'"stop"', b'"Stop"'), id="a kind has a capital"),
    pytest.param(LINE.replace(b'"stop"', b'""'), id="a kind is empty"),
    pytest.param(LINE.replace(b'"stop"', b'"' + b"a" * 33 + b'"'), id="a kind is long"),
    pytest.param(LINE.replace(b'"n":17,"prev"', b'"prev":"","n":17,"prev"'), id="the order is another"),
    pytest.param(b"\0" * len(LINE), id="zeros"),
]


@pytest.mark.parametrize("line", NO_FRAMES)
def test_it_is_no_frame_where(line: bytes) -> None:
    assert read_frame(line) is None


@given(st.binary(max_size=200))
def test_reading_a_frame_takes_any_bytes(line: bytes) -> None:
    read_frame(line)


@given(st.integers(0, len(LINE) - 1), st.integers(1, 255))
def test_a_line_with_another_byte_is_no_frame_or_another_one_or_differs_behind_it(at: int, change: int) -> None:
    changed = bytearray(LINE)
    changed[at] ^= change
    read = read_frame(bytes(changed))
    assert read is None or read != read_frame(LINE) or at >= LINE.index(b'"stop"') + len(b'"stop"')
