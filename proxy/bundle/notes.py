# SPDX-License-Identifier: Apache-2.0
"""What ``check`` tells although it is no problem: what a reader of the policy could take for something else."""

from collections.abc import Iterator, Sequence
from typing import Final

from proxy.bundle.apis import ApiEntry
from proxy.bundle.snapshot import Review
from proxy.caller.authorities import Authority
from proxy.caller.certificates import can_name
from proxy.caller.clients import ClientEntry
from proxy.caller.holdings import order_owners
from proxy.caller.issuers import ACCESS_TOKEN, MAPPED, IssuerEntry
from proxy.caller.register import Party, find_watched, make_entities
from proxy.clock import render_instant
from proxy.model.decision import Effect
from proxy.policy.attributes import Vocabulary
from proxy.policy.rules import RuleEntry

MAX_OF_A_KIND: Final = 20
"""Notes of one kind that are told of the affiliates; of the rest the number."""


def find_notes(
    apis: Sequence[ApiEntry],
    rules: Sequence[RuleEntry],
    issuers: Sequence[IssuerEntry],
    vocabulary: Vocabulary,
    registered: frozenset[str],
) -> tuple[str, ...]:
    """Return what a reader should know of rules and routes.

    Args:
        apis: what is protected.
        rules: what is decided.
        issuers: whose claims say who asks.
        vocabulary: what rules can ask about.
        registered: the caller attributes that registers or certificates tell.
    """
    unmapped = _find_unmapped(rules, issuers, registered)
    return (*_find_open_routes(apis), *_find_escapes(rules, vocabulary), *unmapped)


def find_registered(*, has_people: bool, has_clients: bool, has_authorities: bool) -> frozenset[str]:
    """Return the caller attributes that are told by other things than claims."""
    told = [
        (has_people, {"affiliate", "kind", "site_country", "residence", "citizenships"}),
        (has_clients, {"affiliate", "kind"}),
        (has_authorities, {"client", "kind"}),
    ]
    return frozenset().union(*(names for is_there, names in told if is_there))


def find_identity_notes(
    issuers: Sequence[IssuerEntry],
    clients: Sequence[ClientEntry],
    authorities: Sequence[Authority],
    *,
    has_people: bool,
) -> tuple[str, ...]:
    """Return what can make nobody known, although it reads as if it did."""
    notes = []
    for issuer in issuers:
        source = issuer.attributes.get("client")
        is_profiled = issuer.token_type is not None and ACCESS_TOKEN in issuer.token_type
        if is_profiled and source is not None and source.claim.expression == "azp":
            notes.append(f"issuer {issuer.id} maps caller.client to azp: tokens of type at+jwt name it in client_id")
        if issuer.people == "required" and not has_people:
            notes.append(f"issuer {issuer.id} requires a register of people, and there is none: nobody of its is known")
        if issuer.clients == "required" and all(client.issuer != issuer.id for client in clients):
            notes.append(f"issuer {issuer.id} requires its programs to be registered, and none is: each is anybody's")
    by_id = {authority.id: authority for authority in authorities}
    for client in clients:
        authority = by_id.get(client.issuer)
        if authority is None:
            continue
        if not can_name(authority, client.client):
            notes.append(f"client {client.id} is never met: no certificate of {authority.id} bears {client.client!r}")
        if authority.assertable is not None and client.affiliate not in authority.assertable:
            notes.append(f"client {client.id} has no known affiliate: {authority.id} may not assert {client.affiliate}")
    return tuple(notes)


def find_reviews(
    apis: Sequence[ApiEntry], rules: Sequence[RuleEntry], clients: Sequence[ClientEntry]
) -> tuple[Review, ...]:
    """Return everything that is to be looked at again, by its date."""
    routes = [
        Review(route.subject.authoritative.review_by.isoformat(), f"route {route.id}")
        for api in apis
        for route in api.routes
        if route.subject is not None
    ]
    others = [(rule.review_by, f"rule {rule.id}") for rule in rules]
    others += [(client.review_by, f"client {client.id}") for client in clients]
    return (*routes, *(Review(by.isoformat(), what) for by, what in others if by is not None))


def _find_escapes(rules: Sequence[RuleEntry], vocabulary: Vocabulary) -> list[str]:
    """Return the deny rules that somebody escapes whose token lacks a claim mapped with `absent: empty`."""
    return [
        f"rule {rule.id} does not deny whoever lacks the claim behind {name}: it is mapped with `absent: empty`"
        for rule in rules
        if rule.effect is Effect.DENY
        for name, raw in rule.when.items()
        if name.removeprefix("caller.") in vocabulary.empty_when_absent and (isinstance(raw, str) or "any" in raw)
    ]


def _find_unmapped(rules: Sequence[RuleEntry], issuers: Sequence[IssuerEntry], registered: frozenset[str]) -> list[str]:
    """Return the rules that ask for what nobody tells: it is always unknown, so they hold always or never."""
    mapped = {"id"}.union(registered, *(issuer.attributes for issuer in issuers))
    return [
        f"rule {rule.id} {what}: no issuer maps {name}, so it is always unknown"
        for rule in rules
        for what in ("can never allow" if rule.effect is Effect.ALLOW else "may apply to everybody",)
        for name in rule.when
        if name.removeprefix("caller.") in MAPPED - mapped
    ]


def _find_open_routes(apis: Sequence[ApiEntry]) -> list[str]:
    """Return what a reader should know although it is no problem."""
    notes = []
    for api in apis:
        for route in api.routes:
            if route.subject is None:
                who = "anybody" if route.unauthenticated else "callers that a rule allows"
                notes.append(
                    f"route {route.id} carries no personal data ({route.reason}; {route.owner}), open to {who}"
                )
    return notes


def find_register_notes(parties: Sequence[Party], now: float) -> tuple[str, ...]:
    """Return what a reader should know of the affiliates at an instant: what lapsed, circles, blocking minorities."""
    alive = [party for party in parties if party.since <= now < party.until]
    entities = make_entities(alive, now)
    circles = [" and ".join(part) for part in order_owners(entities).circles]
    watched = [
        f"affiliate {id_}: {holding.owner} holds {holding.low:f} per cent"
        + (f" to {holding.high:f}" if holding.low != holding.high else "")
        + ": a minority to watch"
        for id_, entity in entities.items()
        for holding in find_watched(entity)
    ]
    told = [
        list(_find_expired(parties, now)),
        [f"affiliates {circle} hold one another in a circle: review what they are worth" for circle in circles],
        watched,
    ]
    return tuple(
        note
        for kind in told
        for note in (
            *kind[:MAX_OF_A_KIND],
            *([f"and {len(kind) - MAX_OF_A_KIND} more"] if kind[MAX_OF_A_KIND:] else ()),
        )
    )


def _find_expired(parties: Sequence[Party], now: float) -> Iterator[str]:
    """Yield the rows, holdings and contracts that have ended: what they said is no longer known."""
    for party in parties:
        if party.until <= now:
            yield f"affiliate {party.id} expired at {render_instant(party.until)}: its people are of no affiliate"
            continue
        for stake in party.owners or ():
            if stake.until <= now:
                ended = f"expired at {render_instant(stake.until)}"
                yield f"affiliate {party.id}: the holding of {stake.holding.owner} {ended}: it is nobody's who is known"
        for contract in party.works_for or ():
            if contract.until <= now:
                ended = f"expired at {render_instant(contract.until)}"
                yield f"affiliate {party.id}: its work for {contract.principal} {ended}"
