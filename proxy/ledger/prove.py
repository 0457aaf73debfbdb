# SPDX-License-Identifier: Apache-2.0
"""Finds lines in a ledger folder and proves them from its segments. This module does I/O, and writes nothing.

A proof is made from the frontier in a segment's first line on, so that older segments need not be there. Where a
line on the way was changed, the whole hash that the next one has of it stands in: one damaged line takes no proof
away but its own.
"""

import base64
import binascii
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import msgspec

from proxy.clock import render_instant
from proxy.ledger.entry import Frame, read_frame
from proxy.ledger.lines import CheckpointLine, SegmentLine
from proxy.ledger.merkle import Frontier, leaf_hash, prove_consistency, prove_inclusion, verify_inclusion
from proxy.ledger.note import NoteError, VerifierKey, read_unverified
from proxy.ledger.proof import InclusionProof
from proxy.ledger.segments import Segment, read_blocks
from proxy.ledger.tree_head import TreeHead, open_tree_head, parse_tree_head
from proxy.model.request_id import read_instant

_SIGNED: Final = b'"line":"checkpoint"'
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_AT_ONCE: Final = 4096
_TOLD: Final = 3
"""How many checkpoints that were passed over are told."""
_FRAME_BYTES: Final = 256
"""No frame is longer."""


class NotProvenError(Exception):
    """Something cannot be proven from a ledger; says why in a clause."""


class NotCoveredError(NotProvenError):
    """A line is younger than the last checkpoint."""


class Place(msgspec.Struct, frozen=True):
    """Where a line stands."""

    segment: Segment
    number: int
    """By counting: that of the segment's first line and how many stand between."""
    entry: bytes
    """Without its newline."""


class Proven(msgspec.Struct, frozen=True):
    """A line with its proof, which holds."""

    proof: InclusionProof
    head: TreeHead
    passed: tuple[str, ...]
    """Checkpoints on the way that were not to be believed, the first few, each as a clause that says why."""


def find_decision(segments: Sequence[Segment], request_id: str) -> Place | None:
    """Find the decision line of a request. The id says when it was asked, and so where to begin.

    Raises:
        OSError: a segment cannot be read.
    """
    needle = b'"id":"%b"' % request_id.encode()
    for segment in _order(segments, request_id):
        for number, entry in enumerate(_read_segment(segment), segment.first):
            if needle in entry and _is_decision(entry, request_id):
                return Place(segment, number, entry)
    return None


def find_among(ledgers: Iterable[Sequence[Segment]], request_id: str) -> tuple[Sequence[Segment], Place] | None:
    """Find the decision line of a request in one of several ledgers, and return the segments of that one, too.

    Raises:
        OSError: a segment cannot be read.
    """
    found = ((segments, find_decision(segments, request_id)) for segments in ledgers)
    return next(((segments, place) for segments, place in found if place is not None), None)


def prove_line(segments: Sequence[Segment], place: Place, keys: Sequence[VerifierKey], note: str = "") -> Proven:
    """Prove a line in the first checkpoint after it, or in one that was kept elsewhere.

    Args:
        segments: of the ledger, oldest first.
        place: of the line.
        keys: those that are believed; without any, signatures are not verified.
        note: the checkpoint that was kept; empty for the ledger's own.

    Raises:
        NotProvenError: it cannot be; says why.
        OSError: a segment cannot be read.
    """
    passed: list[str] = []
    if note:
        head = open_head(note, keys)
        if place.number >= head.size:
            raise NotCoveredError(f"the checkpoint covers {head.size} lines, and line {place.number} is not among them")
    else:
        head, note = _find_checkpoint(segments, place, keys, passed)
    frontier, lines = _begin_before(segments, place.number)
    try:
        hashes = prove_inclusion(frontier, mend_leaves(lines), place.number, head.size)
    except ValueError as error:
        raise NotProvenError(
            f"the checkpoint covers {head.size} lines, and {error}: the end of the ledger is gone"
        ) from None
    if not verify_inclusion(leaf_hash(place.entry), place.number, head.size, hashes, head.root):
        raise NotProvenError(_explain_mismatch(segments, place, head, hashes))
    return Proven(InclusionProof(place.number, hashes, note, place.entry), head, tuple(passed))


