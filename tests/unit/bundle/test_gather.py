# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from proxy.bundle.gather import Anything, Registers
from proxy.bundle.manifest import MANIFEST


def a_folder(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    listed = "".join(f"  {name}.yaml: [networks, rules]\n" for name in files)
    (folder / MANIFEST).write_text(f"language: 1\nbundle: x\nties: [employer]\nfiles:\n{listed}", encoding="utf-8")
    return folder


def gathered(folder: Path) -> Registers:
    registers = Registers(folder)
    assert registers.gather() is not None
    return registers


def test_entries_of_one_register_come_from_all_files(tmp_path: Path) -> None:
    registers = gathered(a_folder(tmp_path, a="networks: [{id: one}]\n", b="networks: [{id: two}]\n"))
    assert registers.declared_ids("networks") == {"one", "two"}
    assert [item.document.name for item in registers.raw["networks"]] == [
        str(tmp_path / "a.yaml"),
        str(tmp_path / "b.yaml"),
    ]


def test_the_digest_is_of_content_and_not_of_layout(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    first = gathered(a_folder(tmp_path / "1", a="networks: [{id: one}, {id: two}]\n"))
    second = gathered(a_folder(tmp_path / "2", a="# moved\nnetworks: [{id: two}]\n", b="networks:\n  - id: one\n"))
    assert first.digest(["networks"], {}) == second.digest(["networks"], {})
    assert first.digest(["networks"], {}) != first.digest(["networks"], {"ties": "other"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("networks: [{id: one}\n", "no YAML", id="a file that is no YAML"),
        pytest.param(
            "netwroks: [{id: one}]\n", "no register 'netwroks' (did you mean 'networks'?)", id="a misspelling"
        ),
    ],
)
def test_of_a_register_that_was_not_read_whole_every_id_may_be_there(tmp_path: Path, text: str, problem: str) -> None:
    registers = gathered(a_folder(tmp_path, a=text))
    assert problem in registers.problems[0].message
    assert isinstance(registers.declared_ids("networks"), Anything)
    assert "whatever" in registers.declared_ids("networks")


def test_without_a_manifest_nothing_is_gathered(tmp_path: Path) -> None:
    registers = Registers(tmp_path)
    assert registers.gather() is None
    assert "sekisho init" in registers.problems[0].message
