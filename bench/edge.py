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
from typing import TYPE_CHECKING, Final

from bench import growth, idle, latency, starts
from bench.contenders import envoy, haproxy, nginx
from bench.findings import Findings, figures_of, tables_of, targets_of
from bench.harness import MIN_ROUNDS, SMOKE_ROUNDS, BenchError, Need, find_program, render_json, render_table, require
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


def measure(extent: Extent, parts: Collection[str]) -> Findings:
    """Measure the parts that are named, each told once it is done.

    Raises:
        BenchError: If a duty is not done or a round cannot be trusted.
    """
    issuer, findings = Issuer(), Findings()
    for name, take in PARTS.items():
        if name in parts:
            findings = take(findings, issuer, extent)
            sys.stderr.write(f"{name}: done\n")
    return findings


def take_races(workload_id: str, findings: Findings, issuer: Issuer, extent: Extent) -> Findings:
    """Measure one workload."""
    workload = next(each for each in WORKLOADS if each.id == workload_id)
    return replace(findings, races=[*findings.races, race(workload, issuer, extent.rounds, extent.seconds)])
