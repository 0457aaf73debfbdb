# SPDX-License-Identifier: Apache-2.0
"""One source of alerts, several files: each says the same."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
import yaml

from deploy.monitoring import grafana_alerts, rule_files
from deploy.monitoring.alerts import ALERTS, GROUPS, RECORDINGS
from deploy.monitoring.generated import ROOT, Generated
from deploy.monitoring.grafana_alerts import inline, translate
from deploy.validation.grafana_alerts import as_rules, find_in_form
from deploy.validation.prometheus import find_untested

Document: TypeAlias = dict[str, Any]

RULES, RESOURCE = rule_files.generate()
(GRAFANA,) = grafana_alerts.generate()


def read(made: Generated) -> Document:
    document: Document = yaml.safe_load(made.text)  # noqa: TID251 - what we have made ourselves
    return document


@pytest.mark.parametrize("made", [RULES, RESOURCE, GRAFANA], ids=lambda made: Path(made.place).name)
def test_each_file_is_what_the_code_makes(made: Generated) -> None:
    assert not made.has_drifted, "make generate"


def test_each_file_holds_every_alert() -> None:
    names = [alert.name for alert in ALERTS]
    assert len({*names}) == len(names)
    assert [rule["alert"] for group in read(RULES)["groups"] for rule in group["rules"] if "alert" in rule] == names
    assert [rule["title"] for group in read(GRAFANA)["groups"] for rule in group["rules"]] == names
    assert read(RESOURCE)["spec"] == read(RULES)


def test_reasons_are_kept_as_comments_in_the_files_for_prometheus() -> None:
    for made in (RULES, RESOURCE):
        told = " ".join(line.strip().removeprefix("#").strip() for line in made.text.splitlines() if "#" in line[:20])
        for rule in (rule for group in GROUPS for rule in group.rules):
            assert " ".join(rule.why.split()) in told, rule.name


def test_each_alert_says_whom_it_is_about() -> None:
    for alert in ALERTS:
        assert "{{ $" in alert.summary, alert.name
        assert alert.description.endswith("."), alert.name
        assert (ROOT / "docs" / "runbooks" / f"{alert.runbook}.md").is_file(), alert.name


def test_grafana_asks_for_nothing_that_a_rule_of_prometheus_must_have_recorded() -> None:
    assert any(recording.name in alert.expr for alert in ALERTS for recording in RECORDINGS)
    assert "sekisho:" not in GRAFANA.text


FIRST, SECOND = "sekisho:denials_tied:increase5m", "sekisho:denials_listed:increase5m"


def test_a_recording_stands_in_place_of_its_name_with_what_was_asked_of_it() -> None:
    plain = inline(f"{FIRST} > 0")
    assert plain.startswith("(\n  sekisho_denials_tied_total\n")
    assert plain.endswith(") > 0")
    asked = inline(f'{FIRST}{{tied_country="CN"}}')
    assert asked.count("sekisho_denials") == asked.count('{tied_country="CN"}') == 6
    assert inline(f"max_over_time({FIRST}[1h])").endswith("[1h:1m])")
    assert 'tied_country=~"CN|HK|MO|other"' in inline(f"{SECOND} > 0")
    assert inline("up == 0") == "up == 0"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ $value }} of {{ $labels.instance }}", "{{ .Values.query.Value }} of {{ .Labels.instance }}"),
        ("{{ $value | humanizeDuration }}", "{{ .Values.query.Value | humanizeDuration }}"),
        ("{{ if $labels.a }}x{{ else }}y{{ end }}", "{{ if .Labels.a }}x{{ else }}y{{ end }}"),
        ("no template", "no template"),
    ],
)
def test_templates_are_those_of_grafana(template: str, expected: str) -> None:
    assert translate(template) == expected


def _rule(document: Document) -> Document:
    rule: Document = document["groups"][0]["rules"][0]
    return rule


WRONG: Final[dict[str, tuple[Callable[[Document], Any], str]]] = {
    "another version of the form": (lambda it: it.update(apiVersion=2), "its apiVersion is not 1"),
    "a group without a folder": (lambda it: it["groups"][0].pop("folder"), "the group sekisho-denials does not have"),
    "a rule without a name of its own": (lambda it: _rule(it).pop("for"), "it does not have"),
    "a uid that Grafana does not take": (lambda it: _rule(it).update(uid="a b"), "its uid has more than 40"),
    "a uid that is too long": (lambda it: _rule(it).update(uid="a" * 41), "its uid has more than 40"),
    "a uid given twice": (
        lambda it: _rule(it).update(uid=it["groups"][1]["rules"][0]["uid"]),
        "two rules have the uid",
    ),
    "silence taken for an alert": (lambda it: _rule(it).update(noDataState="Alerting"), "no sample must be OK"),
    "an error taken for silence": (lambda it: _rule(it).update(execErrState="OK"), "a query that fails an Error"),
    "a condition that is not the last": (lambda it: _rule(it).update(condition="query"), "its condition is not"),
    "an expression of what is not there": (
        lambda it: _rule(it)["data"][2]["model"].update(expression="B"),
        "threshold asks for what is not before it",
    ),
    "a formula of what is not there": (
        lambda it: _rule(it)["data"][1]["model"].update(expression="is_nan($A)"),
        "prometheus_math asks for what is not before it",
    ),
    "a variable of the environment": (
        lambda it: _rule(it)["annotations"].update(summary="{{ $labels.a }}"),
        "summary has a $",
    ),
    "a function that Grafana has not": (
        lambda it: _rule(it)["annotations"].update(summary="{{ query `up` | first }}"),
        "summary calls first, query",
    ),
}


@pytest.mark.parametrize(("change", "problem"), WRONG.values(), ids=WRONG.keys())
def test_what_grafana_would_not_take_is_found(change: Callable[[Document], Any], problem: str) -> None:
    document = copy.deepcopy(read(GRAFANA))
    assert [*find_in_form(document)] == []
    change(document)
    assert any(problem in found for found in find_in_form(document)), [*find_in_form(document)]


def test_as_rules_grafanas_alerts_ask_what_grafana_asks() -> None:
    rules = [rule for group in as_rules(read(GRAFANA))["groups"] for rule in group["rules"] if "alert" in rule]
    assert [(rule["alert"], rule["expr"]) for rule in rules] == [(each.name, inline(each.expr)) for each in ALERTS]
    assert "Values" not in str(rules)


def test_an_alert_that_is_only_tested_firing_is_found() -> None:
    tested = {
        "tests": [{"alert_rule_test": [{"alertname": "A", "exp_alerts": [{}]}, {"alertname": "B", "exp_alerts": []}]}]
    }
    assert [re.sub(r":.*", "", found.partition("expects ")[2]) for found in find_untested(["A", "B"], [tested])] == [
        "A not to fire",
        "B to fire",
    ]
