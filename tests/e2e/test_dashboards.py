# SPDX-License-Identifier: Apache-2.0
"""Every question of every panel and every alert, asked of a real Prometheus after a story that real gateways lived.

Needs Debian's ``prometheus``; run by ``make e2e``, not by ``make test``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import pytest
import yaml

from proxy.clock import elapsed_seconds, unix_seconds
from tests.support.dashboards import ShownPanel, read_shown
from tests.support.failing_scenes import run_ailing, run_asking, run_canary, run_crew, run_gone, run_sealed
from tests.support.scenes import Playing, run_crowded, run_lively, run_observing
from tests.support.shown import On
from tests.support.shown_alerts import ALERTS
from tests.support.shown_health import HEALTH
from tests.support.shown_requests import CROSS_BORDER, DENIED, POLICY
from tests.support.small_disk import SmallDisk, mount_small_disk, on_a_small_disk
from tests.support.told import Story
from tests.support.watch import DEPLOY, Watch, missing_programs, poll, rules, run_prometheus

PANELS: Final = {
    "sekisho-denied": DENIED,
    "sekisho-cross-border": CROSS_BORDER,
    "sekisho-health": HEALTH,
    "sekisho-policy": POLICY,
}
GONE: Final = {"gone": "sekisho", "silent": "sekisho-probe"}
"""Who does not answer from the beginning, and of which job it is."""
SHOWN_SECONDS: Final = 30
"""Within which all is shown that was done: a scrape is a second, the rest is for a busy machine."""
TOLD_SECONDS: Final = 90
"""Within which all is told that was done: Grafana's alerts look back in steps of a minute."""


def _read_grafana() -> dict[str, str]:
    """Return what Grafana's own alerts ask Prometheus."""
    path = DEPLOY / "grafana" / "provisioning" / "alerting" / "sekisho.yaml"
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]  # noqa: TID251 - a file of ours
    return {rule["title"]: rule["data"][0]["model"]["expr"] for group in groups for rule in group["rules"]}


GRAFANA: Final = _read_grafana()


@pytest.fixture(autouse=True)
def _programs() -> None:
    if missing := missing_programs():
        pytest.fail(missing, pytrace=False)


def test_it_is_said_of_every_panel_what_it_must_show() -> None:
    said = {(board, title) for board, panels in PANELS.items() for title in panels}
    assert said == {(panel.board, panel.title) for panel in read_shown()}


def test_it_is_said_of_every_alert_whom_it_must_be_of() -> None:
    assert ALERTS.keys() == {rule["alert"] for rule in rules() if "alert" in rule}
    assert ALERTS.keys() == GRAFANA.keys()


@pytest.mark.timeout(300)
@on_a_small_disk
async def test_every_panel_and_every_alert_says_what_the_story_did(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        disk = stack.enter_context(mount_small_disk(_folder(tmp_path, "disk")))
        story, watch = await stack.enter_async_context(_watch_story(tmp_path, disk))
        for playing in story.scenes.values():
            await playing.play()
        await _check_panels(story, watch)
        for playing in story.scenes.values():
            await playing.go_on()
        await _check_alerts(story, watch)


def _folder(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


@contextlib.asynccontextmanager
async def _watch_story(folder: Path, disk: SmallDisk) -> AsyncIterator[tuple[Story, Watch]]:
    """Start every scene's gateway, and the Prometheus that scrapes them."""
    scenes: tuple[AbstractAsyncContextManager[Playing], ...] = (
        run_lively(_folder(folder, "lively")),
        run_observing(_folder(folder, "observing")),
        run_crowded(_folder(folder, "crowded")),
        run_ailing(_folder(folder, "ailing"), disk),
        run_sealed(_folder(folder, "sealed")),
        run_asking(_folder(folder, "asking")),
        run_crew(_folder(folder, "crew")),
        *(run_gone(name, job) for name, job in GONE.items()),
        run_canary(_folder(folder, "canary")),
    )
    async with contextlib.AsyncExitStack() as stack:
        playing = [await stack.enter_async_context(scene) for scene in scenes]
        targets: dict[str, dict[str, str]] = {}
        for each in playing:
            targets.setdefault(each.job, {})[each.name] = each.admin
        watch = Watch(await stack.enter_async_context(run_prometheus(folder, targets)), [])
        living = {each.name for each in playing} - GONE.keys()

        async def scraped() -> bool:
            return living <= {metric["instance"] for metric, value in await watch.query("up") if value == 1}

        await poll(scraped)
        yield Story(folder, {each.name: each for each in playing}), watch


async def _check_panels(story: Story, watch: Watch) -> None:
    """Hold every panel to what was done; what is not shown yet may be with the next scrapes."""
    waiting = [(panel, on) for panel in read_shown() for on in PANELS[panel.board][panel.title]]
    until = elapsed_seconds() + SHOWN_SECONDS
    while True:
        found = [(panel, on, await _find_difference(panel, on, story, watch)) for panel, on in waiting]
        waiting = [(panel, on) for panel, on, difference in found if difference]
        if not waiting or elapsed_seconds() > until:
            break
        await asyncio.sleep(0.5)
    assert not waiting, "\n".join(
        f"{panel.board}: {panel.title}: on {on.scene}: {difference}" for panel, on, difference in found if difference
    )


async def _find_difference(panel: ShownPanel, on: On, story: Story, watch: Watch) -> str:
    queries = panel.queries(on.scene)
    assert len(queries) == len(on.answers), f"{panel.board}: {panel.title} asks {len(queries)} questions"
    for query, answer in zip(queries, on.answers, strict=True):
        at = f"{unix_seconds() + answer.later:.3f}"
        if difference := answer.find_difference(story, await watch.query(query, time=at)):
            return difference
    return ""


async def _check_alerts(story: Story, watch: Watch) -> None:
    """Hold every alert to what was done, and Grafana's to Prometheus'."""
    asked = {rule["alert"]: rule["expr"] for rule in rules() if "alert" in rule}
    until = elapsed_seconds() + TOLD_SECONDS
    while True:
        wrong = [each for name in asked for each in await _find_wrong(name, asked[name], story, watch)]
        if not wrong or elapsed_seconds() > until:
            break
        await asyncio.sleep(0.5)
    assert not wrong, "\n".join(wrong)


async def _find_wrong(name: str, expr: str, story: Story, watch: Watch) -> list[str]:
    told = ALERTS[name]
    expected = {*told.read(story)}
    wrong = []
    for by, query in (("Prometheus", expr), ("Grafana", GRAFANA[name])):
        found = [tuple(metric[label] for label in told.labels) for metric, _ in await watch.query(query)]
        if sorted(found) != sorted(expected):
            wrong.append(f"{name}: by {by} of {sorted(found)}, and must be of {sorted(expected)}")
    return wrong
