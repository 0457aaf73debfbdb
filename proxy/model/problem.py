# SPDX-License-Identifier: Apache-2.0
"""A problem of a policy folder, as a room finds it: a path inside a register, and a sentence.

Rooms know nothing of files and lines: ``bundle`` turns a path into ``file:line:column``.
"""

import difflib
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list positions, from a register's list down: ``(3, "when", "subject.country")``."""


_MANY: Final = 2000
"""Candidates among which the nearest is looked for only where it begins alike."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, and where."""

    path: Path
    message: str
    at_key: bool = False
    """Whether the key at the end of the path is wrong, rather than its value."""

    def under(self, *prefix: str | int) -> "Problem":
        """Return the same problem, seen from further up."""
        return Problem((*prefix, *self.path), self.message, self.at_key)


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest of the candidates, or what there is, or nothing."""
    known = list(map(str, candidates))
    if len(known) > _MANY:
        known = [each for each in known if each[:2] == word[:2]][:_MANY]
    known.sort()
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]!r}?)"
    if known and len(known) <= 12:
        return f" (there is: {', '.join(known)})"
    return ""
