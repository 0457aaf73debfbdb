# SPDX-License-Identifier: Apache-2.0
import argparse
from pathlib import Path

import pytest

from proxy.cli.ledger import check_proof
from proxy.errors import UsageError
from proxy.ledger.merkle import Frontier, leaf_hash, prove_inclusion
from proxy.ledger.note import SigningKey
from proxy.ledger.proof import InclusionProof
from proxy.ledger.tree_head import TreeHead, sign_tree_head

KEY = SigningKey("ledger.example/tokyo-1", bytes(range(32)))
OTHER = SigningKey("ledger.example/seoul-1", bytes(32))
VERIFIER = str(KEY.verifier)
LINE = '{"n":2,"time":"2026-11-22T06:04:01.123Z","line":"decision","id":"x","note":"東京\u202e\\u001b[31m"}'.encode()


def _proof(extra: bytes = LINE, proven: bytes = LINE) -> InclusionProof:
    """Prove that ``proven`` is the third of five lines."""
    frontier = Frontier()
    leaves = [leaf_hash(entry) for entry in (b"{}", b"{}", proven, b"{}", b"{}")]
    frontier.extend(leaves)
    note = sign_tree_head(KEY, TreeHead(KEY.name, 5, frontier.root()))
    return InclusionProof(2, prove_inclusion(Frontier(), leaves, 2, 5), note, extra)


def _run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    check_proof.configure(parser)
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


def _write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "x.tlog-proof"
    file.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    return str(file)


def test_a_proof_that_holds_shows_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(_write(tmp_path, _proof().render()), "--key", VERIFIER) == 0
    out = capsys.readouterr().out
    assert '\n  "line": "decision",\n' in out
    assert "東京" in out
    assert "\u202e" not in out, "nothing that a terminal obeys"
    assert "\x1b" not in out
    assert "line 2 of the ledger ledger.example/tokyo-1, as it was when 5 were written" in out
    shown = dict(line.split(maxsplit=1) for line in out.splitlines()[-5:])
    assert shown["origin"] == KEY.name
    assert (shown["index"], shown["size"], shown["time"]) == ("2", "5", "2026-11-22T06:04:01.123Z")
    assert len(shown["root"]) == 44


def test_the_key_stands_in_a_file_as_well(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{OTHER.verifier}\n{VERIFIER}\n", encoding="utf-8")
    assert _run(_write(tmp_path, _proof().render()), "--key", str(keys)) == 0


def test_a_proof_that_does_not_carry_its_line_is_given_it(tmp_path: Path) -> None:
    file, line = _write(tmp_path, _proof(extra=b"").render()), tmp_path / "line"
    with pytest.raises(UsageError, match="--line FILE"):
        _run(file, "--key", VERIFIER)
    line.write_bytes(LINE + b"\n")
    assert _run(file, "--key", VERIFIER, "--line", str(line)) == 0
    line.write_bytes(LINE + b" \n")
    assert _run(file, "--key", VERIFIER, "--line", str(line)) == 1


@pytest.mark.parametrize("entry", [b"no json", b"\xff\x1b[2J", b"[" * 5000, b'{"time":1}'])
def test_a_line_that_is_none_of_ours_is_shown_as_it_can_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], entry: bytes
) -> None:
    assert _run(_write(tmp_path, _proof(extra=entry, proven=entry).render()), "--key", VERIFIER) == 0
    out = capsys.readouterr().out
    assert "the line names none" in out
    assert "\x1b" not in out


BROKEN = [
    pytest.param("", "begins with the line", id="an empty file"),
    pytest.param(_proof().render().replace("index 2", "index 3"), "is not line 3 of the 5 lines", id="another index"),
    pytest.param(_proof(extra=LINE + b" ").render(), "is not line 2 of the 5 lines", id="another line"),
    pytest.param(_proof().render().replace("\n5\n", "\n6\n"), "does not fit the text", id="another checkpoint"),
]


@pytest.mark.parametrize(("text", "why"), BROKEN)
def test_what_proves_nothing_says_why_and_shows_no_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    file = _write(tmp_path, text)
    assert _run(file, "--key", VERIFIER) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{file} proves nothing: ")
    assert why in err


def test_another_key_proves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(_write(tmp_path, _proof().render()), "--key", str(OTHER.verifier)) == 1
    assert "it is signed by ledger.example/tokyo-1+" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_as_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        _run(str(tmp_path / "missing"), "--key", VERIFIER)
    with pytest.raises(UsageError, match="has more than"):
        _run(_write(tmp_path, "x" * 9_000_000), "--key", VERIFIER)
    with pytest.raises(UsageError, match="no text in UTF-8"):
        _run(_write(tmp_path, "\udcff"), "--key", VERIFIER)
    with pytest.raises(UsageError, match="cannot be read"):
        _run(_write(tmp_path, _proof(extra=b"").render()), "--key", VERIFIER, "--line", str(tmp_path))
