# SPDX-License-Identifier: Apache-2.0
"""Verifies a folder in which workers have written their ledgers: each as ``audit`` does, and that all are there.

What a ledger says proves nothing of the others, so beyond that is held:

- The ledger in ``worker-2`` is signed as that of ``worker-2``: one that was put in another's place is found.
- A checkpoint that is kept elsewhere of a worker's ledger has its ledger here: one that was removed whole is found.

This module does I/O.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from proxy.errors import UsageError
from proxy.ledger.audit import Audit, Progress
from proxy.ledger.finding import Finding, Report
from proxy.ledger.join import Head
from proxy.ledger.links import clean
from proxy.ledger.note import VerifierKey
from proxy.ledger.parts import part_number, split_name
from proxy.ledger.segments import list_ledgers, list_segments


class PartsAudit:
    """What is to be verified: a ledger, or those of several workers.

    Args:
        path: the folder of a ledger, or below which those of workers are; or a file of lines.
        keys: whose signatures are believed.
        heads: checkpoints that are kept elsewhere.

    Raises:
        UsageError: there is no ledger.
    """

    def __init__(self, path: Path, keys: Sequence[VerifierKey], heads: Sequence[Head] = ()) -> None:
        ledgers = _find(path)
        self._unclaimed = list(heads) if len(ledgers) > 1 else []
        self.audits = [Audit(each, keys, self._claim(each, path) if len(ledgers) > 1 else heads) for each in ledgers]

    def _claim(self, ledger: Path, path: Path) -> list[Head]:
        """Take the checkpoints of one ledger, by the names that they are of."""
        part = "" if ledger == path else ledger.name
        held = [head for head in self._unclaimed if _part_of(head.origin) == part]
        self._unclaimed = [head for head in self._unclaimed if head not in held]
        return held

    @property
    def size_bytes(self) -> int:
        """How much there is to read."""
        return sum(audit.size_bytes for audit in self.audits)

    def run(self, jobs: int = 1, progress: Progress = lambda _: None) -> list[Report]:
        """Verify all, and return a report for each ledger, and for each run of a gateway in a file.

        Args:
            jobs: how many processes may take part.
            progress: is told now and then how many bytes are done.
        """
        reports, done = list[Report](), 0
        for audit in self.audits:
            found = audit.run(jobs, lambda more, done=done: progress(done + more))  # type: ignore[misc]
            reports += [_hold_to_name(report, audit.path) for report in found] if len(self.audits) > 1 else found
            done += audit.size_bytes
        wholes = {split[0] for report in reports for origin in report.origins if (split := split_name(origin))}
        missing = [head for head in self._unclaimed if (split := split_name(head.origin)) and split[0] in wholes]
        missing += [head for head in self._unclaimed if not head.is_found and head not in missing]
        return [_add(reports[0], [_tell_missing(head) for head in missing]), *reports[1:]]


def _find(path: Path) -> list[Path]:
    """Return the ledgers at a place; those of workers that have not begun are left out where there are others."""
    try:
        ledgers = list_ledgers(path) if path.is_dir() else [path]
        return [each for each in ledgers if len(ledgers) == 1 or list_segments(each)] or [path]
    except OSError as error:
        raise UsageError(f"{error.filename or path} cannot be read: {error.strerror}.") from error


def _part_of(origin: str) -> str:
    split = split_name(origin)
    return split[1] if split else ""


def _hold_to_name(report: Report, path: Path) -> Report:
    """Hold a worker's ledger to the name of its folder."""
    if part_number(path.name) is None:
        return report
    others = [origin for origin in report.origins if _part_of(origin) != path.name]
    told = [
        Finding("origin", "", 0, -1, f"the ledger in {clean(path.name)} is signed as {clean(origin)}")
        for origin in others
    ]
    return _add(report, told)


def _tell_missing(head: Head) -> Finding:
    told = f"the checkpoint {clean(head.name)} is of the ledger {clean(head.origin)}, which is not here"
    return Finding("missing", "", 0, -1, told)


def _add(report: Report, faults: Sequence[Finding]) -> Report:
    return msgspec.structs.replace(report, faults=(*report.faults, *faults)) if faults else report
