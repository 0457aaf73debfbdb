# SPDX-License-Identifier: Apache-2.0
"""The only timer: paired rounds, batch and CPU clocks, figures, targets and their tables.

- **Paired**: every round runs every contender once; a figure that matters is the median, over at least 31
  rounds, of its cost divided by the anchor's *in the same round*. Slow drift of a noisy machine cancels out.
- **Interleaved**: the order rotates each round and is reversed on odd ones, so that predecessors vary.
- **Micro**: wall nanoseconds per operation of one batch, the garbage collector off and old objects frozen.
- **Processes**: CPU nanoseconds of the whole process tree, from the kernel's per-process CPU clock.
- A round that cannot be trusted raises `BenchError`; it never becomes a fast result.

It does not know what is measured: no HTTP, no gateway, no configuration file.
"""

from __future__ import annotations

import gc
import itertools
import json
import shutil
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MIN_ROUNDS: Final = 31
"""Pairs below which a median with p10 and p90 means little on these machines."""

SMOKE_ROUNDS: Final = 3
"""The one smaller number that is taken: a look whether everything runs, whose figures prove nothing."""

BATCH_SECONDS: Final = 0.01
"""Wanted length of one micro batch: long against the clock's own cost, short against the machine's mood."""

CPUCLOCK_SCHED: Final = 2
"""Linux: the scheduler's own sum of nanoseconds run (include/linux/posix-timers.h)."""

SYSTEM_FOLDERS: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
"""Where Debian puts daemons: a plain user's PATH often lacks the sbin folders."""


class BenchError(Exception):
    """Say why a measurement cannot be made or cannot be trusted."""


# Spread and comparison


@dataclass(frozen=True, slots=True)
class Spread:
    """Describe repeated figures by their middle and their edges."""

    p10: float
    median: float
    p90: float


def spread_of(values: Sequence[float]) -> Spread:
    """Return the median with the tenth and ninetieth percentile."""
    deciles = statistics.quantiles(values, n=10, method="inclusive")
    return Spread(p10=deciles[0], median=statistics.median(values), p90=deciles[-1])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Hold the cost of every contender in every round."""

    anchor: str
    costs: Mapping[str, Sequence[float]]
    """By contender, one cost per round; index N is the same round for all."""

    def cost(self, name: str) -> Spread:
        """Return the absolute cost of one contender."""
        return spread_of(self.costs[name])

    def ratio(self, name: str, anchor: str | None = None) -> Spread:
        """Return the per-round ratios of one contender to the anchor, or to another contender."""
        base = self.costs[anchor or self.anchor]
        return spread_of([mine / theirs for mine, theirs in zip(self.costs[name], base, strict=True)])


def paired(contenders: Mapping[str, Callable[[], float]], anchor: str, rounds: int = MIN_ROUNDS) -> Comparison:
    """Run every contender once per round, interleaved, and pair the costs by round.

    Args:
        contenders: By name, a callable that runs once and returns its cost (any unit, the same for all).
        anchor: The contender that the others are divided by.
        rounds: How many pairs; at least `MIN_ROUNDS`, or `SMOKE_ROUNDS`.

    Raises:
        BenchError: If there are too few rounds or no such anchor, or a contender's round cannot be trusted.
    """
    check_rounds(rounds)
    if anchor not in contenders:
        raise BenchError(f"the anchor {anchor!r} is not among the contenders")
    costs: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in order_of_round(list(contenders), number):
            costs[name].append(positive_cost(name, contenders[name]()))
    return Comparison(anchor, costs)


def check_rounds(rounds: int) -> None:
    """Refuse a number of rounds that proves nothing."""
    if rounds < MIN_ROUNDS and rounds != SMOKE_ROUNDS:
        raise BenchError(f"at least {MIN_ROUNDS} rounds are needed, not {rounds}")


def order_of_round(names: Sequence[str], number: int) -> list[str]:
    """Rotate the names by one each round, and reverse odd rounds."""
    shift = number % len(names)
    rotated = [*names[shift:], *names[:shift]]
    return rotated[::-1] if number % 2 else rotated


def positive_cost(name: str, cost: float) -> float:
    """Return the cost; refuse one that cannot be (a stopped clock, a process that did nothing)."""
    if cost > 0:
        return cost
    raise BenchError(f"{name} had a cost of {cost}: its clock or its work stood still")


# Micro benchmarks


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Keep the garbage collector out of the block, and what survives out of its sight for good.

    Were it thawed again, the next batch would go through the whole heap anew: a second and more with large registers.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def batch_nanoseconds(operation: Callable[[], object], repetitions: int) -> int:
    """Return the wall nanoseconds of one batch; the bare loop, the same for all contenders, is part of it."""
    with quiet_collector():
        started = time.perf_counter_ns()
        for _ in itertools.repeat(None, repetitions):
            operation()
        return time.perf_counter_ns() - started


def timed(operation: Callable[[], object], repetitions: int | None = None) -> Callable[[], float]:
    """Return a contender for `paired`: nanoseconds per operation of one batch."""
    size = repetitions or size_of_batch(operation)
    return lambda: batch_nanoseconds(operation, size) / size


def size_of_batch(operation: Callable[[], object], seconds: float = BATCH_SECONDS) -> int:
    """Find how many repetitions fill one batch; this warms the operation up as well."""
    size = 1
    while (elapsed := batch_nanoseconds(operation, size)) < seconds * 1e9 / 4:
        size *= 2
    return max(1, round(size * seconds * 1e9 / elapsed))


# Processes


@dataclass(frozen=True, slots=True)
class Answered:
    """Count what a load generator got answered as expected in one round."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Round:
    """Hold what one process tree spent on the requests of one round."""

    cpu_nanoseconds: int
    answered: Answered

    @property
    def microseconds_per_request(self) -> float:
        """Return the CPU microseconds of the tree per request."""
        return self.cpu_nanoseconds / 1000 / self.answered.requests

    @property
    def cores_busy(self) -> float:
        """Return the mean number of cores kept busy, 1.0 being one whole core."""
        return self.cpu_nanoseconds / 1e9 / self.answered.seconds

    @property
    def requests_per_second(self) -> float:
        """Return the rate of this round."""
        return self.answered.requests / self.answered.seconds


