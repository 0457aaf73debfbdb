# SPDX-License-Identifier: Apache-2.0
"""Finds decisions among lines, and puts beside each what the lines of its answer say: its parts, and its end."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from proxy.clock import parse_instant, render_instant
from proxy.ledger.contents import Contents
from proxy.ledger.query import Filter, Row, find_value

_JOINED: Final = ("bytes", "seconds", "status", "upstream", "complete")
_SETTLED_SECONDS: Final = 600.0
"""An answer that was in hand whole, and broke off all the same, did so within this time."""
MAX_HELD: Final = 10_000
MAX_WAITING: Final = 100_000


def join_end(row: Row, end: Row, contents: Contents | None = None) -> None:
    """Put beside a decision what the line of its end says.

    Args:
        row: the decision.
        end: that line.
        contents: what was found in the parts of its answer.
    """
    row |= {"bytes": 0, "seconds": 0.0} | {key: end[key] for key in _JOINED if end.get(key) is not None}
    found = (contents or Contents()).sum_up(end.get("content"))
    if found:
        row["content"] = found
    row["end"] = {key: value for key, value in end.items() if key != "content"}


def join_parts(row: Row, contents: Contents) -> None:
    """Put beside a decision what the parts of its answer say that has no end, or none yet."""
    found = contents.sum_up()
    if found:
        row["content"] = found


_DECISION: Final = b'","line":"decision",'
_HEAD_BYTES: Final = 160
"""Within which our frame says the kind of a line."""


class _Held:
    __slots__ = ("contents", "is_combined", "is_ready", "is_wanted", "row")

    def __init__(self, row: Row, *, is_ready: bool, is_combined: bool, is_wanted: bool) -> None:
        self.row = row
        self.is_ready = is_ready
        self.is_combined = is_combined
        """Whether it says itself how the answer ended, so that an end follows only where that changed."""
        self.is_wanted = is_wanted
        """Whether it is asked for, whatever its answer held; else that may be found in its parts."""
        self.contents: Contents | None = None
        """What was found in its parts."""


class Search:
    """Finds decisions among lines, and joins each with the lines of its answer.

    Rows come in the order of their decisions, but that one whose end is long in coming lets others pass. Held are at
    most ``MAX_HELD`` that are ready and ``MAX_WAITING`` that are not; beyond that the oldest goes without its end.

    Args:
        asked: which.
        decode: returns what a line says, None for one that cannot be read, which it tells.
    """

    def __init__(self, asked: Filter, decode: Callable[[Any], Row | None]) -> None:
        self._asked = asked
        self._decode = decode
        self._needles = asked.find_needles()
        self._held: dict[str, _Held] = {}
        self._settling: deque[tuple[str, str]] = deque()
        """When a row that waits for a late end is ready without one, and its id."""
        self._limit = MAX_HELD
        self.found = 0
        """How many decisions are asked for, so far."""
        self.uncounted = 0
        """Refusals within the time that floods left as a count alone: no decision tells of them."""

    def is_dismissed(self, data: bytes) -> bool:
        """Say whether a line is a decision that its bytes alone show not to be asked for: ``take`` needs not see it."""
        return (
            bool(self._needles)
            and not self._settling
            and data.find(_DECISION, 0, _HEAD_BYTES) > 0
            and data[-1:] == b"}"
            and not self._needles.are_in(data)
        )

    def take(self, kind: bytes, time: str, data: bytes, source: Any) -> Iterator[Row]:
        """Look at the next line and return rows that are ready.

        Args:
            kind: of the line.
            time: of the line.
            data: the line.
            source: what ``decode`` takes for it.
        """
        if self._settling and self._settling[0][0] <= time:
            yield from self._settle(time)
        if kind == b"decision":
            if self._asked.is_within(time) and self._needles.are_in(data):
                yield from self._add(self._decode(source), time)
        elif kind == b"released":
            if self._held:
                self._part(self._decode(source))
        elif kind == b"end":
            if self._held:
                yield from self._end(self._decode(source))
        elif kind == b"start":  # one gateway writes a ledger: what the one before it left open stays so
            yield from self.finish()
        elif kind == b"refusals" and self._asked.may_be_unknown_callers() and self._asked.is_within(time):
            count = (self._decode(source) or {}).get("count")
            self.uncounted += count if isinstance(count, int) else 0

    def _add(self, row: Row | None, time: str) -> Iterator[Row]:
        if row is None:
            return
        is_wanted = self._asked.matches(row)
        if not is_wanted and not self._asked.may_match(row):
            return
        self.found += is_wanted
        key = str(row.get("id", ""))
        if key in self._held:
            yield from self._let_go(self._held.pop(key))
        is_combined = isinstance(row.get("complete"), bool)
        is_ready = row.get("released") is not True
        self._held[key] = _Held(row, is_ready=is_ready, is_combined=is_combined, is_wanted=is_wanted)
        if is_combined:
            self._settling.append((_later(time), key))
        yield from self._release()

    def _part(self, part: Row | None) -> None:
        held = None if part is None else self._held.get(str(part.get("id", "")))
        if held is None or part is None:
            return
        if held.contents is None:
            held.contents = Contents()
        held.contents.add(part.get("content"))

    def _let_go(self, held: _Held) -> Iterator[Row]:
        """Return a row that is ready, if it is asked for."""
        row = held.row
        if held.contents is not None and "end" not in row:
            join_parts(row, held.contents)
        if not held.is_wanted and self._asked.matches(row):
            held.is_wanted = True
            self.found += 1
        if held.is_wanted:
            yield row

    def _end(self, end: Row | None) -> Iterator[Row]:
        if end is None:
            return
        held = self._held.get(str(end.get("id", "")))
        if held is not None:
            join_end(held.row, end, held.contents)
            held.is_ready = not self._may_break_off(held, end)
            yield from self._release()

    def _may_break_off(self, held: _Held, end: Row) -> bool:
        """Say whether another end may follow: of what is no read, one is written before its whole answer leaves."""
        if held.is_combined or end.get("complete") is not True or find_value(held.row, "action") == "read":
            return False
        held.is_combined = True
        self._settling.append((_later(str(end.get("time", ""))), str(end.get("id", ""))))
        return True

    def _settle(self, time: str) -> Iterator[Row]:
        """Let go of rows whose answer was whole when they were written, and for which no other end came."""
        while self._settling and self._settling[0][0] <= time:
            held = self._held.get(self._settling.popleft()[1])
            if held is not None:
                held.is_ready = True
        yield from self._release()

    def _release(self) -> Iterator[Row]:
        while self._held:
            key, first = next(iter(self._held.items()))
            if not first.is_ready and len(self._held) <= MAX_WAITING:
                break
            del self._held[key]
            yield from self._let_go(first)
        if len(self._held) > self._limit:
            for key in [key for key, held in self._held.items() if held.is_ready or held.is_combined]:
                yield from self._let_go(self._held.pop(key))
            self._limit = max(MAX_HELD, 2 * len(self._held))

    def finish(self) -> Iterator[Row]:
        """Return what is still held: nothing more comes."""
        held, self._held = self._held, {}
        self._settling.clear()
        for each in held.values():
            yield from self._let_go(each)


def _later(time: str) -> str:
    try:
        return render_instant(parse_instant(time) + _SETTLED_SECONDS)
    except (ValueError, OverflowError):
        return ""
