# SPDX-License-Identifier: Apache-2.0
"""What is counted of requests: each outcome once, in every counter that is about it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy import counting
from proxy.clock import unix_seconds
from proxy.model.caller import UNAUTHENTICATED, Caller
from proxy.model.decision import AppliedRule, Certainty, Decision, Effect, Reason, Shadow
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Fact, FactSet, describe
from proxy.model.filtering import DROPPED, LEFT, MASKED, RecordCount
from proxy.model.origin import Origin
from proxy.model.subject import NO_SUBJECT, Subject
from proxy.telemetry import Metrics, decisions
from tests.support.outcomes import ALLOWED, DENIED, ROUTE, a_decision, an_outcome
from tests.support.series import series


def counted(metrics: Metrics) -> dict[str, float]:
    """Return every series of the outcome's counters that is not zero, as ``name{values}``."""
    return {
        f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.value
    }


# Each outcome is counted once, in every counter that is about it.

OUTCOMES = [
    pytest.param(
        {"decision": ALLOWED, "effect": Effect.ALLOW, "reason": Reason.RULE_ALLOWS, "status": 200},
        {
            "decisions_total{allow,staff,user}",
            "rules_applied_total{staff}",
            "cross_border_requests_total{shanghai-digital,JP,JP}",
        },
        id="an answer that is released",
    ),
    pytest.param(
        {"decision": DENIED},
        {
            "decisions_total{deny,jp-no-china,user}",
            "rules_applied_total{jp-no-china}",
            "denials_total{shanghai-digital,JP,JP}",
            "denials_tied_total{CN,shanghai-digital,JP}",
            "denials_tied_total{JP,shanghai-digital,JP}",
            "refusals_total{403,rule-denies}",
        },
        id="a denial by a rule",
    ),
    pytest.param(
        {"decision": a_decision(Effect.DENY, None), "reason": Reason.NO_RULE_ALLOWS, "caller": UNAUTHENTICATED},
        {
            "decisions_total{deny,default,user}",
            "denials_total{not applicable,JP,JP}",
            "refusals_total{403,no-rule-allows}",
        },
        id="a denial for want of a rule, of nobody in particular",
    ),
    pytest.param(
        {"decision": DENIED, "enforced": False},
        {
            "decisions_total{deny,jp-no-china,user}",
            "rules_applied_total{jp-no-china}",
            "denials_total{shanghai-digital,JP,JP}",
            "denials_tied_total{CN,shanghai-digital,JP}",
            "denials_tied_total{JP,shanghai-digital,JP}",
            "observed_refusals_total{403,rule-denies}",
        },
        id="a denial that was only observed",
    ),
    pytest.param(
        {"reason": Reason.TOKEN_EXPIRED, "status": 401, "route": None},
        {"refusals_total{401,token-expired}"},
        id="a refusal before a decision",
    ),
    pytest.param(
        {"reason": Reason.ROUTE_UNDECLARED, "status": 404, "route": None, "shape": "/v1/*"},
        {"refusals_total{404,route-undeclared}", "undeclared_requests_total{GET,/v1/*}"},
        id="a route that nobody declared",
    ),
    pytest.param(
        {"reason": Reason.ROUTE_UNDECLARED, "status": 404, "route": None, "shape": "/v1/*", "enforced": False},
        {"observed_refusals_total{404,route-undeclared}", "undeclared_requests_total{GET,/v1/*}"},
        id="a route that nobody declared, only observed",
    ),
    pytest.param(
        {"decision": ALLOWED, "effect": Effect.ALLOW, "reason": Reason.UPSTREAM_TIMEOUT, "status": 504},
        {
            "decisions_total{allow,staff,user}",
            "rules_applied_total{staff}",
            "cross_border_requests_total{shanghai-digital,JP,JP}",
            "refusals_total{504,upstream-timeout}",
            "upstream_failures_total{users,upstream-timeout}",
        },
        id="what was allowed, and the API was silent",
    ),
    pytest.param(
        {"decision": ALLOWED, "reason": Reason.ANSWER_SHAPE_UNDECLARED, "status": 502},
        {
            "decisions_total{allow,staff,user}",
            "rules_applied_total{staff}",
            "cross_border_requests_total{shanghai-digital,JP,JP}",
            "refusals_total{502,answer-shape-undeclared}",
            "upstream_failures_total{users,answer-shape-undeclared}",
        },
        id="what was allowed, and the API answered what it does not declare",
    ),
    pytest.param(
        {"reason": Reason.ANSWER_SHAPE_UNDECLARED, "status": 502, "enforced": False},
        {"observed_refusals_total{502,answer-shape-undeclared}"},
        id="an answer that is not as declared, only observed",
    ),
    pytest.param(
        {"reason": Reason.UPSTREAM_BROKEN, "status": 502, "route": None},
        {"refusals_total{502,upstream-broken}", "upstream_failures_total{other,upstream-broken}"},
        id="an API that breaks off on a route that nobody declared",
    ),
    pytest.param(
        {"decision": DENIED, "reason": Reason.LEDGER_UNAVAILABLE, "status": 503},
        {
            "decisions_total{deny,jp-no-china,user}",
            "rules_applied_total{jp-no-china}",
            "denials_total{shanghai-digital,JP,JP}",
            "denials_tied_total{CN,shanghai-digital,JP}",
            "denials_tied_total{JP,shanghai-digital,JP}",
            "refusals_total{503,ledger-unavailable}",
        },
        id="what was denied, and could not be recorded",
    ),
    pytest.param(
        {"decision": DENIED, "caller": Caller(), "origin": Origin(), "subject": NO_SUBJECT, "route": None},
        {
            "decisions_total{deny,jp-no-china,other}",
            "rules_applied_total{jp-no-china}",
            "denials_total{unknown,unknown,not applicable}",
            "denials_tied_total{unknown,unknown,not applicable}",
            "refusals_total{403,rule-denies}",
        },
        id="a denial of somebody of whom nothing is known",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), OUTCOMES)
