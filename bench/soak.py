# SPDX-License-Identifier: Apache-2.0
"""Sekisho for an hour under every fault of callers and API: `python -m bench.soak [--seconds N]`.

- `bench.rough_clients` ask, vanish, stall and talk nonsense; `bench.faulty_api` stalls, resets, talks nonsense back. It
  is killed or frozen every few seconds besides.
- While it lasts: nobody is sent a byte of another's answer, no half answer looks whole, nobody is forgotten.
- Afterwards: memory has stopped rising, files and connections are as few as before, the process ends by itself, its log
  tells of no exception, the ledger verifies and has the decisions that callers were told, and the API was never asked
  twice for one request that changes something.

An hour needs a gigabyte or two in the folder for temporary files, until the end. Exit code 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random  # noqa: TID251 - moments drawn from a seed, no secrets
from tempfile import TemporaryDirectory
from typing import Final

from bench.contenders.sekisho import command_of, write_keys, write_policies
from bench.duties import request_headers
from bench.faulty_api import MANNERS
from bench.harness import BenchError, render_table, wait_until
from bench.identity import LISTED_AFFILIATE, Issuer
from bench.processes import (
    LOOPBACK,
    Launch,
    allotted_cores,
    end_on_sigterm,
    free_port,
    is_accepting,
    resident_kilobytes,
    start_pinned,
    stop,
)
from bench.rough_clients import KINDS, Caller, Seen
from bench.setting import Setting
from proxy.clock import elapsed_seconds, unix_seconds
from proxy.ledger.audit import verify_folder
from proxy.ledger.key_file import read_verifier_keys
from proxy.ledger.segments import list_segments

SECONDS: Final = 3600.0
CALLERS: Final = 64
TOLD: Final = {
    "CLIENT_IDLE_SECONDS": 5,
    "UPSTREAM_CONNECT_SECONDS": 1,
    "UPSTREAM_FIRST_BYTE_SECONDS": 1,
    "UPSTREAM_IDLE_SECONDS": 1,
    "UPSTREAM_DOWN_SECONDS": 0.5,
}
"""Deadlines that are short enough for many stalls to end within a soak."""
BETWEEN_FAULTS: Final = (2.0, 8.0)
"""Seconds between two times that the API as a whole is killed or frozen."""
FROZEN_SECONDS: Final = 1.5
SAMPLE_SECONDS: Final = 0.5
SETTLE_SECONDS: Final = 120.0
"""How long the gateway may take to close what it holds, once nobody asks any more."""
END_SECONDS: Final = 40.0
MOST_RISE_MEBIBYTES: Final = 8.0
"""By how much memory may rise over the second half."""
LEAST_FAIR_SHARE: Final = 0.2
"""Of requests in which neither side errs, how many must be answered whole: while the API is down, many are not."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process holds at one time."""

    seconds: float
    kibibytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is told at the end."""

    seen: Seen
    samples: list[Sample]
    faults: Counter[str]
    problems: list[str]


@dataclass(slots=True)
class Api:
    """The faulty API as a process that is killed and started again."""

    port: int
    notes: Path
    output: Path
    faults: Counter[str] = field(default_factory=Counter)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it accepts."""
        command = [sys.executable, "-m", "bench.faulty_api", "--port", str(self.port), "--notes", str(self.notes)]
        launch = Launch(command, allotted_cores().driver, self.port, self.output)
        process = self.process = start_pinned(launch)
        wait_until(lambda: is_accepting(process, launch), "the faulty API listening")

    def end(self) -> None:
        """Kill it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def suffer(self, chance: Random) -> None:
        """Be killed or frozen every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(chance.uniform(*BETWEEN_FAULTS))
            if self.process is not None and chance.random() < 0.5:
                self.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(FROZEN_SECONDS)
                self.process.send_signal(signal.SIGCONT)
                self.faults["frozen"] += 1
            else:
                self.end()
                await asyncio.sleep(chance.uniform(0.0, FROZEN_SECONDS))
                await asyncio.to_thread(self.start)
                self.faults["killed"] += 1


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway that is soaked."""

    room: Path
    process: subprocess.Popen[bytes]
    port: int
    admin_port: int

    def sample(self, since: float) -> Sample:
        """Look what it holds."""
        files = len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))
        return Sample(elapsed_seconds() - since, resident_kilobytes(self.process.pid), files)

    def holds_at_most(self, files: int) -> bool:
        """Return whether nothing is under way, and no more files are open than so many."""
        return self.under_way() == 0 and self.sample(0.0).files <= files

    def under_way(self) -> float:
        """Return how many requests it says are under way."""
        connection = http.client.HTTPConnection(LOOPBACK, self.admin_port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        return float(text.partition("\nsekisho_passages_in_progress ")[2].partition("\n")[0])


def start_gateway(folder: Path, issuer: Issuer, api_port: int) -> Gateway:
    """Start it, with deadlines short enough for an API that stalls."""
    setting = Setting(folder, allotted_cores(), issuer, api_port)
    room, port, admin_port = setting.room("sekisho"), free_port(), free_port()
    write_policies(room, setting)
    write_keys(room)
    launch = Launch(command_of(room, port, admin_port, setting, TOLD), setting.cores.contender, port, room / "output")
    process = start_pinned(launch)
    try:
        wait_until(lambda: is_accepting(process, launch), "the gateway listening")
    except BenchError:
        stop(process)
        raise
    return Gateway(room, process, port, admin_port)


async def drive(gateway: Gateway, api: Api, issuer: Issuer, seconds: float, seed: int) -> tuple[Seen, list[Sample]]:
    """Send for so many seconds everything that can go wrong."""
    seen, samples, began = Seen(), [gateway.sample(elapsed_seconds())], elapsed_seconds()
    until = datetime.fromtimestamp(unix_seconds(), UTC) + timedelta(seconds=seconds, hours=1)
    own = request_headers(issuer.token(exp=until))
    others = request_headers(issuer.token(exp=until, affiliate=LISTED_AFFILIATE))

    def is_over() -> bool:
        return elapsed_seconds() - began > seconds or gateway.process.poll() is not None

    async with asyncio.TaskGroup() as group:
        suffering = group.create_task(api.suffer(Random(seed)))  # noqa: S311 - no secrets
        callers = [
            group.create_task(
                Caller(gateway.port, number, own, others, Random(seed + number), seen).live(is_over)  # noqa: S311
            )
            for number in range(CALLERS)
        ]
        while not is_over():
            await asyncio.sleep(SAMPLE_SECONDS)
            samples.append(gateway.sample(began))
        await asyncio.wait(callers)
        suffering.cancel()
    return seen, samples


def soak(folder: Path, seconds: float, seed: int) -> Outcome:
    """Run everything, and look what is left behind.

    Raises:
        BenchError: If the gateway does not start.
    """
    issuer, api = Issuer(), Api(free_port(), folder / "notes", folder / "api.log")
    api.start()
    try:
        gateway = start_gateway(folder, issuer, api.port)
        try:
            seen, samples = asyncio.run(drive(gateway, api, issuer, seconds, seed))
            problems = [*seen.problems, *leftovers(gateway, samples), *end_of(gateway)]
        finally:
            stop(gateway.process)
    finally:
        api.end()
    problems += [*rises(samples), *omissions(seen), *log_problems(gateway.room / "output")]
    problems += [*ledger_problems(gateway.room, seen), *repeats(api.notes)]
    return Outcome(seen, samples, api.faults, problems)


# What is looked at afterwards


def leftovers(gateway: Gateway, samples: list[Sample]) -> Iterator[str]:
    """Yield what the gateway still holds though nobody asks any more."""
    if gateway.process.poll() is not None:
        return  # `end_of` tells
    before = samples[0].files
    try:
        wait_until(lambda: gateway.holds_at_most(before), "files closed", SETTLE_SECONDS)
    except BenchError:
        held = gateway.sample(0.0).files
        yield f"{held} files are open, {before} were before; {gateway.under_way():g} requests are under way"


def end_of(gateway: Gateway) -> Iterator[str]:
    """Ask the gateway to end; yield how it did not."""
    if gateway.process.poll() is not None:
        yield f"the gateway ended under load with code {gateway.process.returncode}"
        return
    gateway.process.terminate()
    try:
        code = gateway.process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        yield f"the gateway did not end within {END_SECONDS:g} s of SIGTERM"
        return
    if code != 0:
        yield f"the gateway ended with code {code}"


def rises(samples: list[Sample]) -> Iterator[str]:
    """Yield that memory rises, if it does."""
    rise = rise_of(samples)
    if rise > MOST_RISE_MEBIBYTES:
        yield f"memory rose by {rise:.1f} MiB over the second half; at most {MOST_RISE_MEBIBYTES:g} are allowed"


def rise_of(samples: list[Sample]) -> float:
    """Return the mebibytes by which memory rises over the second half, by a line of least squares."""
    half = samples[len(samples) // 2 :]
    middle = sum(each.seconds for each in half) / len(half)
    mean = sum(each.kibibytes for each in half) / len(half)
    spread = sum((each.seconds - middle) ** 2 for each in half)
    slope = sum((each.seconds - middle) * (each.kibibytes - mean) for each in half) / spread if spread else 0.0
    return slope * (half[-1].seconds - half[0].seconds) / 1024


def omissions(seen: Seen) -> Iterator[str]:
    """Yield what was not tried, or never worked: a soak in which nothing happens proves nothing."""
    tried = {kind for kind, _ in seen.ends}
    for kind in KINDS.keys() - tried:
        yield f"no caller {kind}"
    for manner in MANNERS:
        if manner.is_fair and not seen.by_api[manner.name]:
            yield f"no answer came from an API that {manner.name}"
    share = seen.fair[True] / max(1, seen.fair.total())
    if share < LEAST_FAIR_SHARE:
        yield f"only {share:.0%} of the requests without any fault were answered"


def log_problems(output: Path) -> Iterator[str]:
    """Yield each kind of line in the gateway's log that tells of an exception, with how often it is there."""
    found: Counter[str] = Counter()
    for text in output.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            found[f"no JSON: {text[:200]}"] += 1
            continue
        if "exception" in line or line.get("level") in {"error", "critical"}:
            found[f"{line.get('message')} {line.get('exception', '')} {line.get('frames', [''])[-1]}"] += 1
    for what, times in found.most_common():
        yield f"the log says {times} times: {what}"


