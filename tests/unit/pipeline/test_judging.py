# SPDX-License-Identifier: Apache-2.0
"""Whose data a request is about, and may they: before the API is asked, and once its answer tells."""

import json
from typing import Final

import msgspec
import pytest

from proxy.clock import unix_seconds
from proxy.pipeline.steps import Forward, Refuse
from proxy.telemetry import Metrics
from tests.support.keys import GRANTED
from tests.support.passages import NOW
from tests.support.people import (
    APART,
    APIS,
    JSON,
    Drive,
    Register,
    a_checkpoint,
    mixed,
    observing,
    people,
    people_bundle,
    person,
    play,
)
from tests.support.series import series

MIXED: Final = mixed("TW1 JP2 KR3 TH4")
DEFAULT: Final = "http://127.0.0.1:9001"


# Nobody knows yet whose data it is.


def test_where_everybody_is_denied_the_api_is_not_asked() -> None:
    came = play("/v1/people", MIXED, who="support")
    assert (came.forward, came.status, came.reason) == (None, 403, "rule-denies")
    assert (came.decision["rule"], came.decision["released"]) == ("not-support", False)


def test_where_everybody_is_allowed_the_answer_leaves_untouched() -> None:
    came = play("/v1/people", MIXED + b" \n", who="data-team")
    assert not came.is_looked_into
    assert came.body == MIXED + b" \n"


def test_else_each_record_is_judged() -> None:
    came = play("/v1/people", MIXED)
    assert came.is_looked_into
    assert [(each["id"], each.get("phone")) for each in json.loads(came.body)["people"]] == [
        ("1", "phone-1"), ("3", "*****-3"), ("4", None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "why"),
    {
        "/v1/people?name=a": None,
        "/v1/people": None,
        "/v1/people?name=a&name=b": None,
        "/v1/people?phone=1": "query-undeclared",
        "/v1/people?name=a&phone=1": "query-undeclared",
        "/v1/people?NAME=a": "query-undeclared",
        "/v1/people?after=forged": "cursor-invalid",
        "/v1/people?after=": "cursor-invalid",
        "/v1/lines?name=a": "query-undeclared",
    }.items(),
)
def test_hidden_records_are_not_found_by_probing(target: str, why: str | None) -> None:
    came = Drive().ask(target)
    assert came.reason == why


def test_where_nothing_is_hidden_any_search_will_do() -> None:
    assert Drive().ask("/v1/people?phone=1", who="data-team").forward is not None


def _cursor(who: str = "staff") -> str:
    body = play("/v1/people", mixed("TW1", next="secret-17"), who=who).body
    cursor = json.loads(body)["next"]
    assert isinstance(cursor, str)
    return cursor


def test_a_cursor_comes_back_as_the_api_gave_it_out() -> None:
    cursor = _cursor()
    assert "secret" not in cursor
    forward = Drive().ask(f"/v1/people?name=a&after={cursor}").forward
    assert forward is not None
    assert forward.target == "/v1/people?name=a&after=secret-17"


@pytest.mark.parametrize("place", range(0, 20, 5))
def test_a_cursor_that_was_changed_is_none(place: int) -> None:
    cursor = _cursor()
    changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
    assert Drive().ask(f"/v1/people?after={changed}").reason == "cursor-invalid"


def test_a_cursor_is_nobody_elses() -> None:
    assert Drive().ask(f"/v1/people?after={_cursor()}", name="mallory").reason == "cursor-invalid"


# A country that the caller claims.

CONFIRMING: Final[dict[str, tuple[bytes, str | None]]] = {
    "all records are of the country claimed": (mixed("TW1 TW2"), None),
    "there are no records": (people(), None),
    "one is of another country": (mixed("TW1 JP2"), "subject-not-confirmed"),
    "the last of many is of another country": (mixed("TW1 " * 50 + "KR2"), "subject-not-confirmed"),
    "one does not say its country": (people(person("1", "TW"), person("2", None)), "subject-not-confirmed"),
    "one says that it does not know its country": (
        people(person("1", "TW") | {"country": None}), "subject-not-confirmed"
    ),
    "one says two countries, of which one is": (
        people(person("1", "TW") | {"country": ["TW", "JP"]}), "subject-not-confirmed"
    ),
    "one writes it otherwise": (people(person("1", "tw")), "answer-country-malformed"),
    "one says something else there": (people(person("1", "TW") | {"country": 1}), "answer-country-malformed"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "why"), CONFIRMING.values(), ids=CONFIRMING)
