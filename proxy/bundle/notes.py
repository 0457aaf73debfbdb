# SPDX-License-Identifier: Apache-2.0
"""What ``check`` tells although it is no problem: what a reader of the policy could take for something else."""

from collections.abc import Sequence

from proxy.bundle.apis import ApiEntry
from proxy.bundle.snapshot import Review
from proxy.caller.clients import ClientEntry
from proxy.caller.issuers import MAPPED, IssuerEntry
from proxy.model.decision import Effect
from proxy.policy.attributes import Vocabulary
from proxy.policy.rules import RuleEntry


def find_notes(
    apis: Sequence[ApiEntry], rules: Sequence[RuleEntry], issuers: Sequence[IssuerEntry], vocabulary: Vocabulary
) -> tuple[str, ...]:
    """Return all notes of a bundle."""
    return (*_find_open_routes(apis), *_find_escapes(rules, vocabulary), *_find_unmapped(rules, issuers))


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


def _find_unmapped(rules: Sequence[RuleEntry], issuers: Sequence[IssuerEntry]) -> list[str]:
    """Return the rules that ask for what no issuer tells: it is always unknown, so they hold always or never."""
    mapped = {"id"}.union(*(issuer.attributes for issuer in issuers))
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
