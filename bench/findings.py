# SPDX-License-Identifier: Apache-2.0
"""What `bench.edge` has found out, as figures whose names stay, as targets, and as tables; all of it pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from bench.harness import Target
from bench.races import ENVOY, HAPROXY, SEKISHO
from bench.workloads import DENIED, HISTORY, SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.growth import Curve
    from bench.harness import Comparison
    from bench.idle import Idle
    from bench.latency import Latencies
    from bench.races import Race, Result
    from bench.starts import Starts

MILLISECOND: Final = 1000.0
"""In microseconds."""

Table: TypeAlias = "tuple[Sequence[str], list[list[str]]]"
"""Heading and rows."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Hold what was measured; what was not asked for is empty or None."""

    races: Sequence[Race] = ()
    latencies: Latencies | None = None
    idle: Mapping[str, Idle] | None = None
    starts: Starts | None = None
    curves: Sequence[Curve] = ()
    shares: Mapping[str, float] | None = None
    """Where Sekisho's time goes, under a profiler."""

    def race(self, workload_id: str) -> Race | None:
        """Return one race."""
        return next((each for each in self.races if each.workload.id == workload_id), None)


# Figures


def figures_of(findings: Findings) -> dict[str, float]:
    """Return every figure under a name that stays the same from run to run."""
    found = [
        *(pair for race in findings.races for pair in race_figures(race)),
        *latency_figures(findings.latencies),
        *idle_figures(findings.idle),
        *start_figures(findings.starts),
        *(pair for curve in findings.curves for pair in curve_figures(curve)),
    ]
    return dict(found)


def key_of(name: str) -> str:
    """Return a contender's name as part of a figure's."""
    return name.lower().replace(" ", "_")


def race_figures(race: Race) -> Iterator[tuple[str, float]]:
    """Yield the figures of one workload."""
    for result in race.results:
        name = result.contender.name
        key = f"{race.workload.id}_{key_of(name)}"
        yield f"{key}_cpu_microseconds", race.comparison.cost(name).median
        yield f"{key}_to_haproxy", race.comparison.ratio(name, HAPROXY).median
        yield f"{key}_to_envoy", race.comparison.ratio(name, ENVOY).median
        yield f"{key}_requests_per_second", result.requests_per_second
        yield f"{key}_cores_busy", result.cores_busy
        yield f"{key}_resident_megabytes", result.megabytes


def latency_figures(latencies: Latencies | None) -> Iterator[tuple[str, float]]:
    """Yield how long answers took."""
    if latencies is None:
        return
    yield "latency_requests_per_second", latencies.requests_per_second
    for name, found in latencies.percentiles.items():
        yield f"{key_of(name)}_p50_microseconds", found.p50
        yield f"{key_of(name)}_p99_microseconds", found.p99
        yield f"{key_of(name)}_p999_microseconds", found.p999
        yield f"p99_{key_of(name)}_to_haproxy", latencies.comparison.ratio(name).median


def idle_figures(idle: Mapping[str, Idle] | None) -> Iterator[tuple[str, float]]:
    """Yield what waiting connections weigh."""
    for name, found in (idle or {}).items():
        yield f"idle_connection_{key_of(name)}_kibibytes", found.plain
        if found.tls is not None:
            yield f"{key_of(name)}_idle_tls_connection_kibibytes", found.tls


def start_figures(starts: Starts | None) -> Iterator[tuple[str, float]]:
    """Yield what a start costs."""
    if starts is not None:
        yield "start_seconds", starts.comparison.cost(SEKISHO).median
        yield "start_to_imports", starts.comparison.ratio(SEKISHO).median
        yield "idle_worker_mebibytes", starts.worker_mebibytes


def curve_figures(curve: Curve) -> Iterator[tuple[str, float]]:
    """Yield how the cost grows."""
    for size in curve.sizes:
        yield f"with_{size}_{curve.title}_cpu_microseconds", curve.comparison.cost(str(size)).median
        yield f"with_{size}_{curve.title}_to_smallest", curve.comparison.ratio(str(size)).median


# Targets


def targets_of(findings: Findings) -> dict[str, Target]:
    """Return what was promised of what was measured."""
    figures = figures_of(findings)
    return {name: Target(figures[name], bound) for name, bound in PROMISES.items() if name in figures}


