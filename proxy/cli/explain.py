# SPDX-License-Identifier: Apache-2.0
"""``sekisho explain DIR``: every rule, and why it applied or did not, for one request.

The request is one of the bundle's tests (by its sentence), a test case in a file, a line of the ledger, or described
by flags. What is not given is unknown. A line of the ledger is explained under the policy folder that is named, or
where none is, under the very bundle that decided it, which is kept beside the segments.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.text import Text

from proxy.bundle.cases import CaseEntry
from proxy.bundle.check import load_bundle, load_case
from proxy.bundle.snapshot import Snapshot
from proxy.cli.terminal import plain
from proxy.cli.tree import draw
from proxy.clock import unix_seconds
from proxy.errors import UsageError
from proxy.ledger.prove import find_among
from proxy.ledger.segments import describe_no_ledger, list_ledgers, list_segments
from proxy.lifecycle.cases import Cases
from proxy.lifecycle.explanation import Explanation, explain_asked, explain_facts
from proxy.lifecycle.kept import load_kept
from proxy.lifecycle.recorded import read_line, read_recorded
from proxy.model.decision import Reason
from proxy.model.problem import nearest
from proxy.model.request_id import read_instant
from proxy.origin.geoip import make_geolocator
from proxy.settings import read_settings

MIN_WIDTH: Final = 132
"""Columns that the tree needs so that nothing is cut off."""
MAX_INPUT_BYTES: Final = 1024 * 1024
_RECORDED: Final = frozenset({"line", "id"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("policies", nargs="?", type=Path, help="the policy folder; for a line, else the bundle that --ledger keeps")
    add("sentence", nargs="?", help="one of the bundle's tests: its sentence, or a part of it")
    add("--case", metavar="FILE", help="a test case in a YAML file; - reads it from standard input")
    add("--line", metavar="FILE", help="a decision line of the ledger; - reads it from standard input")
    add("--id", metavar="ID", help="a decision in --ledger, by what the caller was told")
    add("--ledger", type=Path, metavar="DIR", help="the ledger's folder, with --line or --id")
    add("--request", metavar="'GET /PATH'", help="a method and a path")
    add("--host", help="with --request, where the bundle has more than one API")
    add("--caller", action="append", metavar="NAME=VALUE", help="an attribute of the caller; a,b is a set")
    add("--origin", action="append", metavar="NAME=VALUE", help="country, network, ip, asn, anonymous=vpn,hosting")
    add("--at", metavar="INSTANT", help="when, such as 2027-06-30T09:00:00+09:00")
    add("--purpose", metavar="ID", help="what the caller says it reads for")
    add("--counts", action="append", metavar="NAME=NUMBER", help="how much it has read: subjects_1h=120")
    add("--matter", metavar="NUMBER", help="the case that it names")
    add(
        "--answer",
        metavar="FILE",
        help="an answer of the API: what becomes of each of its records; - reads it from standard input",
    )
    add("--show-answer", action="store_true", help="with --answer, print what would reach the caller of it, too")
    add("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print how one request is decided."""
    asked = [name for name in ("sentence", "case", "line", "id", "request") if getattr(options, name) is not None]
    if len(asked) != 1:
        raise UsageError(
            "Say what to explain: a test's sentence, --case FILE, --line FILE, --id ID or --request 'GET /PATH'."
        )
    _check_places(options, asked[0])
    _check_answer(options, asked[0])
    if asked != ["request"]:
        loose = [
            name for name in ("host", "caller", "origin", "at", "purpose", "counts", "matter") if getattr(options, name)
        ]
        if loose:
            raise UsageError(
                f"--{loose[0]} describes a request: it goes with --request. To vary a test, use --case FILE."
            )
    explanation = _explain_recorded(options) if asked[0] in _RECORDED else _find(options, asked[0])
    if options.json:
        print(msgspec.json.encode(explanation).decode())
        return 0
    console = Console(highlight=False)
    console.width = max(console.width, MIN_WIDTH)
    console.print(draw(explanation))
    if explanation.answer is not None and explanation.answer.leaving is not None:
        console.print(
            Text(plain(f"what reaches the caller:\n{explanation.answer.leaving}", keep_newlines=True)), soft_wrap=True
        )
    return 0


def _check_answer(options: argparse.Namespace, asked: str) -> None:
    """Refuse an answer that belongs to nothing."""
    if options.answer is not None and asked in _RECORDED:
        raise UsageError("--answer is looked into for a request, a test or a case: of a record, nothing is kept of it.")
    if options.answer == "-" and options.case == "-":
        raise UsageError("Standard input is the case or the answer, not both.")


def _check_places(options: argparse.Namespace, asked: str) -> None:
    """Refuse what names too few folders, or too many."""
    if options.ledger is not None and asked not in _RECORDED:
        raise UsageError("--ledger says where a record is: it goes with --line or --id.")
    if options.ledger is None and asked == "id":
        raise UsageError("Say which ledger holds the decision: --ledger DIR.")
    if options.policies is None and options.ledger is None:
        raise UsageError("Name the policy folder; or with --line, by --ledger DIR, where the one that decided is kept.")


