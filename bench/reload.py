# SPDX-License-Identifier: Apache-2.0
"""How long a reload of 10,000 rules holds the event loop of a serving process up.

A gateway runs in this process, on a folder of generated rules. A ticker notes the longest time between two turns of
the loop: while nothing happens, and while the folder is changed, loaded by the child process, taken over and put in
force, `--rounds` times. The machine's own noise is in both figures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import uvloop

from bench import rulesets
from bench.harness import BenchError, Target, render_json, render_table
from proxy.clock import elapsed_seconds, unix_seconds
from proxy.demo.issuer import Issuer
from proxy.ledger.key_ring_file import make_key_file
from proxy.ledger.pseudonym import period_of
from proxy.running import Running
from proxy.settings import read_settings
from proxy.wiring import run_gateway

RULES: Final = 10_000
TARGET_SECONDS: Final = 0.050
QUIET_SECONDS: Final = 3.0
DEADLINE_SECONDS: Final = 120.0


@dataclass(slots=True)
class Ticker:
    """Notes the longest gap between two turns of the loop since it was last asked."""

    longest: float = 0.0
    last: float = field(default_factory=elapsed_seconds)

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            await asyncio.sleep(0.001)
            now = elapsed_seconds()
            self.longest = max(self.longest, now - self.last - 0.001)
            self.last = now

    def take(self) -> float:
        """Return the longest gap and begin anew."""
        longest, self.longest = self.longest, 0.0
        return longest


@contextlib.asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[Running]:
    """Run a gateway on the folder."""
    key = folder.parent / "pseudonym.key"
    make_key_file(key, period_of(unix_seconds()))
    (folder / "jwks.json").write_text(json.dumps(Issuer("https://login.example.com").key_set()), encoding="utf-8")
    settings = read_settings(
        policies=folder,
        listen="127.0.0.1:0",
        admin="127.0.0.1:0",
        ledger=folder.parent / "ledger",
        jwks={"login": "file:jwks.json"},
        pseudonym_key=key,
        watch_seconds=0.1,
    )
    async with run_gateway(settings) as running:
        gc.collect()
        gc.freeze()  # as `sekisho run` does once it has started
        yield running


async def measure(rounds: int) -> tuple[float, list[float], float]:
    """Return the longest gap in seconds while nothing happens, during each reload, and how long a reload takes."""
    with TemporaryDirectory(prefix="sekisho-bench-") as name:
        folder = Path(name) / "policies"
        folder.mkdir()
        rulesets.ruleset(RULES).write(folder)
        async with serve(folder) as running:
            ticker = Ticker()
            ticking = asyncio.ensure_future(ticker.run())
            await asyncio.sleep(QUIET_SECONDS)
            quiet = ticker.take()
            gaps, took = [], 0.0
            for number in range(rounds):
                began = elapsed_seconds()
                await change(folder, running, number)
                took = max(took, elapsed_seconds() - began)
                await asyncio.sleep(1.0)  # what follows the swap counts, too
                gaps.append(ticker.take())
            ticking.cancel()
            return quiet, gaps, took


async def change(folder: Path, running: Running, number: int) -> None:
    """Change one rule and wait until the folder is in force.

    Raises:
        BenchError: If it is not, in time.
    """
    before = running.in_force().policy_digest
    rules = folder / "rules.yaml"
    text = await asyncio.to_thread(rules.read_text, encoding="utf-8")
    await asyncio.to_thread(rules.write_text, f"{text}\n# {number}\n{EXTRA.format(number=number)}", encoding="utf-8")
    deadline = elapsed_seconds() + DEADLINE_SECONDS
    while running.in_force().policy_digest == before:
        if elapsed_seconds() > deadline:
            raise BenchError("the changed folder was not put in force")
        await asyncio.sleep(0.01)


EXTRA: Final = "  - {{id: added-{number}, effect: deny, when: {{subject.country: AQ}}}}\n"


def report(rounds: int, *, as_json: bool) -> None:
    """Measure and print."""
    quiet, gaps, took = uvloop.run(measure(rounds))
    worst = max(gaps)
    rows = [
        ["nothing happens", f"{quiet * 1000:.1f}"],
        *([f"reload {number}", f"{gap * 1000:.1f}"] for number, gap in enumerate(gaps, 1)),
    ]
    print(f"Longest time that the event loop was held up, {RULES:,} rules; a reload takes up to {took:.1f} s")
    print(render_table(("while", "ms"), rows))
    target = Target(worst, TARGET_SECONDS)
    print(f"target: at most {TARGET_SECONDS * 1000:.0f} ms: {'met' if target.met else 'missed'}")
    if as_json:
        print(render_json({"quiet_seconds": quiet, "reload_seconds": took}, {"longest_stall_seconds": target}))


def main() -> int:
    """Run the command; 2 when it could not measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.reload", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=5, help="reloads (default: %(default)s)")
    options = parser.parse_args()
    try:
        report(options.rounds, as_json=options.json)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
