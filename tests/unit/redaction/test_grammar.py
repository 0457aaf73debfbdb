# SPDX-License-Identifier: Apache-2.0
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.decision import Reason
from proxy.model.filtering import AnswerRefusedError
from proxy.redaction.grammar import (
    DOCUMENT,
    LINE,
    NUMBER,
    PUNCTUATION,
    TEXT,
    WORD,
    find_scalar_end,
    find_string_end,
    is_integer,
    read_string,
    scalar_pattern,
)


@pytest.mark.parametrize(
    ("text", "kind", "end"),
    [
        (b' \t\r\n{"a"', PUNCTUATION, 5),
        (b'"a\\"b" ', TEXT, 6),
        (b"-1.5e+3,", NUMBER, 7),
        (b"0]", NUMBER, 1),
        (b"true1", WORD, 4),
    ],
)
def test_a_whole_token_is_known(text: bytes, kind: int, end: int) -> None:
    match = DOCUMENT.token(text)
    assert match is not None
    assert (match.lastindex, match.end()) == (kind, end)


@pytest.mark.parametrize(
    "text", [b"12", b"-", b'"a', b'"\\u00', b"tru", b"", b"01", b"1.", b"x", b"\xef\xbb\xbf{", b'"\x01"']
)
def test_what_may_go_on_or_is_none_is_no_token(text: bytes) -> None:
    assert DOCUMENT.token(text) is None


def test_a_line_feed_stands_in_no_line() -> None:
    assert DOCUMENT.token(b"\n1,") is not None
    assert LINE.token(b"\n1,") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'abc"x', (4, True)),
        (b"abc", (3, False)),
        (b"ab\\", (2, False)),
        (b"ab\\u12", (2, False)),
        (b'ab\\u12ab"', (9, True)),
        (b"", (0, False)),
    ],
)
def test_a_string_is_looked_for_from_anywhere_within(text: bytes, found: tuple[int, bool]) -> None:
    assert find_string_end(text, 0, len(text)) == found


@pytest.mark.parametrize("text", [b"a\x00", b"a\\x", b"a\\u12g", b"\n", b"\\ "])
def test_what_is_no_string_is_refused(text: bytes) -> None:
    with pytest.raises(AnswerRefusedError) as refused:
        find_string_end(text, 0, len(text))
    assert refused.value.reason is Reason.ANSWER_MALFORMED


@pytest.mark.parametrize("text", [b"-", b"1", b"1.", b"1.5e", b"1e+", b"t", b"nul", b"f", b"fals"])
def test_a_scalar_may_go_on(text: bytes) -> None:
    assert find_scalar_end(text, 0, len(text), 8, is_ended=False) == -1


def test_a_number_ends_with_the_text() -> None:
    assert find_scalar_end(b"1.5", 0, 3, 8, is_ended=True) == 3
    assert find_scalar_end(b"1.", 0, 2, 8, is_ended=True) == -1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"123456789", Reason.ANSWER_NUMBER_TOO_LONG),
        (b"1234567.9x", Reason.ANSWER_NUMBER_TOO_LONG),
        (b"01,", Reason.ANSWER_MALFORMED),
        (b"-x", Reason.ANSWER_MALFORMED),
        (b"e", Reason.ANSWER_MALFORMED),
        (b".5", Reason.ANSWER_MALFORMED),
        (b"nulx", Reason.ANSWER_MALFORMED),
        (b"\xef", Reason.ANSWER_MALFORMED),
    ],
)
def test_what_is_no_scalar_is_refused(text: bytes, reason: Reason) -> None:
    with pytest.raises(AnswerRefusedError) as refused:
        find_scalar_end(text, 0, len(text), 8, is_ended=False)
    assert refused.value.reason is reason


JSON = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)


@given(JSON, st.booleans())
def test_every_scalar_matches_the_pattern_of_scalars(value: object, ascii_only: bool) -> None:  # noqa: FBT001
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")
    assert re.fullmatch(scalar_pattern(128), text)


@given(st.text(alphabet='"\\u0aef/nb{}[]:,.-+eE 1\n\x00é', max_size=12))
def test_what_matches_the_pattern_of_scalars_is_one(text: str) -> None:
    if re.fullmatch(scalar_pattern(128), text.encode()):
        assert not isinstance(json.loads(text), list | dict)


@pytest.mark.parametrize("number", ["1" * 41, "1" + "0" * 60 + ".5", "1." + "2" * 60, "1e" + "3" * 60])
def test_the_pattern_of_scalars_leaves_long_numbers_out(number: str) -> None:
    assert not re.fullmatch(scalar_pattern(40), number.encode())


def test_the_text_of_a_string_is_read() -> None:
    assert read_string(rb'"a\u00e9\ud83d\ude00\ud800/\/"') == "aé\U0001f600\ud800//"
    assert read_string('"あ"'.encode()) == "あ"


@pytest.mark.parametrize(
    ("raw", "is_one"), [(b"-7", True), (b"0", True), (b"7.0", False), (b"7e1", False), (b'"7"', False)]
)
def test_integers_are_told(raw: bytes, is_one: bool) -> None:  # noqa: FBT001
    assert is_integer(raw) is is_one
