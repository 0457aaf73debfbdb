# SPDX-License-Identifier: Apache-2.0
"""What is said of an answer that is looked into: in which order, and never more than may be."""

import json
from typing import Any, Final

import msgspec
import pytest

from proxy.model.decision import Reason
from proxy.model.request import ResponseHead
from proxy.pipeline.steps import Cut, Part, Refuse
from tests.support.passages import REQUEST_ID
from tests.support.people import (
    EVENTS,
    JSON,
    LINES,
    Came,
    Drive,
    Register,
    a_checkpoint,
    mixed,
    people,
    person,
    play,
    read_line,
)


def kinds(came: Came) -> list[str]:
    return [line["line"] for line in came.lines]


def lines_of(text: str) -> list[bytes]:
    return [json.dumps(person(word[2:], word[:2])).encode() + b"\n" for word in text.split()]


def test_a_small_answer_is_one_line() -> None:
    came = play("/v1/people", mixed("TW1 JP2 KR3 TH4 TW1"))
    assert kinds(came) == ["decision"]
    line = came.decision
    assert (line["effect"], line["released"], line["status"], line["complete"]) == ("allow", True, 200, True)
    assert line["bytes"] == len(came.body)
    content = line["content"]
    assert (content["seen"], content["dropped"], content["masked"], content["subjects"]) == (5, 1, 2, 3)
    assert content["left"] == {"TW": 2, "KR": 1, "TH": 1}
    assert content["kept_back"] == {"JP": 1}
    assert content["rules"] == {"default": 1, "korean-phones": 1, "thai-phones-stay": 1}


def test_of_a_larger_one_the_decision_is_told_before_the_first_byte_and_each_part_before_it() -> None:
    drive = Drive(a_checkpoint(hold=200))
    drive.ask("/v1/people")
    body = mixed(" ".join(f"{('TW', 'JP')[number % 2]}{number}" for number in range(40)))
    parts = [body[at : at + 150] for at in range(0, len(body), 150)]
    came = drive.answer(*parts)
    assert kinds(came)[:2] == ["decision", "released"]
    sent = 0
    for step in came.steps:
        if not isinstance(step, Part):
            continue
        sent += len(step.data)
        lines = [read_line(line) for line in step.lines]
        assert not step.data or lines[-1]["bytes"] == sent
        assert (step.release is not None) == (lines[0]["line"] == "decision")
    (end,) = drive.passage.end(complete=True, bytes_sent=sent).lines
    told = read_line(end)
    assert (told["complete"], told["bytes"], told["content"]["seen"], told["content"]["dropped"]) == (
        True,
        sent,
        40,
        20,
    )
    assert sum(line["content"]["seen"] for line in came.lines if "content" in line) == 40
    assert told["content"]["left"] == {"TW": 20}


def test_a_line_that_leaves_is_told_before_it() -> None:
    drive = Drive()
    drive.ask("/v1/lines")
    came = drive.answer(*lines_of("TW1 JP2 KR3"), b"", head=(LINES,))
    assert kinds(came) == ["decision", "released", "released", "released"]
    assert [line.get("content", {}).get("dropped", 0) for line in came.lines[1:]] == [0, 1, 0]
    assert came.body.count(b"\n") == 2


def test_an_export_is_recorded_before_it_is_asked_for() -> None:
    drive = Drive()
    came = drive.ask("/v1/lines")
    assert kinds(came) == ["decision"]
    drive.answer(b"".join(lines_of("TW1 JP2")), head=(LINES,))
    assert kinds(came) == ["decision", "released", "end"]
    assert came.lines[-1]["content"]["dropped"] == 1
    assert (came.lines[-1]["complete"], came.lines[-1]["bytes"]) == (True, len(came.body))
    assert drive.passage.end(complete=True, bytes_sent=len(came.body)).lines == ()


# What may not leave.