PROMISES: Final = {
    f"{SMALL.id}_sekisho_to_haproxy": 1.25,
    f"{SMALL.id}_sekisho_to_envoy": 1.0,
    f"{DENIED.id}_sekisho_to_envoy": 0.8,
    f"{HISTORY.id}_sekisho_to_haproxy": 1.5,
    "p99_sekisho_to_haproxy": 2.0,
    "idle_worker_mebibytes": 90.0,
    "idle_connection_sekisho_kibibytes": 6.0,
    "start_to_imports": 3.0,
}
"""Each figure that has a bound, and the most that it may be."""


# Tables


def tables_of(findings: Findings) -> Iterator[tuple[str, Table]]:
    """Yield a title and a table for everything that was measured."""
    if findings.races:
        yield "CPU of the gateway's processes per request", race_table(findings.races)
    if findings.latencies is not None:
        rate = findings.latencies.requests_per_second
        yield f"Small GET at {rate:,.0f} requests/s, open loop", latency_table(findings.latencies)
    if findings.idle is not None:
        yield "Memory of a connection that waits", idle_table(findings.idle)
    if findings.starts is not None:
        yield "From start to ready", start_table(findings.starts)
    if findings.curves:
        yield "Sekisho as the policy grows, CPU per request", curve_table(findings.curves)
    if targets := targets_of(findings):
        yield "Targets", target_table(targets)


RACE_HEADING: Final = (
    "workload", "gateway", "CPU µs/req", "vs HAProxy", "p10-p90", "vs Envoy", "p10-p90", "req/s", "busy", "RSS MB",
)  # fmt: skip


def race_table(races: Sequence[Race]) -> Table:
    """Return one row for each gateway in each workload."""
    return RACE_HEADING, [race_row(race, result) for race in races for result in race.results]


def race_row(race: Race, result: Result) -> list[str]:
    """Return one row."""
    name, comparison = result.contender.name, race.comparison
    ratios = [cell for anchor in (HAPROXY, ENVOY) for cell in ratio_cells(comparison, name, anchor)]
    facts = [f"{result.requests_per_second:,.0f}", f"{result.cores_busy:.0%}", f"{result.megabytes:.0f}"]
    return [race.workload.title, name, f"{comparison.cost(name).median:.1f}", *ratios, *facts]


def ratio_cells(comparison: Comparison, name: str, anchor: str) -> tuple[str, str]:
    """Return the median ratio and its spread as text."""
    ratio = comparison.ratio(name, anchor)
    return f"{ratio.median:.2f}", f"{ratio.p10:.2f}-{ratio.p90:.2f}"


def latency_table(latencies: Latencies) -> Table:
    """Return one row for each gateway."""
    rows = [
        [
            name,
            *(f"{each / MILLISECOND:.2f}" for each in (found.p50, found.p99, found.p999)),
            *ratio_cells(latencies.comparison, name, HAPROXY),
        ]
        for name, found in latencies.percentiles.items()
    ]
    return ("gateway", "p50 ms", "p99 ms", "p99.9 ms", "p99 vs HAProxy", "p10-p90"), rows


def idle_table(idle: Mapping[str, Idle]) -> Table:
    """Return one row for each gateway."""
    rows = [
        [name, f"{found.plain:.1f}", "does not speak it" if found.tls is None else f"{found.tls:.1f}"]
        for name, found in idle.items()
    ]
    return ("gateway", "KiB", "KiB with TLS"), rows


def start_table(starts: Starts) -> Table:
    """Return one row for the gateway, and one for the imports alone."""
    rows = [
        [
            name,
            f"{starts.comparison.cost(name).median:.2f}",
            *ratio_cells(starts.comparison, name, starts.comparison.anchor),
        ]
        for name in starts.comparison.costs
    ]
    rows[-1].append(f"{starts.worker_mebibytes:.0f}")
    return ("", "seconds", "vs imports", "p10-p90", "RSS MiB, ready"), [[*row, ""][:5] for row in rows]


def curve_table(curves: Sequence[Curve]) -> Table:
    """Return one row for each size."""
    rows = [
        [
            f"{size:,} {curve.title}",
            f"{curve.comparison.cost(str(size)).median:.1f}",
            *ratio_cells(curve.comparison, str(size), curve.comparison.anchor),
        ]
        for curve in curves
        for size in curve.sizes
    ]
    return ("policy", "CPU µs/req", "vs smallest", "p10-p90"), rows


def target_table(targets: Mapping[str, Target]) -> Table:
    """Return one row for each promise."""
    rows = [
        [name, f"{each.value:.2f}", f"{each.target:g}", "met" if each.met else "MISSED"]
        for name, each in targets.items()
    ]
    return ("figure", "is", "at most", ""), rows
