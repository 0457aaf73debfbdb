# SPDX-License-Identifier: Apache-2.0
"""Answers that are looked into, while the world goes on: another bundle, limits on how much is read, observing."""

import json
from typing import Any, Final

import pytest

from proxy.clock import render_instant, unix_seconds
from proxy.gateway.wire.heads import read_response
from proxy.model.request import ResponseHead
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.steps import Cut, Part, Refuse
from proxy.volume.memory import MemoryCounts
from tests.support.counts import HeldClock
from tests.support.crossings import Bench, a_request
from tests.support.keys import GRANTED
from tests.support.passages import NOW
from tests.support.people import (
    APIS,
    HOST,
    JSON,
    LINES,
    Drive,
    Register,
    a_checkpoint,
    mixed,
    observing,
    people_bundle,
    person,
    play,
)
from tests.support.world import STAFF


def line(word: str) -> bytes:
    return json.dumps(person(word[2:], word[:2])).encode() + b"\n"


# Another bundle is put in force.


def streaming(text: str = "TW1 KR2 JP3", target: str = "/v1/lines") -> Drive:
    """Have something leave, and more to come."""
    drive = Drive()
    drive.ask(target)
    drive.answer(*(line(word) for word in text.split()), head=(LINES,), ended=False)
    assert not drive.came.is_ended_by_us
    return drive


CHANGES: Final[dict[str, tuple[str, bool]]] = {
    "nothing that matters": ("  - {id: x, effect: deny, when: {resource.api: users, subject.country: TW}}\n", False),
    "whoever came is denied": ("  - {id: x, effect: deny, when: {resource.api: people, subject.country: TW}}\n", True),
    "whoever did not come is denied": (
        "  - {id: x, effect: deny, when: {resource.api: people, subject.country: TH}}\n", False
    ),
    "whoever came is masked": (
        "  - {id: x, effect: mask, when: {subject.country: TW}, transforms: {user.name: redact}}\n", True,
    ),
    "whoever was kept back is allowed": (
        "  - {id: x, effect: allow, when: {resource.api: people, subject.country: JP, caller.affiliate: ly}}\n", True
    ),
    "everybody is denied": ("  - {id: x, effect: deny, when: {resource.api: people}}\n", True),
    "one of them is denied by name": (
        "  - {id: x, effect: deny, when: {resource.api: people, subject.id: '1'}}\n", True
    ),
    "one of those kept back is allowed by name": (
        "  - {id: x, effect: allow, when: {resource.api: people, subject.id: '9', caller.affiliate: ly}}\n", True
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "is_cut"), CHANGES.values(), ids=CHANGES)
def test_an_answer_under_way_goes_on_only_while_it_is_judged_alike(rule: str, is_cut: bool) -> None:  # noqa: FBT001
    drive = streaming()
    assert drive.passage.is_denied_under(a_checkpoint(people_bundle(rule)), NOW + 1) is is_cut


def test_what_comes_behind_is_judged_by_what_is_in_force() -> None:
    drive = streaming("TW1")
    rule = "  - {id: x, effect: deny, when: {resource.api: people, subject.country: KR}}\n"
    assert not drive.passage.is_denied_under(a_checkpoint(people_bundle(rule)), NOW + 1)
    before = drive.came.body
    drive.give(line("KR2"), line("TW3"), ended=False)
    (left,) = drive.came.body.removeprefix(before).splitlines()
    assert json.loads(left)["id"] == "3"


def test_an_answer_does_not_go_on_by_what_is_declared_no_longer() -> None:
    apis = APIS.replace('          "$.phone": {category: user.contact.phone_number, keep: 2}\n', "")
    assert streaming().passage.is_denied_under(a_checkpoint(people_bundle(apis=apis)), NOW + 1)


HEADS: Final = {"it told one that is still allowed": ("TW", False), "it told one that is denied now": ("KR", True)}


@pytest.mark.parametrize(("country", "is_cut"), HEADS.values(), ids=HEADS)
def test_whom_the_head_told_is_decided_anew(country: str, is_cut: bool) -> None:  # noqa: FBT001
    drive = Drive()
    drive.ask("/v1/headed")
    drive.passage.answer(ResponseHead(200, (JSON, ("X-Subject-Country", country))))
    rule = "  - {id: x, effect: deny, when: {resource.api: people, subject.country: KR}}\n"
    assert drive.passage.is_denied_under(a_checkpoint(people_bundle(rule)), NOW + 1) is is_cut


