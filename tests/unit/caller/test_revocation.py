# SPDX-License-Identifier: Apache-2.0
"""A token ends before its time: by the register, or by its issuer's word. No word is not a good word."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.caller.revocation import (
    NOTHING_REVOKED,
    Introspected,
    RevokedEntry,
    check_revoked,
    compile_revoked,
    judge_introspected,
    read_introspection,
)
from proxy.model.decision import Reason
from tests.support.tokens import CORP, NOW, an_issuer, claims

IAT = claims()["iat"]
"""2027-01-15T07:59:00Z"""
BEFORE, AFTER = "2027-01-15T16:58:59+09:00", "2027-01-15T16:59:01+09:00"
AT = "2027-01-15T07:59:00Z"
REVOKED = Reason.TOKEN_REVOKED


def an_entry(**changes: Any) -> RevokedEntry:
    entry = {"issuer": "corp", "reason": "a lost laptop", "since": AT, **changes}
    return RevokedEntry.model_validate({name: value for name, value in entry.items() if value is not None})


GRID: dict[str, tuple[list[dict[str, Any]], dict[str, Any], Reason | None]] = {
    "no line": ([], {}, None),
    "its jti": ([{"jti": "t1"}], {"jti": "t1"}, REVOKED),
    "another jti": ([{"jti": "t2"}], {"jti": "t1"}, None),
    "a jti of another issuer": ([{"issuer": "partner", "jti": "t1"}], {"jti": "t1"}, None),
    "a jti in another letter case": ([{"jti": "T1"}], {"jti": "t1"}, None),
    "a jti, and it does not say its own": ([{"jti": "t1"}], {}, Reason.TOKEN_CLAIM_MISSING),
    "a jti of another issuer, and it does not say its own": ([{"issuer": "partner", "jti": "t1"}], {}, None),
    "its subject": ([{"subject": "alice"}], {}, REVOKED),
    "another subject": ([{"subject": "bob"}], {}, None),
    "its subject at another issuer": ([{"issuer": "partner", "subject": "alice"}], {}, None),
    "its subject, before an instant after its own": ([{"subject": "alice", "before": AFTER}], {}, REVOKED),
    "its subject, before its own instant": ([{"subject": "alice", "before": AT}], {}, None),
    "its subject, before an instant before its own": ([{"subject": "alice", "before": BEFORE}], {}, None),
    "its issuer, before an instant after its own": ([{"before": AFTER}], {}, REVOKED),
    "its issuer, before an instant before its own": ([{"before": BEFORE}], {}, None),
    "another issuer, before an instant after its own": ([{"issuer": "partner", "before": AFTER}], {}, None),
    "its subject twice, the later instant first": (
        [{"subject": "alice", "before": AFTER}, {"subject": "alice", "before": BEFORE}], {}, REVOKED,
    ),
    "its subject twice, the later instant last": (
        [{"subject": "alice", "before": BEFORE}, {"subject": "alice", "before": AFTER}], {}, REVOKED,
    ),
    "its subject twice, once for ever": ([{"subject": "alice"}, {"subject": "alice", "before": BEFORE}], {}, REVOKED),
    "its issuer, though its subject is spared": (
        [{"before": AFTER}, {"subject": "alice", "before": BEFORE}], {}, REVOKED,
    ),
    "its subject, in letters that look alike": ([{"subject": "\u0430lice"}], {}, None),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "changes", "reason"), GRID.values(), ids=GRID)
def test_a_token_is_judged_where_the_register_names(
    lines: list[dict[str, Any]], changes: dict[str, Any], reason: Reason | None
) -> None:
    revoked = compile_revoked([an_entry(**line) for line in lines])
    assert revoked.judge("corp", claims(**changes)) is reason


def test_a_line_more_never_frees_a_token() -> None:
    for lines, changes, reason in GRID.values():
        for more in ({"jti": "t1"}, {"subject": "alice"}, {"before": AFTER}, {"before": BEFORE}):
            judged = compile_revoked([an_entry(**line) for line in (*lines, more)]).judge("corp", claims(**changes))
            assert reason is None or judged is not None


def test_nothing_is_revoked_unless_said() -> None:
    assert NOTHING_REVOKED.judge("corp", claims(jti="t1")) is None


MALFORMED: dict[str, dict[str, Any]] = {
    "no reason": {"reason": None},
    "an empty reason": {"reason": " "},
    "no since": {"since": None},
    "an instant without an offset": {"before": "2027-01-15T16:59:00"},
    "no issuer": {"issuer": None},
    "an empty jti": {"jti": ""},
    "a key that nobody knows": {"sub": "alice"},
}


@pytest.mark.parametrize("wrong", MALFORMED.values(), ids=MALFORMED)
def test_a_line_does_not_load_with(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        an_entry(**{"subject": "alice", **wrong})


PROBLEMS: dict[str, tuple[dict[str, Any], tuple[Any, ...], str]] = {
    "an issuer that nobody declared": ({"issuer": "crop", "jti": "t"}, (0, "issuer"), "(did you mean 'corp'?)"),
    "a jti and a subject": ({"jti": "t", "subject": "s"}, (0, "jti"), "leave those out"),
    "a jti and a time": ({"jti": "t", "before": AT}, (0, "jti"), "leave those out"),
    "nothing but an issuer": ({}, (0,), "remove the issuer"),
}


@pytest.mark.parametrize(("line", "path", "words"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_line_is_a_problem_that_names(line: dict[str, Any], path: tuple[Any, ...], words: str) -> None:
    (problem,) = check_revoked([an_entry(**line)], frozenset({"corp"}))
    assert problem.path == path
    assert words in problem.message


ISSUER = an_issuer()
OTHERWISE = Reason.TOKEN_INTROSPECTED_OTHERWISE
ANSWERS: dict[str, tuple[dict[str, Any], Reason | None]] = {
    "active": ({"active": True}, None),
    "active, and all that the token says": ({"active": True, **claims()}, None),
    "active, and more than it says": ({"active": True, "nbf": 5, "jti": "x", "scope": "a b", "username": "a"}, None),
    "active, for us among others": ({"active": True, "aud": ["billing", "pii-gateway"]}, None),
    "inactive": ({"active": False}, REVOKED),
    "inactive, and all that the token says": ({"active": False, **claims()}, REVOKED),
    "active, of another issuer": ({"active": True, "iss": "https://evil.example"}, OTHERWISE),
    "active, of no issuer": ({"active": True, "iss": None}, OTHERWISE),
    "active, of somebody else": ({"active": True, "sub": "bob"}, OTHERWISE),
    "active, for others": ({"active": True, "aud": "billing"}, OTHERWISE),
    "active, for an object with our name": ({"active": True, "aud": {"pii-gateway": 1}}, OTHERWISE),
    "active, until another time": ({"active": True, "exp": claims()["exp"] + 1}, OTHERWISE),
    "active, until a time that is a text": ({"active": True, "exp": str(claims()["exp"])}, OTHERWISE),
    "active, since another time": ({"active": True, "iat": 1}, OTHERWISE),
    "active, and bound, which the token does not say": ({"active": True, "cnf": {"x5t#S256": "x"}}, OTHERWISE),
}


@pytest.mark.parametrize(("answer", "reason"), ANSWERS.values(), ids=ANSWERS)
def test_a_token_is_judged_whose_issuer_says(answer: dict[str, Any], reason: Reason | None) -> None:
    said = read_introspection(json.dumps(answer).encode(), NOW + 30)
    assert said is not None
    assert said.until == NOW + 30
    assert judge_introspected(said, claims(), ISSUER) is reason


@pytest.mark.parametrize("name", ["nbf", "jti"])
def test_what_the_token_says_itself_must_agree(name: str) -> None:
    said = Introspected(is_active=True, said={name: "other"}, until=NOW)
    assert judge_introspected(said, claims(), ISSUER) is None
    assert judge_introspected(said, claims(**{name: "own"}), ISSUER) is OTHERWISE


NO_ANSWERS: dict[str, bytes] = {
    "nothing": b"",
    "a page to sign in": b"<html>",
    "a list": b"[true]",
    "true": b"true",
    "an empty object": b"{}",
    "active as a text": b'{"active":"true"}',
    "active as a number": b'{"active":1}',
    "active null": b'{"active":null}',
    "active in capitals": b'{"Active":true}',
    "active a list": b'{"active":[true]}',
    "active twice": b'{"active":false,"active":true}',
    "active and an error": b'{"error":"invalid_client"}',
    "a signed answer": b"eyJhbGciOiJFUzI1NiJ9.eyJhY3RpdmUiOnRydWV9.AAAA",
}


@pytest.mark.parametrize("document", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_it_is_no_answer_that_is(document: bytes) -> None:
    assert read_introspection(document, NOW) is None


_JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.text(max_size=2), max_size=2)


@given(
    st.binary(max_size=40)
    | st.dictionaries(st.sampled_from(["active", "iss", "sub", "aud", "exp", "cnf"]), _JSON).map(
        lambda answer: json.dumps(answer).encode("utf-8", "surrogatepass")
    )
)
def test_no_answer_raises_and_none_frees_but_a_literal_true(document: bytes) -> None:
    said = read_introspection(document, NOW)
    if said is None:
        return
    reason = judge_introspected(said, claims(), ISSUER)
    assert reason in {None, REVOKED, OTHERWISE}
    if reason is None:
        assert json.loads(document)["active"] is True
        assert said.said.get("iss", CORP) == CORP
