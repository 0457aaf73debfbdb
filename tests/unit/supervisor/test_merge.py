# SPDX-License-Identifier: Apache-2.0
"""The metrics of several processes as those of one."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from proxy.supervisor.merge import OWN, RULES, Family, Rule, Sample, Shown, add_retired, merge_metrics, read_metrics
from proxy.telemetry import Metrics

BUCKETS: Final = (0.1, 1.0, 10.0)
Events = Sequence[tuple[str, float]]
EVENTS: Final = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([0.0625, 0.5, 4.0, 64.0])), max_size=20
)


def count(events: Events) -> CollectorRegistry:
    """Return the registry of a process in which this has happened."""
    registry = CollectorRegistry()
    counter = Counter("t_events_total", "Events.", ["label"], registry=registry)
    histogram = Histogram("t_seconds", "Times.", buckets=BUCKETS, registry=registry)
    for label, seconds in events:
        counter.labels(label).inc()
        histogram.observe(seconds)
    return registry


def numbers(families: Sequence[Family]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, sample.labels): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(EVENTS, max_size=4), st.lists(EVENTS, max_size=3))
def test_counters_and_histograms_are_as_if_one_process_had_counted_everything(
    running: list[Events], ended: list[Events]
) -> None:
    retired: tuple[Family, ...] = ()
    for each in ended:
        retired = add_retired(retired, read_metrics(count(each)))
    merged = merge_metrics((), [read_metrics(count(each)) for each in running], retired)
    everything = [event for each in (*running, *ended) for event in each]
    if running or ended:
        assert numbers(merged) == numbers(read_metrics(count(everything)))
    else:
        assert merged == ()


@given(EVENTS, EVENTS)
def test_a_sum_does_not_fall_when_a_worker_ends(one: Events, other: Events) -> None:
    both = [read_metrics(count(each)) for each in (one, other)]
    before = numbers(merge_metrics((), both))
    after = numbers(merge_metrics((), both[:1], add_retired((), both[1])))
    assert after == before


def gauge(name: str, value: float) -> Family:
    registry = CollectorRegistry()
    Gauge(name, "A gauge.", registry=registry).set(value)
    return read_metrics(registry)[0]


def test_each_rule_does_what_it_is_called() -> None:
    found = {}
    for name, rule in RULES.items():
        (merged,) = merge_metrics((), [[gauge(name, 3)], [gauge(name, 5)]])
        found[rule] = merged.samples[0].value
    assert found == {Rule.SUM: 8, Rule.LARGEST: 5, Rule.SMALLEST: 3}


def test_a_gauge_of_a_worker_that_has_ended_is_shown_no_more() -> None:
    assert add_retired((), [gauge("sekisho_passages_in_progress", 7)]) == ()


def test_what_the_supervisor_alone_knows_is_its_own() -> None:
    name = "sekisho_workers_serving"
    assert name in OWN
    (merged,) = merge_metrics([gauge(name, 2), gauge("sekisho_tls_stale", 9)], [[gauge(name, 1)]])
    assert (merged.name, merged.samples[0].value) == (name, 2)


def test_every_metric_that_is_no_sum_has_a_rule() -> None:
    declared = {metric.name: metric.type for metric in Metrics().registry.collect()}
    gauges = {name for name, kind in declared.items() if kind not in {"counter", "histogram"}}
    assert gauges - OWN == RULES.keys() - OWN
    assert declared.keys() >= OWN


def test_since_when_is_counted_is_the_first_of_all() -> None:
    name = "t_events"
    families = [
        [Family(name, "counter", "Events.", (Sample("t_events_total", (), 1), Sample("t_events_created", (), at)))]
        for at in (20.0, 10.0)
    ]
    (merged,) = merge_metrics((), families)
    assert {each.name: each.value for each in merged.samples} == {"t_events_total": 2, "t_events_created": 10}


def test_what_is_shown_is_what_prometheus_reads() -> None:
    workers = [read_metrics(Metrics().registry) for _ in range(3)]
    merged = merge_metrics(read_metrics(Metrics().registry), workers)
    text = generate_latest(Shown(merged)).decode()
    read = {family.name: family for family in text_string_to_metric_families(text)}
    assert {metric.name for metric in Metrics().registry.collect()} <= read.keys()


def test_a_child_that_one_worker_alone_has_keeps_the_buckets_of_each_together() -> None:
    def told(label: str) -> tuple[Family, ...]:
        registry = CollectorRegistry()
        Histogram("t_seconds", "Times.", ["label"], buckets=BUCKETS, registry=registry).labels(label).observe(1)
        return read_metrics(registry)

    lines = generate_latest(Shown(merge_metrics((), [told("a"), told("b"), told("a")]))).decode().splitlines()
    labels = [line.partition('label="')[2][:1] for line in lines if line.startswith(("t_seconds_b", "t_seconds_s"))]
    assert [label for label, _ in groupby(labels)] == ["a", "b"]
