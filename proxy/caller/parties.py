# SPDX-License-Identifier: Apache-2.0
"""Those who take part in a request, and how they become one ``Caller``.

- The *caller* is who acts: the subject of a token, or whoever its ``act`` names (RFC 8693 4.1), or a service by its
  certificate. The *person* is for whom it acts, if not for itself: the subject of a delegated token, or of a second
  one. A *client* is the program in between, *actors* are those who passed a delegated token on before, the
  *connection* is the service that a certificate names.
- Ties are the union over all of them: whoever sees the answer counts, and so does whoever asked for it.
- Where the register of people and a claim disagree, the fact is unknown, and ties are those of both.
- A service has an unknown person behind it, unless a verified one is there or it is registered as autonomous.

Pure: what tokens say has been verified, registers are looked up in memory or in a file of this process.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from proxy.caller.affiliates import Affiliates, Affiliation
from proxy.caller.clients import Client
from proxy.caller.issuers import Issuer
from proxy.caller.people import Engagement
from proxy.model.caller import NO_PERSON, UNKNOWN_PERSON, Caller, Control, Part, Person, Tie, TieKind
from proxy.model.decision import Reason
from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, Fact, FactSet, State

OWN: Final = "claims."
"""Begins the names of attributes that are the bundle's own."""
_PERSONAL: Final = (TieKind.SITE, TieKind.RESIDENCE)
_ANY_CONTROL: Final = Control(UNKNOWN, UNKNOWN)


class Party(msgspec.Struct, frozen=True):
    """One of those who take part, with what ties it to countries."""

    person: Person
    ties: tuple[Tie, ...]
    open_ties: frozenset[str]
    counted: frozenset[str]
    """Labels of ties that count for it without being named."""
    control: Mapping[str, Control]
    is_for_somebody: bool = False
    """Whether it is a service, or may be one, that is not registered to act by itself."""
    client: Fact[str] = UNKNOWN
    claims: Mapping[str, Fact[str]] = {}


class Speaking(msgspec.Struct, frozen=True):
    """Everybody of whom one credential speaks."""

    caller: Party
    others: tuple[Party, ...] = ()
    person: Party | None = None
    """For whom the caller acts, if the credential says so."""
    until: float = math.inf
    """Seconds since 1970 when what vouches for them ends."""
    boundary: float = math.inf
    """Seconds since 1970 when a register says something else of one of them."""


class _Said(msgspec.Struct, frozen=True):
    """What claim and register come to for one attribute."""

    fact: Fact[str]
    values: tuple[str, ...]
    """All that is said; two where they disagree."""


class _Told(msgspec.Struct, frozen=True):
    """What claims and registers come to for one person."""

    kind: _Said
    affiliate: _Said
    site_country: _Said
    residence: _Said
    citizenships: Fact[FactSet]


def find_live(rows: Iterable[Engagement], now: float) -> Engagement | None:
    """Return the row that holds now; at a time that is not known (NaN), one that holds at all times."""
    return next((row for row in rows if _has_begun(row, now) and (row.until == math.inf or now < row.until)), None)


def _has_begun(row: Engagement, now: float) -> bool:
    return row.since == -math.inf or row.since <= now


def find_boundary(rows: Iterable[Engagement], now: float) -> float:
    """Return when something else holds of a person, seconds since 1970."""
    return min((moment for row in rows for moment in (row.since, row.until) if moment > now), default=math.inf)


