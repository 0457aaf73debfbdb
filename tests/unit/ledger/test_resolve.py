# SPDX-License-Identifier: Apache-2.0
"""Who it was: candidates are found under the keys of the ring, nobody else is, and nobody after a key is erased."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.pseudonym import KeyRing
from proxy.ledger.resolve import MAX_NAMES, Candidate, Resolver, Role, parse_candidate

RING = KeyRing(b"s" * 32, {"2026-10": b"o" * 32, "2026-11": b"n" * 32, "2026-12": b"d" * 32})
ALICE, BOB = parse_candidate("corp|alice"), parse_candidate("corp|bob")
USER = parse_candidate("users:42")


def who(name: str, period: str = "2026-11") -> str:
    return RING.names[period].of_caller(name)


def whose(name: str, period: str = "2026-11") -> str:
    return RING.names[period].of_subject("users", name)


def a_line(number: int = 1, time: str = "2026-11-22T06:04:01.123Z", line: str = "decision", **fields: Any) -> bytes:
    return json.dumps({"n": number, "time": time, "line": line, "id": f"D{number}", **fields}).encode()


def look(lines: list[bytes], *candidates: Candidate, ring: KeyRing = RING, **options: Any) -> Resolver:
    resolver = Resolver(ring, candidates, **options)
    for line in lines:
        resolver.look(line)
    return resolver


CANDIDATES = {
    "a caller": ("corp|alice", False, "", ""),
    "a data subject": ("users:42", True, "users", "42"),
    "a caller with a colon in the name": ("corp|user:42", False, "", ""),
    "a workload": ("mesh|spiffe://ly.example/api", False, "", ""),
    "a data subject with a bar in the id": ("users:a|b", True, "users", "a|b"),
    "a data subject with a colon in the id": ("users:a:b", True, "users", "a:b"),
    "a name with blanks": ("corp|Alice A.", False, "", ""),
}


@pytest.mark.parametrize(("text", "is_subject", "api", "id_"), CANDIDATES.values(), ids=CANDIDATES.keys())
def test_a_candidate_is(text: str, is_subject: bool, api: str, id_: str) -> None:  # noqa: FBT001
    assert parse_candidate(text) == Candidate(text, is_subject=is_subject, api=api, id=id_)


@pytest.mark.parametrize("text", ["", "alice", "|alice", "corp|", ":42", "users:", "|", ":"])
def test_a_candidate_is_not(text: str) -> None:
    with pytest.raises(ValueError, match=r"is neither ISSUER\|SUBJECT, such as corp\|alice, nor API:ID"):
        parse_candidate(text)


APPEARS: dict[str, tuple[Candidate, dict[str, Any], Role, str]] = {
    "as a caller": (ALICE, {"caller": {"who": who("corp|alice")}}, Role.CALLER, "2026-11"),
    "as somebody for whom another acts": (
        ALICE, {"caller": {"who": "", "on_behalf_of": {"who": who("corp|alice")}}}, Role.PERSON, "2026-11"),
    "as a data subject": (USER, {"subject": {"country": "JP", "id": whose("42")}}, Role.SUBJECT, "2026-11"),
    "in an answer": (
        USER, {"content": {"seen": 3, "subject_ids": [whose("1"), whose("42")]}}, Role.CONTENT, "2026-11"),
    "under the key of another month": (
        ALICE, {"caller": {"who": who("corp|alice", "2026-10")}}, Role.CALLER, "2026-10"),
    "in clear": (ALICE, {"caller": {"who": "corp|alice"}}, Role.CALLER, "clear"),
}  # fmt: skip


@pytest.mark.parametrize(("candidate", "fields", "role", "period"), APPEARS.values(), ids=APPEARS.keys())
def test_a_candidate_appears(candidate: Candidate, fields: dict[str, Any], role: Role, period: str) -> None:
    (found,) = look([a_line(**fields), a_line(2)], candidate).appearances()
    assert (found.candidate, found.role, found.count) == (candidate, role, 1)
    assert found.first == found.last == "2026-11-22T06:04:01.123Z"
    assert (found.ids, found.periods) == (["D1"], {period: 1})


ABSENT: dict[str, dict[str, Any]] = {
    "nobody": {},
    "somebody else": {"caller": {"who": who("corp|bob")}},
    "a data subject of that hash": {"subject": {"id": f"users:{who('corp|alice')}"}},
    "a caller of a subject's hash": {"caller": {"who": whose("42").partition(":")[2]}},
    "a subject that is not known": {"subject": {"id": "unknown"}},
    "the name under which grants know a subject": {"subject": {"id": RING.subjects.of_subject("users", "42")}},
}


@pytest.mark.parametrize("fields", ABSENT.values(), ids=ABSENT.keys())
def test_no_candidate_appears_where_there_is(fields: dict[str, Any]) -> None:
    assert look([a_line(**fields)], ALICE, USER).appearances() == []


def test_what_was_found_is_counted_from_first_to_last_and_names_the_first_decisions() -> None:
    caller = {"who": who("corp|alice")}
    lines = [a_line(n, f"2026-11-22T06:04:0{n}.000Z", caller=caller) for n in range(1, 6)]
    later = a_line(6, "2026-12-01T00:00:00.000Z", caller={"who": who("corp|alice", "2026-12")})
    (found,) = look([*lines, later], ALICE, limit=2).appearances()
    assert (found.count, found.ids) == (6, ["D1", "D2"])
    assert (found.first, found.last) == ("2026-11-22T06:04:01.000Z", "2026-12-01T00:00:00.000Z")
    assert found.periods == {"2026-11": 5, "2026-12": 1}


def test_a_stream_that_tells_of_a_subject_with_each_part_is_one_decision() -> None:
    content: dict[str, Any] = {"content": {"seen": 9, "subject_ids": [whose("42")]}}
    parts = [a_line(7, line="released", **content) for _ in range(3)]
    (found,) = look([a_line(7), *parts, a_line(8, line="released", **content)], USER).appearances()
    assert (found.count, found.ids) == (2, ["D7", "D8"])


def test_candidates_come_in_the_order_they_were_asked_for_once_each() -> None:
    lines = [a_line(n, caller={"who": who(name)}) for n, name in enumerate(("corp|alice", "corp|bob"))]
    found = look(lines, BOB, ALICE, BOB).appearances()
    assert [each.candidate for each in found] == [BOB, ALICE]


def test_one_decision_alone_is_looked_at() -> None:
    alice, bob = {"who": who("corp|alice")}, {"who": who("corp|bob")}
    lines = [a_line(1, caller=alice), a_line(2, caller=bob, subject={"id": whose("42")}), a_line(3, caller=alice)]
    resolver = look(lines, ALICE, USER, decision="D2")
    assert [(each.candidate, each.role) for each in resolver.appearances()] == [(USER, Role.SUBJECT)]
    assert resolver.others == {Role.CALLER: 1}, "somebody called, who is none of the candidates"
    assert resolver.decisions == 1
    assert look(lines, ALICE, decision="D9").decisions == 0


def test_an_erased_key_leaves_the_lines_and_takes_whom_they_name() -> None:
    lines = [a_line(1, "2026-10-05T00:00:00.000Z", caller={"who": who("corp|alice", "2026-10")}),
             a_line(2, caller={"who": who("corp|alice")})]  # fmt: skip
    before = list(lines)
    assert look(lines, ALICE).appearances()[0].count == 2
    resolver = look(lines, ALICE, ring=RING.without("2026-10"))
    assert resolver.appearances()[0].ids == ["D2"]
    assert resolver.unnamed == {"2026-10": 1}, "and it is said that there are such records"
    assert lines == before


def test_a_keys_line_says_by_which_key_people_are_named_from_there_on() -> None:
    named: dict[str, Any] = {"caller": {"who": "0" * 32}}
    clear: dict[str, Any] = {"caller": {"who": "corp|alice"}}
    before, after = (a_line(line="keys", pseudonyms=period) for period in ("2026-09", "2026-11"))
    lines = [before, a_line(1, **named), a_line(2), a_line(3, **clear), after, a_line(4, **named)]
    assert look(lines, ALICE).unnamed == {"2026-09": 1}


DAMAGED = {
    "no JSON": b"{",
    "no object": b"[]",
    "another text": b"hello",
    "no line": b'{"n":1}',
    "no UTF-8": b'{"line":"decision","id":"\xff"}',
    "a caller that is none": b'{"line":"decision","caller":[]}',
    "nothing": b"",
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED.keys())
def test_what_cannot_be_read_is_counted_and_the_rest_is_looked_at(line: bytes) -> None:
    resolver = look([line, a_line(caller={"who": who("corp|alice")})], ALICE)
    assert resolver.damaged == 1
    assert resolver.appearances()[0].count == 1


@given(st.binary() | st.text().map(str.encode))
def test_no_line_ends_the_search(line: bytes) -> None:
    assert look([line], ALICE).appearances() == []


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, min_size=2, max_size=6), st.data())
def test_exactly_who_called_is_found(names: list[str], data: Any) -> None:
    candidates = [parse_candidate(f"corp|{name}") for name in names]
    callers = data.draw(st.lists(st.sampled_from(names)))
    period = data.draw(st.sampled_from(RING.periods))
    lines = [a_line(n, caller={"who": who(f"corp|{name}", period)}) for n, name in enumerate(callers)]
    found = {each.candidate.text: each.count for each in look(lines, *candidates).appearances()}
    assert found == {f"corp|{name}": callers.count(name) for name in callers}
    assert look(lines, *candidates, ring=RING.without(period)).appearances() == []


def test_more_names_than_memory_holds_are_refused() -> None:
    many = (parse_candidate(f"corp|{number}") for number in range(MAX_NAMES // 3 + 1))
    with pytest.raises(ValueError, match="split the list"):
        Resolver(RING, many)
