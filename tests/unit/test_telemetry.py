# SPDX-License-Identifier: Apache-2.0
"""Metrics: bounded whatever arrives, named as Prometheus asks, and each outcome counted once."""

import re
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from proxy.counting import Counted, PlainHistogram
from proxy.model.api import Action, Api, Route, Upstream
from proxy.model.caller import UNAUTHENTICATED, Caller
from proxy.model.decision import AppliedRule, Certainty, Decision, Effect, Reason
from proxy.model.facts import ABSENT, EMPTY_SET, UNKNOWN, FactSet
from proxy.model.origin import DatabaseInfo, Origin
from proxy.model.outcome import Outcome
from proxy.model.subject import NO_SUBJECT, Subject
from proxy.telemetry import Metrics
from tests.support.series import series

API = Api("users", (), Upstream("http://127.0.0.1:9000", None), forwards_authorization=False)
ROUTE = Route(
    api=API,
    id="user",
    methods=("GET",),
    segments=(),
    action=Action.READ,
    subject=None,
    data=EMPTY_SET,
    unauthenticated=False,
    max_duration_seconds=60,
)
CALLER = Caller(affiliate="shanghai-digital", countries=FactSet(frozenset({"CN", "JP"})))


def a_decision(effect: Effect, rule: str | None) -> Decision:
    applied = AppliedRule(rule, effect, Certainty.MATCHED, "A title") if rule else None
    reason = Reason.RULE_ALLOWS if effect is Effect.ALLOW else Reason.RULE_DENIES if rule else Reason.NO_RULE_ALLOWS
    return Decision(effect, reason, applied, (applied,) if applied else (), ())


ALLOWED, DENIED = a_decision(Effect.ALLOW, "staff"), a_decision(Effect.DENY, "jp-no-china")


def an_outcome(**changes: Any) -> Outcome:
    return Outcome(
        **{
            "request_id": "0" * 26,
            "now": 0.0,
            "method": "GET",
            "route": ROUTE,
            "shape": "",
            "caller": CALLER,
            "origin": Origin(country="JP"),
            "subject": Subject(country="JP", id="42"),
            "purpose": ABSENT,
            "decision": None,
            "effect": Effect.DENY,
            "reason": Reason.RULE_DENIES,
            "enforced": True,
            "status": 403,
            **changes,
        }
    )


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
        {"decisions_total{allow,staff,user}"},
        id="an answer that is released",
    ),
    pytest.param(
        {"decision": DENIED},
        {
            "decisions_total{deny,jp-no-china,user}",
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
        {"decisions_total{allow,staff,user}", "refusals_total{504,upstream-timeout}"},
        id="what was allowed, and the API was silent",
    ),
    pytest.param(
        {"decision": DENIED, "reason": Reason.LEDGER_UNAVAILABLE, "status": 503},
        {
            "decisions_total{deny,jp-no-china,user}",
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
    assert [name.partition("{")[0] for name in counted(metrics)] == [expected] * bool(expected)


def test_a_method_that_is_none_of_ours_is_counted_as_other() -> None:
    metrics = Metrics()
    metrics.count_outcome(an_outcome(method="BREW", shape="/*", reason=Reason.RULE_ALLOWS))
    assert counted(metrics) == {"sekisho_undeclared_requests_total{other,/*}": 1}


# Children are bounded.


def test_the_counters_of_metrics_are_all_bounded() -> None:
    metrics = Metrics()
    for number in range(2100):
        metrics.undeclared.count("GET", f"/{number}")
        metrics.refusals.count(str(number), "reason")
    names = ("sekisho_undeclared_requests_total", "sekisho_refusals_total")
    assert [len(series(metrics.registry, name)) for name in names] == [2001, 2001]
    folded = {
        labels: value for labels, value in series(metrics.registry, "sekisho_labels_folded_total").items() if value
    }
    assert folded == {(name,): 100.0 for name in names}


# Names.

BASE_UNITS = ("seconds", "bytes", "ratio", "info", "total")


def families() -> list[Metric]:
    return list(Metrics().registry.collect())


@pytest.mark.parametrize("family", [pytest.param(family, id=family.name) for family in families()])
def test_a_metric_is_named_and_explained_as_prometheus_asks(family: Metric) -> None:
    assert re.fullmatch(r"sekisho(_[a-z]+)+", family.name)
    assert not re.search(r"_(ms|millis|milliseconds|micros|minutes|hours|kb|mb|count|sum|bucket|total)$", family.name)
    assert re.fullmatch(r"[A-Z0-9].+\.", family.documentation)
    assert family.type in {"counter", "gauge", "histogram"}


def collectors() -> dict[str, tuple[str, ...]]:
    """Return the labels of every metric, by its name."""
    parts = vars(Metrics()).values()
    named = [(part.name, part.labels) for part in parts if isinstance(part, Counted)]
    return dict(named + [(part._name, part._labelnames) for part in parts if isinstance(part, MetricWrapperBase)])


@pytest.mark.parametrize("name", collectors())
def test_a_metric_has_at_most_three_labels_of_plain_words(name: str) -> None:
    labels = collectors()[name]
    assert len(labels) <= 3
    assert [label for label in labels if not re.fullmatch(r"[a-z]+(_[a-z]+)*", label) or label in {"le", "job"}] == []


def test_every_metric_is_registered_once_and_reachable() -> None:
    assert sorted(collectors()) == sorted(family.name for family in families())


def test_buckets_rise() -> None:
    for part in vars(Metrics()).values():
        if isinstance(part, PlainHistogram):
            assert list(part.bounds) == sorted(set(part.bounds))


def test_two_metrics_stand_alone_unless_they_are_given_one_registry() -> None:
    Metrics()
    registry = Metrics().registry
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(registry)


def test_no_default_metric_of_the_process_is_shared_with_others() -> None:
    assert all(family.name.startswith("sekisho_") for family in families())


def test_facts_without_a_value_are_labels_of_their_own() -> None:
    metrics = Metrics()
    caller = Caller(affiliate=ABSENT, countries=UNKNOWN)
    metrics.count_outcome(an_outcome(decision=DENIED, caller=caller, subject=NO_SUBJECT))
    assert "sekisho_denials_total{absent,JP,not applicable}" in counted(metrics)


def test_lessons_3_17_databases_are_shown_with_digest_age_and_whether_they_are_believed() -> None:
    metrics = Metrics()
    old = DatabaseInfo("country", "GeoLite2-Country", 100.0, "sha256:a", 200.0)
    new = DatabaseInfo("country", "GeoLite2-Country", 290.0, "sha256:b", 400.0)
    sample = metrics.registry.get_sample_value

    for database, age, expired in ((old, 200.0, 1.0), (new, 10.0, 0.0)):
        metrics.show_geolocation([database], lambda: 300.0)
        assert sample("sekisho_geolocation_age_seconds", {"database": "country"}) == age
        assert sample("sekisho_geolocation_expired", {"database": "country"}) == expired
        assert sample("sekisho_geolocation_build_timestamp_seconds", {"database": "country"}) == database.built

    shown = {"database": "country", "type": "GeoLite2-Country"}
    assert sample("sekisho_geolocation_info", {**shown, "digest": "sha256:a"}) is None
    assert sample("sekisho_geolocation_info", {**shown, "digest": "sha256:b"}) == 1.0


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
