# SPDX-License-Identifier: Apache-2.0
"""Whose data: the data subject's country and id, and what must be asked to find them out."""

import enum

import msgspec

from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, Fact


class Subject(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One data subject with one country."""

    country: Fact[str] = UNKNOWN
    id: Fact[str] = UNKNOWN
    reference: str = ""
    """Keyed pseudonym of the id, as grants name the subject; empty where there is no id, no key or no grant."""
    source: str = ""
    """Where the country came from: ``literal`` (the route itself), ``path``, ``query``, ``header``, ``body`` or
    ``form`` of the request, ``answer``, ``lookup:NAME``; empty where it is none."""


NO_SUBJECT = Subject(country=NOT_APPLICABLE, id=NOT_APPLICABLE)
"""On a route that carries no personal data."""


class BodyNeeded(msgspec.Struct, frozen=True):
    """The whole body of the request, to find the subject in it."""

    max_bytes: int


class LookupNeeded(msgspec.Struct, frozen=True):
    """The countries of ids, which a directory elsewhere has to tell."""

    lookup: str
    """The register."""
    ids: tuple[str, ...]
    """Each once."""


class Told(enum.Enum):
    """How a look-up of an id ended."""

    FOUND = "found"
    NOT_FOUND = "not found"
    """The directory knows no such id."""
    FAILED = "failed"
    """Nobody could tell: unreachable, too late, or an answer that makes no sense."""


class Located(msgspec.Struct, frozen=True):
    """What a look-up of an id said."""

    told: Told
    countries: tuple[str, ...] = ()
    """Of the subject, each once, sorted; at least one where it was found."""