def test_a_claim_is_confirmed_by_each_record(body: bytes, why: str | None) -> None:
    came = play("/v1/tw/claimed", body)
    assert came.reason == why
    if why is None:
        assert came.status == 200
    else:
        assert came.body == b""
        assert came.decision["released"] is False


def test_a_claim_that_is_not_confirmed_is_recorded_as_denied() -> None:
    came = play("/v1/tw/claimed", mixed("JP1"))
    assert (came.status, came.decision["effect"], came.decision["reason"]) == (403, "deny", "subject-not-confirmed")


def test_a_country_that_nobody_knows_is_not_confirmed_by_one_that_nobody_tells() -> None:
    rule = "  - {id: all, effect: allow, when: {resource.api: people, caller.affiliate: ly}}\n"
    checkpoint = a_checkpoint(people_bundle(rule))
    came = play("/v1/zz/headed", people(), checkpoint=checkpoint, who="data-team")
    assert came.reason == "subject-not-confirmed"
    came = play("/v1/zz/claimed", people(person("1", None)), checkpoint=checkpoint, who="data-team")
    assert came.reason == "subject-not-confirmed"


# The head of the answer.

HEADED: Final[dict[str, tuple[tuple[str, ...], str | None]]] = {
    "of a country that is allowed": (("TW",), None),
    "of one that is not": (("JP",), "no-rule-allows"),
    "of none": ((), "rule-denies"),
    "of two": (("TW", "KR"), "answer-country-malformed"),
    "of one, twice": (("TW", "TW"), "answer-country-malformed"),
    "of one that is written otherwise": (("tw",), "answer-country-malformed"),
    "of an empty one": (("",), "answer-country-malformed"),
}


