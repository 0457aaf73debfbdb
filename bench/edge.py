# SPDX-License-Identifier: Apache-2.0
"""A small GET through each gateway: CPU per request, paired with HAProxy and with Envoy.

- The figure is CPU, not latency nor throughput: on two noisy cores it is what repeats, and what one pays for.
- Every round drives each gateway as fast as it answers, over 32 connections, for about a second.
- Before any timing each gateway proves its duties (`bench.duties`); after it, that the last round was logged, or
  that every decision is in the ledger.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.contenders import envoy, haproxy, naive, nginx, sekisho
from bench.duties import request_headers, verify_duties, verify_logged, verify_recorded
from bench.harness import (
    MIN_ROUNDS,
    Answered,
    BenchError,
    Comparison,
    Need,
    ProcessMeter,
    Round,
    check_rounds,
    find_program,
    paired,
    render_json,
    render_table,
    require,
)
from bench.identity import Issuer
from bench.load import Load, drive, fill
from bench.processes import allotted_cores, end_on_sigterm, resident_megabytes
from bench.profiles import profile, render_profile
from bench.setting import Contender, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NEEDS: Final = (
    Need("h2load", "Debian's nghttp2-client", find_program),
    nginx.NEED,
    haproxy.NEED,
    *envoy.NEEDS,
)

STARTERS: Final = (
    nginx.start_nginx,
    haproxy.start_haproxy,
    envoy.start_envoy,
    sekisho.start_sekisho,
    naive.start_naive,
)

HEADING: Final = (
    "contender",
    "CPU µs/req",
    "vs HAProxy",
    "p10-p90",
    "vs Envoy",
    "p10-p90",
    "req/s",
    "busy",
    "RSS MB",
    "duties",
)


@dataclass(frozen=True, slots=True)
class Result:
    """Hold what is told of one contender."""

    contender: Contender
    meter: ProcessMeter
    megabytes: float


@contextmanager
def running_contenders(folder: Path, issuer: Issuer) -> Iterator[tuple[Setting, list[Contender]]]:
    """Run the upstream and every contender."""
    cores = allotted_cores()
    with ExitStack() as stack:
        upstream_port = stack.enter_context(nginx.start_upstream(folder, cores))
        setting = Setting(folder, cores, issuer, upstream_port)
        yield setting, [stack.enter_context(start(setting)) for start in STARTERS]


def meter_for(contender: Contender, token: str, seconds: float) -> ProcessMeter:
    """Return a meter whose rounds fill the wanted time, each beginning with an empty log."""
    load = fill(Load(contender.url, request_headers(token), allotted_cores().driver), seconds)
    return ProcessMeter(contender.pid, lambda: drive_logged(contender, load))


def drive_logged(contender: Contender, load: Load) -> Answered:
    """Empty the access log and send one round."""
    if contender.log is not None:
        os.truncate(contender.log, 0)
    return drive(load)


def measure(rounds: int, seconds: float) -> tuple[Comparison, list[Result], Mapping[str, float]]:
    """Prove the duties, then time, then profile Sekisho alone.

    Raises:
        BenchError: If a duty is not done or a round cannot be trusted.
    """
    issuer = Issuer()
    with tempfile.TemporaryDirectory(prefix="sekisho-bench-") as folder, ExitStack() as stack:
        setting, contenders = stack.enter_context(running_contenders(Path(folder), issuer))
        for contender in contenders:
            verify_duties(contender, issuer)
        meters = {each.name: meter_for(each, issuer.token(), seconds) for each in contenders}
        comparison = paired(meters, anchor="HAProxy", rounds=rounds)
        results = [conclude(each, meters[each.name]) for each in contenders]
        return comparison, results, profile(setting, issuer.token())


def conclude(contender: Contender, meter: ProcessMeter) -> Result:
    """Prove that the last round was logged, and weigh the contender while it runs."""
    verify_logged(contender, meter.rounds[-1].answered.requests)
    verify_recorded(contender, sum(each.answered.requests for each in meter.rounds))
    return Result(contender, meter, resident_megabytes(contender.pid))


def row_of(result: Result, comparison: Comparison) -> list[str]:
    """Return one line of the table."""
    name, meter = result.contender.name, result.meter
    ratios = [cell for anchor in ("HAProxy", "Envoy") for cell in ratio_cells(comparison, name, anchor)]
    rate, busy = meter.median(requests_per_second), meter.median(cores_busy)
    facts = [f"{rate:,.0f}", f"{busy:.0%}", f"{result.megabytes:.0f}"]
    duties = "+".join(sorted(result.contender.duties)) or "none"
    return [name, f"{comparison.cost(name).median:.1f}", *ratios, *facts, duties]


def requests_per_second(one: Round) -> float:
    """Return the rate of one round."""
    return one.requests_per_second


def cores_busy(one: Round) -> float:
    """Return the share of a core that was busy in one round."""
    return one.cores_busy


def ratio_cells(comparison: Comparison, name: str, anchor: str) -> tuple[str, str]:
    """Return the median ratio and its spread as text."""
    ratio = comparison.ratio(name, anchor)
    return f"{ratio.median:.2f}", f"{ratio.p10:.2f}-{ratio.p90:.2f}"


def figures_of(results: Sequence[Result], comparison: Comparison) -> dict[str, float]:
    """Return every figure under a name that stays the same from run to run."""
    found: dict[str, float] = {}
    for result in results:
        name, meter = result.contender.name, result.meter
        key = name.lower().replace(" ", "_")
        found[f"{key}_cpu_microseconds"] = comparison.cost(name).median
        found[f"{key}_to_haproxy"] = comparison.ratio(name, "HAProxy").median
        found[f"{key}_to_envoy"] = comparison.ratio(name, "Envoy").median
        found[f"{key}_requests_per_second"] = meter.median(requests_per_second)
        found[f"{key}_cores_busy"] = meter.median(cores_busy)
        found[f"{key}_resident_megabytes"] = result.megabytes
    return found


def report(rounds: int, seconds: float, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command
    """Measure and print."""
    check_rounds(rounds)
    require(*NEEDS)
    comparison, results, shares = measure(rounds, seconds)
    say(f"{rounds} rounds of {seconds:g} s each, interleaved; {allotted_cores().note}")
    say(render_table(HEADING, [row_of(each, comparison) for each in results]))
    say(f"\n{render_profile(shares)}")
    if as_json:
        say(render_json(figures_of(results, comparison), {}))


def say(text: str) -> None:
    """Print one thing to standard output."""
    sys.stdout.write(f"{text}\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.edge", description="Compare gateways on a small GET.")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help="pairs (default and least: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round (default: %(default)s)")
    return parser


def main() -> int:
    """Run the command; 2 when it could not measure."""
    options = build_parser().parse_args()
    end_on_sigterm()
    try:
        report(options.rounds, options.seconds, options.json)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
