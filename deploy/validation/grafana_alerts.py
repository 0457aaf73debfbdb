# SPDX-License-Identifier: Apache-2.0
"""The alerts that Grafana reads from a file: their form, and whether they answer the tests of Prometheus' rules.

There is no Grafana here: none of them was loaded into one. What Grafana refuses in such a file is checked by hand;
queries and templates are run by promtool, whose language and template functions Grafana uses.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

import yaml

from deploy.validation.checks import Check, run_program
from deploy.validation.prometheus import PACKAGE, RULES, TESTS, find_in_rules, read_alerts, read_yaml

PATTERNS: Final = ("grafana/provisioning/alerting/sekisho.yaml",)
EXPRESSIONS: Final = "__expr__"
QUERY: Final = "query"

_GROUP: Final = {"orgId", "name", "folder", "interval", "rules"}
_RULE: Final = {
    "uid", "title", "condition", "data", "for", "noDataState", "execErrState", "annotations", "labels"
}  # fmt: skip
_UID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_FUNCTIONS: Final = {"humanize", "humanizeDuration", "humanizePercentage", "humanizeTimestamp", "if", "else", "end"}
"""What our templates use of what Grafana's templates of annotations have."""
_WORD: Final = re.compile(r"(?<![.\w])[A-Za-z]\w*")

Content: TypeAlias = Mapping[str, Any]


def as_rules(document: Content) -> dict[str, Any]:
    """Return Grafana's alerts as rules of Prometheus, with the recordings that tests ask for."""
    recorded = [rule for group in read_yaml(RULES)["groups"] for rule in group["rules"] if "record" in rule]
    groups = [{"name": group["name"], "rules": [*map(_as_rule, group["rules"])]} for group in document["groups"]]
    return {"groups": [{"name": "recorded", "rules": recorded}, *groups]}


def find_in_form(document: Content) -> Iterable[str]:
    """Find what Grafana would refuse, or take otherwise than it is meant."""
    if document["apiVersion"] != 1:
        yield "its apiVersion is not 1"
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    for group in document["groups"]:
        if group.keys() != _GROUP:
            yield f"the group {group.get('name')} does not have {', '.join(sorted(_GROUP))}, and nothing else"
    for key in ("uid", "title"):
        values = [rule[key] for rule in rules]
        yield from (f"two rules have the {key} {value}" for value in {*values} if values.count(value) > 1)
    for rule in rules:
        yield from (f"{rule['title']}: {problem}" for problem in _find_in_rule(rule))


def _find_in_rule(rule: Content) -> Iterable[str]:
    if rule.keys() != _RULE:
        yield f"it does not have {', '.join(sorted(_RULE))}, and nothing else"
    if not _UID.fullmatch(rule["uid"]):
        yield "its uid has more than 40 characters, or others than letters, digits, - and _"
    if (rule["noDataState"], rule["execErrState"]) != ("OK", "Error"):
        yield "no sample must be OK, and a query that fails an Error"
    references = [query["refId"] for query in rule["data"]]
    if rule["condition"] != references[-1]:
        yield "its condition is not the last of its queries"
    for at, query in enumerate(rule["data"]):
        asked = {*re.findall(r"\$(\w+)", query["model"].get("expression", ""))} if "$" in str(query["model"]) else set()
        if query["datasourceUid"] == EXPRESSIONS and not (asked or {query["model"]["expression"]}) <= {
            *references[:at]
        }:
            yield f"{query['refId']} asks for what is not before it"
    for name, text in (*rule["annotations"].items(), *rule["labels"].items()):
        if "$" in text:
            yield f"{name} has a $: Grafana may think that it names a variable of its environment"
        words = {word for action in re.findall(r"\{\{(.*?)\}\}", text) for word in _WORD.findall(action)}
        if unknown := words - _FUNCTIONS:
            yield f"{name} calls {', '.join(sorted(unknown))}, which nobody has looked up in Grafana"


def _as_rule(rule: Content) -> dict[str, Any]:
    (asked,) = [query["model"]["expr"] for query in rule["data"] if query["refId"] == QUERY]
    annotations = {name: text.replace(f".Values.{QUERY}.Value", ".Value") for name, text in rule["annotations"].items()}
    return {
        "alert": rule["title"],
        "expr": asked,
        "for": rule["for"],
        "labels": rule["labels"],
        "annotations": annotations,
    }


def _find_problems(paths: Sequence[Path]) -> Iterable[str]:
    for path in paths:
        document = read_yaml(path)
        yield from (f"{path.name}: {problem}" for problem in find_in_form(document))
        if read_alerts() != [rule["title"] for group in document["groups"] for rule in group["rules"]]:
            yield f"{path.name}: its alerts are not those of {RULES.name}: make generate"


def _find_not_understood(paths: Sequence[Path]) -> Iterable[str]:
    for path in paths:
        yield from find_in_rules(path, as_rules(read_yaml(path)))


def _find_otherwise(paths: Sequence[Path]) -> Iterable[str]:
    """Run those tests that name an alert which asks in other words than Prometheus' rule does."""
    own = {rule.get("alert"): rule["expr"] for group in read_yaml(RULES)["groups"] for rule in group["rules"]}
    for path in paths:
        content = as_rules(read_yaml(path))
        alerts = [rule for group in content["groups"] for rule in group["rules"] if "alert" in rule]
        others = {rule["alert"] for rule in alerts if rule["expr"] != own.get(rule["alert"])}
        with TemporaryDirectory() as folder:
            (Path(folder) / RULES.name).write_text(yaml.safe_dump(content), encoding="utf-8")
            (Path(folder) / TESTS.name).mkdir()
            for test in sorted(TESTS.glob("*.test.yml")):
                text = test.read_text(encoding="utf-8")
                if not others & {*re.findall(r"\bSekisho\w+", text)}:
                    continue
                copy = Path(folder) / TESTS.name / test.name
                copy.write_text(text, encoding="utf-8")
                code, printed = run_program("promtool", "test", "rules", str(copy))
                if code:
                    yield f"{path.name}: {test.name}: {printed}"


CHECKS: Final = (
    Check("Grafana's alerts have the form that it reads", PATTERNS, _find_problems),
    Check("promtool reads the questions of Grafana's alerts", PATTERNS, _find_not_understood, ("promtool",), PACKAGE),
    Check("Grafana's alerts answer the tests of Prometheus' rules", PATTERNS, _find_otherwise, ("promtool",), PACKAGE),
)
