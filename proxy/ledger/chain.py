# SPDX-License-Identifier: Apache-2.0
"""What a ledger's next line follows from: the number, the hash and the time of the last, and the tree over all.

Lines are *staged* first, and *taken* once they are durable: what could not be written changes nothing.
"""

import base64
import binascii
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from proxy.clock import parse_instant, render_instant
from proxy.ledger.entry import FIRST_PREV, Rendered, encode_body, frame, read_frame
from proxy.ledger.lines import CheckpointLine, ClockLine, SegmentLine
from proxy.ledger.merkle import Frontier, leaf_hash
from proxy.ledger.note import NoteError, SigningKey, UnverifiedError
from proxy.ledger.tree_head import TreeHead, open_tree_head, sign_tree_head

FORMAT: Final = 1
_AT_OPENING: Final = frozenset({"segment", "clock", "recovered"})
"""What may stand before the ``start`` of a gateway."""
HELD_SECONDS: Final = 1.0
"""A clock that steps back by less is waited for; one that steps back further is declared."""


class DamagedError(ValueError):
    """Lines are not what the writer of a ledger wrote.

    Args:
        line: the number of the line in its segment, from 1.
        what: what is wrong with it.
    """

    def __init__(self, line: int, what: str) -> None:
        self.line = line
        self.what = what
        super().__init__(f"line {line}: {what}")


class ForeignError(DamagedError):
    """The segment is of another ledger than the key's.

    Args:
        line: the number of the line in its segment, from 1.
        what: whose it is.
    """


class FormatError(DamagedError):
    """The segment is in a format that this version does not write.

    Args:
        line: the number of the line in its segment, from 1.
        what: which format it is.
    """


class Staged(msgspec.Struct, frozen=True, gc=False):
    """Lines that follow from a chain as it stood, not yet part of it."""

    data: bytes
    """With their newlines."""
    leaves: list[bytes]
    prev: bytes
    """Base64 of the leaf hash of the last one."""
    now: float
    """The wall-clock reading of the last one."""

    def first(self, count: int) -> "Staged":
        """Return the first so many of them."""
        leaves = self.leaves[:count]
        return Staged(b"", leaves, binascii.b2a_base64(leaves[-1], newline=False) if leaves else b"", self.now)


class Chain:
    """The end of a ledger, in memory.

    Args:
        origin: the name of the ledger.
        frontier: of the tree over the lines so far.
        prev: base64 of the leaf hash of the last of them.
        now: when that was written, seconds since 1970.
        segments: how many segments were begun.
    """

    def __init__(
        self,
        origin: str,
        frontier: Frontier | None = None,
        prev: bytes = FIRST_PREV,
        now: float = 0.0,
        segments: int = 0,
    ) -> None:
        self.origin = origin
        self._frontier = Frontier() if frontier is None else frontier
        self._leaves: list[bytes] = []
        """Not in it yet: the tree above many at once costs less than above each."""
        self.size = self._frontier.size
        """How many lines there are, and so the number of the next."""
        self.prev = prev
        self.now = now
        self.segments = segments
        self._second = self._milliseconds = -1
        self._rendered = self._begin_of_second = b""
        """Of that second, up to its point."""

    @property
    def frontier(self) -> Frontier:
        """Of the tree over all lines."""
        if self._leaves:
            self._frontier.extend(self._leaves)
            self._leaves = []
        return self._frontier

    def stage(self, lines: Sequence[object], now: float) -> Staged:
        """Make lines follow from what is there.

        Args:
            lines: structs of ``lines``.
            now: a reading of the wall clock.

        Raises:
            TypeError, ValueError: one of them cannot be rendered.
        """
        bodies = [line.body if type(line) is Rendered else encode_body(line) for line in lines]
        if now < self.now:
            now = self.hold(now)
            if now < self.now:
                bodies.insert(0, encode_body(ClockLine(was=self._render(self.now).decode())))
        time, n, prev = self._render(now), self.size, self.prev
        rendered, leaves = b"", []
        for body in bodies:
            line = frame(n, prev, time, body)
            leaf = sha256(b"\x00" + line).digest()
            leaves.append(leaf)
            prev = binascii.b2a_base64(leaf, newline=False)
            rendered += line + b"\n"
            n += 1
        return Staged(rendered, leaves, prev, now)

    def hold(self, now: float) -> float:
        """Return what a reading of the wall clock counts for: a small step back counts for none."""
        return self.now if 0.0 < self.now - now < HELD_SECONDS else now

    def take(self, staged: Staged) -> None:
        """Go on behind lines that were staged last, and are durable now."""
        if staged.leaves:
            self._leaves += staged.leaves
            self.size += len(staged.leaves)
            self.prev, self.now = staged.prev, staged.now

    def follow(self, leaf: bytes) -> None:
        """Go on behind a line that is there already."""
        self._leaves.append(leaf)
        self.size += 1
        self.prev = binascii.b2a_base64(leaf, newline=False)

    def _render(self, now: float) -> bytes:
        """Render an instant to the nearest millisecond, so that one that was read is rendered the same."""
        milliseconds = round(now * 1000)
        if milliseconds != self._milliseconds:
            second = milliseconds // 1000
            if second != self._second:
                self._second, self._begin_of_second = second, render_instant(second)[:-4].encode()
            self._milliseconds = milliseconds
            self._rendered = b"%b%03dZ" % (self._begin_of_second, milliseconds - second * 1000)
        return self._rendered

    def segment(self) -> SegmentLine:
        """Return the first line of the next segment."""
        peaks = tuple(base64.b64encode(peak).decode() for peak in self.frontier.peaks)
        return SegmentLine(format=FORMAT, origin=self.origin, segment=self.segments, peaks=peaks)

    def sign(self, key: SigningKey) -> tuple[TreeHead, CheckpointLine]:
        """Sign all lines so far."""
        head = TreeHead(self.origin, self.size, self.frontier.root())
        return head, CheckpointLine(note=sign_tree_head(key, head))


