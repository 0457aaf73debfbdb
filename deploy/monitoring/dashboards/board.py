# SPDX-License-Identifier: Apache-2.0
"""A dashboard: its variables, its rows, and the file that Grafana reads."""

import json
from typing import Final

import msgspec
from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from deploy.monitoring.dashboards.panels import SOURCE, Panel
from deploy.monitoring.generated import Generated

FOLDER: Final = "deploy/grafana/dashboards"
TAG: Final = "sekisho"
_ALL: Final = models.VariableOption(selected=True, text=["All"], value=["$__all"])


class Row(msgspec.Struct, frozen=True):
    """Panels under a heading, in lines that are 24 wide."""

    title: str
    panels: tuple[Panel, ...]


class Board(msgspec.Struct, frozen=True):
    """One dashboard."""

    uid: str
    """Stands in its address, and names its file."""
    title: str
    description: str
    rows: tuple[Row, ...]
    affiliates: str = ""
    """A selector of the series whose affiliates may be chosen; empty where its panels know none."""


def generate(board: Board) -> Generated:
    """Return the file of a dashboard."""
    text = json.dumps(build(board), cls=JSONEncoder, indent=2, ensure_ascii=False)
    return Generated(f"{FOLDER}/{board.uid}.json", text + "\n")


def build(board: Board) -> models.Dashboard:
    """Return a dashboard as Grafana's library models it."""
    made = dashboard.Dashboard(board.title).uid(board.uid).description(board.description).tags([TAG]).readonly()
    made = made.tooltip(models.DashboardCursorSync.CROSSHAIR).time("now-6h", "now").refresh("30s").version(1)
    made = made.link(
        dashboard.DashboardLink("Sekisho").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
        .include_vars(include_vars=True).keep_time(keep_time=True)
    )  # fmt: skip
    made = made.with_variable(_choose_source())
    made = made.with_variable(_choose("job", "Job", "label_values(sekisho_build_info, job)"))
    made = made.with_variable(_choose("instance", "Gateway", 'label_values(up{job=~"$job"}, instance)'))
    if board.affiliates:
        whose = _choose("affiliate", "Callers of", f"label_values({board.affiliates}, caller_affiliate)")
        made = made.with_variable(whose.all_value(".*"))
    for row in board.rows:
        made = made.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            made = made.with_panel(_Built(panel))
    built = made.build()
    for number, each in enumerate(built.panels or (), 1):
        each.id_val = number
    return built


class _Built(dashboard.Panel):
    """What is built already, for where the library asks for a builder."""

    def __init__(self, panel: Panel) -> None:
        self._internal = panel


def _choose_source() -> dashboard.DatasourceVariable:
    current = models.VariableOption(selected=True, text="Prometheus", value="prometheus")
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus").current(current)


def _choose(name: str, label: str, query: str) -> dashboard.QueryVariable:
    made = dashboard.QueryVariable(name).label(label).query(query).datasource(SOURCE).current(_ALL)
    made = made.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
    return made.multi(multi=True).include_all(include_all=True)