def ledger_problems(room: Path, seen: Seen) -> Iterator[str]:
    """Yield what is wrong with the ledger, and decisions that callers were told and it does not have."""
    report = verify_folder(room / "ledger", read_verifier_keys(room / "ledger.key.pub"))
    yield from (f"the ledger: {fault}" for fault in report.faults)
    missing = set(seen.decisions)
    for segment in list_segments(room / "ledger"):
        with segment.path.open("rb") as lines:
            missing -= {json.loads(line)["id"] for line in lines if b'"line":"decision"' in line}
    for decision in sorted(missing)[:3]:
        yield f"a caller was told of decision {decision!r}, which is not in the ledger"


def repeats(notes: Path) -> Iterator[str]:
    """Yield requests that change something and reached the API twice."""
    with notes.open() as lines:
        posted = Counter(line for line in lines if line.startswith("POST "))
    for line, times in posted.items():
        if times > 1:
            yield f"the API was asked {times} times: {line.strip()}"


# The command


def report(outcome: Outcome) -> str:
    """Return what is told at the end."""
    seen, first, last = outcome.seen, outcome.samples[0], outcome.samples[-1]
    fair = seen.fair[True] / max(1, seen.fair.total())
    faults = ", ".join(f"{times} times {what}" for what, times in sorted(outcome.faults.items()))
    files = max(each.files for each in outcome.samples)
    memory = f"{first.kibibytes / 1024:.1f} MiB at first, {last.kibibytes / 1024:.1f} at last"
    told = [
        render_table(("a caller that", "times", "and how it ended"), [row_of(kind, seen) for kind in KINDS]),
        f"the API was {faults or 'spared'}",
        f"answered whole: {fair:.1%} of {seen.fair.total():,} requests in which neither side did wrong",
        f"memory: {memory}, {rise_of(outcome.samples):+.1f} over the second half; at most {files} files open",
        *(f"PROBLEM: {each}" for each in outcome.problems),
        "Something is wrong." if outcome.problems else "Nothing was left behind, and nobody got what is another's.",
    ]
    return "\n".join(told)


def row_of(kind: str, seen: Seen) -> list[str]:
    """Return how callers of one kind fared."""
    ends = {end: times for (who, end), times in sorted(seen.ends.items()) if who == kind}
    return [kind, f"{sum(ends.values()):,}", ", ".join(f"{end}: {times:,}" for end, times in ends.items())]


def main() -> int:
    """Run the command; 1 if something is wrong, 2 when it could not run."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long (default: %(default)g)")
    parser.add_argument("--seed", type=int, help="of all that is drawn (another each time)")
    options = parser.parse_args()
    end_on_sigterm()
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    print(f"{options.seconds:g} s, {CALLERS} callers at a time; seed {seed}", flush=True)
    try:
        with TemporaryDirectory(prefix="sekisho-soak-") as name:
            outcome = soak(Path(name), options.seconds, seed)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    print(report(outcome))
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
