# SPDX-License-Identifier: Apache-2.0
"""Runs the tests that lie beside the policies, through the same rooms as a request.

Facts that a case does not give are unknown. If it names an issuer, what that issuer may not assert is unknown, too.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from proxy.bundle.cases import BEHIND, CaseCounts, CaseEntry, CaseGiven, CaseOrigin, CaseRecords
from proxy.bundle.snapshot import Snapshot
from proxy.caller.certificates import CertificateIdentity
from proxy.caller.claims import assert_fact
from proxy.caller.issuers import Issuer
from proxy.caller.parties import Speaking, join, make_party, make_program, speak_both
from proxy.caller.speaking import speak_of, speak_of_service
from proxy.lifecycle.answers import AnswerTold, says_the_same
from proxy.lifecycle.ruling import Asked, Ruled, rule
from proxy.lifecycle.subjects import ANSWERED, GivenDirectory, find_subjects, with_reference
from proxy.model.api import Route, Upstream
from proxy.model.caller import UNAUTHENTICATED, Caller, Part
from proxy.model.counts import FIRST, NOTHING_TO_COUNT, Counts
from proxy.model.decision import Decision, Effect, Reason
from proxy.model.facts import ABSENT, UNKNOWN, Fact, FactSet
from proxy.model.filtering import DROPPED, LEFT, MASKED
from proxy.model.origin import Origin
from proxy.model.ports import Geolocator
from proxy.model.request import Target
from proxy.model.subject import Subject
from proxy.origin.forwarded import parse_address
from proxy.origin.resolve import NOWHERE, Origins
from proxy.policy.attributes import Facts
from proxy.policy.counted import find_states
from proxy.policy.evaluate import claim_purpose, holds
from proxy.policy.policy import Policy
from proxy.policy.rules import Rule
from proxy.request.catalog import NoMatch
from proxy.request.target import parse_target


class CaseResult(msgspec.Struct, frozen=True):
    """What a case came to."""

    name: str
    expected: str
    actual: str
    passed: bool
    asked: tuple[Facts, ...]
    """Of the request, once for each subject, and of records of its answer; none where it is no declared route."""
    decision: Decision | None
    answer: AnswerTold | None = None
    """What became of the answer, where the case gives one."""

    @property
    def facts(self) -> Facts | None:
        """The facts of the request, by its first subject."""
        return next(iter(self.asked), None)


class Cases:
    """Runs the cases of one snapshot.

    Args:
        snapshot: the bundle.
        geolocator: asked where a case gives an address.
        now: seconds since 1970, for whether geolocation data are too old: a bundle's own tests do not fail by that.
    """

    def __init__(self, snapshot: Snapshot, geolocator: Geolocator, now: float = 0.0) -> None:
        self._snapshot = snapshot.with_urgent({})  # an urgent cut-off waits for no test, and breaks none
        self._origins = Origins(snapshot.networks, snapshot.proxies, geolocator)
        self._now = now
        self._issuers = {issuer.id: issuer for issuer in snapshot.issuers}
        self._authorities = {authority.id: authority for authority in snapshot.authorities}
        self._grants = {grant.id: grant for grant in snapshot.policy.grants}

    def run(self, case: CaseEntry) -> CaseResult:
        """Run one case."""
        asked = self.find_asked(case.given)
        if isinstance(asked, Reason):
            return _compare(case, {"effect": Effect.DENY, "reason": asked}, (), None)
        ruled = rule(self._snapshot, asked)
        return _compare(case, _tell(case, ruled), ruled.asked, ruled.decision, ruled.answer)

    def find_asked(self, given: CaseGiven) -> Asked | Reason:
        """Return what a case asks for and its facts, or the reason why its request asks no rule."""
        method, _, raw_target = given.request.partition(" ")
        target = parse_target(raw_target)
        api = self._snapshot.catalog.find_api(given.host)
        if api is None:
            return Reason.HOST_UNDECLARED
        if not isinstance(target, Target):
            return target
        match = self._snapshot.catalog.match(api, method, target.segments)
        if isinstance(match, NoMatch):
            return match.reason
        directory = GivenDirectory(self._snapshot.lookups, given.subjects or ())
        subjects = find_subjects(match, target, given, directory, self._now)
        if isinstance(subjects, Reason):
            return subjects
        grant = self._grants.get(given.grant or "")
        reference = "" if grant is None else min(grant.subjects)
        first, *others = [with_reference(each, reference) for each in subjects or (ANSWERED,)]
        facts = self._find_facts(given, match.route, first)
        every = (facts, *(msgspec.structs.replace(facts, subject=each) for each in others))
        return Asked(
            match.route,
            method,
            target,
            given,
            every,
            bool(subjects),
            directory,
            reference,
        )

    def _find_facts(self, given: CaseGiven, route: Route, subject: Subject) -> Facts:
        facts = Facts(
            self._caller(given.caller, route, math.nan if given.at is None else given.at.timestamp()),
            self._origin(given.origin or CaseOrigin()),
            subject,
            self._snapshot.find_resource(route, _find_place(route, subject)),
            case=ABSENT if given.case is None else given.case,
            time=UNKNOWN if given.at is None else given.at.timestamp(),
            counts=NOTHING_TO_COUNT if route.unauthenticated else _counts(given.counts, subject),
        )
        purpose = claim_purpose(self._snapshot.policy, facts, given.purpose)
        return facts if purpose is ABSENT else msgspec.structs.replace(facts, purpose=purpose)

    def _caller(self, given: Mapping[str, Any], route: Route, now: float) -> Caller:
        if route.unauthenticated:
            return UNAUTHENTICATED
        speaking = self._speaking(given, now)
        if BEHIND in given:
            both = speak_both(speaking, self._speaking(given[BEHIND], now))
            speaking = speaking if isinstance(both, Reason) else both
        return join(speaking, self._snapshot.registers.at(now))

    def _speaking(self, given: Mapping[str, Any], now: float) -> Speaking:
        """Return whom a case speaks of. Of whom it names, the registers are asked, too."""
        identity = self._identify(given)
        if identity is not None:
            return speak_of_service(identity, self._snapshot.registers, Part.CALLER, now)
        issuer = self._issuers.get(given.get("issuer", ""))
        facts: dict[str, Fact[Any]] = {each.attribute: UNKNOWN for each in issuer.mappings} if issuer else {}
        facts |= {name: _fact(issuer, name, raw) for name, raw in given.items() if name not in {"issuer", BEHIND}}
        registers = self._snapshot.registers
        subject = facts.get("id")
        if issuer is None or not isinstance(subject, str):
            client = None if issuer is None else registers.clients.find(issuer.id, facts.get("client"))
            itself = client if facts.get("kind") == "service" else None
            party = make_party(issuer, facts, registers.at(now), principal="", client=itself)
            through = client if itself is None else None
            return Speaking(party, () if through is None else (make_program(through, registers.at(now), Part.CLIENT),))
        return speak_of(issuer, facts, subject, registers, now)

    def _identify(self, given: Mapping[str, Any]) -> CertificateIdentity | None:
        """Return the service of a case that names an authority over certificates, and its name there."""
        authority = self._authorities.get(given.get("issuer", ""))
        if authority is None:
            return None
        name = given.get("id", "")
        return CertificateIdentity(
            authority.id, authority.operator, authority.assertable, name, "", -math.inf, math.inf
        )

    def _origin(self, given: CaseOrigin) -> Origin:
        address = parse_address(given.ip or "")
        found = self._origins.locate(address, self._now) if address is not None else NOWHERE
        country = given.country or found.country
        network = given.network or (found.network if address is not None else UNKNOWN)
        if given.country is not None and given.network is None and address is None:
            network = ABSENT  # a country alone: somewhere in the open Internet
        return msgspec.structs.replace(
            found,
            country=country,
            network=network,
            registered_country=given.registered_country or found.registered_country,
            asn=given.asn or found.asn,
            anonymous=found.anonymous if given.anonymous is None else FactSet(frozenset(given.anonymous)),
        )


def _counts(given: CaseCounts | None, subject: Subject) -> Counts:
    """Return the counts of a case; where nobody's data is read, no subjects are counted."""
    told = {name: number for name, number in given or () if number is not None}
    return msgspec.structs.replace(FIRST, **{**told, **find_states(subject)})