def test_a_head_that_told_nobody_is_decided_anew_as_telling_nobody() -> None:
    open_ = "  - {id: open, effect: allow, when: {resource.route: headed, caller.affiliate: ly}}\n"
    drive = Drive(a_checkpoint(people_bundle(open_)))
    drive.ask("/v1/headed", who="data-team")
    # Everybody is allowed: nothing is awaited, and a rule against somebody cuts what may be theirs.
    drive.passage.answer(ResponseHead(200, (JSON,)))
    rule = "  - {id: x, effect: deny, when: {resource.api: people, subject.country: KR}}\n"
    assert drive.passage.is_denied_under(a_checkpoint(people_bundle(open_ + rule)), NOW + 1)


MOVED: Final = {
    "to where it is denied": ("US", True),
    "to where it is allowed, too": ("KR TW", True),
    "nowhere": ("TW", False),
    "to where nobody can tell": ("!", False),
    "out of the register": ("?", True),
}


@pytest.mark.parametrize(("told", "is_cut"), MOVED.values(), ids=MOVED)
def test_whom_a_register_told_is_looked_up_anew(told: str, is_cut: bool) -> None:  # noqa: FBT001
    drive = Drive(directory=Register({"7": "TW"}))
    came = drive.ask("/v1/members/7/card")
    assert came.forward is not None
    assert drive.passage.is_denied_under(a_checkpoint(directory=Register({"7": told})), NOW + 1) is is_cut


def test_of_whom_a_register_must_be_asked_it_holds_what_it_told() -> None:
    drive = Drive(directory=Register(asked={"7": "TW"}))
    drive.ask("/v1/members/7/card")
    assert not drive.passage.is_denied_under(a_checkpoint(directory=Register()), NOW + 1)


