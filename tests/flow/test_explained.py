# SPDX-License-Identifier: Apache-2.0
"""What ``explain`` and tests say of a list is what a passage does with it; what left in parts the ledger finds."""

import json
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.bundle.cases import CaseEntry
from proxy.clock import render_instant
from proxy.ledger.query import Filter
from proxy.ledger.search import Search
from proxy.lifecycle.cases import CaseResult, Cases
from proxy.origin.geoip import RegistryGeolocator
from tests.support.passages import NOW
from tests.support.people import (
    EVENTS,
    HOST,
    JSON,
    LINES,
    Drive,
    Register,
    a_checkpoint,
    mixed,
    people,
    people_bundle,
    person,
    play,
)
from tests.support.world import OFFICE

GROUPS: Final = {"staff": [], "data-team": ["data-team"], "support": ["support"]}
COUNTRIES: Final = st.sampled_from(["TW", "KR", "TH", "JP", "DE", "", "xx"])
RECORDS: Final = st.lists(st.tuples(COUNTRIES, st.sampled_from(["0312345", "1", ""])), min_size=1, max_size=6)


def _make_records(drawn: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [person(str(at), country or None) | {"phone": phone} for at, (country, phone) in enumerate(drawn)]


def _render(target: str, records: list[dict[str, Any]]) -> tuple[bytes, tuple[str, str]]:
    if target == "/v1/lines":
        return b"".join(json.dumps(each).encode() + b"\n" for each in records), LINES
    if target == "/v1/events":
        return b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in records), EVENTS
    return people(*records, total=len(records), page=1), JSON


def explain(target: str, body: bytes, who: str) -> CaseResult:
    """Run the case that says what a request of the passage's is."""
    caller = {"issuer": "corp", "id": "carol", "affiliate": "ly", "kind": "employee", "residence": "JP"}
    given = {
        "request": f"GET {target}",
        "host": HOST,
        "caller": {**caller, "groups": GROUPS[who]},
        "origin": {"ip": OFFICE},
        "at": render_instant(NOW),
        "answer": body.decode(),
    }
    case = CaseEntry.model_validate({"name": "a", "given": given, "expect": {"effect": "allow"}})
    return Cases(people_bundle(), RegistryGeolocator(), NOW).run(case)


NOBODY_KNOWS: Final = dict.fromkeys(map(str, range(100)), "?")
"""What a register says of ids that it does not have: explaining takes one that is kept elsewhere for such."""


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["/v1/people", "/v1/all-or-none", "/v1/lines", "/v1/events", "/v1/roster"]),
    RECORDS,
    st.sampled_from(sorted(GROUPS)),
)
def test_what_is_told_is_what_is_done(target: str, drawn: list[tuple[str, str]], who: str) -> None:
    body, head = _render(target, _make_records(drawn))
    result = explain(target, body, who)
    came = play(target, body, who=who, head=(head,), directory=Register(NOBODY_KNOWS))
    if came.reason is not None:
        assert "effect deny" in result.actual, (came.reason, result.actual)
        assert f"reason {came.reason}" in result.actual
        assert result.answer is None or result.answer.leaving is None
        return
    assert "effect deny" not in result.actual
    assert result.answer is not None
    assert result.answer.leaving == came.body.decode()
    if came.is_looked_into:
        said: list[dict[str, Any]] = [line["content"] for line in came.lines if "content" in line]
        content = said[-1] if said else {}
        told = [result.answer.count("left", "masked"), result.answer.count("dropped"), result.answer.count("masked")]
        seen, dropped, masked = (content.get(key, 0) for key in ("seen", "dropped", "masked"))
        assert told == [seen - dropped, dropped, masked]


def stream(*words: str) -> list[dict[str, Any]]:
    """Return the lines of an export that leaves in parts, a record in each."""
    drive = Drive(a_checkpoint(hold=0))
    drive.ask("/v1/lines")
    lines = [json.dumps(person(word[2:], word[:2])).encode() + b"\n" for word in words]
    drive.answer(*lines, head=(LINES,))
    end = drive.passage.end(complete=True, bytes_sent=len(drive.came.body), seconds=1.0)
    drive.take(end)
    return drive.came.lines


def find(lines: list[dict[str, Any]], **wanted: str) -> list[dict[str, Any]]:
    """Return what ``ledger query`` finds."""
    search = Search(Filter({name: frozenset({value}) for name, value in wanted.items()}), json.loads)
    rows = []
    for n, line in enumerate(lines):
        data = json.dumps({"n": n, "prev": "", "time": render_instant(NOW), **line}, separators=(",", ":")).encode()
        if not search.is_dismissed(data):
            rows += list(search.take(line["line"].encode(), render_instant(NOW), data, data))
    return rows + list(search.finish())


def test_what_left_in_parts_is_told_of_the_whole_answer() -> None:
    lines = stream("TW1", "JP2", "KR3", "TW1", "TH4")
    assert [line["line"] for line in lines].count("released") > 1, "it left in parts"
    (row,) = find(lines)
    assert row["content"].items() >= {
        "seen": 5, "dropped": 1, "masked": 2, "subjects": 3, "left": {"TW": 2, "KR": 1, "TH": 1},
        "kept_back": {"JP": 1},
    }.items()  # fmt: skip


@pytest.mark.parametrize(
    ("words", "is_found"),
    [
        pytest.param(("TW1", "KR3"), True, id="the record left"),
        pytest.param(("KR3", "KR4"), False, id="it did not come"),
        pytest.param(("KR3", "JP1"), False, id="it was dropped"),
    ],
)
def test_an_export_is_found_by_a_person_whose_record_left(words: tuple[str, ...], is_found: bool) -> None:  # noqa: FBT001
    (named,) = {each for row in find(stream("TW1")) for each in row["content"]["subject_ids"]}
    assert len(find(stream(*words), subject=named)) == is_found


def test_an_answer_in_hand_is_found_by_the_country_of_its_records() -> None:
    lines = play("/v1/people", mixed("TW1 JP2")).lines
    assert [len(find(lines, subject_country=country)) for country in ("TW", "JP", "DE")] == [1, 1, 0]
