# SPDX-License-Identifier: Apache-2.0
"""The register ``country_sets``: named lists of countries that may name one another."""

from collections.abc import Mapping
from typing import Any, Final

from proxy.model.country import NAMES, refuse_country
from proxy.model.entry import parse_id
from proxy.model.problem import Problem, nearest

MAX_NESTED_SETS: Final = 16


def resolve_country_sets(entries: Mapping[str, Any]) -> tuple[dict[str, frozenset[str]], list[Problem]]:
    """Resolve country sets that may name one another.

    Returns:
        The sets by name, and what is wrong with them by path.
    """
    resolver = _Sets(entries)
    return {name: resolver.resolve(name, ()) for name in entries}, resolver.problems


class _Sets:
    def __init__(self, entries: Mapping[str, Any]) -> None:
        self.entries = entries
        self.problems: list[Problem] = []
        self._done: dict[str, frozenset[str]] = {}

    def resolve(self, name: str, above: tuple[str, ...]) -> frozenset[str]:
        if name not in self._done:
            self._done[name] = self._read(name, (*above, name))
        return self._done[name]

    def _read(self, name: str, above: tuple[str, ...]) -> frozenset[str]:
        raw = self.entries[name]
        try:
            parse_id(name)
        except ValueError as error:
            self.problems.append(Problem((name,), str(error), at_key=True))
        if len(above) > MAX_NESTED_SETS:
            self.problems.append(Problem((name,), f"sets name one another more than {MAX_NESTED_SETS} deep"))
            return frozenset()
        if not isinstance(raw, list) or not raw:
            self.problems.append(Problem((name,), "expected a list with at least one country"))
            return frozenset()
        return frozenset().union(*(self._member(name, index, value, above) for index, value in enumerate(raw)))

    def _member(self, name: str, index: int, value: Any, above: tuple[str, ...]) -> frozenset[str]:
        if isinstance(value, str) and value.startswith("$"):
            other = value[1:]
            if other in above:
                message = f"{value} contains itself"
            elif other not in self.entries:
                message = f"no country set {value!r}{nearest(value, (f'${known}' for known in self.entries))}"
            else:
                return self.resolve(other, above)
        elif not isinstance(value, str):
            message = "expected a country code, or a set such as $name"
        elif value in NAMES:
            return frozenset({value})
        else:
            message = refuse_country(value)
        self.problems.append(Problem((name, index), message))
        return frozenset()
