# SPDX-License-Identifier: Apache-2.0
import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.ledger import resolve
from proxy.errors import UsageError
from proxy.ledger.pseudonym import KeyRing
from tests.support.keys import write_pseudonym_keys

RING = KeyRing(b"s" * 32, {"2026-10": b"o" * 32, "2026-11": b"n" * 32})


def a_record(number: int, who: str, whose: str, period: str = "2026-11") -> dict[str, Any]:
    names = RING.names[period]
    return {
        "n": number,
        "time": f"{period}-05T00:00:0{number}.000Z",
        "line": "decision",
        "id": f"DECISION-{number}",
        "caller": {"who": names.of_caller(who)},
        "subject": {"country": "JP", "id": names.of_subject("users", whose)},
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A ledger of two segments, and the key ring beside it."""
    write_pseudonym_keys(tmp_path / "keys", RING)
    folder = tmp_path / "ledger"
    folder.mkdir()
    october = [a_record(0, "corp|alice", "42", "2026-10"), a_record(1, "corp|bob", "43", "2026-10")]
    november = [a_record(2, "corp|alice", "43"), a_record(3, "corp|alice", "42")]
    for first, records in ((0, october), (2, november)):
        text = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{first:020d}.jsonl").write_text(text, encoding="utf-8")
    (folder / "checkpoint").write_text("none", encoding="utf-8")
    return tmp_path


def run(place: Path, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    resolve.configure(parser)
    flags = ["--pseudonym-key", str(place / "keys")]
    options = parser.parse_args([str(place / "ledger"), *arguments, *flags])
    code: int = options.run(options)
    return code


def test_where_a_caller_appears(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "corp|alice", "users:43", "corp|carol") == 0
    head, *rows, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["candidate", "as", "decisions", "first", "last", "decision", "ids"]
    table = "\n".join(rows)
    assert "corp|alice caller" in " ".join(rows[0].split())
    assert "2026-10-05T00:00:00.000Z" in rows[0]
    assert "2026-11-05T00:00:03.000Z" in rows[0]
    for decision in ("DECISION-0", "DECISION-2", "DECISION-3"):
        assert decision in table
    assert last == "in no record: corp|carol"


def test_as_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "corp|alice", "corp|carol", "users:42", "--subjects", "--json", "--limit", "1") == 0
    assert json.loads(capsys.readouterr().out) == {
        "found": [
            {
                "candidate": "corp|alice", "as": "caller", "decisions": 3, "first": "2026-10-05T00:00:00.000Z",
                "last": "2026-11-05T00:00:03.000Z", "periods": {"2026-10": 1, "2026-11": 2}, "ids": ["DECISION-0"],
            },
            {
                "candidate": "users:42", "as": "data subject", "decisions": 2, "first": "2026-10-05T00:00:00.000Z",
                "last": "2026-11-05T00:00:03.000Z", "periods": {"2026-10": 1, "2026-11": 1}, "ids": ["DECISION-0"],
            },
        ],
        "not_found": ["corp|carol"],
        "decisions": 4,
        "others": {"caller": 1, "data subject": 2},
        "without_key": {},
        "damaged": 0,
        "in_grants": {"users:42": RING.subjects.of_subject("users", "42")},
    }  # fmt: skip


ONE = {
    "the caller": (["corp|alice"], 0, ["the caller was corp|alice", "the data were those of somebody who is none"]),
    "the data subject": (["users:43"], 0, ["the caller was somebody who is none", "the data were those of users:43"]),
    "both": (["users:43", "corp|alice"], 0, ["the caller was corp|alice", "the data were those of users:43"]),
    "neither": (["corp|bob"], 1, ["the caller was somebody who is none", "the data were those of somebody"]),
}


@pytest.mark.parametrize(("candidates", "code", "told"), ONE.values(), ids=ONE.keys())
def test_who_appears_in_one_decision(
    place: Path, capsys: pytest.CaptureFixture[str], candidates: list[str], code: int, told: list[str]
) -> None:
    assert run(place, *candidates, "--id", "DECISION-2") == code
    out = capsys.readouterr().out.splitlines()
    assert len(out) == len(told)
    for line, expected in zip(out, told, strict=True):
        assert line.startswith(f"DECISION-2: {expected}")


def test_nobody_is_found_once_the_keys_are_erased_and_the_ledger_is_as_it_was(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = {path.name: path.read_bytes() for path in (place / "ledger").iterdir()}
    write_pseudonym_keys(place / "keys", RING.without("2026-10"))
    assert run(place, "corp|bob") == 1
    out = capsys.readouterr().out
    assert "in no record: corp|bob" in out
    assert "2 records name people by the key of 2026-10, which this ring does not have" in out
    assert {path.name: path.read_bytes() for path in (place / "ledger").iterdir()} == ledger


def test_candidates_stand_in_a_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "list").write_text("# who could it be?\n\ncorp|bob\r\n  corp|carol\n東京|佐藤\n", encoding="utf-8")
    assert run(place, "--candidates", str(place / "list"), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["candidate"] for each in told["found"]] == ["corp|bob"]
    assert told["not_found"] == ["corp|carol", "東京|佐藤"]


def test_candidates_come_through_a_pipe(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"corp|bob\n")))
    assert run(place, "--candidates", "-") == 0
    assert "corp|bob" in capsys.readouterr().out


def test_a_ledger_comes_through_a_pipe(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"".join(path.read_bytes() for path in sorted((place / "ledger").glob("*.jsonl")))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    parser = argparse.ArgumentParser()
    resolve.configure(parser)
    flags = ["--pseudonym-key", str(place / "keys")]
    assert resolve.run(parser.parse_args(["-", "corp|bob", *flags])) == 0
    assert "DECISION-1" in capsys.readouterr().out
    with pytest.raises(UsageError, match="cannot both come"):
        resolve.run(parser.parse_args(["-", "--candidates", "-", *flags]))


def test_what_a_candidate_is_called_moves_no_cursor(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "corp|\x1b[31m[red]x") == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[red]x" in out


def test_damaged_lines_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (place / "ledger" / f"{2:020d}.jsonl").open("ab") as file:
        file.write(b"\x00\xff\n{}\n" + b'{"line":"unfinished')
    assert run(place, "corp|alice") == 0
    assert "2 lines could not be read: `sekisho ledger verify`" in capsys.readouterr().out


REFUSED: dict[str, tuple[list[str], str]] = {
    "nobody": ([], "Nobody is asked for"),
    "no candidate": (["alice"], "'alice' is neither ISSUER"),
    "a candidate that is no text": (["corp|\udcff"], "is no UTF-8"),
    "a decision that is none": (["corp|alice", "--id", "DECISION-9"], "has no decision 'DECISION-9'"),
    "a list that is not there": (["--candidates", "/nonexistent/list"], "cannot be read: No such file"),
    "fewer than no ids": (["corp|alice", "--limit", "-1"], "--limit -1"),
}


@pytest.mark.parametrize(("arguments", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(place: Path, arguments: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        run(place, *arguments)


def test_a_list_that_is_no_text(place: Path) -> None:
    (place / "list").write_bytes(b"corp|alice\n\xff")
    with pytest.raises(UsageError, match="is no UTF-8 text: byte 12"):
        run(place, "--candidates", str(place / "list"))


def test_places_that_hold_no_ledger(place: Path) -> None:
    for path in (place / "ledger").glob("*.jsonl"):
        path.unlink()
    with pytest.raises(UsageError, match="is no ledger: there is no segment in it"):
        run(place, "corp|alice")
    (place / "ledger" / "checkpoint").unlink()
    (place / "ledger").rmdir()
    with pytest.raises(UsageError, match="There is no ledger"):
        run(place, "corp|alice")
