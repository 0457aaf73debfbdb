# SPDX-License-Identifier: Apache-2.0
"""What was found in the records of an answer, put together from its parts.

An answer that was in hand says it in its decision. One that leaves in parts says it in each ``released`` line, for that
part, and its end says how many it was in all. Lines are plain JSON here: one of a newer version may hold anything.
"""

from collections.abc import Mapping
from typing import Any, Final

MAX_NAMED: Final = 65_536
"""Data subjects of one answer that are told apart; beyond them each part counts its own."""
_SUMS: Final = ("seen", "dropped", "masked")
_BY_NAME: Final = ("left", "kept_back", "rules")


class Contents:
    """Puts together what the parts of one answer say."""

    def __init__(self) -> None:
        self._sums: dict[str, int] = {}
        self._by_name: dict[str, dict[str, int]] = {}
        self._named: dict[str, None] = {}
        self._unnamed = 0

    def add(self, content: object) -> None:
        """Take what was found in the next part.

        Args:
            content: of a ``released`` line; whatever else it is says nothing.
        """
        if not isinstance(content, Mapping):
            return
        for key in _SUMS:
            self._sums[key] = self._sums.get(key, 0) + _number(content.get(key))
        for key in _BY_NAME:
            numbers = content.get(key)
            found = self._by_name.setdefault(key, {})
            for name, number in numbers.items() if isinstance(numbers, Mapping) else ():
                found[name] = found.get(name, 0) + _number(number)
        ids = content.get("subject_ids")
        listed = [each for each in ids if isinstance(each, str)] if isinstance(ids, list) else []
        new = [each for each in dict.fromkeys(listed) if each not in self._named]
        room = MAX_NAMED - len(self._named)
        self._named |= dict.fromkeys(new[:room])
        self._unnamed += max(0, _number(content.get("subjects")) - len(listed)) + len(new[room:])

    def sum_up(self, whole: object = None) -> dict[str, Any]:
        """Return what was found in all, as a line has it.

        Args:
            whole: what the end says of the whole answer, if it says it: then that counts, for no part was overlooked.
        """
        said: dict[str, Any] = {key: value for key, value in {**self._sums, **self._by_name}.items() if value}
        if isinstance(whole, Mapping):
            said |= whole
        subjects = len(self._named) + self._unnamed
        if subjects:
            said |= {"subjects": subjects, "subject_ids": list(self._named)}
        return said


def tell_records(content: object) -> str:
    """Say in words what was found, without naming anybody; empty where nothing is said."""
    if not isinstance(content, Mapping):
        return ""
    seen, subjects = _number(content.get("seen")), _number(content.get("subjects"))
    changes = [f"{number} {key}" for key in ("dropped", "masked") if (number := _number(content.get(key)))]
    told = [f"{seen} {'record' if seen == 1 else 'records'}", *changes]
    if subjects:
        told.append(f"{subjects} {'person' if subjects == 1 else 'people'}")
    return ", ".join(told)


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
