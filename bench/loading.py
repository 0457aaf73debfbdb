# SPDX-License-Identifier: Apache-2.0
"""Loading a policy folder of 10,000 rules, beside parsing the same text with PyYAML's C loader and no checks.

Loading here means all of it: reading with positions, schemas, checks across registers, compiled rules, digests.
Both run with the garbage collector off (`bench.harness`), the files in the page cache.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import yaml

from bench.harness import (
    MIN_ROUNDS,
    BenchError,
    Comparison,
    Target,
    paired,
    render_json,
    render_table,
    timed,
)
from bench.rulesets import SEED, ruleset
from proxy.bundle.check import load_bundle

RULES: Final = 10_000
ANCHOR: Final = "yaml.CSafeLoader"
SUBJECT: Final = "load_bundle"
AT_MOST: Final = 1.5


def parse_all(folder: Path) -> list[object]:
    """Parse every file of the folder."""
    texts = [path.read_bytes() for path in sorted(folder.iterdir())]
    return [yaml.load(text, Loader=yaml.CSafeLoader) for text in texts]  # noqa: TID251 - the anchor, no policy


def contenders(folder: Path) -> dict[str, Callable[[], float]]:
    """Return both, one whole load a batch."""
    return {ANCHOR: timed(lambda: parse_all(folder), 1), SUBJECT: timed(lambda: load_bundle(folder), 1)}


def measure(rules: int, rounds: int) -> Comparison:
    """Write the folder and time both on it."""
    with TemporaryDirectory(prefix="sekisho-bench-") as name:
        ruleset(rules).write(Path(name))
        return paired(contenders(Path(name)), ANCHOR, rounds)


def report(rules: int, rounds: int, *, as_json: bool) -> None:
    """Measure and print."""
    comparison = measure(rules, rounds)
    ratio = comparison.ratio(SUBJECT)
    target = Target(ratio.median, AT_MOST)
    print(f"Loading {rules:,} rules (seed {SEED}), {rounds} rounds, interleaved")
    rows = [[name, f"{comparison.cost(name).median / 1e9:.2f}"] for name in comparison.costs]
    print(render_table(("contender", "seconds"), rows))
    verdict = "met" if target.met else "MISSED"
    print(f"ratio {ratio.median:.2f} ({ratio.p10:.2f}-{ratio.p90:.2f}), target at most {AT_MOST}: {verdict}")
    if as_json:
        seconds = {f"{name.replace('.', '_').lower()}_seconds": comparison.cost(name).median / 1e9
                   for name in comparison.costs}  # fmt: skip
        print(render_json({**seconds, "load_to_yaml": ratio.median}, {"load_to_yaml": target}))


def main() -> int:
    """Run the command; 2 when it could not measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.loading", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help="pairs (default and least: %(default)s)")
    parser.add_argument("--rules", type=int, default=RULES, help="rules of the folder (default: %(default)s)")
    options = parser.parse_args()
    try:
        report(options.rules, options.rounds, as_json=options.json)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
