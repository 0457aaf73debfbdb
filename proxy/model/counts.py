# SPDX-License-Identifier: Apache-2.0
"""How much a caller has read: what is counted, the numbers as facts, and a question for them.

- A count is of one caller at one API, over a window that ends now and slides. It holds the request itself: the first
  subject that somebody reads is number 1.
- Where only the answer tells the subjects, a request is decided by the count as it stands, at least 1, and the answer
  by what it comes to with whom it shows.
- Counted is what the policy allowed. What was denied was not read.
- More is never a reason to allow (``policy.conditions`` holds rules to that). So a number may be an upper bound, and
  need not be known beyond what some rule tells apart.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, Fact

MAX_LIMIT: Final = 100_000
"""The largest number that a rule can compare a count with: whoever counts holds as much for each caller."""

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE


class Tally(msgspec.Struct, frozen=True):
    """Something that is counted for each caller."""

    name: str
    """Behind ``counts.``."""
    seconds: int
    """How long the window is."""
    says: str
    """What it is, for people."""
    is_of_subjects: bool = True
    """Whether data subjects are counted, each once; else requests."""
    is_by_country: bool = False
    """Whether only subjects of the country are counted whose the request's subject is."""


TALLIES: Final[Mapping[str, Tally]] = {
    tally.name: tally
    for tally in (
        Tally("subjects_1h", _HOUR, "distinct data subjects that the caller read through this API within an hour"),
        Tally("subjects_24h", 24 * _HOUR, "the same within 24 hours"),
        Tally(
            "country_subjects_1h",
            _HOUR,
            "those of them who are of the same country as the request's subject, within an hour",
            is_by_country=True,
        ),
        Tally("country_subjects_24h", 24 * _HOUR, "the same within 24 hours", is_by_country=True),
        Tally("requests_1m", _MINUTE, "requests of the caller to this API within a minute", is_of_subjects=False),
    )
}
"""Everything that is counted, by name."""


class Counts(msgspec.Struct, frozen=True):
    """The counts of one request, itself included. What no rule asks for is not counted, and unknown."""

    subjects_1h: Fact[int] = UNKNOWN
    subjects_24h: Fact[int] = UNKNOWN
    country_subjects_1h: Fact[int] = UNKNOWN
    country_subjects_24h: Fact[int] = UNKNOWN
    requests_1m: Fact[int] = UNKNOWN


UNCOUNTED: Final = Counts()
FIRST: Final = Counts(**dict.fromkeys(TALLIES, 1))
"""Of a caller's first request: the least that they can be."""
NOTHING_TO_COUNT: Final = Counts(**dict.fromkeys(TALLIES, NOT_APPLICABLE))


class Asked(msgspec.Struct, frozen=True):
    """A tally that rules ask for."""

    tally: Tally
    at_most: int
    """From this number on no rule tells a count from a larger one."""
    at_least: int
    """Below this number no rule tells a count from 1."""


class Count(msgspec.Struct, frozen=True):
    """What one tally is asked for one request. It names nobody: caller and members are keyed hashes."""

    asked: Asked
    caller: bytes
    """Whose it is, at which API."""
    group: str
    """The country of the subjects that are counted together; empty where all are."""
    members: tuple[bytes, ...]
    """What is counted, each once: a subject, several, or this request; none where only the number is asked for."""


class Counted(msgspec.Struct, frozen=True):
    """The answer to a question."""

    numbers: tuple[int, ...] | None
    """In the order of the question; None where nobody can tell."""
    undo: Any = None
    """What whoever counted needs to take it back."""


UNAVAILABLE: Final = Counted(None)


class CountsNeeded(msgspec.Struct, eq=False):
    """The counts of one request must be asked for. Whoever meets it puts the answer in."""

    id: str
    """The request's id, by which the answer is known to be its own."""
    counts: tuple[Count, ...]
    settled: Mapping[str, Fact[int]]
    """Tallies that nobody needs to be asked for, each with what it is."""
    answer: Counted | None = None

    def read(self, counted: Counted) -> Counts:
        """Return the facts that an answer comes to."""
        found: dict[str, Any] = dict(self.settled)
        if counted.numbers is not None:
            names = [count.asked.tally.name for count in self.counts]
            found |= dict(zip(names, counted.numbers, strict=True))
        return Counts(**found)

    def is_low(self, counted: Counted) -> bool:
        """Say whether no rule can tell the numbers of an answer from 1."""
        if counted.numbers is None:
            return False
        is_low = True
        for count, number in zip(self.counts, counted.numbers, strict=True):
            is_low &= number < count.asked.at_least
        return is_low
