# SPDX-License-Identifier: Apache-2.0
"""Metrics: bounded whatever arrives, and named as Prometheus asks."""

import re

import pytest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from proxy.counting import Counted, PlainHistogram
from proxy.telemetry import Metrics
from tests.support.series import series

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
