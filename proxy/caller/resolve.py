# SPDX-License-Identifier: Apache-2.0
"""A bearer token becomes a ``Caller``, or a reason why not, or the need for an issuer's keys.

- Verified callers are kept in memory inside one snapshot, by the whole token. A kept caller dies with the
  snapshot, with the token's ``exp``, with the generation of the key set that verified it, and with the epoch of the
  register of affiliates: what a date changes is changed for it, too.
- The cache is bounded; the oldest go first.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy.caller.claims import map_claims
from proxy.caller.covered_persons import covered_person
from proxy.caller.issuers import Issuer
from proxy.caller.keys import KeySet
from proxy.caller.register import Affiliates, Affiliation, Register
from proxy.caller.tokens import LEEWAY_SECONDS, parse_token, verify_token
from proxy.model.caller import Caller, Control, Tie, TieKind
from proxy.model.decision import Reason
from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, Fact, FactSet, State
from proxy.model.ports import KeySets

OWN: Final = "claims."
"""Begins the names of attributes that are the bundle's own."""
MAX_KEPT: Final = 20_000
"""Callers kept in memory: some twenty megabytes with tokens of a common size, 160 with the largest."""


class KeysNeeded(msgspec.Struct, frozen=True):
    """The issuer's keys as they stand do not do: it has none, or not the one that a token names."""

    issuer_id: str


class _Kept(msgspec.Struct, frozen=True):
    caller: Caller
    since: float
    until: float
    """It is the caller in [since, until)."""
    issuer_id: str
    generation: str


