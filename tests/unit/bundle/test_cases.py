# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest

from proxy.bundle.cases import DEFAULT, CaseEntry, Declared, check_cases
from proxy.bundle.schema import validate
from proxy.model.problem import Problem
from tests.support.bundle_folder import edited, place_of, problems_after, problems_of, write_bundle


def a_case(given: dict[str, Any] | None = None, expect: dict[str, Any] | None = None, name: str = "a") -> CaseEntry:
    raw = {
        "name": name,
        "given": {"request": "GET /v1/jp/users/42", **(given or {})},
        "expect": {"effect": "deny", **(expect or {})},
    }
    entry = validate(CaseEntry, raw)
    assert isinstance(entry, CaseEntry), entry
    return entry


DECLARED = Declared(
    rules=frozenset({"no-china", "staff"}),
    issuers=frozenset({"corp"}),
    affiliates=frozenset({"ly", "naver"}),
    networks=frozenset({"office"}),
    purposes=frozenset({"law-enforcement"}),
    grants=frozenset({"LE-2021-003"}),
    fixtures=frozenset({"an-engineer"}),
    claims=frozenset({"desk"}),
)


def check(*cases: CaseEntry) -> list[Problem]:
    return check_cases(cases, DECLARED)


@pytest.mark.parametrize(
    ("given", "path", "words"),
    [
        pytest.param({"request": "/v1"}, ("request",), "no method and path", id="no method"),
        pytest.param({"request": "GET"}, ("request",), "no method and path", id="no path"),
        pytest.param({"request": "FETCH /v1"}, ("request",), "no method and path", id="no such method"),
        pytest.param({"request": "get /v1"}, ("request",), "no method and path", id="a method in lower case"),
        pytest.param({"request": "GET /v1//x"}, ("request",), "no method and path", id="no canonical path"),
        pytest.param({"request": "GET /v1/%41"}, ("request",), "no method and path", id="percent-encoded"),
        pytest.param({"request": "GET http://x/v1"}, ("request",), "no method and path", id="another host"),
        pytest.param({"origin": {"ip": "10.0.0"}}, ("origin", "ip"), "no address", id="no address"),
        pytest.param({"origin": {"ip": "fe80::1%eth0"}}, ("origin", "ip"), "no address", id="an address with a zone"),
        pytest.param({"origin": {"network": "offic"}}, ("origin", "network"), "'office'", id="no network"),
        pytest.param({"caller": {"afiliate": "ly"}}, ("caller", "afiliate"), "'affiliate'", id="no attribute"),
        pytest.param({"caller": {"countries": ["JP"]}}, ("caller", "countries"), "no caller attribute",
                     id="a fact that is computed, not claimed"),
        pytest.param({"caller": {"affiliate": "navr"}}, ("caller", "affiliate"), "'naver'", id="no affiliate"),
        pytest.param({"caller": {"affiliate": ["ly"]}}, ("caller", "affiliate"), "no affiliate", id="affiliates"),
        pytest.param({"caller": {"issuer": "crop"}}, ("caller", "issuer"), "'corp'", id="no issuer"),
        pytest.param({"caller": {"issuer": {}}}, ("caller", "issuer"), "no issuer", id="an empty issuer"),
        pytest.param({"caller": {"kind": "boss"}}, ("caller", "kind"), "employee", id="no kind"),
        pytest.param({"caller": {"residence": "UK"}}, ("caller", "residence"), "GB", id="UK"),
        pytest.param({"caller": {"residence": "jp"}}, ("caller", "residence"), "JP", id="lower case"),
        pytest.param({"caller": {"residence": "JPN"}}, ("caller", "residence"), "JP (Japan)", id="an alpha-3 code"),
        pytest.param({"caller": {"residence": ""}}, ("caller", "residence"), "no ISO", id="no residence"),
        pytest.param({"caller": {"residence": ["JP"]}}, ("caller", "residence"), "", id="residences"),
        pytest.param({"caller": {"residence": {"JP": "x"}}}, ("caller", "residence"), "", id="a mapping"),
        pytest.param({"caller": {"site_country": ["JP"]}}, ("caller", "site_country"), "", id="sites"),
        pytest.param({"caller": {"citizenships": ["JP", "UK"]}}, ("caller", "citizenships", 1), "GB", id="UK listed"),
        pytest.param({"caller": {"citizenships": "JP"}}, ("caller", "citizenships"), "", id="one citizenship, bare"),
        pytest.param({"caller": {"citizenships": [["JP"]]}}, ("caller", "citizenships", 0), "", id="a list inside"),
        pytest.param({"caller": {"groups": "support"}}, ("caller", "groups"), "", id="one group, bare"),
        pytest.param({"caller": {"groups": [["support"]]}}, ("caller", "groups", 0), "", id="a list of lists"),
        pytest.param({"caller": {"groups": [""]}}, ("caller", "groups", 0), "", id="an empty group"),
        pytest.param({"caller": {"roles": {"a": "b"}}}, ("caller", "roles"), "", id="roles as a mapping"),
        pytest.param({"caller": {"id": ["a"]}}, ("caller", "id"), "", id="a list for an id"),
        pytest.param({"caller": {"claims.dsk": "x"}}, ("caller", "claims.dsk"), "'claims.desk'", id="no such own claim"),  # noqa: E501
        pytest.param({"caller": {"claims.desk": ["x"]}}, ("caller", "claims.desk"), "single value", id="own claims"),
        pytest.param({"base": "an-enginer"}, ("base",), "'an-engineer'", id="no fixture"),
        pytest.param({"purpose": "law-enforcment"}, ("purpose",), "'law-enforcement'", id="no purpose"),
        pytest.param({"grant": "le-2021-003"}, ("grant",), "no grant", id="a grant in lower case"),
        pytest.param({"caller": {"client": {}}}, ("caller", "client"), "", id="a mapping for a client"),
    ],
)  # fmt: skip
def test_a_case_that_gives_what_does_not_exist(given: dict[str, Any], path: tuple[Any, ...], words: str) -> None:
    found = check(a_case(given))
    assert [problem.path for problem in found] == [(0, "given", *path)]
    assert words in found[0].message


