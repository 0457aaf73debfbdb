# SPDX-License-Identifier: Apache-2.0
"""Runs the tests that lie beside the policies, through the same rooms as a request.

Facts that a case does not give are unknown. If it names an issuer, what that issuer may not assert is unknown, too.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from proxy.bundle.cases import CaseEntry, CaseOrigin
from proxy.bundle.snapshot import Snapshot
from proxy.caller.claims import assert_fact
from proxy.caller.issuers import Issuer
from proxy.caller.resolve import assemble_caller
from proxy.model.api import Route
from proxy.model.caller import UNAUTHENTICATED, Caller
from proxy.model.decision import Decision, Effect, Reason
from proxy.model.facts import ABSENT, UNKNOWN, Fact
from proxy.model.origin import Origin
from proxy.model.ports import Geolocator
from proxy.model.request import Target
from proxy.origin.forwarded import parse_address
from proxy.origin.resolve import NOWHERE, Origins
from proxy.policy.attributes import Facts
from proxy.policy.evaluate import decide
from proxy.request.catalog import NoMatch
from proxy.request.target import parse_target
from proxy.subject.selectors import select_subject


class CaseResult(msgspec.Struct, frozen=True):
    """What a case came to."""

    name: str
    expected: str
    actual: str
    passed: bool
    facts: Facts | None
    """None where the request is no declared route."""
    decision: Decision | None


class Cases:
    """Runs the cases of one snapshot.

    Args:
        snapshot: the bundle.
        geolocator: asked where a case gives an address.
    """

    def __init__(self, snapshot: Snapshot, geolocator: Geolocator) -> None:
        self._snapshot = snapshot
        self._origins = Origins(snapshot.networks, snapshot.proxies, geolocator)
        self._issuers = {issuer.id: issuer for issuer in snapshot.issuers}

    def run(self, case: CaseEntry) -> CaseResult:
        """Run one case."""
        facts = self._facts(case)
        if isinstance(facts, Reason):
            return _compare(case, {"effect": Effect.DENY, "reason": facts}, None, None)
        decision = decide(self._snapshot.policy, facts)
        actual = {
            "effect": decision.effect,
            "rule": decision.rule_id,
            "certainty": decision.rule.certainty if decision.rule else "",
            "reason": decision.reason,
        }
        return _compare(case, actual, facts, decision)

    def _facts(self, case: CaseEntry) -> Facts | Reason:
        method, _, raw_target = case.given.request.partition(" ")
        target = parse_target(raw_target)
        api = self._snapshot.catalog.find_api(case.given.host)
        if api is None:
            return Reason.HOST_UNDECLARED
        if not isinstance(target, Target):
            return target
        match = self._snapshot.catalog.match(api, method, target.segments)
        if isinstance(match, NoMatch):
            return match.reason
        return Facts(
            self._caller(case.given.caller, match.route),
            self._origin(case.given.origin),
            select_subject(match.route.subject, match.parameters),
            self._snapshot.resources[match.route.id],
            match.route.action,
        )

    def _caller(self, given: Mapping[str, Any], route: Route) -> Caller:
        if route.unauthenticated:
            return UNAUTHENTICATED
        issuer = self._issuers.get(given.get("issuer", ""))
        facts = {name: _fact(issuer, name, raw) for name, raw in given.items() if name != "issuer"}
        return assemble_caller(issuer, facts, self._snapshot.affiliates, principal="")

    def _origin(self, given: CaseOrigin) -> Origin:
        address = parse_address(given.ip or "")
        found = self._origins.locate(address) if address is not None else NOWHERE
        country = given.country or found.country
        network = given.network or (found.network if address is not None else UNKNOWN)
        if given.country is not None and given.network is None and address is None:
            network = ABSENT  # a country alone: somewhere in the open Internet
        return msgspec.structs.replace(found, country=country, network=network)


def _fact(issuer: Issuer | None, name: str, raw: object) -> Fact[Any]:
    """Type a given value; of what a named issuer does not map, no token of its can say anything."""
    if issuer is None:
        return assert_fact(name, raw, None)
    mapping = next((mapping for mapping in issuer.mappings if mapping.attribute == name), None)
    return UNKNOWN if mapping is None else assert_fact(name, raw, mapping.assertable)


def _compare(case: CaseEntry, actual: Mapping[str, str], facts: Facts | None, decision: Decision | None) -> CaseResult:
    expected = {
        key: value
        for key in ("effect", "rule", "certainty", "reason")
        if (value := getattr(case.expect, key)) is not None
    }
    passed = all(actual.get(key) == value for key, value in expected.items())
    shown = {key: value for key, value in actual.items() if key in expected or key in {"effect", "rule", "reason"}}
    return CaseResult(case.name, _show(expected), _show(shown), passed, facts, decision)


def _show(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items() if value)
