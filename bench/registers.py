# SPDX-License-Identifier: Apache-2.0
"""Large registers: 500,000 people and 100,000 affiliates in CSV files become the files that all workers share.

- *Building*, beside reading the same files with the csv module and inserting their rows into SQLite tables without
  keys. It is the whole of ``load_bundle`` on a folder with those files: every check, the order, who controls whom by a
  cascade of 50 per cent, for whom everybody works in the end, the digests; into a new
  folder each round. Both run with the garbage collector off (`bench.harness`), the CSV in the page cache. In a reload
  a child process does this; its start, some tenths of a second, is not counted.
- *Memory*: what a process holds more once it has taken the whole snapshot over, as a worker does, and looked 20,000
  people and 20,000 affiliates up, each for the first time.
- *A cold person*, *a cold affiliate*: one look-up of those.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import pickle
import sqlite3
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random  # noqa: TID251 - people made up from a seed
from tempfile import TemporaryDirectory
from typing import Final

from bench.harness import (
    MIN_ROUNDS,
    BenchError,
    Comparison,
    Target,
    batch_nanoseconds,
    paired,
    render_json,
    render_table,
)
from proxy.bundle.check import load_bundle
from proxy.caller.affiliate_tables import OF_ENTITIES, OF_HOLDINGS
from proxy.caller.people import COLUMNS, People
from proxy.clock import elapsed_seconds
from proxy.lifecycle.takeover import Assembly, pack

PEOPLE: Final = 500_000
AFFILIATES: Final = 100_000
LOOK_UPS: Final = 20_000
SEED: Final = 5
ANCHOR: Final = "csv and sqlite3"
SUBJECT: Final = "load_bundle"
AT_MOST: Final = 2.0
AT_MOST_MIB: Final = 60.0

COUNTRIES: Final = ("JP", "KR", "TW", "TH", "ID", "US", "CN", "VN", "SG", "DE")

BUNDLE: Final = """\
language: 1
bundle: registers
ties: [employer, site, residence, control]
files:
  parties.yaml: [issuers, control_rules]
  apis.yaml: [apis]
  rules.yaml: [rules]
  people.csv: [people]
  entities.csv: [affiliates]
  holdings.csv: [holdings]
"""
ISSUERS: Final = """\
issuers:
  - id: corp
    operated_by: a-0
    issuer: https://idp.example.jp
    audience: [gateway]
    jwks: https://idp.example.jp/jwks.json
    algorithms: [ES256]
    may_assert: {affiliate: any}
    attributes: {id: sub}
  - id: contractors
    operated_by: a-0
    issuer: https://contractors.example.jp
    audience: [gateway]
    jwks: https://contractors.example.jp/jwks.json
    algorithms: [ES256]
    may_assert: {affiliate: any}
    attributes: {id: sub}
control_rules:
  - {id: majority, threshold: 50, default: true}
"""
APIS: Final = """\
apis:
  - id: users
    upstream: {url: "http://127.0.0.1:9000", hosted_in: JP}
    routes:
      - id: status
        methods: [GET]
        path: /status
        action: read
        subject: none
        reason: it tells of no person
        owner: users-team
"""
RULES: Final = "rules:\n  - {id: staff, effect: allow, when: {caller.affiliate: a-0}}\n"


def subject(number: int) -> str:
    """Return the subject of a person: a hash, so that neighbours in the file are none in the register."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def issuer(number: int) -> str:
    """Return the issuer of a person."""
    return "contractors" if number % 5 == 0 else "corp"


def people(count: int, affiliate_count: int) -> Iterator[tuple[str, ...]]:
    """Yield made-up people, each with nearly everything that can be said."""
    chance = Random(SEED)  # noqa: S311 - the same people every time
    for number in range(count):
        since = f"{chance.randrange(2005, 2026)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
        yield (
            issuer(number),
            subject(number),
            f"a-{chance.randrange(affiliate_count)}",
            "contractor" if number % 5 == 0 else "employee",
            chance.choice(COUNTRIES),
            chance.choice(COUNTRIES),
            chance.choice(COUNTRIES) if chance.random() < 0.95 else "JP;US",
            f"{since}T00:00:00+09:00",
            "" if chance.random() < 0.8 else "2031-04-01T00:00:00+09:00",
        )


