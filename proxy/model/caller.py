# SPDX-License-Identifier: Apache-2.0
"""Who asks: a person or service, the affiliate it works for, and every country it is tied to."""

import enum
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Fact, FactSet, State

KINDS: Final = ("employee", "contractor", "service")
"""What a caller's kind can be. Anything else that a token says is unknown."""


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


class Part(enum.StrEnum):
    """Whose a tie is, of those that take part in a request."""

    CALLER = "caller"
    CLIENT = "client"
    """The program that the caller uses."""
    CONNECTION = "connection"
    """The service at the other end of the connection, by its certificate."""
    ACTOR = "actor"
    """Whoever passed a delegated token on before the caller did (RFC 8693 4.1)."""
    PERSON = "on_behalf_of"
    """For whom the caller acts."""


class Tie(msgspec.Struct, frozen=True, order=True):
    """One tie of a caller to a country, and how it came about."""

    label: str
    """The tie's kind, with the control rule's id behind a dot: ``control.majority``."""
    country: str
    path: tuple[str, ...] = ()
    """Affiliate ids, from the employer to the entity whose country it is."""
    of: Part = Part.CALLER

    @property
    def kind(self) -> TieKind:
        """The kind, without the rule."""
        return TieKind(self.label.partition(".")[0])


class Control(msgspec.Struct, frozen=True):
    """What one control rule says of an affiliate."""

    countries: Fact[FactSet]
    owners: Fact[FactSet]


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one person or service. Every field is a fact: it may be unknown."""

    principal: str = ""
    """``issuer|subject``: identity for pseudonyms. Empty for nobody."""
    id: Fact[str] = UNKNOWN
    issuer: Fact[str] = UNKNOWN
    """The declared issuer's id, not its URL; of a certificate, the authority's."""
    issuer_operator: Fact[str] = UNKNOWN
    """The affiliate that administers the identity provider."""
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


def _nowhere(state: State) -> dict[str, Any]:
    return {name: state for name in Person.__struct_fields__ if name != "principal"}


UNKNOWN_PERSON: Final = Person()
"""Somebody, nobody knows who."""
NO_PERSON: Final = Person(**_nowhere(ABSENT))
"""Nobody: whoever calls acts for itself."""


class Caller(Person, frozen=True, kw_only=True):
    """Everything that is known of who asks: who acts, through what, and for whom.

    ``claims`` never travel further than the room that read them: what is here is what was mapped.
    """

    client: Fact[str] = UNKNOWN
    countries: Fact[FactSet] = UNKNOWN
    """Countries of the ties whose kinds the manifest counts, of everybody who takes part."""
    ties: tuple[Tie, ...] = ()
    """All known ties, also of kinds that do not count unless asked by name."""
    open_ties: frozenset[str] = frozenset()
    """Labels of ties that may have members nobody declared."""
    control: Mapping[str, Control] = msgspec.field(default_factory=dict)
    """By control rule id, of everybody who takes part."""
    claims: Mapping[str, Fact[str]] = msgspec.field(default_factory=dict)
    """Texts that an issuer maps under names of the bundle's own, by that name."""
    on_behalf_of: Person = UNKNOWN_PERSON
    """For whom the caller acts."""
    until: float = float("inf")
    """Seconds since 1970 when what vouches for the caller ends: a token's ``exp``, with the leeway."""


UNAUTHENTICATED: Final = Caller(
    **_nowhere(NOT_APPLICABLE),
    client=NOT_APPLICABLE,
    countries=NOT_APPLICABLE,
    on_behalf_of=Person(**_nowhere(NOT_APPLICABLE)),
)
"""Nobody in particular, on a route that is declared ``unauthenticated``."""
