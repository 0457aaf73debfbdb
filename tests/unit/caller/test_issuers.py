# SPDX-License-Identifier: Apache-2.0
"""What an issuer must say before it is trusted, and what it can never say."""

from typing import Any

import pytest
from pydantic import ValidationError

from proxy.caller.issuers import IssuerEntry, check_issuers, compile_issuer
from proxy.model.facts import ABSENT, EMPTY_SET, UNKNOWN
from tests.support.tokens import an_issuer_entry

REFUSED: dict[str, dict[str, Any]] = {
    "no audience": {"audience": None},
    "an empty list of audiences": {"audience": []},
    "an empty audience": {"audience": [""]},
    "a blank audience": {"audience": [" "]},
    "no algorithms": {"algorithms": None},
    "an empty list of algorithms": {"algorithms": []},
    "the algorithm none": {"algorithms": ["none"]},
    "a symmetric algorithm": {"algorithms": ["RS256", "HS256"]},
    "an algorithm in lower case": {"algorithms": ["rs256"]},
    "no iss": {"issuer": None},
    "an empty iss": {"issuer": ""},
    "a list of iss": {"issuer": ["https://a.example"]},
    "no operator": {"operated_by": None},
    "nothing it may assert": {"may_assert": None},
    "an empty list of assertable affiliates": {"may_assert": {"affiliate": []}},
    "an assertable affiliate without quotes or list": {"may_assert": {"affiliate": "ly"}},
    "a mapping of assertable affiliates": {"may_assert": {"affiliate": [{"id": "ly"}]}},
    "keys over plain http": {"jwks": "http://idp.example.jp/jwks.json"},
    "keys over plain http from a name that begins like loopback": {"jwks": "http://127.0.0.1.example.jp/jwks.json"},
    "keys over plain http from a name that begins like localhost": {"jwks": "http://localhost.example.jp/jwks.json"},
    "loopback as the user of another host": {"jwks": "http://127.0.0.1:80@idp.example.jp/jwks.json"},
    "localhost as the user of another host": {"jwks": "http://localhost:x@idp.example.jp/jwks.json"},
    "keys from no host": {"jwks": "https://"},
    "keys by ftp": {"jwks": "ftp://idp.example.jp/jwks.json"},
    "keys from a bare path": {"jwks": "keys/corp.jwks.json"},
    "keys written out": {"jwks": {"keys": []}},
    "a claim that is no JMESPath": {"attributes": {"id": "sub["}},
    "a claim with an unknown token": {"attributes": {"id": "https://example.jp/id"}},
    "a claim nested deeper than anyone reads": {"attributes": {"id": "(" * 900 + "a" + ")" * 900}},
    "a claim denied two thousand times": {"attributes": {"id": "!" * 1999 + "a"}},
    "an absence that is neither empty nor unknown": {"attributes": {"groups": {"claim": "g", "absent": "any"}}},
    "a key that nobody knows": {"audiences": ["pii-gateway"]},
    "a key that is not there yet": {"leeway": "600"},
}


@pytest.mark.parametrize("wrong", REFUSED.values(), ids=REFUSED)
def test_an_issuer_does_not_load_with(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        IssuerEntry.model_validate(an_issuer_entry(**wrong))


@pytest.mark.parametrize(
    "place",
    ["https://idp.example.jp/k", "file:keys/corp.json", "http://127.0.0.1:8080/k", "http://[::1]:80/k"],
)
def test_keys_come_over_https_from_a_file_or_from_loopback(place: str) -> None:
    assert compile_issuer(IssuerEntry.model_validate(an_issuer_entry(jwks=place))).key_place == place


def test_an_issuer_compiles_to_what_requests_need() -> None:
    issuer = compile_issuer(IssuerEntry.model_validate(an_issuer_entry(may_assert={"affiliate": ["ly"]})))
    by_attribute = {mapping.attribute: mapping for mapping in issuer.mappings}
    assert (issuer.audiences, issuer.operator) == (frozenset({"pii-gateway"}), "ly")
    assert by_attribute["affiliate"].assertable == frozenset({"ly"})
    assert by_attribute["kind"].assertable is None
    assert by_attribute["id"].claim.search({"sub": "alice"}) == "alice"


ABSENCES = {
    "nothing said: unknown": ("groups", "groups", UNKNOWN),
    "an empty set": ("groups", {"claim": "groups", "absent": "empty"}, EMPTY_SET),
    "an empty set of countries": ("citizenships", {"claim": "c", "absent": "empty"}, EMPTY_SET),
    "a single value that is known to be none": ("client", {"claim": "azp", "absent": "empty"}, ABSENT),
}


@pytest.mark.parametrize(("attribute", "source", "fact"), ABSENCES.values(), ids=ABSENCES)
def test_what_absence_means(attribute: str, source: object, fact: object) -> None:
    issuer = compile_issuer(IssuerEntry.model_validate(an_issuer_entry(attributes={attribute: source})))
    assert {mapping.attribute: mapping.absent for mapping in issuer.mappings}[attribute] == fact


PROBLEMS: dict[str, tuple[dict[str, Any], str]] = {
    "an operator that nobody declared": ({"operated_by": "lly"}, "no affiliate 'lly'"),
    "an attribute that does not exist": ({"attributes": {"group": "groups"}}, "no caller attribute 'group'"),
    "a limit on what does not exist": (
        {"may_assert": {"affiliate": "any", "group": ["x"]}},
        "no caller attribute 'group'",
    ),
    "no word on affiliates": ({"may_assert": {}}, "which affiliates"),
    "an affiliate that nobody declared": ({"may_assert": {"affiliate": ["naver"]}}, "no affiliate 'naver'"),
}


@pytest.mark.parametrize(("wrong", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_registers_are_refused_with(wrong: dict[str, Any], message: str) -> None:
    problems = check_issuers([IssuerEntry.model_validate(an_issuer_entry(**wrong))], frozenset({"ly"}))
    assert [message in problem.message for problem in problems] == [True]


def test_two_issuers_may_not_share_one_iss() -> None:
    both = [IssuerEntry.model_validate(an_issuer_entry(id=id_)) for id_ in ("corp", "evil")]
    assert [problem.path for problem in check_issuers(both, frozenset({"ly"}))] == [(1, "issuer")]
