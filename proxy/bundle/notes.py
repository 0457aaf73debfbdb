# SPDX-License-Identifier: Apache-2.0
"""What ``check`` tells although it is no problem: what a reader of the policy could take for something else."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from proxy.bundle.apis import ApiEntry
from proxy.bundle.snapshot import Review
from proxy.caller.authorities import Authority
from proxy.caller.certificates import can_name
from proxy.caller.clients import ClientEntry
from proxy.caller.holdings import Holding, order_owners
from proxy.caller.issuers import ACCESS_TOKEN, MAPPED, IssuerEntry
from proxy.caller.register import Epoch, Party, find_watched, make_entities
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
        Review(vouched.review_by.isoformat(), f"route {route.id}{what}")
        for api in apis
        for route in api.routes
        for vouched, what in (
            (route.subject.authoritative if route.subject is not None else None, ""),
            (route.reads_only, ": that its POST reads only"),
        )
        if vouched is not None
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
            if route.upgrade:
                protocols = " or ".join(route.upgrade)
                opens = f"route {route.id} opens a tunnel ({protocols})"
                notes.append(f"{opens}: what passes in it is neither inspected nor recorded")
    return notes


def find_register_notes(parties: Sequence[Party], now: float) -> tuple[str, ...]:
    """Return what a reader should know of the affiliates at an instant: what lapsed, circles, blocking minorities."""
    alive = [party for party in parties if party.since <= now < party.until]
    entities = make_entities(alive, now)
    watch = ((id_, find_watched(entity)) for id_, entity in entities.items())
    return _tell(parties, order_owners(entities).circles, watch, now)


def tell_register_notes(parties: Sequence[Party], epoch: Epoch, now: float) -> tuple[str, ...]:
    """Return the same where the epoch has been computed."""
    watch = ((member.id, epoch.pieces[member.pieces[-1]].watch) for member in epoch.members if member.pieces)
    return _tell(parties, epoch.circles, watch, now)


def _tell(
    parties: Sequence[Party],
    circles: Iterable[Sequence[str]],
    watch: Iterable[tuple[str, Sequence[Holding]]],
    now: float,
) -> tuple[str, ...]:
    watched = (
        f"affiliate {id_}: {holding.owner} holds {holding.low:f} per cent"
        + (f" to {holding.high:f}" if holding.low != holding.high else "")
        + ": a minority to watch"
        for id_, holdings in watch
        for holding in holdings
    )
    circular = (
        f"affiliates {' and '.join(part)} hold one another in a circle: review what they are worth" for part in circles
    )
    told = []
    for kind in (_find_expired(parties, now), circular, watched):
        told += list(islice(kind, MAX_OF_A_KIND))
        more = sum(1 for _ in kind)
        told += [f"and {more} more"] if more else []
    return tuple(told)


def _find_expired(parties: Sequence[Party], now: float) -> Iterator[str]:
    """Yield the rows, holdings and contracts that have ended: what they said is no longer known."""
    ended: dict[int, bool] = {}
    for party in parties:
        if party.until <= now:
            yield f"affiliate {party.id} expired at {render_instant(party.until)}: its people are of no affiliate"
            continue
        for dated in (party.owners, party.works_for):
            if dated and id(dated) not in ended:
                ended[id(dated)] = any(each.until <= now for each in dated)
        for stake in (party.owners or ()) if ended.get(id(party.owners)) else ():
            if stake.until <= now:
                when = f"expired at {render_instant(stake.until)}"
                yield f"affiliate {party.id}: the holding of {stake.holding.owner} {when}: it is nobody's who is known"
        for contract in (party.works_for or ()) if ended.get(id(party.works_for)) else ():
            if contract.until <= now:
                when = f"expired at {render_instant(contract.until)}"
                yield f"affiliate {party.id}: its work for {contract.principal} {when}"
