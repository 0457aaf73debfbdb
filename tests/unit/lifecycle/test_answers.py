# SPDX-License-Identifier: Apache-2.0
"""What becomes of each record of a sample answer, by its place."""

import json
from typing import Any

import pytest

from proxy.bundle.snapshot import Snapshot
from proxy.lifecycle.answers import AnswerTold, list_places, list_undeclared, says_the_same
from proxy.model.inspection import Field, Inspection, Member
from proxy.model.json_path import parse_json_path
from tests.support.record_bundle import KIM, LIN, SATO, load_records, run_case


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return load_records(tmp_path_factory.mktemp("records"))


def look(snapshot: Snapshot, path: str, answer: Any) -> AnswerTold:
    told = run_case(snapshot, {"request": f"GET {path}", "answer": answer}).answer
    assert told is not None
    return told


def test_each_record_is_told_by_its_place_and_nothing_else_of_it(snapshot: Snapshot) -> None:
    told = look(snapshot, "/v1/users", {"users": [SATO, KIM, LIN, {"id": "9"}]})
    assert [(each.place, each.country, each.what, each.rule, each.is_by_unknown) for each in told.records] == [
        ("$.users[0]", "JP", "dropped", "no-china", False),
        ("$.users[1]", "KR", "masked", "staff", False),
        ("$.users[2]", "TW", "left", "staff", False),
        ("$.users[3]", "unknown", "dropped", "no-china", True),
    ]
    masked = told.records[1]
    assert masked.masking == ("kr-masked",)
    assert [(each.path, each.transform) for each in masked.fields] == [("$.phone", "mask"), ("$.id", "pseudonymise")]
    assert told.describe() == "left 2, dropped 2, masked 1"


def test_a_record_that_a_mask_does_not_fit_is_dropped_for_that(snapshot: Snapshot) -> None:
    told = look(snapshot, "/v1/users", {"users": [KIM | {"phone": ["0"]}, KIM]})
    assert [(each.what, each.reason) for each in told.records] == [
        ("dropped", "transforms-not-applied"), ("masked", "rule-allows"),
    ]  # fmt: skip


def test_records_before_a_fault_are_told(snapshot: Snapshot) -> None:
    told = look(snapshot, "/v1/users", json.dumps({"users": [LIN, SATO]})[:-2] + ", oops]}")
    assert [each.what for each in told.records] == ["left", "dropped"]
    assert (told.leaving, told.refused, told.rule) == (None, "answer-malformed", "")


def test_an_answer_that_a_record_refuses_names_its_rule(snapshot: Snapshot) -> None:
    told = look(snapshot, "/v1/strict", {"users": [LIN, SATO, KIM]})
    assert (told.leaving, told.refused, told.rule) == (None, "rule-denies", "no-china")


def test_lines_are_told_by_their_numbers(snapshot: Snapshot) -> None:
    told = look(snapshot, "/v1/lines", "\n".join(json.dumps(each) for each in (SATO, KIM, LIN)) + "\n")
    assert [(each.place, each.what) for each in told.records] == [
        ("line 1, $", "dropped"), ("line 2, $", "masked"), ("line 3, $", "left"),
    ]  # fmt: skip


def test_events_are_told_by_their_numbers(snapshot: Snapshot) -> None:
    events = "".join(f"data: {json.dumps(each)}\n\n" for each in ([SATO], [KIM], [LIN, SATO]))
    told = look(snapshot, "/v1/events", events)
    assert [(each.place, each.what) for each in told.records[:2]] == [
        ("event 1, $[0]", "dropped"), ("event 2, $[0]", "masked"),
    ]  # fmt: skip
    assert told.describe() == "left 2, dropped 2, masked 1"


def declare(records: str, fields: tuple[str, ...] = (), members: tuple[str, ...] = ()) -> Inspection:
    return Inspection(
        records=parse_json_path(records),
        fields=tuple(Field(parse_json_path(each), "user.name") for each in fields),
        members=tuple(Member(parse_json_path(each)) for each in members),
    )


PLACES = {
    "a list": ("$.users[*]", '{"users": [1, 2]}', ["$.users[0]", "$.users[1]"]),
    "lists in lists": ("$[*].u[*]", '[{"u": [1]}, {}, {"u": [2, 3]}]', ["$[0].u[0]", "$[2].u[0]", "$[2].u[1]"]),
    "the element, where the record is in it": ("$.e[*].node", '{"e": [{"node": 1}, {}]}', ["$.e[0]", "$.e[1]"]),
    "a map, whose names may be ids": ("$.users[*]", '{"users": {"42": 1, "43": 2}}', ["$.users.*0", "$.users.*1"]),
    "one object": ("$.user", '{"user": {}}', ["$"]),
    "nothing": ("$.users[*]", '{"people": []}', []),
    "no JSON": ("$.users[*]", "<html>", []),
}


@pytest.mark.parametrize(("records", "body", "expected"), PLACES.values(), ids=PLACES.keys())
def test_places_of_records(records: str, body: str, expected: list[str]) -> None:
    assert list_places(declare(records), body) == expected


UNDECLARED = {
    "members of records and beside them": (
        '{"users": [{"name": "a", "x": 1}, {"x": 2, "y": {"z": 3}}], "total": 1, "debug": {}}',
        ["$.users[*].x", "$.users[*].y", "$.debug"]),
    "the country itself": ('{"users": [{"name": "a", "country": "JP"}]}', ["$.users[*].country"]),
    "nothing": ('{"users": [{"name": {"first": "a"}}], "total": 1}', []),
    "what is within a declared member": ('{"users": [], "total": {"a": 1}}', []),
    "another answer altogether": ('["a"]', ["$[*]"]),
    "no JSON": ("<html>", []),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), UNDECLARED.values(), ids=UNDECLARED.keys())
def test_members_that_nobody_declared_are_named(body: str, expected: list[str]) -> None:
    assert list_undeclared(declare("$.users[*]", fields=("$.name",), members=("$.total",)), body) == expected


SAME = {
    "laid out otherwise": ('{"a": 1, "b": [2]}', '{"b":[2],"a":1}', True),
    "lines": ('{"a": 1}\n{"a": 2}\n', '{"a":1}\n\n{"a":2}', True),
    "another value": ('{"a": 1}', '{"a": 2}', False),
    "another order of elements": ("[1, 2]", "[2, 1]", False),
    "a line less": ('{"a": 1}\n{"a": 2}', '{"a": 1}', False),
    "events": ("data: {}\n\n", "data: {}", True),
    "other events": ("data: {}\n\n", "data: []\n\n", False),
    "nothing leaves": ("{}", None, False),
}


@pytest.mark.parametrize(("expected", "leaving", "is_same"), SAME.values(), ids=SAME.keys())
def test_what_leaves_is_compared_by_values(expected: str, leaving: str | None, is_same: bool) -> None:  # noqa: FBT001
    assert says_the_same(expected, leaving) is is_same
