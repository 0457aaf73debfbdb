# SPDX-License-Identifier: Apache-2.0
"""The course of a ledger's events: times that go on, silence that is explained, gateways that start and stop."""

from collections.abc import Sequence
from typing import Final

from proxy.clock import parse_instant
from proxy.ledger.entry import TIME_LENGTH

SILENCE_SECONDS: Final = 65 * 60
"""A ledger that is written to is signed every hour, idle or not; five minutes are for a machine under load."""
_BEFORE_START: Final = frozenset(
    {"segment", "recovered", "clock", "checkpoint", "retention", "bundle", "geolocation", "keys"}
)
"""What may stand between a silence and the ``start`` that explains it."""
_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
ORDINARY: Final = "decision"
"""Stands for every kind that says nothing of the ledger itself."""
_ORDINARY_KINDS: Final = frozenset({b"dec", b"rel", b"end", b"ref"})
_DECISION_OR_END: Final = b"de"
_KIND_LENGTH: Final = 3
"""How much of a kind is looked at."""
ROW_LENGTH: Final = TIME_LENGTH + len('","line":"') + _KIND_LENGTH
_SHAPE: Final = b'\n0000-00-00T00:00:00.000Z","line":"'

Place = tuple[int, int]


class Course:
    """What came before, as far as it matters for what may come."""

    def __init__(self) -> None:
        self.since = self.until = b""
        """The first and the last instant, as they stand there."""
        self.opening = ""
        self.stopped: bool | None = None
        self.start: Place | None = None
        self.silence: tuple[int, int, str] | None = None
        """A silence that a ``start`` may yet explain: line and number where it ended, and what to say of it."""
        self.problems: list[tuple[str, Place, str]] = []
        """Kind, place and message of what is wrong."""
        self.remarks: list[tuple[str, Place, str]] = []

    def passes(self, rows: Sequence[bytes]) -> list[int] | None:
        """Take lines at once whose times need no closer look.

        Args:
            rows: of each line ``ROW_LENGTH`` bytes from its time on.

        Returns:
            Which of the lines are of a kind that says something of the ledger itself; None if a line needs a closer
            look, and then none was taken.
        """
        joined = b"\n".join((b"", *rows))
        width = ROW_LENGTH + 1
        if len(joined) != width * len(rows) or joined.translate(_DIGITS).count(_SHAPE) != len(rows):
            return None
        if max(joined[18::width]) > ord("5"):  # tens of seconds
            return None
        if not self._goes_on(rows):
            return None
        kinds = joined[len(_SHAPE) :: width]
        if not kinds.translate(None, _DECISION_OR_END):
            return []
        return [
            index
            for index, kind in enumerate(kinds)
            if kind not in _DECISION_OR_END and rows[index][-_KIND_LENGTH:] not in _ORDINARY_KINDS
        ]

    def _goes_on(self, rows: Sequence[bytes]) -> bool:
        """Take the times of lines, if none goes back, and nothing is silent for long."""
        first, last = rows[0][:TIME_LENGTH], rows[-1][:TIME_LENGTH]
        if first < self.until:
            return False
        if list(rows) != sorted(rows):  # lines of the same instant may be of any kind
            times = [row[:TIME_LENGTH] for row in rows]
            if times != sorted(times):
                return False
        minutes = [self.until[:16], first[:16], last[:16]]
        if first[:16] != last[:16]:
            minutes[1:] = sorted({row[:16] for row in rows})
        instants = [_parse(minute + b":00.000Z") for minute in minutes if minute]
        before = instants[0]
        for instant in instants:
            if instant is None or before is None or instant - before >= SILENCE_SECONDS - 60:
                return False
            before = instant
        self.since = self.since or first
        self.until = last
        return True

    def see(self, time: bytes, kind: str, place: Place) -> None:
        """Take one line."""
        now, before = _parse(time), _parse(self.until) if self.until else None
        if now is None:
            self.problems.append(("time", place, f"its time {_show(time)} is none of the calendar"))
            return
        self.since = self.since or time
        if before is not None:
            self._compare(before, now, time, kind, place)
        self.until = time

    def _compare(self, before: float, now: float, time: bytes, kind: str, place: Place) -> None:
        was, at = self.until.decode(), time.decode()
        if now < before and kind == "clock":
            self.remarks.append(("clock", place, f"the clock was set back here, from {was} to {at}"))
        elif now < before:
            self.problems.append(
                ("clock", place, f"its time {at} is before that of the line before, {was}, and no `clock` line says so")
            )
        elif now - before > SILENCE_SECONDS:
            told = describe_silence(was, at)
            if kind in _BEFORE_START and not self.stopped:
                self.silence = (*place, told)
            elif kind != "start" and not self.stopped:
                self.problems.append(("gap", place, told))

    def turn(self, kind: str, place: Place) -> None:
        """Look at what kind a line is, in order; ordinary lines that follow one another may be told once."""
        if kind in _BEFORE_START:
            return
        if kind == "start":
            if self.stopped is None and self.start is None:
                self.start = place
            elif self.stopped is False:
                self.remarks.append(("crash", place, "a gateway starts, and the one before ended without `stop`"))
            self.opening = self.opening or "start"
            self.stopped = False
        elif kind == "stop":
            self.opening = self.opening or "on"
            self.stopped = True
        else:
            self.opening = self.opening or "on"
        if self.silence is not None and kind != "start":
            line, n, told = self.silence
            self.problems.append(("gap", (line, n), told))
        self.silence = None


def describe_silence(before: str, after: str) -> str:
    """Say what is wrong with a silence that nothing explains."""
    return (
        f"there is nothing between {before} and {after}, and no `stop` before it: "
        "a gateway that runs signs every hour, so lines are missing or it hung"
    )


def is_silence(before: str, after: str) -> bool:
    """Tell whether more time lies between two instants than a gateway that runs lets pass."""
    first, second = _parse(before.encode()), _parse(after.encode())
    return first is not None and second is not None and second - first > SILENCE_SECONDS


def _parse(time: bytes) -> float | None:
    try:
        return parse_instant(time.decode())
    except ValueError:
        return None


def _show(time: bytes) -> str:
    return time.decode("utf-8", "replace")