def test_an_outcome_is_counted_exactly_once_in_what_is_about_it(changes: dict[str, Any], expected: set[str]) -> None:
    metrics = Metrics()
    metrics.count_outcome(an_outcome(**changes))
    assert counted(metrics) == dict.fromkeys((f"sekisho_{name}" for name in expected), 1)


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("enforced", [True, False], ids=["enforced", "observed"])
def test_of_refusals_and_observed_refusals_one_is_counted_for(reason: Reason, enforced: bool) -> None:  # noqa: FBT001
    metrics = Metrics()
    metrics.count_outcome(an_outcome(reason=reason, enforced=enforced, status=403))
    expected = "" if reason is Reason.RULE_ALLOWS else f"sekisho_{'' if enforced else 'observed_'}refusals_total"
    names = [name.partition("{")[0] for name in counted(metrics)]
    assert [name for name in names if name.endswith("refusals_total")] == [expected] * bool(expected)


def test_an_answer_that_is_cut_is_counted_of_its_api_where_that_is_to_blame() -> None:
    metrics = Metrics()
    metrics.count_cut(ROUTE, Reason.UPSTREAM_BROKEN)
    metrics.count_cut(ROUTE, Reason.CLIENT_GONE)
    metrics.count_cut(None, Reason.ANSWER_MALFORMED)
    assert counted(metrics) == {
        "sekisho_answers_cut_total{upstream-broken}": 1,
        "sekisho_answers_cut_total{client-gone}": 1,
        "sekisho_answers_cut_total{answer-malformed}": 1,
        "sekisho_upstream_failures_total{users,upstream-broken}": 1,
        "sekisho_upstream_failures_total{other,answer-malformed}": 1,
    }


def test_a_method_that_is_none_of_ours_is_counted_as_other() -> None:
    metrics = Metrics()
    metrics.count_outcome(an_outcome(method="BREW", shape="/*", reason=Reason.RULE_ALLOWS))
    assert counted(metrics) == {"sekisho_undeclared_requests_total{other,/*}": 1}


