# SPDX-License-Identifier: Apache-2.0
"""Dashboards: whether they are what Grafana's library models, ask what Prometheus understands, and hang together.

There is no Grafana here: none of them was opened in one.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.validation.checks import Check
from deploy.validation.prometheus import PACKAGE, find_in_rules

SCHEMA_VERSION: Final = 36
"""Of the library's models; newer versions of Grafana bring a dashboard up to theirs when they load it."""
WIDTH: Final = 24
_BUILT_IN: Final = frozenset({"__interval", "__range", "__rate_interval"})
_VARIABLE: Final = re.compile(r"\$\{?(\w+)\}?")
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

Content: TypeAlias = dict[str, Any]


def set_variables(expression: str, values: dict[str, str]) -> str:
    """Return an expression as Grafana sends it, with every variable's value in its place."""
    return _VARIABLE.sub(lambda found: values[found[1]], expression)


def read_panels(board: Content) -> list[Content]:
    """Return what shows something: every panel that is no heading."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def _find_problems(paths: Sequence[Path]) -> Iterable[str]:
    register_default_plugins()
    for path in paths:
        board = json.loads(path.read_text(encoding="utf-8"))
        for problem in (*_find_of_model(board), *_find_of_layout(board), *_find_of_panels(board)):
            yield f"{path.name}: {problem}: mend deploy/monitoring/dashboards, then make generate"


def _find_of_model(board: Content) -> Iterable[str]:
    if json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder)) != board:
        yield "Grafana's library reads something else than what is written"
    if board["schemaVersion"] != SCHEMA_VERSION:
        yield f"its schemaVersion is {board['schemaVersion']}, and not {SCHEMA_VERSION}"


def _find_of_layout(board: Content) -> Iterable[str]:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        if cells & taken:
            yield f"the panel {panel['title']} lies on another one"
        if at["x"] + at["w"] > WIDTH:
            yield f"the panel {panel['title']} is not within {WIDTH} columns"
        taken |= cells
    for key in ("id", "title"):
        values = [panel[key] for panel in board["panels"]]
        for value in {value for value in values if values.count(value) > 1}:
            yield f"two panels have the {key} {value}"


def _find_of_panels(board: Content) -> Iterable[str]:
    declared = {variable["name"] for variable in board["templating"]["list"]} | _BUILT_IN
    for variable in board["templating"]["list"]:
        if unknown := {*_VARIABLE.findall(json.dumps(variable.get("query", "")))} - declared:
            yield f"the variable {variable['name']} asks for {', '.join(sorted(unknown))}, which is not declared"
    for panel in read_panels(board):
        title = panel["title"]
        if not panel.get("description"):
            yield f"the panel {title} does not say what it shows"
        if not panel["fieldConfig"]["defaults"].get("unit"):
            yield f"the panel {title} has no unit"
        if not panel.get("targets"):
            yield f"the panel {title} asks nothing"
        for holder in (panel, *panel.get("targets", ())):
            if holder.get("datasource") != _DATASOURCE:
                yield f"the panel {title} does not ask the data source that was chosen"
        if unknown := {*_VARIABLE.findall(json.dumps(panel))} - declared:
            yield f"the panel {title} names {', '.join(sorted(unknown))}, which is not declared"


def _find_not_understood(paths: Sequence[Path]) -> Iterable[str]:
    """Have Prometheus' own tool read each question, as a rule that records its answer; a panel is a group of them."""
    values = dict.fromkeys(("job", "instance", "affiliate"), ".+") | dict.fromkeys(_BUILT_IN, "1h")
    for path in paths:
        groups = [
            {
                "name": panel["title"],
                "rules": [
                    {
                        "record": "asked",
                        "expr": set_variables(target["expr"], values),
                        "labels": {"title": panel["title"], "at": target["refId"]},
                    }
                    for target in panel["targets"]
                ],
            }
            for panel in read_panels(json.loads(path.read_text(encoding="utf-8")))
        ]
        yield from find_in_rules(path, {"groups": groups})


CHECKS: Final = (
    Check("dashboards are what Grafana's library models", ("grafana/dashboards/*.json",), _find_problems),
    Check(
        "promtool reads the questions of dashboards",
        ("grafana/dashboards/*.json",),
        _find_not_understood,
        ("promtool",),
        PACKAGE,
    ),
)
