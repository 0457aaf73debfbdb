# SPDX-License-Identifier: Apache-2.0
import stat
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.ledger.pseudonym import KEY_BYTES


def test_a_key_is_written_for_its_owner_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key"
    assert main(["keygen", str(file)]) == 0
    text = file.read_text(encoding="ascii")
    assert len(bytes.fromhex(text)) == KEY_BYTES
    assert text.endswith("\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    out, err = capsys.readouterr()
    assert str(file) in out
    assert text.strip() not in out + err, "the key itself is never shown"


def test_two_keys_differ(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert main(["keygen", str(tmp_path / name)]) == 0
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_a_key_is_never_written_over_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    file, target = tmp_path / "key", tmp_path / "target"
    if kind == "file":
        file.write_text("old", encoding="ascii")
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(target)
        if kind == "link":
            target.write_text("old", encoding="ascii")
    assert main(["keygen", str(file)]) == 2
    assert "exists" in capsys.readouterr().err
    assert not file.is_file() or file.read_text(encoding="ascii") == "old"
    assert kind != "dangling link" or not target.exists()


@pytest.mark.parametrize("name", ["missing/key", "x" * 300])
def test_where_no_file_can_be(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["keygen", str(tmp_path / name)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("sekisho: ")
    assert "Name another file." in err
