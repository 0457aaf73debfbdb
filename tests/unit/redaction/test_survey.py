# SPDX-License-Identifier: Apache-2.0
from typing import Final

import pytest

from proxy.model.decision import Reason
from proxy.model.filtering import AnswerRefusedError
from proxy.model.inspection import Inspection
from proxy.redaction.grammar import DOCUMENT
from proxy.redaction.places import find_unit, locate
from proxy.redaction.survey import Edits, Survey, cuts, follow
from proxy.redaction.values import Node, ValueReader
from tests.support.filtering import declare, path

DECLARED: Final = declare({"$.a": "user.a", "$.b.c": "user.b", "$.l[*]": "user.l"}, records="$[*]")


def read(raw: bytes) -> Node:
    node = ValueReader(DOCUMENT, 10_000, 64, 128).read(raw, 0, is_ended=True)
    assert node is not None
    return node


def survey(raw: bytes, declared: Inspection = DECLARED) -> Survey:
    return Survey(declared, find_unit(locate(declared), declared.records), read(raw))


def texts(raw: bytes, at: str) -> list[bytes]:
    return [raw[node.start : node.end] for node in follow(path(at), read(raw), Reason.ANSWER_SHAPE_UNDECLARED)]


def test_declared_values_are_found() -> None:
    raw = b'{"a":1,"x":2,"b":{"c":[3],"d":4},"l":[5,6],"y":7}'
    found = survey(raw)
    assert [raw[leaf.node.start : leaf.node.end] for leaf in found.leaves] == [b"1", b"[3]", b"5", b"6"]
    assert sorted(tuple(indexes) for _, indexes in found.undeclared.values()) == [(1,), (1, 4)]
    assert len(found.lists) == 1
    assert found.strays == set()


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        (b'{"a":1}', b'{"a":1}'),
        (b'{"x":1}', b"{}"),
        (b'{ "x" : 1 , "a" : 2 , "y" : 3 }', b'{ "a" : 2 }'),
        (b'{ "a":1 , "x":2 , "l":[ ] }', b'{ "a":1 , "l":[ ] }'),
        (b'{ "x":1 , "y":2 }', b"{  }"),
        (b'{"b":{"x":1,"y":2},"a":3}', b'{"b":{},"a":3}'),
        (b'{"b":7,"a":3}', b'{"a":3}'),
        (b'{"b":[{"c":1}],"a":3}', b'{"a":3}'),
        (b'{"b":null,"a":3}', b'{"b":null,"a":3}'),
    ],
)
def test_undeclared_members_are_cut_out(raw: bytes, left: bytes) -> None:
    assert Edits(survey(raw), (), ()).apply(raw, {}) == left


def test_a_value_where_another_kind_would_be_declared_is_a_stray() -> None:
    assert survey(b'{"b":7,"x":8}').strays == {5}


def test_leaves_are_removed_and_replaced() -> None:
    raw = b'{"a":1,"x":2,"b":{"c":3},"l":[5,6]}'
    edits = Edits(survey(raw), [0, 2], [1, 3])
    assert edits.apply(raw, {1: b'"*"', 2: b"null", 3: b"0"}) == b'{"b":{"c":"*"},"l":[null,0]}'


def test_all_elements_may_go() -> None:
    assert list(cuts(read(b"[ 1 , 2 ]"), {0, 1})) == [(2, 7)]


def test_a_path_is_followed_past_what_is_missing() -> None:
    raw = b'{"a":[{"b":1},{"c":2},{"b":null},null],"d":null}'
    assert texts(raw, "$.a[*].b") == [b"1", b"null"]
    assert texts(raw, "$.d.e") == []
    assert texts(raw, "$.x.y") == []
    with pytest.raises(AnswerRefusedError):
        texts(raw, "$.a.b")


@pytest.mark.parametrize("raw", [b"7", b"null", b'"x"', b"[]"])
def test_a_record_is_an_object(raw: bytes) -> None:
    with pytest.raises(AnswerRefusedError) as refused:
        survey(raw)
    assert refused.value.reason is Reason.ANSWER_SHAPE_UNDECLARED


@pytest.mark.parametrize("raw", [b"{}", b'{"node":null}', b"[]", b'{"node":[{}]}'])
def test_a_unit_holds_its_record(raw: bytes) -> None:
    with pytest.raises(AnswerRefusedError) as refused:
        survey(raw, declare(records="$[*].node"))
    assert refused.value.reason is Reason.ANSWER_SHAPE_UNDECLARED


def test_undeclared_members_may_refuse() -> None:
    with pytest.raises(AnswerRefusedError) as refused:
        survey(b'{"x":1}', declare(records="$[*]", refuses_undeclared=True))
    assert refused.value.reason is Reason.ANSWER_MEMBER_UNDECLARED
