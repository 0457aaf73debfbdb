# SPDX-License-Identifier: Apache-2.0
"""Whom a verified credential speaks of: who calls, through which program, passed on by whom, and for whom.

- The registers add what they know: people by issuer and subject, programs by issuer and the name they have there.
- The actors of a delegated token (RFC 8693 4.1) are who the registers say they are, and nothing that ``act`` says of
  them besides ``sub``, ``iss`` and ``client_id`` is read. An actor that no register knows may be anybody.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy.caller.affiliates import Affiliates
from proxy.caller.certificates import CertificateIdentity
from proxy.caller.claims import VerifiedClaims, map_claims
from proxy.caller.clients import Client, Clients
from proxy.caller.delegation import find_actors
from proxy.caller.issuers import Issuer
from proxy.caller.parties import Speaking, find_boundary, find_live, make_party, make_program
from proxy.caller.people import Engagement, People
from proxy.model.caller import Part
from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, Fact


class Registers(msgspec.Struct, frozen=True):
    """What a bundle says of people and programs."""

    affiliates: Affiliates
    people: People
    clients: Clients


_PEOPLE: Final = frozenset({"employee", "contractor"})


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
    actors = [_speak_of_actor(raw, issuer, issuers, registers, now) for raw in find_actors(claims) or ()]
    if not actors:
        return subject
    everybody = (subject, *actors)
    return Speaking(
        actors[0].caller,
        (*(program for each in everybody for program in each.others), *(actor.caller for actor in actors[1:])),
        subject.caller,
        min(each.until for each in everybody),
        min(each.boundary for each in everybody),
    )


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
    return _speak_of_one(issuer, facts, subject, registers, now, needs_row=issuer.needs_people)


def speak_of_service(identity: CertificateIdentity, registers: Registers, part: Part) -> Speaking:
    """Return the service that a verified certificate names; what is known of it is what the register says.

    Args:
        identity: whose certificate it is.
        registers: what the bundle says of people and programs.
        part: which part it takes: the caller, or the connection of one who shows a token.
    """
    client = registers.clients.find(identity.id, identity.name)
    if client is not None and identity.assertable is not None and client.affiliate not in identity.assertable:
        client = None  # its authority may not vouch for that affiliate
    facts: dict[str, Fact[Any]] = {"id": identity.name, "client": identity.name, "kind": "service"}
    if client is not None:
        facts["site_country"] = NOT_APPLICABLE
    principal = identity.principal
    party = make_party(identity, facts, registers.affiliates, principal=principal, client=client, part=part)
    return Speaking(party, until=identity.until)


def _speak_of_actor(
    raw: Mapping[str, Any], issuer: Issuer, issuers: Mapping[str, Issuer], registers: Registers, now: float
) -> Speaking:
    """Return one actor of a delegated token, and the program that it used.

    An issuer speaks for its own people. Of another's, it may name those of affiliates that it may assert; whoever
    else it names ties, and is not known.
    """
    named = issuers.get(raw["iss"]) if "iss" in raw else issuer
    facts: dict[str, Fact[Any]] = {"id": raw["sub"]}
    if "client_id" in raw:
        facts["client"] = raw["client_id"]
    if named is None:
        party = make_party(None, facts, registers.affiliates, principal=f"?|{raw['sub']}", is_doubtful=True)
        return Speaking(party)
    assertable = None if named is issuer else issuer.assertable_affiliates
    return _speak_of_one(
        named, facts, raw["sub"], registers, now, needs_row=True, assertable=assertable, is_own=named is issuer
    )


def _speak_of_one(
    issuer: Issuer,
    facts: Mapping[str, Fact[Any]],
    subject: str,
    registers: Registers,
    now: float,
    *,
    needs_row: bool,
    assertable: frozenset[str] | None = None,
    is_own: bool = True,
) -> Speaking:
    """Return somebody of whom the registers may know, and the programs that go with the name.

    Args:
        issuer: whose name for it the registers know.
        facts: caller attributes.
        subject: the name.
        registers: what the bundle says.
        now: the request's reading of the clock.
        needs_row: whether a register must speak of it.
        assertable: the affiliates of which it may be; None: any.
        is_own: whether the issuer itself says so.
    """
    rows = registers.people.find(issuer.id, subject)
    row = find_live(rows, now)
    through = registers.clients.find(issuer.id, facts.get("client"))
    namesake = registers.clients.find(issuer.id, subject)
    is_person = facts.get("kind") in _PEOPLE
    itself = _find_itself(facts, row, None if needs_row and namesake is None else through, namesake)
    programs = [each for each in dict.fromkeys((through, namesake)) if each is not None and each is not itself]
    is_unnamed = facts.get("client") is UNKNOWN and issuer.id in registers.clients.vouchers
    is_unregistered = issuer.needs_clients and itself is None and not programs
    affiliate = itself.affiliate if itself is not None else UNKNOWN if row is None else row.affiliate
    party = make_party(
        issuer if is_own else None,
        facts,
        registers.affiliates,
        principal=f"{issuer.id}|{subject}",
        row=row,
        is_doubtful=(needs_row and affiliate is UNKNOWN)
        or (not is_person and (is_unregistered or (namesake is not None and namesake is not itself)))
        or (assertable is not None and affiliate not in assertable),
        client=itself,
    )
    others = [make_program(each, registers.affiliates, Part.CLIENT) for each in programs]
    if is_unnamed or is_unregistered:
        others.append(make_program(None, registers.affiliates, Part.CLIENT))
    until = math.inf if row is None else row.until
    return Speaking(party, tuple(others), None, until, find_boundary(rows, now))


def _find_itself(
    facts: Mapping[str, Fact[Any]], row: Engagement | None, through: Client | None, namesake: Client | None
) -> Client | None:
    """Return the program that a subject is.

    Whoever chooses a name at an issuer might choose a program's (RFC 9068 5). So it is one only if the register of
    people does not know it, nobody says that it is a person, and the program that it uses, if that is said, is itself.
    An account of a service is the program that it uses, unless a register must speak of it by name.
    """
    if row is not None or facts.get("kind") in _PEOPLE:
        return None
    if namesake is not None:
        return namesake if "client" not in facts or through is namesake else None
    return through if facts.get("kind") == "service" else None
