# SPDX-License-Identifier: Apache-2.0
"""Dashboards are what the code makes, and what judges them finds what can be wrong with one."""

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from deploy.monitoring.dashboards import BOARDS, generate_all
from deploy.monitoring.generated import ROOT
from deploy.validation.grafana import CHECKS
from tests.support.dashboards import DASHBOARDS, read_shown

Board: TypeAlias = dict[str, Any]

MODELLED, UNDERSTOOD = CHECKS
SHOWN: Final = read_shown()


def test_each_file_is_what_the_code_makes_and_there_is_no_other() -> None:
    made = list(generate_all())
    assert [each.place for each in made if each.has_drifted] == []
    assert sorted(each.path for each in made) == DASHBOARDS


def test_every_page_that_a_panel_names_is_there() -> None:
    pages = {name for panel in SHOWN for name in re.findall(r"docs/[\w/-]+\.md", panel.content["description"])}
    assert pages
    assert [name for name in sorted(pages) if not (ROOT / name).is_file()] == []


def test_every_counter_is_asked_for_in_the_way_that_sees_a_first_event() -> None:
    for panel in SHOWN:
        for query in panel.queries():
            assert "increase(" not in query, panel.title
            assert "rate(" not in query or "histogram_quantile" in query, panel.title


def _change(board: Board, title: str, key: str, value: Any) -> None:
    panel = next(panel for panel in board["panels"] if panel["title"] == title)
    panel[key] = value


def _ask(board: Board, title: str, expr: str) -> None:
    panel = next(panel for panel in board["panels"] if panel["title"] == title)
    panel["targets"][0]["expr"] = expr


FIRST: Final = "Denied requests"
WRONG: Final[dict[str, tuple[Callable[[Board], None], str]]] = {
    "a key that Grafana's library does not know": (
        lambda board: board.update(unheard="of"),
        "Grafana's library reads something else",
    ),
    "another schema": (lambda board: board.update(schemaVersion=99), "its schemaVersion is 99"),
    "a panel on another one": (
        lambda board: _change(board, FIRST, "gridPos", {"x": 0, "y": 2, "w": 24, "h": 8}),
        "lies on another one",
    ),
    "a panel beyond the edge": (
        lambda board: _change(board, FIRST, "gridPos", {"x": 20, "y": 900, "w": 5, "h": 8}),
        f"the panel {FIRST} is not within 24 columns",
    ),
    "a title given twice": (
        lambda board: _change(board, FIRST, "title", "Dropped records"),
        "two panels have the title Dropped records",
    ),
    "an id given twice": (lambda board: _change(board, FIRST, "id", 1), "two panels have the id 1"),
    "no description": (
        lambda board: _change(board, FIRST, "description", ""),
        f"the panel {FIRST} does not say what it shows",
    ),
    "no question": (lambda board: _change(board, FIRST, "targets", []), f"the panel {FIRST} asks nothing"),
    "a data source of its own": (
        lambda board: _change(board, FIRST, "datasource", {"type": "prometheus", "uid": "mine"}),
        "does not ask the data source that was chosen",
    ),
    "a variable that is not declared": (
        lambda board: _ask(board, FIRST, 'up{zone="$zone"}'),
        f"the panel {FIRST} names zone, which is not declared",
    ),
    "a variable that asks for one that is not declared": (
        lambda board: board["templating"]["list"][1].update(query='label_values(up{zone="$zone"}, job)'),
        "the variable job asks for zone",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_dashboard_is_found(case: str, tmp_path: Path) -> None:
    change, expected = WRONG[case]
    path = _write_changed(tmp_path, change)
    assert any(expected in problem for problem in MODELLED.find_problems([path]))


def test_a_dashboard_of_ours_has_nothing_wrong(tmp_path: Path) -> None:
    path = _write_changed(tmp_path, lambda _board: None)
    assert [*MODELLED.find_problems([path])] == []


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing (Debian: apt-get install prometheus)")
def test_a_question_that_prometheus_does_not_understand_is_found(tmp_path: Path) -> None:
    wrong = _write_changed(tmp_path, lambda board: _ask(board, FIRST, "sum by (((up)"))
    assert any(FIRST in problem for problem in UNDERSTOOD.find_problems([wrong]))
    assert [*UNDERSTOOD.find_problems(DASHBOARDS)] == []


def _write_changed(folder: Path, change: Callable[[Board], None]) -> Path:
    source = next(path for path in DASHBOARDS if path.stem == BOARDS[0].uid)
    board = copy.deepcopy(json.loads(source.read_text(encoding="utf-8")))
    change(board)
    path = folder / source.name
    path.write_text(json.dumps(board), encoding="utf-8")
    return path