@pytest.mark.parametrize(
    ("rule", "is_sound"), [("no-china", True), (DEFAULT, True), (None, True), ("no-chin", False), ("Default", False)]
)
def test_an_expected_rule_exists(rule: str | None, is_sound: bool) -> None:  # noqa: FBT001
    found = check(a_case(expect={"rule": rule} if rule else None))
    assert bool(found) is not is_sound
    assert all(problem.path == (0, "expect", "rule") and "did you mean" in problem.message for problem in found)


def test_a_sentence_names_one_test() -> None:
    (problem,) = check(a_case(), a_case(name="b"), a_case())
    assert problem.path == (2, "name")


def test_every_problem_of_a_case_is_told() -> None:
    case = a_case(
        {"request": "GET", "origin": {"ip": "x", "network": "x"}, "caller": {"kind": "x", "z": "y"}}, {"rule": "x"}
    )
    assert {problem.path[1:] for problem in check(case)} == {
        ("given", "request"), ("given", "origin", "ip"), ("given", "origin", "network"), ("given", "caller", "kind"),
        ("given", "caller", "z"), ("expect", "rule"),
    }  # fmt: skip


C = "cases.yaml"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param("affiliate: home-co", "affiliate: hom-co", "'home-co'", id="an affiliate"),
        pytest.param("residence: JP", "residence: UK", "GB", id="a residence"),
        pytest.param("origin: {country: JP}", "origin: {country: cn}", "CN", id="an origin"),
        pytest.param("effect: allow", "effect: mask", "allow, deny", id="an effect"),
        pytest.param("rule: staff", "rule: stff", "'staff'", id="a rule"),
        pytest.param("rule: staff", "certainty: sure", "matched, by-unknown", id="a certainty"),
        pytest.param("rule: staff", "reason: because", "rule-allows", id="a reason"),
    ],
)
def test_a_problem_of_a_case_names_its_line_and_column(tmp_path: Path, old: str, new: str, words: str) -> None:
    files = edited((C, old, new))
    (problem,) = problems_of(write_bundle(tmp_path, files))
    place = place_of(files, C, new)
    column = int(place.split(":")[2]) + new.rfind(": ") + 2
    assert problem.startswith(f"{place.rsplit(':', 2)[0]}:{column}:"), problem
    assert words in problem