def affiliates(count: int) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return made-up affiliates and who holds them: one group of many levels, a tenth of it without owners."""
    chance = Random(SEED)  # noqa: S311 - the same affiliates every time
    entities: list[tuple[str, ...]] = []
    holdings: list[tuple[str, ...]] = []
    for number in range(count):
        id_ = f"a-{number}"
        owners: dict[str, int] = {}
        if number > count // 10:
            first, second = (f"a-{chance.randrange(number // 4 + 1)}" for _ in range(2))
            share = 100 if first == second or chance.random() < 0.85 else chance.choice((25, 40, 49, 51, 60))
            owners = {first: share} if share == 100 else {first: share, second: 100 - share}
        holdings += [(owner, id_, "", str(share), "", "", "", "", "") for owner, share in owners.items()]
        works_for = f"a-{chance.randrange(number)}" if number and chance.random() < 0.2 else chance.choice(("", "-"))
        entities.append((
            id_,
            f"Company {number} Ltd.",
            chance.choice(COUNTRIES),
            "true" if number == 0 else "",
            "contractor" if works_for else "subsidiary",
            "true" if owners and chance.random() < 0.7 else "",
            "",
            works_for,
            "",
            "",
            "" if chance.random() < 0.9 else f"{chance.randrange(2005, 2026)}-04-01T00:00:00+09:00",
            "",
        ))  # fmt: skip
    return entities, holdings


def write_folder(folder: Path, people_count: int, affiliate_count: int) -> None:
    """Write a policy folder with tables of people, affiliates and holdings."""
    texts = {"bundle.yaml": BUNDLE, "parties.yaml": ISSUERS, "apis.yaml": APIS, "rules.yaml": RULES}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    entities, holdings = affiliates(affiliate_count)
    for name, header, rows in (
        ("people.csv", COLUMNS, people(people_count, affiliate_count)),
        ("entities.csv", OF_ENTITIES, entities),
        ("holdings.csv", OF_HOLDINGS, holdings),
    ):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)


def read_and_insert(folder: Path, target: Path) -> None:
    """Do what the anchor does: read every row of every table, and insert it."""
    with closing(sqlite3.connect(target)) as connection:
        for source in sorted(folder.glob("*.csv")):
            with source.open(encoding="utf-8", newline="") as file:
                rows = csv.reader(file)
                header = next(rows)
                marks = ", ".join("?" * len(header))
                names = ", ".join(f"c{number} TEXT" for number in range(len(header)))
                connection.execute(f"CREATE TABLE {source.stem} ({names})")
                connection.executemany(f"INSERT INTO {source.stem} VALUES ({marks})", rows)  # noqa: S608 - ours
        connection.commit()


def contenders(folder: Path) -> dict[str, Callable[[], float]]:
    """Return both, one whole build a batch."""

    def anchor() -> float:
        with TemporaryDirectory(dir=folder.parent) as name:
            return batch_nanoseconds(lambda: read_and_insert(folder, Path(name) / "anchor.db"), 1)

    def build() -> float:
        with TemporaryDirectory(dir=folder.parent) as name:
            return batch_nanoseconds(lambda: load_bundle(folder, None, Path(name) / "store"), 1)

    return {ANCHOR: anchor, SUBJECT: build}


def resident_mib() -> float:
    """Return what this process holds in memory, shared pages included."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def look_up(count: int) -> dict[str, float]:
    """Take the snapshot over that standard input holds, look people and affiliates up, and say what that cost."""
    slices: list[bytes] = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent's bytes, over a pipe
    before = resident_mib()
    assembly = Assembly()
    for data in slices:
        assembly.take(data)
    if assembly.snapshot is None:
        raise BenchError("the slices make no snapshot")
    register: People = assembly.snapshot.people
    chosen = Random(SEED).sample(range(count), min(LOOK_UPS, count))  # noqa: S311 - the same every time
    costs = []
    for number in chosen:
        key = issuer(number), subject(number)
        started = elapsed_seconds()
        found = register.find(*key)
        costs.append((elapsed_seconds() - started) * 1e6)
        if len(found) != 1:
            raise BenchError(f"person {number} is not in the register")
    by_id = assembly.snapshot.affiliates.current.by_id
    of_affiliates = []
    for id_ in [f"a-{number}" for number in Random(SEED).sample(range(AFFILIATES), LOOK_UPS)]:  # noqa: S311 - the same
        started = elapsed_seconds()
        affiliation = by_id[id_]
        of_affiliates.append((elapsed_seconds() - started) * 1e6)
        if affiliation.id != id_:
            raise BenchError(f"affiliate {id_} is not in the register")
    deciles = statistics.quantiles(costs, n=10)
    return {
        "more_mib": resident_mib() - before,
        "look_up_us": statistics.median(costs),
        "look_up_us_p10": deciles[0],
        "look_up_us_p90": deciles[-1],
        "affiliate_us": statistics.median(of_affiliates),
    }


