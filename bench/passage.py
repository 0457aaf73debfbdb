# SPDX-License-Identifier: Apache-2.0
"""What a request costs between its parsed head and the bytes that leave: judging, recording and counting it.

- *Allowed*: a small GET of a caller who was seen before, with the same fields, of another user's record each time; its
  answer is in hand, its line in the tree and in the kernel (one ``write``), its outcome counted.
- *Denied*: the same request by a caller whom the policy denies; the problem document is rendered.
- Each beside SHA-256 over 64 KiB in the same round, in CPU time: others may use the machine meanwhile. What stays the
  same however noisy it is, is the number of steps that the interpreter takes; the functions that take most are told.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from bench.harness import (
    MIN_ROUNDS,
    BenchError,
    Target,
    paired,
    quiet_collector,
    render_json,
    render_table,
)
from bench.ledger import make_writer
from bench.outcomes import make_checkpoint
from proxy.clock import elapsed_seconds, unix_seconds
from proxy.gateway.ids import make_request_id
from proxy.gateway.problem import render_problem
from proxy.ledger.journal import Journal
from proxy.model.request import RequestHead, ResponseHead
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Forward, Refuse, Release
from proxy.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from proxy.model.request import Headers

ALLOWED_AT_MOST: Final = 40.0
"""Microseconds."""
DENIED_AT_MOST: Final = 35.0
USERS: Final = 4096
BATCH: Final = 512
ANCHOR_BYTES: Final = 64 * 1024
TRACED: Final = 64
SHOWN: Final = 12
"""Functions that are told."""
STAFF: Final[dict[str, Any]] = {"affiliate": "ly", "employment_type": "employee", "residence_country": "JP"}
ENGINEER: Final[dict[str, Any]] = STAFF | {"affiliate": "shanghai-digital", "residence_country": "CN"}
ANSWER: Final = (
    ("Server", "nginx/1.22.1"),
    ("Date", "Sun, 22 Nov 2026 06:04:01 GMT"),
    ("Content-Type", "application/json"),
    ("Content-Length", "412"),
    ("Last-Modified", "Sun, 22 Nov 2026 06:04:01 GMT"),
    ("Connection", "keep-alive"),
    ("ETag", '"63-19c"'),
    ("Accept-Ranges", "bytes"),
)


@dataclass(frozen=True, slots=True)
class Rig:
    """Hold all that a request goes through."""

    checkpoint: Checkpoint
    journal: Journal
    metrics: Metrics
    staff: Headers
    engineer: Headers

    def begin(self, number: int, fields: Headers) -> tuple[float, Passage, object]:
        """Judge a request."""
        started, now = elapsed_seconds(), unix_seconds()
        passage = Passage(self.checkpoint, make_request_id(now), now)
        step = passage.begin(RequestHead("GET", f"/v1/jp/users/{number}", fields, "127.0.0.1"))
        self.metrics.decision_seconds.observe(elapsed_seconds() - started)
        return started, passage, step

    def allow(self, number: int) -> None:
        """Take one request that is allowed to the end of its answer."""
        started, passage, step = self.begin(number, self.staff)
        if not isinstance(step, Forward):
            raise BenchError(f"a request of the benchmark was not allowed: {step}")
        release = passage.answer(ResponseHead(200, ANSWER), 412, elapsed_seconds() - started)
        if not isinstance(release, Release):
            raise BenchError(f"an answer of the benchmark was not released: {release}")
        self.journal.append(release.lines)
        passage.note_written()
        self.metrics.count_outcome(release.outcome)
        passage.end(complete=True, bytes_sent=412)
        self.metrics.passage_seconds.observe(elapsed_seconds() - started)

    def deny(self, number: int) -> None:
        """Take one request that is denied to its problem document."""
        started, passage, step = self.begin(number, self.engineer)
        if not isinstance(step, Refuse):
            raise BenchError("a request of the benchmark was not denied")
        self.journal.append(step.lines)
        passage.note_written()
        self.metrics.count_outcome(step.outcome)
        render_problem(step.outcome, step.outcome.reason, step.allowed_methods, tell_rule=False)
        self.metrics.passage_seconds.observe(elapsed_seconds() - started)


def make_rig(folder: Path) -> Rig:
    """Return a rig under the reference bundle, with a ledger in a folder."""
    checkpoint, issuer = make_checkpoint()
    now = unix_seconds()
    staff, engineer = (_fields(issuer.token(now, sub="e-000417", **claims)) for claims in (STAFF, ENGINEER))
    return Rig(checkpoint, Journal(make_writer(folder)), Metrics(), staff, engineer)


def _fields(token: str) -> Headers:
    """Return the fields of one caller: one object, as whoever parses heads gives for the same bytes."""
    return (
        ("Host", "users.internal"),
        ("User-Agent", "h2load nghttp2/1.52.0"),
        ("Accept", "*/*"),
        ("Authorization", f"Bearer {token}"),
        ("X-Forwarded-For", "10.20.3.7"),
    )


def in_turn(take: Callable[[int], None]) -> Callable[[], None]:
    """Return what takes the next user's request."""
    users = itertools.cycle(range(USERS))
    return lambda: take(next(users))


