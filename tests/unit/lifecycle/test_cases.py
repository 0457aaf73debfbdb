# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest

from proxy.bundle.cases import CaseEntry
from proxy.bundle.check import load_bundle
from proxy.lifecycle.cases import CaseResult, Cases
from proxy.lifecycle.explanation import explain_facts
from proxy.model.caller import NO_PERSON, UNKNOWN_PERSON
from proxy.model.decision import Effect
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, FactSet
from proxy.model.origin import CountrySource, DatabaseInfo, Geolocation
from proxy.origin.geoip import RegistryGeolocator
from proxy.policy.attributes import Facts
from tests.support.bundle_folder import REFERENCE, SMALL, edited, write_bundle
from tests.support.certificates import corp_ca


class AtlasOfOne:
    """A geolocator that knows one address."""

    source = CountrySource.DATABASE
    build = version = "an atlas of one"
    databases: tuple[DatabaseInfo, ...] = ()

    def locate(self, ip: str, now: float) -> Geolocation:
        return Geolocation("CN", "HK") if ip == "1.0.1.1" else Geolocation(UNKNOWN, UNKNOWN)


def run(folder: Path, given: dict[str, Any], **expect: str) -> CaseResult:
    case = CaseEntry.model_validate(
        {"name": "a", "given": {"request": "GET /v1/jp/users/42", **given}, "expect": {"effect": "allow", **expect}}
    )
    return Cases(load_bundle(folder), AtlasOfOne()).run(case)


def facts_of(folder: Path, given: dict[str, Any]) -> Facts:
    facts = run(folder, given).facts
    assert facts is not None
    return facts


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("small"))


STAFF = {"affiliate": "home-co", "kind": "employee", "residence": "JP"}


def test_what_is_not_given_is_unknown(small: Path) -> None:
    facts = facts_of(small, {})
    caller = facts.caller
    assert {caller.id, caller.issuer, caller.affiliate, caller.kind, caller.residence, caller.client} == {UNKNOWN}
    assert {type(caller.groups), type(caller.roles), type(caller.citizenships)} == {type(UNKNOWN)}
    assert {facts.origin.country, facts.origin.network, facts.origin.ip} == {UNKNOWN}


def test_the_facts_of_the_route_come_from_the_request(small: Path) -> None:
    facts = facts_of(small, {"request": "GET /v1/kr/users/42"})
    assert (facts.subject.country, facts.subject.id, facts.resource.action) == ("KR", "42", "read")
    assert (facts.resource.api, facts.resource.route, facts.resource.hosted_in) == ("users", "user", "JP")


def test_a_country_that_is_none_is_unknown(small: Path) -> None:
    assert facts_of(small, {"request": "GET /v1/xx/users/42"}).subject.country is UNKNOWN


@pytest.mark.parametrize(
    ("request_", "subject", "country", "id_", "hosted_in"),
    [
        pytest.param("GET /v1/users", {"country": "JP", "id": "42"}, "JP", "42", "KR",
                     id="a record of an answer: it went where the API is for everybody"),
        pytest.param("GET /v1/users", {"country": "TW"}, "TW", UNKNOWN, "KR", id="one without an id"),
        pytest.param("GET /v1/users/by-id/42", {"country": "JP"}, "JP", "42", "JP", id="what a register tells"),
        pytest.param("POST /v1/users/search", {"country": "JP"}, "JP", UNKNOWN, "JP", id="what a body claims"),
        pytest.param("GET /v1/jp/users/42", {"country": "JP", "id": "42"}, "JP", "42", "JP",
                     id="what the path says, again"),
    ],
)  # fmt: skip
def test_whose_data_it_is_is_given_where_the_path_does_not_say_it(
    request_: str, subject: dict[str, str], country: str, id_: object, hosted_in: str
) -> None:
    facts = facts_of(REFERENCE, {"request": request_, "subject": subject})
    assert (facts.subject.country, facts.subject.id, facts.resource.hosted_in) == (country, id_, hosted_in)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param("GET /v1/kr/users/42", id="of another country"),
        pytest.param("GET /v1/xx/users/42", id="of none"),
        pytest.param("GET /v1/status", id="of nobody"),
    ],
)
def test_what_the_path_says_no_case_can_say_otherwise(request_: str) -> None:
    result = run(REFERENCE, {"request": request_, "subject": {"country": "JP"}})
    assert not result.passed
    assert "subject-not-confirmed" in result.actual


