# SPDX-License-Identifier: Apache-2.0
"""Names and values as ``application/x-www-form-urlencoded`` has them (WHATWG URL 5.1), read as every server reads them.

Where servers differ it is refused: a percent sign without two hexadecimal digits, bytes that are no UTF-8, NUL, and a
``;`` as it stands, which some take for ``&``. What came is kept beside what it says, so that it can go on unchanged.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

import msgspec

_TEXT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,=:@/?\[\]-]|%[0-9A-Fa-f]{2})*")
"""RFC 3986 3.4 ``query`` with the square brackets that form encoders leave as they are, and without ``;``."""
_TRIPLET: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
MAX_PARAMETERS: Final = 1000
"""Many servers take no more: PHP and Django by default, and PHP drops the rest without a word."""
_RESERVED: Final = re.compile(rb"[^A-Za-z0-9._~-]")
"""RFC 3986 2.3: what is not unreserved."""
_PUNCTUATION: Final = re.compile(r"[^a-z0-9]+")
_SUBSCRIPT: Final = re.compile(r"[\[\]]+")


class Parameter(msgspec.Struct, frozen=True, gc=False):
    """A name and its value."""

    name: str
    value: str
    raw: str
    """``name=value`` as it came."""

    @property
    def is_plain(self) -> bool:
        """Whether its name came as it is, or with nothing encoded but what has to be."""
        raw_name = self.raw.partition("=")[0]
        return raw_name in {self.name, encode(self.name)}

    @property
    def has_plus(self) -> bool:
        """Whether a ``+`` stands in its value, which is a blank to most servers, and a plus sign to some."""
        return "+" in self.raw.partition("=")[2]


class Query(msgspec.Struct, frozen=True, gc=False):
    """The parameters of a request's query, or the fields of a form, in their order."""

    parameters: tuple[Parameter, ...] = ()
    raw: str = ""
    """All of it as it came."""

    def find(self, name: str) -> tuple[Parameter, ...] | None:
        """Return the parameters of a name; None where there is one that some server takes for it, and another not."""
        found = []
        root = fold_name(name)
        for each in self.parameters:
            if each.name == name and each.is_plain:
                found.append(each)
            elif is_alike(fold_name(each.name), root):
                return None
        return tuple(found)


def parse_query_text(text: str) -> Query | None:
    """Return what stands in a query or a form; None if servers read it differently."""
    if text.count("&") >= MAX_PARAMETERS or not _TEXT.fullmatch(text):
        return None
    try:
        return Query(tuple([_read(raw) for raw in text.split("&") if raw]), text)
    except ValueError:
        return None


def encode(text: str) -> str:
    """Return a text percent-encoded, so that it reads the same everywhere."""
    return _RESERVED.sub(lambda match: b"%%%02X" % match[0][0], text.encode()).decode("ascii")


@lru_cache(maxsize=1024)
def fold_name(name: str) -> tuple[str, ...]:
    """Return a name as the laxest server reads it: without letter case and punctuation, in parts at its brackets.

    PHP reads ``a.b`` and ``a b`` as ``a_b``, and takes ``a[]``, ``a[0]`` and ``a[x]`` for ``a``; ASP.NET and Spring
    know no letter case.
    """
    if name.isascii() and "[" not in name and "]" not in name:
        return (_PUNCTUATION.sub("", name.lower()),)
    flat = unicodedata.normalize("NFKC", name).casefold()
    return tuple(["".join(filter(str.isalnum, part)) for part in _SUBSCRIPT.split(flat)])


def is_alike(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Say whether two folded names may mean the same, or one a part of the other."""
    return all(left == right for left, right in zip(one, other, strict=False))


def _read(raw: str) -> Parameter:
    name, _, value = raw.partition("=")
    return Parameter(_decode(name), _decode(value), raw)


def _decode(text: str) -> str:
    """Return what an encoded text says; ValueError if it is no UTF-8, or has a NUL."""
    if "%" not in text and "+" not in text:
        return text
    data = _TRIPLET.sub(lambda match: bytes.fromhex(match[1].decode()), text.replace("+", " ").encode())
    if b"\0" in data:
        raise ValueError("a NUL ends a text for servers written in C")
    return data.decode()