async def test_an_answer_ends_with_the_grant_by_which_its_records_leave() -> None:
    now = unix_seconds()
    moments = [render_instant(now + seconds) for seconds in (-60, 300)]
    grant = (
        f'  - {{id: LE-1, lifts: [nobody-from-taiwan], when: {{caller.affiliate: ly}}, from: "{moments[0]}",\n'
        f'      until: "{moments[1]}", approved_by: ["corp|alice", "corp|bob"],\n'
        f'      subjects: ["{GRANTED.of_subject("people", "1")}"]}}\n'
    )
    deny = "{id: nobody-from-taiwan, effect: deny, liftable: true, when: {resource.api: people, subject.country: TW}}"
    with Bench(a_checkpoint(people_bundle(f"  - {deny}\n", grant))) as bench:
        for word, is_cut in (("KR1", False), ("TW1", True)):
            caller = bench.connect()
            request = a_request("/v1/lines", claims={**STAFF, "sub": "carol"})
            caller.send(request.replace(b"Host: a\r\n", f"Host: {HOST}\r\n".encode()))
            frame = read_response(
                b"HTTP/1.1 200 X\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            assert frame is not None
            bench.ask.handle.exchange.upstream_answered(frame, line(word), is_whole=False)
            assert b"name-1" in caller.written
            bench.ask.is_answered = True
            bench.tick(299)
            assert not caller.is_aborted
            bench.tick(301)
            assert caller.is_aborted is is_cut
            bench.ask.size = len(line(word))
        for ask in bench.apis.asked:
            ask.fail()
        await bench.finish()


# How much is read.

LIMIT: Final = "  - {id: not-more-than-two, effect: deny, when: {resource.api: people, counts.subjects_1h: {gt: 2}}}\n"


def a_limited(hold: int = 1 << 20) -> Checkpoint:
    return a_checkpoint(people_bundle(LIMIT), hold=hold, volume=MemoryCounts(1000, HeldClock()))


def test_as_many_are_shown_as_a_limit_lets_and_not_one_more() -> None:
    checkpoint = a_limited()
    assert play("/v1/people", mixed("TW1 JP2 KR3"), checkpoint=checkpoint).ids == ["1", "3"]
    again = play("/v1/people", mixed("TW1 KR3"), checkpoint=checkpoint)
    assert again.status == 200
    came = play("/v1/people", mixed("TW1 TW4"), checkpoint=checkpoint)
    assert (came.status, came.reason, came.body) == (403, "rule-denies", b"")
    assert came.decision["rule"] == "not-more-than-two"


def test_where_everybody_is_allowed_they_are_counted_all_the_same() -> None:
    checkpoint = a_limited()
    came = play("/v1/people", mixed("TW1 JP2 KR3"), who="data-team", checkpoint=checkpoint)
    assert (came.is_looked_into, came.reason) == (True, "rule-denies")
    assert play("/v1/people", mixed("TW1 JP2"), who="data-team", checkpoint=checkpoint).ids == ["1", "2"]


def test_what_left_before_stays_left_and_the_rest_is_cut() -> None:
    drive = Drive(a_limited())
    drive.ask("/v1/lines")
    came = drive.answer(line("TW1"), line("TW2"), line("TW3"), head=(LINES,), ended=False)
    assert isinstance(came.last, Cut)
    assert came.last.reason == "rule-denies"
    assert [json.loads(each)["id"] for each in came.body.splitlines()] == ["1", "2"]


def test_a_first_part_that_is_too_much_is_a_refusal() -> None:
    drive = Drive(a_limited())
    drive.ask("/v1/lines")
    came = drive.answer(line("TW1") + line("TW2") + line("TW3"), head=(LINES,), ended=False)
    assert isinstance(came.last, Refuse)
    assert came.body == b""


# Where refusals are only observed.

OBSERVED: Final[dict[str, tuple[str, dict[str, Any], str]]] = {
    "everybody is denied": ("/v1/people", {"who": "support"}, "rule-denies"),
    "a search that may not be": ("/v1/people?phone=1", {}, "query-undeclared"),
    "a cursor that is none": ("/v1/people?after=x", {}, "cursor-invalid"),
    "a record that is dropped": ("/v1/people", {}, "rule-denies"),
    "one that refuses all": ("/v1/all-or-none", {}, "no-rule-allows"),
    "a claim that is not confirmed": ("/v1/tw/claimed", {}, "subject-not-confirmed"),
    "a register that does not know": ("/v1/members/1/card", {}, "lookup-unavailable"),
    "people kept apart": ("/v1/members?ids=t,j", {"directory": Register({"t": "TW", "j": "JP"})}, "subjects-apart"),
    "the head of an answer": ("/v1/headed", {}, "rule-denies"),
}
BODY: Final = mixed("TW1 JP2 TH3", total=3, next="c", other="o")


@pytest.mark.parametrize(("target", "how", "why"), OBSERVED.values(), ids=OBSERVED)
def test_what_is_observed_leaves_untouched_and_is_recorded(target: str, how: dict[str, Any], why: str) -> None:
    directory = how.get("directory")
    checkpoint = a_checkpoint(observing(), directory)
    came = play(target, BODY, checkpoint=checkpoint, **how)
    assert (came.status, came.body) == (200, BODY)
    told = came.decision
    assert (told["effect"], told["reason"], told["released"], told["enforced"]) == ("deny", why, True, False)
    assert "Sekisho-Mode: observe" in came.fields


WRONG: Final[dict[str, tuple[bytes, tuple[str, str], int]]] = {
    "no JSON": (b"<html>", JSON, 200),
    "another type": (b"<html>", ("Content-Type", "text/html"), 200),
    "a part": (b"x", JSON, 206),
    "broken off": (BODY[:-3], JSON, 200),
}


@pytest.mark.parametrize(("body", "field", "status"), WRONG.values(), ids=WRONG)
def test_what_is_not_what_is_declared_is_only_observed(body: bytes, field: tuple[str, str], status: int) -> None:
    came = play("/v1/people", body, head=(field,), status=status, checkpoint=a_checkpoint(observing()))
    assert (came.status, came.body, came.decision["effect"]) == (status, body, "deny")
    assert came.decision["reason"].startswith("answer-")


def test_a_limit_is_only_observed() -> None:
    checkpoint = a_checkpoint(observing(people_bundle(LIMIT)), volume=MemoryCounts(1000, HeldClock()))
    body = mixed("TW1 TW2 TW3")
    came = play("/v1/people", body, checkpoint=checkpoint)
    assert (came.status, came.body, came.decision["reason"]) == (200, body, "rule-denies")


def test_a_defect_is_only_observed_and_told_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    drive = Drive(a_checkpoint(observing()))
    drive.ask("/v1/people")
    drive.passage.answer(ResponseHead(200, (JSON,)))
    assert drive.passage._look is not None

    def fail(_data: bytes) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(drive.passage._look._filter, "feed", fail)
    came = drive.give(BODY)
    assert came.body == BODY
    assert isinstance(came.last, Part)
    assert isinstance(came.last.error, ZeroDivisionError)
    assert came.decision["reason"] == "decision-failed"


def test_nothing_under_way_is_cut_while_refusals_are_observed() -> None:
    drive = streaming()
    rule = "  - {id: x, effect: deny, when: {resource.api: people}}\n"
    assert not drive.passage.is_denied_under(a_checkpoint(observing(people_bundle(rule))), NOW + 1)
