# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundle.apis import ApiEntry
from proxy.bundle.cases import CaseEntry
from proxy.bundle.manifest import Manifest
from proxy.bundle.schema import validate
from proxy.caller.affiliates import AffiliateEntry, ControlRuleEntry
from proxy.caller.issuers import IssuerEntry
from proxy.caller.revocation import RevokedEntry
from proxy.model.entry import Entry
from proxy.model.problem import Path, Problem
from proxy.origin.networks import NetworkEntry
from proxy.policy.rules import RuleEntry

SUBJECT: Final = {
    "country": "{country}",
    "id": {"query": "ids", "split": ","},
    "records": "$.users[*]",
    "authoritative": {"by": "users-team", "review_by": "2027-06-30"},
    "confirm": {"value": "$.country", "format": "alpha3"},
    "lookup": "staff",
}
WAYS: Final = {"country", "confirm", "id", "$.next"}
"""Mappings that are said in one way of several."""
FULL: Final[dict[type[Entry], dict[str, Any]]] = {
    Manifest: {
        "language": "1", "bundle": "b", "title": "t", "ties": ["employer"], "mode": "observe",
        "observe_until": "2027-01-01T00:00:00Z", "files": {"a.yaml": ["rules", "tests"]},
    },
    IssuerEntry: {
        "id": "corp", "operated_by": "ly", "issuer": "https://idp", "audience": ["a"], "jwks": "https://idp/jwks",
        "algorithms": ["ES256"], "may_assert": {"affiliate": ["ly"]}, "people": "optional",
        "attributes": {"affiliate": "affiliate", "groups": {"claim": "groups", "absent": "empty"}},
        "discovery": "false", "jwks_hosts": ["keys.example"], "leeway": "30s", "max_age": "1h",
        "token_type": ["at+jwt"], "token_place": {"cookie": "id"}, "sender_constrained": "certificate",
        "introspection": {"url": "https://idp/i", "client_id": "c", "secret": {"secret": "env:S"}, "cache": "30s"},
    },
    RevokedEntry: {
        "issuer": "corp", "jti": "t1", "subject": "alice", "before": "2027-06-30T00:00:00+09:00", "reason": "r",
        "since": "2027-06-30T00:00:00+09:00",
    },
    AffiliateEntry: {
        "id": "ly", "name": "LY", "country": "JP", "home": "true", "roles": ["parent"],
        "owners": [{"id": "naver", "share": "50"}], "owners_complete": "false", "works_for": ["naver"],
        "shares_accounts": "false",
    },
    ControlRuleEntry: {
        "id": "majority", "threshold": "50", "comparator": ">=", "propagation": "cascade", "default": "true",
    },
    NetworkEntry: {"id": "n", "name": "N", "cidr": ["10.0.0.0/8"], "country": "JP", "proxies": "false"},
    ApiEntry: {
        "id": "users", "title": "t", "hosts": ["users.internal"], "authorization": "strip",
        "assertion": "request",
        "upstream": {"url": "http://127.0.0.1:9000", "hosted_in": "JP"},
        "upstreams": {"default": {"url": "http://127.0.0.1:9000", "hosted_in": "JP"}},
        "routes": [
            {
                "id": "user", "methods": ["GET"], "path": "/{country}/{user_id}", "action": "read", "subject": SUBJECT,
                "parameters": {"country": "[a-z]{2}"}, "reason": "r", "owner": "o",
                "unauthenticated": "false", "max_duration": "30s",
                "max_body_bytes": "1024", "upgrade": ["websocket"],
                "reads_only": {"by": "users-team", "review_by": "2027-06-30"},
                "fields": {"$.name": "user.name", "$.phone": {"category": "user.contact", "keep": "2"}},
                "envelope": {"$.page": "keep", "$.next": {"cursor": "after"}}, "searchable_by": ["after", "ids"],
                "answers": "json", "on_denied": "drop", "undeclared": "refuse", "answer_headers": ["X-Version"],
            }
        ],
    },
    RuleEntry: {
        "id": "r", "effect": "deny", "title": "t", "when": {"subject.country": "JP"}, "severity": "low", "owner": "o",
        "references": ["x"], "unless": [], "mode": "shadow", "liftable": "true", "reopens": "true",
        "effective": {"from": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"},
        "transforms": {"user.contact": "redact"}, "review_by": "2027-06-30",
        "basis": {"kind": "contract", "reference": "C-1", "next_check": "2027-01-01T00:00:00Z"},
    },
    CaseEntry: {
        "name": "a sentence",
        "given": {
            "caller": {"affiliate": "ly"}, "origin": {"country": "JP", "network": "n", "ip": "10.0.0.1"},
            "request": "GET /", "host": "users.internal",
        },
        "expect": {"effect": "deny", "rule": "r", "certainty": "matched", "reason": "rule-denies"},
    },
}  # fmt: skip

MODELS = pytest.mark.parametrize("model", FULL, ids=lambda model: model.__name__)


def problems(model: type[Entry], raw: Any) -> list[Problem]:
    result = validate(model, raw)
    assert isinstance(result, list), f"{raw} was taken"
    assert result
    return result


def walk(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    inside: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in inside:
        yield from walk(inner, (*path, step))


def put(value: Any, path: Path, new: Any) -> Any:
    """Return the value with something else at a path."""
    if not path:
        return new
    step, *rest = path
    if isinstance(value, list):
        return [put(inner, tuple(rest), new) if index == step else inner for index, inner in enumerate(value)]
    return {key: put(inner, tuple(rest), new) if key == step else inner for key, inner in value.items()}


def get(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


@MODELS
def test_the_full_entry_is_sound(model: type[Entry]) -> None:
    assert isinstance(validate(model, FULL[model]), model)


SHAPES: Final[list[Any]] = [
    "", " ", "x", "x" * 2001, "\x00", [], ["x"], [""], [[]], [["x"]], [{}], [{"x": "y"}], {}, {"x": "y"}, {"": ""},
    {"x": []}, {"x": {"y": "z"}},
]  # fmt: skip


@MODELS
def test_a_wrong_shape_anywhere_is_a_problem_there_and_never_an_error(model: type[Entry]) -> None:
    for path in walk(FULL[model]):
        for shape in SHAPES:
            result = validate(model, put(FULL[model], path, shape))
            if isinstance(result, list):
                assert result
                assert all(problem.message for problem in result)
                assert any(problem.path[: len(path)] == path for problem in result), (path, shape, result)


@MODELS
def test_a_list_for_a_value_and_a_value_for_a_list_are_refused(model: type[Entry]) -> None:
    free = {"when", "transforms", "caller"}  # other rooms read these
    for path in walk(FULL[model]):
        if not path or free & set(path[:-1]):
            continue
        value = get(FULL[model], path)
        wrong = ["x"] if isinstance(value, (str, dict)) else "x"
        found = problems(model, put(FULL[model], path, wrong))
        assert any(problem.path[: len(path)] == path for problem in found), path


@MODELS
def test_an_unknown_key_gets_the_nearest_wherever_it_stands(model: type[Entry]) -> None:
    free = {
        "when",
        "transforms",
        "caller",
        "files",
        "may_assert",
        "attributes",
        "parameters",
        "fields",
        "envelope",
        "upstreams",
    }
    for path in walk(FULL[model]):
        if not path or not isinstance(path[-1], str) or (len(path) > 1 and path[-2] in free):
            continue
        above, key = path[:-1], path[-1]
        wrong = key[:-1] + "x" + key[-1]
        entry = {(wrong if name == key else name): value for name, value in get(FULL[model], above).items()}
        (problem,) = (p for p in problems(model, put(FULL[model], above, entry)) if p.path == (*above, wrong))
        assert problem.at_key
        assert problem.message == f"unknown key {wrong!r} (did you mean {key!r}?)"


@MODELS
def test_a_missing_key_is_told_where_it_is_missing(model: type[Entry]) -> None:
    for path in walk(FULL[model]):
        if not path or not isinstance(path[-1], str):
            continue
        above, key = path[:-1], path[-1]
        entry = {name: value for name, value in get(FULL[model], above).items() if name != key}
        result = validate(model, put(FULL[model], above, entry))
        if isinstance(result, list) and WAYS & set(above[-1:]):
            assert [(problem.path, problem.message.partition(":")[0]) for problem in result] == [
                (above, "expected exactly one of")
            ]
        elif isinstance(result, list):
            assert [(problem.path, problem.message) for problem in result] == [(above, f"`{key}` is missing")]


@pytest.mark.parametrize(
    ("model", "path", "key"),
    [
        (ApiEntry, ("routes", 0, "subject"), "persona"),
        *((ApiEntry, ("upstream",), key) for key in ("tls", "timeouts")),
        (ApiEntry, (), "cors"),
        *((AffiliateEntry, (), key) for key in ("lei", "source", "as_of", "control")),
        (NetworkEntry, (), "valid_from"),
    ],
)
def test_a_key_of_later_is_refused_as_such(model: type[Entry], path: Path, key: str) -> None:
    entry = {**get(FULL[model], path), key: "x"}
    assert problems(model, put(FULL[model], path, entry)) == [
        Problem((*path, key), f"key {key!r} is not yet supported", at_key=True)
    ]


@pytest.mark.parametrize(
    ("model", "path", "value", "words"),
    [
        pytest.param(AffiliateEntry, ("country",), "UK", "the code is GB", id="UK"),
        pytest.param(AffiliateEntry, ("country",), "EU", "country_sets", id="EU"),
        pytest.param(AffiliateEntry, ("country",), "cn", "write CN", id="lower case"),
        pytest.param(AffiliateEntry, ("country",), "Japan", "write JP", id="a name"),
        pytest.param(AffiliateEntry, ("country",), "JPN", "JP (Japan)", id="an alpha-3 code"),
        pytest.param(AffiliateEntry, ("country",), "null", "no ISO 3166-1", id="null is no country"),
        pytest.param(AffiliateEntry, ("home",), "yes", "neither true nor false", id="yes is no flag"),
        pytest.param(AffiliateEntry, ("home",), "True", "neither true nor false", id="nor is True"),
        pytest.param(AffiliateEntry, ("home",), "~", "neither true nor false", id="nor is null"),
        pytest.param(AffiliateEntry, ("name",), "", "the value is empty", id="an empty name"),
        pytest.param(AffiliateEntry, ("id",), "LY", "is no id", id="an id in capitals"),
        pytest.param(AffiliateEntry, ("id",), "unknown", "a word of ours", id="an id that records say"),
        pytest.param(AffiliateEntry, ("id",), "a" * 65, "is no id", id="a long id"),
        pytest.param(AffiliateEntry, ("owners", 0, "share"), "0", "no share", id="no stake"),
        pytest.param(AffiliateEntry, ("owners", 0, "share"), "100.1", "no share", id="more than all"),
        pytest.param(AffiliateEntry, ("owners", 0, "share"), "NaN", "no share", id="no number"),
        pytest.param(AffiliateEntry, ("owners", 0, "share"), "1e1", "no share", id="an exponent"),
        pytest.param(AffiliateEntry, ("owners", 0, "share"), "50%", "no share", id="a per cent sign"),
        pytest.param(ControlRuleEntry, ("comparator",), ">>", "is not one of: >=, >", id="no comparator"),
        pytest.param(Manifest, ("observe_until",), "2027-01-01T00:00:00", "with an offset", id="no offset"),
        pytest.param(Manifest, ("observe_until",), "2027-02-30T00:00:00Z", "no day", id="no such day"),
        pytest.param(Manifest, ("language",), "2", "is not one of: 1", id="another language"),
        pytest.param(Manifest, ("ties",), [], "at least one", id="no ties"),
        pytest.param(Manifest, ("ties", 0), "subcontractor", "not one of", id="a tie that is asked by name alone"),
        pytest.param(NetworkEntry, ("cidr", 0), "10.0.0.1/8", "host bits set; write 10.0.0.0/8", id="host bits"),
        pytest.param(NetworkEntry, ("cidr",), "10.0.0.0/8", "expected a list: write [10.0.0.0/8]", id="a bare block"),
        pytest.param(NetworkEntry, ("cidr",), [], "at least one", id="no block"),
        pytest.param(IssuerEntry, ("algorithms", 0), "HS256", "not one of", id="a shared secret"),
        pytest.param(IssuerEntry, ("algorithms", 0), "none", "not one of", id="no signature"),
        pytest.param(IssuerEntry, ("audience",), [], "at least one", id="no audience"),
        pytest.param(IssuerEntry, ("jwks",), "http://idp/jwks", "https://", id="keys in the clear"),
        pytest.param(IssuerEntry, ("attributes", "affiliate"), "a b", "no JMESPath", id="no JMESPath"),
        pytest.param(IssuerEntry, ("may_assert", "affiliate"), "ly", "`any` or a list", id="a bare value"),
        pytest.param(RuleEntry, ("effect",), "Deny", "not one of: allow, deny", id="a capital"),
        pytest.param(RuleEntry, ("effect",), ["deny"], "", id="an effect in a list"),
        pytest.param(RuleEntry, ("effect",), {"deny": "x"}, "", id="an effect in a mapping"),
        pytest.param(RuleEntry, ("severity",), "urgent", "critical, high, medium, low", id="no severity"),
        pytest.param(RuleEntry, ("when",), "always", "expected a mapping", id="a bare word"),
        pytest.param(RuleEntry, ("references",), "x", "expected a list", id="a bare reference"),
    ],
)
def test_a_wrong_value_says_what_is_right(model: type[Entry], path: Path, value: Any, words: str) -> None:
    (problem,) = problems(model, put(FULL[model], path, value))
    assert problem.path[: len(path)] == path
    assert words in problem.message


@pytest.mark.parametrize("raw", ["", "x", [], ["x"]], ids=["nothing", "a text", "a list", "a list of texts"])
@MODELS
def test_an_entry_that_is_no_mapping(model: type[Entry], raw: Any) -> None:
    assert problems(model, raw) == [Problem((), "expected a mapping")]


@pytest.mark.parametrize(
    ("model", "path", "value"),
    [
        pytest.param(ApiEntry, ("routes", 0, "parameters", "country"), "a{99999999999}", id="a count too large"),
        pytest.param(ApiEntry, ("routes", 0, "parameters", "country"), "(" * 900 + ")" * 900, id="nested groups"),
        pytest.param(ApiEntry, ("routes", 0, "parameters", "country"), "(?P<a>x)(?P<a>y)", id="a group twice"),
        pytest.param(ApiEntry, ("routes", 0, "parameters", "country"), "a**", id="a star of a star"),
        pytest.param(IssuerEntry, ("attributes", "affiliate"), "!" * 1900 + "a", id="nested negations"),
        pytest.param(IssuerEntry, ("attributes", "affiliate"), "(" * 900 + "a" + ")" * 900, id="nested JMESPath"),
        pytest.param(ApiEntry, ("upstream", "url"), "http://[::1", id="a broken address"),
        pytest.param(ApiEntry, ("upstream", "url"), "http://h:99999", id="a port too large"),
        pytest.param(ApiEntry, ("upstream", "url"), "http://\u2100", id="a host that is normalised"),
    ],
)
def test_a_hostile_text_is_a_problem_and_never_an_error(model: type[Entry], path: Path, value: str) -> None:
    (problem,) = problems(model, put(FULL[model], path, value))
    assert problem.path[: len(path)] == path


ANYTHING = st.recursive(
    st.text(max_size=4) | st.sampled_from(["JP", "true", "deny", "none", "any"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@MODELS
@settings(max_examples=60)
@given(data=st.data())
def test_anything_in_place_of_anything_is_an_entry_or_problems(model: type[Entry], data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(walk(FULL[model]))))
    result = validate(model, put(FULL[model], path, data.draw(ANYTHING)))
    assert isinstance(result, model) or (isinstance(result, list) and result)
