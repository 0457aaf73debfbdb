# SPDX-License-Identifier: Apache-2.0
"""``docs/metrics.md``, from what the code declares: every metric, its labels, and what becomes of it over workers."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.metrics import MetricWrapperBase

from deploy.monitoring.alerts import ALERTS, RECORDINGS
from deploy.monitoring.generated import Generated
from proxy.counting import MAX_CHILDREN, Counted
from proxy.policy.evaluate import MAX_LISTED
from proxy.supervisor.crew import LOOK_SECONDS
from proxy.supervisor.merge import OWN, RULES, Rule
from proxy.telemetry import ProbeMetrics
from proxy.telemetry.attempts import MAX_HELD, MAX_MEMBERS
from proxy.telemetry.labels import LABELS
from proxy.telemetry.metrics import PARTS

PLACE: Final = "docs/metrics.md"
_MERGED: Final = {Rule.SUM: "sum", Rule.LARGEST: "largest", Rule.SMALLEST: "smallest"}
_UNITS: Final = (
    ("_timestamp_seconds", "seconds since 1970"),
    ("_seconds", "seconds"),
    ("_info", "1"),
    ("_observe_mode", "0 or 1"),
)
_HEAD: Final = f"""\
# Metrics

Made by `make generate` from `proxy/telemetry/`: change it there. The admin listener serves all of these at `/metrics`,
in Prometheus' text format 0.0.4 and in no other, whatever a scraper asks for: there the `_created` series of a counter
are series like any other, which the [alerts](../deploy/prometheus/sekisho.rules.yml) need to see a restart, and the
first event of its kind. They are not compressed: the processor is the callers'.

- A metric names nobody: no caller, no data subject, no address, no path, no value of a request. Who it was stands in
  the [ledger](ledger.md).
- A metric with labels has at most {MAX_CHILDREN} children. What has no room is counted as `other`, and once more in
  `sekisho_labels_folded_total`.
- With workers it is one `/metrics` for all. Counters and histograms are sums, those of workers that have ended
  included: of one that is killed what it counted since it was asked last is lost, {LOOK_SECONDS:g} seconds at most. Of
  a gauge the column *workers* says what is shown; *own* is what the supervisor alone does or can tell.
- Several gateways are told apart by `instance`: add counters up, and take the largest of gauges, as the alerts do.
"""
_ATTEMPTS: Final = f"""\
`sekisho_denied_routes_most` and `sekisho_denied_subjects_most` are found anew at each scrape from who was denied what
within the hour before. A caller is one caller whichever worker denies it; replicas do not know of each other, so take
the largest. The shape of an undeclared target counts as a route; whose records are dropped from an answer is not told
apart. Remembered are keyed hashes, under a key that is made at the start and written nowhere: up to {MAX_MEMBERS} of
each of one caller, {MAX_HELD} in all. What is forgotten for want of room is counted in `sekisho_labels_folded_total`.

`sekisho_rules_applied_total` counts the rules that a decision names, {MAX_LISTED} at most. A rule of
`sekisho_rule_info` that it has never counted has never applied, or never where it was among them.
"""


def generate() -> Iterable[Generated]:
    """Return the page."""
    yield Generated(PLACE, "\n".join(_render_page()))


def _render_page() -> Iterator[str]:
    yield _HEAD
    seen: set[str] = set()
    for part in PARTS:
        alone = part(CollectorRegistry())
        alone.declare()
        yield from _render_section(part.title, alone.registry, _labels_of(alone), seen)
    yield _ATTEMPTS
    canary = ProbeMetrics()
    yield from _render_section("The canary (`sekisho probe`)", canary.registry, _labels_of(canary), seen)
    yield "## Labels\n"
    yield "| label | values | at most |"
    yield "|---|---|---|"
    yield from (f"| `{name}` | {label.values} | {label.bound} |" for name, label in LABELS.items())
    yield ""


def _labels_of(declared: object) -> dict[str, tuple[str, ...]]:
    """Return the names of labels, by the name of the metric."""
    parts = vars(declared).values()
    labels = {each.name: each.labels for each in parts if isinstance(each, Counted)}
    return labels | {each._name: each._labelnames for each in parts if isinstance(each, MetricWrapperBase)}  # noqa: SLF001 - it tells nobody


def _render_section(
    title: str, registry: CollectorRegistry, labels: dict[str, tuple[str, ...]], seen: set[str]
) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| metric | type, unit | labels | what it says | workers | alerts |"
    yield "|---|---|---|---|---|---|"
    for metric in registry.collect():
        if metric.name not in seen:
            seen.add(metric.name)
            yield _render_row(metric, labels[metric.name])
    yield ""


def _render_row(metric: Metric, labels: tuple[str, ...]) -> str:
    name = metric.name + ("_total" if metric.type == "counter" else "")
    cells = (
        f"`{name}`",
        f"{metric.type}, {_find_unit(metric)}",
        ", ".join(f"`{label}`" for label in labels),
        metric.documentation,
        _find_merging(metric),
        ", ".join(_find_alerts(name)),
    )
    return f"| {' | '.join(cells)} |"


def _find_unit(metric: Metric) -> str:
    if metric.documentation.startswith("1 while"):
        return "0 or 1"
    counted = "events" if metric.type == "counter" else "a count"
    return next((unit for end, unit in _UNITS if metric.name.endswith(end)), counted)


def _find_merging(metric: Metric) -> str:
    if metric.name.startswith("sekisho_probe"):
        return ""
    if metric.name in OWN:
        return "own"
    return _MERGED[RULES.get(metric.name, Rule.SUM)]


def _find_alerts(name: str) -> list[str]:
    """Return the alerts that ask for a metric, by themselves or by the names of recordings."""
    series = rf"{name.removesuffix('_total')}(?:_total|_created|_bucket|_sum|_count)?"
    asked = _names_of(series)
    more = {each.name for each in RECORDINGS if asked.search(each.expr)}
    names: set[str] = set()
    while more - names:
        names |= more
        asked = _names_of("|".join([series, *map(re.escape, sorted(names))]))
        more = {each.name for each in RECORDINGS if asked.search(each.expr)}
    return [f"`{each.name}`" for each in ALERTS if asked.search(each.expr)]


def _names_of(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w:])(?:{pattern})(?![\w:])")