def test_facts_without_a_value_are_labels_of_their_own() -> None:
    metrics = Metrics()
    caller = Caller(affiliate=ABSENT, countries=UNKNOWN)
    metrics.count_outcome(an_outcome(decision=DENIED, caller=caller, subject=NO_SUBJECT))
    assert "sekisho_denials_total{absent,JP,not applicable}" in counted(metrics)


@pytest.mark.parametrize(
    ("status", "effect"),
    [
        pytest.param(400, "deny", id="who searches by what may not be searched by has tried"),
        pytest.param(403, "deny", id="who claims another country has tried"),
        pytest.param(502, "allow", id="what an API cannot answer is nobody's attempt"),
        pytest.param(503, "allow", id="what we cannot record is nobody's attempt"),
    ],
)
def test_a_request_that_a_rule_allows_and_that_is_refused_is_counted_by_who_is_at_fault(
    status: int, effect: str
) -> None:
    metrics = Metrics()
    metrics.count_outcome(an_outcome(decision=ALLOWED, effect=Effect.DENY, status=status))
    assert series(metrics.registry, "sekisho_decisions_total") == {(effect, "staff", "user"): 1}
    assert bool(series(metrics.registry, "sekisho_denials_total")) is (effect == "deny")


# Which rules, and what was unknown.


def test_each_rule_that_applied_is_counted_and_each_fact_that_was_unknown() -> None:
    first = AppliedRule("jp-no-china", Effect.DENY, Certainty.BY_UNKNOWN, "One", ("caller.countries",))
    other = AppliedRule("tw-no-cn", Effect.DENY, Certainty.BY_UNKNOWN, "Other", ("origin.country",))
    watched = AppliedRule("jp-stricter", Effect.DENY, Certainty.MATCHED, "Watched")
    shadow = Shadow((watched,), Effect.DENY, changes=False)
    unknown = ("caller.countries", "origin.country")
    decision = Decision(Effect.DENY, Reason.RULE_DENIES, first, (first, other), unknown, shadow=shadow)
    metrics = Metrics()
    metrics.count_outcome(an_outcome(decision=decision))
    metrics.count_outcome(an_outcome(decision=DENIED))
    assert series(metrics.registry, "sekisho_rules_applied_total") == {
        ("jp-no-china",): 2,
        ("tw-no-cn",): 1,
        ("jp-stricter",): 1,
    }
    assert series(metrics.registry, "sekisho_unknown_facts_total") == {
        ("caller.countries", "deny"): 1,
        ("origin.country", "deny"): 1,
    }
    assert not series(metrics.registry, "sekisho_shadow_decisions_total")


# What crosses a border.

CROSSINGS = [
    pytest.param("JP", "JP", "JP", False, id="at home, of an affiliate at home"),
    pytest.param("SG", "JP", "JP", True, id="from abroad"),
    pytest.param("JP", "KR", "JP", True, id="at home, of an affiliate abroad"),
    pytest.param("KR", "KR", "JP", True, id="from abroad, of an affiliate there"),
    pytest.param(UNKNOWN, "JP", "JP", True, id="from nobody knows where"),
    pytest.param("JP", UNKNOWN, "JP", True, id="of nobody knows which affiliate"),
    pytest.param("JP", ABSENT, "JP", False, id="at home, of no affiliate"),
    pytest.param("JP", NOT_APPLICABLE, "JP", False, id="at home, nobody in particular"),
    pytest.param("SG", NOT_APPLICABLE, "JP", True, id="from abroad, nobody in particular"),
    pytest.param("SG", "KR", UNKNOWN, False, id="of a subject of nobody knows where"),
    pytest.param("SG", "KR", NOT_APPLICABLE, False, id="no personal data"),
]


