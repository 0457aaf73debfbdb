# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger query``: the decisions that somebody asks for, as a table, JSON or CSV, or counted.

Cells of CSV that a spreadsheet would take for a formula get an apostrophe before them.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, repeat
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy.cli.ledger.source import parse_bound, read_place, tell, where_counted
from proxy.cli.ledger.telling import HEADING, SHORT, render_json, tell_decision
from proxy.cli.terminal import plain
from proxy.errors import UsageError
from proxy.ledger.key_ring_file import read_key_ring
from proxy.ledger.query import FIELDS, OBSERVED, Filter, Row, count_by, find_words
from proxy.ledger.read import Entry, Reading
from proxy.ledger.search import Search
from proxy.model.country import NAMES, refuse_country
from proxy.model.decision import Effect, Reason
from proxy.model.facts import State
from proxy.model.problem import nearest

TRACE_DIGITS: Final = 32
_HEXADECIMAL: Final = frozenset("0123456789abcdef")
_FORMULAS: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001 - spreadsheets take these, too
_FLAGS: Final[Mapping[str, tuple[str, str]]] = {
    "affiliate": ("ID", "the caller's, or of whoever it acted for"),
    "country": ("XX", "any that the caller is tied to"),
    "subject_country": ("XX", "whose data"),
    "origin_country": ("XX", "from where"),
    "rule": ("ID", "that determined the decision, or applied beside the one that did"),
    "reason": ("R", "such as rule-denies; or why the answer broke off"),
    "api": ("ID", "of the API"),
    "route": ("ID", "of the route"),
    "action": ("A", "read, create, update, delete or export"),
    "trace": ("ID", "of which it was part: the 32 hexadecimal digits of a trace id"),
}
_WITH_KEY: Final = "Name the key ring of the gateway that wrote them with --pseudonym-key FILE."
_COUNTRIES: Final = ("country", "subject_country", "origin_country")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("ledger", metavar="DIR", help="the ledger's folder, one of its files, or - for standard input")
    add("--who", action="append", metavar="WHO", help=f"a pseudonym, or its first {SHORT} digits; or ISSUER|SUBJECT")
    add("--subject", action="append", metavar="WHOSE", help="a data subject's pseudonym, API:HASH; or API:ID")
    add("--pseudonym-key", type=Path, metavar="FILE", help="the keys that make pseudonyms of ISSUER|SUBJECT and API:ID")
    for name, (metavar, meaning) in _FLAGS.items():
        add(f"--{name.replace('_', '-')}", action="append", metavar=metavar, help=meaning)
    add("--effect", action="append", choices=[Effect.ALLOW.value, Effect.DENY.value, OBSERVED], help="what was decided")
    add("--since", metavar="WHEN", help="an instant, or a date in UTC")
    add("--until", metavar="WHEN", help="an instant, which is outside, or a date in UTC, which is inside")
    add("--limit", type=_parse_count, metavar="N", help="at most so many rows")
    add("--format", choices=["table", "json", "csv"], default="table", help="json prints one object a line (table)")
    counted = [name for name, field in FIELDS.items() if field.is_counted]
    add("--count-by", choices=counted, metavar="FIELD", help=f"how many of each: {', '.join(counted)}")
    parser.epilog = (
        "A flag that is given twice takes either value. What no `end` line is recorded of has no bytes. In CSV, lists "
        "are joined by ';', and a cell that begins with = + - or @ gets a ' before it, so that no spreadsheet "
        "takes it for a formula."
    )
    parser.set_defaults(run=run)


