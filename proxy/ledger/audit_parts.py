# SPDX-License-Identifier: Apache-2.0
"""Verifies folders in which replicas and workers have written their ledgers: each as ``audit`` does, and all are there.

What a ledger says proves nothing of the others, so beyond that is held:

- The ledger in ``replica-a/worker-2`` is signed as that of ``replica-a/worker-2``: one that was put in another's place
  is found. A replica's folder may be named by itself, under its own name.
- A checkpoint that is kept elsewhere of a replica's or worker's ledger has its ledger here: one that was removed whole
  is found. Several folders may be named, such as one that replicas were moved to.

This module does I/O.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from proxy.errors import UsageError
from proxy.ledger.audit import Audit, Progress
from proxy.ledger.finding import Finding, Report
from proxy.ledger.inventory import find_foreign, peek_origin
from proxy.ledger.join import Head
from proxy.ledger.links import clean
from proxy.ledger.note import VerifierKey
from proxy.ledger.parts import REPLICA_LEVEL, find_part, find_rank, join_name, split_name
from proxy.ledger.segments import list_ledgers, list_segments


class _Place(msgspec.Struct, frozen=True):
    """Where a ledger lies, and what it is to be signed as there."""

    path: Path
    part: str
    """Of its whole."""
    origin: str
    """What it says itself that it is signed as; empty where that cannot be read."""
    scope: str
    """The name that the ledgers of the named folder have, or are below; empty where nothing tells it."""
    is_alone: bool
    """Whether the folder or file that was named is this very ledger, and holds no other: nothing says its part."""
    remarks: tuple[Finding, ...] = ()


class PartsAudit:
    """What is to be verified: a ledger, or those of several replicas and workers.

    Args:
        paths: folders of ledgers, or below which those of replicas and workers are; or files of lines.
        keys: whose signatures are believed.
        heads: checkpoints that are kept elsewhere.

    Raises:
        UsageError: there is no ledger.
    """

    def __init__(self, paths: Sequence[Path], keys: Sequence[VerifierKey], heads: Sequence[Head] = ()) -> None:
        self._places = [place for path in paths for place in _find_places(path)]
        claims = [self._claim(heads, place) for place in self._places]
        rest = [head for head in heads if not any(head in claim for claim in claims)]
        below = [head for head in rest if any(find_part(head.origin, place.scope) for place in self._places)]
        others = [head for head in rest if head not in below]
        if len(self._places) == 1 and self._places[0].is_alone:
            claims[0] += others
            others = []
        self._missing = [*below, *(head for head in others if not head.is_found)]
        self.audits = [Audit(place.path, keys, claim) for place, claim in zip(self._places, claims, strict=True)]

    def _claim(self, heads: Sequence[Head], place: _Place) -> list[Head]:
        """Return the checkpoints that are of a ledger, or of which none is, but one that lies where this one does."""
        origins = {each.origin for each in self._places}
        return [
            head
            for head in heads
            if head.origin == place.origin or (head.origin not in origins and split_name(head.origin)[1] == place.part)
        ]

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
        for place, audit in zip(self._places, self.audits, strict=True):
            found = audit.run(jobs, lambda more, done=done: progress(done + more))  # type: ignore[misc]
            reports += [_add(report, _hold_to_name(report, place), place.remarks) for report in found]
            done += audit.size_bytes
        return [_add(reports[0], [_tell_missing(head) for head in self._missing]), *reports[1:]]


def _find_places(path: Path) -> list[_Place]:
    """Return the ledgers at a place; those that nobody has begun are left out where there are others."""
    try:
        ledgers = list_ledgers(path) if path.is_dir() else [path]
        ledgers = [each for each in ledgers if len(ledgers) == 1 or list_segments(each)] or [path]
        origins = [peek_origin(each) for each in ledgers]
        if ledgers == [path]:
            part = split_name(origins[0])[1]
            return [_Place(path, part, origins[0], origins[0], is_alone=True)]
        places = [each.relative_to(path).as_posix().removeprefix(".") for each in ledgers]
        base = _find_base(path, places, origins)
        parts = [join_name(base, each) for each in places]
        scopes = [_find_scope(origin, part, base) for origin, part in zip(origins, parts, strict=True)]
        found = [_Place(*each, is_alone=False) for each in zip(ledgers, parts, origins, scopes, strict=True)]
        holders = dict.fromkeys([path, *(each.parent for each in ledgers if each != path)])
        remarks = tuple(each for folder in holders if folder not in ledgers for each in find_foreign(folder))
    except OSError as error:
        raise UsageError(f"{error.filename or path} cannot be read: {error.strerror}.") from error
    return [msgspec.structs.replace(found[0], remarks=remarks), *found[1:]]


def _find_base(path: Path, places: Sequence[str], origins: Sequence[str]) -> str:
    """Return the part of which a named folder is: that of a replica by name and content, else the whole."""
    name = path.resolve().name
    rank = find_rank(name)
    if rank is None or rank.level != REPLICA_LEVEL:
        return ""
    parts = [split_name(origin)[1] for origin in origins]
    is_whole = any(part and part == place for part, place in zip(parts, places, strict=True))
    is_replica = any(part == join_name(name, place) for part, place in zip(parts, places, strict=True))
    return name if is_replica and not is_whole else ""


def _find_scope(origin: str, part: str, base: str) -> str:
    """Return the name of the named folder's ledgers, where one of them is what it should be."""
    name, signed_part = split_name(origin)
    return join_name(name, base) if signed_part == part else ""


def _hold_to_name(report: Report, place: _Place) -> list[Finding]:
    """Hold a ledger to the place where it lies."""
    if place.is_alone:
        return []
    others = [origin for origin in report.origins if split_name(origin)[1] != place.part]
    where = clean(place.path.name)
    return [Finding("origin", "", 0, -1, f"the ledger in {where} is signed as {clean(each)}") for each in others]


def _tell_missing(head: Head) -> Finding:
    told = f"the checkpoint {clean(head.name)} is of the ledger {clean(head.origin)}, which is not here"
    return Finding("missing", "", 0, -1, told)


def _add(report: Report, faults: Sequence[Finding], remarks: Sequence[Finding] = ()) -> Report:
    return msgspec.structs.replace(report, faults=(*report.faults, *faults), remarks=(*report.remarks, *remarks))
