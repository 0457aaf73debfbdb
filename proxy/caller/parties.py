# SPDX-License-Identifier: Apache-2.0
"""Those who take part in a request, and how they become one ``Caller``.

- The *caller* is who acts: the subject of a token, or whoever its ``act`` names (RFC 8693 4.1), or a service by its
  certificate. The *person* is for whom it acts, if not for itself: the subject of a delegated token, or of a second
  one. A *client* is the program in between, *actors* are those who passed a delegated token on before, the
  *connection* is the service that a certificate names.
- Ties are the union over all of them: whoever sees the answer counts, and so does whoever asked for it.
- Where the register of people and a claim disagree, the fact is unknown, and ties are those of both. A claim that the
  issuer would make and has not might disagree: what the register says then ties, and is not all that may.
- What is said of somebody of whom a register should speak, and does not, ties and is not known: a row that went
  missing might have said something else.
- A service has an unknown person behind it, unless a verified one is there or it is registered as autonomous.

Pure: what tokens say has been verified, registers are looked up in memory or in a file of this process.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from proxy.caller.clients import Client
from proxy.caller.covered_persons import covered_person
from proxy.caller.issuers import ClaimMapping
from proxy.caller.people import Engagement
from proxy.caller.register import Affiliation, Register
from proxy.model.caller import NO_PERSON, UNKNOWN_PERSON, Caller, Control, Part, Person, Tie, TieKind
from proxy.model.decision import Reason
from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, Fact, FactSet, State

OWN: Final = "claims."
"""Begins the names of attributes that are the bundle's own."""
_PERSONAL: Final = frozenset({str(TieKind.SITE), str(TieKind.RESIDENCE)})
_ANY_CONTROL: Final = Control(UNKNOWN, UNKNOWN, UNKNOWN)


class Voucher(Protocol):
    """Who says something of somebody: an issuer of tokens, or an authority over certificates."""

    @property
    def id(self) -> str:
        """Its id in the bundle."""
        ...

    @property
    def operator(self) -> str:
        """The affiliate that administers it."""
        ...

    @property
    def mappings(self) -> Sequence[ClaimMapping]:
        """The caller attributes that it can say."""
        ...


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
    since: float = -math.inf
    boundary: float = math.inf
    """The registers say nothing else of any of them in [since, boundary), seconds since 1970."""


class _Said(msgspec.Struct, frozen=True):
    """What claim and register come to for one attribute."""

    fact: Fact[str]
    values: tuple[str, ...]
    """All that is said; two where they disagree."""
    is_whole: bool
    """Whether nothing else may be so."""


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


def find_span(rows: Iterable[Engagement], now: float) -> tuple[float, float]:
    """Return from when until when nothing else holds of a person, seconds since 1970."""
    moments = [moment for row in rows for moment in (row.since, row.until)]
    since = max((moment for moment in moments if moment <= now), default=-math.inf)
    return since, min((moment for moment in moments if moment > now), default=math.inf)


def make_party(
    issuer: Voucher | None,
    facts: Mapping[str, Fact[Any]],
    register: Register,
    *,
    principal: str,
    row: Engagement | None = None,
    is_doubtful: bool = False,
    client: Client | None = None,
    part: Part = Part.CALLER,
) -> Party:
    """Join what an issuer says of somebody with what the registers say.

    Args:
        issuer: who said it; None where a test case does not name one.
        facts: caller attributes, as ``claims.map_claims`` gives them. What is unknown there would be said and is not;
            what is not there is never said.
        register: of affiliates, at the request's instant.
        principal: identity for pseudonyms, ``issuer|subject``.
        row: the live row of the register of people.
        is_doubtful: whether what is said ties, but might be otherwise: a register that must speak of it is silent.
        client: the program that this is itself, where it is a registered one.
        part: which part it takes in the request.
    """
    told = _merge(facts, row, client, is_doubtful=is_doubtful)
    kind, affiliate = told.kind.fact, told.affiliate
    says_kind = issuer is not None and any(mapping.attribute == "kind" for mapping in issuer.mappings)
    is_kind_open = is_doubtful or (not told.kind.is_whole and (says_kind or bool(told.kind.values)))
    may_be_service = kind is UNKNOWN and (is_kind_open or "service" in told.kind.values)
    said = [register.by_id[each] for each in affiliate.values if each in register.by_id]
    affiliation = said[0] if said and affiliate.fact is not UNKNOWN else None
    is_told = affiliate.is_whole and 0 < len(said) == len(affiliate.values)
    home = {TieKind.RESIDENCE: told.residence} if kind != "service" else {}
    residence = _of_a_person(kind, told.residence.fact, may_be_service=may_be_service)
    ties, open_ties = _tie(said, {TieKind.SITE: told.site_country, **home}, part)
    unsaid = () if is_told else register.unknown_ties, (str(TieKind.RESIDENCE),) if may_be_service else ()
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
            residence=residence,
            citizenships=_of_a_person(kind, told.citizenships, may_be_service=may_be_service),
            groups=facts.get("groups", UNKNOWN),
            roles=facts.get("roles", UNKNOWN),
        ),
        ties=ties,
        open_ties=open_ties.union(*unsaid),
        counted=frozenset().union(*(each.counted for each in said)) if is_told else register.counted,
        control=_judge([each.control for each in said] if is_told else [{}], register, kind, residence),
        is_for_somebody=(kind == "service" or may_be_service) and not (client is not None and client.autonomous),
        client=facts.get("client", UNKNOWN),
        claims={name.removeprefix(OWN): fact for name, fact in facts.items() if name.startswith(OWN)},
    )


