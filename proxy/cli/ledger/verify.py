# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger verify DIR --key VKEY``: whether a ledger is as it was written, offline, by its lines alone."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from proxy.cli.ledger.keys import add_key_flag, find_verifier_keys
from proxy.errors import UsageError
from proxy.ledger.audit import Progress as Told
from proxy.ledger.audit_parts import PartsAudit
from proxy.ledger.finding import Report
from proxy.ledger.inventory import read_heads
from proxy.ledger.links import clean

LISTED: Final = 50
"""Faults that are printed; all of them stand in the JSON."""
_UNSIGNED: Final = frozenset({"forged", "unsigned"})
"""Faults that a ledger has, too, whose key is another one, or that is young."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add(
        "ledger",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="the folder of the ledger, or a file of lines that a collector took; several where its parts were moved",
    )
    add_key_flag(parser)
    add(
        "--checkpoint",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a checkpoint kept elsewhere, or a folder of them: the ledger must go on from each; may be repeated",
    )
    add("--jobs", type=int, default=0, metavar="N", help="processes that take part; as many as processors if left out")
    add("--json", action="store_true", help="print one JSON object")
    parser.epilog = (
        "The ledgers of replicas and workers below DIR are verified each, and that none lies in another's place. "
        "Exit code 0: it is as it was written; 1: it is not, and where, or nothing proves it; 2: it cannot be verified."
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what is wrong, or what stands; return 1 where anything is wrong."""
    if options.jobs < 0:
        raise UsageError("--jobs is a number of processes, 1 or more.")
    keys = find_verifier_keys(options.key)
    audit = PartsAudit(options.ledger, keys, read_heads(options.checkpoint, keys))
    with _progress(audit.size_bytes) as told:
        reports = audit.run(options.jobs or len(os.sched_getaffinity(0)), told)
    if options.json:
        print(msgspec.json.encode({"good": all(each.is_good for each in reports), "runs": reports}).decode())
    else:
        _print(reports, [str(each) for each in options.ledger])
    return 0 if all(report.is_good for report in reports) else 1


@contextmanager
def _progress(total: int) -> Iterator[Told]:
    """Show on a terminal how far it is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("verifying"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda done: progress.update(task, completed=done)


def _print(reports: list[Report], paths: Sequence[str]) -> None:
    listed = LISTED
    for index, report in enumerate(reports, 1):
        if len(reports) > 1:
            what = "run" if report.name in paths and len(paths) == 1 else f"{clean(report.name)},"
            print(f"{what} {index} of {len(reports)}:")
        for fault in report.faults[:listed]:
            print(fault)
        hidden = len(report.faults) - listed + report.more
        listed = max(0, listed - len(report.faults))
        if hidden > 0:
            print(f"and {_count(hidden, 'fault')} more: --json lists them")
        for line in _summary(report):
            print(line)
    bad = sum(len(report.faults) + report.more for report in reports)
    if bad:
        print(f"{', '.join(map(clean, paths))} {_conclude(reports, bad)}", file=sys.stderr)


def _conclude(reports: list[Report], bad: int) -> str:
    """Say in a sentence what the faults come to; that nothing is signed yet, or by others, is no change of anything."""
    kinds = {fault.kind for report in reports for fault in report.faults}
    if kinds <= _UNSIGNED and not any(report.checkpoints for report in reports):
        return (
            "is NOT proven: no checkpoint in it is signed by a key that was given. Is it the verifier key of this "
            "ledger? And a gateway signs for the first time a minute after it starts."
        )
    return f"is NOT as it was written: {_count(bad, 'fault')}."


def _summary(report: Report) -> Iterator[str]:
    verdict = "good" if report.is_good else "NOT good"
    origins = ", ".join(map(clean, report.origins)) or "unknown"
    yield f"{verdict}: ledger {origins}"
    numbers = f" ({report.first:,} to {report.next - 1:,})" if report.next > report.first else ""
    yield (
        f"  {_count(report.lines, 'line')}{numbers} "
        f"in {_count(report.segments, 'segment')}, {report.size_bytes:,} bytes"
    )
    if report.since:
        yield f"  from {report.since} to {report.until}"
    for key, count in report.checkpoints.items():
        yield f"  {_count(count, 'checkpoint')} signed by {clean(key)}"
    if report.heads:
        yield f"  {_count(report.heads, 'checkpoint')} kept elsewhere that the ledger goes on from"
    if report.is_ended:
        yield "  its gateway stopped in order, and signed that"
    yield f"  proven: {', '.join(_range(*each) for each in report.proven) or 'nothing'}"
    for remark in report.remarks[:LISTED]:
        yield f"  remark: {remark}"
    if len(report.remarks) > LISTED:
        yield f"  and {_count(len(report.remarks) - LISTED, 'remark')} more"


def _range(first: int, last: int) -> str:
    return f"line {first:,}" if first == last else f"lines {first:,} to {last:,}"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
