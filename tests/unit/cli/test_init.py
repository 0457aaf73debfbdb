# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.cli.init import FILES


@pytest.mark.parametrize("make", ["missing", "missing above", "empty"])
def test_what_init_writes_loads_and_passes_its_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: str
) -> None:
    folder = tmp_path / "above" / "p" if make == "missing above" else tmp_path / "p"
    if make == "empty":
        folder.mkdir()
    assert main(["init", str(folder)]) == 0
    assert f"sekisho check {folder}" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert main(["check", str(folder)]) == 0
    assert main(["test", str(folder)]) == 0


def test_init_never_writes_over_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert main(["init", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_init_twice_changes_nothing(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "p")]) == 0
    (tmp_path / "p" / "rules.yaml").write_text("mine", encoding="utf-8")
    assert main(["init", str(tmp_path / "p")]) == 2
    assert (tmp_path / "p" / "rules.yaml").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_init_where_no_folder_can_be(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "file").touch()
    assert main(["init", str(tmp_path / name)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("sekisho: ")
    assert "Name another folder." in err
