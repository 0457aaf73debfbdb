# SPDX-License-Identifier: Apache-2.0
"""Who asks: a person or service, the affiliate it works for, and every country it is tied to."""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, Fact, FactSet

KINDS: Final = ("employee", "contractor", "service")
"""What a caller's kind can be. Anything else that a token says is unknown."""
PARAGRAPHS: Final = ("1", "2", "3", "4", "5")
"""Of 28 CFR 202.211(a)."""


class TieKind(enum.StrEnum):
    """How a caller comes to be tied to a country."""

    EMPLOYER = "employer"
    """The country of the affiliate that employs the caller."""
    SITE = "site"
    """The country of the caller's place of work."""
    RESIDENCE = "residence"
    """The country where the caller lives."""
    CONTROL = "control"
    """The country of an entity that controls the employer, by a control rule."""
    PRINCIPAL = "principal"
    """The country of an entity for which the employer works."""
    SUBCONTRACTOR = "subcontractor"
    """The country of an entity to which the employer hands work on."""


class Tie(msgspec.Struct, frozen=True, order=True):
    """One tie of a caller to a country, and how it came about."""

    label: str
    """The tie's kind, with the control rule's id behind a dot: ``control.majority``."""
    country: str
    path: tuple[str, ...] = ()
    """Affiliate ids, from the employer to the entity whose country it is."""

    @property
    def kind(self) -> TieKind:
        """The kind, without the rule."""
        return TieKind(self.label.partition(".")[0])


class Control(msgspec.Struct, frozen=True):
    """What one control rule says of an affiliate."""

    countries: Fact[FactSet]
    owners: Fact[FactSet]
    paragraph: Fact[FactSet] = NOT_APPLICABLE
    """Of a rule with paragraphs: those that apply, of an affiliation to the affiliate, of a caller to the caller."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of who asks. Every field is a fact: it may be unknown.

    ``claims`` never travel further than the room that read them: what is here is what was mapped.
    """

    principal: str = ""
    """``issuer|subject``: identity for pseudonyms. Empty for nobody."""
    id: Fact[str] = UNKNOWN
    issuer: Fact[str] = UNKNOWN
    """The declared issuer's id, not its URL."""
    issuer_operator: Fact[str] = UNKNOWN
    """The affiliate that administers the identity provider."""
    client: Fact[str] = UNKNOWN
    kind: Fact[str] = UNKNOWN
    """``employee``, ``contractor`` or ``service``."""
    affiliate: Fact[str] = UNKNOWN
    affiliate_country: Fact[str] = UNKNOWN
    affiliate_roles: Fact[FactSet] = UNKNOWN
    site_country: Fact[str] = UNKNOWN
    residence: Fact[str] = UNKNOWN
    citizenships: Fact[FactSet] = UNKNOWN
    groups: Fact[FactSet] = UNKNOWN
    roles: Fact[FactSet] = UNKNOWN
    countries: Fact[FactSet] = UNKNOWN
    """Countries of the ties whose kinds the manifest counts."""
    ties: tuple[Tie, ...] = ()
    """All known ties, also of kinds that do not count unless asked by name."""
    open_ties: frozenset[str] = frozenset()
    """Labels of ties that may have members nobody declared."""
    control: Mapping[str, Control] = msgspec.field(default_factory=dict)
    """By control rule id."""
    claims: Mapping[str, Fact[str]] = msgspec.field(default_factory=dict)
    """Texts that an issuer maps under names of the bundle's own, by that name."""
    until: float = float("inf")
    """Seconds since 1970 when what vouches for the caller ends: a token's ``exp``, with the leeway."""


UNAUTHENTICATED: Final = Caller(
    id=NOT_APPLICABLE,
    issuer=NOT_APPLICABLE,
    issuer_operator=NOT_APPLICABLE,
    client=NOT_APPLICABLE,
    kind=NOT_APPLICABLE,
    affiliate=NOT_APPLICABLE,
    affiliate_country=NOT_APPLICABLE,
    affiliate_roles=NOT_APPLICABLE,
    site_country=NOT_APPLICABLE,
    residence=NOT_APPLICABLE,
    citizenships=NOT_APPLICABLE,
    groups=NOT_APPLICABLE,
    roles=NOT_APPLICABLE,
    countries=NOT_APPLICABLE,
)
"""Nobody in particular, on a route that is declared ``unauthenticated``."""
