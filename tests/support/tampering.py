# SPDX-License-Identifier: Apache-2.0
"""Ledgers that the real writer makes at a clock of the test's, and what is done to their files."""

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from proxy.clock import render_instant
from proxy.ledger.entry import FIRST_PREV, encode_body, frame
from proxy.ledger.lines import CheckpointLine, EndLine, Line, SegmentLine, StartLine, StopLine
from proxy.ledger.merkle import Frontier, leaf_hash
from proxy.ledger.note import SigningKey
from proxy.ledger.segments import list_segments, segment_name
from proxy.ledger.tree_head import TreeHead, sign_tree_head
from proxy.ledger.writer import LedgerWriter, Limits
from proxy.telemetry import Metrics
from tests.support.ledger import KEY

NOON: Final = 1_795_348_800.0
"""2026-11-22T12:00:00Z."""
START: Final = StartLine(version="1", durability="written", geolocation="", upstreams={}, key_places={})


class Maker:
    """Writes a ledger.

    Args:
        folder: of the ledger.
        segment_bytes: after which a segment ends.
        checkpoint_lines: after how many lines it is signed.
        begin: the first instant.
    """

    def __init__(
        self, folder: Path, segment_bytes: int = 2**26, checkpoint_lines: int = 10, begin: float = NOON
    ) -> None:
        self.folder = folder
        self.now = begin
        limits = Limits(segment_bytes=segment_bytes, checkpoint_lines=checkpoint_lines)
        self.writer = LedgerWriter(folder, Metrics(), KEY, limits, lambda: self.now)

    def append(self, *lines: Line) -> None:
        self.now += 0.5
        self.writer.append(lines)

    def ends(self, count: int) -> None:
        """Append as many ``end`` lines."""
        for number in range(count):
            self.append(EndLine(id=f"{self.writer.size:026d}", status=200, complete=True, bytes=number))

    def idle(self, seconds: float) -> None:
        """Let time pass in which the gateway does what time asks for."""
        until = self.now + seconds
        while self.now < until:
            self.now += 60
            self.writer.tick()

    def sign(self) -> None:
        self.writer.sign(self.now)

    def publish(self) -> None:
        self.writer.publish()

    def stop(self) -> None:
        """Stop as a gateway does."""
        self.append(StopLine())
        self.sign()
        self.publish()
        self.writer.close()


def make_ledger(folder: Path, count: int = 60, segment_bytes: int = 5000) -> Path:
    """Write a ledger from start to stop."""
    maker = Maker(folder, segment_bytes)
    maker.append(START)
    maker.ends(count)
    maker.stop()
    return folder


def edit(path: Path, change: Callable[[list[bytes]], Sequence[bytes]]) -> None:
    """Change the lines of a file."""
    lines = path.read_bytes().split(b"\n")
    rest = lines.pop()
    path.write_bytes(b"".join(line + b"\n" for line in change(lines)) + rest)


def segment_paths(folder: Path) -> list[Path]:
    """Return the files of a ledger, oldest first."""
    return [segment.path for segment in list_segments(folder)]


def link_anew(folder: Path) -> None:
    """Number and link all lines of a folder anew, as somebody can who has everything but the signing key."""
    frontier, prev = Frontier(), FIRST_PREV
    for path in segment_paths(folder):
        lines = []
        for line in path.read_bytes().split(b"\n")[:-1]:
            told = json.loads(line)
            time = told.pop("time").encode()
            del told["n"], told["prev"]
            if told["line"] == "segment":
                told["peaks"] = [base64.b64encode(peak).decode() for peak in frontier.peaks]
            lines.append(frame(frontier.size, prev, time, encode_body(told)))
            leaf = leaf_hash(lines[-1])
            frontier.append(leaf)
            prev = base64.b64encode(leaf)
        path.unlink()
        first = frontier.size - len(lines)
        path.with_name(segment_name(first)).write_bytes(b"".join(line + b"\n" for line in lines))


class Script:
    """Lines of one segment, linked as a writer links them, whatever they say.

    Args:
        origin: that the first line names.
    """

    def __init__(self, origin: str = KEY.name) -> None:
        self.lines: list[bytes] = []
        self.frontier = Frontier()
        self.prev = FIRST_PREV
        self.now = NOON
        self.add(SegmentLine(format=1, origin=origin, segment=0, peaks=()), 0)

    def add(self, line: object, seconds: float = 1, time: bytes = b"") -> "Script":
        """Append a line so many seconds after the one before, or one that says another time."""
        self.now += seconds
        time = time or render_instant(self.now).encode()
        self.lines.append(frame(self.frontier.size, self.prev, time, encode_body(line)))
        leaf = leaf_hash(self.lines[-1])
        self.frontier.append(leaf)
        self.prev = base64.b64encode(leaf)
        return self

    def ends(self, count: int) -> "Script":
        """Append as many ``end`` lines."""
        for _ in range(count):
            self.add(EndLine(id="0" * 26, complete=True))
        return self

    def sign(self, key: SigningKey = KEY, *, size: int = -1, root: bytes = b"", seconds: float = 1) -> "Script":
        """Append a checkpoint."""
        size = self.frontier.size if size < 0 else size
        head = TreeHead(key.name, size, root or self.frontier.root())
        return self.add(CheckpointLine(note=sign_tree_head(key, head)), seconds)

    @property
    def data(self) -> bytes:
        """The bytes of the segment."""
        return b"".join(line + b"\n" for line in self.lines)