NEVER: Final[dict[str, tuple[bytes, tuple[tuple[str, str], ...], int, str]]] = {
    "no JSON": (b"<html>", (JSON,), 200, "answer-malformed"),
    "another type": (mixed("TW1"), (("Content-Type", "text/html"),), 200, "answer-type-undeclared"),
    "no type": (mixed("TW1"), (), 200, "answer-type-undeclared"),
    "two types": (mixed("TW1"), (JSON, JSON), 200, "answer-type-undeclared"),
    "another charset": (mixed("TW1"), (("Content-Type", "application/json; charset=utf-16"),), 200,
                        "answer-charset-unsupported"),
    "a part of the whole": (mixed("TW1"), (JSON,), 206, "answer-status-undeclared"),
    "elsewhere": (b"", (("Location", "/x"),), 302, "answer-status-undeclared"),
    "broken off": (mixed("TW1")[:-1], (JSON,), 200, "answer-incomplete"),
    "empty": (b"", (JSON,), 200, "answer-empty"),
    "one name twice": (b'{"people":[],"people":[]}', (JSON,), 200, "answer-key-repeated"),
    "another coding": (mixed("TW1"), (JSON, ("Content-Encoding", "compress")), 200, "answer-coding-unsupported"),
    "not so coded": (mixed("TW1"), (JSON, ("Content-Encoding", "gzip")), 200, "answer-coding-broken"),
    "two codings": (mixed("TW1"), (JSON, ("Content-Encoding", "gzip, gzip")), 200, "answer-coding-unsupported"),
    "a country in another form": (mixed("tw1"), (JSON,), 200, "answer-country-malformed"),
    "an id that is none": (people(person("1", "TW") | {"id": []}), (JSON,), 200, "answer-shape-undeclared"),
    "too deep": (b'{"people":' + b"[" * 70 + b"]" * 70 + b"}", (JSON,), 200, "answer-too-deep"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "head", "status", "why"), NEVER.values(), ids=NEVER)
def test_an_answer_that_is_not_what_is_declared_is_refused(
    body: bytes, head: tuple[tuple[str, str], ...], status: int, why: str
) -> None:
    came = play("/v1/people", body, head=head, status=status)
    assert (came.reason, came.body, came.status) == (why, b"", 502)
    assert kinds(came) == ["decision"]
    assert (came.decision["released"], came.decision["reason"]) == (False, why)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 429, 500, 503])
def test_of_an_error_the_status_leaves_and_the_body_never(status: int) -> None:
    came = play("/v1/people", b"Hanako Yamada, Tokyo", head=(("Content-Type", "text/html"),), status=status)
    assert came.status == status
    assert json.loads(came.body)["status"] == status
    assert b"Hanako" not in came.body


def test_a_denied_record_refuses_all_where_the_route_says_so() -> None:
    came = play("/v1/all-or-none", mixed("TW1 JP2"))
    assert (came.status, came.reason, came.body) == (403, "no-rule-allows", b"")
    assert (came.decision["effect"], came.decision["released"]) == ("deny", False)
    assert play("/v1/all-or-none", mixed("TW1 KR2")).ids == ["1", "2"]


@pytest.mark.parametrize("target", ["/v1/people", "/v1/lines", "/v1/events"])
def test_once_something_has_left_what_goes_wrong_cuts(target: str) -> None:
    drive = Drive(a_checkpoint(hold=50))
    drive.ask(target)
    good = person("1", "TW")
    if target == "/v1/people":
        body = mixed("TW1 TW2 TW3 TW4") + b"x"
        parts, head = [body[:200], body[200:]], JSON
    elif target == "/v1/lines":
        parts, head = [json.dumps(good).encode() + b"\n", b"{]\n"], LINES
    else:
        parts, head = [b"data: " + json.dumps(good).encode() + b"\n\n", b"data: {]\n\n"], EVENTS
    came = drive.answer(*parts, head=(head,))
    assert isinstance(came.last, Cut)
    assert came.last.reason is Reason.ANSWER_MALFORMED
    assert came.body
    (end,) = drive.passage.end(complete=False, reason=came.last.reason, bytes_sent=len(came.body)).lines
    told = read_line(end)
    assert (told["complete"], told["reason"], told["bytes"]) == (False, "answer-malformed", len(came.body))


