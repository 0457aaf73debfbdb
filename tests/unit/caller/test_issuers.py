# SPDX-License-Identifier: Apache-2.0
"""What an issuer must say before it is trusted, and what it can never say."""

from typing import Any

import pytest
from pydantic import ValidationError

from proxy.caller.issuers import IssuerEntry, check_issuers, compile_issuer
from proxy.model.facts import ABSENT, EMPTY_SET, UNKNOWN
from tests.support.tokens import an_issuer, an_issuer_entry

AN_INTROSPECTION: dict[str, Any] = {
    "url": "https://idp.example.jp/introspect",
    "client_id": "sekisho",
    "secret": {"secret": "env:IDP_SECRET"},
}

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
    "a leeway without a unit": {"leeway": "30"},
    "no leeway at all": {"leeway": "0s"},
    "a type of tokens that proves something else": {"token_type": "dpop+jwt"},
    "a type that is a media type of its own": {"token_type": ["application/at+jwt"]},
    "a type that is no JWT": {"token_type": "saml"},
    "an empty list of types": {"token_type": []},
    "a place that nobody knows": {"token_place": "query"},
    "a place in the query": {"token_place": {"query": "access_token"}},
    "a cookie whose name is none": {"token_place": {"cookie": "a b"}},
    "a cookie without a name": {"token_place": {"cookie": ""}},
    "a header whose name is none": {"token_place": {"header": "X_Token"}},
    "a header with a line break": {"token_place": {"header": "X-T\r\n"}},
    "tokens bound to what is not checked": {"sender_constrained": "dpop"},
    "an introspection without a secret": {"introspection": {"url": "https://idp.example.jp/i", "client_id": "c"}},
    "an introspection with its secret written out": {
        "introspection": {"url": "https://idp.example.jp/i", "client_id": "c", "secret": "hunter2"}
    },
    "an introspection over plain http": {"introspection": AN_INTROSPECTION | {"url": "http://idp.example.jp/i"}},
    "an introspection from a file": {"introspection": AN_INTROSPECTION | {"url": "file:answers.json"}},
    "an introspection as a user": {"introspection": AN_INTROSPECTION | {"url": "https://a:b@idp.example.jp/i"}},
    "keys' hosts that are URLs": {"jwks": None, "jwks_hosts": ["https://keys.example.net"]},
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
    "more leeway than clocks differ": ({"leeway": "6m"}, "at most 5 minutes"),
    "tokens that live for months": ({"max_age": "1000h"}, "at most 31 days"),
    "answers that are believed for long": (
        {"introspection": AN_INTROSPECTION | {"cache": "1h"}},
        "at most 5 minutes",
    ),
    "tokens at two places": ({"token_place": {"cookie": "a", "header": "X-B"}}, "tokens stand at one place"),
    "keys at two places": ({"discovery": "true"}, "leave one of the two out"),
    "hosts of keys that are not discovered": ({"jwks_hosts": ["keys.example.net"]}, "leave one of the two out"),
    "keys nowhere": ({"jwks": None, "discovery": "false"}, "`jwks` is missing"),
    "keys to be discovered of what is no URL": ({"jwks": None, "issuer": "corp"}, "no https:// URL"),
    "keys to be discovered over plain http": ({"jwks": None, "issuer": "http://idp.example.jp"}, "no https:// URL"),
    "keys to be discovered behind a query": ({"jwks": None, "issuer": "https://idp.example.jp/?a"}, "no https:// URL"),
    "keys to be discovered as a user": ({"jwks": None, "issuer": "https://a@idp.example.jp"}, "no https:// URL"),
    "an affiliate that nobody declared": ({"may_assert": {"affiliate": ["naver"]}}, "no affiliate 'naver'"),
}


@pytest.mark.parametrize(("wrong", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_registers_are_refused_with(wrong: dict[str, Any], message: str) -> None:
    problems = check_issuers([IssuerEntry.model_validate(an_issuer_entry(**wrong))], frozenset({"ly"}))
    assert [message in problem.message for problem in problems] == [True]


def test_two_issuers_may_not_share_one_iss() -> None:
    both = [IssuerEntry.model_validate(an_issuer_entry(id=id_)) for id_ in ("corp", "evil")]
    assert [problem.path for problem in check_issuers(both, frozenset({"ly"}))] == [(1, "issuer")]


def test_what_an_issuer_does_not_say_is_the_strict_reading() -> None:
    issuer = an_issuer()
    assert (issuer.leeway, issuer.max_age, issuer.place) == (30, 86400, "authorization")
    assert issuer.types == {"jwt", "at+jwt"}
    assert (issuer.is_rfc9068, issuer.is_bound) == (False, False)
    assert (issuer.introspection, issuer.key_hosts) == (None, frozenset())


TOKENS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "its leeway": ({"leeway": "2m"}, {"leeway": 120}),
    "how old its tokens may be": ({"max_age": "15m"}, {"max_age": 900}),
    "one type": ({"token_type": "jwt"}, {"types": {"jwt"}, "is_rfc9068": False}),
    "access tokens": ({"token_type": "at+jwt"}, {"types": {"at+jwt"}, "is_rfc9068": True}),
    "several types": ({"token_type": ["vnd.corp+jwt", "at+jwt"]}, {"types": {"vnd.corp+jwt", "at+jwt"}}),
    "the ordinary place": ({"token_place": "authorization"}, {"place": "authorization"}),
    "a cookie": ({"token_place": {"cookie": "__Host-id"}}, {"place": "cookie __Host-id"}),
    "a header": ({"token_place": {"header": "X-Id-Token"}}, {"place": "header x-id-token"}),
    "bound tokens": ({"sender_constrained": "certificate"}, {"is_bound": True}),
    "keys to be discovered": ({"jwks": None}, {"key_place": ""}),
    "keys to be discovered, spelled out": ({"jwks": None, "discovery": "true"}, {"key_place": ""}),
    "hosts of keys": ({"jwks": None, "jwks_hosts": ["k.example.net:8443"]}, {"key_hosts": {"k.example.net:8443"}}),
}


@pytest.mark.parametrize(("said", "meant"), TOKENS.values(), ids=TOKENS)
def test_an_issuer_may_say(said: dict[str, Any], meant: dict[str, Any]) -> None:
    issuer = an_issuer(**said)
    assert check_issuers([IssuerEntry.model_validate(an_issuer_entry(**said))], frozenset({"ly"})) == []
    assert {name: getattr(issuer, name) for name in meant} == meant


def test_an_issuer_may_be_asked_about_its_tokens() -> None:
    issuer = an_issuer(introspection=AN_INTROSPECTION)
    assert issuer.introspection is not None
    assert issuer.introspection.secret == "env:IDP_SECRET"
    assert issuer.introspection.cache_seconds == 30
