# SPDX-License-Identifier: Apache-2.0
import re
from typing import Final

import pytest

from proxy.model.api import Transform
from proxy.model.inspection import Beyond, Inspection
from proxy.redaction.grammar import DOCUMENT, LINE
from proxy.redaction.places import find_unit, locate
from proxy.redaction.shapes import MAX_BYTES, MAX_PLANS, Learner, Shape, Skeleton
from proxy.redaction.survey import Survey
from proxy.redaction.values import ValueReader
from tests.support.filtering import declare

LIST: Final = declare(
    {"$.id": "user.id", "$.name": "user.name", "$.tags": "user.tag", "$.country": "user.country"},
    records="$[*]",
    country="$.country",
    id="$.id",
)


def skeleton(raw: bytes, declared: Inspection = LIST) -> Skeleton | None:
    node = ValueReader(DOCUMENT, 100_000, 64, 128).read(raw, 0, is_ended=True)
    assert node is not None
    survey = Survey(declared, find_unit(locate(declared), declared.records), node)
    return Learner(declared, DOCUMENT, 128).find_skeleton(raw, node, survey)


def shape(raw: bytes, declared: Inspection = LIST) -> Shape:
    found = skeleton(raw, declared)
    assert found is not None
    return Shape(found)


ONE: Final = shape(b'{"id": "a", "name":null,"tags":["x"],"country":"JP"}')


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"id": "\u0041\"", "name":"","tags":[],"country":"TW"}',
        b'{"id": 17, "name":false,"tags":[1.5e3 , null],"country":null}',
    ],
    ids=["other texts", "other scalars"],
)
def test_units_that_look_alike_match(raw: bytes) -> None:
    match = ONE.plain.match(raw)
    assert match is not None
    assert match.end() == len(raw)


@pytest.mark.parametrize(
    ("says", "raw"),
    [
        ("other spaces", b'{"id":"a", "name":null,"tags":["x"],"country":"JP"}'),
        ("other names", b'{"id": "a", "Name":null,"tags":["x"],"country":"JP"}'),
        ("another order", b'{"name":null,"id": "a", "tags":["x"],"country":"JP"}'),
        ("a member more", b'{"id": "a", "name":null,"tags":["x"],"country":"JP","id":"b"}'),
        ("a member less", b'{"id": "a", "name":null,"tags":["x"]}'),
        ("a container in place of a scalar", b'{"id": "a", "name":{},"tags":["x"],"country":"JP"}'),
        ("a list in place of a scalar", b'{"id": "a", "name":null,"tags":["x"],"country":["JP"]}'),
        ("a scalar in place of a list", b'{"id": "a", "name":null,"tags":"x","country":"JP"}'),
        ("a list of lists", b'{"id": "a", "name":null,"tags":[[]],"country":"JP"}'),
        ("a long number", b'{"id": ' + b"1" * 129 + b', "name":null,"tags":["x"],"country":"JP"}'),
        ("no number", b'{"id": 01, "name":null,"tags":["x"],"country":"JP"}'),
        ("no text", b'{"id": "\t", "name":null,"tags":["x"],"country":"JP"}'),
        ("no escape", rb'{"id": "\x", "name":null,"tags":["x"],"country":"JP"}'),
        ("no list", b'{"id": "a", "name":null,"tags":["x",],"country":"JP"}'),
        ("not whole", b'{"id": "a", "name":null,"tags":["x"],"country":"JP"'),
    ],
)
def test_others_do_not(says: str, raw: bytes) -> None:
    assert ONE.plain.match(raw) is None, says


def test_what_is_asked_for_has_a_group() -> None:
    match = ONE.plain.match(b'{"id": "b", "name":null,"tags":["x"],"country":"TW"}x')
    assert match is not None
    assert (match[1][-4:], match[ONE.plain.id], match[ONE.plain.country]) == (b'TW"}', b'"b"', b'"TW"')


def test_nothing_personal_is_kept() -> None:
    found = skeleton(b'{"id":"taro-42","name":"Taro","tags":["secret"],"country":"JP","x":{"y":"hidden"}}')
    assert found is not None
    for text in (b"taro", b"Taro", b"secret", b"JP", b"hidden"):
        assert text not in found.raw + found.body


def pieces(one: Shape, raw: bytes, changes: dict[int, Transform | Beyond]) -> list[object] | None:
    """Return the pieces of what is left of a unit: as they are, or with what is to be done to them."""
    plan = one.find_plan(str(changes), changes)
    if plan is None:
        return None
    match = plan.match(raw)
    assert match is not None
    return [match[each.group] if each.how is None else (match[each.group], each.how) for each in plan.pieces]