def test_what_goes_wrong_before_anything_left_is_a_refusal_however_much_has_come() -> None:
    drive = Drive(a_checkpoint(hold=50))
    drive.ask("/v1/lines")
    came = drive.answer(b'{"id":"1"', b"}]", b"\n", head=(LINES,))
    assert isinstance(came.last, Refuse)


# Whatever befalls us lets nothing pass.


class Failing:
    """Fails whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


def _fail(*_: object) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize("room", ["seal", "inspect", "directory"])
def test_an_exception_in_any_room_is_a_refusal(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Register({"1": "TW"})
    checkpoint = a_checkpoint(directory=directory)
    drive = Drive(checkpoint)
    came = drive.ask("/v1/roster" if room == "directory" else "/v1/people")
    if room == "directory":
        monkeypatch.setattr(directory, "find", _fail)
    else:
        setattr(checkpoint, room, Failing())
    drive.answer(mixed("TW1", next="c"))
    assert isinstance(came.last, Refuse)
    assert (came.reason, came.body, came.decision["released"]) == ("decision-failed", b"", False)
    assert isinstance(came.last.error, ZeroDivisionError)


def test_what_nothing_can_be_said_of_is_left_to_the_driver() -> None:
    drive = Drive()
    drive.ask("/v1/people")
    drive.passage.answer(ResponseHead(200, (JSON,)))
    drive.checkpoint.recorder = Failing()  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError):
        drive.passage.inspect(mixed("TW1"), ended=True)


@pytest.mark.parametrize("room", ["directory", "origins", "callers"])
def test_an_exception_before_the_api_is_asked_is_a_refusal(room: str) -> None:
    drive = Drive()
    setattr(drive.checkpoint, room, Failing())
    assert drive.ask("/v1/members?ids=1").reason == "decision-failed"


def test_an_exception_midway_cuts() -> None:
    drive = Drive()
    drive.ask("/v1/lines")
    came = drive.answer(lines_of("TW1")[0], head=(LINES,), ended=False)
    assert drive.passage._look is not None
    drive.passage._look._filter = Failing()
    drive.give(b"x", ended=False)
    assert isinstance(came.last, Cut)
    assert (came.last.reason, type(came.last.error)) == (Reason.DECISION_FAILED, ZeroDivisionError)


def test_an_exception_while_the_first_part_is_told_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    drive = Drive()
    drive.ask("/v1/people")
    monkeypatch.setattr(drive.passage, "_tell_content", _fail)
    came = drive.answer(mixed("TW1"))
    assert isinstance(came.last, Refuse)
    assert (came.reason, came.status, came.decision["released"]) == ("decision-failed", 503, False)


# Nothing of a record is told.

SECRETS: Final = ("Hanako", "090-1111", "Taro", "080-2222", "u-17", "u-18", "cursor-99", "secret-member")


@pytest.mark.parametrize("target", ["/v1/people", "/v1/all-or-none", "/v1/tw/claimed", "/v1/headed"])
@pytest.mark.parametrize("spoil", [b"", b"}"])
def test_no_value_of_a_record_is_told_anywhere(target: str, spoil: bytes) -> None:
    body = people(
        {"id": "u-17", "name": "Hanako", "phone": "090-1111", "country": "TW"},
        {"id": "u-18", "name": "Taro", "phone": "080-2222", "country": "JP"},
        next="cursor-99",
        other="secret-member",
    )
    came = play(target, body + spoil, head=(JSON, ("X-Subject-Country", "KR")))
    told = json.dumps(came.lines)
    for step in came.steps:
        if isinstance(step, Part):
            told += repr(step.counts) + repr(step.release)
        if isinstance(step, Refuse):
            told += repr(msgspec.structs.replace(step.outcome, route=None)) + repr(step.error)
        if isinstance(step, Cut):
            told += repr(step)
    assert came.lines
    assert not [secret for secret in SECRETS if secret in told]
    assert REQUEST_ID in told
