# SPDX-License-Identifier: Apache-2.0
"""What a caller who may see some records tries in order to see others, and what an API sends that could let it."""

import json
import tracemalloc
from typing import Any, Final

import pytest

from proxy.model.api import Transform
from proxy.model.decision import Reason
from proxy.model.filtering import AnswerRefusedError
from proxy.model.inspection import Beyond, Field, Inspection, Member
from proxy.model.json_path import parse_json_path
from proxy.redaction.filters import make_filter
from proxy.redaction.treatment import Treatment
from tests.support.judging import ALLOWED, DENIED, Table, TableJudge, allowed_with, drive, name_value, seal_cursor
from tests.support.passages import NOW
from tests.support.people import APIS, JSON, Drive, a_checkpoint, people_bundle

P: Final = parse_json_path
PAGED: Final = Inspection(
    records=P("$.users[*]"),
    country=P("$.country"),
    fields=(Field(P("$.name"), "user.name"), Field(P("$.country"), "user.country")),
    members=(Member(P("$.total"), Beyond.TOTAL),),
)
TABLE: Final = Table({"JP": DENIED, "TW": ALLOWED, "KR": allowed_with({"user.name": Transform.NULL})})


def run(countries: str) -> list[Any]:
    """Filter a page of records that look alike, and return those that leave."""
    users = [{"name": f"N{at}", "country": country} for at, country in enumerate(countries.split())]
    judge = TableJudge(TABLE)
    inspection = Inspection(**{name: getattr(PAGED, name) for name in PAGED.__struct_fields__})  # with nothing learned
    made = make_filter(inspection, judge, Treatment(name=name_value, seal=seal_cursor, hides=True))
    done = drive(made, judge, [json.dumps({"users": users, "total": len(users)}).encode()])
    assert done.error is None
    document = json.loads(done.output)
    assert document.keys() == {"users"}
    records: list[Any] = document["users"]
    return records


@pytest.mark.parametrize(
    "countries",
    [
        pytest.param("TW " * 9, id="records that leave as they are, beside a total that does not"),
        pytest.param("TW " * 6 + "KR TW JP TW", id="then one that is changed, in a row with one that is not"),
        pytest.param("KR " * 6 + "TW KR JP TW", id="the other way round"),
        pytest.param("TW KR " * 9, id="by turns"),
    ],
)
def test_records_that_look_alike_leave_each_as_it_may(countries: str) -> None:
    named = enumerate(countries.split())
    expected = [
        {"name": None if country == "KR" else f"N{at}", "country": country} for at, country in named if country != "JP"
    ]
    assert run(countries) == expected


# Another bundle, before the API has answered.


def test_a_country_in_the_answers_head_is_judged_by_the_bundle_in_force_when_it_comes() -> None:
    drive = Drive()
    assert drive.ask("/v1/headed").forward is not None
    stricter = a_checkpoint(people_bundle("  - {id: not-now, effect: deny, when: {subject.country: TW}}\n"))
    assert not drive.passage.is_denied_under(stricter, NOW), "it may still be about somebody else"
    came = drive.answer(b"{}", head=(JSON, ("X-Subject-Country", "TW")))
    assert (came.status, came.reason, came.body) == (403, "rule-denies", b"")


# A search by what nobody declared.


@pytest.mark.parametrize("field", [("Content-Length", "13"), ("Transfer-Encoding", "chunked")])
def test_a_body_of_a_get_searches_nothing_where_records_are_hidden(field: tuple[str, str]) -> None:
    assert Drive().ask("/v1/people", field).reason == "body-undeclared"


def test_where_nothing_is_hidden_or_the_body_is_empty_it_passes() -> None:
    assert Drive().ask("/v1/people", ("Content-Length", "13"), who="data-team").forward is not None
    assert Drive().ask("/v1/people", ("Content-Length", "0")).forward is not None


POSTED: Final = """\
      - id: posted
        methods: [POST]
        path: /v1/posted
        action: read
        reads_only: {by: users-team, review_by: 2027-06-30}
        subject: {records: "$.people[*]", country: "$.country"}
        fields: {"$.name": user.name}
        envelope: {"$.next": {cursor: after}}
        searchable_by: [name, after]
"""
FORM: Final = ("Content-Type", "application/x-www-form-urlencoded")
SEARCHES: Final[dict[str, tuple[tuple[str, str], bytes, str]]] = {
    "a member that is listed": (JSON, b'{"name": {"like": "Sato"}}', ""),
    "nothing in it": (JSON, b"{}", ""),
    "a member that is not": (JSON, b'{"name": "Sato", "phone": "090"}', "body-undeclared"),
    "the same in other letters": (JSON, b'{"Name": "Sato"}', "body-undeclared"),
    "a cursor that nobody sealed": (JSON, b'{"after": "294"}', "body-undeclared"),
    "a list of searches": (JSON, b'[{"name": "Sato"}]', "body-undeclared"),
    "a name twice": (JSON, b'{"name": "a", "name": "b"}', "body-malformed"),
    "no JSON": (JSON, b"name=Sato", "body-malformed"),
    "a field of a form that is listed": (FORM, b"name=Sato", ""),
    "one that is not": (FORM, b"name=Sato&sort=phone", "body-undeclared"),
    "one that is encoded for no reason": (FORM, b"n%61me=Sato", "body-malformed"),
    "another type": (("Content-Type", "application/graphql"), b"{users {name}}", "body-type-unsupported"),
}