def test_a_country_in_a_list_is_found_on_its_own_line(tmp_path: Path) -> None:
    caller = "caller:\n        affiliate: home-co\n        citizenships:\n          - JP\n          - UK"
    problems = problems_after(tmp_path, (C, "caller: {affiliate: home-co, kind: employee, residence: JP}", caller))
    assert [problem.split(" ")[0] for problem in problems] == ["cases.yaml:8:13:"]


@pytest.mark.parametrize("host", ["user.internal", "USERS.INTERNAL", "users.internal:80"])
def test_a_host_that_no_api_declares_is_a_problem(tmp_path: Path, host: str) -> None:
    """Such a case is denied for its host alone; one that expects a deny would pass, whatever the rules say."""
    problems = problems_after(
        tmp_path,
        ("apis.yaml", "    upstream:", "    hosts: [users.internal]\n    upstream:"),
        (C, "      request:", f'      host: "{host}"\n      request:'),
    )
    assert any(problem.startswith("cases.yaml:6:13:") for problem in problems), problems


def test_a_route_that_nobody_declared_is_a_problem_unless_it_is_expected(tmp_path: Path) -> None:
    """A misspelt path is denied anyway: a case that expects a deny would pass without asking any rule."""
    misspelt = (C, "/v1/jp/users/42", "/v1/jp/user/42")
    unspecific = (C, "{effect: allow, rule: staff}", "{effect: deny}")
    expected = (C, "{effect: allow, rule: staff}", "{effect: deny, reason: route-undeclared}")
    assert not problems_after(tmp_path / "a", misspelt, expected)
    problems = problems_after(tmp_path / "b", misspelt, unspecific)
    assert any(problem.startswith("cases.yaml:6:16:") for problem in problems), problems


ANSWER = '{"users": []}'
RECORDS = {
    "records of nothing": ({}, {"records": {"left": "1"}}, ("expect", "records"), "of which records?"),
    "what leaves of nothing": ({}, {"answer": ANSWER}, ("expect", "answer"), "what leaves of which answer?"),
    "subjects are no answer": (
        {"subjects": [{"country": "JP"}]}, {"answer": ANSWER}, ("expect", "answer"), "what leaves of which answer?"),
    "an answer and its subjects": (
        {"subjects": [{"country": "JP"}], "answer": ANSWER}, {}, ("given", "subjects"), "not both"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "expect", "path", "words"), RECORDS.values(), ids=RECORDS.keys())
def test_records_that_nobody_could_look_at(
    given: dict[str, Any], expect: dict[str, Any], path: tuple[str, ...], words: str
) -> None:
    (problem,) = check(a_case(given, expect))
    assert (problem.path, words in problem.message) == ((0, *path), True)


@pytest.mark.parametrize("expect", [{}, {"records": {"left": "0", "dropped": "12"}}, {"answer": ANSWER}])
def test_records_of_an_answer_are_sound(expect: dict[str, Any]) -> None:
    assert check(a_case({"answer": ANSWER}, {"effect": "by-record", **expect})) == []


BODIES = {
    "a document that YAML would guess at": ({"users": []}, "write the body as text, as it stands on the wire"),
    "nothing": (" ", "the body is empty"),
    "too much": ("x" * 65_537, "longer than 65536 characters"),
}


@pytest.mark.parametrize(("answer", "words"), BODIES.values(), ids=BODIES.keys())
def test_an_answer_is_a_text(answer: object, words: str) -> None:
    problems = validate(
        CaseEntry, {"name": "a", "given": {"request": "GET /", "answer": answer}, "expect": {"effect": "deny"}}
    )
    assert isinstance(problems, list)
    assert any(words in problem.message for problem in problems)
