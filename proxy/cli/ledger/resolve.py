# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger resolve DIR CANDIDATE…``: in which records somebody appears, for whoever has the key ring.

Nobody can turn a name in a record back into a person. With the keys, candidates can be tested: who of them it was.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.cli.ledger.source import PIPE, read_place
from proxy.cli.terminal import plain
from proxy.errors import UsageError
from proxy.ledger.key_ring_file import read_key_ring
from proxy.ledger.pseudonym import KeyRing
from proxy.ledger.resolve import Appearance, Candidate, Resolver, Role, parse_candidate

MIN_WIDTH: Final = 132
"""Columns that the table needs."""
MAX_CANDIDATES_BYTES: Final = 256 * 1024 * 1024
_NOBODY: Final = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("ledger", metavar="DIR", help="the ledger's folder, one of its files, or - for standard input")
    add("candidate", nargs="*", metavar="CANDIDATE", help="a caller 'ISSUER|SUBJECT', or a data subject API:ID")
    add("--candidates", metavar="FILE", help="candidates, one a line; - reads them from standard input")
    add("--pseudonym-key", type=Path, metavar="FILE", required=True, help="the key ring of the gateway that wrote it")
    add("--id", default="", type=str.strip, metavar="DECISION", help="who of the candidates appears in that decision")
    add("--subjects", action="store_true", help="say also under which name grants know each data subject")
    add("--limit", type=int, default=20, metavar="N", help="at most so many ids of decisions each; 20 unless told")
    add("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print where the candidates appear; exit code 1 if none does anywhere."""
    if options.limit < 0:
        raise UsageError(f"--limit {options.limit} is less than none.")
    if options.ledger == options.candidates == PIPE:
        raise UsageError("The ledger and the candidates cannot both come through standard input: name a file for one.")
    ring = read_key_ring(options.pseudonym_key)
    candidates = [_parse(text) for text in (*options.candidate, *_read_candidates(options.candidates))]
    if not candidates:
        raise UsageError("Nobody is asked for: name candidates such as 'corp|alice' or users:42, or --candidates FILE.")
    try:
        resolver = Resolver(ring, candidates, decision=options.id, limit=options.limit)
    except ValueError as error:
        raise UsageError(f"{error}.") from error
    for entry in read_place(options.ledger):
        if entry.is_whole:
            resolver.look(entry.data)
    if options.id and not resolver.decisions:
        raise UsageError(f"The ledger {options.ledger} has no decision {options.id!r}.")
    if options.json:
        print(json.dumps(_to_json(resolver, ring if options.subjects else None)))
    else:
        _show(resolver, ring if options.subjects else None, options)
    return 0 if resolver.appearances() else _NOBODY


def _parse(text: str) -> Candidate:
    try:
        text.encode()
        return parse_candidate(text)
    except UnicodeEncodeError as error:
        raise UsageError(f"The candidate {text!a} is no UTF-8.") from error
    except ValueError as error:
        raise UsageError(f"{error}.") from error


def _read_candidates(name: str | None) -> list[str]:
    """Read candidates from a file: one a line, without blank lines and comments."""
    if name is None:
        return []
    try:
        if name == PIPE:
            data = sys.stdin.buffer.read(MAX_CANDIDATES_BYTES)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MAX_CANDIDATES_BYTES)
        lines = [line.strip() for line in data.decode().split("\n")]
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is no UTF-8 text: byte {error.start + 1} is none.") from error
    return [line for line in lines if line and not line.startswith("#")]


def _to_json(resolver: Resolver, ring: KeyRing | None) -> dict[str, Any]:
    found = resolver.appearances()
    present = {each.candidate for each in found}
    return {
        "found": [
            {
                "candidate": each.candidate.text,
                "as": each.role.value,
                "decisions": each.count,
                "first": each.first,
                "last": each.last,
                "periods": each.periods,
                "ids": each.ids,
            }
            for each in found
        ],
        "not_found": [each.text for each in resolver.candidates if each not in present],
        "decisions": resolver.decisions,
        "others": {role.value: resolver.others[role] for role in Role if resolver.others[role]},
        "without_key": dict(sorted(resolver.unnamed.items())),
        "damaged": resolver.damaged,
        **({} if ring is None else {"in_grants": _in_grants(resolver, ring)}),
    }


def _in_grants(resolver: Resolver, ring: KeyRing) -> dict[str, str]:
    subjects = [each for each in resolver.candidates if each.is_subject]
    return {each.text: ring.subjects.of_subject(each.api, each.id) for each in subjects}


def _show(resolver: Resolver, ring: KeyRing | None, options: argparse.Namespace) -> None:
    console = Console(highlight=False)
    console.width = max(console.width, MIN_WIDTH)
    found = resolver.appearances()
    if options.id:
        _show_one(console, resolver, found, options.id)
    elif found:
        console.print(_draw(found))
    missing = [each.text for each in resolver.candidates if each not in {seen.candidate for seen in found}]
    if missing and not options.id:
        more = f" and {len(missing) - options.limit} more" if len(missing) > options.limit else ""
        shown = ", ".join(map(plain, missing[: options.limit])) + more
        console.print(Text(f"in no record: {shown}"))
    for period, count in sorted(resolver.unnamed.items()):
        records = "1 record names" if count == 1 else f"{count:,} records name"
        console.print(f"{records} people by the key of {period}, which this ring does not have: whom, nobody can tell.")
    if resolver.damaged:
        console.print(f"{resolver.damaged:,} lines could not be read: `sekisho ledger verify` says what is wrong.")
    for candidate, name in _in_grants(resolver, ring).items() if ring is not None else ():
        console.print(Text(f"grants know {plain(candidate)} as {name}"))


def _show_one(console: Console, resolver: Resolver, found: list[Appearance], decision: str) -> None:
    for role in Role:
        for each in found:
            if each.role is role:
                console.print(Text(f"{decision}: the {_WORDS[role]} {plain(each.candidate.text)}"))
        if resolver.others[role]:
            console.print(Text(f"{decision}: the {_WORDS[role]} somebody who is none of the candidates"))


_WORDS: Final = {
    Role.CALLER: "caller was",
    Role.PERSON: "caller acted for",
    Role.SUBJECT: "data were those of",
    Role.CONTENT: "answer held data of",
}


def _draw(found: list[Appearance]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("candidate", "as", "decisions", "first", "last", "decision ids"):
        table.add_column(name, justify="right" if name == "decisions" else "left", overflow="fold")
    for each in found:
        more = f" and {each.count - len(each.ids):,} more" if each.count > len(each.ids) else ""
        table.add_row(
            Text(plain(each.candidate.text)), each.role.value, f"{each.count:,}", each.first, each.last,
            Text("\n".join(each.ids) + more),
        )  # fmt: skip
    return table
