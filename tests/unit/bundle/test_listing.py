# SPDX-License-Identifier: Apache-2.0
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.bundle.listing import list_visible
from tests.support.kubelet import MountedVolume


def _write(folder: Path, *files: str) -> Path:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def _listed(folder: Path) -> list[str]:
    return sorted(str(path) for path in list_visible(folder))


def _loop(folder: Path) -> None:
    (folder / "rules" / "again").symlink_to("..")
    (folder / "self").symlink_to(".")


def _link_twice(folder: Path) -> None:
    (folder / "one").symlink_to(".hidden")
    (folder / "two").symlink_to(".hidden")


LINKS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "nothing but folders": (lambda _f: None, []),
    "a link to a file": (lambda f: (f / "b.yaml").symlink_to("a.yaml"), ["b.yaml"]),
    "a link to a hidden folder": (lambda f: (f / "apis").symlink_to(".hidden"), ["apis/c.yaml"]),
    "a link to a folder in sight is the folder": (lambda f: (f / "again").symlink_to("rules"), []),
    "links to one hidden folder are one": (
        _link_twice,
        ["one/c.yaml"],
    ),
    "a link that leads out": (lambda f: (f / "out").symlink_to(f.parent / "elsewhere"), []),
    "a link that leads nowhere": (lambda f: (f / "nowhere").symlink_to("gone"), []),
    "a link to itself": (lambda f: (f / "loop").symlink_to("loop"), []),
    "links that go round": (_loop, []),
    "a pipe": (lambda f: os.mkfifo(f / "pipe"), []),
}


@pytest.mark.parametrize(("make", "more"), LINKS.values(), ids=LINKS.keys())
def test_what_is_in_sight_is_listed_once(tmp_path: Path, make: Callable[[Path], object], more: list[str]) -> None:
    folder = _write(tmp_path / "policies", "a.yaml", "rules/b.yaml", ".hidden/c.yaml", ".git/d.yaml", "rules/.e.yaml")
    _write(tmp_path / "elsewhere", "f.yaml")
    make(folder)
    assert _listed(folder) == sorted(["a.yaml", "rules/b.yaml", *more])


def test_a_folder_that_is_itself_a_link_is_listed(tmp_path: Path) -> None:
    _write(tmp_path / ".worktrees" / "1", "policies/rules/a.yaml")
    (tmp_path / "current").symlink_to(".worktrees/1")
    assert _listed(tmp_path / "current" / "policies") == ["rules/a.yaml"]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert _listed(tmp_path / "gone") == []


def test_what_the_kubelet_mounts_is_listed_as_its_items_say(tmp_path: Path) -> None:
    volume = MountedVolume(tmp_path / "volume")
    files = {"bundle.yaml": b"", "rules/deny.yaml": b"", "packs/us/pack.yaml": b""}
    volume.write(files)
    assert _listed(volume.place) == sorted(files)
