# SPDX-License-Identifier: Apache-2.0
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy.cli.ledger.source import parse_bound, read_place
from proxy.errors import UsageError
from proxy.ledger.lines import ClockLine, StopLine
from tests.support.ledger_lines import BEGAN, LedgerOnDisk, write_ledger

BOUNDS = [
    pytest.param(None, "", "", id="no bound"),
    pytest.param(
        "2021-03-17", "2021-03-17T00:00:00.000Z", "2021-03-18T00:00:00.000Z", id="a date is a whole day in UTC"
    ),
    pytest.param("2020-02-28", "2020-02-28T00:00:00.000Z", "2020-02-29T00:00:00.000Z", id="before a leap day"),
    pytest.param("2021-03-17T09:00:00+09:00", *["2021-03-17T00:00:00.000Z"] * 2, id="an instant in Tokyo"),
    pytest.param("2021-03-17T00:00:00.25Z", *["2021-03-17T00:00:00.250Z"] * 2, id="an instant with fractions"),
]
NO_BOUNDS = [
    pytest.param("yesterday", id="a word"),
    pytest.param("2021-02-30", id="a day that does not exist"),
    pytest.param("2021-03-17T09:00:00", id="an instant that could be anywhere"),
    pytest.param("1616457600", id="seconds since 1970"),
    pytest.param("9999-12-31T23:59:59-23:00", id="beyond the last year"),
    pytest.param("", id="nothing"),
]


@pytest.mark.parametrize(("text", "since", "until"), BOUNDS)
def test_bounds(text: str | None, since: str, until: str) -> None:
    assert parse_bound(text, "--since", is_end=False) == since
    assert parse_bound(text, "--until", is_end=True) == until


@pytest.mark.parametrize("text", NO_BOUNDS)
def test_what_is_no_bound(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"^--since '.*' is neither a date such as 2021-03-17 nor an instant with an offset"
    ):
        parse_bound(text, "--since", is_end=False)


def numbers(place: Path | str, since: str = "", until: str = "", holding: bytes = b"") -> list[int]:
    entries = read_place(str(place), since=since, until=until, holding=holding)
    return [int(entry.data.split(b",")[0][5:]) for entry in entries]


def test_segments_are_chosen_by_time_with_room_for_a_clock_that_was_set_back(tmp_path: Path) -> None:
    ledger = LedgerOnDisk(tmp_path)
    for _ in range(5):  # a segment an hour
        ledger.begin()
        ledger.write(StopLine(), seconds=3599.0)
    assert numbers(tmp_path, since="2021-03-23T03:30:00.000Z") == [4, 5, 6, 7, 8, 9]
    assert numbers(tmp_path, until="2021-03-23T00:30:00.000Z") == [0, 1, 2, 3]


def test_a_line_from_before_a_clock_was_set_back_is_found(tmp_path: Path) -> None:
    ledger = LedgerOnDisk(tmp_path)
    ledger.begin()
    ledger.write(StopLine(), seconds=3000.0)
    ledger.now = BEGAN + 5
    ledger.write(ClockLine(was="2021-03-23T00:50:01.000Z"))
    ledger.begin()
    assert numbers(tmp_path, since="2021-03-23T00:45:00.000Z") == [0, 1, 2, 3]


def test_one_file_is_read_whole(tmp_path: Path) -> None:
    ledger = write_ledger(tmp_path, [StopLine()], [StopLine()])
    assert numbers(ledger.path, since="2099-01-01T00:00:00.000Z") == [2, 3]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'{"n":1,"line":"stop"}\n{"n":2,"line":"x"}\n'))
    )
    assert numbers("-", holding=b"stop") == [1]


def test_an_empty_folder_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no ledger: there is no segment in it"):
        numbers(tmp_path)
    (tmp_path / "ledger.jsonl").write_bytes(b"")
    with pytest.raises(UsageError, match=r"To read ledger\.jsonl, name that file\.$"):
        numbers(tmp_path)


def test_a_place_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^There is no ledger"):
        read_place(str(tmp_path / "missing"))


def test_lines_of_several_workers_come_by_time_and_those_before_them_first(tmp_path: Path) -> None:
    write_ledger(tmp_path, [StopLine()])
    for number in (2, 1):
        ledger = LedgerOnDisk(tmp_path / f"worker-{number}")
        ledger.now += 10 * number
        ledger.begin()
        ledger.write(StopLine(), seconds=20)
    found = [entry.path.parent.name for entry in read_place(str(tmp_path)) if entry.path]
    assert found == [tmp_path.name, tmp_path.name, "worker-1", "worker-2", "worker-1", "worker-2"]


def test_a_folder_of_workers_that_have_not_begun_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "worker-1").mkdir()
    with pytest.raises(UsageError, match="is no ledger"):
        read_place(str(tmp_path))


def test_lines_of_several_replicas_and_their_workers_come_by_time(tmp_path: Path) -> None:
    parts = ("worker-1", "replica-a", "replica-b/worker-1", "replica-b/worker-2")
    for turn, part in enumerate(reversed(parts)):
        ledger = LedgerOnDisk(tmp_path / part)
        ledger.now += 10 * turn
        ledger.begin()
        ledger.write(StopLine(), seconds=100)
    (tmp_path / "replica-c").mkdir()  # a pod that never recorded
    (tmp_path / "replica-b" / "replica-d").mkdir()
    write_ledger(tmp_path / "replica-b" / "replica-d", [StopLine()])  # what no gateway makes
    found = [entry.path.parent.relative_to(tmp_path).as_posix() for entry in read_place(str(tmp_path)) if entry.path]
    assert found == [*reversed(parts), *reversed(parts)]
    below = [entry.path.parent.name for entry in read_place(str(tmp_path / "replica-b")) if entry.path]
    assert {"worker-1", "worker-2"} <= {*below}


def test_a_replica_that_links_to_the_whole_is_read_but_once_more(tmp_path: Path) -> None:
    write_ledger(tmp_path, [StopLine()])
    (tmp_path / "replica-a").symlink_to(".")
    (tmp_path / "replica-b").symlink_to("replica-b")  # to itself
    assert len(list(read_place(str(tmp_path)))) == 4
