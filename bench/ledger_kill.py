# SPDX-License-Identifier: Apache-2.0
"""Kill the gateway under load, many times, and look for a record that is missing: `python -m bench.ledger_kill`.

Both durabilities, half of the kills each. Exit code 1 if a record is missing or a ledger does not verify.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.harness import BenchError, render_table
from bench.kills import Kill, run

KILLS: Final = 100
AT_START: Final = 0.2
"""The share of kills that are followed by one while it starts."""


async def measure(durability: str, kills: int, seed: int) -> list[Kill]:
    """Kill so often, tell each kill that shows something, and return all."""
    done = []
    with TemporaryDirectory(prefix="sekisho-kills-") as name:
        folder = Path(name)
        async with contextlib.aclosing(run(folder, durability, kills, seed, at_start=AT_START)) as killing:
            async for each in killing:
                done.append(each)
                if sys.stderr.isatty():
                    print(f"\r{durability}: {len(done)} of {kills} kills", end="", file=sys.stderr, flush=True)
                for problem in each.problems:
                    print(f"\n{durability}, {each.when}: {problem}", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return done


def row(durability: str, kills: list[Kill]) -> list[str]:
    """Return the row of a table."""
    return [
        durability,
        f"{len(kills):,}",
        f"{sum(each.answers for each in kills):,}",
        f"{sum(each.changes for each in kills):,}",
        f"{kills[-1].lines if kills else 0:,}",
        f"{sum(each.cut_bytes > 0 for each in kills):,}",
        f"{max((each.start_seconds for each in kills), default=0.0):.1f}",
        f"{sum(len(each.problems) for each in kills):,}",
    ]


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help=f"how many in all ({KILLS})")
    parser.add_argument("--seed", type=int, help="of the moments (another each time)")
    options = parser.parse_args()
    if options.kills < 2:
        parser.error("--kills: at least 2, one for each durability")
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    print(f"Kills at random moments, each under load; seed {seed}")
    try:
        shares = {"written": (options.kills + 1) // 2, "synced": options.kills // 2}
        done = {name: asyncio.run(measure(name, share, seed)) for name, share in shares.items()}
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    heads = ("durability", "kills", "answers", "changes", "lines", "lines cut", "longest start (s)", "problems")
    print(render_table(heads, [row(name, kills) for name, kills in done.items()]))
    is_bad = any(each.problems for kills in done.values() for each in kills)
    print("A record is missing, or a ledger does not verify." if is_bad else "Every answer has its record.")
    return 1 if is_bad else 0


if __name__ == "__main__":
    sys.exit(main())
