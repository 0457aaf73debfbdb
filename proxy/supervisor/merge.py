# SPDX-License-Identifier: Apache-2.0
"""The metrics of several processes as those of one.

- Counters and histograms are summed, those of workers that have ended included: a sum never falls.
- Gauges follow the rule of their name: what a reader is alerted by must show although one worker alone has it.
- What only the supervisor knows is its own; what workers say of that is left out.
"""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

Labels = tuple[tuple[str, str], ...]


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number."""

    name: str
    labels: Labels
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """A metric with all its children."""

    name: str
    kind: str
    """As Prometheus calls it: ``counter``, ``gauge``, ``histogram``."""
    documentation: str
    samples: tuple[Sample, ...]


class Rule(enum.Enum):
    """What becomes of one gauge of several workers."""

    SUM = "sum"
    LARGEST = "largest"
    SMALLEST = "smallest"


RULES: Final[Mapping[str, Rule]] = {
    "sekisho_build_info": Rule.LARGEST,
    "sekisho_rule_info": Rule.LARGEST,
    "sekisho_bundle_info": Rule.LARGEST,
    "sekisho_observe_mode": Rule.LARGEST,
    "sekisho_observe_until_timestamp_seconds": Rule.LARGEST,
    "sekisho_bundle_since_timestamp_seconds": Rule.LARGEST,
    "sekisho_reviews_overdue": Rule.LARGEST,
    "sekisho_grants_active": Rule.LARGEST,
    "sekisho_geolocation_info": Rule.LARGEST,
    "sekisho_geolocation_build_timestamp_seconds": Rule.SMALLEST,
    "sekisho_geolocation_expired": Rule.LARGEST,
    "sekisho_geolocation_stale": Rule.LARGEST,
    "sekisho_passages_in_progress": Rule.SUM,
    "sekisho_connections": Rule.SUM,
    "sekisho_connections_limit": Rule.SUM,
    "sekisho_upstream_connections": Rule.SUM,
    "sekisho_upstream_waiting": Rule.SUM,
    "sekisho_upstream_down": Rule.LARGEST,
    "sekisho_key_set_fetched_timestamp_seconds": Rule.SMALLEST,
    "sekisho_key_set_keys": Rule.SMALLEST,
    "sekisho_tls_certificate_expiry_timestamp_seconds": Rule.SMALLEST,
    "sekisho_tls_stale": Rule.LARGEST,
    "sekisho_revocation_lists_until_timestamp_seconds": Rule.SMALLEST,
    "sekisho_pseudonym_keys_until_timestamp_seconds": Rule.SMALLEST,
    "sekisho_ledger_checkpoint_timestamp_seconds": Rule.SMALLEST,
    "sekisho_witness_lag_seconds": Rule.LARGEST,
    "sekisho_counts_unavailable": Rule.LARGEST,
    "sekisho_counts_members": Rule.SUM,
    "sekisho_lookup_entries": Rule.SUM,
    "sekisho_lookup_down": Rule.LARGEST,
}
"""Gauges of workers, by name: the worst of all, and sums of what adds up."""
UNLISTED: Final = Rule.LARGEST
"""For a gauge without a rule. The tests see to it that there is none."""
OWN: Final = frozenset(
    {
        "sekisho_bundle_stale", "sekisho_reloads", "sekisho_workers_serving", "sekisho_worker_ends",
        "sekisho_denied_routes_most", "sekisho_denied_subjects_most",
    },
)  # fmt: skip
"""Metrics of what the supervisor alone does, or can tell: who is denied by several workers is one caller."""
CREATED: Final = "_created"
"""Samples that say since when is counted."""
_SUMMED: Final = frozenset({"counter", "histogram"})
_COMBINE: Final[Mapping[Rule, Callable[[float, float], float]]] = {
    Rule.SUM: lambda one, other: one + other,
    Rule.LARGEST: max,
    Rule.SMALLEST: min,
}


def read_metrics(registry: CollectorRegistry) -> tuple[Family, ...]:
    """Return what a registry shows."""
    return tuple(
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            tuple(Sample(each.name, tuple(each.labels.items()), each.value) for each in metric.samples),
        )
        for metric in registry.collect()
    )


def merge_metrics(
    own: Iterable[Family], workers: Sequence[Iterable[Family]], retired: Iterable[Family] = ()
) -> tuple[Family, ...]:
    """Return the metrics of all processes as those of one.

    Args:
        own: the supervisor's.
        workers: those of each worker that runs.
        retired: what workers that have ended had counted, as ``add_retired`` returns it.
    """
    told = [family for family in own if family.name in OWN]
    return (*_combine([retired, *workers], lambda family: family.name not in OWN), *told)


def add_retired(retired: Iterable[Family], last: Iterable[Family]) -> tuple[Family, ...]:
    """Return what workers that have ended had counted, with one more of them.

    Args:
        retired: what was returned before.
        last: the metrics of the one more.
    """
    return _combine([retired, last], lambda family: family.kind in _SUMMED)


def _combine(readings: Sequence[Iterable[Family]], is_wanted: Callable[[Family], bool]) -> tuple[Family, ...]:
    firsts: dict[str, Family] = {}
    sums: dict[str, dict[tuple[str, Labels], float]] = {}
    for reading in readings:
        for family in filter(is_wanted, reading):
            firsts.setdefault(family.name, family)
            _add(sums.setdefault(family.name, {}), family)
    return tuple(
        Family(name, first.kind, first.documentation, tuple(Sample(*key, value) for key, value in sums[name].items()))
        for name, first in firsts.items()
    )


def _add(sums: dict[tuple[str, Labels], float], family: Family) -> None:
    rule = Rule.SUM if family.kind in _SUMMED else RULES.get(family.name, UNLISTED)
    for sample in family.samples:
        key = sample.name, sample.labels
        combine = _COMBINE[Rule.SMALLEST if _is_created(family, sample) else rule]
        sums[key] = combine(sums[key], sample.value) if key in sums else sample.value


def _is_created(family: Family, sample: Sample) -> bool:
    return family.kind in _SUMMED and sample.name == family.name + CREATED


class Shown(Collector):
    """Families as Prometheus' own library renders them.

    Args:
        families: what to show.
    """

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return the metrics, as the library asks for them."""
        for family in self._families:
            metric = Metric(family.name, family.documentation, family.kind)
            for sample in _in_order(family):
                metric.add_sample(sample.name, dict(sample.labels), sample.value)
            yield metric


def _in_order(family: Family) -> list[Sample]:
    """Return the samples, those of one child next to each other as the format asks for it, whoever had them first."""
    if family.kind != "histogram":
        return list(family.samples)
    children: dict[Labels, list[Sample]] = {}
    for sample in family.samples:
        children.setdefault(tuple(each for each in sample.labels if each[0] != "le"), []).append(sample)
    return [sample for child in children.values() for sample in child]
