# SPDX-License-Identifier: Apache-2.0
"""The last lines, and those that come, until whoever reads them goes."""

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy.errors import UsageError
from proxy.ledger.lines import StopLine
from tests.support.ledger_lines import LedgerOnDisk, a_decision, an_allowance, an_end, run_verb, write_ledger

PATIENCE_SECONDS = 30.0


def tail(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[list[str], str]:
    """Return the rows under the heading, and what was told."""
    assert run_verb("tail", *arguments) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    if "--json" in arguments:
        return lines, err
    assert lines[0].startswith("time  ")
    return lines[1:], err


def numbers(rows: list[str]) -> list[int]:
    return [json.loads(row)["n"] for row in rows]


def test_the_last_ten_lines_across_segments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ledger(tmp_path, [StopLine()] * 4, [StopLine()] * 4, [StopLine()] * 4)
    assert numbers(tail(capsys, tmp_path, "--json")[0]) == list(range(5, 15))
    assert numbers(tail(capsys, tmp_path, "--json", "-n", 3)[0]) == [12, 13, 14]
    assert numbers(tail(capsys, tmp_path, "--json", "-n", 999)[0]) == list(range(15))
    assert tail(capsys, tmp_path, "-n", 0) == ([], "")


def test_one_row_for_each_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    allowed = an_allowance()
    write_ledger(tmp_path, [a_decision(), allowed, an_end(allowed.id)])
    rows, _ = tail(capsys, tmp_path)
    kinds = [row.split()[1:3] for row in rows]
    assert [kinds[0][0], kinds[3][0]] == ["segment:", "end:"]
    assert [kind for _, kind in kinds[1:3]] == ["deny", "allow"]


def test_only_lines_of_a_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ledger(tmp_path, [a_decision(), StopLine(), a_decision()], [StopLine()])
    assert numbers(tail(capsys, tmp_path, "--json", "--line", "decision")[0]) == [1, 3]
    assert numbers(tail(capsys, tmp_path, "--json", "--line", "segment", "--line", "stop", "-n", 3)[0]) == [2, 4, 5]
    assert tail(capsys, tmp_path, "--line", "weather")[0] == []


def test_json_is_what_stands_in_the_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = write_ledger(tmp_path, [a_decision()])
    assert run_verb("tail", tmp_path, "--json") == 0
    assert capsys.readouterr().out.encode() == ledger.path.read_bytes()


def test_what_is_damaged_is_passed_by_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = write_ledger(tmp_path, [StopLine()])
    with ledger.path.open("ab") as file:
        file.write(b'{"n":2,"prev":"half a li\n' + b'{"line":"stop","n":3}\n{"unfin')
    rows, err = tail(capsys, tmp_path, "--json")
    assert numbers(rows) == [0, 1, 3]
    assert f"note: {ledger.path}:3 is skipped: " in err
    assert f"note: {ledger.path}:5 is skipped: it is unfinished." in err
    assert "2 lines were skipped" in err


def test_nothing_in_a_line_commands_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lines"
    hostile = {
        "line": "decision",
        "rule": "\x1b[2J\u202e",
        "time": "\x9b",
        "caller": {"who": "\r\n", "affiliate": ["\x07"]},
    }
    path.write_text(
        json.dumps(hostile) + "\n" + json.dumps({"line": "\x1b]0;x\x07", "x\x1b": 1}) + "\n", encoding="utf-8"
    )
    with path.open("ab") as file:
        file.write('{"line":"stop","raw":"\u202e\x9b"}\n'.encode())
    for arguments in ((path,), (path, "--json")):
        assert run_verb("tail", *arguments) == 0
        out, err = capsys.readouterr()
        assert out.replace("\n", "").isprintable()
        assert err == ""
        assert len(out.splitlines()) == (3 if "--json" in arguments else 4)


@pytest.mark.parametrize("flags", [[], ["-f"]], ids=["to its end", "as it comes"])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    data = b"".join(b'{"n":%d,"line":"stop"}\n' % n for n in range(20))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert numbers(tail(capsys, "-", "--json", *flags)[0]) == list(range(0 if flags else 10, 20))


def test_an_empty_folder_is_no_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="is no ledger: there is no segment in it"):
        run_verb("tail", tmp_path)
    assert capsys.readouterr() == ("", "")


