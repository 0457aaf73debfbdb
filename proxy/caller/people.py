# SPDX-License-Identifier: Apache-2.0
"""What the register ``people`` says of one person: for whom it works, as what, where, and from when until when."""

import math
from collections.abc import Mapping
from typing import Protocol

import msgspec

from proxy.model.facts import UNKNOWN, Fact, FactSet


class Engagement(msgspec.Struct, frozen=True):
    """One row of the register: one person at one affiliate, in [since, until)."""

    affiliate: Fact[str] = UNKNOWN
    kind: Fact[str] = UNKNOWN
    site_country: Fact[str] = UNKNOWN
    residence: Fact[str] = UNKNOWN
    citizenships: Fact[FactSet] = UNKNOWN
    since: float = -math.inf
    """Seconds since 1970."""
    until: float = math.inf


class People(Protocol):
    """The register, wherever it is kept."""

    def find(self, issuer_id: str, subject: str) -> tuple[Engagement, ...]:
        """Return all rows of one person, past and future ones included; none if it has none."""
        ...


class ListedPeople(msgspec.Struct, frozen=True):
    """The register in memory."""

    rows: Mapping[tuple[str, str], tuple[Engagement, ...]] = {}

    def find(self, issuer_id: str, subject: str) -> tuple[Engagement, ...]:
        """Return all rows of one person."""
        return self.rows.get((issuer_id, subject), ())
