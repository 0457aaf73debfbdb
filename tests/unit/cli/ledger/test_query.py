# SPDX-License-Identifier: Apache-2.0
"""What was asked for, as a table, JSON or CSV, or counted; nothing in it is a formula or a command."""

import csv
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy.cli import main
from proxy.cli.ledger.query import disarm
from proxy.errors import UsageError
from proxy.ledger.key_ring_file import read_key_ring
from proxy.ledger.lines import CallerRecorded, RefusalsLine, StopLine, SubjectRecorded
from proxy.ledger.query import FIELDS
from tests.support.ledger_lines import (
    SATO,
    USER_42,
    WANG,
    LedgerOnDisk,
    a_decision,
    an_allowance,
    an_end,
    run_verb,
    write_ledger,
)

DENIED = a_decision()
ALLOWED = an_allowance()
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
EXPORT = an_allowance(action="export", route="users-export", rule="export-at-night", trace=TRACE)
UNKNOWN = a_decision(reason="token-expired", rule="", certainty="", status=401, caller=CallerRecorded())
OBSERVED = a_decision(enforced=False, status=200)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [DENIED, ALLOWED, EXPORT, an_end(EXPORT.id, bytes=99), an_end(ALLOWED.id)]
    return write_ledger(tmp_path / "ledger", lines, [UNKNOWN, OBSERVED, StopLine()]).folder


def query(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[list[str], str]:
    """Return what was printed, and what was told."""
    assert run_verb("query", *arguments) == 0
    out, err = capsys.readouterr()
    return out.splitlines(), err


ASKED = [
    pytest.param([], [DENIED, ALLOWED, EXPORT, UNKNOWN, OBSERVED], id="everything"),
    pytest.param(["--who", WANG], [DENIED, OBSERVED], id="a pseudonym"),
    pytest.param(["--who", SATO[:8]], [ALLOWED, EXPORT], id="its beginning, as a table shows it"),
    pytest.param(["--who", WANG, "--who", SATO], [DENIED, ALLOWED, EXPORT, OBSERVED], id="either of two people"),
    pytest.param(["--affiliate", "ly"], [ALLOWED, EXPORT], id="an affiliate"),
    pytest.param(["--country", "CN"], [DENIED, OBSERVED], id="a country somebody is tied to"),
    pytest.param(["--country", "unknown"], [UNKNOWN], id="nobody knows which countries"),
    pytest.param(["--subject-country", "JP"], [DENIED, ALLOWED, EXPORT, UNKNOWN, OBSERVED], id="whose data"),
    pytest.param(["--subject", USER_42], [DENIED, ALLOWED, EXPORT, UNKNOWN, OBSERVED], id="one person's data"),
    pytest.param(["--origin-country", "JP"], [ALLOWED, EXPORT], id="from where"),
    pytest.param(["--rule", "jp-no-china"], [DENIED, OBSERVED], id="a rule"),
    pytest.param(["--effect", "deny"], [DENIED, UNKNOWN, OBSERVED], id="denials"),
    pytest.param(["--effect", "observed"], [OBSERVED], id="what was only observed"),
    pytest.param(["--reason", "token-expired"], [UNKNOWN], id="a reason"),
    pytest.param(["--route", "users-export"], [EXPORT], id="a route"),
    pytest.param(["--action", "export", "--api", "users"], [EXPORT], id="an action of an API"),
    pytest.param(["--trace", TRACE], [EXPORT], id="a trace"),
    pytest.param(["--trace", TRACE[::-1]], [], id="another trace"),
    pytest.param(["--action", "export", "--effect", "deny"], [], id="two things of which one holds"),
    pytest.param(["--since", "2021-03-23T00:00:04Z"], [EXPORT, UNKNOWN, OBSERVED], id="since an instant, with it"),
    pytest.param(["--until", "2021-03-23T09:00:04+09:00"], [DENIED, ALLOWED], id="until an instant, without it"),
    pytest.param(
        ["--since", "2021-03-23", "--until", "2021-03-23"], [DENIED, ALLOWED, EXPORT, UNKNOWN, OBSERVED], id="a day"
    ),
    pytest.param(["--since", "2021-03-24"], [], id="the next day"),
    pytest.param(["--limit", "2"], [DENIED, ALLOWED], id="the first two"),
]


@pytest.mark.parametrize(("flags", "expected"), ASKED)
def test_what_is_asked_for_is_found(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str], expected: list[SimpleNamespace]
) -> None:
    rows, err = query(capsys, folder, "--format", "json", *flags)
    assert [json.loads(row)["id"] for row in rows] == [line.id for line in expected]
    assert ("no decision matches" in err) is not bool(expected)


def test_a_reason_finds_what_broke_off_for_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = an_allowance(reason="upstream-broken", status=502, released=False)
    broken, gone = an_allowance(), an_allowance()
    ends = [
        an_end(line.id, complete=False, reason=reason)
        for line, reason in ((broken, "upstream-broken"), (gone, "client-gone"))
    ]
    folder = write_ledger(tmp_path / "ledger", [refused, broken, gone, DENIED, *ends]).folder
    rows, _ = query(capsys, folder, "--reason", "upstream-broken", "--format", "json")
    assert [json.loads(row)["id"] for row in rows] == [refused.id, broken.id]