@pytest.mark.parametrize(("origin", "affiliate", "subject", "crosses"), CROSSINGS)
def test_an_allowed_request_for_data_of_another_country_crosses_a_border(
    origin: Fact[str],
    affiliate: Fact[str],
    subject: Fact[str],
    crosses: bool,  # noqa: FBT001
) -> None:
    metrics = Metrics()
    caller = Caller(affiliate="ly", affiliate_country=affiliate)
    where = {"caller": caller, "origin": Origin(country=origin), "subject": Subject(country=subject)}
    metrics.count_outcome(an_outcome(decision=DENIED, **where))
    assert series(metrics.registry, "sekisho_cross_border_requests_total") == {}
    outcome = an_outcome(decision=ALLOWED, effect=Effect.ALLOW, reason=Reason.RULE_ALLOWS, status=200, **where)
    metrics.count_outcome(outcome)
    shown = ("ly", describe(origin), describe(subject))
    assert series(metrics.registry, "sekisho_cross_border_requests_total") == ({shown: 1} if crosses else {})


def test_records_that_left_cross_a_border_by_the_country_of_their_subject() -> None:
    metrics = Metrics()
    caller = Caller(affiliate="ly", affiliate_country="JP")
    counts = [
        RecordCount(what, "staff", country, count)
        for what, country, count in (
            (LEFT, "JP", 7), (LEFT, "TW", 5), (MASKED, "TW", 2), (DROPPED, "TH", 9), (LEFT, "unknown", 3),
            (LEFT, "several", 1),
        )
    ]  # fmt: skip
    metrics.count_records(an_outcome(caller=caller, subject=Subject()), counts)
    assert series(metrics.registry, "sekisho_cross_border_records_total") == {
        ("ly", "JP", "TW"): 7,
        ("ly", "JP", "several"): 1,
    }
    assert series(metrics.registry, "sekisho_records_denied_total") == {("ly", "JP", "TH"): 9}


DROPPERS = [
    pytest.param(
        FactSet(frozenset({"CN", "JP"})), {("CN", "ly", "TH"): 9, ("JP", "ly", "TH"): 9}, id="tied to two countries"
    ),
    pytest.param(
        FactSet(frozenset({"CN"}), is_open=True),
        {("CN", "ly", "TH"): 9, ("unknown", "ly", "TH"): 9},
        id="tied to one, and nobody knows to which others",
    ),
    pytest.param(UNKNOWN, {("unknown", "ly", "TH"): 9}, id="nobody knows to which"),
    pytest.param(FactSet(frozenset()), {}, id="tied to none"),
    pytest.param(NOT_APPLICABLE, {}, id="nobody in particular"),
]


@pytest.mark.parametrize(("countries", "expected"), DROPPERS)
def test_records_that_were_dropped_and_no_others_are_counted_by_what_the_caller_is_tied_to(
    countries: Fact[FactSet], expected: dict[tuple[str, ...], float]
) -> None:
    metrics = Metrics()
    counts = [
        RecordCount(what, "staff", country, 9) for what, country in ((LEFT, "JP"), (MASKED, "TW"), (DROPPED, "TH"))
    ]
    metrics.count_records(an_outcome(caller=Caller(affiliate="ly", countries=countries)), counts)
    assert series(metrics.registry, "sekisho_records_denied_tied_total") == expected


# Who tries one thing after the other.


def most(metrics: Metrics) -> tuple[dict[tuple[str, ...], float], dict[tuple[str, ...], float]]:
    routes, subjects = "sekisho_denied_routes_most", "sekisho_denied_subjects_most"
    return series(metrics.registry, routes), series(metrics.registry, subjects)


def tried(metrics: Metrics, caller: Caller, subject: str = "", **changes: Any) -> None:
    """Count a denial of this moment."""
    whose = Subject(country="JP", id=subject) if subject else NO_SUBJECT
    metrics.count_outcome(an_outcome(decision=DENIED, caller=caller, subject=whose, now=unix_seconds(), **changes))


