# SPDX-License-Identifier: Apache-2.0
import csv
import io
from collections.abc import Iterable
from itertools import starmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.bundle import tables
from proxy.bundle.tables import MAX_TOLD, Sheet
from proxy.caller.people import COLUMNS, make_columns
from proxy.model.table import Column

HEADER = ",".join(COLUMNS)
GOOD = "corp,e-1,ly,employee,JP,JP,JP,,"


def a_sheet() -> Sheet:
    return Sheet(make_columns({"corp", "login"}, {"ly", "branch"}), "subject")


def read(*data: bytes | str) -> Sheet:
    sheet = a_sheet()
    for number, each in enumerate(data):
        sheet.add_csv(each if isinstance(each, bytes) else each.encode(), f"{number or ''}people.csv")
    return sheet


def told(sheet: Sheet) -> list[str]:
    return [str(problem).removeprefix("people.csv:") for problem in sheet.finish()]


def cells(sheet: Sheet) -> list[tuple[str, ...]]:
    """Return all rows as they were written, in the order of COLUMNS, and their places."""
    words = {name: sheet.texts(name) for name in sheet.codes}
    rows = zip(
        *(sheet.keys if name == "subject" else [words[name][code] for code in sheet.codes[name]] for name in COLUMNS),
        strict=True,
    )
    return [(*row, sheet.locate(place)) for row, place in zip(rows, sheet.places, strict=True)]


SOUND = {
    "as it should be": f"{HEADER}\n{GOOD}\n",
    "without a line end at the end": f"{HEADER}\n{GOOD}",
    "with line ends of Windows": f"{HEADER}\r\n{GOOD}\r\n",
    "with line ends of old": f"{HEADER}\r{GOOD}\r",
    "with a byte order mark": f"\ufeff{HEADER}\n{GOOD}\n",
    "with everything quoted": ",".join(f'"{name}"' for name in COLUMNS)
    + "\n"
    + ",".join(f'"{cell}"' for cell in GOOD.split(",")),
    "in another order": "\n".join(",".join(reversed(line.split(","))) for line in (HEADER, GOOD)),
    "with empty lines behind": f"{HEADER}\n{GOOD}\n\n\n",
}


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND)
def test_a_table_that_is_sound(text: str) -> None:
    sheet = read(text)
    assert told(sheet) == []
    assert cells(sheet) == [(*GOOD.split(","), "people.csv:2")]


def row(old: str, new: str) -> str:
    """Return a table of one sound row, and one with something else in it."""
    assert old in GOOD
    return f"{HEADER}\n{GOOD}\n{GOOD.replace(old, new, 1)}\n"


def header(old: str, new: str) -> str:
    assert old in HEADER
    return HEADER.replace(old, new)