@pytest.mark.parametrize(("type_", "body", "reason"), SEARCHES.values(), ids=SEARCHES)
def test_a_body_searches_by_what_may_be_searched_by(type_: tuple[str, str], body: bytes, reason: str) -> None:
    drive = Drive(a_checkpoint(people_bundle(apis=APIS + POSTED)))
    came = drive.ask("/v1/posted", type_, ("Content-Length", str(len(body))), method="POST", body=body)
    assert (came.reason or "", came.forward is not None) == (reason, not reason)


def test_who_may_see_all_searches_by_whatever_there_is() -> None:
    drive = Drive(a_checkpoint(people_bundle(apis=APIS + POSTED)))
    body = b'{"phone": "090"}'
    came = drive.ask("/v1/posted", JSON, ("Content-Length", str(len(body))), who="data-team", method="POST", body=body)
    assert came.forward is not None


# Claims about several people at once.

PAIRS: Final = """\
      - id: pairs
        methods: [POST]
        path: /v1/pairs
        action: read
        reads_only: {by: users-team, review_by: 2027-06-30}
        subject:
          country: {body: "$.of[*].country"}
          id: {body: "$.of[*].id"}
          confirm: "$.country"
          records: "$.people[*]"
        fields: {"$.name": user.name, "$.country": user.country}
        searchable_by: []
"""
NOT_KEN: Final = "  - {id: not-ken, effect: deny, when: {subject.country: KR, subject.id: ken}}\n"


def test_a_claim_about_one_is_not_confirmed_by_a_record_of_another() -> None:
    checkpoint = a_checkpoint(people_bundle(NOT_KEN, apis=APIS + PAIRS))
    swapped = b'{"of": [{"id": "ken", "country": "TW"}, {"id": "lin", "country": "KR"}]}'
    length = ("Content-Length", str(len(swapped)))
    came = Drive(checkpoint).ask("/v1/pairs", JSON, length, method="POST", body=swapped)
    assert came.reason == "rule-denies", "who is claimed for Taiwan may be the one who must not be read in Korea"


# Values that cost more than they weigh.


@pytest.mark.parametrize("value", [b"[]", b"{}", b"1", b'""', b'{"a":[]}'])
def test_a_record_of_very_many_small_values_is_too_large(value: bytes) -> None:
    made = make_filter(PAGED, TableJudge(TABLE), Treatment(name=name_value, seal=seal_cursor, hides=True))
    made.feed(b'{"users":[{"country":"TW","x":[' + b",".join([value] * 20_000))
    tracemalloc.start()
    with pytest.raises(AnswerRefusedError) as caught:
        made.feed((b"," + value) * 100_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.reason is Reason.ANSWER_RECORD_TOO_LARGE
    assert peak < 16 << 20, "of a record of at most one MiB"


# Searching where the request says whose data it is.


@pytest.mark.parametrize("who", ["staff", "data-team"])
def test_a_claim_is_no_way_to_search_others(who: str) -> None:
    """One of another country would show by a refusal, whoever the caller claims to search."""
    assert Drive().ask("/v1/tw/claimed?phone=1", who=who).reason == "query-undeclared"


MASKED: Final = """\
      - id: masked
        methods: [GET]
        path: /v1/{country}/masked
        action: read
        subject:
          country: "{country}"
          records: "$.people[*]"
          authoritative: {by: users-team, review_by: 2027-06-30}
        parameters: {country: "[a-z]{2}"}
        fields: {"$.name": user.name, "$.phone": user.contact.phone_number, "$.country": user.country}
        searchable_by: [name]
"""


@pytest.mark.parametrize(
    ("target", "why"),
    [
        pytest.param("/v1/kr/masked?name=a", None, id="by what may be searched by"),
        pytest.param("/v1/kr/masked?phone=1", "query-undeclared", id="by what is masked"),
        pytest.param("/v1/tw/masked?phone=1", None, id="where nothing is masked"),
    ],
)
def test_what_is_masked_is_not_found_by_probing(target: str, why: str | None) -> None:
    assert Drive(a_checkpoint(people_bundle(apis=APIS + MASKED))).ask(target).reason == why
