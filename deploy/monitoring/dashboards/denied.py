# SPDX-License-Identifier: Apache-2.0
"""Denied attempts: who was denied, tied to which country, from where, whose data, by which rule."""

from typing import Final

from deploy.monitoring.alerts.denials import MANY_ROUTES, MANY_SUBJECTS, MANY_SUBJECTS_ANYBODY
from deploy.monitoring.dashboards.board import Board, Row
from deploy.monitoring.dashboards.panels import (
    AMBER,
    BAR,
    GREEN,
    HERE,
    RANGE,
    RED,
    SOME,
    WHO,
    Query,
    bars,
    count,
    lines,
    listing,
    matrix,
    or_none,
    ranking,
    tile,
)

_PAGE: Final = "denied-attempts"
_DENIALS: Final = "sekisho_denials_total"
_TIED: Final = "sekisho_denials_tied_total"
_DROPPED_TIED: Final = "sekisho_records_denied_tied_total"
_DENIED: Final = f'{HERE}, effect="deny"'
_MOST_ROUTES: Final = ((None, GREEN), (MANY_ROUTES, RED))
_MOST_SUBJECTS: Final = ((None, GREEN), (MANY_SUBJECTS, AMBER), (MANY_SUBJECTS_ANYBODY, RED))
"""The colours change where the alerts are told."""

_SUMMARY: Final = Row(
    "In this range",
    (
        tile(
            "Denied requests",
            "Requests that the policy denied in this range. Who it was stands in the ledger: see the runbook.",
            or_none(count(_DENIALS, RANGE, where=WHO)),
            runbook="denied-attempts",
        ),
        tile(
            "Dropped records",
            "Records that were dropped from answers because their subjects' data may not be read by whoever asked. The "
            "answers themselves were given.",
            or_none(count("sekisho_records_denied_total", RANGE, where=WHO)),
            steps=((None, GREEN), (1, AMBER)),
        ),
        tile(
            "Affiliates denied",
            "How many affiliates have callers who were denied. More than usual: a rule has changed, or a token field.",
            or_none(f"count({count(_DENIALS, RANGE, 'caller_affiliate', where=WHO)} > 0)"),
        ),
        tile(
            "Passed although denied",
            "Requests that observe mode let through and that will be refused under enforcement. Not 0: the policy is "
            "not enforced, see the dashboard Policy life.",
            or_none(count("sekisho_observed_refusals_total", RANGE)),
            runbook="observe-mode",
        ),
        tile(
            "Most routes denied to one caller",
            "Of all callers, the most distinct routes that one of them was denied within the last hour; what no route "
            "declares counts by its shape. Many: somebody tries doors.",
            or_none(f"max(sekisho_denied_routes_most{{{WHO}}})"),
            steps=_MOST_ROUTES,
            runbook="probing",
        ),
        tile(
            "Most data subjects denied to one caller",
            "Of all callers, the most data subjects that one of them was denied within the last hour. Many: somebody "
            "goes through people, or a program does.",
            or_none(f"max(sekisho_denied_subjects_most{{{WHO}}})"),
            steps=_MOST_SUBJECTS,
            runbook="probing",
        ),
    ),
)

_WHO: Final = Row(
    "Who",
    (
        bars(
            "Denied attempts by affiliate",
            "Each bar counts the requests that the policy denied since the bar before it, by the caller's "
            "employer. For the people behind a bar ask the ledger for its time.",
            Query(count(_DENIALS, BAR, "caller_affiliate", where=WHO), "{{caller_affiliate}}"),
            runbook=_PAGE,
        ),
        bars(
            "Denied attempts by country the caller is tied to",
            "As the bundle's ties say: employer, residence, who controls the employer. A caller who is tied to "
            "several countries is in each of them; unknown: there may be others.",
            Query(
                count(_TIED, BAR, "tied_country", where=WHO),
                "{{tied_country}}",
            ),
            runbook=_PAGE,
        ),
        ranking(
            "Tied to which country",
            "Denied requests in this range, by country the caller is tied to.",
            Query(count(_TIED, RANGE, "tied_country", where=WHO) + SOME, "{{tied_country}}"),
        ),
        ranking(
            "Records dropped, by affiliate",
            "Records that were dropped from answers in this range, by the employer of whoever asked.",
            Query(
                count("sekisho_records_denied_total", RANGE, "caller_affiliate", where=WHO) + SOME,
                "{{caller_affiliate}}",
            ),
        ),
        lines(
            "Probing, by affiliate",
            "The most distinct routes, and the most data subjects, that one caller of an affiliate was denied within "
            "the hour before. One who climbs is one person or one program; who it is stands in the ledger.",
            Query(f"max by (caller_affiliate) (sekisho_denied_routes_most{{{WHO}}})", "{{caller_affiliate}}, routes"),
            Query(
                f"max by (caller_affiliate) (sekisho_denied_subjects_most{{{WHO}}})", "{{caller_affiliate}}, subjects"
            ),
            runbook="probing",
        ),
    ),
)