WRONG = {
    "an empty file": ("", "1:1: the file begins with no header: write issuer,subject,"),
    "nothing but a byte order mark": ("\ufeff", "1:1: the file begins with no header"),
    "an empty first line": (f"\n{HEADER}\n{GOOD}", "1:1: the file begins with no header"),
    "a header and no row": (HEADER, "1:1: the table holds a header and no row"),
    "rows and no header": (f"{GOOD}\n{GOOD}", "1:1: no column 'corp'"),
    "a column misspelt": (header("residence", "residense"), "1:44: no column 'residense' (did you mean 'residence'?)"),
    "a column in upper case": (header("kind", "Kind"), "1:26: write the column 'kind' so"),
    "a column behind a space": (header("kind", " kind"), "1:26: write the column 'kind' so"),
    "a column too many": (f"{HEADER},email", "1:78: no column 'email'"),
    "a column without a name": (f"{HEADER},", "1:78: no column ''"),
    "a column twice": (f"{HEADER},kind", "1:78: the column 'kind' stands twice"),
    "a column that is missing": (header(",until", ""), "1:1: the column 'until' is missing"),
    "semicolons between cells": (header(",", ";"), "1:1: cells stand between commas"),
    "tabs between cells": (header(",", "\t"), "1:1: cells stand between commas"),
    "a thousand columns": (",".join(f"c{number}" for number in range(1000)), "1:1: the header names 1,000 columns"),
    "a row too short": (f"{HEADER}\n{GOOD}\ncorp,e-2\n", "3:1: 2 cells stand here, and 9 in the header"),
    "a row too long": (f"{HEADER}\n{GOOD},\n", "2:1: 10 cells stand here, and 9 in the header"),
    "a row of nothing but commas": (f"{HEADER}\n,,,,,,,,\n", "2:1: issuer: the cell is empty"),
    "no subject": (row("e-1", ""), "3:6: subject: the cell is empty"),
    "a subject that cannot be seen": (row("e-1", "e\u200b1"), "3:6: subject: the character U+200B"),
    "a NUL in a subject": (row("e-1", "e\0"), "3:6: subject: the character U+0000"),
    "a NUL in another cell": (row("ly", "l\0y"), "3:10: affiliate: no affiliate 'l\\x00y'"),
    "a line end in a cell": (row("e-1", '"e\n1"'), "3:6: subject: the character U+000A"),
    "a formula in a cell": (row("employee", "=1+1"), "3:13: kind: no kind '=1+1'"),
    "a country that does not exist": (row("JP,JP,JP", "JP,XX,JP"), "3:25: residence: 'XX' is no ISO"),
    "a cell behind a quoted comma": (row("e-1,ly", '"a,b",lyy'), "3:12: affiliate: no affiliate 'lyy'"),
    "a quoted cell that never ends": (row("e-1", '"e-2') + GOOD, "3:1: a quoted cell that begins in this row does not"),
    "a quoted header that never ends": (f'"{HEADER}\n{GOOD}\n', "1:1: a quoted cell that begins in this row does not"),
    "a quotation mark in a quoted cell": (row("e-1", '"e"2"'), "3:1: a quotation mark stands inside of a cell"),
    "a cell longer than the limit": (row("e-1", "e" * 200_000), "3:1: a quoted cell"),
    "another encoding": (row("e-1", "caf").encode() + b"corp,caf\xe9,,,,,,,\n", "4:9: the file is not UTF-8 here"),
    "UTF-16": (f"{HEADER}\n{GOOD}\n".encode("utf-16"), "1:1: the file is UTF-16"),
    "half of a character at the end": (f"{HEADER}\n{GOOD}\ncorp,".encode() + b"\xe3\x81", "3:6: the file is not UTF-8"),
}


@pytest.mark.parametrize(("data", "words"), WRONG.values(), ids=WRONG)
def test_a_table_that_is_wrong_names_line_column_and_mend(data: str | bytes, words: str) -> None:
    problems = told(read(data))
    assert any(problem.startswith(words) for problem in problems), problems


def test_all_mistakes_are_told_at_once_also_those_before_a_broken_row() -> None:
    text = f'{HEADER}\ncrop,e-1,lyy,boss,JP,JP,JP,,\ncorp,e-2\n{GOOD}\ncorp,"x'
    assert [problem.partition(" ")[0] for problem in told(read(text))] == ["3:1:", "5:1:", "2:1:", "2:10:", "2:14:"]


def test_lines_are_counted_as_an_editor_shows_them() -> None:
    text = f'{HEADER}\ncorp,"a\nb\r\nc",,,,,,,\n\n{GOOD}\n{GOOD.replace("corp", "crop")}\n'
    assert told(read(text)) == [
        "2:6: subject: the character U+000A cannot be seen: take it out",
        "7:1: issuer: no issuer 'crop' (did you mean 'corp'?)",
    ]


def test_what_is_more_than_the_limit_is_counted() -> None:
    problems = told(read(f"{HEADER}\n" + "corp,e,lyy,,,,,,\n" * 100_000))
    assert len(problems) == MAX_TOLD + 1
    assert "99,950 more problems in this register" in problems[-1]


