# SPDX-License-Identifier: Apache-2.0
import argparse
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.cli.ledger import check_proof, prove
from proxy.errors import UsageError
from proxy.ledger.note import SigningKey
from proxy.ledger.proof import parse_proof
from tests.support.sample_ledger import KEY, change_line, find_checkpoints, flip, read_lines, write_sample

VERIFIER = str(KEY.verifier)


def _run(*arguments: str | Path, configure: Callable[[argparse.ArgumentParser], None] = prove.configure) -> int:
    parser = argparse.ArgumentParser()
    configure(parser)
    options = parser.parse_args([str(each) for each in arguments])
    code: int = options.run(options)
    return code


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ledger", write_sample(tmp_path / "ledger", 20)


def test_one_decision_is_handed_out_and_verified_with_nothing_else(
    ledger: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, ids = ledger
    assert _run(folder, ids[7], "--key", VERIFIER) == 0
    file = Path(f"{ids[7]}.tlog-proof")
    out = capsys.readouterr().out
    assert f"{file} proves that {ids[7]} is line " in out
    assert "was not verified" not in out
    for path in folder.iterdir():
        path.unlink()
    assert _run(file, "--key", VERIFIER, configure=check_proof.configure) == 0
    assert f'"id": "{ids[7]}"' in capsys.readouterr().out


def test_without_a_key_it_is_said_what_was_not_verified(
    ledger: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(ledger[0], ledger[1][7]) == 0
    assert "was not verified: name the verifier key with --key" in capsys.readouterr().out


def test_a_note_of_the_ledger_commands_nobodys_terminal(
    ledger: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, ids = ledger
    for number, _ in find_checkpoints(folder):
        change_line(folder, number, lambda line: line.replace(KEY.name.encode() + b" ", "\x9b31mx\u202e ".encode()))
    assert _run(folder, ids[7], "--key", VERIFIER) == 1
    told = capsys.readouterr().err
    assert "signed by \ufffd31mx\ufffd" in told
    assert told.removesuffix("\n").isprintable()


def test_a_proof_goes_to_standard_output(ledger: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, ids = ledger
    assert _run(folder, ids[7], "--key", VERIFIER, "--out", "-") == 0
    assert parse_proof(capsys.readouterr().out).extra in read_lines(folder)
    assert not list(Path().glob("*.tlog-proof"))


def test_a_proof_in_a_checkpoint_that_was_kept(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    size, note = find_checkpoints(folder)[-1]
    Path("kept").write_text(note, encoding="utf-8")
    assert _run(folder, ids[0], "--checkpoint", "kept", "--out", "proof", "--key", VERIFIER) == 0
    assert f"\n{size}\n" in parse_proof(Path("proof").read_text(encoding="utf-8")).note


def test_no_file_is_written_over(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    Path("there").write_text("old", encoding="ascii")
    with pytest.raises(UsageError, match="there exists: name another file with --out"):
        _run(folder, ids[0], "--out", "there")
    assert Path("there").read_text(encoding="ascii") == "old"
    with pytest.raises(UsageError, match="cannot be written"):
        _run(folder, ids[0], "--out", "missing/there")


def test_a_changed_line_is_not_handed_out(ledger: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, ids = ledger
    number = next(at for at, line in enumerate(read_lines(folder)) if ids[7].encode() in line)
    change_line(folder, number, flip)
    assert _run(folder, ids[7]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{ids[7]} cannot be proven: line {number} was changed after it was signed")
    assert not list(Path().glob("*.tlog-proof"))


def test_a_forged_checkpoint_on_the_way_is_told(
    ledger: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, ids = ledger
    number, _ = find_checkpoints(folder)[0]
    change_line(folder, number, lambda line: line.replace(b"\\n\\n", b"\\nmore\\n\\n"))
    assert _run(folder, ids[0], "--key", VERIFIER) == 0
    assert f"passed over: line {number}: " in capsys.readouterr().err


def test_a_line_that_is_not_signed_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = write_sample(tmp_path / "ledger", 2, end=False)
    assert _run(tmp_path / "ledger", ids[1]) == 1
    err = capsys.readouterr().err
    assert "is not yet covered by a checkpoint" in err
    assert "signs its lines within 60 seconds" in err


def test_a_checkpoint_that_is_older_than_the_line(
    ledger: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, ids = ledger
    Path("kept").write_text(find_checkpoints(folder)[0][1], encoding="utf-8")
    assert _run(folder, ids[-1], "--checkpoint", "kept", "--key", VERIFIER) == 1
    assert "is not among them.\n" in capsys.readouterr().err


def test_a_checkpoint_of_another_key(ledger: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, ids = ledger
    other = SigningKey(KEY.name, bytes(32))
    Path("kept").write_text(find_checkpoints(folder)[-1][1], encoding="utf-8")
    assert _run(folder, ids[0], "--checkpoint", "kept", "--key", str(other.verifier)) == 1
    assert "none of the given keys signed the note" in capsys.readouterr().err


def test_what_cannot_be_asked(ledger: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, ids = ledger
    for request_id, why in (
        (ids[0][::-1], "No decision of the ledger .*are only counted"),
        ('a"', "is no id"),
        ("", "is no id"),
    ):
        with pytest.raises(UsageError, match=why):
            _run(folder, request_id)
    with pytest.raises(UsageError, match=r"cannot be read: No such file"):
        _run(tmp_path / "missing", ids[0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="is no ledger: there is no segment in it"):
        _run(tmp_path / "empty", ids[0])
    with pytest.raises(UsageError, match=r"cannot be read: No such file"):
        _run(folder, ids[0], "--checkpoint", "missing")
    with pytest.raises(UsageError, match="is a file, and proofs are made of a ledger's folder"):
        _run(folder / f"{0:020d}.jsonl", ids[0])


def test_an_id_as_it_was_copied(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    assert _run(folder, f" {ids[0]}\n", "--key", VERIFIER) == 0
    assert Path(f"{ids[0]}.tlog-proof").exists()


def test_what_is_no_segment_is_not_waited_for(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    segment = folder / f"{0:020d}.jsonl"
    segment.unlink()
    segment.mkdir()
    with pytest.raises(UsageError, match=r"cannot be read: Is a directory"):
        _run(folder, ids[0])
    segment.rmdir()
    os.mkfifo(segment)
    with pytest.raises(UsageError, match=r"cannot be read: Illegal seek"):
        _run(folder, ids[0])


@pytest.mark.parametrize("part", ["worker-2", "replica-a", "replica-a/worker-1"])
def test_a_decision_of_a_part_is_proven_by_the_key_whose_name_all_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _, ids = (write_sample(tmp_path / "ledger" / each, 5, key=KEY.of_part(each)) for each in ("worker-1", part))
    assert _run("ledger", ids[3], "--key", VERIFIER) == 0
    assert f"of the ledger {KEY.name}/{part}" in capsys.readouterr().out
    assert _run(f"{ids[3]}.tlog-proof", "--key", VERIFIER, configure=check_proof.configure) == 0


def test_an_id_that_no_worker_recorded(tmp_path: Path) -> None:
    ids = write_sample(tmp_path / "elsewhere", 1)
    write_sample(tmp_path / "ledger" / "worker-1", 5, key=KEY.of_part("worker-1"))
    with pytest.raises(UsageError, match="No decision of the ledger"):
        _run(tmp_path / "ledger", ids[0])