@pytest.mark.parametrize(
    ("origin", "country", "network"),
    [
        pytest.param({"country": "JP"}, "JP", ABSENT, id="a country alone: somewhere in the open Internet"),
        pytest.param({"network": "office"}, UNKNOWN, "office", id="a network alone"),
        pytest.param({"network": "office", "country": "JP"}, "JP", "office", id="both"),
        pytest.param({"ip": "10.1.2.3"}, "JP", "office", id="an address in a network"),
        pytest.param({"ip": "10.9.9.9"}, UNKNOWN, ABSENT, id="a private address outside"),
        pytest.param({"ip": "1.0.1.1"}, "CN", ABSENT, id="an address that somebody knows"),
        pytest.param({"ip": "8.8.8.8"}, UNKNOWN, ABSENT, id="an address that nobody knows"),
        pytest.param({"ip": "::ffff:10.1.2.3"}, "JP", "office", id="the same address, mapped"),
    ],
)
def test_an_origin(small: Path, origin: dict[str, str], country: Any, network: Any) -> None:
    found = facts_of(small, {"origin": origin}).origin
    assert (found.country, found.network) == (country, network)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("GET /v1/jp/friends/42", "route-undeclared"),
        ("PUT /v1/jp/users/42", "method-undeclared"),
        ("GET /v1/JP/users/42", "route-undeclared"),
    ],
)
def test_a_request_that_is_no_route_is_denied_for_that(small: Path, request_: str, reason: str) -> None:
    result = run(small, {"request": request_, "caller": STAFF}, effect="deny", reason=reason)
    assert result.passed
    assert (result.facts, result.decision) == (None, None)


@pytest.mark.parametrize(
    ("expect", "passed"),
    [
        pytest.param({"effect": "allow"}, True, id="the effect"),
        pytest.param({"effect": "deny"}, False, id="the other effect"),
        pytest.param({"rule": "staff"}, True, id="the rule"),
        pytest.param({"rule": "no-china"}, False, id="another rule"),
        pytest.param({"rule": "default"}, False, id="no rule"),
        pytest.param({"certainty": "matched"}, True, id="the certainty"),
        pytest.param({"certainty": "by-unknown"}, False, id="the other certainty"),
        pytest.param({"reason": "rule-allows"}, True, id="the reason"),
        pytest.param({"reason": "rule-denies"}, False, id="another reason"),
    ],
)
def test_everything_that_is_expected_counts(small: Path, expect: dict[str, str], passed: bool) -> None:  # noqa: FBT001
    result = run(small, {"caller": STAFF, "origin": {"country": "JP"}}, **expect)
    assert result.passed is passed
    assert "effect allow, rule staff" in result.actual


def test_where_no_rule_allows_the_rule_is_default(small: Path) -> None:
    result = run(
        small, {"caller": {**STAFF, "kind": "contractor"}}, effect="deny", rule="default", reason="no-rule-allows"
    )
    assert result.passed, result.actual


def test_a_named_issuer_says_only_what_it_may(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path, edited(("parties.yaml", "{affiliate: any}", "{affiliate: [branch], groups: [a]}")))
    caller = facts_of(folder, {"caller": {**STAFF, "issuer": "corp", "groups": ["a", "b"]}}).caller
    assert (caller.issuer, caller.issuer_operator) == ("corp", "home-co")
    assert caller.affiliate is UNKNOWN
    assert caller.groups == FactSet(frozenset({"a"}), is_open=True)


@pytest.mark.parametrize(
    ("name", "raw"),
    [("site_country", "JP"), ("client", "app"), ("roles", ["admin"]), ("citizenships", ["JP"])],
)
def test_a_named_issuer_says_nothing_that_it_does_not_map(small: Path, name: str, raw: Any) -> None:
    """The issuer ``corp`` has no claim for these: no token of its can give them, so no test may either."""
    assert getattr(facts_of(small, {"caller": {**STAFF, "issuer": "corp", name: raw}}).caller, name) is UNKNOWN


