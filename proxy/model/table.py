# SPDX-License-Identifier: Apache-2.0
"""What a register says of a table of its rows: the columns, and what a cell of each may hold.

Large registers are tables: half a million rows are looked at column by column, each distinct text once, so a column
is a law for texts.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from proxy.model.facts import UNKNOWN

MAX_KEY: Final = 255
"""Characters of a text that names somebody (OpenID Connect Core 2: a subject is no longer)."""


class Column(msgspec.Struct, frozen=True):
    """One column of a table."""

    name: str
    parse: Callable[[str], Any]
    """Returns what a text that is not empty means; None if it means nothing."""
    explain: Callable[[str], str]
    """Says in one sentence what is wrong with a text that means nothing."""
    empty: Any = UNKNOWN
    """What an empty cell means; None if there must be a text."""
    optional: bool = False
    """Whether a table may leave the column out: all its cells are empty then."""


def parse_key(text: str) -> str | None:
    """Return a text that names somebody, byte for byte; None for one that two people may read differently."""
    is_plain = text.isprintable() and len(text) <= MAX_KEY and not (text[:1].isspace() or text[-1:].isspace())
    return text if is_plain else None


def explain_key(text: str) -> str:
    """Say what is wrong with a text that names nobody, without repeating it: it may be a person's."""
    if len(text) > MAX_KEY:
        return f"the text is longer than {MAX_KEY} characters"
    if not text.isprintable():
        number = next(ord(character) for character in text if not character.isprintable())
        return f"the character U+{number:04X} cannot be seen: take it out"
    return "a space stands before or behind the text: take it out"


class Rows(Protocol):
    """The rows of a register as they are kept in a file."""

    def find(self, key: str, qualifier: str, /) -> Sequence[tuple[str, ...]]:
        """Return the other cells, as they were written, of every row with these two, and last where the row stands."""
        ...
