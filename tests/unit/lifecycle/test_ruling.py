# SPDX-License-Identifier: Apache-2.0
"""How requests are decided whose subjects the request, a register, or the records of the answer tell."""

from typing import Any

import pytest

from proxy.bundle.snapshot import Snapshot
from proxy.lifecycle.cases import Cases, find_unfired
from proxy.lifecycle.ruling import list_outcomes, rule
from proxy.model.decision import Reason
from proxy.origin.geoip import RegistryGeolocator
from tests.support.record_bundle import (
    FROM_JAPAN,
    KIM,
    LIN,
    SATO,
    STRANGER,
    a_case,
    load_records,
    run_case,
)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return load_records(tmp_path_factory.mktemp("records"))


def given(request: str, **more: Any) -> dict[str, Any]:
    return {"request": request, **more}


SEARCH = "GET /v1/users"
MIXED = {"users": [SATO, KIM, LIN]}
PLAIN = {"id": "42"}
CASES = {
    "nothing is known of the records: by record": (given(SEARCH), {"effect": "by-record"}),
    "everyone is allowed, and nothing changed": (
        given(SEARCH, origin={"country": "KR"}, subjects=[{"country": "TW"}]), {"effect": "by-record"}),
    "nobody is allowed, whoever it is": (
        given(SEARCH, caller=STRANGER), {"effect": "deny", "rule": "default", "reason": "no-rule-allows"}),
    "one subject, as if the request said it": (
        given(SEARCH, subject={"country": "JP"}), {"effect": "deny", "rule": "no-china", "certainty": "matched"}),
    "one subject that is unknown": (
        given(SEARCH, subject={"id": "42"}), {"effect": "deny", "rule": "no-china", "certainty": "by-unknown"}),
    "one subject who is masked": (
        given(SEARCH, subject={"country": "KR"}),
        {"effect": "allow", "transforms": {"user.contact": "mask", "user.unique_id": "pseudonymise"}}),
    "a search by what is not permitted": (
        given("GET /v1/users?phone=03"), {"effect": "deny", "reason": "query-undeclared"}),
    "a search by what is permitted": (given("GET /v1/users?name=Sato"), {"effect": "by-record"}),
    "a search that nobody can read": (given("GET /v1/users?name=%zz"), {"effect": "deny", "reason": "query-character"}),
    "records by their subjects": (
        given(SEARCH, subjects=[{"country": "JP"}, {"country": "KR"}, {"country": "TW", "id": "1"}, {"id": "2"}]),
        {"records": {"left": 2, "dropped": 2, "masked": 1}}),
    "records of an answer": (given(SEARCH, answer=MIXED), {"records": {"left": 2, "dropped": 1, "masked": 1}}),
    "an empty answer": (given(SEARCH, answer={"users": []}), {"records": {"left": 0, "dropped": 0, "masked": 0}}),
    "an answer where a denied record refuses all": (
        given("GET /v1/strict", answer=MIXED), {"effect": "deny", "reason": "rule-denies"}),
    "subjects where a denied record refuses all": (
        given("GET /v1/strict", subjects=[{"country": "TW"}, {"country": "JP"}]),
        {"effect": "deny", "reason": "rule-denies"}),
    "the same route without a denied record": (
        given("GET /v1/strict", answer={"users": [KIM, LIN]}), {"records": {"left": 2, "masked": 1}}),
    "an answer that is no JSON": (given(SEARCH, answer="<html>"), {"effect": "deny", "reason": "answer-malformed"}),
    "an answer that is cut off": (
        given(SEARCH, answer='{"users": [{"country": "TW"}'), {"effect": "deny", "reason": "answer-incomplete"}),
    "an answer whose records stand elsewhere": (
        given(SEARCH, answer={"people": []}), {"effect": "deny", "reason": "answer-shape-undeclared"}),
    "a register in memory tells the countries of records": (
        given("GET /v1/registered", answer=[{"id": "811"}, {"id": "822"}, {"id": "8863"}, {"id": "99"}]),
        {"records": {"left": 2, "dropped": 2, "masked": 1}}),
    "a directory is not asked": (
        given("GET /v1/directed", answer=[{"id": "1"}]), {"records": {"left": 0, "dropped": 1}}),
    "what a directory would say is given": (
        given("GET /v1/directed", subjects=[{"id": "1", "country": "TW"}, {"id": "2", "country": "JP"}]),
        {"records": {"left": 1, "dropped": 1, "masked": 0}}),
    "one person with two countries": (
        given("GET /v1/directed", subjects=[{"id": "1", "country": "TW"}, {"id": "1", "country": "JP"}]),
        {"records": {"left": 0, "dropped": 2}}),
    "several ids in the query, none of them of Japan": (
        given("GET /v1/several?ids=8221,8862"), {"effect": "allow", "rule": "staff"}),
    "several ids in the query, one of them of Japan": (
        given("GET /v1/several?ids=8221,8112"), {"effect": "deny", "rule": "no-china", "certainty": "matched"}),
    "no id in the query": (given("GET /v1/several"), {"effect": "deny", "reason": "subject-missing"}),
    "a claim that the answer confirms": (
        given("GET /v1/claimed?country=TW&id=8863", answer=LIN), {"effect": "allow", "records": {"left": 1}}),
    "a claim that the answer does not confirm": (
        given("GET /v1/claimed?country=TW&id=8863", answer=SATO),
        {"effect": "deny", "reason": "subject-not-confirmed"}),
    "a claim that is denied at once": (
        given("GET /v1/claimed?country=JP&id=811", answer=SATO), {"effect": "deny", "rule": "no-china"}),
    "a field and a body of the request": (
        given("POST /v1/written", headers={"X-Subject": "42"}, body='{"country": "JP"}'),
        {"effect": "deny", "rule": "no-china", "certainty": "matched"}),
    "another body": (
        given("POST /v1/written", headers={"X-Subject": "42"}, body='{"country": "TW"}'), {"effect": "allow"}),
    "a body that is not given": (
        given("POST /v1/written", headers={"X-Subject": "42"}),
        {"effect": "deny", "rule": "no-china", "certainty": "by-unknown"}),
    "a body that is no JSON": (
        given("POST /v1/written", headers={"X-Subject": "42"}, body="{"),
        {"effect": "deny", "reason": "body-malformed"}),
}  # fmt: skip