def measure_look_ups(folder: Path, count: int) -> dict[str, float]:
    """Look people up in a process of its own."""
    with TemporaryDirectory(dir=folder.parent) as name:
        data = pickle.dumps(list(pack(load_bundle(folder, None, Path(name) / "store"))))
        code = f"import json; from bench.registers import look_up; print(json.dumps(look_up({count})))"
        done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=False)
        if done.returncode:
            raise BenchError(f"the process that looks people up failed: {done.stderr.decode()[-500:]}")
        figures: dict[str, float] = json.loads(done.stdout)
        size = sum(file.stat().st_size for file in (Path(name) / "store").iterdir())
        return {**figures, "file_mib": size / 2**20}


def report(count: int, rounds: int, *, as_json: bool) -> None:
    """Measure and print."""
    with TemporaryDirectory(prefix="sekisho-bench-") as name:
        folder = Path(name) / "policies"
        folder.mkdir()
        write_folder(folder, count, AFFILIATES)
        figures = measure_look_ups(folder, count)
        comparison: Comparison = paired(contenders(folder), ANCHOR, rounds)
    ratio = comparison.ratio(SUBJECT)
    targets = {
        "build_to_csv_and_sqlite": Target(ratio.median, AT_MOST),
        "mib_per_worker": Target(figures["more_mib"], AT_MOST_MIB),
    }
    print(f"Building {count:,} people and {AFFILIATES:,} affiliates (seed {SEED}), {rounds} rounds, interleaved")
    rows = [[name, f"{comparison.cost(name).median / 1e9:.2f}"] for name in comparison.costs]
    print(render_table(("contender", "seconds"), rows))
    verdicts = {name: "met" if target.met else "MISSED" for name, target in targets.items()}
    print(
        f"ratio {ratio.median:.2f} ({ratio.p10:.2f}-{ratio.p90:.2f}), target at most {AT_MOST}:"
        f" {verdicts['build_to_csv_and_sqlite']}"
    )
    print(
        f"{figures['more_mib']:.1f} MiB more in a process that looked {LOOK_UPS:,} of each up, target at most"
        f" {AT_MOST_MIB:g}: {verdicts['mib_per_worker']}; the files have {figures['file_mib']:.1f} MiB"
    )
    print(
        f"a cold person: {figures['look_up_us']:.1f} µs"
        f" ({figures['look_up_us_p10']:.1f}-{figures['look_up_us_p90']:.1f})"
    )
    print(f"a cold affiliate: {figures['affiliate_us']:.1f} µs")
    if as_json:
        seconds = {
            "anchor_seconds": comparison.cost(ANCHOR).median / 1e9,
            "build_seconds": comparison.cost(SUBJECT).median / 1e9,
        }
        print(render_json({**figures, **seconds}, targets))


def main() -> int:
    """Run the command; 2 when it could not measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.registers", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help="pairs (default and least: %(default)s)")
    parser.add_argument("--people", type=int, default=PEOPLE, help="rows of the table (default: %(default)s)")
    options = parser.parse_args()
    try:
        report(options.people, options.rounds, as_json=options.json)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
