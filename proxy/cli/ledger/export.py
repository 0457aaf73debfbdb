# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger export DIR --ocsf``: what is recorded of requests, as events that other systems read."""

import argparse
from collections.abc import Iterator

import msgspec

from proxy.cli.ledger.source import parse_bound, read_place, tell
from proxy.errors import UsageError
from proxy.ledger.ocsf import Event, convert_decision, convert_refusals
from proxy.ledger.query import Filter
from proxy.ledger.read import Reading
from proxy.ledger.search import Search
from proxy.version import VERSION


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("ledger", metavar="DIR", help="the ledger's folder, one of its files, or - for standard input")
    text = "one event of OCSF 1.8, API Activity (6003), for each decision and each count of refusals, one a line"
    add("--ocsf", action="store_true", required=True, help=text)
    add("--since", metavar="WHEN", help="an instant, or a date in UTC")
    add("--until", metavar="WHEN", help="an instant, which is outside, or a date in UTC, which is inside")
    parser.epilog = (
        "A decision comes once the line of its end is known. What OCSF has no place for stands under `unmapped`. "
        "Events prove nothing: the ledger does."
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the events."""
    since = parse_bound(options.since, "--since", is_end=False)
    until = parse_bound(options.until, "--until", is_end=True)
    if since and until and since >= until:
        raise UsageError(f"--since {options.since} is not before --until {options.until}.")
    reading = Reading(tell)
    for event in _convert(options.ledger, Filter(since=since, until=until), reading):
        print(msgspec.json.encode(event).decode())
    reading.finish()
    return 0


def _convert(ledger: str, asked: Filter, reading: Reading) -> Iterator[Event]:
    search = Search(asked, reading.decode)
    for entry in read_place(ledger, since=asked.since, until=asked.until):
        seen = reading.look(entry)
        if seen is None:
            continue
        kind, time = seen
        for row in search.take(kind, time, entry.data, entry):
            yield convert_decision(row, VERSION)
        if kind == b"refusals" and asked.is_within(time) and (counted := reading.decode(entry)) is not None:
            yield convert_refusals(counted, VERSION)
    for row in search.finish():
        yield convert_decision(row, VERSION)
