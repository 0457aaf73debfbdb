# SPDX-License-Identifier: Apache-2.0
"""What is shipped for operators names what exists: metrics, labels and pages."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import generate_latest

from deploy.monitoring.runbooks import PAGES, link
from proxy.counting import Counted
from proxy.telemetry import Metrics, ProbeMetrics
from tests.support.watch import DEPLOY, RULES, rules

ROOT: Final = Path(__file__).parents[2]
FILES: Final = sorted(
    path for folder in ("prometheus", "grafana") for path in (DEPLOY / folder).rglob("*") if path.is_file()
)
ALERTS: Final = [rule for rule in rules() if "alert" in rule]
SUFFIXES: Final = {
    "counter": ("_total", "_created"),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
}
SERIES: Final = {
    metric.name + suffix
    for metrics in (Metrics(), ProbeMetrics())
    for metric in metrics.registry.collect()
    for suffix in SUFFIXES[metric.type]
}
RECORDED: Final = {rule["record"] for rule in rules() if "record" in rule}


def _label_names() -> set[str]:
    declared = [each for metrics in (Metrics(), ProbeMetrics()) for each in vars(metrics).values()]
    held = [getattr(each, "labels" if isinstance(each, Counted) else "_labelnames", ()) for each in declared]
    return {name for names in held for name in names} | {"instance", "job", "le"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_metric_that_is_named_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"\bsekisho_[a-z_]*[a-z]", text)) <= SERIES
    assert set(re.findall(r"\bsekisho:[a-z_:0-9]*[a-z0-9]", text)) <= RECORDED


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_label_that_is_named_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lists = re.findall(r"\b(?:by|without|on|ignoring) \(([^)]*)\)", text)
    lists += re.findall(r"(?:group_by|equal): \[([\w, ]*)\]", text)
    named = {name.strip() for names in lists for name in names.split(",")}
    named |= set(re.findall(r"(?:\$l|\.L)abels\.([a-z_]+)", text)) | set(re.findall(r"\{\{([a-z_]+)\}\}", text))
    assert named - {""} <= _label_names() | {"alertname", "grafana_folder"}


def test_series_that_the_first_attempt_is_seen_by_are_exposed() -> None:
    metrics = Metrics()
    metrics.denials_tied.count("CN", "shanghai-digital", "JP")
    exposed = generate_latest(metrics.registry).decode()
    assert "\nsekisho_denials_tied_total{" in exposed
    assert "\nsekisho_denials_tied_created{" in exposed


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.suffix in {".yml", ".yaml"}], ids=lambda path: path.name
)
def test_every_yaml_file_parses(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8"))  # noqa: TID251 - a file of ours


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_says_what_a_person_needs(alert: dict[str, Any]) -> None:
    assert alert["labels"].keys() == {"severity", "team"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    page = _find_page(alert)
    assert alert["annotations"]["runbook_url"] == link(page.stem)
    assert alert["alert"] in page.read_text(encoding="utf-8")


def test_every_runbook_belongs_to_an_alert() -> None:
    assert set((ROOT / PAGES).glob("*.md")) == {*map(_find_page, ALERTS)}


def _find_page(alert: dict[str, Any]) -> Path:
    address: str = alert["annotations"]["runbook_url"]
    return ROOT / PAGES / address.rpartition("/")[2]


def test_the_listed_countries_are_the_reference_bundles_wherever_they_stand() -> None:
    (listed,) = set(re.findall(r'tied_country=~"([^"]*)"', RULES.read_text(encoding="utf-8")))
    reference = yaml.safe_load((ROOT / "policies" / "affiliates.yaml").read_text("utf-8"))  # noqa: TID251 - ours too
    assert listed.split("|") == [*reference["country_sets"]["china"], "other"]