_WHAT: Final = Row(
    "From where, whose data, which rule",
    (
        bars(
            "Denied attempts by country they came from",
            "Where the request came from: our own networks as declared, elsewhere the geolocation database. unknown: "
            "neither can tell.",
            Query(count(_DENIALS, BAR, "origin_country", where=WHO), "{{origin_country}}"),
            width=8,
        ),
        bars(
            "Denied attempts by data subject's country",
            "Whose data it was. unknown: it could not be told, and deny rules that ask for it applied.",
            Query(count(_DENIALS, BAR, "subject_country", where=WHO), "{{subject_country}}"),
            width=8,
        ),
        bars(
            "Denied attempts by rule",
            "The rule that denied; default: no rule allowed it. All affiliates together: a rule's count knows none.",
            Query(count("sekisho_decisions_total", BAR, "rule", where=_DENIED), "{{rule}}"),
            width=8,
        ),
        matrix(
            "Affiliates and data subjects' countries",
            "Denied requests in this range: down the side who asked, along the top whose data. The redder the more.",
            count(_DENIALS, RANGE, "caller_affiliate", "subject_country", where=WHO) + SOME,
            rows="caller_affiliate",
            columns="subject_country",
            heading="Affiliate",
        ),
        matrix(
            "Rules and routes",
            "Denied requests in this range: down the side the rule, along the top the route. A new cell after a bundle "
            "change is what the change did.",
            count("sekisho_decisions_total", RANGE, "rule", "route", where=_DENIED) + SOME,
            rows="rule",
            columns="route",
            heading="Rule",
        ),
    ),
)

_LAST_HOUR: Final = Row(
    "The last hour",
    (
        listing(
            "The last hour: from where, whose data",
            "Denied requests of the last hour, whatever range is chosen above. For each of them the ledger has a line.",
            Query(
                count(_DENIALS, "1h", "caller_affiliate", "origin_country", "subject_country", where=WHO) + SOME,
                "Denied",
            ),
            columns={"caller_affiliate": "Affiliate", "origin_country": "From", "subject_country": "Data of"},
            runbook=_PAGE,
        ),
        listing(
            "The last hour: tied to which country",
            "Denied requests of the last hour by country the caller is tied to: what the alerts are about.",
            Query(
                count(_TIED, "1h", "tied_country", "caller_affiliate", "subject_country", where=WHO) + SOME,
                "Denied",
            ),
            columns={"tied_country": "Tied to", "caller_affiliate": "Affiliate", "subject_country": "Data of"},
            runbook=_PAGE,
        ),
        listing(
            "The last hour: records dropped",
            "Records that were dropped from answers within the last hour, by country the caller is tied to. What else "
            "those answers held was given, so they are no denied requests.",
            Query(
                count(_DROPPED_TIED, "1h", "tied_country", "caller_affiliate", "subject_country", where=WHO) + SOME,
                "Dropped",
            ),
            columns={"tied_country": "Tied to", "caller_affiliate": "Affiliate", "subject_country": "Data of"},
            width=24,
            runbook="dropped-records",
        ),
        listing(
            "What no route declares",
            "Requests in this range to targets that no route declares, and that were refused for it: all but declared "
            "words is *. A feature that nobody declared, or somebody who tries doors.",
            Query(count("sekisho_undeclared_requests_total", RANGE, "method", "shape") + SOME, "Refused"),
            columns={"method": "Method", "shape": "Shape"},
            width=24,
        ),
    ),
)

BOARD: Final = Board(
    "sekisho-denied",
    "Sekisho: denied attempts",
    "Who was denied, tied to which country, from where, whose data, by which rule. People stand in the ledger alone.",
    (_SUMMARY, _WHO, _WHAT, _LAST_HOUR),
    affiliates="sekisho_denials_total",
)