def _parse_count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Print what was asked for."""
    asked = _read_filter(options)
    reading = Reading(tell)
    search = Search(asked, reading.decode)
    entries = read_place(options.ledger, since=asked.since, until=asked.until)
    rows = _find(entries, reading, search)
    if options.count_by:
        counts = count_by(rows, options.count_by)
        _COUNTED[options.format](options.count_by, counts[: options.limit])
    else:
        _LISTED[options.format](islice(rows, options.limit))
    if not search.found:
        tell("no decision matches.")
    if search.uncounted:
        tell(
            f"beside these, {search.uncounted:,} refusals of unknown callers in that time were only counted: "
            f"{where_counted(options.ledger)}"
        )
    reading.finish()
    return 0


def _find(entries: Iterable[Entry], reading: Reading, search: Search) -> Iterator[Row]:
    for entry in entries:
        if search.is_dismissed(entry.data):
            continue
        seen = reading.look(entry)
        if seen is not None:
            yield from search.take(*seen, entry.data, entry)
    yield from search.finish()


def _check_words(options: argparse.Namespace) -> None:
    """Refuse what no record can say, and tell what this version does not know."""
    for name in _COUNTRIES:
        for value in getattr(options, name) or ():
            if value not in NAMES and value not in {state.value for state in State}:
                raise UsageError(f"--{name.replace('_', '-')}: {refuse_country(value)}.")
    for value in options.trace or ():
        if len(value) != TRACE_DIGITS or not _HEXADECIMAL.issuperset(value):
            raise UsageError(f"--trace {value!r} is no trace id: {TRACE_DIGITS} hexadecimal digits in lower case.")
    for value in options.reason or ():
        if value not in set(Reason):
            tell(f"this version knows no reason {value!r}{nearest(value, set(Reason))}.")


def _read_filter(options: argparse.Namespace) -> Filter:
    _check_words(options)
    wanted = {name: frozenset(values) for name in _FLAGS if (values := getattr(options, name))}
    if options.who:
        wanted["who"] = frozenset(name for who in options.who for name in name_caller(who, options.pseudonym_key))
    if options.subject:
        named = frozenset(name for whose in options.subject for name in name_subject(whose, options.pseudonym_key))
        wanted["subject"] = named
    since = parse_bound(options.since, "--since", is_end=False)
    until = parse_bound(options.until, "--until", is_end=True)
    if since and until and since >= until:
        raise UsageError(f"--since {options.since} is not before --until {options.until}.")
    return Filter(wanted, frozenset(options.effect or ()), since, until)


def name_caller(who: str, key: Path | None) -> frozenset[str]:
    """Return the pseudonyms of a caller and its name in clear, or what was given if it is one, or begins one.

    Raises:
        UsageError: it is neither, or there is no key to make it one.
    """
    if "|" in who:
        if key is None:
            raise UsageError(f"--who {who!r}: records name people by pseudonyms. {_WITH_KEY}")
        names = (each.of_caller(who) for each in read_key_ring(key).names.values())
        return frozenset({who, *names})  # as it stands there where callers are recorded in clear
    if not SHORT <= len(who) <= 32 or not _HEXADECIMAL.issuperset(who):
        raise UsageError(
            f"--who {who!r} is neither a pseudonym (32 hexadecimal digits, or their first {SHORT} or more) nor "
            "ISSUER|SUBJECT, which needs --pseudonym-key."
        )
    return frozenset({who})


def name_subject(whose: str, key: Path | None) -> frozenset[str]:
    """Return the pseudonyms of a data subject, or what was given if it is one, or the beginning of one.

    Raises:
        UsageError: it is neither, or there is no key to make it one.
    """
    api, colon, rest = whose.partition(":")
    if colon and key is not None:
        return frozenset(each.of_subject(api, rest) for each in read_key_ring(key).names.values())
    digits = rest if colon else api
    if not SHORT <= len(digits) <= 32 or not _HEXADECIMAL.issuperset(digits):
        raise UsageError(
            f"--subject {whose!r} is no pseudonym such as users:ad2c04a9…: to look for API:ID, give --pseudonym-key."
        )
    return frozenset({whose})


def _print_table(rows: Iterable[Row]) -> None:
    print(HEADING)
    for row in rows:
        print(tell_decision(row))


def _print_json(rows: Iterable[Row]) -> None:
    for row in rows:
        print(render_json(msgspec.json.encode(row), row))


def _print_csv(rows: Iterable[Row]) -> None:
    write = _csv_writer()
    write(list(FIELDS))
    for row in rows:
        write(
            [disarm(words[0] if len(words) == 1 else ";".join(words)) for words in map(find_words, repeat(row), FIELDS)]
        )


def _csv_writer() -> Callable[[list[str]], Any]:
    """Return what writes a row of CSV: RFC 4180, so lines end with CRLF on every system."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(newline="")
    return csv.writer(sys.stdout).writerow


def disarm(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula, and no terminal for a command."""
    shown = plain(cell)
    if not shown or shown[0].isalnum():
        return shown
    return f"'{shown}" if shown.lstrip(" \N{REPLACEMENT CHARACTER}").startswith(_FORMULAS) else shown


def _print_counted_table(name: str, counts: list[tuple[str, int]]) -> None:
    print(f"{'decisions':>12}  {name}")
    for value, count in counts:
        print(f"{count:>12,}  {plain(value) or '-'}")


def _print_counted_json(name: str, counts: list[tuple[str, int]]) -> None:
    for value, count in counts:
        row = {name: value, "decisions": count}
        print(render_json(msgspec.json.encode(row), row))


def _print_counted_csv(name: str, counts: list[tuple[str, int]]) -> None:
    write = _csv_writer()
    write([name, "decisions"])
    for value, count in counts:
        write([disarm(value), str(count)])


_LISTED: Final[Mapping[str, Callable[[Iterable[Row]], None]]] = {
    "table": _print_table,
    "json": _print_json,
    "csv": _print_csv,
}
_COUNTED: Final[Mapping[str, Callable[[str, list[tuple[str, int]]], None]]] = {
    "table": _print_counted_table,
    "json": _print_counted_json,
    "csv": _print_counted_csv,
}
