# SPDX-License-Identifier: Apache-2.0
"""What must hold of transforms, alone and together: none lets a value through, and the stricter never reveals more."""

import json
from itertools import product
from typing import Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.model.api import Transform, combine_transforms
from proxy.model.inspection import Field
from proxy.redaction.transforms import transform
from tests.support.json_source import parse
from tests.support.judging import name_value

BY_STRICTNESS: Final = (Transform.REMOVE, Transform.NULL, Transform.REDACT)
ON_VALUES: Final = tuple(each for each in Transform if each is not Transform.REMOVE)
FIELDS: Final = st.builds(Field, st.just(("name",)), st.just("user.name"), st.integers(1, 6))
LETTERS: Final = "aZé山田ア゛가 ́-٣\u200d\U0001f468\U0001f469\U0001f1ef\U0001f1f5\u202e'"
TEXTS: Final = st.one_of(st.text(max_size=20), st.text(LETTERS, max_size=20), st.text("ab ", max_size=12))
VALUES: Final = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=4,
)


def write(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def act(made: Transform, value: object, field: Field) -> bytes | None:
    """Return what takes the place of a value; ``remove`` leaves nothing, whatever it was."""
    return b"" if made is Transform.REMOVE else transform(made, write(value), field, name_value)


def read(made: bytes | None) -> str:
    assert made is not None
    text = json.loads(made)
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(("one", "other"), [*product(Transform, repeat=2)])
def test_two_transforms_come_to_one_whichever_is_named_first(one: Transform, other: Transform) -> None:
    both = combine_transforms(one, other)
    assert both is combine_transforms(other, one)
    assert combine_transforms(both, one) is both
    if one is other:
        assert both is one
    elif {one, other} & {*BY_STRICTNESS}:
        assert both is min({one, other} & {*BY_STRICTNESS}, key=BY_STRICTNESS.index)
    else:
        assert both is Transform.REDACT


def test_so_do_three_in_whatever_order() -> None:
    for a, b, c in product(Transform, repeat=3):
        assert combine_transforms(combine_transforms(a, b), c) is combine_transforms(a, combine_transforms(b, c))


@given(st.sampled_from(Transform), st.sampled_from(Transform), VALUES, VALUES, FIELDS)
def test_two_transforms_tell_no_values_apart_that_one_of_them_does_not(
    one: Transform, other: Transform, value: object, second: object, field: Field
) -> None:
    both = combine_transforms(one, other)
    if act(one, value, field) == act(one, second, field):
        assert both is one or act(both, value, field) == act(both, second, field)
    if act(one, value, field) is not None or both is not one:
        assert act(both, value, field) is not None, "the stricter does not fit where the milder does"


@given(st.sampled_from(ON_VALUES), VALUES, FIELDS)
def test_what_is_made_is_one_string_or_null(made: Transform, value: object, field: Field) -> None:
    result = act(made, value, field)
    if result is not None:
        parsed = parse(result)
        assert not parsed.flaws
        assert parsed.root is not None
        assert parsed.root.kind in {"string", "null"}
        json.loads(result.decode())


@given(st.sampled_from((Transform.MASK, Transform.INITIALS, Transform.TRUNCATE)), VALUES, FIELDS)
def test_what_is_no_text_fits_none_that_keeps_a_part(made: Transform, value: object, field: Field) -> None:
    assume(not isinstance(value, str))
    assert act(made, value, field) == (b"null" if value is None else None)


@given(TEXTS, FIELDS)
def test_a_mask_leaves_an_end_of_at_most_so_many_characters(text: str, field: Field) -> None:
    shown = read(act(Transform.MASK, text, field)).lstrip("*")
    assert len(shown) <= field.keep
    assert not shown or text.lstrip("*").endswith(shown)
    assert not shown or len(shown) < len(text)


@given(TEXTS, FIELDS)
def test_a_truncation_leaves_a_beginning_of_at_most_so_many_characters(text: str, field: Field) -> None:
    shown = read(act(Transform.TRUNCATE, text, field))
    assert len(shown) <= field.keep
    assert text.startswith(shown)
    assert not shown or len(shown) < len(text)


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=9), max_size=4), FIELDS)
def test_initials_leave_one_letter_of_a_word(words: list[str], field: Field) -> None:
    shown = read(act(Transform.INITIALS, " ".join(words), field))
    letters = [letter for letter in shown if letter.isalpha()]
    assert letters == [word[0] for word in words if len(word) > 1]


@given(st.one_of(TEXTS, st.integers()), FIELDS)
def test_a_pseudonym_is_that_of_the_text_and_nothing_else(value: str | int, field: Field) -> None:
    assert read(act(Transform.PSEUDONYMISE, value, field)) == name_value(field.category, str(value))


@given(st.sampled_from(ON_VALUES), TEXTS, FIELDS, st.integers(0, 3))
def test_how_a_text_is_escaped_makes_no_difference(made: Transform, text: str, field: Field, every: int) -> None:
    escaped = "".join(
        escape(char) if at % 4 <= every else json.dumps(char, ensure_ascii=False)[1:-1] for at, char in enumerate(text)
    )
    assert transform(made, f'"{escaped}"'.encode(), field, name_value) == act(made, text, field)


def escape(char: str) -> str:
    data = char.encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(data[at : at + 2], 'big'):04x}" for at in range(0, len(data), 2))


@pytest.mark.parametrize("raw", [rb'"\ud800"', rb'"ab\udc00cd"', rb'"\udc00\ud800"', rb'"taro \ud83d yamada"'])
@pytest.mark.parametrize("made", [each for each in ON_VALUES if each not in {Transform.NULL, Transform.REDACT}])
def test_what_is_no_unicode_fits_none_that_reads_it(made: Transform, raw: bytes) -> None:
    assert transform(made, raw, Field(("name",), "user.name"), name_value) is None