def on_the_processor(operation: Callable[[], object], repetitions: int) -> Callable[[], float]:
    """Return a contender for `paired`: nanoseconds of CPU time per operation of one batch."""

    def measure() -> float:
        started = time.process_time_ns()
        for _ in itertools.repeat(None, repetitions):
            operation()
        return (time.process_time_ns() - started) / repetitions

    return measure


def count_steps(take: Callable[[int], None]) -> Counter[str]:
    """Return how many steps the interpreter takes for a request, by function."""
    steps: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            code = frame.f_code
            steps[f"{Path(code.co_filename).stem}.{code.co_qualname}"] += 1
        return trace

    take(0)
    sys.settrace(trace)
    try:
        for number in range(TRACED):
            take(number)
    finally:
        sys.settrace(None)
    return steps


def run(folder: Path, rounds: int) -> tuple[list[list[str]], dict[str, float], dict[str, Target]]:
    """Measure everything; return the rows of the table, the figures and the targets."""
    rig = make_rig(folder / "ledger")
    data = os.urandom(ANCHOR_BYTES)
    takes = {"allowed": rig.allow, "denied": rig.deny}
    with quiet_collector():
        contenders = {name: on_the_processor(in_turn(take), BATCH) for name, take in takes.items()}
        contenders["anchor"] = on_the_processor(lambda: sha256(data).digest(), BATCH)
        comparison = paired(contenders, "anchor", rounds)
        steps = {name: count_steps(take) for name, take in takes.items()}
    rig.journal.writer.close()
    rows: list[list[str]] = []
    figures: dict[str, float] = {}
    for name in takes:
        ratio, cost, taken = comparison.ratio(name), comparison.cost(name), sum(steps[name].values()) / TRACED
        rows.append([name, f"{cost.median / 1000:.1f} µs", f"{ratio.median:.2f}", f"{taken:,.0f}"])
        figures |= {f"{name}_us": cost.median / 1000, f"{name}_to_anchor": ratio.median, f"{name}_steps": taken}
        most = steps[name].most_common(SHOWN)
        rows += [["  " + function, "", "", f"{count / TRACED:,.0f}"] for function, count in most]
    rows.append(["anchor", f"{comparison.cost('anchor').median / 1000:.1f} µs", "1.00", ""])
    targets = {
        "allowed": Target(figures["allowed_us"], ALLOWED_AT_MOST),
        "denied": Target(figures["denied_us"], DENIED_AT_MOST),
    }
    return rows, figures, targets


def main() -> int:
    """Run the command; 2 when it could not measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.passage", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help="pairs (default and least: %(default)s)")
    options = parser.parse_args()
    try:
        with TemporaryDirectory(prefix="sekisho-bench-") as name:
            rows, figures, targets = run(Path(name), options.rounds)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    print(render_table(("request", "cost", "to the anchor", "steps"), rows))
    for what, target in targets.items():
        print(f"{what}: {'met' if target.met else 'MISSED'}")
    if options.json:
        print(render_json(figures, targets))
    return 0


if __name__ == "__main__":
    sys.exit(main())