def _explain_recorded(options: argparse.Namespace) -> Explanation:
    """Explain a line of the ledger."""
    ledger: Path = options.ledger
    if options.id is None:
        data = _read_input(options.line)
    else:
        ledger, data = _find_line(ledger, options.id)
    asked = read_line(data)
    if options.policies is None:
        snapshot, remarks = load_kept(ledger, asked.line.bundle, asked.time)
    else:
        snapshot, remarks = load_bundle(options.policies), ()
        if _lacks(snapshot, asked.time):
            snapshot = load_bundle(options.policies, now=asked.time)
    recorded = read_recorded(data, snapshot)
    return explain_facts(recorded.title, recorded.facts, snapshot, remarks=(*remarks, *recorded.remarks))


def _find_line(ledger: Path, id_: str) -> tuple[Path, bytes]:
    """Return the decision line of an id, and the folder of the very ledger that it stands in."""
    id_ = id_.strip()  # as it was copied
    if read_instant(id_) is None:
        raise UsageError(f"{id_!r} is no id of a decision: that is what a caller was told as `decision_id`.")
    try:
        ledgers = [segments for each in list_ledgers(ledger) if (segments := list_segments(each))]
        if not ledgers:
            raise UsageError(describe_no_ledger(ledger))
        found = find_among(ledgers, id_)
    except OSError as error:
        raise UsageError(f"The ledger {ledger} cannot be read: {error.strerror}.") from error
    if found is None:
        raise UsageError(f"The ledger {ledger} holds no decision {id_}.")
    return found[0][0].path.parent, found[1].entry


def _find(options: argparse.Namespace, asked: str) -> Explanation:
    snapshot = load_bundle(options.policies)
    if asked == "sentence":
        case = _find_sentence(snapshot, options.sentence)
    elif asked == "case":
        case = load_case(_read_input(options.case), options.case, snapshot)
    else:
        case = load_case(json.dumps(_describe(options)).encode(), "the flags", snapshot)
    if options.answer is not None:
        case = _with_answer(case, _read_input(options.answer), options.answer)
    if options.show_answer and case.given.answer is None:
        raise UsageError("--show-answer shows what leaves of an answer: give one by --answer FILE.")
    at = case.given.at
    if asked != "sentence" and at is not None and _lacks(snapshot, at.timestamp()):
        snapshot = load_bundle(options.policies, now=at.timestamp())
    return _explain_case(case, snapshot, shows_answer=options.show_answer)


def _with_answer(case: CaseEntry, data: bytes, name: str) -> CaseEntry:
    """Return a case with an answer of the API."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is no UTF-8 text, and such an answer is refused.") from error
    return case.model_copy(update={"given": case.given.model_copy(update={"answer": text, "subjects": None})})


def _find_sentence(snapshot: Snapshot, sentence: str) -> CaseEntry:
    found = sorted(
        (case for case in snapshot.cases if sentence.casefold() in case.name.casefold()),
        key=lambda case: (case.name != sentence, not case.name.startswith(sentence)),
    )
    if not found:
        names = [case.name for case in snapshot.cases]
        listed = "\n  ".join(["There is:", *names])
        raise UsageError(f"No test says {sentence!r}{nearest(sentence, names)}. {listed}")
    return found[0]


def _lacks(snapshot: Snapshot, time: float) -> bool:
    """Say whether the registers were not computed for an instant."""
    return not snapshot.affiliates.at(time).by_id


def _explain_case(case: CaseEntry, snapshot: Snapshot, *, shows_answer: bool) -> Explanation:
    geolocator = make_geolocator(read_settings())
    asked = Cases(snapshot, geolocator, unix_seconds()).find_asked(case.given)
    if isinstance(asked, Reason):
        raise UsageError(f"{case.given.request} asks no rule: {asked}.")
    return explain_asked(case.name, asked, snapshot, geolocator.build, shows_answer=shows_answer)


def _describe(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the flags say, as a test case is written."""
    caller: dict[str, Any] = {}
    for name, value in _pairs(options.caller, "--caller"):
        is_set = name in {"groups", "roles", "citizenships"}
        caller[name] = [each for each in value.split(",") if each] if is_set else value
    origin: dict[str, Any] = dict(_pairs(options.origin, "--origin"))
    if "anonymous" in origin:
        origin["anonymous"] = [each for each in origin["anonymous"].split(",") if each]
    given = {
        "request": options.request,
        "host": options.host,
        "caller": caller,
        "origin": origin or None,
        "at": options.at,
        "purpose": options.purpose,
        "case": options.matter,
        "counts": dict(_pairs(options.counts, "--counts")) or None,
    }
    return {
        "name": f"the request {options.request}",
        "given": {name: value for name, value in given.items() if value is not None},
        "expect": {"effect": "deny"},
    }


def _pairs(flags: list[str] | None, flag: str) -> list[tuple[str, str]]:
    pairs = []
    for text in flags or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{text!r} is not of the form {flag} NAME=VALUE.")
        pairs.append((name, value))
    return pairs


def _read_input(name: str) -> bytes:
    try:
        if name == "-":
            return sys.stdin.buffer.read(MAX_INPUT_BYTES)
        with Path(name).open("rb") as file:
            return file.read(MAX_INPUT_BYTES)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}.") from error
