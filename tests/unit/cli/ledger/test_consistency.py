# SPDX-License-Identifier: Apache-2.0
import argparse
from pathlib import Path

import pytest

from proxy.cli.ledger import consistency
from proxy.errors import UsageError
from proxy.ledger.merkle import EMPTY_ROOT
from proxy.ledger.note import SigningKey
from proxy.ledger.segments import list_segments
from proxy.ledger.tree_head import TreeHead, open_tree_head, sign_tree_head
from tests.support.sample_ledger import KEY, change_line, find_checkpoints, flip, write_sample

VERIFIER = str(KEY.verifier)


def _run(*arguments: str | Path, key: str = VERIFIER) -> int:
    parser = argparse.ArgumentParser()
    consistency.configure(parser)
    options = parser.parse_args([*map(str, arguments), "--key", key])
    code: int = options.run(options)
    return code


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger, and beside it its second checkpoint as ``early`` and its last but one as ``late``."""
    monkeypatch.chdir(tmp_path)
    write_sample(tmp_path / "ledger", 40)
    notes = [note for _, note in find_checkpoints(tmp_path / "ledger")]
    Path("early").write_text(notes[1], encoding="utf-8")
    Path("late").write_text(notes[-2], encoding="utf-8")
    return tmp_path / "ledger"


def _head(file: str) -> TreeHead:
    return open_tree_head(Path(file).read_text(encoding="utf-8"), [KEY.verifier])


def test_the_ledger_continues_a_checkpoint_that_was_kept(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(ledger, "--from", "early") == 0
    out = capsys.readouterr().out
    last = find_checkpoints(ledger)[-1][0]
    early = _head("early").size
    assert out.startswith(f"consistent: the {last} lines that {KEY.name} signed go on from the {early} signed before")
    assert "\nproof     " in out


def test_of_lines_that_were_edited_since_it_claims_nothing(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_line(ledger, 3, flip)
    assert _run(ledger, "--from", "early") == 0
    out = capsys.readouterr().out
    assert "signed go on from" in out
    assert "\nWhether they still lie there as they were signed: sekisho ledger verify" in out


def test_a_proof_is_made_and_verified_without_the_ledger(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(ledger, "--from", "early", "--to", "late", "--out", "proof") == 0
    made = capsys.readouterr().out
    for segment in list_segments(ledger):
        segment.path.unlink()
    assert _run("proof", "--from", "early") == 0
    assert capsys.readouterr().out == made


def test_a_checkpoint_continues_itself_and_the_empty_ledger(ledger: Path) -> None:
    assert _run(ledger, "--from", "late", "--to", "late") == 0
    Path("empty").write_text(sign_tree_head(KEY, TreeHead(KEY.name, 0, EMPTY_ROOT)), encoding="utf-8")
    assert _run(ledger, "--from", "empty", "--to", "late") == 0


def test_a_ledger_that_was_written_anew_does_not_continue(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sample(Path("other"), 40)
    assert _run("other", "--from", "early") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "are not those that the earlier checkpoint signs" in err
    assert not Path("proof").exists()


def test_a_ledger_whose_end_is_gone(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list_segments(ledger)[-1].path.unlink()
    assert _run(ledger, "--from", "early") == 1
    assert "its end is gone" in capsys.readouterr().err
    (ledger / "checkpoint").write_text(Path("early").read_text(encoding="utf-8"), encoding="utf-8")
    assert _run(ledger, "--from", "late") == 1
    assert f"covers {_head('late').size} lines, and the last checkpoint of the ledger" in capsys.readouterr().err


def test_one_changed_line_does_not_hide_that_nothing_else_was(ledger: Path) -> None:
    change_line(ledger, _head("early").size + 2, flip)
    assert _run(ledger, "--from", "early") == 0


def test_another_key_is_not_believed(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(ledger, "--from", "early", key=str(SigningKey(KEY.name, bytes(32)).verifier)) == 1
    assert "inconsistent: early is not to be believed: none of the given keys" in capsys.readouterr().err


def test_two_ledgers_of_one_size(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forged = TreeHead(KEY.name, _head("early").size, _head("late").root)
    Path("forged").write_text(sign_tree_head(KEY, forged), encoding="utf-8")
    assert _run(ledger, "--from", "early", "--to", "forged") == 1
    assert "signed two different ledgers of" in capsys.readouterr().err


def test_what_cannot_be_asked(ledger: Path) -> None:
    with pytest.raises(UsageError, match="early covers fewer lines than late: the earlier one goes with --from"):
        _run(ledger, "--from", "late", "--to", "early")
    with pytest.raises(UsageError, match="missing cannot be read"):
        _run(ledger, "--from", "missing")
    with pytest.raises(UsageError, match="The ledger missing cannot be read"):
        _run("missing", "--from", "early")
    Path("empty").mkdir()
    with pytest.raises(UsageError, match="is no ledger"):
        _run("empty", "--from", "early", "--to", "late")
    assert _run(ledger, "--from", "early", "--out", "proof") == 0
    with pytest.raises(UsageError, match="holds the later checkpoint already: leave --to out"):
        _run("proof", "--from", "early", "--to", "late")
    with pytest.raises(UsageError, match="proof exists"):
        _run(ledger, "--from", "early", "--out", "proof")


def test_a_file_that_is_no_proof(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ledger.is_dir()
    assert _run("late", "--from", "early") == 1
    assert "begins with the line `old NUMBER`" in capsys.readouterr().err
