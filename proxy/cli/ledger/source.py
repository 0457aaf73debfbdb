# SPDX-License-Identifier: Apache-2.0
"""Where the verbs that read a ledger take its lines from, and where they tell what they could not read."""

import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from proxy.clock import parse_instant, render_instant
from proxy.errors import UsageError
from proxy.ledger.read import Entry, choose_by_time, find_ledgers, merge_by_time, read_forward, read_stream
from proxy.ledger.segments import describe_no_ledger

PIPE: Final = "-"
COUNTED: Final = "refusals of unknown callers beyond a limit are only counted"
"""What may have become of an id that was told and is not found."""
_CLOCK_SECONDS: Final = 3600.0
"""How far clocks are taken to have been set back when segments are chosen by time."""


def tell(sentence: str) -> None:
    """Tell what the output does not hold."""
    print(f"note: {sentence}", file=sys.stderr)


def read_place(place: str, *, since: str = "", until: str = "", holding: bytes = b"") -> Iterator[Entry]:
    """Return the lines of a folder, a file, or of standard input where the place is ``-``; of several workers by time.

    Args:
        place: the folder or file.
        since: leave out segments that end before; the lines of one that is kept are all returned.
        until: leave out segments that begin then or later.
        holding: only lines with these bytes in them.

    Raises:
        UsageError: there is no such ledger, or it cannot be read.
    """
    if place == PIPE:
        return (entry for entry in read_stream(sys.stdin.buffer) if holding in entry.data)
    first, *others = find_ledgers(Path(place))
    if first.folder is None:
        return read_forward(first.paths, holding=holding)
    ledgers = [each for each in (first, *others) if each.paths]
    if not ledgers:
        raise UsageError(describe_empty(Path(place)))
    bounds = _shift(since, -_CLOCK_SECONDS), _shift(until, _CLOCK_SECONDS)
    streams = [read_forward(choose_by_time(each.paths, *bounds), holding=holding) for each in ledgers]
    return streams[0] if len(streams) == 1 else merge_by_time(streams)


def where_counted(place: str) -> str:
    """Return the sentence that says where counted refusals are seen."""
    return f"`sekisho ledger tail {shlex.quote(place)} --line refusals` shows them by address, within a minute."


def describe_empty(folder: Path) -> str:
    """Return the sentence for a folder that holds no segment, with what in it may be meant."""
    others = sorted(path.name for path in folder.glob("*.jsonl"))
    told = describe_no_ledger(folder)
    return f"{told} To read {others[0]}, name that file." if others else told


def _shift(time: str, seconds: float) -> str:
    try:
        return render_instant(parse_instant(time) + seconds) if time else ""
    except (ValueError, OverflowError):
        return ""  # at the edge of what a date can be: no bound


def parse_bound(text: str | None, flag: str, *, is_end: bool) -> str:
    """Return an instant as lines write theirs.

    Args:
        text: RFC 3339 with an offset, or a date, which is a whole day in UTC; None for no bound.
        flag: that said it.
        is_end: whether a date means the end of the day.

    Raises:
        UsageError: it is neither.
    """
    if text is None:
        return ""
    try:
        if len(text) == len("2021-03-17"):
            instant = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() + (86400 if is_end else 0)
        else:
            read = datetime.fromisoformat(text)
            if read.tzinfo is None:
                raise ValueError("no offset")  # noqa: TRY301 - handled as the rest
            instant = read.timestamp()
        return render_instant(instant)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{flag} {text!r} is neither a date such as 2021-03-17 nor an instant with an offset such as "
            "2021-03-17T09:00:00+09:00."
        ) from error