def find_unfired(policy: Policy, results: Iterable[CaseResult]) -> tuple[Rule, ...]:
    """Return the rules that held for certain in none of the cases: nobody has shown that they do what they say."""
    asked = [facts for result in results for facts in result.asked]
    return tuple(rule for rule in policy.rules if not any(holds(rule, facts) is True for facts in asked))


def _find_place(route: Route, subject: Subject) -> Upstream:
    """Return where a request goes: what only the answer tells of its subject has no part in that."""
    source = route.subject
    is_late = source is not None and source.country is None and (source.is_in_answer or bool(source.header))
    return route.api.find_upstream(UNKNOWN if is_late else subject.country)


def _fact(issuer: Issuer | None, name: str, raw: object) -> Fact[Any]:
    """Type a given value; of what a named issuer does not map, no token of its can say anything."""
    if issuer is None:
        return assert_fact(name, raw, None)
    mapping = next((mapping for mapping in issuer.mappings if mapping.attribute == name), None)
    return UNKNOWN if mapping is None else assert_fact(name, raw, mapping.assertable)


def _tell(case: CaseEntry, ruled: Ruled) -> dict[str, str]:
    """Return what a case came to, by the keys of ``expect``."""
    decision, answer = ruled.decision, ruled.answer
    rules: dict[str, str] = {}
    if decision is not None:
        applied = (each for each in decision.applied if each.id == case.expect.rule)
        # The rule that is meant, also where another one decides: an invariant, say.
        found = next(applied, decision.rule)
        rules = {"rule": found.id if found else decision.rule_id, "certainty": found.certainty if found else ""}
    transforms = "" if decision is None else _show_transforms(decision.transforms)
    records = answer.describe() if answer else "none"
    return {"effect": ruled.effect, **rules, "reason": ruled.reason, "transforms": transforms, "records": records}


