# SPDX-License-Identifier: Apache-2.0
"""Gateway health: whether gateways answer, how fast, and what they depend on."""

from typing import Final

from deploy.monitoring.dashboards import health_parts
from deploy.monitoring.dashboards.board import Board, Row
from deploy.monitoring.dashboards.panels import (
    BAR,
    GREEN,
    HERE,
    RED,
    Query,
    bars,
    count,
    lines,
    listing,
    states,
    tile,
)


def _quantile(metric: str, share: float) -> Query:
    """Return the question for a quantile of a histogram."""
    buckets = f"sum by (le) (rate({metric}_bucket{{{HERE}}}[$__rate_interval]))"
    return Query(f"histogram_quantile({share}, {buckets})", f"p{share * 100:g}")


_NOW: Final = Row(
    "Now",
    (
        tile(
            "Gateways down",
            "Gateways that do not answer Prometheus. None of the other panels knows anything of them meanwhile.",
            f"sum(1 - up{{{HERE}}})",
            runbook="down",
        ),
        tile(
            "Ledger cannot be written",
            "Times in this range that a gateway could not write its ledger. What cannot be recorded is not "
            "answered: callers got 503.",
            count("sekisho_ledger_failures_total", "$__range"),
            runbook="ledger-failing",
        ),
        tile(
            "Not in force as it lies there",
            "How many of policy folder, geolocation databases and TLS were changed and could not be put in force, "
            "over all gateways; the last good ones are. Which it is stands in the table below.",
            f"sum(sekisho_bundle_stale{{{HERE}}} + sekisho_geolocation_stale{{{HERE}}} + sekisho_tls_stale{{{HERE}}})",
        ),
        tile(
            "APIs that cannot be connected to",
            "APIs that some gateway takes for down: its callers get 502 at once.",
            f"count(max by (api) (sekisho_upstream_down{{{HERE}}}) == 1) or 0 * sum(up{{{HERE}}} == 1)",
            runbook="upstream-down",
        ),
        tile(
            "Lookups down",
            "Directories that do not tell whose data it is: whoever's decision hangs on it gets 503.",
            f"count(max by (lookup) (sekisho_lookup_down{{{HERE}}}) == 1) or 0 * sum(up{{{HERE}}} == 1)",
            runbook="lookup-down",
        ),
        tile(
            "APIs reached without the gateway",
            "APIs that the canary got through to, without a token. So can whoever is where it is. Of all "
            "canaries: they are no gateways, and are not chosen above.",
            "sum(sekisho_probe_reachable)",
            no_value="no canary",
            runbook="bypass",
        ),
    ),
)

_GATEWAYS: Final = Row(
    "Gateways",
    (
        states(
            "Gateways that answer",
            "A line for each gateway: whether Prometheus could ask it.",
            Query(f"up{{{HERE}}}", "{{instance}}"),
            {"1": ("answers", GREEN), "0": ("does not answer", RED)},
        ),
        listing(
            "Versions",
            "What each gateway runs. After an upgrade all show the same.",
            Query(f"sekisho_build_info{{{HERE}}}"),
            columns={"instance": "Gateway", "version": "Version", "python": "Python"},
        ),
        lines(
            "Workers that serve",
            "Processes of each gateway that serve callers. Fewer than it was started with: some end by themselves.",
            Query(f"sekisho_workers_serving{{{HERE}}}", "{{instance}}"),
            width=8,
        ),
        bars(
            "Workers that ended",
            "By how: told (a restart in order), by-itself, killed. But for told, their requests under way broke off.",
            Query(count("sekisho_worker_ends_total", BAR, "how"), "{{how}}"),
            width=8,
            runbook="workers-ending",
        ),
        lines(
            "Connections of callers",
            "Open connections, and how many a gateway takes at once (0: no limit). At the limit whoever connects gets "
            "503.",
            Query(f"sekisho_connections{{{HERE}}}", "{{instance}}"),
            Query(f"sekisho_connections_limit{{{HERE}}} > 0", "{{instance}}, limit"),
            width=8,
            runbook="overloaded",
        ),
    ),
)

_REQUESTS: Final = Row(
    "Requests",
    (
        bars(
            "Decisions by effect",
            "What the policy decided. No bars where there were some: traffic has stopped, or goes another way.",
            Query(count("sekisho_decisions_total", BAR, "effect"), "{{effect}}"),
            runbook="traffic-stopped",
        ),
        bars(
            "Refusals by reason",
            "Every refused request, those too that never came to a decision (no token, an ambiguous path) or failed "
            "after it. docs/refusals.md says what each means and who mends it.",
            Query(count("sekisho_refusals_total", BAR, "status", "reason"), "{{status}} {{reason}}"),
        ),
        lines(
            "Time to decide",
            "From a request's head to the decision: identity, origin, route and rules. A rise without more requests: a "
            "larger bundle, or a processor that others use.",
            *(_quantile("sekisho_decision_seconds", share) for share in (0.5, 0.9, 0.99)),
            unit="s",
        ),
        lines(
            "Time of a whole passage",
            "From a request's head to the end of its answer, the API's own time included. If it rises and the time to "
            "decide does not, it is the API.",
            *(_quantile("sekisho_passage_seconds", share) for share in (0.5, 0.9, 0.99)),
            unit="s",
        ),
        lines(
            "Requests under way",
            "At each gateway. A climb without an end: the API does not answer.",
            Query(f"sekisho_passages_in_progress{{{HERE}}}", "{{instance}}"),
            width=8,
        ),
        bars(
            "Answers that broke off",
            "Answers that broke off after they had begun to leave, by reason: their callers saw a cut connection.",
            Query(count("sekisho_answers_cut_total", BAR, "reason"), "{{reason}}"),
            width=8,
        ),
        bars(
            "Counted under other",
            "Events that were counted under other, because a metric has as many series as it may. Detail stands in the "
            "ledger; if it goes on, more of something is declared than a metric can tell apart.",
            Query(count("sekisho_labels_folded_total", BAR, "metric"), "{{metric}}"),
            width=8,
            runbook="labels-folded",
        ),
    ),
)

BOARD: Final = Board(
    "sekisho-health",
    "Sekisho: gateway health",
    "Whether gateways answer, how fast, and what they depend on.",
    (_NOW, _GATEWAYS, _REQUESTS, health_parts.APIS, health_parts.LEDGER, health_parts.TRUST),
)