class Callers:
    """Resolves tokens for one snapshot.

    Args:
        issuers: the declared issuers.
        affiliates: the computed register.
    """

    def __init__(self, issuers: tuple[Issuer, ...], affiliates: Affiliates) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._affiliates = affiliates
        self._kept: dict[str, _Kept] = {}

    def resolve(self, raw_token: str, keys: KeySets, now: float, *, refreshed: bool) -> Caller | Reason | KeysNeeded:
        """Resolve one raw token.

        Args:
            raw_token: the bearer credential.
            keys: the issuers' key sets.
            now: the request's reading of the clock.
            refreshed: whether a need for keys has been met for this request already; then it is not raised again.
        """
        kept = self._kept.get(raw_token)
        if kept is not None and kept.since <= now < kept.until:
            current: KeySet | None = keys.current(kept.issuer_id, now)
            if current is not None and current.generation == kept.generation:
                return kept.caller
        return self._verify(raw_token, keys, now, refreshed=refreshed)

    def _verify(self, raw_token: str, keys: KeySets, now: float, *, refreshed: bool) -> Caller | Reason | KeysNeeded:
        token = parse_token(raw_token, self._issuers)
        if isinstance(token, Reason):
            return token
        current: KeySet | None = keys.current(token.issuer.id, now)
        if current is None:
            return Reason.KEYS_UNAVAILABLE if refreshed else KeysNeeded(token.issuer.id)
        claims = verify_token(token, current, now)
        if claims is Reason.TOKEN_KEY_UNKNOWN and not refreshed:
            return KeysNeeded(token.issuer.id)
        if isinstance(claims, Reason):
            return claims
        register = self._affiliates.at(now)
        caller = assemble_caller(
            token.issuer,
            map_claims(token.issuer, claims),
            register,
            principal=f"{token.issuer.id}|{claims['sub']}",
            until=token.unverified_claims["exp"] + LEEWAY_SECONDS,
        )
        self._keep(raw_token, token.issuer.id, current, caller, register)
        return caller

    def _keep(self, raw_token: str, issuer_id: str, keys: KeySet, caller: Caller, register: Register) -> None:
        if len(self._kept) >= MAX_KEPT:
            for oldest in list(self._kept)[: MAX_KEPT // 8]:
                del self._kept[oldest]
        until = min(caller.until, register.until)
        self._kept[raw_token] = _Kept(caller, register.since, until, issuer_id, keys.generation)


def assemble_caller(
    issuer: Issuer | None,
    facts: Mapping[str, Fact[Any]],
    register: Register,
    *,
    principal: str,
    until: float = math.inf,
) -> Caller:
    """Join what an issuer says of a person with what the registers say of its affiliate.

    Args:
        issuer: who said it; None where a test case does not name one.
        facts: caller attributes, as ``claims.map_claims`` gives them; what is not there is unknown.
        register: the register of affiliates at the request's instant.
        principal: identity for pseudonyms, ``issuer|subject``.
        until: seconds since 1970 when what was said ends.
    """
    affiliate = facts.get("affiliate", UNKNOWN)
    affiliation = None if isinstance(affiliate, State) else register.by_id.get(affiliate)
    site = facts.get("site_country", UNKNOWN)
    kind = facts.get("kind", UNKNOWN)
    residence = _of_a_person(kind, facts.get("residence", UNKNOWN), issuer)
    ties, open_ties = _personal_ties({TieKind.SITE: site, TieKind.RESIDENCE: residence})
    said = facts.get("residence", UNKNOWN)
    if residence is UNKNOWN and not isinstance(said, State):
        ties = (*ties, Tie(TieKind.RESIDENCE, said))  # it ties, but is not all that may
    ties = (*(affiliation.ties if affiliation else ()), *ties)
    open_ties |= affiliation.open_ties if affiliation else register.unknown_ties
    counted = affiliation.counted if affiliation else register.counted
    return Caller(
        principal=principal,
        id=facts.get("id", UNKNOWN),
        issuer=issuer.id if issuer else UNKNOWN,
        issuer_operator=issuer.operator if issuer else UNKNOWN,
        client=facts.get("client", UNKNOWN),
        kind=kind,
        affiliate=affiliation.id if affiliation else UNKNOWN,
        affiliate_country=affiliation.country if affiliation else UNKNOWN,
        affiliate_roles=affiliation.roles if affiliation else UNKNOWN,
        site_country=site,
        residence=residence,
        citizenships=_of_a_person(kind, facts.get("citizenships", UNKNOWN), issuer),
        groups=facts.get("groups", UNKNOWN),
        roles=facts.get("roles", UNKNOWN),
        countries=tied_countries(ties, open_ties, counted),
        ties=ties,
        open_ties=open_ties,
        control=_control(affiliation, register, kind, residence),
        claims={name.removeprefix(OWN): fact for name, fact in facts.items() if name.startswith(OWN)},
        until=until,
    )


def _control(
    affiliation: Affiliation | None, register: Register, kind: Fact[str], residence: Fact[str]
) -> Mapping[str, Control]:
    """Return what every control rule says of a caller: of its affiliate, and of the person where a law does."""
    known: Mapping[str, Control] = affiliation.control if affiliation else {}
    if not register.laws:
        return known
    of_caller = dict(known)
    for rule, law in register.laws.items():
        control = known.get(rule, Control(UNKNOWN, UNKNOWN, UNKNOWN))
        paragraph = covered_person(law, control.paragraph, kind, residence)
        of_caller[rule] = Control(control.countries, control.owners, paragraph)
    return of_caller


def _of_a_person(kind: Fact[str], fact: Fact[Any], issuer: Issuer | None) -> Fact[Any]:
    """Return a fact that only people have.

    Whether there is a person is unknown where the issuer would say the kind and has not: a service that leaves the
    claim out must not pass for a person with a good residence.
    """
    if kind == "service":
        return NOT_APPLICABLE
    says_kind = issuer is not None and any(mapping.attribute == "kind" for mapping in issuer.mappings)
    return UNKNOWN if kind is UNKNOWN and says_kind else fact


def tied_countries(ties: tuple[Tie, ...], open_ties: frozenset[str], labels: frozenset[str]) -> Fact[FactSet]:
    """Return the countries of the ties with these labels; somebody tied to no country at all is unknown."""
    members = frozenset(tie.country for tie in ties if tie.label in labels)
    is_open = not open_ties.isdisjoint(labels)
    return FactSet(members, is_open) if members or is_open else UNKNOWN


def _personal_ties(facts: Mapping[TieKind, Fact[str]]) -> tuple[tuple[Tie, ...], frozenset[str]]:
    ties = tuple(Tie(kind, fact) for kind, fact in facts.items() if not isinstance(fact, State))
    return ties, frozenset(kind.value for kind, fact in facts.items() if fact is UNKNOWN)