def test_each_of_those_whom_one_denied_request_names_is_counted() -> None:
    metrics, caller = Metrics(), Caller(principal="idp|a", affiliate="ly")
    named = tuple(Subject(country=country, id=str(number)) for number in range(30) for country in ("JP", "KR"))
    tried(metrics, caller, subjects=(*named, Subject()))
    tried(metrics, caller, subjects=named[:20])
    tried(metrics, caller, "7", subjects=named[14:16])
    assert most(metrics)[1] == {("ly",): 30}
    tried(metrics, caller, subjects=tuple(Subject(country="JP", id=f"more-{number}") for number in range(1000)))
    assert most(metrics)[1] == {("ly",): 256}


def test_the_routes_and_people_that_one_caller_is_denied_are_told_apart() -> None:
    metrics, caller = Metrics(), Caller(principal="idp|a", affiliate="ly")
    albums = replace(ROUTE, api=replace(ROUTE.api, id="albums"))
    for route, subject in (
        (ROUTE, "1"),
        (ROUTE, "2"),
        (ROUTE, "2"),
        (replace(ROUTE, id="friends"), "1"),
        (albums, "1"),
    ):
        tried(metrics, caller, subject, route=route)
    assert most(metrics) == ({("ly",): 2}, {("ly",): 3})


def test_shapes_of_undeclared_targets_are_routes_to_whoever_tries_them() -> None:
    metrics = Metrics()
    for shape in ("/v1/*", "/v2/*"):
        tried(metrics, Caller(principal="idp|a", affiliate=UNKNOWN), route=None, shape=shape)
    assert most(metrics) == ({("unknown",): 2}, {("unknown",): 0})


def test_of_nobody_in_particular_and_of_whoever_is_allowed_nothing_is_remembered() -> None:
    metrics = Metrics()
    tried(metrics, UNAUTHENTICATED, "1")
    caller = Caller(principal="idp|a", affiliate="ly")
    for status, reason in ((200, Reason.RULE_ALLOWS), (502, Reason.UPSTREAM_UNREACHABLE)):
        metrics.count_outcome(
            an_outcome(decision=ALLOWED, effect=Effect.ALLOW, reason=reason, status=status, caller=caller)
        )
    assert metrics.attempts.tell() == ()


# What is alike is counted together, and nobody sees that.


@given(st.lists(st.integers(0, len(OUTCOMES) - 1), max_size=60), st.integers(1, 8))
def test_requests_that_are_counted_together_come_to_what_they_come_to_one_by_one(order: list[int], kinds: int) -> None:
    together, one_by_one = Metrics(), Metrics()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decisions, "MAX_KINDS", kinds)
        for number in order:
            changes: Any = OUTCOMES[number].values[0]
            outcome = an_outcome(**changes)
            together.count_outcome(outcome)
            one_by_one.count_outcome(outcome)
            counted(one_by_one)
    assert counted(together) == counted(one_by_one)


def test_what_waits_to_be_told_apart_is_bounded() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.count_outcome(an_outcome(shape=f"/{number}", route=None))
        assert len(metrics._kinds) <= decisions.MAX_KINDS
    assert sum(series(metrics.registry, "sekisho_undeclared_requests_total").values()) == 1000


def test_what_finds_no_room_is_told_to_whoever_asks_first() -> None:
    metrics = Metrics()
    for number in range(counting.MAX_CHILDREN + 1):
        metrics.undeclared.begin("GET", f"/{number}")
    metrics.count_outcome(an_outcome(shape="/one-more", route=None))
    assert series(metrics.registry, "sekisho_labels_folded_total")["sekisho_undeclared_requests_total",] == 1


def test_two_callers_whose_answers_lose_every_record_are_two_callers() -> None:
    metrics = Metrics()
    allowed = {"decision": DENIED, "effect": Effect.ALLOW, "reason": Reason.RULE_ALLOWS, "status": 200}
    for who in ("idp|a", "idp|b"):
        metrics.count_outcome(an_outcome(caller=Caller(principal=who, affiliate="ly"), now=unix_seconds(), **allowed))
    assert len(metrics.attempts.tell()) == 2
