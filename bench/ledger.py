# SPDX-License-Identifier: Apache-2.0
"""What recording costs, how many requests a slow disk lets through, and how fast a ledger is verified.

- *Recording a request*: its outcome becomes a line, in the tree, signed every 1,000 lines, in the kernel; beside one
  ``orjson.dumps`` of the same record, one leaf and one node SHA-256, and one write of the same bytes.
- *Synced*: 64 requests at a time, each waiting for a disk whose sync takes 5 ms; beside the 12,800 a second that
  perfect group commit would allow. Beyond that the processor is the limit, and it is said which of the two it was.
- *Verifying*: bytes a second of one core, beside the bare hashing that no verifier can leave out: one leaf and one node
  SHA-256 for each line. Told, too: beside one SHA-256 over all bytes at once.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import sys
import time
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import msgspec
import uvloop

from bench.harness import (
    MIN_ROUNDS,
    BenchError,
    Need,
    Target,
    paired,
    quiet_collector,
    render_json,
    render_table,
    require,
    spread_of,
    timed,
)
from bench.outcomes import make_outcomes
from proxy.clock import elapsed_seconds
from proxy.ledger.audit import verify_folder
from proxy.ledger.commit import GroupCommit
from proxy.ledger.entry import encode_body, frame
from proxy.ledger.note import SigningKey
from proxy.ledger.opening import LOOK_SECONDS
from proxy.ledger.pseudonym import KeyRing
from proxy.ledger.record import Recorder
from proxy.ledger.segments import list_segments
from proxy.ledger.writer import LedgerWriter, Limits
from proxy.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from proxy.model.outcome import Outcome

RECORD_AT_MOST: Final = 2.5
BYTES_AT_MOST: Final = 600
SYNCED_AT_LEAST: Final = 0.4
VERIFY_AT_LEAST: Final = 0.5
SYNC_SECONDS: Final = 0.005
CONCURRENT: Final = 64
PERFECT: Final = CONCURRENT / SYNC_SECONDS
ROUND_SECONDS: Final = 1.0
VERIFIED_LINES: Final = 40_000
BATCH: Final = 256


def _find(name: str) -> object | None:
    try:
        return __import__(name)
    except ImportError:
        return None


FIND: Final = Need("orjson", "make bench, or deploy/lock/bench.txt", _find)


def make_writer(folder: Path) -> LedgerWriter:
    """Return a writer of a new ledger."""
    limits = Limits(look_seconds=LOOK_SECONDS)
    return LedgerWriter(folder, Metrics(), SigningKey.generate("bench.example/ledger"), limits)


def make_recorder() -> Recorder:
    """Return a recorder with keys of this month."""
    return Recorder(KeyRing.generate("2026-01", 24, os.urandom), "b" * 64, "GeoLite2-City 2026-11-17")


def measure_recording(
    folder: Path, outcomes: Sequence[Outcome], rounds: int
) -> tuple[tuple[float, float, float], float, float]:
    """Return the ratio to the anchor with p10 and p90, microseconds a request, and bytes a record."""
    import orjson  # noqa: PLC0415 - what this benchmark alone needs

    writer, recorder = make_writer(folder / "ours"), make_recorder()

    def ours() -> None:
        for outcome in outcomes:
            writer.append((recorder.decision(outcome, released=True, whole=412, seconds=0.004217),))

    prev, time_text = b"A" * 43 + b"=", b"2026-11-22T06:04:01.123Z"
    lines = [
        frame(104729, prev, time_text, encode_body(recorder.decision(each, released=True, whole=412, seconds=0.004217)))
        for each in outcomes
    ]
    records = [msgspec.json.decode(line) for line in lines]
    file = os.open(folder / "anchor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    node = sha256(b"").digest()

    def anchor() -> None:
        for record in records:
            line = orjson.dumps(record)
            leaf = sha256(b"\0" + line).digest()
            sha256(b"\1" + node + leaf).digest()
            os.write(file, line + b"\n")

    comparison = paired({"ours": timed(ours), "anchor": timed(anchor)}, "anchor", rounds)
    writer.close()
    os.close(file)
    ratio = comparison.ratio("ours")
    size = statistics.median(len(line) + 1 for line in lines)
    return (ratio.median, ratio.p10, ratio.p90), comparison.cost("ours").median / len(outcomes) / 1000, size


async def measure_synced(folder: Path, outcomes: Sequence[Outcome], rounds: int) -> tuple[list[float], list[float]]:
    """Return how many requests a second were recorded, and how much of a core that took, by round."""
    writer, recorder = make_writer(folder / "synced"), make_recorder()
    commit = GroupCommit(lambda: time.sleep(SYNC_SECONDS), lambda: 0)
    endless = itertools.cycle(outcomes)
    rates, loads = [], []
    for _ in range(rounds):
        done, ends = 0, elapsed_seconds() + ROUND_SECONDS

        async def request() -> None:
            nonlocal done
            while elapsed_seconds() < ends:  # noqa: B023 - each round awaits its own
                writer.append((recorder.decision(next(endless), released=True, whole=412),))
                await commit.wait(0)
                done += 1

        began, cpu = elapsed_seconds(), time.process_time()
        await asyncio.gather(*(request() for _ in range(CONCURRENT)))
        passed = elapsed_seconds() - began
        rates.append(done / passed)
        loads.append((time.process_time() - cpu) / passed)
    commit.close()
    writer.close()
    return rates, loads


def measure_verifying(
    folder: Path, outcomes: Sequence[Outcome], rounds: int
) -> tuple[tuple[float, float, float], float, float]:
    """Return the share of bare hashing's rate with p10 and p90, the share of one SHA-256 over all, and MB/s."""
    key = SigningKey.generate("bench.example/ledger")
    writer, recorder = LedgerWriter(folder / "verified", Metrics(), key), make_recorder()
    for outcome in itertools.islice(itertools.cycle(outcomes), VERIFIED_LINES):
        writer.append((recorder.decision(outcome, released=True, whole=412),))
    writer.sign(time.time())  # noqa: TID251 - a benchmark's own clock
    writer.close()
    (segment,) = list_segments(folder / "verified")
    data = segment.path.read_bytes()
    lines = data.split(b"\n")[:-1]
    node = sha256(b"").digest()

    def ours() -> None:
        report = verify_folder(folder / "verified", [key.verifier], jobs=1)
        if report.faults:
            raise BenchError(f"the benchmark's own ledger does not verify: {report.faults[0]}")

    def bare() -> None:
        for line in lines:
            leaf = sha256(b"\0" + line).digest()
            sha256(b"\1" + node + leaf).digest()

    contenders: dict[str, Callable[[], float]] = {
        "ours": timed(ours, 1),
        "bare": timed(bare, 1),
        "bulk": timed(lambda: sha256(data).digest(), 1),
    }
    comparison = paired(contenders, "ours", rounds)
    share, bulk = comparison.ratio("bare"), comparison.ratio("bulk")
    return (share.median, share.p10, share.p90), bulk.median, len(data) / comparison.cost("ours").median * 1000


