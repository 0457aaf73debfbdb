# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger verify``: what it prints, and its exit codes."""

import json
import shutil
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.ledger.note import SigningKey
from tests.support.ledger import KEY, read_raw
from tests.support.sample_ledger import KEY as SAMPLE_KEY
from tests.support.sample_ledger import write_sample
from tests.support.tampering import edit, make_ledger, segment_paths

VKEY = str(KEY.verifier)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ledger(tmp_path_factory.mktemp("good") / "ledger")


@pytest.fixture
def ledger(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "ledger")


def verify(*arguments: str | Path) -> int:
    return main(["ledger", "verify", *map(str, arguments)])


def test_a_good_ledger_is_summed_up(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(good, "--key", VKEY, "--checkpoint", good / "checkpoint") == 0
    size = sum(path.stat().st_size for path in segment_paths(good))
    out, err = capsys.readouterr()
    assert err == ""
    assert out == (
        f"good: ledger {KEY.name}\n"
        f"  73 lines (0 to 72) in 3 segments, {size:,} bytes\n"
        "  from 2026-11-22T12:00:00.500Z to 2026-11-22T12:00:31.000Z\n"
        f"  8 checkpoints signed by {KEY.name}\n"
        "  1 checkpoint kept elsewhere that the ledger goes on from\n"
        "  its gateway stopped in order, and signed that\n"
        "  proven: lines 0 to 71\n"
    )


def test_a_file_that_is_no_ledgers_has_no_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_text("started\n", encoding="utf-8")
    assert verify(tmp_path / "log", "--key", VKEY) == 1
    assert "\n  1 line in 1 segment, 8 bytes\n  proven: nothing\n" in capsys.readouterr().out


def test_each_fault_is_one_line(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(segment_paths(ledger)[1], lambda lines: [*lines[:5], lines[5].replace(b"200", b"201"), *lines[6:]])
    (ledger / "notes\x1b[2J").touch()
    assert verify(ledger, "--key", VKEY) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == (
        "00000000000000000026.jsonl:6 (n 31): this line was changed: the next line says that it had another hash"
    )
    assert lines[1] == f"NOT good: ledger {KEY.name}"
    assert lines[-2:] == [
        "  proven: lines 0 to 30, lines 32 to 71",
        "  remark: notes\ufffd[2J: this file is not of a ledger, it is passed over",
    ]
    assert err == f"{ledger} is NOT as it was written: 1 fault.\n"


def test_another_key_or_none_yet_is_not_told_as_a_change(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = str(SigningKey.generate(KEY.name).verifier)
    assert verify(ledger, "--key", other) == 1
    assert "is NOT proven: no checkpoint in it is signed by a key that was given. Is it" in capsys.readouterr().err
    edit(segment_paths(ledger)[1], lambda lines: [*lines[:5], lines[5] + b" ", *lines[6:]])
    assert verify(ledger, "--key", other) == 1
    assert "is NOT as it was written" in capsys.readouterr().err


def test_a_file_of_no_lines_has_no_numbers(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(ledger / "checkpoint", "--key", VKEY) == 1
    assert "\n  5 lines in 1 segment, " in capsys.readouterr().out


def test_many_faults_are_counted_and_all_stand_in_the_json(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in segment_paths(ledger):
        edit(path, lambda lines: [line + b" " for line in lines])
    assert verify(ledger, "--key", VKEY) == 1
    lines = capsys.readouterr().out.splitlines()
    count = sum(": this line was changed" in line for line in lines)
    more = next(line for line in lines if line.startswith("and "))
    assert verify(ledger, "--key", VKEY, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["good"] is False
    faults = told["runs"][0]["faults"]
    assert (count, more) == (50, f"and {len(faults) - 50} faults more: --json lists them")
    assert faults[0] == {
        "kind": "edited", "segment": "00000000000000000000.jsonl", "line": 1, "n": 0, "fault": True,
        "message": "this line was changed: the next line says that it had another hash",
    }  # fmt: skip


def test_each_run_of_a_file_is_told(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"".join(line + b"\n" for line in read_raw(good) * 2))
    assert verify(path, "--key", VKEY) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line for line in out if not line.startswith(" ")] == [
        "run 1 of 2:", f"good: ledger {KEY.name}", "run 2 of 2:", f"good: ledger {KEY.name}",
    ]  # fmt: skip


def test_what_cannot_be_used_is_said(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(tmp_path, "--key", VKEY) == 2
    assert verify(good, "--key", "a+b+c") == 2
    assert verify(good, "--key", VKEY, "--checkpoint", tmp_path / "none") == 2
    assert verify(good, "--key", VKEY, "--jobs", "-1") == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 4)


def test_another_key_verifies_nothing(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    assert verify(good, "--key", key) == 1
    assert "no checkpoint holds: nothing shows that these lines are as they were written\n" in capsys.readouterr().out


def test_the_ledgers_of_workers_are_told_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("worker-1", "worker-2"):
        write_sample(tmp_path / part, 5, key=SAMPLE_KEY.of_part(part))
    assert verify(tmp_path, "--key", str(SAMPLE_KEY.verifier)) == 0
    out = capsys.readouterr().out
    for number, part in enumerate(("worker-1", "worker-2"), 1):
        assert f"{tmp_path / part}, {number} of 2:\ngood: ledger {SAMPLE_KEY.name}/{part}\n" in out


def test_replicas_that_were_moved_are_verified_with_the_folder_that_they_were_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, folders, witness = SAMPLE_KEY, (tmp_path / "ledger", tmp_path / "archive"), tmp_path / "witness"
    witness.mkdir()
    for folder, part in zip(folders, ("replica-a", "replica-b"), strict=True):
        write_sample(folder / part, 5, key=key.of_part(part))
        shutil.copy(folder / part / "checkpoint", witness / part)
    flags = ("--key", str(key.verifier), "--checkpoint", str(witness))
    assert verify(folders[0], *flags) == 1
    assert (
        f"{witness / 'replica-b'} is of the ledger {key.name}/replica-b, which is not here" in capsys.readouterr().out
    )
    assert verify(folders[0], str(folders[1]), *flags) == 0
    assert f"{folders[1] / 'replica-b'}, 2 of 2:\ngood: ledger {key.name}/replica-b\n" in capsys.readouterr().out