def make_party(
    issuer: Issuer | None,
    facts: Mapping[str, Fact[Any]],
    affiliates: Affiliates,
    *,
    principal: str,
    row: Engagement | None = None,
    is_row_needed: bool = False,
    client: Client | None = None,
    part: Part = Part.CALLER,
) -> Party:
    """Join what an issuer says of somebody with what the registers say.

    Args:
        issuer: who said it; None where a test case does not name one.
        facts: caller attributes, as ``claims.map_claims`` gives them; what is not there is unknown.
        affiliates: the computed register.
        principal: identity for pseudonyms, ``issuer|subject``.
        row: the live row of the register of people.
        is_row_needed: whether there must be one for the affiliate to be known.
        client: the program that this is itself, where it is a registered one.
        part: which part it takes in the request.
    """
    told = _merge(facts, row, client, is_row_needed=is_row_needed)
    kind, affiliate = told.kind.fact, told.affiliate
    says_kind = issuer is not None and any(mapping.attribute == "kind" for mapping in issuer.mappings)
    may_be_service = kind is UNKNOWN and ((says_kind and not told.kind.values) or "service" in told.kind.values)
    said = [affiliates.by_id[each] for each in affiliate.values if each in affiliates.by_id]
    affiliation = said[0] if said and affiliate.fact is not UNKNOWN else None
    is_told = affiliation is not None or len(said) > 1
    home = {TieKind.RESIDENCE: told.residence} if kind != "service" else {}
    ties, open_ties = _tie(said, {TieKind.SITE: told.site_country, **home}, part)
    if may_be_service:
        open_ties |= {str(TieKind.RESIDENCE)}  # what is said ties, but is not all that may
    if not is_told:
        open_ties |= affiliates.unknown_ties
    return Party(
        person=Person(
            principal=principal,
            id=facts.get("id", UNKNOWN),
            issuer=issuer.id if issuer else UNKNOWN,
            issuer_operator=issuer.operator if issuer else UNKNOWN,
            kind=kind,
            affiliate=affiliation.id if affiliation else UNKNOWN,
            affiliate_country=affiliation.country if affiliation else UNKNOWN,
            affiliate_roles=affiliation.roles if affiliation else UNKNOWN,
            site_country=told.site_country.fact,
            residence=_of_a_person(kind, told.residence.fact, may_be_service=may_be_service),
            citizenships=_of_a_person(kind, told.citizenships, may_be_service=may_be_service),
            groups=facts.get("groups", UNKNOWN),
            roles=facts.get("roles", UNKNOWN),
        ),
        ties=ties,
        open_ties=open_ties,
        counted=frozenset().union(*(each.counted for each in said)) if is_told else affiliates.counted,
        control=_unite_control([each.control for each in said] if is_told else [{}]),
        is_for_somebody=(kind == "service" or may_be_service) and not (client is not None and client.autonomous),
        client=facts.get("client", UNKNOWN),
        claims={name.removeprefix(OWN): fact for name, fact in facts.items() if name.startswith(OWN)},
    )


def make_program(client: Client | None, affiliates: Affiliates, part: Part) -> Party:
    """Return the program between a caller and the gateway; None: one that nobody registered."""
    facts: dict[str, Fact[Any]] = {"kind": "service", "site_country": NOT_APPLICABLE}
    return make_party(None, facts, affiliates, principal="", client=client, part=part)


def speak_both(first: Speaking, second: Speaking) -> Speaking | Reason:
    """Return everybody of whom two credentials speak: a caller's own, and that of the person for whom it acts."""
    if first.person is not None:
        return Reason.AUTHORIZATION_FOR_TWO
    passing_on = (second.caller,) if second.person is not None else ()
    return Speaking(
        first.caller,
        (*first.others, *second.others, *passing_on),
        second.person or second.caller,
        min(first.until, second.until),
        min(first.boundary, second.boundary),
    )


def join(speaking: Speaking, affiliates: Affiliates) -> Caller:
    """Return the caller that everybody who takes part makes up."""
    person, caller = speaking.person, speaking.caller
    parties = [caller, *speaking.others, *([] if person is None else [person])]
    for_whom = person or caller
    behind = NO_PERSON if person is None else person.person
    open_ties = frozenset().union(*(party.open_ties for party in parties))
    controls = [party.control for party in parties]
    if for_whom.is_for_somebody:
        behind = UNKNOWN_PERSON if person is None else behind
        open_ties |= affiliates.unknown_ties | {str(kind) for kind in _PERSONAL}
        controls.append({})
    ties = caller.ties if len(parties) == 1 else _place(parties, caller, person)
    counted = frozenset().union(*(party.counted for party in parties))
    return Caller(
        **{name: getattr(caller.person, name) for name in Person.__struct_fields__},
        client=caller.client,
        countries=tied_countries(ties, open_ties, counted),
        ties=ties,
        open_ties=open_ties,
        control=_unite_control(controls),
        claims=caller.claims,
        on_behalf_of=behind,
        until=speaking.until,
    )


def assemble_caller(
    issuer: Issuer | None,
    facts: Mapping[str, Fact[Any]],
    affiliates: Affiliates,
    *,
    principal: str,
    until: float = math.inf,
) -> Caller:
    """Return a caller who acts for itself, from what one issuer says of it.

    Args:
        issuer: who said it; None where nobody is named.
        facts: caller attributes; what is not there is unknown.
        affiliates: the computed register.
        principal: identity for pseudonyms, ``issuer|subject``.
        until: seconds since 1970 when what was said ends.
    """
    party = make_party(issuer, facts, affiliates, principal=principal)
    return join(Speaking(party, until=until), affiliates)


