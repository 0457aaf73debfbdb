# SPDX-License-Identifier: Apache-2.0
"""How it is said what a panel must show, and how that is held against what Prometheus answers."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

import msgspec

from tests.support.told import Key, Story

WEEK: Final = 7 * 86400


class Between(msgspec.Struct, frozen=True):
    """A number that the script does not know exactly: a time, or how often something was tried again."""

    low: float
    high: float = math.inf


Shown: TypeAlias = Mapping[Key, float | Between]
Samples: TypeAlias = list[tuple[dict[str, str], float]]


class Asked(msgspec.Struct, frozen=True):
    """What one question must be answered."""

    labels: Key
    read: Callable[[Story], Shown]
    counts: bool = False
    """Whether a series that counts nothing may be there or not."""
    later: int = 0
    """How many seconds after the story it is asked."""

    def find_difference(self, story: Story, samples: Samples) -> str:
        """Return how an answer differs from what it must be; empty if it does not."""
        expected = {key: value for key, value in self.read(story).items() if value or not self.counts}
        shown: dict[Key, float] = {}
        for metric, value in samples:
            key = tuple(metric.get(label, "") for label in self.labels)
            shown[key] = shown.get(key, 0) + value
        seen = {key: value for key, value in shown.items() if value or not self.counts}
        if expected.keys() == seen.keys() and all(_agrees(expected[key], seen[key]) for key in seen):
            return ""
        return f"shown {seen}, expected {expected}"


def _agrees(expected: float | Between, value: float) -> bool:
    if isinstance(expected, Between):
        return expected.low <= value <= expected.high
    return math.isclose(expected, value, rel_tol=1e-9)


class On(msgspec.Struct, frozen=True):
    """What a panel must show of one scene's gateway: an answer to each of its questions."""

    scene: str
    answers: tuple[Asked, ...]


def on(scene: str, *answers: Asked) -> On:
    return On(scene, answers)


def counted(*labels: str, of: Callable[[Story], Iterable[Key]], later: int = 0) -> Asked:
    """Expect as many events as there are keys, by these labels."""
    return Asked(labels, lambda story: Counter(of(story)), counts=True, later=later)


def summed(*labels: str, of: Callable[[Story], Shown], later: int = 0) -> Asked:
    """Expect these numbers of events."""
    return Asked(labels, of, counts=True, later=later)


def valued(*labels: str, of: Shown) -> Asked:
    """Expect these series with these values, and no other."""
    return Asked(labels, lambda _: of)


def number(of: float | Between | Callable[[Story], float]) -> Asked:
    """Expect one number, which may be 0."""
    if callable(of):
        return Asked((), lambda story: {(): of(story)})
    return Asked((), lambda _: {(): of})


NOTHING: Final = Asked((), lambda _: {}, counts=True)
"""No series, or one that counts nothing."""
NOTHING_LATER: Final = Asked((), lambda _: {}, counts=True, later=WEEK)
"""The same a week later."""
