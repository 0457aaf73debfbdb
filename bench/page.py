# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.md: between its two marks stand the figures of the last run; what is around them people wrote."""

from __future__ import annotations

import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.chart import render_chart
from bench.contenders.envoy import find_envoy
from bench.findings import PROMISES, figures_of, tables_of
from bench.harness import BenchError, find_program
from bench.processes import allotted_cores
from bench.races import ENVOY, HAPROXY, SEKISHO
from proxy.clock import unix_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.findings import Findings

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = DOCS / "benchmarks.md"
CHART: Final = DOCS / "benchmarks.svg"
BEGIN: Final = "<!-- figures: written by `python -m bench.edge --write-docs` -->"
END: Final = "<!-- end of figures -->"
VERSION: Final = re.compile(r"\d+\.\d+[.\d]*")


def write_page(findings: Findings, rounds: int, seconds: float) -> None:
    """Put the figures into the page, and draw the chart.

    Raises:
        BenchError: If the page has lost its marks.
    """
    figures = "\n".join([*introduction(rounds, seconds), *sections(findings), *losses(findings)])
    PAGE.write_text(put_between_marks(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")
    CHART.write_text(render_chart(findings.races), encoding="utf-8")


def put_between_marks(page: str, figures: str) -> str:
    """Return the page with other figures.

    Raises:
        BenchError: If the page has lost its marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchError(f"{PAGE.name} has no place for figures: it needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{figures}\n{END}{after}"


def introduction(rounds: int, seconds: float) -> Iterator[str]:
    """Yield when, on what and with what was measured."""
    day = datetime.fromtimestamp(unix_seconds(), UTC).date()
    yield f"{day}, {rounds} rounds, the longest of {seconds:g} s; {allotted_cores().note}."
    yield f"{processor()}, Linux {platform.release().split('-')[0]}; Python {platform.python_version()}; {versions()}."
    yield f"\n![CPU per request as a multiple of HAProxy's, by workload]({CHART.name})\n"


def processor() -> str:
    """Return what the kernel calls the processor."""
    named = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return named[1] if named else platform.machine()


def versions() -> str:
    """Return the versions of everybody else."""
    commands = (
        ("nginx", find_program("nginx"), "-v"),
        (HAPROXY, find_program("haproxy"), "-v"),
        (ENVOY, str(find_envoy()), "--version"),
        ("h2load", find_program("h2load"), "--version"),
    )
    return ", ".join(f"{name} {version_of(program or name, flag)}" for name, program, flag in commands)


def version_of(program: str, flag: str) -> str:
    """Return the first thing like a version in what a program says of itself; Envoy says its own path first."""
    done = subprocess.run([program, flag], capture_output=True, text=True, check=False)
    found = VERSION.search(f"{done.stdout}{done.stderr}".replace(program, ""))
    return found[0] if found else "?"


def sections(findings: Findings) -> Iterator[str]:
    """Yield a heading and a table for each part."""
    for title, (heading, rows) in tables_of(findings):
        yield f"### {title}\n"
        yield markdown_table(heading, rows)
        yield ""


def markdown_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column stands left, all others right."""
    ruler = [":--", *["--:"] * (len(heading) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, ruler, *rows))


def losses(findings: Findings) -> Iterator[str]:
    """Yield every workload in which another gateway with the same duties is cheaper, and every target missed."""
    yield "### Where Sekisho loses\n"
    told = [*dearer(findings), *missed(findings)]
    yield from told or ["- Nowhere in this run."]
    yield ""


def dearer(findings: Findings) -> Iterator[str]:
    """Yield where the CPU of a request is more than another's."""
    for race in findings.races:
        for anchor in (HAPROXY, ENVOY):
            ratio = race.comparison.ratio(SEKISHO, anchor).median
            if ratio > 1:
                yield f"- {race.workload.title}: {ratio:.2f} times the CPU of {anchor}."


def missed(findings: Findings) -> Iterator[str]:
    """Yield which promises are not kept."""
    figures = figures_of(findings)
    for name, bound in PROMISES.items():
        if figures.get(name, 0.0) > bound:
            yield f"- Target missed: `{name}` is {figures[name]:.2f}, promised is at most {bound:g}."
