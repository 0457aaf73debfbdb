# SPDX-License-Identifier: Apache-2.0
"""The four states of a fact: known, absent, unknown, not applicable.

- A *known* fact is the value itself.
- ``ABSENT`` is known to be none: this caller has no client.
- ``UNKNOWN`` could be anything. It is a value of its own, never a missing key and never an empty string.
- ``NOT_APPLICABLE`` has no meaning here: ``subject.country`` where a route carries no personal data. It makes
  every matcher false.

Truth is three-valued (Kleene, strong logic of indeterminacy): ``True``, ``False``, and ``None`` for unknown.
"""

import enum
from typing import Final, TypeAlias, TypeVar, Union

import msgspec


class State(enum.Enum):
    """What a fact is when it is no value."""

    ABSENT = "absent"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"


ABSENT: Final = State.ABSENT
UNKNOWN: Final = State.UNKNOWN
NOT_APPLICABLE: Final = State.NOT_APPLICABLE

T = TypeVar("T")
Fact: TypeAlias = Union[T, State]  # noqa: UP007 - generic over T
Truth: TypeAlias = bool | None
"""``None`` is unknown."""


class FactSet(msgspec.Struct, frozen=True):
    """A set of values of which some members may be hidden."""

    members: frozenset[str]
    """The members that are known."""
    is_open: bool = False
    """Whether there may be members that are not known."""


EMPTY_SET: Final = FactSet(frozenset())


def known(fact: Fact[T]) -> T | None:
    """Return the value of a known fact, None for the three other states."""
    return None if isinstance(fact, State) else fact


def describe(fact: object) -> str:
    """Render a fact for people: the value, the members, or the name of its state."""
    if isinstance(fact, State):
        return fact.value
    if isinstance(fact, FactSet):
        shown = ", ".join(sorted(fact.members)) or "none"
        return f"{shown}, and possibly others" if fact.is_open else shown
    return str(fact)