def prove_growth(segments: Sequence[Segment], earlier: TreeHead, later: TreeHead) -> tuple[bytes, ...]:
    """Prove that a checkpoint continues an earlier one, from the lines between them.

    Raises:
        NotProvenError: it does not, or the lines do not show it; says why.
        OSError: a segment cannot be read.
    """
    if earlier.origin != later.origin:
        raise NotProvenError(f"one checkpoint is of {earlier.origin}, the other of {later.origin}")
    if earlier.size == later.size and earlier.root != later.root:
        raise NotProvenError(
            f"{earlier.origin} signed two different ledgers of {earlier.size} lines: one of them was shown to you alone"
        )
    if earlier.size in {0, later.size}:
        return ()
    frontier, lines = _begin_before(segments, earlier.size)
    stream = mend_leaves(lines)
    tree = frontier.copy()
    for head, which in ((earlier, "earlier"), (later, "later")):
        while tree.size < head.size:
            leaves = list(islice(stream, min(_AT_ONCE, head.size - tree.size)))
            if not leaves:
                raise NotProvenError(
                    f"the {which} checkpoint covers {head.size} lines, and the ledger has {tree.size}: its end is gone"
                )
            tree.extend(leaves)
        if tree.root() != head.root:
            raise NotProvenError(
                f"the first {head.size} lines of the ledger are not those that the {which} checkpoint signs: "
                "they were changed, or it is the checkpoint of another ledger"
            )
    _, lines = _begin_before(segments, earlier.size)
    return prove_consistency(frontier, mend_leaves(lines), earlier.size, later.size)


def root_at(segments: Sequence[Segment], size: int) -> bytes | None:
    """Return the root of the tree over the first lines of a ledger; None where they are not all kept.

    Raises:
        OSError: a segment cannot be read.
    """
    try:
        frontier, lines = _begin_before(segments, size)
        stream, tree = mend_leaves(lines), frontier.copy()
        while tree.size < size:
            leaves = list(islice(stream, min(_AT_ONCE, size - tree.size)))
            if not leaves:
                return None
            tree.extend(leaves)
    except NotProvenError:
        return None
    return tree.root()


def open_head(note: str, keys: Sequence[VerifierKey]) -> TreeHead:
    """Read a checkpoint, verified if there are keys.

    Raises:
        NotProvenError: it is none, or not to be believed.
    """
    try:
        return open_tree_head(note, keys) if keys else parse_tree_head(read_unverified(note))
    except NoteError as error:
        raise NotProvenError(f"the checkpoint does not hold: {error}") from None