def test_half_a_million_wrong_texts_end_soon() -> None:
    problems = told(read(f"{HEADER}\n" + "".join(f"corp,e{number},x{number},,,,,,\n" for number in range(50_000))))
    assert "49,950 more" in problems[-1]


def test_more_rows_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 10)
    monkeypatch.setattr(tables, "CHUNK", 4)
    assert any("more than 10 rows" in problem for problem in told(read(f"{HEADER}\n" + f"{GOOD}\n" * 20)))
    assert told(read(f"{HEADER}\n" + f"{GOOD}\n" * 10)) == []


def test_several_files_are_one_register() -> None:
    sheet = read(f"{HEADER}\n{GOOD}\n", f"{HEADER}\n{GOOD}\n{GOOD.replace('corp', 'login')}\n")
    sheet.add_rows("people.yaml", [(7, GOOD.split(","))])
    assert [row[-1] for row in cells(sheet)] == ["people.csv:2", "1people.csv:2", "1people.csv:3", "people.yaml:7"]
    assert {row[:-1] for row in cells(sheet)} == {tuple(GOOD.split(",")), ("login", *GOOD.split(",")[1:])}


subjects = st.text(st.characters(codec="utf-8"), max_size=12)
written = st.lists(
    st.tuples(
        st.sampled_from(["corp", "login"]), subjects, st.sampled_from(["", "ly"]), st.sampled_from(["", "service"]),
        st.sampled_from(["", "JP"]), st.sampled_from(["", "KR"]), st.sampled_from(["", "JP;KR"]),
        st.sampled_from(["", "2020-01-01T00:00:00Z"]), st.just(""),
    ),
    min_size=1,
    max_size=30,
)  # fmt: skip


@given(written, st.sampled_from(["\n", "\r\n"]), st.integers(1, 40))
def test_what_a_writer_writes_is_read_as_it_was(rows: list[tuple[str, ...]], end: str, chunk: int) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    sheet = a_sheet()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "CHUNK", chunk)
        sheet.add_csv(text.getvalue().encode(), "people.csv")
        problems = sheet.finish()
    assert [row[:-1] for row in cells(sheet)] == rows
    wrong = sum(not row[1] or not row[1].isprintable() or row[1] != row[1].strip() for row in rows)
    assert len(problems) == wrong
    lines = list(starmap(_count, zip(rows, strict=True)))
    assert [row[-1] for row in cells(sheet)] == [f"people.csv:{2 + sum(lines[:number])}" for number in range(len(rows))]


def _count(row: Iterable[str]) -> int:
    return 1 + sum(cell.count("\n") + cell.replace("\r\n", "\n").count("\r") for cell in row)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything(data: bytes) -> None:
    for content in (data, f"{HEADER}\n".encode() + data):
        assert all(problem.line >= 1 for problem in read(content).finish())


def test_a_column_may_be_left_out_only_where_it_is_optional() -> None:
    columns = (
        Column("id", lambda text: text, str, empty=None),
        Column("source", lambda text: text, str, empty="", optional=True),
    )
    sheet = Sheet(columns, "id")
    sheet.add_csv(b"id\na\n", "without.csv")
    sheet.add_csv(b"source,id\nx,b\n", "with.csv")
    assert sheet.finish() == []
    assert [(row[0], sheet.texts("source")[row[1]]) for row in sheet.rows()] == [("a", ""), ("b", "x")]


def test_every_text_of_a_strict_key_is_looked_at() -> None:
    column = Column("id", lambda text: text if text.islower() else None, lambda text: f"{text} is no id", empty=None)
    sheet = Sheet((column,), "id", strict=True)
    sheet.add_csv(b"id\na\nB\n", "ids.csv")
    assert [str(problem) for problem in sheet.finish()] == ["ids.csv:3:1: id: B is no id"]
