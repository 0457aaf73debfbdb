# SPDX-License-Identifier: Apache-2.0
"""The kinds of panel that dashboards are made of: everywhere the same colours, legends and units.

A panel asks at least one question, says what it shows and what to do, and takes its place in its row by its width.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as asked

from deploy.monitoring.promql import events, total
from deploy.monitoring.runbooks import link

SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
HERE: Final = 'job=~"$job", instance=~"$instance"'
"""Matchers: the gateways that are looked at."""
WHO: Final = f'{HERE}, caller_affiliate=~"$affiliate"'
"""Matchers: and the callers of the affiliates that are looked at."""
RANGE: Final = "$__range"
"""A window: all that is looked at."""
BAR: Final = "$__interval"
"""A window: from one point of a panel to the next."""
SOME: Final = " > 0"
"""Behind an expression: leaves out what is none."""

RED: Final = "red"
AMBER: Final = "orange"
GREEN: Final = "green"
BLUE: Final = "blue"
MEANINGS: Final = {
    "^(deny|dropped|failed|conflict|killed|by-itself)": RED,
    "^masked": AMBER,
    "^(allow|left|loaded)": GREEN,
}
"""Which names of series have a colour of their own, as regular expressions."""

PANEL_HEIGHT: Final = 8
TILE_HEIGHT: Final = 4

Panel: TypeAlias = models.Panel
Builder = TypeVar(
    "Builder", bargauge.Panel, stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel
)  # the library's builders share no class that says so
Steps: TypeAlias = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first one has none."""

QUIET: Final[Steps] = ((None, GREEN), (1, RED))
"""Nothing is good, and one is too much."""
PLAIN: Final[Steps] = ((None, BLUE),)
"""A number that is neither good nor bad."""


class Query(msgspec.Struct, frozen=True):
    """A question to Prometheus, and how a series of the answer is called."""

    expr: str
    legend: str = ""


def count(counter: str, window: str, *by: str, where: str = HERE) -> str:
    """Return an expression for how many events a counter counted within a window, by those labels."""
    return total(events(counter, window, where), *by)


def or_none(expr: str) -> str:
    """Return an expression that is 0 where the given one has no series, as long as a gateway answers."""
    return f"{expr} or 0 * sum(up{{{HERE}}} == 1)"


def tile(
    title: str,
    description: str,
    expr: str,
    *,
    steps: Steps = QUIET,
    unit: str = "short",
    words: dict[str, tuple[str, str]] | None = None,
    no_value: str = "no gateway",
    width: int = 4,
    runbook: str = "",
) -> Panel:
    """Return a panel with one number of this moment.

    Args:
        title: unique in its dashboard.
        description: what it shows, and what to do.
        expr: has one sample at most.
        steps: its colours.
        unit: as Grafana names it.
        words: for a value, the text in its place and the colour.
        no_value: is said where there is no sample.
        width: of 24.
        runbook: the page that says how to look closer, and what to do; empty if there is none.
    """
    panel = stat.Panel().graph_mode(shapes.BigValueGraphMode.NONE).color_mode(shapes.BigValueColorMode.VALUE)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False).fields(""))
    panel = panel.no_value(no_value).mappings(_map(words or {})).color_scheme(_scheme("thresholds"))
    return _dress(
        panel,
        title,
        description,
        [_instant(Query(expr))],
        width=width,
        runbook=runbook,
        unit=unit,
        steps=steps,
        height=TILE_HEIGHT,
    )


def bars(
    title: str, description: str, *queries: Query, unit: str = "short", width: int = 12, runbook: str = ""
) -> Panel:
    """Return a panel that counts events over time: stacked bars, each of what came since the bar before it."""
    panel = timeseries.Panel().draw_style(shapes.GraphDrawStyle.BARS).fill_opacity(80).line_width(0)
    panel = panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A")).decimals(0)
    panel = _legend(panel, ["sum"])
    return _dress(
        panel, title, description, [_range(each) for each in queries], width=width, runbook=runbook, unit=unit
    )


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    steps: Steps = PLAIN,
    width: int = 12,
    runbook: str = "",
) -> Panel:
    """Return a panel that shows measures over time; a step beyond the first one is drawn as a line to stay below."""
    panel = timeseries.Panel().draw_style(shapes.GraphDrawStyle.LINE).fill_opacity(5).line_width(2)
    panel = panel.show_points(shapes.VisibilityMode.NEVER)
    if len(steps) > 1:
        panel = panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(shapes.GraphTresholdsStyleMode.DASHED))
    panel = _legend(panel, ["max", "lastNotNull"])
    return _dress(
        panel,
        title,
        description,
        [_range(each) for each in queries],
        width=width,
        runbook=runbook,
        unit=unit,
        steps=steps,
    )


def states(
    title: str,
    description: str,
    query: Query,
    words: dict[str, tuple[str, str]],
    *,
    width: int = 12,
    runbook: str = "",
) -> Panel:
    """Return a panel that shows since when what has been the case: a line for each series, in colours."""
    panel = statetimeline.Panel().show_value(shapes.VisibilityMode.NEVER).merge_values(merge_values=True)
    panel = (
        panel.line_width(0).fill_opacity(70).row_height(0.8).mappings(_map(words)).color_scheme(_scheme("thresholds"))
    )
    panel = panel.tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.SINGLE))
    return _dress(panel, title, description, [_range(query)], width=width, runbook=runbook)


