# SPDX-License-Identifier: Apache-2.0
"""Cross-border access: what was allowed although the data subject's country is not where it was read, or by whom."""

from typing import Final

from deploy.monitoring.dashboards.board import Board, Row
from deploy.monitoring.dashboards.panels import (
    BAR,
    HERE,
    PLAIN,
    RANGE,
    SOME,
    WHO,
    Query,
    bars,
    count,
    lines,
    listing,
    matrix,
    or_none,
    tile,
)
from deploy.monitoring.promql import events, total

_REQUESTS: Final = "sekisho_cross_border_requests_total"
_RECORDS: Final = "sekisho_cross_border_records_total"
_BY: Final = ("caller_affiliate", "origin_country", "subject_country")
_COLUMNS: Final = {"caller_affiliate": "Affiliate", "origin_country": "Read from", "subject_country": "Data of"}
_ALLOWED: Final = f'{HERE}, effect="allow"'


def _share(window: str) -> str:
    """Return the share of allowed requests that crossed a border, all affiliates together."""
    return f"{count(_REQUESTS, window)} / {count('sekisho_decisions_total', window, where=_ALLOWED)}"


def _hourly(counter: str, ago: str = "") -> str:
    return total(events(counter, "1h", WHO, ago))


_SUMMARY: Final = Row(
    "In this range",
    (
        tile(
            "Allowed across borders",
            "Allowed requests for data of a subject whose country is not the one the request comes from, or not the "
            "one of the caller's employer. Each is a line of the ledger: sekisho ledger query LEDGER --effect allow "
            "--format csv lists them.",
            or_none(count(_REQUESTS, RANGE, where=WHO)),
            steps=PLAIN,
            width=6,
            runbook="cross-border-rising",
        ),
        tile(
            "Records that crossed",
            "Records that left in answers that were looked into, likewise. An answer that is not looked into counts "
            "as a request alone.",
            or_none(count(_RECORDS, RANGE, where=WHO)),
            steps=PLAIN,
            width=6,
            runbook="cross-border-rising",
        ),
        tile(
            "Share of allowed requests",
            "Of all requests that were allowed, how many crossed a border; all affiliates together. A rise without a "
            "reason that you know: somebody moved, or an allow rule is wider than it was.",
            _share(RANGE),
            steps=PLAIN,
            unit="percentunit",
            no_value="none allowed",
            width=6,
        ),
        tile(
            "Grants used",
            "Decisions that a grant changed: somebody was let through for a time, with a reason. Each is to be "
            "reviewed.",
            or_none(count("sekisho_grants_used_total", RANGE)),
            steps=((None, "green"), (1, "orange")),
            width=6,
            runbook="grant-used",
        ),
    ),
)

_TREND: Final = Row(
    "Over time",
    (
        bars(
            "Allowed across borders, by affiliate",
            "Each bar counts requests since the bar before it. An affiliate that is new here began to read abroad.",
            Query(count(_REQUESTS, BAR, "caller_affiliate", where=WHO), "{{caller_affiliate}}"),
        ),
        bars(
            "Records that crossed, by affiliate",
            "Each bar counts records since the bar before it. Few requests and many records: lists or exports.",
            Query(count(_RECORDS, BAR, "caller_affiliate", where=WHO), "{{caller_affiliate}}"),
        ),
        lines(
            "Requests an hour, and a week before",
            "Allowed requests across borders within the hour before each point, and within the same hour of the week "
            "before. Apart for long: find out what has changed, in the policy or in who reads.",
            Query(_hourly(_REQUESTS), "now"),
            Query(_hourly(_REQUESTS, "1w"), "a week before"),
            width=8,
            runbook="cross-border-rising",
        ),
        lines(
            "Records an hour, and a week before",
            "Records that crossed a border within the hour before each point, and within the same hour of the week "
            "before.",
            Query(_hourly(_RECORDS), "now"),
            Query(_hourly(_RECORDS, "1w"), "a week before"),
            width=8,
            runbook="cross-border-rising",
        ),
        lines(
            "Share of allowed requests, hour by hour",
            "Of the requests that were allowed within the hour before each point, how many crossed a border.",
            Query(_share("1h"), "share"),
            unit="percentunit",
            width=8,
        ),
    ),
)

_WHERE: Final = Row(
    "From where to whose data",
    (
        matrix(
            "Requests: read from where, data of whom",
            "Down the side the country a request came from, along the top the data subject's. On the diagonal both "
            "are one country, and the caller's employer is in another.",
            count(_REQUESTS, RANGE, "origin_country", "subject_country", where=WHO) + SOME,
            rows="origin_country",
            columns="subject_country",
            heading="Read from",
        ),
        matrix(
            "Records: read from where, data of whom",
            "The same in records that left.",
            count(_RECORDS, RANGE, "origin_country", "subject_country", where=WHO) + SOME,
            rows="origin_country",
            columns="subject_country",
            heading="Read from",
        ),
        listing(
            "Who read what across borders",
            "Requests and records in this range. Both are counts: whose records they were stands in the ledger.",
            Query(count(_REQUESTS, RANGE, *_BY, where=WHO) + SOME, "Requests"),
            Query(count(_RECORDS, RANGE, *_BY, where=WHO) + SOME, "Records"),
            columns=_COLUMNS,
        ),
        bars(
            "Grants used, by grant and rule",
            "Each bar counts decisions in which a grant lifted a rule. A grant that nobody told you of: ask who "
            "approved it, they stand in its file.",
            Query(
                count("sekisho_grants_used_total", BAR, "grant", "rule"),
                "{{grant}} lifts {{rule}}",
            ),
            runbook="grant-used",
        ),
    ),
)

BOARD: Final = Board(
    "sekisho-cross-border",
    "Sekisho: cross-border access",
    "What was allowed although the data subject's country is not where it was read from, or not the caller's "
    "employer's.",
    (_SUMMARY, _TREND, _WHERE),
    affiliates=_REQUESTS,
)