def test_a_kind_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_ledger(tmp_path, [StopLine()]).folder
    rows, err = tail(capsys, folder, "--line", "decisions")
    assert rows == []
    assert err == (
        "note: this version knows no kind of line 'decisions' (did you mean 'decision'?).\n"
        "note: no line is of that kind.\n"
    )


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^There is no ledger .*missing: name its folder"):
        run_verb("tail", tmp_path / "missing")


@pytest.mark.parametrize("count", ["-1", "x", "", "1.5", "1" * 10])
def test_what_is_no_number_of_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str], count: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_verb("tail", tmp_path, f"--lines={count}")
    assert "is no number of lines" in capsys.readouterr().err


# As it is written.


@pytest.fixture
def follow() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started = []

    def start(*arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "proxy.cli", "ledger", "tail", *map(str, arguments), "-f", "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def next_number(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout
    return int(json.loads(process.stdout.readline())["n"])


def test_lines_come_across_segments_until_ctrl_c(
    tmp_path: Path, follow: Callable[..., subprocess.Popen[bytes]]
) -> None:
    ledger = write_ledger(tmp_path, [StopLine()] * 3)
    process = follow(tmp_path, "-n", 2)
    assert [next_number(process) for _ in range(2)] == [2, 3]
    ledger.write(StopLine())
    assert next_number(process) == 4
    ledger.write(StopLine())
    ledger.begin()
    ledger.write(a_decision())
    assert [next_number(process) for _ in range(3)] == [5, 6, 7]
    (tmp_path / f"{0:020d}.jsonl").unlink()
    ledger.begin()
    assert next_number(process) == 8
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 130
    assert process.stderr
    assert process.stderr.read() == b""


def test_it_ends_when_nobody_reads_any_more_though_nothing_comes(
    tmp_path: Path, follow: Callable[..., subprocess.Popen[bytes]]
) -> None:
    write_ledger(tmp_path, [StopLine()])
    process = follow(tmp_path)
    assert [next_number(process) for _ in range(2)] == [0, 1]
    assert process.stdout
    process.stdout.close()
    process.stdout = None
    assert process.wait(PATIENCE_SECONDS) == 1
    assert process.stderr
    assert process.stderr.read() == b""


def test_the_first_line_of_an_empty_folder_is_waited_for(
    tmp_path: Path, follow: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = follow(tmp_path, "--line", "stop")
    write_ledger(tmp_path, [StopLine()])
    assert next_number(process) == 1


def write_of_workers(folder: Path) -> list[LedgerOnDisk]:
    """Write the ledgers of two workers that took turns, a second each."""
    ledgers = [LedgerOnDisk(folder / f"worker-{number}") for number in (1, 2)]
    ledgers[1].now += 0.5
    for ledger in ledgers:
        ledger.begin()
        ledger.write(*[a_decision(id=f"{ledger.folder.name}-{turn}") for turn in range(3)])
    return ledgers


def test_lines_of_several_workers_are_told_by_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_of_workers(tmp_path)
    rows, _ = tail(capsys, tmp_path, "--json", "-n", 4)
    assert [json.loads(row)["id"] for row in rows] == ["worker-1-1", "worker-2-1", "worker-1-2", "worker-2-2"]


def test_lines_of_a_worker_or_replica_that_is_started_meanwhile_come_too(
    tmp_path: Path, follow: Callable[..., subprocess.Popen[bytes]]
) -> None:
    first, second = write_of_workers(tmp_path)
    process = follow(tmp_path, "-n", 1)
    assert next_number(process) == 3
    first.write(a_decision(id="a"))
    assert next_number(process) == 4
    for part in ("worker-3", "replica-a", "replica-b/worker-1"):
        LedgerOnDisk(tmp_path / part).begin()
        assert next_number(process) == 0
    second.write(a_decision(id="b"))
    assert next_number(process) == 4
