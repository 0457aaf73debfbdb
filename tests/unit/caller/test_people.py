# SPDX-License-Identifier: Apache-2.0
import math
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.caller.people import (
    COLUMNS,
    REST,
    Engagement,
    PeopleInRows,
    PersonEntry,
    check_people,
    compute_people,
    make_columns,
    order_rows,
)
from proxy.model.facts import UNKNOWN, FactSet

ISSUERS = frozenset({"corp", "login"})
AFFILIATES = frozenset({"ly", "shanghai-digital"})
LAW = {column.name: column for column in make_columns(ISSUERS, AFFILIATES)}

CHERRY = "2020-04-01T00:00:00+09:00"
MAPLE = "2021-10-01T00:00:00+09:00"


def a_person(**values: Any) -> PersonEntry:
    return PersonEntry.model_validate({"issuer": "corp", "subject": "e-1", **values})


def test_a_table_has_the_keys_of_an_entry() -> None:
    fields = [field.alias or name for name, field in PersonEntry.model_fields.items()]
    assert tuple(fields) == COLUMNS == tuple(LAW)


CELLS = {
    "an affiliate": ("affiliate", "ly", "ly"),
    "a kind": ("kind", "contractor", "contractor"),
    "a country": ("site_country", "JP", "JP"),
    "one citizenship": ("citizenships", "JP", FactSet(frozenset({"JP"}))),
    "two citizenships": ("citizenships", "JP;KR", FactSet(frozenset({"JP", "KR"}))),
    "an instant": ("from", "1970-01-01T09:00:01+09:00", 1.0),
    "the first instant there is, east of Greenwich": ("from", "0001-01-01T00:00:00+23:59", -62135683140.0),
    "a subject that looks like a formula": ("subject", '=HYPERLINK("https://x")', '=HYPERLINK("https://x")'),
    "a subject in another script": ("subject", "佐藤", "佐藤"),
    "a subject with a space inside": ("subject", "sato k", "sato k"),
}


@pytest.mark.parametrize(("column", "text", "value"), CELLS.values(), ids=CELLS)
def test_a_cell_means_what_is_written(column: str, text: str, value: object) -> None:
    assert LAW[column].parse(text) == value


WRONG_CELLS = {
    "an issuer that is not declared": ("issuer", "crop", "no issuer 'crop' (did you mean 'corp'?)"),
    "an affiliate that is not declared": ("affiliate", "shanghai", "did you mean 'shanghai-digital'?"),
    "an affiliate in upper case": ("affiliate", "LY", "no affiliate 'LY'"),
    "a kind that does not exist": ("kind", "employe", "did you mean 'employee'?"),
    "a country by its name": ("residence", "Japan", "write JP (Japan)"),
    "a country in lower case": ("residence", "jp", "write JP (upper case)"),
    "a country that is a formula": ("site_country", "=A1", "'=A1' is no ISO 3166-1 country code"),
    "a country with a space": ("site_country", "JP ", "write JP"),
    "citizenships with a comma": ("citizenships", "JP,KR", "several stand as JP;KR"),
    "a citizenship too many": ("citizenships", "JP;", "'' is no ISO 3166-1 country code"),
    "a day without a time": ("from", "2020-04-01", "RFC 3339"),
    "an instant without an offset": ("until", "2020-04-01T00:00:00", "RFC 3339"),
    "a day that does not exist": ("until", "2021-02-29T00:00:00Z", "no day or time that exists"),
    "a day as a spreadsheet writes it": ("from", "4/1/20", "RFC 3339"),
    "a very long instant": ("from", "2020-04-01T00:00:00Z" * 9, "RFC 3339"),
    "a subject with a line end": ("subject", "e-1\n", "U+000A"),
    "a subject with NUL": ("subject", "e\0", "U+0000"),
    "a subject with a zero-width space": ("subject", "e\u200b1", "U+200B"),
    "a subject with a byte order mark": ("subject", "\ufeffe-1", "U+FEFF"),
    "a subject behind a space": ("subject", " e-1", "a space"),
    "a subject before a space": ("subject", "e-1 ", "a space"),
    "a subject too long": ("subject", "e" * 256, "longer than 255"),
}


@pytest.mark.parametrize(("column", "text", "words"), WRONG_CELLS.values(), ids=WRONG_CELLS)
def test_a_cell_that_means_nothing_is_told_with_the_mend(column: str, text: str, words: str) -> None:
    assert LAW[column].parse(text) is None
    assert words in LAW[column].explain(text)


def test_a_subject_is_never_repeated_in_what_is_told() -> None:
    for text in ("alice\0", " alice", "alice" * 99):
        assert "alice" not in LAW["subject"].explain(text)


def test_an_empty_cell_is_unknown_and_an_interval_without_an_end_has_none() -> None:
    empty = {name: column.empty for name, column in LAW.items()}
    unknown = dict.fromkeys(("affiliate", "kind", "site_country", "residence", "citizenships"), UNKNOWN)
    assert empty == {"issuer": None, "subject": None, **unknown, "from": -math.inf, "until": math.inf}


