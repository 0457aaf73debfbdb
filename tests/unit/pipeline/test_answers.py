# SPDX-License-Identifier: Apache-2.0
"""The ladder of answers: every reason has one, and its status is the one that the ladder gives its kind."""

import re

import pytest

from proxy.model.decision import Reason
from proxy.pipeline.answers import ANSWERS, BEARER_CHALLENGE, Answer

LADDER = [
    pytest.param(r"target-too-long", {414}, id="a target that is too long is 414"),
    pytest.param(r"target-(?!too-long).*|query-.*", {400}, id="an ambiguous target is 400"),
    pytest.param(r"host-(?!undeclared).*", {400}, id="an ambiguous host is 400"),
    pytest.param(r"host-undeclared", {421}, id="a host of others is 421"),
    pytest.param(
        r"header-.*|proxy-header-.*|connection-names-.*|request-malformed|upgrade-.*",
        {400},
        id="an ambiguous head is 400",
    ),
    pytest.param(r"method-unsupported|transfer-.*", {501}, id="a method or coding of nobody is 501"),
    pytest.param(r"expectation-.*", {417}, id="an expectation that nobody meets is 417"),
    pytest.param(r"request-too-large", {413}, id="a body that is too large is 413"),
    pytest.param(r"head-too-large", {431}, id="a head that is too large is 431"),
    pytest.param(r"version-.*", {505}, id="a version of others is 505"),
    pytest.param(r"requests-exceeded", {429}, id="too many requests at once are 429"),
    pytest.param(r"request-timeout|client-slow", {408}, id="a request or an answer that does not move is 408"),
    pytest.param(r"authorization-.*", {400}, id="ambiguous credentials are 400"),
    pytest.param(r"token-.*", {401}, id="no valid token is 401"),
    pytest.param(r"forwarded-certificate-.*", {400}, id="an ambiguous forwarded certificate is 400"),
    pytest.param(r"certificate-(?!revocation-).*", {401}, id="a certificate of nobody is 401"),
    pytest.param(r"route-undeclared", {404}, id="an undeclared route is 404"),
    pytest.param(r"method-undeclared", {405}, id="an undeclared method is 405"),
    pytest.param(
        r"cursor-.*|body-(?!type|coding).*|subject-missing|subject-malformed|subjects-.*",
        {400},
        id="a request that does not say clearly whose data it is about is 400",
    ),
    pytest.param(r"body-(type|coding)-.*", {415}, id="a body that nobody reads here is 415"),
    pytest.param(r"answer-.*", {502}, id="an answer that is not what its route declares is 502"),
    pytest.param(
        r"rule-denies|no-rule-allows|invariant-denies|transforms-not-applied|policy-changed|subject-not-confirmed"
        r"|subject-unresolved",
        {403},
        id="a denial is 403",
    ),
    pytest.param(r"rule-allows", {200}, id="an allowance is 200"),
    pytest.param(
        r"keys-unavailable|introspection-unavailable|certificate-revocation-unknown|decision-failed|ledger-unavailable"
        r"|gateway-stopping|connections-exceeded|overloaded|counts-unavailable|lookup-unavailable|upstream-busy",
        {503},
        id="what we cannot do now is 503",
    ),
    pytest.param(r"upstream-timeout", {504}, id="an API that is silent is 504"),
    pytest.param(r"upstream-(?!timeout|busy).*", {502}, id="an API that fails is 502"),
    pytest.param(r"client-gone", {499}, id="a caller that left is 499"),
]


def test_every_reason_has_an_answer_and_nothing_else_has() -> None:
    assert list(ANSWERS) == list(Reason)


@pytest.mark.parametrize(("pattern", "statuses"), LADDER)
def test_the_ladder_says(pattern: str, statuses: set[int]) -> None:
    found = {ANSWERS[reason].status for reason in Reason if re.fullmatch(pattern, reason)}
    assert found == statuses


def test_every_reason_stands_on_one_rung() -> None:
    rungs = [str(rung.values[0]) for rung in LADDER]
    assert [reason for reason in Reason if sum(bool(re.fullmatch(rung, reason)) for rung in rungs) != 1] == []


def test_no_reason_but_the_allowing_one_is_answered_as_a_success() -> None:
    assert [reason for reason, answer in ANSWERS.items() if answer.status < 400] == [Reason.RULE_ALLOWS]


@pytest.mark.parametrize(("reason", "answer"), ANSWERS.items())
def test_a_challenge_stands_where_credentials_are_at_fault_and_is_that_of_rfc_6750(
    reason: Reason, answer: Answer
) -> None:
    is_about_a_certificate = reason.startswith("certificate-") and answer.status == 401
    is_about_credentials = reason.startswith(("token-", "authorization-")) or is_about_a_certificate
    assert bool(answer.challenge) == is_about_credentials
    if answer.status == 401:
        assert is_about_credentials
    if is_about_a_certificate:
        assert answer.challenge == BEARER_CHALLENGE
    elif answer.challenge:
        error = {"token-missing": ""}.get(reason, "invalid_token" if answer.status == 401 else "invalid_request")
        assert answer.challenge == BEARER_CHALLENGE + (f', error="{error}"' if error else "")


def test_titles_are_short_sentences_that_say_nothing_of_a_caller() -> None:
    assert [
        answer.title for answer in ANSWERS.values() if not re.fullmatch(r"[A-Z][A-Za-z' -]{4,60}", answer.title)
    ] == []


def test_who_is_denied_is_not_told_whether_a_rule_forbade_it_or_none_allowed_it_by_the_title() -> None:
    assert ANSWERS[Reason.RULE_DENIES] == ANSWERS[Reason.NO_RULE_ALLOWS]