def test_a_plan_has_the_pieces_of_what_leaves() -> None:
    id_, name, tags, _ = LIST.fields
    raw = b'{"id": 7, "name":"B","tags":[],"country":"TW"}'
    rest = b',"tags":[],"country":"TW"}'
    assert pieces(ONE, raw, {id(name): Transform.MASK}) == [b'{"id": 7, "name":', (b'"B"', Transform.MASK), rest]
    assert pieces(ONE, raw, {id(name): Transform.REMOVE}) == [b'{"id": 7', rest]
    changes: dict[int, Transform | Beyond] = {id(id_): Transform.REMOVE, id(tags): Transform.NULL}
    assert pieces(ONE, raw, changes) == [b"{", b'"name":"B","tags":', (b"[]", Transform.NULL), b',"country":"TW"}']
    assert ONE.find_plan("", {}) is ONE.plain


def test_undeclared_members_are_in_no_piece() -> None:
    one = shape(b'{"x":1,"id":"a","y":{"z":[1,2]},"country":"JP","w":2}')
    assert not one.is_whole
    left = [b"{", b'"id":"b"', b',"country":"TW"', b"}"]
    assert pieces(one, b'{"x":"p","id":"b","y":{"z":[]},"country":"TW","w":null}', {}) == left


@pytest.mark.parametrize(
    ("says", "raw", "declared", "other"),
    [
        (
            "null on the way to the country",
            b'{"id":"1","at":null}',
            declare(records="$[*]", country="$.at.country"),
            b'{"id":"1","at":"x"}',
        ),
        (
            "null on the way to a field",
            b'{"id":"1","at":null}',
            declare({"$.at.x": "user.x"}, records="$[*]"),
            b'{"id":"1","at":"x"}',
        ),
        (
            "a scalar where a field is further in",
            b'{"at":"x"}',
            declare({"$.at.x": "user.x"}, records="$[*]"),
            b'{"at":null}',
        ),
        (
            "a list on the way to the country",
            b'{"at":[]}',
            declare(records="$[*]", country="$.at[*].country"),
            b'{"at":["x"]}',
        ),
    ],
)
def test_what_would_be_another_matter_is_no_slot(says: str, raw: bytes, declared: Inspection, other: bytes) -> None:
    one = shape(raw, declared)
    assert one.plain.match(raw) is not None
    assert one.plain.match(other) is None, says


def test_some_units_have_no_shape() -> None:
    several = declare(records="$[*]", country="$.at[*].country")
    assert skeleton(b'{"id":"' + b"x" * MAX_BYTES + b'"}') is None
    assert skeleton(b'{"tags":[' + b'{"a":1},' * 300 + b"1]}") is None
    assert skeleton(b'{"at":[{"country":"JP"},{"country":"TW"}]}', several) is None
    assert skeleton(b"7", declare({"$": "user.id"}, records="$[*]")) is None


def test_elements_are_changed_one_by_one() -> None:
    declared = declare({"$.tags[*]": "user.tag"}, records="$[*]")
    one = shape(b'{"tags":["a","b"]}', declared)
    assert one.plain.match(b'{"tags":[]}') is not None
    assert one.find_plan("mask", {id(declared.fields[0]): Transform.MASK}) is None


def test_plans_are_few() -> None:
    one = shape(b'{"id":"a","country":"JP"}')
    for number in range(MAX_PLANS):
        assert one.find_plan(str(number), {}) is not None
    assert one.find_plan(str(MAX_PLANS), {}) is None
    assert one.find_plan("0", {}) is not None


@pytest.mark.parametrize("rest", [b"", b'{"id":"c"}', b'{"id":"c","country":"JP"}', b'x{"id":"c","country":"JP"},'])
def test_units_in_a_row_are_split(rest: bytes) -> None:
    plain = shape(b'{"id":"a","country":"JP"}').plain
    with memoryview(b'{"id":"a","country":"JP"} ,\n{"id":"b","country":null} ,\n' + rest) as text:
        parts = plain.split(text, b" ,\n")
    width = plain.groups + 1
    assert parts[1 : 2 * width : width] == [b'{"id":"a","country":"JP"}', b'{"id":"b","country":null}']
    assert parts[0::width] == [b""] * (len(parts) // width + 1), "nothing stands between two units"
    assert parts[2 * width + 1 : 3 * width] == ([*[None] * (plain.groups - 1), rest] if rest else [])


def test_a_line_feed_is_in_no_shape_of_lines() -> None:
    declared = declare()
    raw = b'{"name":[1,2]}'
    node = ValueReader(LINE, 1000, 64, 128).read(raw, 0, is_ended=True)
    assert node is not None
    found = Learner(declared, LINE, 128).find_skeleton(raw, node, Survey(declared, locate(declared), node))
    assert found is not None
    assert re.fullmatch(found.body, b'{"name":[ 1\t,2\r]}')
    assert not re.fullmatch(found.body, b'{"name":[1,\n2]}')