def test_a_service_lives_nowhere(small: Path) -> None:
    caller = facts_of(small, {"caller": {"affiliate": "home-co", "kind": "service", "residence": "CN"}}).caller
    assert (caller.residence, caller.citizenships) == (NOT_APPLICABLE, NOT_APPLICABLE)


def test_on_an_unauthenticated_route_a_caller_is_nobody() -> None:
    given = {"request": "GET /v1/status", "caller": {"affiliate": "ly", "kind": "employee"}}
    assert facts_of(REFERENCE, given).caller.affiliate is NOT_APPLICABLE


def test_with_one_api_a_case_need_not_name_its_host(tmp_path: Path) -> None:
    """The example of DESIGN.md 3: its API has a host, its test says only ``GET /v1/jp/users/42``."""
    folder = write_bundle(
        tmp_path, edited(("apis.yaml", "    upstream:", "    hosts: [users.internal]\n    upstream:"))
    )
    result = run(folder, {"caller": STAFF, "origin": {"country": "JP"}})
    assert result.passed, result.actual


@pytest.mark.parametrize(
    ("host", "reason"), [("users.internal", "rule-allows"), ("talks.internal", "route-undeclared")]
)
def test_with_several_apis_the_host_tells_them_apart(tmp_path: Path, host: str, reason: str) -> None:
    other = SMALL["apis.yaml"].partition("\n")[2].replace("id: user\n", "id: talk\n").replace("id: users", "id: talks")
    files = edited(("apis.yaml", "    upstream:", "    hosts: [users.internal]\n    upstream:"))
    other = other.replace("upstream:", "hosts: [talks.internal]\n    upstream:")
    files["apis.yaml"] += other.replace("/users/", "/talks/")
    files["cases.yaml"] = files["cases.yaml"].replace("request:", "host: users.internal\n      request:")
    folder = write_bundle(tmp_path, files)
    result = run(folder, {"host": host, "caller": STAFF, "origin": {"country": "JP"}}, effect="allow")
    assert reason in result.actual


def test_taking_any_one_given_fact_away_never_turns_a_deny_of_the_reference_into_an_allow() -> None:
    snapshot = load_bundle(REFERENCE)
    cases = Cases(snapshot, AtlasOfOne())
    for case in snapshot.cases:
        decision = cases.run(case).decision
        if decision is None or decision.effect is Effect.ALLOW:
            continue
        for name in case.given.caller.keys() - {"issuer"}:  # without one, nothing limits what a case may say
            less = {key: value for key, value in case.given.caller.items() if key != name}
            assert _is_denied(cases, case, caller=less), f"{case.name}: without {name}"
        for name in ("country", "network", "ip"):
            origin = case.given.origin.model_copy(update={name: None})  # type: ignore[union-attr]
            assert _is_denied(cases, case, origin=origin), f"{case.name}: without {name}"


def _is_denied(cases: Cases, case: CaseEntry, **less: Any) -> bool:
    decision = cases.run(case.model_copy(update={"given": case.given.model_copy(update=less)})).decision
    return decision is not None and decision.effect is Effect.DENY


CONSOLE = {"affiliate": "home-co", "kind": "service"}


def test_a_case_says_for_whom_somebody_acts(small: Path) -> None:
    caller = facts_of(small, {"caller": {**CONSOLE, "on_behalf_of": STAFF}}).caller
    assert (caller.kind, caller.on_behalf_of.kind, caller.on_behalf_of.residence) == ("service", "employee", "JP")
    abroad = facts_of(small, {"caller": {**CONSOLE, "on_behalf_of": {**STAFF, "residence": "CN"}}}).caller
    assert isinstance(caller.countries, FactSet)
    assert isinstance(abroad.countries, FactSet)
    assert abroad.countries.members == caller.countries.members | {"CN"}