class Unsigned:
    """For how long gateways have written lines behind the last checkpoint: to the minute."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._open = 0.0
        """What passed before lines with which a start begins: nothing ran then, if it is one."""
        self._minute = b""

    def see(self, kind: str, time: bytes) -> None:
        """Take the next line."""
        minute, passed = time[:16], 0.0
        if minute != self._minute:
            passed = abs(_parse_minute(minute) - _parse_minute(self._minute)) if self._minute else 0.0
            self._minute = minute
        if kind == "checkpoint":
            self.seconds, self._open, self._minute = 0.0, 0.0, b""
        elif kind == "start":
            self._open = 0.0
        elif kind in _AT_OPENING:
            self._open += passed
        else:
            self.seconds, self._open = self.seconds + self._open + passed, 0.0


def _parse_minute(minute: bytes) -> float:
    return parse_time(minute + b":00.000Z")


class Replay:
    """Builds a chain again from the lines of the last segment, and refuses to go on behind what is not as it was.

    Every checkpoint among them is held against the tree (C2SP tlog-checkpoint: inconsistent ones are never signed).

    Args:
        first: the number of the segment's first line, from its name.
        key: that signs; a checkpoint of it whose signature is wrong is damage.
        kept: a checkpoint that was kept of this ledger; lines that are not those it is over are damage.
        unsigned: is told of each line.
    """

    def __init__(
        self, first: int, key: SigningKey, kept: TreeHead | None = None, unsigned: "Unsigned | None" = None
    ) -> None:
        self._first = first
        self._key = key
        self._kept = kept
        self.unsigned = unsigned or Unsigned()
        self._chain = Chain(key.name)
        self._line = 0
        self._kind = ""
        self.signed = -1
        """The size at the last checkpoint; -1 without one."""
        self.continues: tuple[int, bytes, tuple[bytes, ...]] = (0, b"", ())
        """What the first line says that it stands on: size and peaks of the tree, and hash of the line before."""

    def feed(self, lines: Iterable[bytes]) -> None:
        """Take the next whole lines, without their newlines.

        Raises:
            DamagedError: one of them does not follow from those before.
        """
        chain = self._chain
        for line in lines:
            self._line += 1
            read = read_frame(line)
            if read is None:
                raise DamagedError(self._line, "it does not begin as a line of a ledger does")
            if self._line == 1:
                chain = self._chain = self._begin(line, read.prev)
            if read.n != chain.size or read.prev != chain.prev:
                raise DamagedError(
                    self._line, "it does not follow from the line before, which was changed or is not there"
                )
            self._compare()
            if read.kind == "checkpoint":
                self._hold(line)
            self.unsigned.see(read.kind, read.time)
            chain.follow(leaf_hash(line))
            self._kind, self._time = read.kind, read.time

    def _begin(self, line: bytes, prev: bytes) -> Chain:
        try:
            head = msgspec.json.decode(line, type=SegmentLine)
            peaks = [base64.b64decode(peak, validate=True) for peak in head.peaks]
            frontier = Frontier(self._first, peaks)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise DamagedError(1, "it is no first line of a segment") from error
        if head.format != FORMAT:
            raise FormatError(1, f"the format of the segment is {head.format}, and this version writes {FORMAT}")
        if head.origin != self._key.name:
            raise ForeignError(1, f"the ledger is {head.origin}'s, and the key is {self._key.name}'s")
        if self._first == 0 and prev != FIRST_PREV:
            raise DamagedError(1, "it is the first line of all, and names one before")
        self.continues = self._first, prev, tuple(peaks)
        return Chain(self._key.name, frontier, prev, 0.0, head.segment + 1)

    def _hold(self, line: bytes) -> None:
        """Hold a checkpoint against the tree so far."""
        try:
            note = msgspec.json.decode(line, type=CheckpointLine).note
            head = open_tree_head(note, [self._key.verifier])
        except UnverifiedError as error:
            raise ForeignError(self._line, f"its checkpoint is of another key ({error})") from error
        except (msgspec.MsgspecError, UnicodeDecodeError, NoteError, RecursionError) as error:
            raise DamagedError(self._line, f"its checkpoint cannot be verified ({error})") from error
        if head != TreeHead(self._chain.origin, self._chain.size, self._chain.frontier.root()):
            raise DamagedError(self._line, "its checkpoint does not fit the lines before, which were changed")
        self.signed = head.size

    def _compare(self) -> None:
        """Hold the lines so far against the checkpoint that was kept."""
        kept, chain = self._kept, self._chain
        if kept is not None and kept.size == chain.size and kept.root != chain.frontier.root():
            raise DamagedError(
                self._line, f"the {kept.size} lines before it are not those of the checkpoint that is kept"
            )

    @property
    def ends(self) -> tuple[int, bytes, tuple[bytes, ...]]:
        """What the next segment stands on."""
        return self._chain.size, self._chain.prev, tuple(self._chain.frontier.peaks)

    def end(self) -> tuple[Chain, str]:
        """Return the chain, and the kind of the last line.

        Raises:
            DamagedError: the lines are not those of the checkpoint that was kept.
        """
        if self._line:
            self._line += 1
            self._compare()
            self._chain.now = parse_time(self._time)
        return self._chain, self._kind


def parse_time(text: bytes) -> float:
    """Return the instant of a frame, in seconds since 1970; 0 for one that no calendar has."""
    try:
        return parse_instant(text.decode())
    except ValueError:
        return 0.0
