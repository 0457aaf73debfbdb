# SPDX-License-Identifier: Apache-2.0
"""What it costs to filter the records of an answer, beside loading and dumping it with orjson.

- *A list*: 100 KiB of JSON with 500 records, whole; the anchor loads and dumps it. Every byte is checked to be UTF-8
  and JSON by the letter, every name to stand once, and the subjects of what leaves get their names in the ledger.
- *Lines*: the same records as NDJSON, in parts of 64 KiB; the anchor loads and dumps each line.
- *Rewritten*: of every record an undeclared member goes, its contact is redacted and its id pseudonymised.
- *Mixed*: a third of the records goes, a third is rewritten, a third stays.
- *Kinds*: each record lacks some of three optional members, so that eight kinds of records take turns. No target.
- *Memory*: a GiB of lines through one filter, in another process, and how much more than before it has held at most.

Before timing, what leaves is compared with what should.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from bench.harness import MIN_ROUNDS, BenchError, Target, paired, render_json, render_table, timed
from proxy.ledger.pseudonym import SubjectNames
from proxy.model.api import Transform
from proxy.model.filtering import Judge
from proxy.model.inspection import Inspection, Media
from proxy.redaction.filters import make_filter
from proxy.redaction.treatment import Treatment
from tests.support.filtering import ALLOWED, DENIED, ByCountry, declare, masking

RECORDS: Final = 500
PART: Final = 65_536
EXPORT_BYTES: Final = 1 << 30
LIST_AT_MOST: Final = 2.5
UNCHANGED_RATE: Final = 0.45
REWRITTEN_RATE: Final = 0.25
MEMORY_AT_MOST_MIB: Final = 64.0

Record: TypeAlias = dict[str, Any]
COUNTRIES: Final = ("JP", "TW", "KR")
FIELDS: Final = {
    "$.id": "user.unique_id",
    "$.name": "user.name",
    "$.country": "user.country",
    "$.phone": "user.contact.phone_number",
    "$.email": "user.contact.email",
    "$.created": "user.account",
    "$.age": "user.age",
}
NAMES: Final = SubjectNames(bytes(range(32)))
TREATMENT: Final = Treatment(
    name=lambda category, text: hashlib.blake2b(f"{category}|{text}".encode(), digest_size=16).hexdigest(),
    seal=None,
    hides=True,
)
REWRITING: Final = masking({"user.contact": Transform.REDACT, "user.unique_id": Transform.PSEUDONYMISE})
EVERYONE: Final = ByCountry(dict.fromkeys(COUNTRIES, ALLOWED))
ABROAD: Final = ByCountry(dict.fromkeys(COUNTRIES, REWRITING))
MIXED: Final = ByCountry({"JP": DENIED, "TW": REWRITING, "KR": ALLOWED})


def make_records() -> list[Record]:
    """Return records of some 200 bytes."""
    return [
        {
            "id": f"u-{number:06}",
            "name": f"山田 太郎{number}",
            "country": COUNTRIES[number % 3],
            "phone": f"+81-90-1234-{number:04}",
            "email": f"user{number}@example.com",
            "created": "2024-05-01T12:00:00Z",
            "age": number % 90,
            "note": "a note of some words, as people write them",
        }
        for number in range(RECORDS)
    ]


def without_some(records: Sequence[Record]) -> list[Record]:
    """Return records that lack some of three members, in eight kinds."""
    optional = ("phone", "age", "created")
    return [
        {name: value for name, value in record.items() if name not in optional or number >> optional.index(name) & 1}
        for number, record in enumerate(records)
    ]


LIST: Final = declare({**FIELDS, "$.note": "user.note"}, records="$.users[*]", country="$.country", id="$.id")
LINES: Final = declare({**FIELDS, "$.note": "user.note"}, media=Media.LINES, country="$.country", id="$.id")
LINES_REWRITTEN: Final = declare(FIELDS, media=Media.LINES, country="$.country", id="$.id")


def filter_whole(inspection: Inspection, judge: Judge, body: bytes, size: int = PART) -> bytes:
    """Filter an answer in parts, and name the subjects of what leaves."""
    answer = make_filter(inspection, judge, TREATMENT)
    left = [answer.feed(body[at : at + size]) for at in range(0, len(body), size)]
    left.append(answer.end())
    NAMES.of_subjects("users", answer.take_content().ids)
    return b"".join(left)


def load_and_dump_lines(body: bytes) -> bytes:
    """Return the lines of a body, each loaded and dumped."""
    return b"\n".join([orjson.dumps(orjson.loads(line)) for line in body.splitlines()])


class Case:
    """Something to measure.

    Args:
        inspection: what is declared.
        judge: decides.
        body: the answer.
        left: what should leave of it; None where only that it is JSON is looked at.
    """

    def __init__(self, inspection: Inspection, judge: Judge, body: bytes, left: bytes | None) -> None:
        self._inspection = inspection
        self._judge = judge
        self._body = body
        self.is_lines = inspection.media is Media.LINES
        found = [self.run() for _ in range(3)][-1]
        if left is not None and found != left:
            raise BenchError("what leaves is not what should")
        for document in found.splitlines() if self.is_lines else [found]:
            orjson.loads(document)

    def run(self) -> bytes:
        """Filter the answer."""
        return filter_whole(self._inspection, self._judge, self._body, PART if self.is_lines else len(self._body))

    def anchor(self) -> bytes:
        """Load and dump it."""
        return load_and_dump_lines(self._body) if self.is_lines else orjson.dumps(orjson.loads(self._body))


def cases() -> Mapping[str, tuple[Case, float | None]]:
    """Return what is measured, and its target: a ratio of costs at most; None where none is promised."""
    records = make_records()
    body, lines = orjson.dumps({"users": records}), b"".join(orjson.dumps(record) + b"\n" for record in records)
    kinds = orjson.dumps({"users": without_some(records)})
    pretty = orjson.dumps({"users": records}, option=orjson.OPT_INDENT_2)
    escaped = json.dumps({"users": records}, separators=(",", ":")).encode()
    allowed = orjson.dumps({"users": [record for record in records if record["country"] != "JP"]})
    nobody_from_japan = ByCountry({"TW": ALLOWED, "KR": ALLOWED})
    return {
        "list, unchanged": (Case(LIST, EVERYONE, body, body), LIST_AT_MOST),
        "list, a third goes": (Case(LIST, nobody_from_japan, body, allowed), LIST_AT_MOST),
        "list, escaped": (Case(LIST, EVERYONE, escaped, escaped), None),
        "list, indented": (Case(LIST, EVERYONE, pretty, None), None),
        "list, eight kinds": (Case(LIST, EVERYONE, kinds, kinds), None),
        "lines, unchanged": (Case(LINES, EVERYONE, lines, lines), 1 / UNCHANGED_RATE),
        "lines, rewritten": (Case(LINES_REWRITTEN, ABROAD, lines, None), 1 / REWRITTEN_RATE),
        "lines, mixed": (Case(LINES_REWRITTEN, MIXED, lines, None), 1 / REWRITTEN_RATE),
    }


def export(size: int) -> None:
    """Filter an export of so many bytes, and print the MiB held at most beyond those before."""
    before = held_mib("VmRSS")
    block = b"".join(orjson.dumps(record) + b"\n" for record in make_records())
    answer = make_filter(LINES_REWRITTEN, MIXED, TREATMENT)
    for _ in range(size // len(block)):
        for at in range(0, len(block), PART):
            answer.feed(block[at : at + PART])
            answer.take_content()
    answer.end()
    print(held_mib("VmHWM") - before)


def held_mib(figure: str) -> float:
    """Return the MiB that this process holds (``VmRSS``), or has held at most (``VmHWM``)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{figure}:"):
            return int(line.split()[1]) / 1024
    raise BenchError("the kernel does not say how much memory was held")


