# SPDX-License-Identifier: Apache-2.0
"""What a verification finds, as values that travel between processes."""

from typing import Final

import msgspec

from proxy.ledger.note import VerifierKey

MAX_FINDINGS: Final = 10_000
"""Of one segment; what lies beyond is counted."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong, or worth knowing."""

    kind: str
    """One word for programs: edited, missing, inserted, …"""
    segment: str
    """The name of the file; empty where it is about the whole."""
    line: int
    """The line of that file, from 1; 0 where it is about the file."""
    n: int
    """The number of the line in the ledger; -1 where there is none."""
    message: str
    fault: bool = True
    """False for a remark: no reason to doubt the ledger."""

    def __str__(self) -> str:
        if not self.segment:
            return self.message
        place = f"{self.segment}:{self.line}" if self.line else self.segment
        number = f" (n {self.n})" if self.n >= 0 else ""
        return f"{place}{number}: {self.message}"


class Follower(msgspec.Struct, frozen=True):
    """What the first line of the next segment says of the last line before it."""

    n: int
    prev: bytes
    """32 bytes."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One segment to check."""

    name: str
    first: int
    """The number of its first line, as its name says."""
    keys: tuple[VerifierKey, ...]
    peaks: tuple[bytes, ...] | None = None
    """Of the tree over the lines before it; None: as its first line says."""
    follower: Follower | None = None
    is_last: bool = True
    """Whether nothing stands after it, so that somebody may be writing it."""
    is_stream: bool = False
    """Whether lines came through a pipe: one of which half has left is written again, behind that half."""
    sizes: tuple[int, ...] = ()
    """Sizes at which the root of the tree is asked for."""
    line: int = 0
    """How many lines of the file stand before it (a run in a file of several)."""


class Signed(msgspec.Struct, frozen=True):
    """A checkpoint that holds: signed by a key that is believed, over the very lines before it."""

    size: int
    key: str


class End(msgspec.Struct, frozen=True):
    """One reading of a segment up to its end."""

    peaks: tuple[bytes, ...]
    """Of the tree after its last line."""
    edited: tuple[tuple[int, int], ...]
    """Line of the file and number of each line that was changed, by this reading."""
    more: int
    """How many were changed beyond those."""
    roots: dict[int, bytes]
    """Those that were asked for."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one segment by itself."""

    name: str
    first: int
    """The number of its first line."""
    next: int
    """The number after that of its last line."""
    lines: int
    """Of the file."""
    size_bytes: int
    origin: str
    """As its first line says; empty where that cannot be read."""
    prev: bytes
    """As its first line says: the leaf before it; empty where that cannot be read."""
    peaks: tuple[bytes, ...] | None
    """Of the tree over the lines before it, by which it was checked; None where they are not known."""
    stated: tuple[bytes, ...] | None
    """Those that its first line says."""
    leaf: bytes
    """Of its last line, as it stands there; empty without one."""
    ends: tuple[End, ...]
    """Readings of its lines, the likeliest first; none where the tree is lost."""
    roots: dict[int, bytes]
    """Those that were asked for, as far as they are certain."""
    signed: tuple[Signed, ...]
    signed_at: str
    """When the last of them was signed, or a gateway started behind it; empty without either."""
    chained: int
    """From this line to the last each one says what the one before was."""
    since: str
    until: str
    """The first and the last instant; empty without lines."""
    opening: str
    """``start`` where a gateway starts with it, ``on`` where one goes on, empty where neither can be seen."""
    stopped: bool | None
    """Whether a gateway stopped in order at its end; None where it neither started nor stopped in it."""
    start: tuple[int, int] | None
    """Line and number of a start that nothing before it in the segment says to follow a stop."""
    silence: tuple[int, int, str] | None
    """Line, number and message of a silence that nothing in the segment explains yet."""
    unsigned_stop: tuple[int, int] | None
    """Line and number of a stop behind the last checkpoint."""
    retained: tuple[tuple[int, int], ...]
    """Number of a ``retention`` line, and from which line on it says that lines are kept."""
    findings: tuple[Finding, ...]
    more: int
    """Findings beyond the number that is kept."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a ledger."""

    name: str
    origins: tuple[str, ...]
    segments: int
    lines: int
    size_bytes: int
    first: int
    next: int
    since: str
    until: str
    checkpoints: dict[str, int]
    """Name of a key to how many checkpoints of it hold."""
    proven: tuple[tuple[int, int], ...]
    """Ranges of lines, from the first up to and with the second, that signatures stand for as they lie there."""
    heads: int
    """Checkpoints kept elsewhere that hold."""
    is_ended: bool
    """Whether a gateway stopped in order at its end, and signed that: nothing was lost behind it."""
    faults: tuple[Finding, ...]
    remarks: tuple[Finding, ...]
    more: int
    """Findings beyond those that are listed."""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults and not self.more
