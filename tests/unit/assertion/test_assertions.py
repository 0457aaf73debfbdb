# SPDX-License-Identifier: Apache-2.0
"""What is signed, for how long, and when the same is used again: never for anybody or anything else."""

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.assertion.assertions import LIFETIME_SECONDS, MAX_HELD, REUSE_SECONDS, Assertions, Judged
from proxy.assertion.keys import AssertionKeys
from proxy.model.api import Api, AssertionMode
from proxy.model.caller import Caller, Person
from proxy.model.decision import Effect
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN
from tests.support.assertions import (
    API,
    JUDGED,
    KEY,
    KEYS,
    NEXT,
    NOW,
    ROUTE,
    RULE,
    TARGET,
    judged,
    read_assertion,
    replaced,
)


def some() -> Assertions:
    return Assertions(KEYS, "sekisho", "b" * 64)


def token_of(line: bytes) -> str:
    name, _, value = line.decode("ascii").partition(": ")
    assert name == "Sekisho-Assertion"
    assert value.endswith("\r\n")
    assert value.count("\r\n") == 1
    return value.removesuffix("\r\n")


def by_caller(assertions: Assertions, outcome: Judged = JUDGED, api: Api = API) -> bytes:
    return assertions.render_field(api, outcome)


def by_request(outcome: Judged = JUDGED, target: str = TARGET) -> dict[str, Any]:
    api = replaced(API, assertion=AssertionMode.REQUEST)
    return read_assertion(token_of(some().render_field(api, replaced(outcome, target=target))), now=NOW)


def test_by_caller_it_says_who_and_by_which_rule_and_nothing_of_the_request() -> None:
    claims = read_assertion(token_of(by_caller(some())), now=NOW)
    assert len(claims.pop("jti")) == 22
    assert claims == {
        "iss": "sekisho", "aud": "users", "iat": 1_800_000_000, "exp": 1_800_000_060, "sub": "corp|alice",
        "affiliate": "ly", "affiliate_country": "JP", "route": "get-user", "rule": "staff", "effect": "allow",
        "bundle": "b" * 64,
    }  # fmt: skip


def test_by_request_it_is_bound_to_the_method_the_target_and_the_decision() -> None:
    claims = by_request()
    of_caller = read_assertion(token_of(by_caller(some())), now=NOW)
    bound = {name: value for name, value in claims.items() if of_caller.get(name) != value}
    assert bound == {
        "jti": JUDGED.request_id,
        "decision": JUDGED.request_id,
        "htm": "GET",
        "target_sha256": hashlib.sha256(TARGET.encode()).hexdigest(),
    }
    assert by_request(target="/v1/jp/users/43")["target_sha256"] != claims["target_sha256"]
    assert "42" not in "".join(str(value) for name, value in claims.items() if name not in {"target_sha256", "bundle"})


def test_off_is_no_field_at_all() -> None:
    assert by_caller(some(), api=replaced(API, assertion=AssertionMode.OFF)) == b""


@pytest.mark.parametrize("mode", [None, AssertionMode.CALLER])
def test_by_caller_is_what_an_api_gets_that_declares_nothing(mode: AssertionMode | None) -> None:
    claims = read_assertion(token_of(by_caller(some(), api=replaced(API, assertion=mode))), now=NOW)
    assert "decision" not in claims


LEFT_OUT = {
    "an affiliate that is unknown": ({"affiliate": UNKNOWN}, {"affiliate"}),
    "no affiliate": ({"affiliate": ABSENT, "affiliate_country": ABSENT}, {"affiliate", "affiliate_country"}),
    "nobody in particular": (
        {"principal": "", "affiliate": NOT_APPLICABLE, "affiliate_country": NOT_APPLICABLE},
        {"sub", "affiliate", "affiliate_country"},
    ),
}