def mend_leaves(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the leaf of each line; of one that was changed, what the intact line after it has of it."""
    stream, ended = iter(lines), None
    leaf = middle = told = b""
    while True:
        try:
            line = next(stream, None)
        except NotProvenError as error:  # what stands before a gap can be proven
            line, ended = None, error
        if line is None:
            break
        last, prev = leaf_hash(line), _read_prev(line)
        if leaf:
            yield told if told and prev == middle else leaf
        leaf, middle, told = middle, last, prev
    yield from filter(None, (told or leaf if leaf else b"", middle))
    if ended is not None:
        raise ended


def _read_prev(line: bytes) -> bytes:
    """Return the hash that a line has of the one before it; empty where it begins as none of a ledger."""
    frame = read_frame(line)
    return binascii.a2b_base64(frame.prev) if frame else b""


def _read_segment(segment: Segment) -> Iterator[bytes]:
    file = _open(segment)
    try:
        for lines in read_blocks(file, os.fstat(file).st_size):
            yield from lines
    finally:
        os.close(file)


def _read_on(segments: Iterable[Segment]) -> Iterator[bytes]:
    """Yield the lines of segments that follow from each other.

    Raises:
        NotProvenError: lines between two of them are missing, or there are too many.
    """
    number = -1
    for segment in segments:
        if number not in {-1, segment.first}:
            raise NotProvenError(
                f"line {number} should begin the segment {segment.path.name}: some are missing before it"
            )
        number = segment.first
        for line in _read_segment(segment):
            yield line
            number += 1


def _read_from(segments: Sequence[Segment], first: Segment) -> Iterator[bytes]:
    return _read_on(each for each in segments if each.first >= first.first)


def _begin_before(segments: Sequence[Segment], number: int) -> tuple[Frontier, Iterator[bytes]]:
    """Return the nearest frontier at or before a line, and the lines from there on."""
    for at in range(len(segments) - 1, -1, -1):
        if segments[at].first <= number:
            frontier = _read_frontier(segments[at])
            if frontier is not None:
                return frontier, _read_on(segments[at:])
    kept = f"the first that is kept is {segments[0].first}" if segments else "there is no segment"
    raise NotProvenError(f"nothing before line {number} says what it follows from: {kept}")


def _read_frontier(segment: Segment) -> Frontier | None:
    """Return the frontier that a segment begins with, None where its first line is not as it was written."""
    if segment.first == 0:
        return Frontier()
    first, second = [*islice(_read_segment(segment), 2), b"", b""][:2]
    prev = _read_prev(second)
    if prev and prev != leaf_hash(first):
        return None
    try:
        peaks = [base64.b64decode(peak, validate=True) for peak in msgspec.json.decode(first, type=SegmentLine).peaks]
        return Frontier(segment.first, peaks)
    except (*_UNREADABLE, ValueError):
        return None


def _find_checkpoint(
    segments: Sequence[Segment], place: Place, keys: Sequence[VerifierKey], passed: list[str]
) -> tuple[TreeHead, str]:
    """Return the first checkpoint after a line that is to be believed."""
    last = place.number
    for last, line in enumerate(_read_from(segments, place.segment), place.segment.first):
        if last > place.number and _SIGNED in line and (frame := read_frame(line)) and frame.kind == "checkpoint":
            try:
                return _read_checkpoint(line, last, keys)
            except NotProvenError as error:
                if len(passed) < _TOLD:
                    passed.append(f"line {last}: {error}")
    if passed:
        raise NotProvenError(f"no checkpoint after line {place.number} is to be believed: {'; '.join(passed)}")
    raise NotCoveredError(f"line {place.number} is not yet covered by a checkpoint: the last line is {last}")


def _read_checkpoint(line: bytes, number: int, keys: Sequence[VerifierKey]) -> tuple[TreeHead, str]:
    try:
        note = msgspec.json.decode(line, type=CheckpointLine).note
    except _UNREADABLE:
        raise NotProvenError("the checkpoint cannot be read") from None
    head = open_head(note, keys)
    if head.size != number:
        raise NotProvenError(f"the checkpoint covers {head.size} lines")
    return head, note


def _explain_mismatch(segments: Sequence[Segment], place: Place, head: TreeHead, hashes: tuple[bytes, ...]) -> str:
    told = next(islice(_read_from(segments, place.segment), place.number + 1 - place.segment.first, None), b"")
    if verify_inclusion(_read_prev(told), place.number, head.size, hashes, head.root):
        return (
            f"line {place.number} was changed after it was signed: its hash is {leaf_hash(place.entry).hex()}, "
            f"and the tree has {_read_prev(told).hex()} in its place"
        )
    return (
        f"the lines of the ledger are not the {head.size} that the checkpoint signs, so line {place.number} cannot be "
        "proven: `sekisho ledger verify` tells which were changed"
    )


def _is_decision(entry: bytes, request_id: str) -> bool:
    """Tell whether a line that holds an id is the decision of it. One that cannot be read is taken: it was changed."""
    frame = read_frame(entry)
    if frame is None:
        return True
    if frame.kind != "decision":
        return False
    try:
        return msgspec.json.decode(entry, type=_Named).id == request_id
    except _UNREADABLE:
        return True


class _Named(msgspec.Struct):
    id: str


def _order(segments: Sequence[Segment], request_id: str) -> list[Segment]:
    """Return segments in the order in which to search them: from the last that begins before the request was asked."""
    asked = _render_asked(request_id)
    first = 0
    for at, segment in enumerate(segments):
        frame = _read_head(segment)
        if frame is not None and frame.time <= asked:
            first = at
    return [*segments[first:], *segments[:first][::-1]]


def _render_asked(request_id: str) -> bytes:
    """Return when a request was asked, as frames have it; empty where its id does not say."""
    try:
        return render_instant(read_instant(request_id) or 0.0).encode()
    except (ValueError, OverflowError):  # after the last year that there is
        return b""


def _read_head(segment: Segment) -> Frame | None:
    """Return the frame of a segment's first line. There may be thousands: no more is read."""
    file = _open(segment)
    try:
        return read_frame(os.pread(file, _FRAME_BYTES, 0))
    finally:
        os.close(file)


def _open(segment: Segment) -> int:
    return os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe of that name is not waited for
