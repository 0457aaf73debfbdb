# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger tail``: the last lines of a ledger, and with ``-f`` those that come."""

import argparse
import select
import sys
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from proxy.cli.ledger.source import PIPE, describe_empty, read_place, tell
from proxy.cli.ledger.telling import HEADING, LINE_KINDS, render_json, tell_line
from proxy.errors import UsageError
from proxy.ledger.follow import Follower
from proxy.ledger.query import Row
from proxy.ledger.read import Entry, Files, Position, Reading, find_end, find_ledgers, merge_by_time, read_backward
from proxy.ledger.segments import list_ledgers
from proxy.model.problem import nearest

_POLL_MILLISECONDS: Final = 200


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("ledger", metavar="DIR", help="the ledger's folder, one of its files, or - for standard input")
    add("-n", "--lines", type=_parse_count, default=10, metavar="N", help="how many lines (10)")
    add("-f", "--follow", action="store_true", help="go on with the lines that come, until Ctrl-C")
    add("--line", action="append", metavar="KIND", help="only lines of this kind: decision, end, checkpoint, …")
    add("--json", action="store_true", help="print the lines as they stand in the ledger")
    parser.epilog = "Times are UTC. `who` is the beginning of a pseudonym; `+?` says that there may be more countries."
    parser.set_defaults(run=run)


def _parse_count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Print the last lines; with ``-f`` until whoever reads them goes."""
    reading = Reading(tell)
    kinds = frozenset(kind.encode() for kind in options.line or ())
    for unknown in sorted(set(options.line or ()).difference(LINE_KINDS)):
        tell(f"this version knows no kind of line {unknown!r}{nearest(unknown, LINE_KINDS)}.")
    if options.ledger == PIPE:
        _print_heading(options)
        entries = _choose(read_place(PIPE), reading, kinds)
        _print(entries if options.follow else deque(entries, options.lines), options)
        reading.finish()
        return 0
    ledgers = find_ledgers(Path(options.ledger))
    if not any(each.paths for each in ledgers):
        told = describe_empty(Path(options.ledger))
        if not options.follow:
            raise UsageError(told)
        tell(told)
    _print_heading(options)
    ends = [(each, find_end(each)) for each in ledgers]
    streams = [read_backward(files, end if options.follow else None) for files, end in ends]
    last = list(islice(_choose(merge_by_time(streams, backward=True), reading, kinds), options.lines))
    _print(reversed(last), options)
    if kinds and not last and not options.follow:
        tell("no line is of that kind.")
    if options.follow:
        _follow(ends, reading, kinds, options)
    reading.finish()
    return 0


def _print_heading(options: argparse.Namespace) -> None:
    if not options.json:
        print(HEADING)


def _choose(entries: Iterable[Entry], reading: Reading, kinds: frozenset[bytes]) -> Iterator[tuple[Entry, Row]]:
    for entry in entries:
        if kinds:
            seen = reading.look(entry)
            if seen is None or seen[0] not in kinds:
                continue
        line = reading.decode(entry)
        if line is not None:
            yield entry, line


def _print(chosen: Iterable[tuple[Entry, Row]], options: argparse.Namespace) -> None:
    for entry, line in chosen:
        print(render_json(entry.data, line) if options.json else tell_line(line))
        if options.follow:
            sys.stdout.flush()


def _follow(
    ends: list[tuple[Files, Position | None]], reading: Reading, kinds: frozenset[bytes], options: argparse.Namespace
) -> None:
    followers = {files.folder: Follower(files, end, tell) for files, end in ends}
    try:
        while True:
            for follower in followers.values():
                _print(_choose(follower.read(), reading, kinds), options)
            for part in _find_new(Path(options.ledger), followers):
                followers[part] = Follower(Files(part, ()), None, tell)
            _wait()
    finally:
        for follower in followers.values():
            follower.close()


def _find_new(place: Path, known: Collection[Path | None]) -> list[Path]:
    """Return the ledgers of replicas and workers that were started meanwhile."""
    try:
        return [each for each in list_ledgers(place) if each not in known] if None not in known else []
    except OSError:  # the folder is gone: its follower says so
        return []


def _wait() -> None:
    """Wait a moment, or until whoever reads the output has gone: BrokenPipeError."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # POLLERR and POLLHUP come unasked
    if poll.poll(_POLL_MILLISECONDS):
        raise BrokenPipeError
