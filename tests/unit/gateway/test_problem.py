# SPDX-License-Identifier: Apache-2.0
"""Problem documents: every reason has one, and none says more than it may."""

import json
from typing import Any

import pytest

from proxy.gateway.problem import render_problem
from proxy.model.caller import Caller
from proxy.model.decision import AppliedRule, Certainty, Decision, Effect, Reason
from proxy.model.origin import Origin
from proxy.model.outcome import Outcome
from proxy.model.subject import Subject
from proxy.pipeline.answers import ANSWERS

ID = "01F1G2V3W4X5Y6Z7A8B9C0D1E2"
DENY = AppliedRule("jp-no-china", Effect.DENY, Certainty.MATCHED, "No China-based affiliate reads it")
ALLOW = AppliedRule("staff", Effect.ALLOW, Certainty.MATCHED, "Staff reads it")
DENIED = Decision(Effect.DENY, Reason.RULE_DENIES, DENY, (DENY,), ("caller.countries",))
ALLOWED = Decision(Effect.ALLOW, Reason.RULE_ALLOWS, ALLOW, (ALLOW,), ())
SECRETS = Caller(principal="corp|zq-sub", id="zq-id", client="zq-client", affiliate="zq-affiliate")


def an_outcome(reason: Reason, decision: Decision | None = None, source: str = "path") -> Outcome:
    return Outcome(
        request_id=ID,
        now=0.0,
        method="zq-method",
        route=None,
        shape="/zq-shape",
        caller=SECRETS,
        origin=Origin(ip="zq-ip", country="zq-country", network="zq-network"),
        subject=Subject(country="zq-country", id="zq-subject", reference="zq-reference", source=source),
        purpose="zq-purpose",
        decision=decision,
        effect=Effect.DENY,
        reason=reason,
        enforced=True,
        status=ANSWERS[reason].status,
    )


def render(
    reason: Reason, decision: Decision | None = None, allowed: tuple[str, ...] = (), *, tell_rule: bool = True
) -> tuple[int, dict[str, str], dict[str, Any]]:
    status, fields, body = render_problem(an_outcome(reason, decision), reason, allowed, tell_rule=tell_rule)
    assert len(dict(fields)) == len(fields)
    return status, dict(fields), json.loads(body)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_a_whole_problem_that_finds_its_record_and_is_not_stored(reason: Reason) -> None:
    status, fields, body = render(reason)
    assert body == {
        "type": f"urn:sekisho:reason:{reason}",
        "title": ANSWERS[reason].title,
        "status": status,
        "reason": reason,
        "decision_id": ID,
    }
    assert (fields["Content-Type"], fields["Cache-Control"]) == ("application/problem+json", "no-store")
    assert (status, fields["Sekisho-Decision-Id"]) == (ANSWERS[reason].status, ID)


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("decision", [None, DENIED, ALLOWED], ids=["undecided", "denied", "allowed"])
def test_nothing_of_who_asked_and_for_what_is_told(reason: Reason, decision: Decision | None) -> None:
    assert "zq-" not in str(render(reason, decision, tell_rule=True))
    assert "caller.countries" not in str(render(reason, decision, tell_rule=True))


@pytest.mark.parametrize("reason", list(Reason))
def test_fields_that_http_asks_for_stand_where_it_does(reason: Reason) -> None:
    status, fields, _ = render(reason)
    assert ("WWW-Authenticate" in fields) == bool(ANSWERS[reason].challenge)
    assert ("Retry-After" in fields) == (status == 503)
    assert [value for value in fields.values() if "\r" in value or "\n" in value] == []


def test_an_undeclared_method_is_told_the_declared_ones() -> None:
    _, fields, _ = render(Reason.METHOD_UNDECLARED, allowed=("GET", "PUT"))
    assert fields["Allow"] == "GET, PUT"


def test_without_methods_to_tell_there_is_no_allow_field() -> None:
    assert "Allow" not in render(Reason.ROUTE_UNDECLARED)[1]


# The rule.


def test_a_denied_caller_is_told_the_rule_where_that_is_set() -> None:
    _, _, body = render(Reason.RULE_DENIES, DENIED)
    assert (body["rule"], body["detail"]) == ("jp-no-china", "No China-based affiliate reads it")


UNTOLD = [
    pytest.param(Reason.RULE_DENIES, DENIED, False, id="where it is not set"),
    pytest.param(Reason.RULE_DENIES, None, True, id="where nothing was decided"),
    pytest.param(Reason.NO_RULE_ALLOWS, Decision(Effect.DENY, Reason.NO_RULE_ALLOWS, None, (), ()), True,
                 id="where there is none"),
    pytest.param(Reason.UPSTREAM_TIMEOUT, ALLOWED, True, id="that allowed it, where the API was silent"),
    pytest.param(Reason.LEDGER_UNAVAILABLE, ALLOWED, True, id="that allowed it, where that could not be recorded"),
    pytest.param(Reason.LEDGER_UNAVAILABLE, DENIED, True, id="that denied it, where that could not be recorded"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "decision", "tell_rule"), UNTOLD)
def test_no_rule_is_told(reason: Reason, decision: Decision | None, tell_rule: bool) -> None:  # noqa: FBT001
    _, _, body = render(reason, decision, tell_rule=tell_rule)
    assert body.keys() & {"rule", "detail"} == set()


def test_no_rule_is_told_for_a_reason_that_is_not_the_outcomes() -> None:
    outcome = an_outcome(Reason.RULE_DENIES, DENIED)
    _, _, body = render_problem(outcome, Reason.DECISION_FAILED, (), tell_rule=True)
    assert "jp-no-china" not in body.decode()


@pytest.mark.parametrize("source", ["answer", "lookup:staff"])
@pytest.mark.parametrize("reason", [Reason.RULE_DENIES, Reason.NO_RULE_ALLOWS, Reason.TRANSFORMS_NOT_APPLIED])
def test_the_country_of_an_id_is_not_told_by_why_it_is_denied(reason: Reason, source: str) -> None:
    """A deny rule on Japanese users would say of each id that a caller makes up whether it is one of theirs."""
    told = render_problem(an_outcome(reason, DENIED, source), reason, (), tell_rule=False)
    assert told == render_problem(an_outcome(reason, None, source), Reason.NO_RULE_ALLOWS, (), tell_rule=False)
    openly = render_problem(an_outcome(reason, DENIED, source), reason, (), tell_rule=True)
    assert json.loads(openly[2])["reason"] == reason, "an operator may choose to tell callers the rule"


def test_whose_data_it_is_by_the_callers_own_word_tells_why() -> None:
    _, _, body = render_problem(an_outcome(Reason.RULE_DENIES, DENIED), Reason.RULE_DENIES, (), tell_rule=False)
    assert json.loads(body)["reason"] == "rule-denies"
