# SPDX-License-Identifier: Apache-2.0
"""What is counted as plain numbers is shown as the client library would show it, and stays bounded."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from proxy.counting import OTHER, BoundedCounter, Found, LabelledCounter, Listing, PlainCounter, PlainHistogram
from proxy.model.decision import Effect
from tests.support.series import series

# Children are bounded.


def a_counter(limit: int) -> tuple[BoundedCounter, CollectorRegistry]:
    registry = CollectorRegistry()
    folded = LabelledCounter("folded_total", "Folded.", ["metric"], registry)
    return BoundedCounter("hits_total", "Hits.", ["one", "other"], registry, folded, limit), registry


def test_what_goes_beyond_the_limit_is_counted_as_other_and_the_folding_is_counted() -> None:
    counter, registry = a_counter(2)
    for value in "abcdc":
        counter.count(value, "x")
    counter.count("a", "x")
    assert series(registry, "hits_total") == {("a", "x"): 2, ("b", "x"): 1, (OTHER, OTHER): 3}
    assert series(registry, "folded_total") == {("hits_total",): 3}


def test_what_is_other_by_itself_is_not_folding() -> None:
    counter, registry = a_counter(1)
    counter.count("a", "x")
    counter.count(OTHER, OTHER)
    assert series(registry, "hits_total") == {("a", "x"): 1, (OTHER, OTHER): 1}
    assert series(registry, "folded_total") == {("hits_total",): 0}


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde") | st.just(OTHER))), st.integers(0, 6))
def test_nothing_is_lost_and_children_stay_within_the_limit_and_other(
    events: list[tuple[str, str]], limit: int
) -> None:
    counter, registry = a_counter(limit)
    for event in events:
        counter.count(*event)
    hits = series(registry, "hits_total")
    assert sum(hits.values()) == len(events)
    assert len(hits) <= limit + 1
    folded = series(registry, "folded_total")[("hits_total",)]
    assert folded == len(events) - sum(value for labels, value in hits.items() if labels != (OTHER, OTHER))


def test_a_wrong_number_of_label_values_is_an_error_and_counts_nothing() -> None:
    counter, registry = a_counter(2)
    for values in ((), ("a",), ("a", "b", "c")):
        with pytest.raises(ValueError, match="label"):
            counter.count(*values)
    assert series(registry, "hits_total") == {}


@given(st.lists(st.text(), min_size=1, max_size=5, unique=True))
def test_label_values_of_any_text_cannot_break_the_exposition(values: list[str]) -> None:
    counter, registry = a_counter(100)
    for value in values:
        counter.count(value, '"} 1\nsekisho_decisions_total{rule="')
    text = generate_latest(registry).decode()
    read = {
        sample.labels["one"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "hits_total"
    }
    assert read == dict.fromkeys(values, 1)


# What is shown is what the client library would show.


def shown(registry: CollectorRegistry) -> list[tuple[str, str, str, list[tuple[str, dict[str, str], float]]]]:
    """Return the metrics of a registry without the instants at which they began."""
    return [
        (
            metric.name,
            metric.type,
            metric.documentation,
            [(each.name, each.labels, each.value) for each in metric.samples if not each.name.endswith("_created")],
        )
        for metric in registry.collect()
    ]


def names(registry: CollectorRegistry) -> list[str]:
    return sorted({sample.name for metric in registry.collect() for sample in metric.samples})


BOUNDS = (0.001, 0.01, 1.0, 30.0)


@given(st.lists(st.floats(-1, 40) | st.sampled_from((*BOUNDS, math.inf))))
def test_a_histogram_is_the_librarys(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    plain, usual = (
        PlainHistogram("a_seconds", "A.", BOUNDS, ours),
        Histogram("a_seconds", "A.", buckets=BOUNDS, registry=theirs),
    )
    for value in values:
        plain.observe(value)
        usual.observe(value)
    assert shown(ours) == shown(theirs)
    assert names(ours) == names(theirs)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Effect)))))
def test_a_labelled_counter_is_the_librarys(events: list[tuple[str, str]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    plain, usual = LabelledCounter("a_total", "A.", ["x", "y"], ours), Counter("a", "A.", ["x", "y"], registry=theirs)
    for event in events:
        plain.count(*event)
        usual.labels(*event).inc()
    assert shown(ours) == shown(theirs)
    assert names(ours) == names(theirs)
    assert generate_latest(ours).count(b"_created") == generate_latest(theirs).count(b"_created")


def test_a_plain_counter_counts() -> None:
    registry = CollectorRegistry()
    counter = PlainCounter("a_total", "A.", registry)
    counter.inc()
    counter.inc(3)
    assert series(registry, "a_total") == {(): 4}


def test_a_child_says_when_it_began() -> None:
    registry = CollectorRegistry()
    counter = LabelledCounter("a_total", "A.", ["x"], registry)
    counter.count("b")
    began = series(registry, "a_created")[("b",)]
    counter.count("b")
    assert series(registry, "a_created") == {("b",): began}
    assert began > 1_700_000_000


def test_a_child_that_begins_is_shown_at_zero() -> None:
    registry = CollectorRegistry()
    counter = LabelledCounter("a_total", "A.", ["x"], registry)
    counter.begin("b")
    assert series(registry, "a_total") == {("b",): 0}


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    PlainHistogram("a_seconds", "A.", BOUNDS, registry)
    PlainCounter("b_total", "B.", registry)
    for make in (
        lambda: PlainHistogram("a_seconds", "A.", BOUNDS, registry),
        lambda: PlainCounter("b_total", "B.", registry),
    ):
        with pytest.raises(ValueError, match="Duplicated"):
            make()


def test_what_is_described_is_what_is_collected() -> None:
    registry = CollectorRegistry()
    counter = LabelledCounter("a_total", "A.", ["x"], registry)
    counter.count("b")
    described: list[Metric] = [*counter.describe()]
    assert [(each.name, each.type, each.samples) for each in described] == [("a", "counter", [])]


# What is in force, and what is found when it is asked for.


def test_a_listing_shows_what_was_shown_last_and_counts_what_it_has_no_room_for() -> None:
    registry = CollectorRegistry()
    folded = LabelledCounter("t_folded_total", "Folded.", ["metric"], registry)
    listing = Listing("t_rule_info", "Rules.", ["rule"], registry, folded, limit=2)
    listing.show([("a",)])
    listing.show([("b",), ("c",), ("d",)])
    assert series(registry, "t_rule_info") == {("b",): 1, ("c",): 1}
    assert series(registry, "t_folded_total") == {("t_rule_info",): 1}


def test_what_is_found_is_found_anew_each_time_and_the_largest_of_it_is_shown() -> None:
    registry = CollectorRegistry()
    values: dict[tuple[str, ...], float] = {("a",): 1, ("b",): 3, ("c",): 2}
    Found("t_most", "The most.", ["who"], registry, lambda: values, limit=2)
    assert series(registry, "t_most") == {("b",): 3, ("c",): 2}
    values.clear()
    assert series(registry, "t_most") == {}
