# SPDX-License-Identifier: Apache-2.0
"""Answers before and after: how they are read, what counts as a leak, and when a view is as expected."""

import json
from typing import Any

import pytest
from rich.console import Console

from proxy.demo.drawing import draw_view
from proxy.demo.story import OFFICE, SATO, Played, Scene
from proxy.demo.views import VIEWS, Answer, View, Viewed, count_countries, find_content, find_leaks, read_answer
from proxy.model.inspection import Media

JP, TW = {"id": "42", "country": "JP", "name": "加藤"}, {"id": "44", "country": "TW", "name": "黃"}
SCENE = Scene("Two people", SATO, OFFICE, "GET /v1/users", 200, "rule")
HIDDEN = (("JP", "name"),)


def as_lines(prefix: str, suffix: str = "\n") -> bytes:
    return "".join(f"{prefix}{json.dumps(record)}{suffix}" for record in (JP, TW)).encode()


@pytest.mark.parametrize(
    ("view", "body", "others"),
    [
        pytest.param(
            View(SCENE, 2, (), records="users"), json.dumps({"users": [JP, TW], "total": 2}).encode(), {"total": 2},
            id="a document with records",
        ),
        pytest.param(View(SCENE, 2, (), media=Media.LINES), as_lines(""), {}, id="a record a line"),
        pytest.param(
            View(SCENE, 2, (), media=Media.EVENTS), as_lines("event: report\ndata: ", "\n\n"), {}, id="events",
        ),
    ],
)  # fmt: skip
def test_an_answer_is_read_as_its_view_says(view: View, body: bytes, others: dict[str, int]) -> None:
    assert read_answer(body, view) == Answer((JP, TW), others)


def test_a_document_can_be_the_record() -> None:
    assert read_answer(json.dumps(JP).encode(), View(SCENE, 1, ())) == Answer((JP,))


@pytest.mark.parametrize(
    ("body", "leaks"),
    [
        pytest.param('{"users": []}', [], id="nothing left"),
        pytest.param('{"users": [{"name": "黃"}]}', [], id="what may be there is"),
        pytest.param('{"users": [{"name": "加藤"}]}', ["JP.name"], id="a value that must not"),
        pytest.param('{"facets": {"加藤": 1}}', ["JP.name"], id="a value somewhere else"),
    ],
)
def test_a_leak_is_a_value_of_the_api_anywhere_in_the_answer(body: str, leaks: list[str]) -> None:
    assert find_leaks(Answer((JP, TW)), body.encode(), HIDDEN) == leaks


@pytest.mark.parametrize(
    ("lines", "content"),
    [
        pytest.param([{"line": "decision"}], {}, id="nothing was looked into"),
        pytest.param([{"content": {"seen": 3}}], {"seen": 3}, id="a small answer: its decision says all"),
        pytest.param(
            [{}, {"content": {"seen": 3}}, {"content": {"seen": 5}}], {"seen": 5}, id="a stream: its end does"
        ),
    ],
)
def test_what_the_ledger_says_of_all_records_is_what_it_says_last(
    lines: list[dict[str, Any]], content: dict[str, int]
) -> None:
    assert find_content(lines) == content


def view_as(
    *, status: int = 200, rule: str = "rule", after: tuple[dict[str, str], ...] = (TW,), leaks: tuple[str, ...] = ()
) -> Viewed:
    view = View(SCENE, 1, HIDDEN, ("id", "name"), records="users")
    played = Played(SCENE, status, {"rule": rule, "reason": "rule-allows"})
    content = {"seen": 2, "dropped": 1, "kept_back": {"JP": 1}, "rules": {"default": 1}}
    return Viewed(view, played, Answer((JP, TW), {"total": 2}), Answer(after), leaks, content)


def test_a_view_is_as_expected_when_all_of_it_is() -> None:
    assert view_as().as_expected


@pytest.mark.parametrize(
    "viewed",
    [
        pytest.param(view_as(status=403), id="another status"),
        pytest.param(view_as(rule="default"), id="another rule"),
        pytest.param(view_as(after=(JP, TW)), id="a record too many"),
        pytest.param(view_as(after=()), id="a record too few"),
        pytest.param(view_as(leaks=("JP.name",)), id="a leak"),
    ],
)
def test_a_view_is_not_as_expected_and_says_so(viewed: Viewed) -> None:
    assert not viewed.as_expected
    assert "NOT AS EXPECTED: 200 rule, 1 records" in draw(viewed)


def draw(viewed: Viewed) -> str:
    console = Console(width=128, highlight=False)
    with console.capture() as capture:
        console.print(draw_view(viewed))
    return capture.get()


def test_both_answers_are_drawn_side_by_side() -> None:
    drawn = draw(view_as(after=({"id": "44"},))).splitlines()
    assert any(line.split() == ["42", "加藤", "44", "-"] for line in drawn)
    assert any(line.split() == ["44", "黃"] for line in drawn)
    assert any("total: 2" in line for line in drawn)
    assert "200 rule  the ledger says: 2 seen, 1 dropped; kept back 1 of JP; default" in drawn


def test_many_records_are_counted_by_country() -> None:
    viewed = Viewed(
        View(SCENE, 1, ()),
        Played(SCENE, 200, {"rule": "rule", "reason": "rule-allows"}),
        Answer((JP, TW, JP)),
        Answer((TW,)),
        (),
        {},
    )
    assert count_countries(viewed.before) == {"JP": 2, "TW": 1}
    assert any(line.split() == ["Japan", "2", "Taiwan", "1"] for line in draw(viewed).splitlines())
    assert "nothing had to be looked into" in draw(viewed)


def test_titles_tell_views_apart_and_all_but_the_last_hide_something() -> None:
    assert len({view.scene.title for view in VIEWS}) == len(VIEWS)
    assert [view.scene.title for view in VIEWS if not view.hidden] == [VIEWS[-1].scene.title]