def tied_countries(ties: tuple[Tie, ...], open_ties: frozenset[str], labels: frozenset[str]) -> Fact[FactSet]:
    """Return the countries of the ties with these labels; somebody tied to no country at all is unknown."""
    members = frozenset(tie.country for tie in ties if tie.label in labels)
    is_open = not open_ties.isdisjoint(labels)
    return FactSet(members, is_open) if members or is_open else UNKNOWN


def _merge(
    facts: Mapping[str, Fact[Any]], row: Engagement | None, client: Client | None, *, is_row_needed: bool
) -> _Told:
    """Join claims with the row of a person or a program."""
    if row is None:
        row = Engagement() if client is None else Engagement(affiliate=client.affiliate, kind="service")
        is_missing = is_row_needed and client is None
    else:
        is_missing = False
    affiliate = _reconcile(facts.get("affiliate", UNKNOWN), row.affiliate)
    return _Told(
        kind=_reconcile(facts.get("kind", UNKNOWN), row.kind),
        affiliate=_Said(UNKNOWN, affiliate.values) if is_missing else affiliate,
        site_country=_reconcile(facts.get("site_country", UNKNOWN), row.site_country),
        residence=_reconcile(facts.get("residence", UNKNOWN), row.residence),
        citizenships=_unite(facts.get("citizenships", UNKNOWN), row.citizenships),
    )


def _reconcile(claim: Fact[str], row: Fact[str]) -> _Said:
    """Return what a claim and a row say together; a disagreement is no fact."""
    values = tuple(each for each in (claim, row) if not isinstance(each, State))
    if len(values) == 2 and values[0] != values[1]:
        return _Said(UNKNOWN, values)
    fact = row if claim is UNKNOWN else claim
    return _Said(fact if row is UNKNOWN or fact == row else UNKNOWN, values[:1])


def _unite(claim: Fact[FactSet], row: Fact[FactSet]) -> Fact[FactSet]:
    """Return both sets of citizenships; where they differ, neither is the whole."""
    if isinstance(claim, State) or isinstance(row, State):
        return row if claim is UNKNOWN else claim
    return claim if claim == row else FactSet(claim.members | row.members, is_open=True)


def _of_a_person(kind: Fact[str], fact: Fact[Any], *, may_be_service: bool) -> Fact[Any]:
    """Return a fact that only people have.

    Whether there is a person is unknown where the issuer would say the kind and has not: a service that leaves the
    claim out must not pass for a person with a good residence.
    """
    if kind == "service":
        return NOT_APPLICABLE
    return UNKNOWN if may_be_service else fact


def _tie(
    affiliations: Sequence[Affiliation], places: Mapping[TieKind, _Said], part: Part
) -> tuple[tuple[Tie, ...], frozenset[str]]:
    """Return the ties of somebody, and the labels of those that may not be all."""
    ties = [tie for affiliation in affiliations for tie in affiliation.ties]
    ties += [Tie(kind, value) for kind, said in places.items() for value in said.values]
    open_ties = frozenset(str(kind) for kind, said in places.items() if said.fact is UNKNOWN and not said.values)
    placed = tuple(ties) if part is Part.CALLER else tuple(msgspec.structs.replace(tie, of=part) for tie in ties)
    return placed, open_ties.union(*(affiliation.open_ties for affiliation in affiliations))


def _place(parties: Sequence[Party], caller: Party, person: Party | None) -> tuple[Tie, ...]:
    """Return everybody's ties, each saying whose it is."""
    ties: list[Tie] = []
    for party in parties:
        part = Part.CALLER if party is caller else Part.PERSON if party is person else Part.ACTOR
        is_placed = part is Part.ACTOR
        ties += [
            tie
            if tie.of is part or (is_placed and tie.of is not Part.CALLER)
            else msgspec.structs.replace(tie, of=part)
            for tie in party.ties
        ]
    return tuple(ties)


def _unite_control(controls: Sequence[Mapping[str, Control]]) -> Mapping[str, Control]:
    """Return who controls any of them; where it is unknown of one, there may be more."""
    if len(controls) == 1:
        return controls[0]
    rules = {rule for control in controls for rule in control}
    return {rule: _unite_rule([control.get(rule, _ANY_CONTROL) for control in controls]) for rule in rules}


def _unite_rule(found: Sequence[Control]) -> Control:
    return Control(
        _unite_sets([each.countries for each in found]),
        _unite_sets([each.owners for each in found]),
    )


def _unite_sets(facts: Sequence[Fact[FactSet]]) -> FactSet:
    sets = [fact for fact in facts if isinstance(fact, FactSet)]
    members: frozenset[str] = frozenset().union(*(each.members for each in sets))
    return FactSet(members, len(sets) < len(facts) or any(each.is_open for each in sets))