def measure_memory(size: int) -> float:
    """Return the MiB that an export takes, measured in a process of its own."""
    command = [sys.executable, "-m", "bench.redaction", "--export", str(size)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise BenchError(f"the export failed: {run.stderr.strip().splitlines()[-1:]}")
    return float(run.stdout)


def measure(rounds: int) -> dict[str, tuple[float, float, float, float | None, float]]:
    """Return by case the ratio with its tenth and ninetieth percentile, its target, and microseconds."""
    found = {}
    for what, (case, target) in cases().items():
        contenders: dict[str, Callable[[], float]] = {"ours": timed(case.run), "anchor": timed(case.anchor)}
        comparison = paired(contenders, "anchor", rounds)
        ratio = comparison.ratio("ours")
        found[what] = (ratio.median, ratio.p10, ratio.p90, target, comparison.cost("ours").median / 1000)
    return found


def limit_of(target: float | None) -> str:
    """Return a target as it is printed."""
    return "-" if target is None else f"{target:.2f}"


def main() -> int:
    """Run the command; 2 when it could not measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.redaction", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help="pairs (default: %(default)s)")
    parser.add_argument("--export-bytes", type=int, default=EXPORT_BYTES, help="of the export (default: a GiB)")
    parser.add_argument("--export", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export is not None:
        export(options.export)
        return 0
    try:
        found = measure(options.rounds)
        memory = measure_memory(options.export_bytes)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    targets = {what: Target(each[0], each[3]) for what, each in found.items() if each[3] is not None}
    targets["memory_mib"] = Target(memory, MEMORY_AT_MOST_MIB)
    rows = [
        [
            what,
            f"{each[0]:.2f}",
            f"{each[1]:.2f}-{each[2]:.2f}",
            limit_of(each[3]),
            f"{1 / each[0]:.0%}",
            f"{each[4]:.0f}",
        ]
        for what, each in found.items()
    ]
    print(render_table(("filtered", "cost", "p10-p90", "at most", "rate", "us"), rows))
    print(f"memory: {memory:.1f} MiB beyond idle, at most {MEMORY_AT_MOST_MIB:g}")
    for what, target in targets.items():
        print(f"{what}: {'met' if target.met else 'MISSED'}")
    if options.json:
        print(render_json({what: each[4] for what, each in found.items()}, targets))
    return 0


if __name__ == "__main__":
    sys.exit(main())
