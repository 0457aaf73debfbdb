# SPDX-License-Identifier: Apache-2.0
"""What other parties wrote reads in one way or not at all: LESSONS section 5, duplicate claims in the payload."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.caller.json_object import read_object

REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a text": b'"a"',
    "a number": b"1",
    "a name twice": b'{"a":1,"a":2}',
    "a name twice, once escaped": b'{"a":1,"\\u0061":1}',
    "a name twice further down": b'{"x":[{"a":1,"a":1}]}',
    "NaN": b'{"a":NaN}',
    "infinity": b'{"a":Infinity}',
    "minus infinity": b'{"a":-Infinity}',
    "infinity spelled as a number": b'{"a":1e999}',
    "five thousand digits": b'{"a":' + b"9" * 5000 + b"}",
    "no UTF-8": b'{"a":"\xff"}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "a byte order mark": '{"a":1}'.encode("utf-8-sig"),
    "half a surrogate": b'{"a":"\\ud800"}',
    "half a surrogate as a name": b'{"\\udfff":1}',
    "text behind": b"{}{}",
    "nesting without end": b'{"a":' + b"[" * 100_000,
    "nesting that ends": b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_bytes_are_no_object_that_are(data: bytes) -> None:
    assert read_object(data) is None


@given(st.binary(max_size=60))
def test_no_bytes_raise(data: bytes) -> None:
    assert isinstance(read_object(data), (dict, type(None)))


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3) | st.none() | st.booleans()))
def test_an_object_reads_as_it_was_written(value: dict[str, object]) -> None:
    try:
        data = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert read_object(data) == value
