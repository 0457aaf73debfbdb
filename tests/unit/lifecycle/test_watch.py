# SPDX-License-Identifier: Apache-2.0
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.lifecycle.watch import take_fingerprint
from tests.support.bundle_folder import write_bundle

Change = Callable[[Path], Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_bundle(tmp_path / "policies")
    (folder / "rules").mkdir()
    (folder / "rules" / "more.yaml").write_text("rules: []\n", encoding="utf-8")
    (folder / "..1").mkdir()
    (folder / "..1" / "linked.yaml").write_text("rules: []\n", encoding="utf-8")
    (folder / "..2").mkdir()
    (folder / "..2" / "linked.yaml").write_text("rules: []\n", encoding="utf-8")
    (folder / "..data").symlink_to("..1")
    (folder / "linked.yaml").symlink_to("..data/linked.yaml")
    return folder


def _set_back(folder: Path) -> None:
    """Change content, with the size and the time of before."""
    file = folder / "rules.yaml"
    status, text = file.stat(), file.read_text(encoding="utf-8")
    file.write_text(text.replace("no-china", "on-china"), encoding="utf-8")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def _link(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)


def _come_and_go(file: Path) -> None:
    file.touch()
    file.unlink()


def _swap(folder: Path) -> None:
    (folder / "..tmp").symlink_to("..2")
    (folder / "..tmp").replace(folder / "..data")


CHANGES: dict[str, Change] = {
    "a file that grew": lambda f: (f / "rules.yaml").write_text("rules: []\n# more\n", encoding="utf-8"),
    "content of the same size, with the time set back": _set_back,
    "a file under another name": lambda f: (f / "rules.yaml").rename(f / "rulez.yaml"),
    "a folder under another name": lambda f: (f / "rules").rename(f / "rulez"),
    "a new, empty file": lambda f: (f / "new.yaml").touch(),
    "a new, empty folder": lambda f: (f / "new").mkdir(),
    "a file in a folder": lambda f: (f / "rules" / "more.yaml").write_text("rules: {}\n", encoding="utf-8"),
    "a file that goes away": lambda f: (f / "cases.yaml").unlink(),
    "a file's permission": lambda f: (f / "rules.yaml").chmod(0o600),
    "a link that leads elsewhere": lambda f: _link(f / "linked.yaml", "..2/linked.yaml"),
    "a link in the middle that is swapped": _swap,
    "what a link leads to": lambda f: (f / "..1" / "linked.yaml").write_text("rules: {}\n", encoding="utf-8"),
    "a file replaced by one of the same content": lambda f: [
        (f / "copy").write_bytes((f / "rules.yaml").read_bytes()), (f / "copy").replace(f / "rules.yaml")],
    "a link that leads nowhere": lambda f: (f / "nowhere.yaml").symlink_to("none.yaml"),
    "a link that leads to itself": lambda f: (f / "loop.yaml").symlink_to("loop.yaml"),
    "a link to the folder itself": lambda f: (f / "again").symlink_to("."),
    "a name that is no UTF-8": lambda f: open(os.fsencode(f) + b"/\xff.yaml", "wb").close(),  # noqa: PTH123
    "the folder goes away": lambda f: f.rename(f.with_name("elsewhere")),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_fingerprint_changes_with(folder: Path, change: Change) -> None:
    before = take_fingerprint(folder)
    change(folder)
    after = take_fingerprint(folder)
    assert after != before
    assert take_fingerprint(folder) == after


SAME: dict[str, Change] = {
    "nothing": lambda _: None,
    "reading": lambda f: [path.read_bytes() for path in f.rglob("*.yaml")],
    "a file beside the folder": lambda f: f.with_name("beside").touch(),
    "a file that came and went": lambda f: _come_and_go(f / "new"),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_a_fingerprint_does_not_change_by(folder: Path, change: Change) -> None:
    before = take_fingerprint(folder)
    change(folder)
    assert take_fingerprint(folder) == before


def test_a_folder_that_is_not_there_has_a_fingerprint(tmp_path: Path) -> None:
    before = take_fingerprint(tmp_path / "none")
    assert before == take_fingerprint(tmp_path / "none")
    (tmp_path / "none").mkdir()
    assert take_fingerprint(tmp_path / "none") != before
