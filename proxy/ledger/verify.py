# SPDX-License-Identifier: Apache-2.0
"""Checks one segment of a ledger from its bytes: every link, every number, every instant, every signature.

Lines of which all is as it should be are taken many at once, compared as bytes. Where that fails, line by line, what
happened is found out. Nothing that can stand in a file raises.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import zip_longest
from typing import Final

import msgspec

from proxy.ledger.course import ORDINARY, ROW_LENGTH, Course
from proxy.ledger.entry import FIRST_PREV, HASH_LENGTH, read_frame
from proxy.ledger.finding import MAX_FINDINGS, Checked, Finding, Signed, Task
from proxy.ledger.lines import CheckpointLine, RecoveredLine, RetentionLine, SegmentLine
from proxy.ledger.links import (
    MAX_LINE,
    are_linked,
    clean,
    decode_hash,
    describe_damage,
    find_prev,
    read_number,
    tell_count,
    tell_lines,
)
from proxy.ledger.merkle import Frontier, leaf_hash
from proxy.ledger.note import NoteError
from proxy.ledger.readings import Readings
from proxy.ledger.tree_head import open_tree_head

FORMAT: Final = 1
EDITED: Final = "this line was changed: the next line says that it had another hash"
DOUBTFUL: Final = "this line was changed, or what the next line says of it"
_CAUTIOUS: Final = 8
"""How many lines are looked at one by one before lines are taken at once again."""
_TIME_AT: Final = len('{"n":,"prev":"","time":"') + HASH_LENGTH
"""Where the time of a line stands, behind the digits of its number."""

Place = tuple[int, int]


def check_segment(task: Task, blocks: Iterable[bytes]) -> Checked:
    """Check one segment.

    Args:
        task: which, and by what.
        blocks: its bytes, in order.
    """
    walk = _Walk(task)
    for lines in _split(blocks, walk):
        walk.feed(lines)
    return walk.finish()


def _split(blocks: Iterable[bytes], walk: "_Walk") -> Iterator[list[bytes]]:
    """Yield whole lines; of one that is too long its beginning. What stands after the last newline goes to ``rest``."""
    rest: list[bytes] = []
    held = 0
    for block in blocks:
        walk.size_bytes += len(block)
        lines = block.split(b"\n")
        rest.append(lines[0] if held <= MAX_LINE else b"")
        held += len(lines[0])
        if len(lines) > 1:
            lines[0] = b"".join(rest)
            rest = [lines.pop()]
            held = len(rest[0])
            yield lines
    walk.rest, walk.rest_bytes = b"".join(rest), held


class _Walk:
    """The way through a segment. The last line that was taken is *pending*: the next one says what it was.

    Args:
        task: which segment, and by what.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._expected = self._first = task.first
        self._readings = Readings(None)
        self._course = Course()
        self._held: list[bytes] = []
        """A line that was read and waits for the next, to be understood."""
        self._line = task.line
        """How many lines of the file were taken."""
        self._text: bytes | None = None
        """The pending line; None before the first."""
        self._own = b""
        self._damage = ""
        """Why the pending line certainly is not as it was."""
        self._place: Place = (0, -1)
        self._begun = False
        self._chained = task.first
        self._strays: dict[int, tuple[bytes, Place]] = {}
        """Lines that stand where they do not belong: their leaf and place, by number."""
        self._gone: dict[int, tuple[bytes, Place]] = {}
        """Single lines that are missing: their leaf, and before which line of the file."""
        self._run: tuple[int, int, int, int] | None = None
        """Strays that follow one another: line and number of the first and the last."""
        self._origin, self._prev = "", b""
        self._stated: tuple[bytes, ...] | None = None
        self._peaks: tuple[bytes, ...] | None = None
        self._signed: list[Signed] = []
        self._signed_at = b""
        self._unsigned_stop: Place | None = None
        self._retained: list[tuple[int, int]] = []
        self._findings: list[Finding] = []
        self._more = 0
        self._unheld = 0
        self.size_bytes = 0
        self.rest = b""
        self.rest_bytes = 0

    # Findings.

    def _find(self, kind: str, place: Place, message: str, *, fault: bool = True) -> None:
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(Finding(kind, self._task.name, place[0], place[1], message, fault))
        elif fault:
            self._more += 1

    # Many lines at once.

    def feed(self, lines: list[bytes]) -> None:
        """Take the next whole lines."""
        lines = [*self._held, *lines]
        begin = 0
        while begin < len(lines):
            part = lines[begin : begin + self._plain_room()]
            if part and self._take_plain(part):
                begin += len(part)
                continue
            for index in range(begin, min(begin + (len(part) or _CAUTIOUS), len(lines) - 1)):
                self._take(lines[index], lines[index + 1])
                begin = index + 1
            if begin == len(lines) - 1:
                break
        self._held = lines[begin:]

    def _plain_room(self) -> int:
        """Return how many lines may be taken at once: as long as numbers have as many digits, and nothing is open."""
        digits = len(str(self._expected))
        if self._text is None or self._damage or self._run is not None or not self._readings.is_plain:
            return 0
        return 10**digits - self._expected if len(str(self._expected - 1)) == digits else 0

    def _take_plain(self, lines: Sequence[bytes]) -> bool:
        """Take lines at once if each follows from the one before and its time and shape are as they should be."""
        text, first, digits = self._text or b"", self._expected, len(str(self._expected))
        leaves = [self._own, *[sha256(b"\x00" + line).digest() for line in lines]]
        if not are_linked(lines, first, leaves[:-1]):
            return False
        sure = [text, *lines[:-1]]
        at = digits + _TIME_AT
        end = at + ROW_LENGTH
        odd = self._course.passes([line[at:end] for line in sure])
        if odd is None:
            return False
        begin, told = 0, 0
        for index in odd:
            if index > told:
                self._course.turn(ORDINARY, (0, -1))
            self._readings.extend(leaves[begin:index])
            self._read(sure[index], (self._line + index, first - 1 + index))
            begin, told = index, index + 1
        if told < len(sure):
            self._course.turn(ORDINARY, (0, -1))
        self._readings.extend(leaves[begin:-1])
        self._text, self._own = lines[-1], leaves[-1]
        self._line += len(lines)
        self._expected = first + len(lines)
        self._place = self._line, self._expected - 1
        return True

    # One line.

    def _take(self, line: bytes, after: bytes | None) -> None:
        """Find out where a line belongs.

        Args:
            line: the next one.
            after: the one behind it, which tells an edited line from one that was put in; None at the end.
        """
        self._line += 1
        read, expected, n = read_frame(line), self._expected, read_number(line)
        following = self._number_after(after)
        if self._task.is_stream and self._is_half(line, following):
            told = (
                f"{len(line)} bytes of a line left before there was no room; it was written again, or nobody answered"
            )
            self._find("unfinished", (self._line, -1), told, fault=False)
            return
        if len(line) > MAX_LINE or n is None:
            read = None
        if read is not None and n == expected:
            self._accept(line, expected, "")
        elif (following == expected + 1 and n != expected + 1) or self._follows(line):
            self._accept(line, expected, f"this line was changed: {describe_damage(line, n, expected)}")
        elif not self._begun and read is not None:
            self._find("name", (self._line, read.n), f"the file is named for line {expected} and begins with {read.n}")
            self._first = self._chained = read.n
            self._accept(line, read.n, "")
        elif read is not None and read.n > expected and following != expected:
            self._skip(read.n, line)
            self._accept(line, read.n, "")
        else:
            self._stray(line, n)

    def _is_half(self, line: bytes, following: int | None) -> bool:
        """Tell whether this is the beginning of the next line, which is written again behind it."""
        begin = b'{"n":%d,"prev":"' % self._expected
        is_begun = line[: len(begin)] == begin[: len(line)] and not line.endswith(b"}")
        return bool(line) and is_begun and following in {None, self._expected}

    def _number_after(self, after: bytes | None) -> int | None:
        if after is not None:
            return read_number(after)
        return self._task.follower.n if self._task.follower is not None else None

    def _follows(self, line: bytes) -> bool:
        """Tell whether a line says that the pending one stands before it."""
        return self._text is not None and not self._damage and find_prev(line) == self._own

    def _accept(self, line: bytes, n: int, damage: str) -> None:
        """Take a line as that of a number; it is pending from here on."""
        self._end_run()
        if self._begun:
            self._resolve(find_prev(line))
        else:
            self._begin(line, n)
        self._text, self._own, self._damage = line, leaf_hash(line), damage
        self._place = self._line, n
        self._expected = n + 1

    def _resolve(self, said: bytes | None) -> None:
        """Take the pending line for sure.

        Args:
            said: the leaf that it had, as the next line says; None where that cannot say it.
        """
        text, place, own = self._text, self._place, self._own
        if text is None:
            return
        self._text = None
        is_true = not self._damage and said in {None, own}
        if not is_true and place[1] == self._first:
            self._origin = ""
        if self._damage:
            self._find("edited", place, self._damage)
            self._chained = place[1] + 1
            if said is None:
                self._readings.lose()
            else:
                self._readings.replace(said)
        elif said is None or is_true:
            read = read_frame(text)
            if read is not None:
                self._course.see(read.time, read.kind, place)
                self._read(text, place)
            self._readings.confirm(own)
        elif self._is_put_in(said):
            self._readings.confirm(said)
        else:
            self._readings.differ(own, said, place)
            self._chained = place[1] + 1

    def _is_put_in(self, said: bytes) -> bool:
        """Tell whether the true line stands behind the pending one, which somebody put before it."""
        leaf, where = self._strays.get(self._place[1], (b"", (0, -1)))
        if leaf != said:
            return False
        self._forget("inserted", where)
        told = f"this line was put in: the true line {self._place[1]} is line {where[0]} of the file"
        self._find("inserted", self._place, told)
        return True

    def _forget(self, kind: str, place: Place) -> None:
        """Take back what was said, now that more is known."""
        self._findings = [each for each in self._findings if each.kind != kind or each.line != place[0]]

    def _stray(self, line: bytes, n: int | None) -> None:
        """Note a line that does not belong where it stands, and pass over it."""
        leaf, place = leaf_hash(line), (self._line, -1 if n is None else n)
        gone = self._gone.get(place[1])
        if n is None:
            self._end_run()
            self._find("inserted", place, f"this line was put in: {describe_damage(line, n, None)}")
        elif leaf == self._own:
            self._end_run()
            self._find("duplicated", place, "this line stands here twice")
        elif gone is not None and gone[0] == leaf:
            self._end_run()
            self._forget("missing", gone[1])
            told = f"this line stands in the wrong place: it belongs before line {gone[1][0]} of the file"
            self._find("reordered", place, told)
        elif self._run is not None and self._run[2:] == (self._line - 1, n - 1):
            self._run = (*self._run[:2], self._line, n)
        else:
            self._end_run()
            self._run = self._line, n, self._line, n
        if n is not None and len(self._strays) < MAX_FINDINGS:
            self._strays[n] = leaf, place

    def _end_run(self) -> None:
        """Tell of strays that follow one another."""
        if self._run is None:
            return
        begin, first, end, last = self._run
        self._run = None
        what = "this line does" if begin == end else f"this line and those up to line {end} (n {last}) do"
        told = f"{what} not belong here, where {self._expected} comes next: put in, copied or moved"
        self._find("inserted", (begin, first), told)

    def _skip(self, n: int, line: bytes) -> None:
        """Go on behind lines that are missing. If it is a single one, the next line says its hash."""
        expected, said = self._expected, find_prev(line)
        self._end_run()
        self._resolve(None)
        moved, where = self._strays.get(expected, (b"", (0, -1)))
        if n - expected == 1 and said is not None:
            if moved == said:
                self._forget("inserted", where)
                told = f"this line stands in the wrong place: it belongs before line {self._line} of the file"
                self._find("reordered", where, told)
            else:
                self._gone[expected] = said, (self._line, expected)
                self._find("missing", (self._line, expected), f"line {expected} is missing before this line")
            self._readings.confirm(said)
        else:
            self._find("missing", (self._line, expected), f"{tell_lines(expected, n - 1)} missing before this line")
            self._readings.lose()
        self._chained = n

    # What lines say.

    def _begin(self, line: bytes, n: int) -> None:
        """Take what the first line says of those before it."""
        self._begun = True
        self._prev = find_prev(line) or b""
        peaks = self._task.peaks if n == self._task.first else None
        try:
            header = msgspec.json.decode(line, type=SegmentLine)
            stated = tuple(base64.b64decode(peak, validate=True) for peak in header.peaks)
            Frontier(n, stated)
            self._origin, self._stated = header.origin, stated
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            self._find("header", (self._line, n), f"this is no first line of a segment ({clean(str(error))})")
        else:
            if header.format != FORMAT:
                told = f"its lines are of format {header.format}; this version of sekisho knows {FORMAT}"
                self._find("header", (self._line, n), told)
        self._peaks = peaks if peaks is not None else () if n == 0 else self._stated
        if self._peaks is not None:
            self._readings = Readings(Frontier(n, self._peaks), self._task.sizes)
        if n == 0 and self._prev != decode_hash(FIRST_PREV):
            self._find("edited", (self._line, 0), "its `prev` is not that of the very first line")

    def _read(self, line: bytes, place: Place) -> None:
        """Look at a line that is as the next one says it was."""
        read = read_frame(line)
        if read is None:
            return
        self._course.turn(read.kind, place)
        try:
            if read.kind == "checkpoint":
                self._hold(msgspec.json.decode(line, type=CheckpointLine).note, read.time, place)
            elif read.kind == "start":
                self._signed_at = read.time
            elif read.kind == "stop":
                self._unsigned_stop = place
            elif read.kind == "segment":
                self._hold_peaks(msgspec.json.decode(line, type=SegmentLine), place)
            elif read.kind == "recovered":
                cut = msgspec.json.decode(line, type=RecoveredLine).cut_bytes
                told = f"an unfinished line of {cut} bytes was cut off after a crash; nobody was answered on it"
                self._find("recovered", place, told, fault=False)
            elif read.kind == "retention":
                self._retained.append((place[1], msgspec.json.decode(line, type=RetentionLine).first))
        except (ValueError, RecursionError) as error:
            self._find("malformed", place, f"this `{read.kind}` line cannot be read ({clean(str(error))})")

    def _hold(self, note: str, time: bytes, place: Place) -> None:
        """Hold a checkpoint against the lines before it."""
        n, self._unsigned_stop = place[1], None
        try:
            head = open_tree_head(note, self._task.keys)
        except NoteError as error:
            self._find("forged", place, f"its checkpoint is not to be believed: {clean(str(error))}")
            return
        before = self._signed[-1].size if self._signed else self._first
        self._origin = self._origin or head.origin
        if head.origin != self._origin:
            told = f"its checkpoint is of {clean(head.origin)}, and these lines are of {clean(self._origin)}"
            self._find("origin", place, told)
        elif head.size != n:
            self._find("size", place, f"its checkpoint is over {head.size} lines, and {n} stand before it")
        elif self._readings.is_lost:
            self._unheld += 1
        elif self._readings.holds(head.root):
            self._signed.append(Signed(n, head.origin))
            self._signed_at = time
        else:
            told = (
                f"the lines before it are not those that its checkpoint signed: between lines {before} and {n - 1} "
                "something was changed, put in or left out, and linked anew"
            )
            self._find("rewritten", place, told)
            self._readings.lose()

    def _hold_peaks(self, header: SegmentLine, place: Place) -> None:
        begins = place[1] == self._first
        if self._readings.is_lost or (begins and self._task.peaks is None and self._first):
            return  # then they are what the tree continues
        try:
            stated = tuple(base64.b64decode(peak, validate=True) for peak in header.peaks)
        except ValueError:
            stated = ()
        if stated not in self._readings.peaks_of(place[1]):
            self._find("peaks", place, "its `peaks` are not those of the tree over the lines before it")

    # The end.

    def finish(self) -> Checked:
        """Take what is left, and tell what is known."""
        if self.rest and not self._task.is_last:
            self._held.append(self.rest)
            self._find("unfinished", (self._line + len(self._held), -1), "the last line has no newline: it was cut")
        elif self.rest:
            told = (
                f"the last {self.rest_bytes} bytes are no whole line: a gateway is writing it, or ended midway; "
                "nobody was answered on it"
            )
            self._find("unfinished", (self._line + len(self._held) + 1, -1), told, fault=False)
        for line, after in zip_longest(self._held, self._held[1:]):
            self._take(line, after)
        self._end_run()
        follower, own = self._task.follower, self._own if self._text is not None else b""
        self._resolve(follower.prev if follower is not None and follower.n == self._expected else None)
        for place in self._readings.settled:
            self._find("edited", place, EDITED)
        for place in self._readings.doubtful:
            self._find("edited", place, DOUBTFUL)
        for kind, place, told in self._course.problems:
            self._find(kind, place, told)
        for kind, place, told in self._course.remarks:
            self._find(kind, place, told, fault=False)
        if self._unheld:
            told = (
                f"{tell_count(self._unheld, 'checkpoint')} could not be held against the lines, which are not all known"
            )
            self._find("unheld", (0, -1), told, fault=False)
        return self._sum_up(own)

    def _sum_up(self, leaf: bytes) -> Checked:
        course = self._course
        return Checked(
            name=self._task.name,
            first=self._first,
            next=self._expected if self._begun else self._first,
            lines=self._line - self._task.line,
            size_bytes=self.size_bytes,
            origin=self._origin,
            prev=self._prev,
            peaks=self._peaks,
            stated=self._stated,
            leaf=leaf,
            ends=self._readings.ends(),
            roots=self._readings.roots,
            signed=tuple(self._signed),
            signed_at=self._signed_at.decode(),
            chained=self._chained,
            since=course.since.decode(),
            until=course.until.decode(),
            opening=course.opening,
            stopped=course.stopped,
            start=course.start,
            silence=course.silence,
            unsigned_stop=self._unsigned_stop,
            retained=tuple(self._retained),
            findings=tuple(self._findings),
            more=self._more,
        )
