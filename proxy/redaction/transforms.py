# SPDX-License-Identifier: Apache-2.0
"""What a transform makes of one value of JSON.

- A value that a transform does not fit is never let through: whoever asks denies the record.
- No transform leaves a value whole. What would (a name of four letters of which four may stay) leaves nothing of it.
- A character is a code point, but no cut parts a base from what is written over it: then it is cut where less leaves.
- How long a value was is no secret here: ``mask`` writes one asterisk for every character that it hides.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from proxy.model.api import Transform
from proxy.model.inspection import Field

Name: TypeAlias = Callable[[str, str], str]
"""The pseudonym of a data category and a value's text."""

NULL: Final = b"null"
REDACTED: Final = b'"[redacted]"'
HIDDEN: Final = "*"
"""For each character that ``mask`` hides."""
REST: Final = "\uff0a"
"""A full-width asterisk: what follows an initial in an East Asian script, however long it is."""

_DECODE: Final = msgspec.json.Decoder(str).decode
_ENCODE: Final = msgspec.json.Encoder().encode
_INTEGER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)")
"""RFC 8259 6, without fraction and exponent."""


def transform(transform: Transform, raw: bytes, field: Field, name: Name) -> bytes | None:
    """Return what takes the place of a value, None where the transform does not fit it.

    ``null`` stays what it is, but for ``redact``, which does not tell whether there was a value.

    Args:
        transform: what is done; ``remove`` is no matter of the value, and fits none.
        raw: the JSON text of the value, nothing around it.
        field: as declared.
        name: its pseudonym, for ``pseudonymise``.
    """
    return bind(transform, field, name)(raw)


def bind(transform: Transform, field: Field, name: Name) -> Callable[[bytes], bytes | None]:
    """Return what does to one value after another of a field what ``transform`` does to one."""
    if transform is Transform.REDACT:
        return lambda _: REDACTED
    if transform is Transform.NULL:
        return lambda _: NULL
    made = _TRANSFORMS.get(transform)
    if made is None:
        return lambda _: None
    return lambda raw: NULL if raw == NULL else made(raw, field, name)


def _mask(raw: bytes, field: Field, name: Name) -> bytes | None:  # noqa: ARG001 - all of a kind
    """Leave the last ``field.keep`` characters; of a value that has no more, none."""
    text = _read(raw)
    if text is None:
        return None
    start = len(text) - field.keep
    if start <= 0:
        return _ENCODE(HIDDEN * len(text))
    while _is_joined(text, start):
        start += 1
    return _ENCODE(HIDDEN * start + text[start:])


def _truncate(raw: bytes, field: Field, name: Name) -> bytes | None:  # noqa: ARG001
    """Leave the first ``field.keep`` characters; of a value that has no more, none: ``""``."""
    text = _read(raw)
    if text is None:
        return None
    end = field.keep if field.keep < len(text) else 0
    while end and _is_joined(text, end):
        end -= 1
    return _ENCODE(text[:end])


def _initials(raw: bytes, field: Field, name: Name) -> bytes | None:  # noqa: ARG001
    """Leave the first letter of each word: of ``Taro Yamada`` ``T. Y.``, of ``山田 太郎`` 山 and 太 with ``REST``."""
    text = _read(raw)
    if text is None:
        return None
    return _ENCODE(" ".join([initial for word in _BETWEEN.split(text) if (initial := _shorten(word))]))


def _pseudonymise(raw: bytes, field: Field, name: Name) -> bytes | None:
    """Put a name in place of a text or an integer. 42 and "42" have one name: ids are written both ways."""
    text = _read(raw) if raw[:1] == b'"' or not _INTEGER.fullmatch(raw) else raw.decode()
    return None if text is None else _ENCODE(name(field.category, text))


_TRANSFORMS: Final[Mapping[Transform, Callable[[bytes, Field, Name], bytes | None]]] = {
    Transform.MASK: _mask,
    Transform.TRUNCATE: _truncate,
    Transform.INITIALS: _initials,
    Transform.PSEUDONYMISE: _pseudonymise,
}


def _read(raw: bytes) -> str | None:
    """Return the text of a JSON string; None of anything else, and of one that is no Unicode text."""
    if raw[:1] != b'"':
        return None
    try:
        return _DECODE(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a half of a surrogate pair (RFC 8259 8.2) is no text
        return None


_BETWEEN: Final = re.compile(r"[\s\-‐‑‒–—.,;:/・･·_]+")  # noqa: RUF001 - the dashes and dots that part names
"""Between the words of a name."""


def _shorten(word: str) -> str:
    """Return the initial of a word; an asterisk for a word of one letter, which has none; nothing where none is."""
    letters = [at for at, character in enumerate(word) if character.isalpha()]
    if not letters:
        return ""
    first = letters[0]
    is_wide = unicodedata.east_asian_width(word[first]) in _WIDE
    end = first + 1
    while end < len(word) and _is_joined(word, end):
        end += 1
    if not any(at >= end for at in letters):
        return REST if is_wide else HIDDEN
    return f"{word[first:end]}{REST if is_wide else '.'}"


_WIDE: Final = frozenset("WFH")
"""Unicode Standard Annex 11: ideographs, kana, hangul and full-width forms."""
_MARKS: Final = frozenset({"Mn", "Mc", "Me", "Sk"})
"""What is written over or behind its base; ``Sk`` has the skin tones of emoji."""
_ZERO_WIDTH_JOINER: Final = "\u200d"
_JOINING: Final = frozenset({_ZERO_WIDTH_JOINER, "\u200c", "\uff9e", "\uff9f"})
"""Of other categories, yet one with what stands before (Unicode Standard Annex 29, ``Grapheme_Extend``)."""
_FLAG: Final = range(0x1F1E6, 0x1F200)
"""Regional indicators: two are one flag."""
_TAGS: Final = range(0xE0020, 0xE0080)
_JAMO: Final = range(0x1160, 0x1200)
"""Vowels and final consonants of hangul, written singly."""


def _is_joined(text: str, at: int) -> bool:
    """Say whether the character at a place is one with that before it (after Unicode Standard Annex 29)."""
    if text.isascii() or not 0 < at < len(text):
        return False
    character = text[at]
    code = ord(character)
    if code in _FLAG:
        before = at
        while before and ord(text[before - 1]) in _FLAG:
            before -= 1
        return (at - before) % 2 == 1
    return (
        unicodedata.category(character) in _MARKS
        or character in _JOINING
        or code in _TAGS
        or code in _JAMO
        or text[at - 1] == _ZERO_WIDTH_JOINER
    )