def _headed(countries: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    names = ("X-Subject-Country", "x-subject-country")
    return (JSON, *((names[number % 2], country) for number, country in enumerate(countries)))


@pytest.mark.parametrize(("countries", "why"), HEADED.values(), ids=HEADED)
def test_the_head_of_an_answer_tells_whose_data_it_is(countries: tuple[str, ...], why: str | None) -> None:
    came = play("/v1/headed", b"<anything>", head=_headed(countries))
    assert came.reason == why
    assert came.body == (b"<anything>" if why is None else b"")


def test_what_the_head_tells_is_what_is_recorded() -> None:
    came = play("/v1/headed", b"x", head=_headed(("TW",)))
    assert came.decision["subject"] == {"country": "TW", "source": "answer"}


@pytest.mark.parametrize(("who", "country"), [("staff", "TW"), ("staff", "KR"), ("data-team", "JP")])
@pytest.mark.parametrize("is_observed", [False, True], ids=["enforcing", "observing"])
def test_the_field_that_tells_does_not_reach_the_caller(who: str, country: str, is_observed: bool) -> None:  # noqa: FBT001
    checkpoint = a_checkpoint(observing() if is_observed else people_bundle())
    came = play("/v1/headed", mixed(f"{country}1"), head=_headed((country,)), who=who, checkpoint=checkpoint)
    assert came.status == 200
    assert "subject-country" not in came.fields.lower()


def test_masks_hold_by_what_the_head_tells() -> None:
    came = play("/v1/headed", mixed("KR1"), head=_headed(("KR",)))
    assert b"phone-1" not in came.body
    assert came.ids == ["1"]


@pytest.mark.parametrize(("countries", "why"), [(("TW",), None), (("KR",), "subject-not-confirmed"),
                                                ((), "subject-not-confirmed")])  # fmt: skip
def test_a_claim_is_confirmed_by_the_head(countries: tuple[str, ...], why: str | None) -> None:
    assert play("/v1/tw/headed", b"{}", head=_headed(countries)).reason == why


@pytest.mark.parametrize("target", ["/v1/headed", "/v1/tw/headed", "/v1/tw/claimed", "/v1/people", "/v1/kr/vouched"])
def test_what_may_be_looked_into_is_asked_for_whole(target: str) -> None:
    fields = (("Range", "bytes=0-1"), ("If-None-Match", '"x"'), ("Accept-Encoding", "exotic"))
    forward = Drive().ask(target, *fields).forward
    assert forward is not None
    told = forward.fields.lower()
    assert not [name for name in (b"range:", b"if-none-match:", b"exotic") if name in told]
    plain = Drive().ask("/v1/tw/vouched", *fields).forward
    assert plain is not None
    assert b"range: bytes=0-1" in plain.fields.lower()


def test_a_head_has_nothing_to_tell_of_a_request_for_it_alone() -> None:
    assert Drive().ask("/v1/headed", method="HEAD").reason == "subject-unresolved"
    assert Drive().ask("/v1/headed", method="HEAD", who="data-team").forward is not None


# Registers.


def test_what_a_register_tells_is_asked_for_once() -> None:
    directory = Register(asked={"7": "TW"})
    came = play("/v1/members/7/card", b"{}", directory=directory)
    assert (directory.questions, came.status) == ([("7",)], 200)
    assert came.decision["subject"]["source"] == "lookup:staff"


def test_the_record_says_that_a_register_told_whose_the_records_are() -> None:
    drive = Drive(directory=Register({"7": "TW"}))
    drive.ask("/v1/roster")
    came = drive.answer(b'{"people": [{"id": "7", "name": "Lin"}]}')
    assert json.loads(came.body) == {"people": [{"id": "7", "name": "Lin"}]}
    assert came.decision["subject"]["source"] == "lookup:staff"


LOOKED_UP: Final = {
    "found, and allowed": ("TW", None),
    "found, and denied": ("JP", "no-rule-allows"),
    "of two countries, whose data are kept apart": ("JP TW", "subjects-apart"),
    "of two countries, of which one is denied": ("US TW", "no-rule-allows"),
    "of two that are allowed": ("KR TW", None),
    "not found": ("?", "rule-denies"),
    "not to be told": ("!", "lookup-unavailable"),
}


@pytest.mark.parametrize(("told", "why"), LOOKED_UP.values(), ids=LOOKED_UP)
@pytest.mark.parametrize("is_asked", [False, True], ids=["at once", "once asked"])
def test_a_register_tells_whose_data_it_is(told: str, why: str | None, is_asked: bool) -> None:  # noqa: FBT001
    directory = Register(asked={"7": told}) if is_asked else Register({"7": told})
    came = play("/v1/members/7/card", json.dumps(person("7", "TW")).encode(), directory=directory)
    assert came.reason == why
    assert (came.forward is None) == (why is not None)


def test_a_register_that_never_answers_is_asked_once_and_then_unknown() -> None:
    directory = Register()
    came = Drive(directory=directory).ask("/v1/members/7/card")
    assert (came.reason, came.status, directory.questions) == ("lookup-unavailable", 503, [("7",)])


@pytest.mark.parametrize(("who", "why"), [("data-team", None), ("support", "rule-denies")])
def test_a_register_that_fails_matters_only_where_the_decision_hangs_on_it(who: str, why: str | None) -> None:
    assert Drive(directory=Register({"7": "!"})).ask("/v1/members/7/card", who=who).reason == why


# Several at once.

SEVERAL: Final[dict[str, tuple[str, str | None]]] = {
    "all are allowed": ("t,k", None),
    "one is denied, whichever comes first": ("t,j", "no-rule-allows"),
    "one is denied, whichever comes last": ("j,t", "no-rule-allows"),
    "one of two countries is denied": ("t,jt", "no-rule-allows"),
    "one is unknown": ("t,x", "rule-denies"),
    "one has no name": ("t,,k", "subject-missing"),
}
FOUR: Final = {"x": "?", "t": "TW", "k": "KR", "j": "JP", "jt": "TW JP", "h": "TH"}


@pytest.mark.parametrize(("ids", "why"), SEVERAL.values(), ids=SEVERAL)
def test_the_strictest_of_several_wins(ids: str, why: str | None) -> None:
    apis = APIS.replace(f'      JP: {{url: "{APART}", hosted_in: JP}}\n', "")
    drive = Drive(a_checkpoint(people_bundle(apis=apis), Register(FOUR)))
    assert drive.ask(f"/v1/members?ids={ids}").reason == why


def test_who_asks_for_several_in_vain_was_denied_each_of_them() -> None:
    apis = APIS.replace(f'      JP: {{url: "{APART}", hosted_in: JP}}\n', "")
    came = Drive(a_checkpoint(people_bundle(apis=apis), Register(FOUR))).ask("/v1/members?ids=j,t,k")
    metrics = Metrics()
    metrics.count_outcome(msgspec.structs.replace(came.last.outcome, now=unix_seconds()))
    assert [*series(metrics.registry, "sekisho_denied_subjects_most").values()] == [3]


def test_transforms_of_several_hold_for_all_records() -> None:
    came = play("/v1/members?ids=t,k", mixed("TW1 KR2"), directory=Register(FOUR))
    assert came.ids == ["1", "2"]
    assert b"phone" not in came.body.replace(b'"phone"', b"")
    assert came.decision["content"]["left"] == {"several": 2}


def test_people_who_are_kept_apart_are_not_asked_for_together() -> None:
    came = Drive(directory=Register(FOUR)).ask("/v1/members?ids=t,j")
    assert (came.reason, came.status) == ("subjects-apart", 400)


@pytest.mark.parametrize(
    ("ids", "url"), [("j,h", APART), ("h,h", APART), ("h", APART), ("t,k", DEFAULT), ("t", DEFAULT)]
)
def test_a_request_goes_to_where_all_of_them_are_kept(ids: str, url: str) -> None:
    forward = Drive(directory=Register(FOUR)).ask(f"/v1/members?ids={ids}", who="data-team").forward
    assert forward is not None
    assert forward.upstream.url == url


# The body of the request.

BODIES: Final[dict[str, tuple[bytes, str | None]]] = {
    "it names a country that is allowed": (b'{"country": "TW"}', None),
    "it names one that is not": (b'{"country": "JP"}', "no-rule-allows"),
    "it names two in one object": (b'{"country": "TW", "country": "JP"}', "body-malformed"),
    "it names none": (b"{}", "subject-missing"),
    "it is none": (b"", "body-missing"),
    "it breaks off": (b'{"country": "TW"', "body-malformed"),
}


@pytest.mark.parametrize(("body", "why"), BODIES.values(), ids=BODIES)
def test_the_body_of_a_request_tells_whose_data_it_is(body: bytes, why: str | None) -> None:
    came = Drive().ask("/v1/find", JSON, method="POST", body=body)
    assert came.reason == why
    assert [type(step) for step in came.steps[1:]] == [Forward if why is None else Refuse]


def test_a_write_whose_subject_stands_in_its_body_is_decided_before_the_api_is_asked() -> None:
    rule = "  - {id: moves, effect: allow, when: {resource.route: move, subject.country: TW, caller.affiliate: ly}}\n"
    drive = Drive(a_checkpoint(people_bundle(rule)))
    came = drive.ask("/v1/move", JSON, method="PUT", body=b'{"country": "TW"}')
    assert came.forward is not None
    assert came.decision["subject"]["country"] == "TW"


@pytest.mark.parametrize("target", ["/v1/people", "/v1/headed", "/v1/tw/claimed", "/v1/tw/headed", "/v1/roster"])
def test_nothing_that_only_the_answer_tells_allows_a_write(target: str) -> None:
    """The loader refuses such a route; should it be tricked, the passage does."""
    drive = Drive()
    came = drive.ask(target)
    assert came.forward is not None
    match = drive.passage._match
    assert match is not None
    route = msgspec.structs.replace(match.route, action="update")
    passage = Drive().passage
    passage._method = "PUT"
    asked, caller = drive.passage._asked, drive.passage._caller
    assert asked is not None
    decided = passage._decide(msgspec.structs.replace(match, route=route), caller, asked)
    assert decided == "subject-unresolved"


# Grants.

GRANT: Final = f"""\
  - id: LE-1
    lifts: [nobody-from-taiwan]
    when: {{caller.affiliate: ly}}
    subjects: ["{GRANTED.of_subject("people", "1")}"]
    approved_by: ["corp|alice", "corp|bob"]
    from: 2027-01-15T17:00:00+09:00
    until: 2027-01-15T17:10:00+09:00
"""
LIFTABLE: Final = (
    "  - {id: nobody-from-taiwan, effect: deny, liftable: true, when: {resource.api: people, subject.country: TW}}\n"
)


def test_a_grant_lets_the_records_leave_of_whom_it_names() -> None:
    drive = Drive(a_checkpoint(people_bundle(LIFTABLE, GRANT)))
    drive.ask("/v1/people")
    came = drive.answer(mixed("TW1 TW2 KR3"))
    assert came.ids == ["1", "3"]
    assert drive.passage.ends_at == NOW + 600


def test_a_grant_that_let_nothing_leave_ends_nothing() -> None:
    drive = Drive(a_checkpoint(people_bundle(LIFTABLE, GRANT)))
    drive.ask("/v1/people")
    assert drive.answer(mixed("TW2 KR3")).ids == ["3"]
    assert drive.passage.ends_at == float("inf")
