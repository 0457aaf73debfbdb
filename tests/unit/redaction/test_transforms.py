# SPDX-License-Identifier: Apache-2.0
"""What a transform leaves of a value, and what it fits."""

import json
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.model.api import Transform
from proxy.model.inspection import Field
from proxy.redaction.transforms import HIDDEN, NULL, REDACTED, REST, transform

FIELD: Final = Field(path=("name",), category="user.name")
TRANSFORMS: Final = [each for each in Transform if each is not Transform.REMOVE]
OF_TEXT: Final = [Transform.MASK, Transform.TRUNCATE, Transform.INITIALS, Transform.PSEUDONYMISE]
TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"]))
MIXED: Final = st.text(st.sampled_from("ab か\u3099゙ﾞ한\u1100\u1161é\u0301👍🏽👩\u200d💻🇯🇵🇹\ufe0f"))


def name_plainly(category: str, text: str) -> str:
    return f"{category}:{len(text)}"


def keeping(keep: int) -> Field:
    return Field(path=("name",), category="user.name", keep=keep)


def apply(kind: Transform, value: object, keep: int = 4) -> object:
    """Apply a transform to a value, and return the value that it makes; ``...`` where it does not fit."""
    made = transform(kind, json.dumps(value).encode(), keeping(keep), name_plainly)
    return ... if made is None else json.loads(made)


MASKED = {
    "the last four characters of a number stay": ("09012345678", "*******5678"),
    "so do they of an address": ("taro@example.jp", "***********e.jp"),
    "of five characters one is hidden": ("12345", "*2345"),
    "of four none stays, for that would be all": ("1234", "****"),
    "nor of fewer": ("山田", "**"),
    "of nothing there is nothing": ("", ""),
    "a base is not parted from what is written over it": ("xxかか\u3099き\u3099", "***か\u3099き\u3099"),
    "it goes whole where it would be parted": ("xxか\u3099くけこ", "****くけこ"),
    "a flag is not halved": ("a🇯🇵bcd", "***bcd"),
    "nor are two": ("aa🇯🇵🇹🇼", "**🇯🇵🇹🇼"),
    "nor a family of emoji": ("abc👩\u200d💻xy", "******xy"),
    "nor a character beyond the basic plane": ("🀀🀁🀂🀃🀄", "*🀁🀂🀃🀄"),
    "what is escaped is read, and written so that it is JSON": ('a\n"\\\x00b', '**"\\\x00b'),
}


@pytest.mark.parametrize(("value", "expected"), MASKED.values(), ids=MASKED)
def test_mask(value: str, expected: str) -> None:
    assert apply(Transform.MASK, value) == expected


def test_mask_that_keeps_none_hides_all() -> None:
    assert apply(Transform.MASK, "abc", keep=0) == "***"


TRUNCATED = {
    "of a date the year stays": ("1990-05-12", "1990"),
    "of what has no more characters than may stay, none does": ("1990", ""),
    "of nothing there is nothing": ("", ""),
    "a base is not parted from what is written over it": ("かかかか\u3099き", "かかか"),
    "a flag is not halved": ("abc🇯🇵de", "abc"),
    "what is escaped is one character": ('"\\\n\tx', '"\\\n\t'),
}


@pytest.mark.parametrize(("value", "expected"), TRUNCATED.values(), ids=TRUNCATED)
def test_truncate(value: str, expected: str) -> None:
    assert apply(Transform.TRUNCATE, value) == expected


def test_truncate_that_keeps_none_leaves_none() -> None:
    assert apply(Transform.TRUNCATE, "abc", keep=0) == ""


INITIALS = {
    "each word has one": ("Taro Yamada", "T. Y."),
    "as it is written": ("taro  van\tYamada", "t. v. Y."),
    "a hyphen parts words, an apostrophe does not": ("Jean-Pierre O'Brien", "J. P. O."),
    "a word of one letter has none": ("John F Kennedy", "J. * K."),
    "nor with a point": ("J. R. R. Tolkien", "* * * T."),
    "what stands before the letter goes": ("(Taro) “Yamada”", "T. Y."),
    "in an East Asian script what follows is hidden as it is done there": ("山田 太郎", "山\uff0a 太\uff0a"),
    "a name written as one word has one": ("山田太郎", "山\uff0a"),
    "a surname of one character is hidden": ("林 健", "\uff0a \uff0a"),
    "a dot between words parts them": ("マリア・テレサ", "マ\uff0a テ\uff0a"),
    "so it is with hangul": ("김철수", "김\uff0a"),
    "what is written over a letter stays with it": ("हिन्दी A\u030angstro\u0308m", "हि. A\u030a."),
    "a voiced kana is one, though it be two characters": ("か\u3099んた", "か\u3099\uff0a"),
    "a letter with what is written over it is still one letter": ("か\u3099", "\uff0a"),
    "without letters nothing is left": ("+81-90 1234", ""),
    "of nothing there is nothing": ("", ""),
}


@pytest.mark.parametrize(("value", "expected"), INITIALS.values(), ids=INITIALS)
def test_initials(value: str, expected: str) -> None:
    assert apply(Transform.INITIALS, value) == expected


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_null_stays_null_and_only_redact_hides_that_there_was_none(kind: Transform) -> None:
    expected = REDACTED if kind is Transform.REDACT else NULL
    assert transform(kind, NULL, FIELD, name_plainly) == expected


