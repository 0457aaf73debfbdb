# SPDX-License-Identifier: Apache-2.0
"""Verifies a ledger as it lies on disk, segments in parallel in processes of their own. This module does I/O."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy.ledger.finding import Checked, Finding, Report
from proxy.ledger.inventory import Part, read_part, take_inventory
from proxy.ledger.join import Head, join_segments
from proxy.ledger.note import VerifierKey
from proxy.ledger.verify import check_segment

PARALLEL_BYTES: Final = 64 * 1024 * 1024
"""Less is not worth processes of its own."""
_POLL_SECONDS: Final = 0.1

Progress = Callable[[int], None]
"""Is told how many bytes are done in all."""
Result = Checked | Finding
"""What is known of a segment, or why it cannot be read."""


class Audit:
    """What is to be verified.

    Args:
        path: the folder of a ledger, or a file of lines.
        keys: whose signatures are believed.
        heads: checkpoints that are kept elsewhere.

    Raises:
        UsageError: there is no ledger.
    """

    def __init__(self, path: Path, keys: Sequence[VerifierKey], heads: Sequence[Head] = ()) -> None:
        self.path = path
        self._inventory = take_inventory(path, keys, heads)

    @property
    def size_bytes(self) -> int:
        """How much there is to read."""
        return sum(part.end - part.start for run in self._inventory.runs for part in run)

    def run(self, jobs: int = 1, progress: Progress = lambda _: None) -> list[Report]:
        """Verify all, and return a report for each run of a gateway; a folder is one.

        Args:
            jobs: how many processes may take part.
            progress: is told now and then how many bytes are done.
        """
        runs = self._inventory.runs
        results = iter(_check_all([part for run in runs for part in run], jobs, progress))
        checked = [[(part, next(results)) for part in run] for run in runs]
        heads, reports = list(self._inventory.heads), []
        for index, run in enumerate(checked):
            held = heads if index == len(checked) - 1 else [head for head in heads if _fits(head, run)]
            heads = [head for head in heads if head not in held]
            reports.append(self._join(run, held))
        return reports

    def _join(self, results: Sequence[tuple[Part, Result]], heads: Sequence[Head]) -> Report:
        places = {(each.name, each.first): part for part, each in results if isinstance(each, Checked)}
        checked = [each for _, each in results if isinstance(each, Checked)]
        findings = [*self._inventory.findings, *(each for _, each in results if isinstance(each, Finding))]

        def recheck(segment: Checked, peaks: tuple[bytes, ...]) -> Checked:
            part = places[segment.name, segment.first]
            task = msgspec.structs.replace(part.task, first=segment.first, peaks=peaks)
            again = _check(msgspec.structs.replace(part, task=task), lambda _: None)
            return again if isinstance(again, Checked) else segment

        is_alone = self._inventory.is_file
        return join_segments(str(self.path), checked, heads, recheck=recheck, findings=findings, is_alone=is_alone)


def verify_folder(path: Path, keys: Sequence[VerifierKey], heads: Sequence[Head] = (), jobs: int = 1) -> Report:
    """Verify the ledger in a folder.

    Raises:
        UsageError: there is none.
    """
    return Audit(path, keys, heads).run(jobs)[0]


def _fits(head: Head, results: Sequence[tuple[Part, Result]]) -> bool:
    """Tell whether a checkpoint was signed over lines of a run."""
    if head.head is None:
        return False
    checked = [each for _, each in results if isinstance(each, Checked)]
    known = [roots for each in checked for roots in (each.roots, *(end.roots for end in each.ends))]
    return any(roots.get(head.head.size) == head.head.root for roots in known)


def _check(part: Part, count: Progress) -> Result:
    try:
        return check_segment(part.task, read_part(Path(part.path), part.start, part.end, count))
    except OSError as error:
        told = f"this segment cannot be read: {error.strerror}"
        return Finding("unreadable", part.task.name, 0, -1, told)


def _check_all(parts: Sequence[Part], jobs: int, progress: Progress) -> list[Result]:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done)

    if jobs < 2 or len(parts) < 2 or sum(part.end - part.start for part in parts) < PARALLEL_BYTES:
        return [_check(part, count) for part in parts]
    context = multiprocessing.get_context("spawn")
    shared = context.Value("q", 0)
    with ProcessPoolExecutor(min(jobs, len(parts)), context, _begin_process, (shared,)) as pool:
        futures = [pool.submit(_check_in_process, part) for part in parts]
        waiting = set(futures)
        while waiting:
            _, waiting = wait(waiting, _POLL_SECONDS, FIRST_COMPLETED)
            progress(shared.value)
        return [future.result() for future in futures]


_shared: Any = None
"""In a process of the pool: how many bytes all of them have done."""


def _begin_process(shared: Any) -> None:
    global _shared  # noqa: PLW0603 - what the pool hands to each process once
    _shared = shared


def _check_in_process(part: Part) -> Result:
    def count(more: int) -> None:
        with _shared.get_lock():
            _shared.value += more

    return _check(part, count)