def _compare(
    case: CaseEntry,
    actual: Mapping[str, str],
    asked: tuple[Facts, ...],
    decision: Decision | None,
    answer: AnswerTold | None = None,
) -> CaseResult:
    expect = case.expect
    expected = {key: str(value) for key in ("effect", "rule", "certainty", "reason") if (value := getattr(expect, key))}
    if expect.transforms is not None:
        expected["transforms"] = _show_transforms(expect.transforms)
    is_counted = expect.records is None or (answer is not None and not answer.refused and _fits(expect.records, answer))
    is_same = expect.answer is None or (answer is not None and says_the_same(expect.answer, answer.leaving))
    passed = is_counted and is_same and all(actual.get(key) == value for key, value in expected.items())
    always = {"effect", "rule", "reason"} | ({"transforms"} if decision and decision.transforms else set())
    always |= {"records"} if answer is not None else set()
    shown = {key: value for key, value in actual.items() if key in expected or key in always}
    if expect.records is not None:
        expected["records"] = _show_records(expect.records)
    said = _show(shown)
    if not is_same:
        said += f"; what leaves is {'nothing' if answer is None or answer.leaving is None else answer.leaving.strip()}"
        expected["answer"] = expect.answer.strip() if expect.answer else ""
    return CaseResult(case.name, _show(expected), said, passed, asked, decision, answer)


def _fits(expected: CaseRecords, answer: AnswerTold) -> bool:
    return all(
        number is None or number == answer.count(*kinds)
        for number, kinds in ((expected.left, _LEAVING), (expected.dropped, (DROPPED,)), (expected.masked, (MASKED,)))
    )


def _show_records(expected: CaseRecords) -> str:
    return ", ".join(f"{key} {value}" for key, value in expected if value is not None)


_LEAVING: Final = (LEFT, MASKED)


def _show_transforms(transforms: Mapping[str, str]) -> str:
    return " and ".join(f"{transform} {category}" for category, transform in sorted(transforms.items())) or "none"


def _show(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items() if value)
