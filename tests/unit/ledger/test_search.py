# SPDX-License-Identifier: Apache-2.0
"""How decisions are found among lines, and what the parts and the end of an answer add to each."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from proxy.clock import render_instant
from proxy.ledger import search as module
from proxy.ledger.contents import MAX_NAMED, Contents
from proxy.ledger.lines import ContentRecorded, EndLine, Line, RefusalsLine, ReleasedLine, StartLine, StopLine
from proxy.ledger.query import Filter, find_value, find_words
from proxy.ledger.search import Search
from tests.support.ledger_lines import BEGAN, a_decision, an_allowance, an_end, as_row


def search(asked: Filter, lines: Iterable[Line], seconds: float = 1.0) -> tuple[list[dict[str, Any]], Search]:
    """Return the rows that are found among lines, so many seconds apart."""
    found = Search(asked, json.loads)
    rows = []
    for n, line in enumerate(lines):
        row = as_row(line, n, BEGAN + n * seconds)
        data = json.dumps(row, separators=(",", ":")).encode()
        if not found.is_dismissed(data):
            rows += list(found.take(row["line"].encode(), row["time"], data, data))
    return rows + list(found.finish()), found


# The end of each.


def test_what_the_end_says_stands_beside_the_decision() -> None:
    allowed = an_allowance()
    rows, _ = search(Filter(), [allowed, an_end(allowed.id, complete=False, reason="client-gone", upstream=200)])
    names = ("bytes", "seconds", "complete", "upstream", "end_reason", "end_n")
    assert [find_value(rows[0], name) for name in names] == [512, 0.012, False, 200, "client-gone", 1]


def test_an_end_without_bytes_says_none_left() -> None:
    allowed = an_allowance()
    rows, _ = search(Filter(), [allowed, EndLine(id=allowed.id, complete=False)])
    assert (find_value(rows[0], "bytes"), find_value(rows[0], "status")) == (0, 200)


@pytest.mark.parametrize(("said", "told"), [pytest.param(7, 7, id="a tunnel"), pytest.param(0, 0, id="nothing")])
def test_what_came_through_a_tunnel_stands_beside_the_decision(said: int, told: int) -> None:
    allowed = an_allowance()
    rows, _ = search(Filter(), [allowed, an_end(allowed.id, bytes_in=said)])
    assert find_value(rows[0], "bytes_in") == told


def test_a_request_under_way_has_no_bytes() -> None:
    rows, _ = search(Filter(), [an_allowance()])
    assert find_words(rows[0], "bytes") == find_words(rows[0], "bytes_in") == find_words(rows[0], "complete") == ("",)


def test_rows_keep_the_order_of_their_decisions() -> None:
    first, second, third = (an_allowance() for _ in range(3))
    denied = a_decision()
    ends = [an_end(third.id), an_end(first.id), an_end(second.id)]
    rows, _ = search(Filter(), [first, denied, second, third, *ends])
    assert [row["id"] for row in rows] == [first.id, denied.id, second.id, third.id]
    assert all(row["bytes"] == 512 for row in rows if row["effect"] == "allow")


def test_one_whose_end_is_long_in_coming_lets_others_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 10)
    stream = an_allowance()
    denials = [a_decision() for _ in range(50)]
    rows, _ = search(Filter(), [stream, *denials, an_end(stream.id)])
    assert [row["id"] for row in rows if row["effect"] == "deny"] == [line.id for line in denials]
    assert rows.index(next(row for row in rows if row["id"] == stream.id)) > 30
    assert all(row["bytes"] == 512 for row in rows if row["id"] == stream.id)


def test_memory_is_bounded_where_no_end_ever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 10)
    monkeypatch.setattr(module, "MAX_WAITING", 20)
    found, rows = Search(Filter(), json.loads), []
    for n in range(200):
        row = as_row(an_allowance(), n)
        rows += list(found.take(b"decision", row["time"], b"", json.dumps(row)))
        assert len(found._held) <= 21
    assert [row["n"] for row in rows + list(found.finish())] == list(range(200))


def test_a_gateway_that_starts_ends_what_the_one_before_left_open() -> None:
    found = Search(Filter(), json.loads)
    start = StartLine(version="1", durability="written", geolocation="", upstreams={}, key_places={})
    assert list(found.take(b"decision", "t", b"", json.dumps(as_row(an_allowance())))) == []
    assert len(list(found.take(b"start", "t", b"", json.dumps(as_row(start))))) == 1


def test_an_answer_that_was_in_hand_and_broke_off_says_so() -> None:
    whole, broken = (an_allowance(complete=True, bytes=9, seconds=0.5) for _ in range(2))
    rows, _ = search(Filter(), [whole, broken, an_end(broken.id, complete=False, bytes=4), StopLine()])
    assert [(row["complete"], row["bytes"]) for row in rows] == [(True, 9), (False, 4)]


def test_an_update_whose_answer_broke_off_behind_its_end_says_so() -> None:
    whole, broken = (an_allowance(action="update") for _ in range(2))
    ends = [an_end(whole.id, complete=True, bytes=9), an_end(broken.id, complete=True, bytes=9)]
    rows, _ = search(Filter(), [whole, broken, *ends, an_end(broken.id, complete=False, bytes=4), StopLine()])
    assert [(row["complete"], row["bytes"]) for row in rows] == [(True, 9), (False, 4)]


def test_an_answer_that_was_in_hand_is_not_waited_for_forever() -> None:
    found = Search(Filter(), json.loads)
    row = as_row(an_allowance(complete=True, bytes=9))
    assert list(found.take(b"decision", row["time"], b"", json.dumps(row))) == []
    assert list(found.take(b"stop", render_instant(BEGAN + 599), b"", b"{}")) == []
    assert len(list(found.take(b"stop", render_instant(BEGAN + 600), b"", b"{}"))) == 1


def test_ends_of_what_was_not_asked_for_change_nothing() -> None:
    rows, _ = search(Filter(effects=frozenset({"deny"})), [a_decision(), an_end("somebody-else"), a_decision()])
    assert ["end" in row for row in rows] == [False, False]


FLOODS = [
    pytest.param(Filter(), 7, id="everything"),
    pytest.param(Filter(effects=frozenset({"deny"})), 7, id="denials"),
    pytest.param(Filter(effects=frozenset({"allow"})), 0, id="allowances"),
    pytest.param(Filter({"reason": frozenset({"token-missing"})}), 7, id="a reason"),
    pytest.param(Filter({"affiliate": frozenset({"ly"})}), 0, id="a known affiliate"),
    pytest.param(Filter(since=render_instant(BEGAN + 9)), 0, id="another time"),
]


@pytest.mark.parametrize(("asked", "expected"), FLOODS)
def test_refusals_that_a_flood_left_as_a_count_are_told_beside(asked: Filter, expected: int) -> None:
    flood = RefusalsLine(ip="192.0.2.1", count=7, reasons={"token-missing": 7}, since="s", until="u")
    assert search(asked, [flood])[1].uncounted == expected


def test_what_cannot_be_decoded_is_passed_by() -> None:
    found = Search(Filter(), lambda _: None)
    for kind in (b"decision", b"end", b"refusals", b"start", b"new"):
        assert list(found.take(kind, "t", b"", None)) == []
    assert (found.found, found.uncounted, list(found.finish())) == (0, 0, [])


# The parts of each.

ANNA, BELA, CORA = "users:" + "a" * 32, "users:" + "b" * 32, "users:" + "c" * 32


def a_part(request_id: str, bytes_: int, **content: Any) -> ReleasedLine:
    return ReleasedLine(id=request_id, bytes=bytes_, content=ContentRecorded(**content))


def an_answer_in_parts(*, end: bool = True) -> list[Line]:
    """Return the lines of an answer of two parts: four records of three people, two of them dropped."""
    allowed = an_allowance()
    lines: list[Line] = [
        allowed,
        a_part(allowed.id, 10, seen=2, subjects=2, subject_ids=(ANNA, BELA), left={"TW": 2}),
        a_part(
            allowed.id, 20, seen=4, dropped=2, masked=1, subjects=2, subject_ids=(BELA, CORA), left={"TW": 1, "KR": 1},
            kept_back={"CN": 2}, rules={"jp-no-china": 2, "kr-masked": 1},
        ),
    ]  # fmt: skip
    whole = ContentRecorded(
        seen=6, dropped=2, masked=1, left={"TW": 3, "KR": 1}, kept_back={"CN": 2},
        rules={"jp-no-china": 2, "kr-masked": 1},
    )  # fmt: skip
    return [*lines, an_end(allowed.id, content=whole)] if end else lines


@pytest.mark.parametrize("end", [True, False], ids=["with its end", "while it is under way"])
def test_what_was_found_in_parts_stands_beside_the_decision(end: bool) -> None:  # noqa: FBT001 - a table's column
    (row,), _ = search(Filter(), an_answer_in_parts(end=end))
    assert row["content"] == {
        "seen": 6, "dropped": 2, "masked": 1, "left": {"TW": 3, "KR": 1}, "kept_back": {"CN": 2},
        "rules": {"jp-no-china": 2, "kr-masked": 1}, "subjects": 3, "subject_ids": [ANNA, BELA, CORA],
    }  # fmt: skip
    assert "content" not in row.get("end", {})


def test_what_the_end_counts_of_records_goes_before_what_parts_say() -> None:
    first, *_, part, end = an_answer_in_parts()
    (row,), _ = search(Filter(), [first, part, end])
    assert (find_value(row, "records_seen"), find_value(row, "subjects")) == (6, 2)


def test_what_was_found_in_an_answer_in_hand_stays_where_it_broke_off_after_all() -> None:
    content = ContentRecorded(seen=3, subjects=1, subject_ids=(ANNA,))
    whole = an_allowance(complete=True, bytes=9, content=content)
    (row,), _ = search(Filter(), [whole, an_end(whole.id, complete=False, bytes=4)])
    assert (row["content"], row["complete"]) == ({"seen": 3, "subjects": 1, "subject_ids": [ANNA]}, False)


def test_people_beyond_those_that_are_named_are_counted() -> None:
    contents = Contents()
    contents.add({"seen": 9, "subjects": 9, "subject_ids": [ANNA, BELA]})
    contents.add({"seen": 9, "subjects": 2, "subject_ids": [ANNA, BELA]})
    assert (contents.sum_up()["subjects"], contents.sum_up()["subject_ids"]) == (9, [ANNA, BELA])


def test_people_that_are_held_are_bounded() -> None:
    contents = Contents()
    contents.add({"seen": 1, "subjects": MAX_NAMED, "subject_ids": [f"{n:032x}" for n in range(MAX_NAMED)]})
    contents.add({"seen": 1, "subjects": 2, "subject_ids": [ANNA, f"{0:032x}"]})
    said = contents.sum_up()
    assert (said["subjects"], len(said["subject_ids"])) == (MAX_NAMED + 1, MAX_NAMED)


FOUND_IN_PARTS = [
    pytest.param({"subject": {CORA}}, True, id="a person among others"),
    pytest.param({"subject": {CORA[6:14]}}, True, id="the beginning of a pseudonym"),
    pytest.param({"subject": {"users:" + "d" * 32}}, False, id="a person whose record did not leave"),
    pytest.param({"subject_country": {"CN"}}, True, id="a country whose records were kept back"),
    pytest.param({"subject_country": {"KR"}}, True, id="a country whose records left"),
    pytest.param({"subject_country": {"DE"}}, False, id="a country of which there was no record"),
    pytest.param({"rule": {"kr-masked"}}, True, id="a rule that masked records"),
    pytest.param({"rule": {"other"}}, False, id="a rule that had no part in it"),
    pytest.param({"rule": {"kr-masked"}, "subject": {CORA}}, True, id="both"),
    pytest.param({"rule": {"kr-masked"}, "api": {"accounts"}}, False, id="one of two things"),
]


@pytest.mark.parametrize(("wanted", "is_found"), FOUND_IN_PARTS)
def test_a_decision_is_found_by_what_its_parts_held(wanted: dict[str, set[str]], is_found: bool) -> None:  # noqa: FBT001
    asked = Filter({name: frozenset(values) for name, values in wanted.items()})
    others = [a_decision(), an_allowance(complete=True), an_allowance()]
    for end in (True, False):
        rows, found = search(asked, [*others, *an_answer_in_parts(end=end), *others])
        assert (len(rows), found.found) == (is_found, is_found)


def test_parts_of_what_was_not_asked_for_and_parts_that_say_nothing_change_nothing() -> None:
    allowed = an_allowance()
    rows, _ = search(Filter(), [allowed, a_part("somebody-else", 3, seen=3), ReleasedLine(id=allowed.id, bytes=5)])
    assert ["content" in row for row in rows] == [False]
    assert find_words(rows[0], "records_subjects") == ("",)