def test_a_table_has_a_row_each(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, _ = query(capsys, folder, "--effect", "deny")
    assert rows[0].startswith("time  ")
    assert [row.split()[2] for row in rows[1:]] == ["deny", "deny", "observed"]


def test_json_holds_the_decision_and_its_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, _ = query(capsys, folder, "--format", "json", "--action", "export")
    row = json.loads(rows[0])
    assert (row["bytes"], row["complete"], row["end"]["n"], row["n"]) == (99, True, 4, 3)


def test_csv_has_stable_columns_and_ends_its_lines_as_rfc_4180_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("query", folder, "--format", "csv") == 0
    out = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert out.splitlines()[0].split(",") == list(FIELDS)
    assert out.count("\r\n") == out.count("\n") == 6
    assert [row["bytes"] for row in rows] == ["", "512", "99", "", ""]
    assert (rows[0]["countries"], rows[0]["rules"], rows[0]["enforced"], rows[4]["enforced"]) == (
        "CN;JP", "jp-no-china", "true", "false",
    )  # fmt: skip


def test_csv_without_rows_has_its_heading(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, err = query(capsys, folder, "--format", "csv", "--rule", "none-such")
    assert rows == [",".join(FIELDS)]
    assert err == "note: no decision matches.\n"


FORMULAS = [
    pytest.param('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")', id="a formula"),
    pytest.param("+1", "'+1", id="a plus"),
    pytest.param("-1", "'-1", id="a minus"),
    pytest.param("@SUM(A1)", "'@SUM(A1)", id="a function"),
    pytest.param("  =1", "'  =1", id="spaces before it"),
    pytest.param("\t=1", "'�=1", id="a tab before it"),
    pytest.param("\r=1", "'�=1", id="a carriage return before it"),
    pytest.param("\u200b=1", "'�=1", id="nothing to see before it"),
    pytest.param("＝1", "'＝1", id="a wide equals sign"),
    pytest.param("'=1", "'=1", id="an apostrophe before it already"),
    pytest.param("a=1", "a=1", id="an equals sign within"),
    pytest.param("", "", id="nothing"),
    pytest.param("a\x1b[2Jb", "a�[2Jb", id="a command to a terminal"),
]


@pytest.mark.parametrize(("cell", "shown"), FORMULAS)
def test_no_cell_is_a_formula(cell: str, shown: str) -> None:
    assert disarm(cell) == shown


def test_hostile_lines_are_neither_formulas_nor_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lines"
    hostile = {
        "line": "decision",
        "time": "2021-03-23T00:00:00.000Z",
        "id": "=1",
        "rule": '=cmd|"/c calc"!A1',
        "method": "\x1b[2J",
        "caller": {"who": "\u202e", "countries": ["@x", ",\n"]},
        "effect": ["deny"],
        "seconds": -1,
        "new": "\x9b",
    }
    path.write_text(json.dumps(hostile) + "\n", encoding="utf-8")
    for form in ("table", "json", "csv"):
        rows, err = query(capsys, path, "--format", form)
        assert err == ""
        assert all(row.isprintable() for row in rows), form
    rows, _ = query(capsys, path, "--format", "csv")
    row = next(iter(csv.DictReader(rows)))
    assert (row["rule"], row["id"], row["countries"], row["seconds"]) == ('\'=cmd|"/c calc"!A1', "'=1", "'@x;,�", "'-1")
    for form in ("table", "json", "csv"):
        rows, _ = query(capsys, path, "--format", form, "--count-by", "rule")
        assert all(row.isprintable() for row in rows), form


# Counting.


COUNTS = [
    pytest.param("table", ["   decisions  origin_country", "           3  CN", "           2  JP"], id="a table"),
    pytest.param("json", ['{"origin_country":"CN","decisions":3}', '{"origin_country":"JP","decisions":2}'], id="JSON"),
    pytest.param("csv", ["origin_country,decisions", "CN,3", "JP,2"], id="CSV"),
]


@pytest.mark.parametrize(("form", "expected"), COUNTS)
def test_how_many_from_where(folder: Path, capsys: pytest.CaptureFixture[str], form: str, expected: list[str]) -> None:
    assert query(capsys, folder, "--format", form, "--count-by", "origin_country") == (expected, "")


def test_counts_of_what_is_asked_for_and_no_more_than_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, _ = query(capsys, folder, "--effect", "deny", "--count-by", "rule", "--limit", "1")
    assert rows[1:] == ["           2  jp-no-china"]
    rows, _ = query(capsys, folder, "--count-by", "purpose")
    assert rows[1:] == ["           5  -"]


# People by name.


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    assert main(["keygen", str(path)]) == 0
    return path


def test_a_person_and_a_subject_are_found_by_name_with_the_key(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = read_key_ring(key)
    of_months = [names.of_caller("corp|wang") for names in ring.names.values()]
    lines = [
        a_decision(caller=CallerRecorded(who=who)) for who in (of_months[0], of_months[1], "corp|wang", "corp|wang2")
    ]
    other = a_decision(
        subject=SubjectRecorded(country="JP", id=next(iter(ring.names.values())).of_subject("users", "7"))
    )
    path = write_ledger(tmp_path / "ledger", [DENIED, *lines, other]).folder
    capsys.readouterr()
    rows, _ = query(capsys, path, "--who", "corp|wang", "--pseudonym-key", key, "--format", "json")
    assert [json.loads(row)["id"] for row in rows] == [line.id for line in lines[:3]], "in clear, too, and nobody else"
    rows, _ = query(capsys, path, "--subject", "users:7", "--pseudonym-key", key, "--format", "json")
    assert [json.loads(row)["id"] for row in rows] == [other.id]
    assert query(capsys, path, "--subject", "users:42", "--pseudonym-key", key)[1] == "note: no decision matches.\n"


WRONG = [
    pytest.param(["--who", "wang"], "--who 'wang' is neither a pseudonym", id="a name"),
    pytest.param(["--who", WANG[:7]], "is neither a pseudonym", id="too short a beginning"),
    pytest.param(["--who", WANG + "0"], "is neither a pseudonym", id="too long"),
    pytest.param(["--who", WANG.upper()], "is neither a pseudonym", id="capitals"),
    pytest.param(
        ["--who", "corp|wang"], "by pseudonyms. Name the key ring of the gateway", id="a person without the key"
    ),
    pytest.param(["--subject", "users:42"], "is no pseudonym such as users:", id="a data subject without the key"),
    pytest.param(["--country", "UK"], "--country: 'UK' is no ISO 3166-1 country code: the code is GB", id="a country"),
    pytest.param(["--origin-country", "cn"], "--origin-country: 'cn' is no ISO 3166-1", id="lower case"),
    pytest.param(["--subject-country", "Japan"], "the code is JP|write JP", id="a country's name"),
    pytest.param(["--trace", TRACE[1:]], "is no trace id: 32 hexadecimal", id="a trace id that is too short"),
    pytest.param(["--trace", TRACE.upper()], "is no trace id", id="a trace id in capitals"),
    pytest.param(["--trace", f"00-{TRACE}-00f067aa0ba902b7-01"], "is no trace id", id="all of a traceparent"),
    pytest.param(["--since", "noon"], "--since 'noon' is neither a date", id="an instant"),
    pytest.param(["--since", "2021-03-24", "--until", "2021-03-23"], "is not before", id="an end before the beginning"),
]


@pytest.mark.parametrize(("flags", "message"), WRONG)
def test_what_cannot_be_asked(folder: Path, flags: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run_verb("query", folder, *flags)


@pytest.mark.parametrize("flags", [["--limit", "0"], ["--count-by", "id"], ["--effect", "mask"], ["--format", "xml"]])
def test_what_is_no_choice(folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_verb("query", folder, *flags)


def test_a_reason_that_is_none_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = query(capsys, folder, "--reason", "rule-denys")
    assert err.startswith("note: this version knows no reason 'rule-denys' (did you mean 'rule-denies'?).\n")


# What is not whole.


def test_refusals_that_were_only_counted_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flood = RefusalsLine(ip="192.0.2.1", count=1234, reasons={"token-missing": 1234}, since="s", until="u")
    path = write_ledger(tmp_path, [DENIED, flood]).folder
    assert "beside these, 1,234 refusals of unknown callers" in query(capsys, path)[1]
    assert query(capsys, path, "--affiliate", "shanghai-digital")[1] == ""


def test_what_is_damaged_is_counted_and_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = min(folder.glob("*.jsonl"))
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2][:100]
    path.write_bytes(b"\n".join(lines))
    rows, err = query(capsys, folder, "--format", "json")
    assert [json.loads(row)["id"] for row in rows] == [line.id for line in (DENIED, EXPORT, UNKNOWN, OBSERVED)]
    assert f"note: {path}:3 is skipped: it is no JSON" in err
    assert "1 line was skipped" in err


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="is no ledger: there is no segment in it"):
        run_verb("query", tmp_path)
    assert capsys.readouterr() == ("", "")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^There is no ledger"):
        run_verb("query", tmp_path / "missing")


def test_standard_input_written_by_somebody_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    lines = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    data = "".join(json.dumps(line, sort_keys=True, indent=None) + "\n" for line in lines).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    rows, err = query(capsys, "-", "--format", "json", "--since", "2021-03-23", "--action", "export")
    assert [json.loads(row)["bytes"] for row in rows] == [99]
    assert err == ""


def test_many_days_are_read_by_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = LedgerOnDisk(tmp_path)
    for _ in range(10):
        ledger.begin()
        ledger.write(a_decision(ledger.now), seconds=86_399.0)
    (tmp_path / f"{0:020d}.jsonl").write_bytes(ledger.path.read_bytes()[:9])  # is not looked at
    rows, err = query(capsys, tmp_path, "--format", "json", "--since", "2021-03-28", "--until", "2021-03-29")
    assert [json.loads(row)["time"][:10] for row in rows] == ["2021-03-28", "2021-03-29"]
    assert err == ""