def ranking(
    title: str, description: str, query: Query, *, steps: Steps = PLAIN, width: int = 6, runbook: str = ""
) -> Panel:
    """Return a panel that shows numbers of this moment side by side, as bars that lie."""
    panel = bargauge.Panel().display_mode(shapes.BarGaugeDisplayMode.BASIC).min(0).decimals(0)
    panel = panel.orientation(shapes.VizOrientation.HORIZONTAL).no_value("none")
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False).fields(""))
    panel = panel.color_scheme(_scheme("thresholds"))
    return _dress(panel, title, description, [_instant(query)], width=width, runbook=runbook, steps=steps)


def listing(
    title: str,
    description: str,
    *queries: Query,
    columns: dict[str, str],
    unit: str = "short",
    width: int = 12,
    runbook: str = "",
) -> Panel:
    """Return a table of this moment.

    Args:
        title: unique in its dashboard.
        description: what it shows, and what to do.
        queries: each gives a column with its legend as the name, or none if that is empty.
        columns: the labels in their order, and how they are headed.
        unit: of the numbers.
        width: of 24.
        runbook: the page that says how to look closer, and what to do; empty if there is none.
    """
    values = [f"Value #{_letter(at)}" if len(queries) > 1 else "Value" for at in range(len(queries))]
    shown = {value: query.legend for value, query in zip(values, queries, strict=True)}
    organised = {
        "excludeByName": {"Time": True} | {value: True for value, name in shown.items() if not name},
        "indexByName": {name: at for at, name in enumerate((*columns, *values))},
        "renameByName": columns | {value: name for value, name in shown.items() if name},
    }
    panel = table.Panel().show_header(show_header=True)
    if len(queries) > 1:
        panel = panel.with_transformation(models.DataTransformerConfig("merge", options={}))
    panel = panel.with_transformation(models.DataTransformerConfig("organize", options=organised))
    if first := next(filter(None, shown.values()), ""):
        panel = panel.sort_by([common.TableSortByFieldState().display_name(first).desc(desc=True)])
    panel = panel.no_value("0" if first else "none")
    return _dress(
        panel, title, description, [_table(each) for each in queries], width=width, runbook=runbook, unit=unit
    )


def matrix(
    title: str,
    description: str,
    expr: str,
    *,
    rows: str,
    columns: str,
    heading: str,
    width: int = 12,
    runbook: str = "",
) -> Panel:
    """Return a heat map of one label against another: a table whose cells are the redder the more they count.

    Args:
        title: unique in its dashboard.
        description: what it shows, and what to do.
        expr: has the two labels and no other.
        rows: the label down the side.
        columns: the label along the top.
        heading: of the side.
        width: of 24.
        runbook: the page that says how to look closer, and what to do; empty if there is none.
    """
    pivot = {"columnField": columns, "rowField": rows, "valueField": "Value", "emptyValue": "empty"}
    corner = f"{rows}\\{columns}"
    panel = table.Panel().show_header(show_header=True).decimals(0).min(0).no_value("")
    panel = panel.with_transformation(models.DataTransformerConfig("groupingToMatrix", options=pivot))
    panel = panel.with_transformation(
        models.DataTransformerConfig("organize", options={"renameByName": {corner: heading}})
    )
    panel = panel.color_scheme(_scheme("continuous-YlRd"))
    cell = {"type": "color-background", "mode": "basic"}
    panel = panel.override_by_field_type("number", [models.DynamicConfigValue("custom.cellOptions", cell)])
    return _dress(panel, title, description, [_table(Query(expr))], width=width, runbook=runbook)


def _dress(
    panel: Builder,
    title: str,
    description: str,
    queries: Sequence[prometheus.Dataquery],
    *,
    width: int,
    runbook: str,
    unit: str = "short",
    steps: Steps = PLAIN,
    height: int = PANEL_HEIGHT,
) -> Panel:
    """Give a panel what all have."""
    for at, query in enumerate(queries):
        panel = panel.with_target(query.ref_id(_letter(at)))
    marks = [models.Threshold(value, colour) for value, colour in steps]
    thresholds = dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(marks)
    panel = (
        panel.title(title).description(_tell(description, runbook)).datasource(SOURCE).unit(unit).thresholds(thresholds)
    )
    return panel.span(width).height(height).build()


def _tell(description: str, runbook: str) -> str:
    """Return what stands beside a title: what it shows, and where it is said how to look closer and what to do."""
    return f"{description} Runbook: {link(runbook)}" if runbook else description


def _legend(panel: timeseries.Panel, sums: list[str]) -> timeseries.Panel:
    """Give series their colours, and the table beneath that sums them up."""
    for pattern, colour in MEANINGS.items():
        fixed = models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})
        panel = panel.override_by_regexp(pattern, [fixed])
    legend = common.VizLegendOptions().display_mode(shapes.LegendDisplayMode.TABLE).show_legend(show_legend=True)
    legend = legend.placement(shapes.LegendPlacement.BOTTOM).calcs(sums)
    tooltip = common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING)
    return panel.legend(legend).tooltip(tooltip).min(0).color_scheme(_scheme("palette-classic-by-name"))


def _scheme(mode: str) -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(models.FieldColorModeId(mode))


def _map(words: dict[str, tuple[str, str]]) -> list[Any]:
    results = {
        value: models.ValueMappingResult(text=text, color=colour, index=at)
        for at, (value, (text, colour)) in enumerate(words.items())
    }
    return [models.ValueMap(results)] if results else []


def _ask(query: Query) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).datasource(SOURCE).editor_mode(asked.QueryEditorMode.CODE)
    return made.legend_format(query.legend or "__auto")


def _range(query: Query) -> prometheus.Dataquery:
    return _ask(query).range()


def _instant(query: Query) -> prometheus.Dataquery:
    return _ask(query).instant()


def _table(query: Query) -> prometheus.Dataquery:
    return _ask(query).instant().format(asked.PromQueryFormat.TABLE)


def _letter(at: int) -> str:
    return chr(ord("A") + at)
