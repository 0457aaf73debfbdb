# SPDX-License-Identifier: Apache-2.0
"""How long an answer takes at a fixed rate: the small GET, at half of the most that HAProxy answered.

- Open loop: h2load sends by the clock, each of its connections at a phase of its own, whether or not answers are slow.
- One connection has one request under way, so a slow answer puts the requests behind it off, and h2load begins to count
  when it sends. What was put off is therefore added: an answer later than the next request was due counts as that
  request's, too, and the one's behind it (the correction for *coordinated omission*, as in HdrHistogram).
- Per round and gateway a 99th percentile, paired by round; what is told beside it is over all rounds.
- Load generator and API share a core: absolute times hold that, ratios less so.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench.duties import request_headers
from bench.harness import BenchError, Comparison, paired
from bench.load import Load, drive
from bench.processes import allotted_cores
from bench.races import HAPROXY, contenders_running
from bench.setting import Duty
from bench.workloads import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.identity import Issuer
    from bench.setting import Contender

PART_OF_MAXIMUM: Final = 0.5
CONNECTIONS: Final = 32


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Microseconds within which a share of the answers came."""

    p50: float
    p99: float
    p999: float


@dataclass(frozen=True, slots=True)
class Latencies:
    """Hold how long answers took."""

    requests_per_second: float
    comparison: Comparison
    """Of the 99th percentiles of each round, in microseconds."""
    percentiles: Mapping[str, Percentiles]
    """Over all rounds."""


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Be a contender for `paired`: send one round by the clock, and return its 99th percentile in microseconds."""

    load: Load
    due_microseconds: float
    """Between two requests of one connection."""
    times: list[int] = field(default_factory=list)

    def __call__(self) -> float:
        """Run one round."""
        log = self.load.log
        if log is None:
            raise BenchError("a round whose times are wanted needs a log")
        log.unlink(missing_ok=True)
        drive(self.load)
        found = list(corrected(read_times(log), self.due_microseconds))
        self.times.extend(found)
        return percentiles_of(found).p99


def read_times(log: Path) -> list[int]:
    """Return the microseconds of each answer in h2load's log."""
    return [int(line.rpartition("\t")[2]) for line in log.read_text().splitlines()]


def corrected(times: Sequence[int], due: float) -> Iterator[int]:
    """Yield each time, and for one longer than the next request was due in, the times of those it put off."""
    for each in times:
        waited: float = each
        while waited > 0:
            yield round(waited)
            waited -= due


def percentiles_of(times: Sequence[int]) -> Percentiles:
    """Return the middle and the tail."""
    cuts = statistics.quantiles(times, n=1000, method="inclusive")
    return Percentiles(cuts[499], cuts[989], cuts[998])


def measure(issuer: Issuer, rate: float, rounds: int, seconds: float) -> Latencies:
    """Drive every gateway that has all the duties at one rate.

    Args:
        issuer: of the tokens.
        rate: requests per second.
        rounds: how many pairs.
        seconds: length of a round.

    Raises:
        BenchError: If an answer is missing or no success.
    """
    with contenders_running(issuer, SMALL) as (setting, everyone):
        chosen = [each for each in everyone if Duty.CLAIM_RULE in each.duties]
        token = issuer.token()
        watches = {each.name: stopwatch(each, token, setting.folder, rate, seconds) for each in chosen}
        comparison = paired(watches, HAPROXY, rounds)
    percentiles = {name: percentiles_of(watch.times) for name, watch in watches.items()}
    return Latencies(rate, comparison, percentiles)


def stopwatch(contender: Contender, token: str, folder: Path, rate: float, seconds: float) -> Stopwatch:
    """Warm a contender up at the rate, and return what measures it."""
    load = Load(
        contender.url_of(SMALL.path),
        request_headers(token),
        allotted_cores().driver,
        requests=max(CONNECTIONS, round(rate * seconds / CONNECTIONS) * CONNECTIONS),
        connections=CONNECTIONS,
        requests_per_second=rate,
        log=folder / f"{contender.port}.times",
    )
    drive(load)
    return Stopwatch(load, CONNECTIONS / rate * 1e6)
