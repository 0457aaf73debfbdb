# SPDX-License-Identifier: Apache-2.0
"""One workload through each gateway: duties proved, rounds paired, what was logged and recorded counted.

Every workload has contenders of its own, started for it, so that none inherits what another has left in memory.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.contenders import envoy, haproxy, naive, nginx, sekisho
from bench.duties import verify_duties, verify_logged, verify_recorded
from bench.harness import Answered, BenchError, Comparison, ProcessMeter, paired
from bench.processes import allotted_cores, resident_megabytes
from bench.setting import Contender, Setting
from bench.workloads import Workload, make_sending, verify_workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.certificate import Certificate
    from bench.identity import Issuer

HAPROXY: Final = "HAProxy"
ENVOY: Final = "Envoy"
SEKISHO: Final = "Sekisho"

STARTERS: Final = (
    nginx.start_nginx,
    haproxy.start_haproxy,
    envoy.start_envoy,
    sekisho.start_sekisho,
    naive.start_naive,
)


@dataclass(frozen=True, slots=True)
class Result:
    """Hold what is told of one contender."""

    contender: Contender
    meter: ProcessMeter
    megabytes: float

    @property
    def requests_per_second(self) -> float:
        """Return the median rate of its rounds."""
        return self.meter.median(lambda one: one.requests_per_second)

    @property
    def cores_busy(self) -> float:
        """Return the median share of a core that was busy."""
        return self.meter.median(lambda one: one.cores_busy)


@dataclass(frozen=True, slots=True)
class Race:
    """Hold what came of one workload."""

    workload: Workload
    comparison: Comparison
    results: Sequence[Result]

    def result(self, name: str) -> Result:
        """Return what came of one contender."""
        return next(each for each in self.results if each.contender.name == name)


@contextmanager
def upstream_running(issuer: Issuer, certificate: Certificate | None = None) -> Iterator[Setting]:
    """Run the API, with a folder for whoever shall be in front of it."""
    cores = allotted_cores()
    with tempfile.TemporaryDirectory(prefix="sekisho-bench-") as name, ExitStack() as stack:
        port = stack.enter_context(nginx.start_upstream(Path(name), cores))
        yield Setting(Path(name), cores, issuer, port, certificate)


@contextmanager
def contenders_running(issuer: Issuer, workload: Workload) -> Iterator[tuple[Setting, list[Contender]]]:
    """Run the API and every contender that takes part, each proved to do its duties."""
    with upstream_running(issuer) as setting, ExitStack() as stack:
        everyone = [stack.enter_context(start(setting)) for start in STARTERS]
        chosen = [each for each in everyone if workload.takes(each)]
        for contender in chosen:
            verify_duties(contender, issuer)
            verify_workload(workload, contender, issuer)
        yield setting, chosen


def race(workload: Workload, issuer: Issuer, rounds: int, seconds: float) -> Race:
    """Prove the duties, then time.

    Args:
        workload: what is sent.
        issuer: of the tokens.
        rounds: how many pairs.
        seconds: length of a round of the small GET.

    Raises:
        BenchError: If a duty is not done or a round cannot be trusted.
    """
    with contenders_running(issuer, workload) as (setting, contenders):
        sending = make_sending(workload, issuer, setting.folder)
        meters = {each.name: meter_for(each, sending(each, seconds * workload.share)) for each in contenders}
        comparison = paired(meters, anchor=HAPROXY, rounds=rounds)
        return Race(workload, comparison, [conclude(each, meters[each.name]) for each in contenders])


def meter_for(contender: Contender, send: Callable[[], Answered]) -> ProcessMeter:
    """Return a meter whose rounds begin with an empty log each."""

    def send_logged() -> Answered:
        if contender.log is not None:
            os.truncate(contender.log, 0)
        try:
            return send()
        except BenchError as error:
            raise BenchError(f"{contender.name}: {error}") from error

    return ProcessMeter(contender.pid, send_logged)


def conclude(contender: Contender, meter: ProcessMeter) -> Result:
    """Prove that the last round was logged, and weigh the contender while it runs."""
    verify_logged(contender, meter.rounds[-1].answered.requests)
    verify_recorded(contender, sum(each.answered.requests for each in meter.rounds))
    return Result(contender, meter, resident_megabytes(contender.pid))
