# SPDX-License-Identifier: Apache-2.0
"""Sekisho beside nginx, HAProxy, Envoy and a naive gateway: `python -m bench.edge [--quick] [--only PART …]`.

- The main figure is CPU per request, not latency nor throughput: on two noisy cores it is what repeats, and what one
  pays for. Every round drives each gateway as fast as it answers; the ratio of a round is to HAProxy in the same round.
- Before any timing each gateway proves its duties (`bench.duties`) and that it answers the workload as it must; after
  it, that the last round was logged, or that every decision is in the ledger.
- The parts: one for each row of `bench.workloads`; latency at a fixed rate; waiting connections; start to ready; growth
  with the policy; where Sekisho's time goes, under a profiler.
- `--write-docs` writes the figures into docs/benchmarks.md, and its chart.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from bench import growth, idle, latency, starts
from bench.contenders import envoy, haproxy, nginx
from bench.findings import Findings, figures_of, tables_of, targets_of
from bench.harness import (
    MIN_ROUNDS,
    SMOKE_ROUNDS,
    BenchError,
    Need,
    check_rounds,
    find_program,
    render_json,
    render_table,
    require,
)
from bench.identity import Issuer
from bench.page import write_page
from bench.processes import allotted_cores, end_on_sigterm
from bench.profiles import profile, render_profile
from bench.races import HAPROXY, race, upstream_running
from bench.workloads import SMALL, WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

NEEDS: Final = (
    Need("h2load", "Debian's nghttp2-client", find_program),
    nginx.NEED,
    haproxy.NEED,
    *envoy.NEEDS,
)
IDLE_CONNECTIONS: Final = 5000
SHORT: Final = 0.3
"""Length of a round of a growth curve, in that of the small GET's."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured."""

    rounds: int
    seconds: float
    """Length of a round of the small GET."""
    idle_connections: int = IDLE_CONNECTIONS
    growth_steps: int = len(growth.RULES)


SMOKE: Final = Extent(SMOKE_ROUNDS, 0.2, idle_connections=200, growth_steps=2)
"""Whether everything runs: its figures prove nothing."""


def measure(extent: Extent, parts: Collection[str]) -> tuple[Findings, list[str]]:
    """Measure the parts that are named; return what was found, and why a part could not be measured.

    A part that fails takes nothing from the others, which took their minutes.
    """
    issuer, findings, failures = Issuer(), Findings(), []
    for name, take in PARTS.items():
        if name not in parts:
            continue
        try:
            findings = take(findings, issuer, extent)
        except BenchError as error:
            failures.append(f"{name}: {error}")
            sys.stderr.write(f"{name}: failed\n")
        else:
            sys.stderr.write(f"{name}: done\n")
    return findings, failures


def take_races(workload_id: str, findings: Findings, issuer: Issuer, extent: Extent) -> Findings:
    """Measure one workload."""
    workload = next(each for each in WORKLOADS if each.id == workload_id)
    return replace(findings, races=[*findings.races, race(workload, issuer, extent.rounds, extent.seconds)])


def take_latency(findings: Findings, issuer: Issuer, extent: Extent) -> Findings:
    """Measure latency at half of HAProxy's rate.

    Raises:
        BenchError: If that rate was not measured in this run.
    """
    small = findings.race(SMALL.id)
    if small is None:
        raise BenchError(f"latency is measured at half of HAProxy's rate: ask for the part `{SMALL.id}` as well")
    rate = small.result(HAPROXY).requests_per_second * latency.PART_OF_MAXIMUM
    return replace(findings, latencies=latency.measure(issuer, rate, extent.rounds, extent.seconds))


def take_idle(findings: Findings, issuer: Issuer, extent: Extent) -> Findings:
    """Weigh waiting connections."""
    return replace(findings, idle=idle.measure(issuer, extent.idle_connections))


def take_starts(findings: Findings, issuer: Issuer, extent: Extent) -> Findings:
    """Time starts."""
    return replace(findings, starts=starts.measure(issuer, extent.rounds))


def take_growth(findings: Findings, issuer: Issuer, extent: Extent) -> Findings:
    """Measure the curves."""
    curves = growth.measure(issuer, extent.rounds, extent.seconds * SHORT, steps=extent.growth_steps)
    return replace(findings, curves=curves)


def take_profile(findings: Findings, issuer: Issuer, _extent: Extent) -> Findings:
    """Profile Sekisho alone."""
    with upstream_running(issuer) as setting:
        return replace(findings, shares=profile(setting, issuer.token()))


PARTS: Final[Mapping[str, Callable[[Findings, Issuer, Extent], Findings]]] = {
    **{each.id: partial(take_races, each.id) for each in WORKLOADS},
    "latency": take_latency,
    "idle": take_idle,
    "starts": take_starts,
    "growth": take_growth,
    "profile": take_profile,
}


def report(findings: Findings, extent: Extent, *, as_json: bool) -> None:
    """Print."""
    print(f"{extent.rounds} rounds, the longest of {extent.seconds:g} s, interleaved; {allotted_cores().note}")
    for title, (heading, rows) in tables_of(findings):
        print(f"\n{title}\n{render_table(heading, rows)}")
    if findings.shares is not None:
        print(f"\n{render_profile(findings.shares)}")
    if as_json:
        print(render_json(figures_of(findings), targets_of(findings)))


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.edge", description="Compare gateways.")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help="pairs (default and least: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="length of the longest rounds (default: %(default)s)"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a few short rounds, to see that everything runs")
    parser.add_argument("--write-docs", action="store_true", help="write the figures into docs/benchmarks.md")
    return parser


def main() -> int:
    """Run the command; 2 when it could not measure."""
    parser = build_parser()
    options = parser.parse_args()
    if options.write_docs and (options.quick or set(options.only) != PARTS.keys()):
        parser.error("--write-docs needs all parts and all rounds")
    end_on_sigterm()
    extent = SMOKE if options.quick else Extent(options.rounds, options.seconds)
    try:
        check_rounds(extent.rounds)
        require(*NEEDS)
        findings, failures = measure(extent, options.only)
        report(findings, extent, as_json=options.json)
        if options.write_docs and not failures:
            write_page(findings, extent.rounds, extent.seconds)
    except BenchError as error:
        failures = [str(error)]
    for failure in failures:
        sys.stderr.write(f"{failure}\n")
    return 2 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