def test_the_nearest_of_very_many_ids_is_found() -> None:
    many = frozenset(f"a-{number}" for number in range(100_000))
    column = next(column for column in make_columns(ISSUERS, many) if column.name == "affiliate")
    assert "did you mean" in column.explain("a-99999x")


WRONG_ENTRIES = {
    "no subject": {"subject": ""},
    "a subject behind a space": {"subject": " e-1"},
    "a kind that does not exist": {"kind": "boss"},
    "citizenships that are none": {"citizenships": []},
    "a country that does not exist": {"citizenships": ["JP", "XX"]},
    "a day without a time": {"from": "2020-04-01"},
    "a key that does not exist": {"email": "a@example.jp"},
}


@pytest.mark.parametrize("values", WRONG_ENTRIES.values(), ids=WRONG_ENTRIES)
def test_an_entry_that_is_wrong(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        a_person(**values)


@pytest.mark.parametrize(
    ("values", "key", "words"),
    [
        pytest.param({"issuer": "crop"}, "issuer", "did you mean 'corp'", id="an issuer that is not declared"),
        pytest.param({"affiliate": "lyy"}, "affiliate", "'ly'", id="an affiliate that is not declared"),
        pytest.param({"from": MAPLE, "until": CHERRY}, "until", "never be in force", id="an end before the begin"),
        pytest.param({"from": MAPLE, "until": MAPLE}, "until", "never be in force", id="an end at the begin"),
    ],
)
def test_entries_are_checked_across_registers(values: dict[str, Any], key: str, words: str) -> None:
    (problem,) = check_people([a_person(), a_person(**values)], ISSUERS, AFFILIATES)
    assert problem.path == (1, key)
    assert words in problem.message


def test_people_are_found_by_issuer_and_subject_byte_for_byte() -> None:
    people = compute_people([a_person(affiliate="ly", kind="employee", citizenships=["JP"])], ["people.yaml:2"])
    expected = Engagement(
        "ly", "employee", UNKNOWN, UNKNOWN, FactSet(frozenset({"JP"})), -math.inf, math.inf, "people.yaml:2"
    )
    assert people.find("corp", "e-1") == (expected,)
    for issuer, subject in (("corp", "E-1"), ("login", "e-1"), ("corp", "e-1 "), ("corp", ""), ("", "e-1")):
        assert people.find(issuer, subject) == ()


def test_engagements_come_the_earliest_first() -> None:
    entries = [a_person(kind="employee", **{"from": MAPLE}), a_person(kind="contractor", until=MAPLE)]
    found = compute_people(entries, ["b", "a"]).find("corp", "e-1")
    assert [each.kind for each in found] == ["contractor", "employee"]
    assert found[0].until == found[1].since


class Held:
    """Rows of a table, held in memory."""

    def __init__(self, *rows: tuple[str, ...]) -> None:
        self.rows = rows

    def find(self, key: str, qualifier: str, /) -> Sequence[tuple[str, ...]]:
        return [row[2:] for row in self.rows if row[:2] == (key, qualifier)]


def test_rows_of_a_file_are_read_by_the_same_law() -> None:
    rest = {**dict.fromkeys(REST, ""), "affiliate": "ly", "citizenships": "JP;KR", "until": MAPLE}
    later = {**dict.fromkeys(REST, ""), "from": MAPLE}
    people = PeopleInRows(Held(("e-1", "corp", *later.values(), "p:3"), ("e-1", "corp", *rest.values(), "p:2")))
    both = [a_person(affiliate="ly", citizenships=["JP", "KR"], until=MAPLE), a_person(**{"from": MAPLE})]
    assert people.find("corp", "e-1") == compute_people(both, ["p:2", "p:3"]).find("corp", "e-1")
    assert pickle.loads(pickle.dumps(people)).find("corp", "e-2") == ()  # noqa: S301 - our own bytes


@pytest.mark.parametrize("column", ["site_country", "residence", "citizenships", "from", "until"])
def test_a_broken_cell_of_a_file_is_an_error_and_never_a_fact(column: str) -> None:
    rest = {**dict.fromkeys(REST, ""), column: "?"}
    people = PeopleInRows(Held(("e-1", "corp", *rest.values(), "people.csv:2")))
    with pytest.raises(ValueError, match="does not read as it was written"):
        people.find("corp", "e-1")


times = st.sampled_from([-math.inf, 0.0, 1.0, 2.0, 3.0, math.inf])
drawn = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0, 1]), times, times), max_size=8)


@given(drawn)
def test_overlaps_are_found_exactly_where_two_rows_hold_at_one_moment(
    found: list[tuple[str, int, float, float]],
) -> None:
    rows = [(*row, number) for number, row in enumerate(found) if row[2] < row[3]]
    overlapping = {
        one[-1]
        for one in rows
        for other in rows
        if one is not other and one[:2] == other[:2] and one[2] < other[3] and other[2] < one[3]
    }
    ordered = list(rows)
    told = order_rows(ordered, lambda row: (row[2], row[3]))
    assert sorted(ordered) == sorted(rows)
    assert [row[0] for row in ordered] == sorted(row[0] for row in rows)
    assert bool(told) == bool(overlapping)
    for one, other in told:
        assert {one[-1], other[-1]} <= overlapping
        assert one[2] < other[3]
        assert other[2] < one[3]
