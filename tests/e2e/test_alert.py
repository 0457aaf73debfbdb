# SPDX-License-Identifier: Apache-2.0
"""From a denied request to a person who is told: the real Prometheus and Alertmanager on the shipped rules.

Needs Debian's ``prometheus`` and ``prometheus-alertmanager``; run by ``make e2e``, not by ``make test``.
"""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import aiohttp
import pytest

from deploy.monitoring.alerts import ALERTS
from deploy.monitoring.alerts.model import Team
from deploy.validation import grafana_alerts, prometheus
from deploy.validation.checks import Check, list_files, run_program, select
from proxy.clock import elapsed_seconds
from proxy.demo.stage import REFERENCE_BUNDLE, Stage, run_stage
from proxy.demo.story import STORY
from tests.support.ledger import fill
from tests.support.watch import (
    DEPLOY,
    Delivered,
    Watch,
    missing_programs,
    rules,
    run_watch,
)
from tests.support.world import wait_for

Record: TypeAlias = Mapping[str, Any]

LISTED: Final = {"CN", "HK", "MO"}
WHO: Final = ("tied_country", "caller_affiliate", "subject_country")
SHANGHAI_ENGINEER: Final = next(scene for scene in STORY if scene.by == "jp-no-china")
ALERTS_SECONDS: Final = 60
"""A scrape and an evaluation are a second each; the rest is for a busy machine."""
COMMAND_SECONDS: Final = 60
RUNBOOKS: Final = Path(__file__).parents[2] / "docs" / "runbooks"


@pytest.fixture(autouse=True)
def _programs() -> None:
    if missing := missing_programs():
        pytest.fail(missing, pytrace=False)


@pytest.mark.timeout(600)  # alerts over days and weeks are many evaluations
@pytest.mark.parametrize("check", [*prometheus.CHECKS, *grafana_alerts.CHECKS], ids=lambda check: check.title)
def test_their_own_tools_accept_what_is_shipped(check: Check) -> None:
    assert [*check.find_problems(select(check, list_files()))] == []


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [(alert.labels, "security-team" if alert.team is Team.SECURITY else "operators") for alert in ALERTS],
    ids=[alert.name for alert in ALERTS],
)
def test_each_alert_is_told_to_its_team(labels: dict[str, str], receiver: str) -> None:
    config = f"--config.file={DEPLOY / 'prometheus' / 'alertmanager.yml'}"
    told = [f"{name}={value}" for name, value in labels.items()]
    code, printed = run_program("amtool", "config", "routes", "test", config, *told)
    assert (code, printed.split()[0]) == (0, receiver)


@pytest.mark.timeout(300)
async def test_a_denied_attempt_reaches_a_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with run_stage() as stage, run_watch(tmp_path, stage.admin.removeprefix("http://")) as watch:
        assert await watch.query('ALERTS{alertstate="firing"}') == [], "nothing has happened yet"

        alert, seconds = await _play_one_attempt(stage, watch)
        with capsys.disabled():
            print(_render(alert, seconds))  # noqa: T201 - what a person is told
        assert (alert.receiver, alert.labels["severity"]) == ("security-team", "warning")
        assert alert.who == ("CN", "shanghai-digital", "JP")
        assert alert.labels.keys() == {
            "alertname",
            "severity",
            "team",
            "tied_country",
            "caller_affiliate",
            "subject_country",
        }
        assert alert.annotations["summary"].startswith("Denied: a caller of shanghai-digital, tied to CN")
        assert alert.annotations["description"].startswith("1 in the last five minutes")

        assert all(played.as_expected for played in await stage.play_all())
        expected = {who for record in _denied(stage) for who in _whos(record)}
        assert len(expected) > 1
        told = "SekishoDeniedTiedAttempt"
        await wait_for(lambda: {each.who for each in watch.delivered if each.name == told} >= expected, ALERTS_SECONDS)

        await _check_rules(watch)
        _check_runbook(stage)
        await _check_runbooks(stage, watch)

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


def _read_blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and the text of each block of a page."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def _check_runbook(stage: Stage) -> None:
    """Run the commands of the page on denied attempts on the ledger of the story."""
    blocks = [text for _, text in _read_blocks(RUNBOOKS / "denied-attempts.md")]
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


async def _check_runbooks(stage: Stage, watch: Watch) -> None:
    """Ask what every page asks: each question is understood, each command ends well."""
    denied = _denied(stage)[0]
    given = {
        "WHO": denied["caller"]["who"], "AFFILIATE": denied["caller"]["affiliate"], "ID": denied["id"],
        "DIR": "ledger", "policies": str(REFERENCE_BUNDLE), "policies/": str(REFERENCE_BUNDLE),
    }  # fmt: skip
    asked = 0
    for page in RUNBOOKS.glob("*.md"):
        for language, text in _read_blocks(page):
            if language == "promql":
                await watch.query(text)
            elif text.startswith(("sekisho ledger", "sekisho check", "sekisho explain")):
                command = text.partition(" | ")[0].split()
                _run_query(stage, [given.get(word, word) for word in command])
            else:
                continue
            asked += 1
    assert asked > 30


def _run_query(stage: Stage, command: list[str]) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-m", "proxy.cli", *command[1:]],
        cwd=stage.ledger.parent, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True,
    )  # fmt: skip
    return run.stdout.splitlines()