@pytest.mark.parametrize(("given", "expect"), CASES.values(), ids=CASES.keys())
def test_a_case_is_decided(snapshot: Snapshot, given: dict[str, Any], expect: dict[str, Any]) -> None:
    result = run_case(snapshot, given, **expect)
    assert result.passed, result.actual


WRONG = {
    "more leave than expected": {"records": {"left": 1}},
    "fewer are dropped": {"records": {"dropped": 2}},
    "fewer are masked": {"records": {"masked": 2}},
    "another effect": {"effect": "allow"},
    "another answer": {"answer": "{}"},
}


@pytest.mark.parametrize("expect", WRONG.values(), ids=WRONG.keys())
def test_what_is_expected_and_is_not_so_fails(snapshot: Snapshot, expect: dict[str, Any]) -> None:
    result = run_case(snapshot, given(SEARCH, answer=MIXED), **expect)
    assert not result.passed
    assert "records left 2, dropped 1, masked 1" in result.actual


def test_records_of_an_answer_that_is_refused_are_none_that_were_expected(snapshot: Snapshot) -> None:
    expect = {"effect": "deny", "records": {"left": 0}}
    assert not run_case(snapshot, given("GET /v1/strict", answer=MIXED), **expect).passed


LEAVES = """
{"total": null, "page": 2,
 "users": [{"id": "pseudonym of 822", "name": "Kim", "phone": "******5432"}, {"id": "8863", "name": "Lin", "phone": "0223334444"}]}
"""  # noqa: E501 - an answer


def test_the_answer_that_leaves_is_compared_by_its_values(snapshot: Snapshot) -> None:
    case = given(SEARCH, answer={**MIXED, "total": 3, "page": 2, "debug": True, "next": "c"})
    leaving = LEAVES.replace('"page"', '"next": "sealed c", "page"').replace('"total": null, ', "")
    result = run_case(snapshot, case, answer=leaving)
    assert result.passed, result.actual
    assert not run_case(snapshot, case, answer=leaving.replace("Kim", "Lin")).passed


def test_an_answer_that_leaves_untouched_keeps_what_nobody_declared(snapshot: Snapshot) -> None:
    """Where no class of subject is denied or masked nothing is looked into, but the records are counted."""
    answer = '{"users": [{"country": "TW", "id": "1", "secret": 1}]}'
    untouched = [rule for rule in snapshot.policy.rules if rule.id == "staff"]
    assert untouched
    result = run_case(snapshot, given(SEARCH, caller=FROM_JAPAN, answer=answer))
    assert result.answer is not None
    assert result.answer.leaving is not None
    assert "secret" not in result.answer.leaving, "Korean records would be masked: it is looked into"


def test_rules_that_hold_of_a_record_count_as_fired(snapshot: Snapshot) -> None:
    by_class = run_case(snapshot, given(SEARCH))
    by_record = run_case(snapshot, given(SEARCH, answer=MIXED))
    assert {each.id for each in find_unfired(snapshot.policy, [by_class])} == {"no-china", "kr-masked"}
    assert find_unfired(snapshot.policy, [by_record]) == ()
    told = run_case(snapshot, given("GET /v1/registered", answer=[{"id": "811"}, {"id": "822"}]))
    assert find_unfired(snapshot.policy, [told]) == ()


def test_what_is_decided_before_the_answer_is_told_by_subjects(snapshot: Snapshot) -> None:
    asked = Cases(snapshot, RegistryGeolocator()).find_asked(a_case(given(SEARCH)).given)
    assert not isinstance(asked, Reason)
    ruled = rule(snapshot, asked)
    assert ruled.partial is not None
    masks = (("user.contact", "mask"), ("user.unique_id", "pseudonymise"))
    assert [
        (each.subjects, each.effect, each.rule, each.is_by_unknown, each.transforms)
        for each in list_outcomes(ruled.partial)
    ] == [
        ("JP", "deny", "no-china", False, ()),
        ("KR", "allow", "staff", False, masks),
        ("any other", "allow", "staff", False, ()),
        ("unknown", "deny", "no-china", True, ()),
    ]


def test_a_directory_that_would_be_asked_is_named_with_how_many_ids(snapshot: Snapshot) -> None:
    case = a_case(given("GET /v1/directed", answer=[{"id": "1"}, {"id": "2"}, {"id": "1"}]))
    asked = Cases(snapshot, RegistryGeolocator()).find_asked(case.given)
    assert not isinstance(asked, Reason)
    rule(snapshot, asked)
    assert asked.directory.not_asked == {"directory": {"1", "2"}}
