# SPDX-License-Identifier: Apache-2.0
"""From a denied request to a person who is told: the real Prometheus and Alertmanager on the shipped rules.

Needs Debian's ``prometheus`` and ``prometheus-alertmanager``; run by ``make e2e``, not by ``make test``.
"""

import asyncio
import contextlib
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import aiohttp
import pytest

from proxy.clock import elapsed_seconds
from proxy.demo.stage import Stage, run_stage
from proxy.demo.story import STORY
from tests.support.ledger import fill
from tests.support.watch import (
    DEPLOY,
    RULES,
    RULES_TESTS,
    Delivered,
    Watch,
    missing_programs,
    panels,
    poll,
    queries,
    rules,
    run_watch,
)
from tests.support.world import wait_for

Record: TypeAlias = Mapping[str, Any]

LISTED: Final = {"CN", "HK", "MO"}
SHANGHAI_ENGINEER: Final = next(scene for scene in STORY if scene.by == "jp-no-china")
ALERTS_SECONDS: Final = 20
"""A scrape and an evaluation are a second each; the rest is for a busy machine."""
RUNBOOK: Final = Path(__file__).parents[2] / "docs" / "runbooks" / "denied-attempts.md"


@pytest.fixture(autouse=True)
def _programs() -> None:
    if missing := missing_programs():
        pytest.fail(missing, pytrace=False)


