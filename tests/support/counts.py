# SPDX-License-Identifier: Apache-2.0
"""Questions how much was read, and a clock that a test moves."""

from collections.abc import Iterable
from typing import Any

import msgspec

from proxy.model.counts import TALLIES, Asked, Count, Counted, CountsNeeded
from proxy.model.ports import Volume


class HeldClock:
    """A monotonic clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_question(
    *members: str,
    caller: str = "clerk",
    at_most: int = 101,
    tallies: Iterable[str] = ("subjects_1h",),
    group: str = "",
    id_: str = "01MCC5RM000000000000000001",
) -> CountsNeeded:
    counts = tuple(
        Count(
            Asked(TALLIES[name], at_most, 2),
            caller.encode().ljust(16),
            group,
            tuple(member.encode().ljust(16) for member in members or ("alice",)),
        )
        for name in tallies
    )  # fmt: skip
    return CountsNeeded(id_, counts, {})


def a_look(**question: Any) -> CountsNeeded:
    """Return a question for the numbers as they stand."""
    needed = a_question(**question)
    counts = tuple(msgspec.structs.replace(count, members=()) for count in needed.counts)
    return CountsNeeded(needed.id, counts, {})


def see(volume: Volume, needed: CountsNeeded, *, is_allowed: bool = True) -> tuple[int, ...] | None:
    """Count a request whose decision is known, and return the numbers."""
    counted = volume.count(needed)
    assert isinstance(counted, Counted)
    volume.settle(needed, counted, is_allowed=is_allowed)
    return counted.numbers