def test_a_service_of_a_case_acts_for_somebody_unknown(small: Path) -> None:
    caller = facts_of(small, {"caller": CONSOLE}).caller
    assert caller.on_behalf_of == UNKNOWN_PERSON
    assert isinstance(caller.countries, FactSet)
    assert caller.countries.is_open


def test_a_person_of_a_case_acts_for_itself(small: Path) -> None:
    assert facts_of(small, {"caller": STAFF}).caller.on_behalf_of == NO_PERSON


def test_explain_says_whose_a_tie_is(small: Path) -> None:
    snapshot = load_bundle(small)
    facts = facts_of(small, {"caller": {**CONSOLE, "on_behalf_of": {**STAFF, "residence": "CN"}}})
    explained = {each.name: each for each in explain_facts("a", facts, snapshot).facts}
    details = "\n".join(explained["caller.countries"].details)
    assert "CN by residence of the person for whom it acts" in details
    assert "JP by employer: home-co" in details


def test_a_service_that_shows_a_certificate_is_known_by_its_name_alone(tmp_path: Path) -> None:
    mesh = """\
certificate_authorities:
  - id: mesh
    operated_by: home-co
    ca: file:ca.pem
    identity: dns
    may_assert: {affiliate: any}
"""
    case = "{issuer: mesh, id: billing.example, affiliate: home-co, kind: employee, residence: JP}"
    files = edited(
        ("bundle.yaml", "trusted_proxies]", "trusted_proxies, certificate_authorities]"),
        ("parties.yaml", "issuers:\n", f"{mesh}issuers:\n"),
        ("cases.yaml", "{affiliate: home-co, kind: employee, residence: JP}", case),
        ("cases.yaml", "{effect: allow, rule: staff}", "{effect: deny, rule: no-china, certainty: by-unknown}"),
    )
    snapshot = load_bundle(write_bundle(tmp_path, {**files, "ca.pem": corp_ca().pem}))
    result = Cases(snapshot, RegistryGeolocator()).run(snapshot.cases[0])
    assert result.passed, result
    assert result.facts is not None
    caller = result.facts.caller
    assert (caller.issuer, caller.issuer_operator, caller.id) == ("mesh", "home-co", "billing.example")
    assert (caller.kind, caller.affiliate, caller.principal) == ("service", UNKNOWN, "mesh|billing.example")


def test_a_case_says_what_geolocation_would(small: Path) -> None:
    given = {"ip": "1.0.1.1", "asn": "AS4134", "anonymous": ["vpn"], "registered_country": "US"}
    origin = facts_of(small, {"origin": given}).origin

    assert (origin.country, origin.registered_country, origin.asn) == ("CN", "US", "AS4134")
    assert origin.anonymous == FactSet(frozenset({"vpn"}))


def test_what_a_case_does_not_say_of_an_address_is_unknown_and_an_empty_list_is_nothing(small: Path) -> None:
    origin = facts_of(small, {"origin": {"country": "JP"}}).origin
    assert (origin.asn, origin.anonymous, origin.registered_country) == (UNKNOWN, UNKNOWN, UNKNOWN)

    assert facts_of(small, {"origin": {"anonymous": []}}).origin.anonymous == FactSet(frozenset())


@pytest.mark.parametrize("asn", ["4134", "as4134", "AS04134", "AS4294967296", "AS", "AS4134 ", "AS-1", "AS\uff11"])
def test_a_number_of_an_autonomous_system_is_written_in_one_way(small: Path, asn: str) -> None:
    with pytest.raises(ValueError, match="no autonomous system"):
        facts_of(small, {"origin": {"asn": asn}})


def test_where_a_case_has_an_answer_its_records_say_whose_they_are() -> None:
    answer = '{"users":[{"id":"1","country":"TW","name":"a"},{"id":"2","country":"JP","name":"b"}]}'
    caller = {"affiliate": "line-taiwan", "kind": "employee", "residence": "TW"}
    given = {
        "request": "GET /v1/users",
        "caller": caller,
        "origin": {"country": "TW"},
        "subject": {"country": "TW"},
        "answer": answer,
    }
    result = run(REFERENCE, given)
    assert result.answer is not None
    assert (result.answer.count("left"), result.answer.count("dropped")) == (1, 1)