@pytest.mark.parametrize(
    "command",
    [
        ["promtool", "check", "rules", str(RULES)],
        ["promtool", "test", "rules", str(RULES_TESTS)],
        ["promtool", "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")],
        ["amtool", "check-config", str(DEPLOY / "prometheus" / "alertmanager.yml")],
    ],
    ids=lambda command: f"{' '.join(command[:-1])} {Path(command[-1]).name}",
)
def test_their_own_tools_accept_what_is_shipped(command: list[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


async def test_a_denied_attempt_reaches_a_person_and_the_dashboard_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with run_stage() as stage, run_watch(tmp_path, stage.admin.removeprefix("http://")) as watch:
        assert await watch.query('ALERTS{alertstate="firing"}') == [], "nothing has happened yet"

        alert, seconds = await _play_one_attempt(stage, watch)
        with capsys.disabled():
            print(_render(alert, seconds))  # noqa: T201 - what a person is told
        assert (alert.receiver, alert.labels["severity"]) == ("security-team", "warning")
        assert alert.who == ("CN", "shanghai-digital", "JP")
        assert alert.labels.keys() == {"alertname", "severity", "tied_country", "caller_affiliate", "subject_country"}
        assert alert.annotations["summary"].startswith("Denied: a caller of shanghai-digital, tied to CN")
        assert alert.annotations["description"].startswith("1 in the last five minutes")

        assert all(played.as_expected for played in await stage.play_all())
        expected = {who for record in _denied(stage) for who in _whos(record)}
        assert len(expected) > 1
        told = "SekishoDeniedTiedAttempt"
        await wait_for(lambda: {each.who for each in watch.delivered if each.name == told} >= expected, ALERTS_SECONDS)

        await _check_rules(watch)
        await _check_dashboard(stage, watch)
        _check_runbook(stage)

        burst = await _play_a_burst(stage, watch)
        assert (burst.receiver, burst.labels["severity"]) == ("security-team", "critical")
        assert burst.who == ("CN", "shanghai-digital", "JP")
        assert {each.name for each in watch.delivered} == {told, "SekishoDeniedTiedBurst"}, "and nothing else"
        assert {each.who for each in watch.delivered} == expected


async def _play_one_attempt(stage: Stage, watch: Watch) -> tuple[Delivered, float]:
    """Play the very first denied attempt, and return the alert with the seconds it took from the request on."""
    async with aiohttp.ClientSession() as session:
        begun = elapsed_seconds()
        assert (await stage.play(session, SHANGHAI_ENGINEER)).as_expected
    alert: Delivered = (await wait_for(lambda: watch.delivered, ALERTS_SECONDS))[0]
    assert alert.name == "SekishoDeniedTiedAttempt"
    return alert, alert.at - begun


async def _play_a_burst(stage: Stage, watch: Watch) -> Delivered:
    async with aiohttp.ClientSession() as session:
        for _ in range(6):
            assert (await stage.play(session, SHANGHAI_ENGINEER)).as_expected

    def find() -> list[Delivered]:
        return [each for each in watch.delivered if each.name == "SekishoDeniedTiedBurst"]

    found: list[Delivered] = await wait_for(find, ALERTS_SECONDS)
    return found[0]


def _render(alert: Delivered, seconds: float) -> str:
    labels = "\n".join(f"    {name:<17} {value}" for name, value in sorted(alert.labels.items()))
    texts = "\n".join(f"    {name:<17} {value}" for name, value in sorted(alert.annotations.items()))
    return f"\n\n  {alert.receiver} was told, {seconds:.1f} s after the denied request was sent:\n{labels}\n{texts}\n"


def _decided(stage: Stage) -> list[Record]:
    return [fill(record) for record in stage.records() if record["line"] == "decision"]


def _denied(stage: Stage) -> list[Record]:
    """Return the records of what the policy denied; what was refused without a decision names no rule."""
    return [record for record in _decided(stage) if record["effect"] == "deny" and "rule" in record]


def _whos(record: Record) -> list[tuple[str, str, str]]:
    caller = record["caller"]
    tied = LISTED & set(caller.get("countries", ()))
    return [(country, caller["affiliate"], record["subject"]["country"]) for country in tied]


async def _check_rules(watch: Watch) -> None:
    """Ask every rule by hand, and ask Prometheus whether it could evaluate them."""
    for rule in rules():
        await watch.query(rule["expr"])
    groups = (await watch.ask("rules"))["groups"]
    health = {rule["name"]: (rule["health"], rule.get("lastError", "")) for group in groups for rule in group["rules"]}
    assert health == {rule.get("record") or rule.get("alert"): ("ok", "") for rule in rules()}


PANELS: Final[dict[str, tuple[tuple[str, ...], Callable[[Stage], list[Any]]]]] = {
    "Denied attempts by affiliate": (
        ("caller_affiliate",),
        lambda stage: [(r["caller"]["affiliate"],) for r in _denied(stage)],
    ),
    "Denied since the gateways started: affiliate and data subject's country": (
        ("caller_affiliate", "subject_country"),
        lambda stage: [(r["caller"]["affiliate"], r["subject"]["country"]) for r in _denied(stage)],
    ),
    "Decisions by effect and rule": (
        ("effect", "rule"),
        lambda stage: [(r["effect"], r["rule"]) for r in _decided(stage) if "rule" in r],
    ),
    "Refusals by reason": (
        ("status", "reason"),
        lambda stage: [(str(r["status"]), r["reason"]) for r in _decided(stage) if r["effect"] == "deny"],
    ),
}
"""Panels that count, with what the ledger says they must show."""
SINGLE: Final[dict[str, list[float]]] = {
    "Observe mode": [0.0],
    "Ledger failures": [0.0],
    "Not in force as it lies there": [0.0],
    "Policy in force": [1.0],
    "Witness behind": [],  # there is none
    "APIs that cannot be connected to": [0.0, 0.0],  # users, and users/JP
}
SERIES: Final[dict[str, list[int]]] = {"Connections": [1, 4, 2]}
"""How many series each query of a panel shows, whose values are those of the moment; the API has two places."""


async def _count(watch: Watch, title: str, labels: tuple[str, ...]) -> Counter[Any]:
    """Return what a panel shows, by those labels."""
    (query,) = queries(title)
    shown: Counter[Any] = Counter()
    for metric, value in await watch.query(query):
        shown[tuple(metric[label] for label in labels)] += round(value)
    return shown


async def _check_dashboard(stage: Stage, watch: Watch) -> None:
    """Hold every panel to the ledger: both come of the same outcomes, on two ways."""
    for title, (labels, read) in PANELS.items():
        expected = Counter(read(stage))
        assert expected
        shown: Counter[Any] = Counter()
        with contextlib.suppress(TimeoutError):  # the story's last scenes wait for the next scrape
            async with asyncio.timeout(ALERTS_SECONDS):
                while (shown := await _count(watch, title, labels)) != expected:
                    await asyncio.sleep(0.1)
        assert shown == expected, title
    for title, values in SINGLE.items():
        (query,) = queries(title)
        assert [number for _, number in await watch.query(query)] == values, title
    for title, counts in SERIES.items():
        assert [len(await watch.query(query)) for query in queries(title)] == counts, title
    rest = {panel["title"] for panel in panels()} - PANELS.keys() - SINGLE.keys() - SERIES.keys()
    assert len(rest) == 3
    for query in (query for title in rest for query in queries(title)):

        async def measure(query: str = query) -> list[float]:
            return [value for _, value in await watch.query(query) if math.isfinite(value) and value > 0]

        assert len(await poll(measure)) == 1, query


def _check_runbook(stage: Stage) -> None:
    """Run the page's commands on the ledger of the story."""
    blocks = re.findall(r"^```\n(.*?)^```", RUNBOOK.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    commands = [block.split() for block in blocks if block.startswith("sekisho ledger query ledger ")]
    expected = [record for record in _denied(stage) if "CN" in record["caller"].get("countries", ())]
    who = expected[0]["caller"]["who"]
    listed, counted, allowed = (
        _run_query(stage, [who if word == "WHO" else word for word in command]) for command in commands
    )
    assert [line.split()[0] for line in listed[1:]] == [record["time"] for record in expected]
    tries = sum(record["caller"]["who"] == who for record in expected)
    assert f"{tries}  {who}" in map(str.strip, counted)
    assert len(allowed) == 1


def _run_query(stage: Stage, command: list[str]) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-m", "proxy.cli", *command[1:]],
        cwd=stage.ledger.parent, capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    return run.stdout.splitlines()
