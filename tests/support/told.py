# SPDX-License-Identifier: Apache-2.0
"""What the ledgers of a story say, in the terms of panels: the way to what must be shown that no metric is on."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import yaml

from tests.support.scenes import Playing
from tests.support.world import POLICIES

Record: TypeAlias = Mapping[str, Any]
Key: TypeAlias = tuple[str, ...]

DEFAULT: Final = "default"
"""Stands for the rule where none applied."""
_UNKNOWN: Final = "unknown"


class Story(msgspec.Struct, frozen=True):
    """Scenes that were played."""

    folder: Path
    """Where each scene has a folder of its name."""
    scenes: Mapping[str, Playing]

    def decisions(self, scene: str) -> list[Record]:
        """Return what was decided; what was refused before that names no rule."""
        return [record for record in self.scenes[scene].records() if "rule" in record]

    def denied(self, scene: str) -> list[Record]:
        return [record for record in self.decisions(scene) if record["effect"] == "deny"]

    def refused(self, scene: str) -> list[Record]:
        """Return what was answered by the gateway in the API's place."""
        return [record for record in self.scenes[scene].records() if not record["released"]]

    def undeclared(self, scene: str) -> list[Record]:
        return [record for record in self.scenes[scene].records() if "shape" in record]

    def crossing(self, scene: str) -> list[Record]:
        """Return what was allowed although the data subject's country is not where it was asked from, or by whom."""
        return [
            record
            for record in self.decisions(scene)
            if record["effect"] == "allow" and _crosses(record, record["subject"]["country"])
        ]

    def contents(self, scene: str) -> list[tuple[Record, Record]]:
        """Return, for each answer that was looked into, its decision and what was found in all of it."""
        playing = self.scenes[scene]
        found: dict[str, Record] = {}
        for line in ("decision", "released", "end"):
            found |= {record["id"]: record["content"] for record in playing.records(line) if "content" in record}
        return [(record, found[record["id"]]) for record in playing.records() if record["id"] in found]

    def crossed(self, scene: str) -> Counter[Key]:
        """Return how many records crossed a border: by affiliate, origin and data subject's country."""
        left: Counter[Key] = Counter()
        for record, content in self.contents(scene):
            for country, number in content.get("left", {}).items():
                if _crosses(record, country):
                    left[record["caller"]["affiliate"], record["origin"]["country"], country] += number
        return left

    def dropped_tied(self, scene: str) -> Counter[Key]:
        """Return how many records were dropped: by tied country, affiliate and data subject's country."""
        dropped: Counter[Key] = Counter()
        for record, content in self.contents(scene):
            for country, number in content.get("kept_back", {}).items():
                for at in tied(record):
                    dropped[at, record["caller"]["affiliate"], country] += number
        return dropped

    def most_routes(self, scene: str) -> dict[Key, int]:
        """Return, by affiliate, the most routes that one of its callers was denied, undeclared shapes included."""
        tried = (*self.denied(scene), *self.undeclared(scene))
        return _find_most((record, record.get("route", record.get("shape", ""))) for record in tried)

    def most_subjects(self, scene: str) -> dict[Key, int]:
        """Return, by affiliate, the most data subjects that one of its callers was denied."""
        return _find_most((record, record["subject"]["id"]) for record in self.denied(scene))

    def applied(self, scene: str) -> Counter[Key]:
        """Return how often rules applied, determining or not, in shadow mode or not, to some record or to all."""
        found = {record["id"]: content.get("rules", {}) for record, content in self.contents(scene)}
        return Counter(
            (rule,)
            for record in self.decisions(scene)
            for rule in {*_applied(record), *found.get(record["id"], {})} - {DEFAULT}
        )


def tied(record: Record) -> list[str]:
    """Return the countries that a caller is tied to, with ``unknown`` where there may be others."""
    countries = record["caller"]["countries"]
    if isinstance(countries, str):
        return [countries] if countries == _UNKNOWN else []
    return [*countries, *([_UNKNOWN] if record["caller"].get("countries_open") else [])]


def sum_by(counted: Mapping[Key, int], *places: int) -> Counter[Key]:
    """Return counts by some parts of their keys."""
    summed: Counter[Key] = Counter()
    for key, number in counted.items():
        summed[tuple(key[place] for place in places)] += number
    return summed


def _find_most(tried: Iterable[tuple[Record, str]]) -> dict[Key, int]:
    of: dict[tuple[str, str], set[str]] = {}
    for record, what in tried:
        if record["caller"]["who"] and what != _UNKNOWN:
            of.setdefault((record["caller"]["affiliate"], record["caller"]["who"]), set()).add(what)
    most: dict[Key, int] = {}
    for (affiliate, _), whats in of.items():
        most[affiliate,] = max(most.get((affiliate,), 0), len(whats))
    return most


def _applied(record: Record) -> Iterable[str]:
    if "rules" in record:
        yield from (rule["id"] for rule in record["rules"])
    elif record.get("certainty"):
        yield record["rule"]
    yield from (rule["id"] for rule in record.get("shadow", {}).get("rules", ()))


def _read_affiliates() -> dict[str, str]:
    text = (POLICIES / "affiliates.yaml").read_text(encoding="utf-8")
    return {each["id"]: each["country"] for each in yaml.safe_load(text)["affiliates"]}  # noqa: TID251 - a file of ours


_COUNTRIES: Final = _read_affiliates()


def _crosses(record: Record, country: str) -> bool:
    at_work = _COUNTRIES.get(record["caller"]["affiliate"], country)
    return len(country) == 2 and {country} != {record["origin"]["country"], at_work}
