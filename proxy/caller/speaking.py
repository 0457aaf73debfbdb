# SPDX-License-Identifier: Apache-2.0
"""Whom a verified credential speaks of: who calls, through which program, passed on by whom, and for whom.

- The registers add what they know: people by issuer and subject, programs by issuer and the name they have there.
- The actors of a delegated token (RFC 8693 4.1) are who the registers say they are, and nothing that ``act`` says of
  them besides ``sub``, ``iss`` and ``client_id`` is read. An actor that no register knows may be anybody.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from proxy.caller.affiliates import Affiliates
from proxy.caller.claims import VerifiedClaims, map_claims
from proxy.caller.clients import Client, Clients
from proxy.caller.delegation import find_actors
from proxy.caller.issuers import Issuer
from proxy.caller.parties import Party, Speaking, find_boundary, find_live, make_party, make_program
from proxy.caller.people import Engagement, People
from proxy.model.caller import Part
from proxy.model.facts import UNKNOWN, Fact


class Registers(msgspec.Struct, frozen=True):
    """What a bundle says of people and programs."""

    affiliates: Affiliates
    people: People
    clients: Clients


class _Known(msgspec.Struct, frozen=True):
    """What the register of people says of one name."""

    row: Engagement | None = None
    until: float = math.inf
    boundary: float = math.inf


def speak(
    issuer: Issuer, claims: VerifiedClaims, issuers: Mapping[str, Issuer], registers: Registers, now: float
) -> Speaking:
    """Return everybody of whom a token speaks.

    Args:
        issuer: of the token.
        claims: of the token; its actors have been found sound.
        issuers: the declared issuers by ``iss``.
        registers: what the bundle says of people and programs.
        now: the request's reading of the clock.
    """
    subject = speak_of(issuer, map_claims(issuer, claims), claims["sub"], registers, now)
    until, boundary = subject.until, subject.boundary
    actors = []
    for raw in find_actors(claims) or ():
        actor, known = _actor(raw, issuer, issuers, registers, now)
        actors.append(actor)
        until, boundary = min(until, known.until), min(boundary, known.boundary)
    if not actors:
        return subject
    return Speaking(actors[0], (*subject.others, *actors[1:]), subject.caller, until, boundary)


def speak_of(
    issuer: Issuer, facts: Mapping[str, Fact[Any]], subject: str, registers: Registers, now: float
) -> Speaking:
    """Return the subject of a token, and the program that it uses, if it is not one itself.

    Args:
        issuer: who vouches.
        facts: caller attributes, as ``claims.map_claims`` gives them.
        subject: whose name the registers know.
        registers: what the bundle says of people and programs.
        now: the request's reading of the clock.
    """
    through = registers.clients.find(issuer.id, facts.get("client"))
    itself = registers.clients.find(issuer.id, subject)
    if itself is None and facts.get("kind") == "service":
        itself = through
    known = _look_up(issuer.id, subject, registers.people, now)
    party = make_party(
        issuer,
        facts,
        registers.affiliates,
        principal=f"{issuer.id}|{subject}",
        row=known.row,
        is_row_needed=issuer.needs_people,
        client=itself,
    )
    programs = tuple(_programs(issuer, through, itself, registers.affiliates))
    return Speaking(party, programs, None, known.until, known.boundary)


def speak_of_service(
    authority: Issuer, name: str, registers: Registers, *, until: float, part: Part = Part.CALLER
) -> Speaking:
    """Return the service that a verified certificate names; what is known of it is what the register says."""
    client = registers.clients.find(authority.id, name)
    facts: dict[str, Fact[Any]] = {"id": name, "client": name, "kind": "service"}
    party = make_party(
        authority,
        facts,
        registers.affiliates,
        principal=f"{authority.id}|{name}",
        is_row_needed=True,
        client=client,
        part=part,
    )
    return Speaking(party, until=until)


def _programs(issuer: Issuer, through: Client | None, itself: Client | None, affiliates: Affiliates) -> Iterator[Party]:
    """Yield the program between a caller and the gateway, unless it is the caller."""
    if through is not None and through is not itself:
        yield make_program(through, affiliates, Part.CLIENT)
    elif through is None and itself is None and issuer.needs_clients:
        yield make_program(None, affiliates, Part.CLIENT)


def _actor(
    raw: Mapping[str, Any], issuer: Issuer, issuers: Mapping[str, Issuer], registers: Registers, now: float
) -> tuple[Party, _Known]:
    """Return one actor of a delegated token."""
    vouching = issuers.get(raw["iss"]) if "iss" in raw else issuer
    facts: dict[str, Fact[Any]] = {"id": raw["sub"], "client": raw.get("client_id", UNKNOWN)}
    if vouching is None:
        party = make_party(None, facts, registers.affiliates, principal=f"?|{raw['sub']}", is_row_needed=True)
        return party, _Known()
    client = registers.clients.find(vouching.id, raw["sub"]) or registers.clients.find(
        vouching.id, raw.get("client_id")
    )
    known = _look_up(vouching.id, raw["sub"], registers.people, now)
    principal = f"{vouching.id}|{raw['sub']}"
    party = make_party(
        vouching,
        facts,
        registers.affiliates,
        principal=principal,
        row=known.row,
        is_row_needed=True,
        client=client,
        part=Part.ACTOR,
    )
    return party, known


def _look_up(issuer_id: str, subject: str, people: People, now: float) -> _Known:
    rows = people.find(issuer_id, subject)
    row = find_live(rows, now)
    return _Known(row, row.until if row is not None else math.inf, find_boundary(rows, now))