@dataclass(frozen=True, slots=True)
class ProcessMeter:
    """Be a contender for `paired`: drive a process tree for one round and return its CPU per request."""

    root_pid: int
    drive: Callable[[], Answered]
    rounds: list[Round] = field(default_factory=list)

    def __call__(self) -> float:
        """Run one round.

        Raises:
            BenchError: If a process of the tree ended within the round.
        """
        before = settled_cpu(self.root_pid)
        answered = self.drive()
        done = Round(cpu_spent(before, settled_cpu(self.root_pid)), answered)
        self.rounds.append(done)
        return done.microseconds_per_request

    def median(self, figure: Callable[[Round], float]) -> float:
        """Return the median of one figure over the rounds so far."""
        return statistics.median(figure(one) for one in self.rounds)


def cpu_nanoseconds(pid: int) -> int:
    """Return the CPU time of a process, all its threads, ended ones too, from its CPU clock.

    Why not /proc: `stat` counts in ticks of 10 ms, a percent of a one-second round; `schedstat` has
    nanoseconds but per thread, loses threads that ended and lags by up to a tick while one runs. This is
    clock_getcpuclockid(3): a process's clock is its inverted pid, shifted by three, with the kind of clock in
    the low bits. Time that the hypervisor stole is left out (where the kernel has paravirt time accounting).
    """
    return time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED)


def tree_of(root_pid: int) -> list[int]:
    """Return the living pids of a process and all its descendants; empty once it has ended."""
    parents = dict(living_processes())
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    tree = [root_pid] if root_pid in parents else []
    for pid in tree:  # grows while it is walked
        tree.extend(children.get(pid, ()))
    return tree


def living_processes() -> Iterator[tuple[int, int]]:
    """Yield (pid, parent pid) of every process of this machine that has not ended."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The command's name, in parentheses, may itself hold spaces and parentheses: cut at the last one.
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we were reading
        if fields[0] != "Z":  # a zombie still has a clock, which would hide that it ended
            yield int(stat.parent.name), int(fields[1])


def cpu_by_process(root_pid: int) -> dict[int, int]:
    """Return the CPU nanoseconds of each process of a tree; one that has just ended is left out."""
    found: dict[int, int] = {}
    for pid in tree_of(root_pid):
        try:
            found[pid] = cpu_nanoseconds(pid)
        except OSError:
            continue  # `cpu_spent` reports it missing
    return found


def cpu_spent(before: Mapping[int, int], after: Mapping[int, int]) -> int:
    """Return the nanoseconds spent between two readings of one tree; new processes count from their start.

    Raises:
        BenchError: If a process ended in between: what it spent since the first reading is unknown.
    """
    if ended := before.keys() - after.keys():
        raise BenchError(f"process {', '.join(map(str, sorted(ended)))} ended within a round")
    return sum(after.values()) - sum(before.values())


def settled_cpu(root_pid: int) -> dict[int, int]:
    """Read the CPU of a tree once it rests: work put off (log flushes, closes) counts in its own round."""
    latest = cpu_by_process(root_pid)
    for _ in range(20):
        time.sleep(0.01)
        previous, latest = latest, cpu_by_process(root_pid)
        if latest == previous:
            break
    return latest


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Poll until the condition holds.

    Raises:
        BenchError: If it does not in the time given.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.01)


# What must be there


@dataclass(frozen=True, slots=True)
class Need:
    """Name something that a benchmark needs beyond the virtual environment of the product."""

    name: str
    package: str
    """Where it comes from, in words: "Debian's haproxy"."""

    find: Callable[[str], object | None]
    """Return something when it is there, None when it is not."""


def find_program(name: str) -> str | None:
    """Return the path of a program, looked for in the system's own folders as well."""
    return shutil.which(name) or shutil.which(name, path=SYSTEM_FOLDERS)


def require(*needs: Need) -> None:
    """Check for everything before anything starts.

    Raises:
        BenchError: If something is missing; one sentence names all of it.
    """
    missing = [f"{need.name} ({need.package})" for need in needs if need.find(need.name) is None]
    if missing:
        raise BenchError(f"Missing for this benchmark: {', '.join(missing)}.")


# Reports


@dataclass(frozen=True, slots=True)
class Target:
    """Hold a figure against what was promised."""

    value: float
    target: float
    at_most: bool = True
    """Whether the promise is an upper bound; otherwise it is a lower one."""

    @property
    def met(self) -> bool:
        """Return whether the promise is kept."""
        return self.value <= self.target if self.at_most else self.value >= self.target


def render_json(figures: Mapping[str, float], targets: Mapping[str, Target]) -> str:
    """Return the one-line object that ends the output of `--json`."""
    told = {name: {"value": each.value, "target": each.target, "met": each.met} for name, each in targets.items()}
    return json.dumps({"figures": dict(figures), "targets": told}, allow_nan=False)


def render_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned text table: the first column to the left, all others to the right."""
    lines = [heading, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading))]
    ruled = [heading, ["-" * width for width in widths], *rows]
    return "\n".join(render_row(line, widths) for line in ruled)


def render_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return one line of a table."""
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])