@pytest.mark.parametrize(("caller", "without"), LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_what_is_not_known_is_left_out(caller: dict[str, Any], without: set[str]) -> None:
    everything = read_assertion(token_of(by_caller(some())), now=NOW).keys()
    told = read_assertion(token_of(by_caller(some(), judged(caller))), now=NOW).keys()
    assert everything - told == without


def test_for_whom_somebody_acts_is_told() -> None:
    line = by_caller(some(), judged({"on_behalf_of": Person(principal="corp|bob")}))
    assert read_assertion(token_of(line), now=NOW)["on_behalf_of"] == "corp|bob"


def test_a_refusal_that_observe_mode_lets_pass_is_told_as_one() -> None:
    refused = replaced(JUDGED, effect=Effect.DENY, decision=None, route=None, caller=Caller())
    claims = read_assertion(token_of(by_caller(some(), refused)), now=NOW)
    assert claims["effect"] == "deny"
    assert not {"sub", "rule", "route"} & claims.keys()


def test_the_same_is_used_again_for_a_few_seconds() -> None:
    assertions = some()
    first = by_caller(assertions)
    assert by_caller(assertions, replaced(JUDGED, now=NOW + REUSE_SECONDS - 0.01, request_id="another")) is first
    second = by_caller(assertions, replaced(JUDGED, now=NOW + REUSE_SECONDS))
    assert read_assertion(token_of(second), now=NOW + REUSE_SECONDS)["iat"] == 1_800_000_010
    assert read_assertion(token_of(first), now=NOW)["jti"] != read_assertion(token_of(second), now=NOW + 10)["jti"]
    assert by_caller(assertions, replaced(JUDGED, now=NOW - 1)) is not second, "a clock that was set back"


OTHERS: dict[str, Judged] = {
    "another caller": judged({"principal": "corp|bob"}),
    "nobody": judged({"principal": ""}),
    "another affiliate": judged({"affiliate": "naver"}),
    "an affiliate that is unknown": judged({"affiliate": UNKNOWN}),
    "no affiliate": judged({"affiliate": ABSENT}),
    "another country of the affiliate": judged({"affiliate_country": "KR"}),
    "on behalf of somebody": judged({"on_behalf_of": Person(principal="corp|bob")}),
    "another route": judged(route=replaced(ROUTE, id="get-talk")),
    "no route": replaced(JUDGED, route=None),
    "another rule": judged(decision={"rule": replaced(RULE, id="support")}),
    "no decision": replaced(JUDGED, decision=None),
    "the other effect": replaced(JUDGED, effect=Effect.DENY),
}


@pytest.mark.parametrize("outcome", OTHERS.values(), ids=OTHERS.keys())
def test_nothing_is_used_again_for_what_differs_in_anything_that_is_said(outcome: Judged) -> None:
    assertions = some()
    first = by_caller(assertions)
    other = by_caller(assertions, outcome)
    fresh = by_caller(some(), outcome)
    assert read_assertion(token_of(other), now=NOW) == read_assertion(token_of(fresh), now=NOW)
    assert read_assertion(token_of(first), now=NOW) != read_assertion(token_of(fresh), now=NOW)


def test_one_apis_is_not_anothers() -> None:
    assertions = some()
    by_caller(assertions)
    other = by_caller(assertions, api=replaced(API, id="talks"))
    assert read_assertion(token_of(other), "talks", now=NOW)["aud"] == "talks"


ENDS = st.floats(min_value=1, max_value=200)


@settings(max_examples=100)
@given(st.lists(st.tuples(ENDS, ENDS, st.floats(min_value=0, max_value=30)), min_size=1, max_size=6))
def test_none_is_valid_longer_than_what_it_rests_on(uses: list[tuple[float, float, float]]) -> None:
    assertions, now = some(), NOW
    for caller_ends, grant_ends, later in uses:
        now += later
        outcome = judged({"until": now + caller_ends}, {"until": now + grant_ends}, now=now)
        claims = read_assertion(token_of(by_caller(assertions, outcome)), now=now - now % 1)  # its last second is cut
        assert claims["exp"] <= min(now + caller_ends, now + grant_ends, now + LIFETIME_SECONDS)
        assert now - REUSE_SECONDS - 1 <= claims["iat"] <= now


def test_what_another_token_cuts_short_is_not_used_for_one_that_is_valid_for_longer() -> None:
    assertions = some()
    short = by_caller(assertions, judged({"until": NOW + 5}))
    long = by_caller(assertions)
    assert [read_assertion(token_of(line), now=NOW)["exp"] for line in (short, long)] == [1_800_000_005, 1_800_000_060]
    assert by_caller(assertions, judged({"until": NOW + 5})) == short


def test_the_key_that_signs_changes_in_its_time() -> None:
    keys = AssertionKeys([KEY, replaced_since(NOW + 5)])
    assertions = Assertions(keys, "sekisho", "b")
    before, after = by_caller(assertions), by_caller(assertions, replaced(JUDGED, now=NOW + REUSE_SECONDS + 1))
    assert read_assertion(token_of(before), now=NOW, keys=keys)
    assert read_assertion(token_of(after), now=NOW + REUSE_SECONDS + 1, keys=keys)
    with pytest.raises(KeyError):
        read_assertion(token_of(after), now=NOW + REUSE_SECONDS + 1)


def replaced_since(since: float) -> Any:
    return type(NEXT)(since, NEXT.algorithm, bytes.fromhex(NEXT.render().split()[2]))


def test_what_is_held_is_bounded() -> None:
    assertions = some()
    for number in range(MAX_HELD + 10):
        assertions._young[number,] = None  # type: ignore[assignment]
        if len(assertions._young) >= MAX_HELD // 2:
            by_caller(assertions, judged({"principal": str(number)}))
    assert len(assertions._young) + len(assertions._old) <= MAX_HELD + 2


class Broken(AssertionKeys):
    """A ring that cannot sign."""

    def at(self, now: float) -> Any:
        raise MemoryError


def test_what_cannot_be_signed_is_an_error_and_not_an_empty_field() -> None:
    with pytest.raises(MemoryError):
        by_caller(Assertions(Broken([KEY]), "sekisho", "b"))