ANY_VALUE = {
    "a text": b'"Taro"',
    "a number": b"12.50",
    "a truth": b"true",
    "nothing": b"null",
    "an object": b'{"a":[1,2,{"b":"c"}]}',
    "an array": b'["a"]',
}


@pytest.mark.parametrize("raw", ANY_VALUE.values(), ids=ANY_VALUE)
def test_null_and_redact_fit_anything(raw: bytes) -> None:
    assert transform(Transform.NULL, raw, FIELD, name_plainly) == b"null"
    assert transform(Transform.REDACT, raw, FIELD, name_plainly) == b'"[redacted]"'


UNFIT = {
    "a number": b"12.50",
    "a number with an exponent": b"1e3",
    "true": b"true",
    "false": b"false",
    "an object": b'{"a":"b"}',
    "an array of texts": b'["a"]',
    "half of a surrogate pair": rb'"abcdef\ud83d"',
    "its other half": rb'"\ude00abcdef"',
    "a half before another character": rb'"\ud83dabcdef"',
    "two halves the wrong way round": rb'"\ude00\ud83d"',
    "a text that is not ended": b'"abcdef',
    "a byte that is no UTF-8": b'"abcdef\xff"',
    "nothing at all": b"",
}


@pytest.mark.parametrize("kind", OF_TEXT)
@pytest.mark.parametrize("raw", UNFIT.values(), ids=UNFIT)
def test_transforms_of_texts_do_not_fit(kind: Transform, raw: bytes) -> None:
    assert transform(kind, raw, FIELD, name_plainly) is None


@pytest.mark.parametrize("kind", [Transform.MASK, Transform.TRUNCATE, Transform.INITIALS])
def test_only_pseudonyms_fit_integers(kind: Transform) -> None:
    assert transform(kind, b"1234567890", FIELD, name_plainly) is None


def test_remove_is_no_matter_of_the_value() -> None:
    assert transform(Transform.REMOVE, b'"Taro"', FIELD, name_plainly) is None


PSEUDONYMS = {
    "a text": (b'"u-42"', "u-42"),
    "a text with escapes": (rb'"\u0075-42"', "u-42"),
    "an integer, as if it were a text": (b"42", "42"),
    "an integer beyond 64 bits": (b"-123456789012345678901234567890", "-123456789012345678901234567890"),
    "a text of digits": (b'"42"', "42"),
    "an empty text": (b'""', ""),
}


@pytest.mark.parametrize(("raw", "text"), PSEUDONYMS.values(), ids=PSEUDONYMS)
def test_pseudonymise_names_by_category_and_text(raw: bytes, text: str) -> None:
    def name(category: str, named: str) -> str:
        assert (category, named) == ("user.name", text)
        return 'p"1'

    assert transform(Transform.PSEUDONYMISE, raw, FIELD, name) == rb'"p\"1"'


@given(TEXTS, st.sampled_from(TRANSFORMS), st.integers(0, 12), st.booleans())
def test_what_is_made_of_any_text_is_json(text: str, kind: Transform, keep: int, ascii_only: bool) -> None:  # noqa: FBT001
    raw = json.dumps(text, ensure_ascii=ascii_only).encode()
    made = transform(kind, raw, keeping(keep), name_plainly)
    assert made is not None
    assert isinstance(json.loads(made.decode()), str | None)


@given(st.binary(), st.sampled_from(TRANSFORMS), st.integers(0, 12))
@example(b'"\\ud800"', Transform.MASK, 4)
def test_of_any_bytes_json_is_made_or_nothing(raw: bytes, kind: Transform, keep: int) -> None:
    made = transform(kind, raw, keeping(keep), name_plainly)
    if made is not None:
        json.loads(made.decode())


@given(TEXTS | MIXED, st.integers(0, 12))
def test_mask_leaves_at_most_so_many_characters_of_the_end(text: str, keep: int) -> None:
    masked = str(apply(Transform.MASK, text, keep))
    assert len(masked) == len(text)
    hidden = next((at for at in range(len(text)) if masked[at:] == text[at:]), len(text))
    hidden = max(hidden, len(masked) - len(masked.lstrip(HIDDEN)))
    assert masked[:hidden] == HIDDEN * hidden
    assert len(text) - hidden <= keep
    assert hidden > 0 or not text


@given(TEXTS | MIXED, st.integers(0, 12))
def test_truncate_leaves_at_most_so_many_characters_and_never_all(text: str, keep: int) -> None:
    left = str(apply(Transform.TRUNCATE, text, keep))
    assert text.startswith(left)
    assert len(left) <= keep
    assert left != text or not text


LETTERS: Final = st.text(
    st.characters(categories=["Lu", "Ll", "Lo"]) | st.sampled_from("か\u3099\u1100\u1161"), min_size=1
)


@given(LETTERS)
def test_initials_leave_the_beginning_of_a_word_and_never_all(word: str) -> None:
    left = str(apply(Transform.INITIALS, word))
    assert left[-1] in {".", HIDDEN, REST}
    assert word.startswith(left[:-1])
    assert left[:-1] != word


@given(TEXTS | MIXED)
def test_initials_are_no_more_than_the_words(text: str) -> None:
    left = str(apply(Transform.INITIALS, text))
    assert len(left.split()) <= sum(character.isalpha() for character in text)