def make_program(client: Client | None, register: Register, part: Part) -> Party:
    """Return the program between a caller and the gateway; None: nobody knows which, nor so for whom it reads."""
    facts: dict[str, Fact[Any]] = {"kind": "service", "site_country": NOT_APPLICABLE}
    party = make_party(None, facts, register, principal="", client=client, part=part)
    if client is not None:
        return msgspec.structs.replace(party, is_for_somebody=False)  # it reads for whoever uses it
    return msgspec.structs.replace(party, open_ties=party.open_ties | _PERSONAL)


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
        max(first.since, second.since),
        min(first.boundary, second.boundary),
    )


def join(speaking: Speaking, register: Register) -> Caller:
    """Return the caller that everybody who takes part makes up."""
    person, caller = speaking.person, speaking.caller
    parties = [caller, *speaking.others, *([] if person is None else [person])]
    for_whom = person or caller
    behind = NO_PERSON if person is None else person.person
    open_ties = frozenset().union(*(party.open_ties for party in parties))
    controls = [party.control for party in parties]
    is_hidden = person is None and any(each.is_for_somebody and not each.person.principal for each in speaking.others)
    if for_whom.is_for_somebody or is_hidden:  # behind it, or behind a program that nobody can name
        behind = UNKNOWN_PERSON if person is None else behind
        open_ties |= register.unknown_ties | _PERSONAL
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
        passed_on=tuple(each.person.principal for each in speaking.others if each.person.principal),
        until=speaking.until,
    )


def assemble_caller(
    issuer: Voucher | None,
    facts: Mapping[str, Fact[Any]],
    register: Register,
    *,
    principal: str,
    until: float = math.inf,
) -> Caller:
    """Return a caller who acts for itself, from what one issuer says of it.

    Args:
        issuer: who said it; None where nobody is named.
        facts: caller attributes; what is not there is unknown.
        register: of affiliates, at the request's instant.
        principal: identity for pseudonyms, ``issuer|subject``.
        until: seconds since 1970 when what was said ends.
    """
    party = make_party(issuer, facts, register, principal=principal)
    return join(Speaking(party, until=until), register)


def tied_countries(ties: tuple[Tie, ...], open_ties: frozenset[str], labels: frozenset[str]) -> Fact[FactSet]:
    """Return the countries of the ties with these labels; somebody tied to no country at all is unknown."""
    members = frozenset(tie.country for tie in ties if tie.label in labels)
    is_open = not open_ties.isdisjoint(labels)
    return FactSet(members, is_open) if members or is_open else UNKNOWN


def _merge(
    facts: Mapping[str, Fact[Any]], row: Engagement | None, client: Client | None, *, is_doubtful: bool
) -> _Told:
    """Join claims with the row of a person or a program."""

    def might_differ(name: str) -> bool:
        return is_doubtful or (row is not None and facts.get(name) is UNKNOWN)

    of_client = Engagement() if client is None else Engagement(affiliate=client.affiliate, kind="service")
    registered = row or of_client
    scalars = {
        name: _reconcile(facts.get(name, UNKNOWN), getattr(registered, name), might_differ=might_differ(name))
        for name in ("kind", "affiliate", "site_country", "residence")
    }
    citizenships = _unite(facts.get("citizenships", UNKNOWN), registered.citizenships)
    if might_differ("citizenships") and isinstance(citizenships, FactSet):
        citizenships = FactSet(citizenships.members, is_open=True)
    return _Told(**scalars, citizenships=citizenships)


def _reconcile(claim: Fact[str], row: Fact[str], *, might_differ: bool) -> _Said:
    """Return what a claim and a row say together; a disagreement is no fact."""
    values = tuple(dict.fromkeys(each for each in (claim, row) if not isinstance(each, State)))
    if might_differ:
        return _Said(UNKNOWN, values, is_whole=False)
    if len(values) > 1:
        return _Said(UNKNOWN, values, is_whole=True)
    fact = row if isinstance(claim, State) and row is not UNKNOWN else claim
    return _Said(fact, values, is_whole=fact is not UNKNOWN)


def _unite(claim: Fact[FactSet], row: Fact[FactSet]) -> Fact[FactSet]:
    """Return both sets of citizenships; where they differ, neither is the whole."""
    if isinstance(claim, State) or isinstance(row, State):
        return claim if isinstance(row, State) else row
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
    open_ties = frozenset(str(kind) for kind, said in places.items() if not said.is_whole)
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
        _unite_sets([each.paragraph for each in found]),
    )


def _unite_sets(facts: Sequence[Fact[FactSet]]) -> Fact[FactSet]:
    if NOT_APPLICABLE in facts:
        return NOT_APPLICABLE
    sets = [fact for fact in facts if isinstance(fact, FactSet)]
    members: frozenset[str] = frozenset().union(*(each.members for each in sets))
    return FactSet(members, len(sets) < len(facts) or any(each.is_open for each in sets))


def _judge(
    controls: Sequence[Mapping[str, Control]], register: Register, kind: Fact[str], residence: Fact[str]
) -> Mapping[str, Control]:
    """Return what every control rule says of somebody: of the affiliates, and of the person where a law does."""
    control = _unite_control(controls)
    if not register.laws:
        return control
    judged = dict(control)
    for rule, law in register.laws.items():
        of_affiliate = control.get(rule, _ANY_CONTROL)
        paragraph = covered_person(law, of_affiliate.paragraph, kind, residence)
        judged[rule] = Control(of_affiliate.countries, of_affiliate.owners, paragraph)
    return judged