def run(folder: Path, rounds: int) -> tuple[list[list[str]], dict[str, float], dict[str, Target]]:
    """Measure everything; return the rows of the table, the figures and the targets."""
    outcomes = make_outcomes(BATCH)
    with quiet_collector():
        record, micros, size = measure_recording(folder, outcomes, rounds)
        rates, loads = uvloop.run(measure_synced(folder, outcomes, MIN_ROUNDS))
        share, bulk, speed = measure_verifying(folder, outcomes, MIN_ROUNDS)
    synced = spread_of([rate / PERFECT for rate in rates])
    limit = "the processor" if statistics.median(loads) > 0.9 else "the disk"
    rows = [
        ["recording a request, to the anchor", *_render(record), f"≤ {RECORD_AT_MOST:g}", f"{micros:.1f} µs"],
        ["a typical record", f"{size:.0f}", "", f"≤ {BYTES_AT_MOST}", "bytes"],
        [
            "synced, 5 ms, 64 at a time, to perfect",
            *_render((synced.median, synced.p10, synced.p90)),
            f"≥ {SYNCED_AT_LEAST:g}",
            f"{statistics.median(rates):,.0f}/s; {limit} was the limit ({statistics.median(loads):.2f} cores)",
        ],
        ["verifying, to bare hashing", *_render(share), f"≥ {VERIFY_AT_LEAST:g}", f"{speed:.0f} MB/s a core"],
        ["verifying, to one SHA-256 over all", f"{bulk:.2f}", "", "", ""],
    ]
    targets = {
        "recording": Target(record[0], RECORD_AT_MOST),
        "record_bytes": Target(size, BYTES_AT_MOST),
        "synced": Target(synced.median, SYNCED_AT_LEAST, at_most=False),
        "verifying": Target(share[0], VERIFY_AT_LEAST, at_most=False),
    }
    figures = {"recording_us": micros, "synced_per_second": statistics.median(rates), "verify_mb_per_second": speed}
    return rows, figures, targets


def _render(figure: tuple[float, float, float]) -> tuple[str, str]:
    return f"{figure[0]:.2f}", f"{figure[1]:.2f}-{figure[2]:.2f}"


def main() -> int:
    """Run the command; 2 when it could not measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=2 * MIN_ROUNDS + 1, help="pairs (default: %(default)s)")
    options = parser.parse_args()
    try:
        require(FIND)
        with TemporaryDirectory(prefix="sekisho-bench-") as name:
            rows, figures, targets = run(Path(name), options.rounds)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    print(render_table(("what", "figure", "p10-p90", "target", ""), rows))
    for what, target in targets.items():
        print(f"{what}: {'met' if target.met else 'MISSED'}")
    if options.json:
        print(render_json(figures, targets))
    return 0


if __name__ == "__main__":
    sys.exit(main())
