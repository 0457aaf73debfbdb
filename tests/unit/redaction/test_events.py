# SPDX-License-Identifier: Apache-2.0
from typing import Final

import pytest

from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.model.inspection import Media
from proxy.redaction.treatment import Treatment
from tests.support.filtering import ALLOWED, TREATMENT, ByCountry, declare, parts_of, run

DECLARED: Final = declare({"$.a": "user.a"}, media=Media.EVENTS)
SMALL: Final = Treatment(name=TREATMENT.name, seal=None, hides=True, record_bytes=12)
EVERYONE: Final = ByCountry({UNKNOWN: ALLOWED})


def left_of(body: str, treatment: Treatment = TREATMENT) -> set[bytes | Reason]:
    """Return what leaves, in parts of several sizes."""
    return {run(DECLARED, EVERYONE, parts_of(body.encode(), size), treatment)[0] for size in (1, 2, 5, 1000)}


@pytest.mark.parametrize(
    ("says", "body", "left"),
    [
        ("line feeds", 'data: {"a":1}\n\n', 'data: {"a":1}\n\n'),
        ("carriage returns", 'data: {"a":1}\r\r', 'data: {"a":1}\n\n'),
        ("both", 'data: {"a":1}\r\n\r\n', 'data: {"a":1}\n\n'),
        ("one of each", 'data: {"a":1}\n\r\n', 'data: {"a":1}\n\n'),
        ("no space behind the colon", 'data:{"a":1}\n\n', 'data: {"a":1}\n\n'),
        ("data in several lines", 'data: {"a":\ndata:  1}\n\n', 'data: {"a":\ndata:  1}\n\n'),
        (
            "a data line without a colon is an empty one",
            'data: {"a":1\ndata\ndata: }\n\n',
            'data: {"a":1\ndata: \ndata: }\n\n',
        ),
        ("a type", 'event: user.new\ndata: {"a":1}\n\n', 'event: user.new\ndata: {"a":1}\n\n'),
        ("the last type counts", 'event: x\nevent:y\ndata: {"a":1}\n\n', 'event: y\ndata: {"a":1}\n\n'),
        ("a type is of one event", 'event: x\n\ndata: {"a":1}\n\n', 'data: {"a":1}\n\n'),
        ("ids go", 'id: 17\ndata: {"a":1}\n\nid\n\n', 'data: {"a":1}\n\n'),
        ("a time to connect again", "retry: 10\n", "retry: 10\n"),
        ("a time that is none", "retry: soon\nretry:\n", ""),
        ("comments are kept, what they say is not", ": Taro\n:\n", ":\n:\n"),
        ("unknown fields go", 'name: Taro\nDATA: x\n data: y\ndata: {"a":1}\n\n', 'data: {"a":1}\n\n'),
        ("an undeclared member", 'data: {"x":7,"a":1}\n\n', 'data: {"a":1}\n\n'),
    ],
)
def test_what_leaves_of_events(says: str, body: str, left: str) -> None:
    assert left_of(body) == {left.encode()}, says


@pytest.mark.parametrize(
    ("says", "body", "reason"),
    [
        ("a type of several words", "event: Taro Yamada\n", Reason.ANSWER_SHAPE_UNDECLARED),
        ("a type that is long", f"event: {'x' * 65}\n", Reason.ANSWER_SHAPE_UNDECLARED),
        ("the end in an event", 'data: {"a":1}\n', Reason.ANSWER_INCOMPLETE),
        ("the end in a line", 'data: {"a":1}\n\n:', Reason.ANSWER_INCOMPLETE),
        ("the end behind a type", "event: x\n", Reason.ANSWER_INCOMPLETE),
        ("two documents", 'data: {"a":1}\ndata: {"a":2}\n\n', Reason.ANSWER_MALFORMED),
        ("half a document", 'data: {"a":1\n\n', Reason.ANSWER_INCOMPLETE),
        ("a byte order mark", '\ufeffdata: {"a"}\n\ndata: {"a"}\n\n', Reason.ANSWER_MALFORMED),
    ],
)
def test_why_events_are_refused(says: str, body: str, reason: Reason) -> None:
    assert left_of(body) == {reason}, says


@pytest.mark.parametrize(
    "body", ["x" * 13, f": {'x' * 20}\n", 'data: {"a":\ndata: 1\n' + "data: \n" * 6, 'data: {"a":\ndata: 123456}\n\n']
)
def test_lines_and_data_have_a_largest_size(body: str) -> None:
    assert left_of(body, SMALL) == {Reason.ANSWER_RECORD_TOO_LARGE}
