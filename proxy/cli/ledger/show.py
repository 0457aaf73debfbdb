# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger show``: everything that is recorded of one request, in words."""

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.cli.ledger.meaning import Told, tell_sections
from proxy.cli.ledger.source import COUNTED, PIPE, read_place, tell, where_counted
from proxy.cli.ledger.telling import describe_line, render_json, tell_answer
from proxy.cli.terminal import plain
from proxy.clock import render_instant
from proxy.errors import UsageError
from proxy.ledger.contents import Contents, tell_records
from proxy.ledger.query import DEFAULT_RULE, Row, find_value, render_words
from proxy.ledger.read import Entry, Reading
from proxy.ledger.search import join_end, join_parts
from proxy.ledger.segments import BUNDLES

MIN_WIDTH: Final = 132
"""Columns that the fields need to be a pleasure to read."""
_ID_LENGTH: Final = 26
_MIN_LENGTH: Final = 6
_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32."""
_TIME_DIGITS: Final = 10
_ANSWERED_SECONDS: Final = 86400.0
_KINDS: Final = frozenset({"decision", "released", "end"})
_NAMED: Final = 5


class _Found(NamedTuple):
    entry: Entry
    line: Row


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("ledger", metavar="DIR", help="the ledger's folder, one of its files, or - for standard input")
    add("id", metavar="ID", help=f"the decision's id, or its beginning: at least {_MIN_LENGTH} characters")
    add("--json", action="store_true", help="print its lines as they stand in the ledger")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print one request; 1 if nothing is recorded of it."""
    beginning = _parse_id(options.id)
    reading = Reading(tell)
    found = _find(options.ledger, beginning, reading)
    reading.finish()
    if not found:
        tell(f"nothing is recorded of {beginning}; {COUNTED}: {where_counted(options.ledger)}")
        return 1
    if len(found) > 1:
        named = ", ".join([*map(plain, sorted(found)[:_NAMED]), *(["…"] if len(found) > _NAMED else [])])
        raise UsageError(f"{beginning} begins the ids of {len(found)} requests: {named}. Give more of it.")
    (request_id, lines), *_ = found.items()
    if options.json:
        for each in lines:
            print(render_json(each.entry.data, each.line))
    else:
        _draw(request_id, lines, options.ledger)
    return 0


def _parse_id(text: str) -> str:
    beginning = text.strip().upper()
    if not _MIN_LENGTH <= len(beginning) <= _ID_LENGTH or not set(_DIGITS).issuperset(beginning):
        raise UsageError(
            f"{text!r} is no id of a decision, such as 01F1E67NFFQH49ZT7AY7HWJ234, and no beginning of one with at "
            f"least {_MIN_LENGTH} characters."
        )
    return beginning


def _find(place: str, beginning: str, reading: Reading) -> dict[str, list[_Found]]:
    """Return the lines of each request whose id begins so.

    An id says when it was given: they are looked for around that time, then after it, then everywhere.
    """
    since, until = _times_of(beginning)
    bounds = [("", "")] if place == PIPE or not since else [(since, until), (since, ""), ("", "")]
    found: dict[str, list[_Found]] = {}
    for bound in bounds:
        found = {}
        for request_id, each in _matching(place, beginning, *bound, reading):
            found.setdefault(request_id, []).append(each)
        if found and not any(map(_is_open, found.values())):
            break
    return found


def _is_open(lines: list[_Found]) -> bool:
    """Say whether the line of an end may still follow."""
    decision = next((each.line for each in lines if each.line["line"] == "decision"), {})
    has_ended = "complete" in decision or any(each.line["line"] == "end" for each in lines)
    return decision.get("released") is not False and not has_ended


def _matching(place: str, beginning: str, since: str, until: str, reading: Reading) -> Iterator[tuple[str, _Found]]:
    for entry in read_place(place, since=since, until=until, holding=beginning.encode()):
        line = reading.decode(entry)
        if line is not None and line["line"] in _KINDS:
            request_id = line.get("id")
            if isinstance(request_id, str) and request_id.startswith(beginning):
                yield request_id, _Found(entry, line)


def _times_of(beginning: str) -> tuple[str, str]:
    """Return between which instants ids that begin so were given, and most of their answers ended.

    Their first ten characters are milliseconds. Nothing is returned for what is no such time.
    """
    first, last = (
        int("".join(f"{_DIGITS.index(digit):05b}" for digit in beginning[:_TIME_DIGITS].ljust(_TIME_DIGITS, filler)), 2)
        for filler in ("0", "Z")
    )
    try:
        return render_instant(first / 1000), render_instant(last / 1000 + _ANSWERED_SECONDS)
    except (ValueError, OverflowError, OSError):
        return "", ""


def _draw(request_id: str, lines: list[_Found], place: str) -> None:
    console = Console(highlight=False)
    console.width = max(console.width, MIN_WIDTH)
    row = _join(lines)
    console.print(Text(plain(f"Request {request_id}: {_sum_up(row) if row else 'its decision is not here'}"), "bold"))
    for title, fields in tell_sections(row) if row else ():
        console.print(_table(title, fields))
    console.print(_table("Its lines in the ledger", [_tell_found(each) for each in lines]))
    if place != PIPE:
        for sentence in _next_steps(request_id, row, Path(place)):
            console.print(Text(plain(sentence)), soft_wrap=True)


def _join(lines: list[_Found]) -> Row:
    """Return the decision with what the parts and the end of its answer say; nothing where it is not among them."""
    of_kind = {kind: [each.line for each in lines if each.line["line"] == kind] for kind in _KINDS}
    if not of_kind["decision"]:
        return {}
    row, contents = dict(of_kind["decision"][-1]), Contents()
    for part in of_kind["released"]:
        contents.add(part.get("content"))
    join_parts(row, contents)
    for end in of_kind["end"]:
        join_end(row, end, contents)
    return row


def _sum_up(row: Row) -> str:
    rule = str(find_value(row, "rule"))
    by = f" by rule {rule}" if rule and rule != DEFAULT_RULE else ""
    records = tell_records(row.get("content"))
    return f"{tell_answer(row)}{by}, {find_value(row, 'reason')}" + (f"; {records}" if records else "")


def _tell_found(found: _Found) -> Told:
    said = ", ".join(render_words(found.line.get("n")))
    return Told(f"line {said or '?'}", str(found.line["line"]), describe_line(found.line))


def _next_steps(request_id: str, row: Row, place: Path) -> Iterator[str]:
    digest = str(find_value(row, "bundle"))
    kept = sorted(place.glob(f"{BUNDLES}/{digest}*")) if digest.isalnum() else []
    if kept:
        yield f"The policies and registers that decided are kept in {kept[0]}."
        yield f"Rule by rule: sekisho explain --ledger {shlex.quote(str(place))} --id {request_id}"
    elif digest and place.is_dir():
        yield f"The policies and registers that decided are not kept here: {place / BUNDLES} has no {digest}…"
    if place.is_dir():
        command = f"sekisho ledger prove {shlex.quote(str(place))} {request_id}"
        yield f"A proof that the decision stands in the ledger unchanged: {command}"


def _table(title: str, fields: list[Told]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False, expand=True)
    table.add_column(width=16, overflow="fold")
    table.add_column(ratio=3, overflow="fold")
    table.add_column(ratio=3, overflow="fold", style="dim")
    for label, value, meaning in fields:
        table.add_row(*(Text(plain(text)) for text in (f"  {label}", value, meaning)))
    return table
