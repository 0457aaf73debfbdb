# SPDX-License-Identifier: Apache-2.0
"""What git checked out is read without git, and nothing that lies there breaks the reading."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundle.revision import read_revision

ONE: Final = "1" * 40
TWO: Final = "2" * 40
LONG: Final = "3" * 64


def lay(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


MAIN: Final = "ref: refs/heads/main\n"
PACKED: Final = f"# pack-refs with: peeled fully-peeled sorted\n{TWO} refs/heads/mai\n{ONE} refs/heads/main\n^{TWO}\n"
WORKTREE: Final = {"p/.git": "gitdir: ../repo/worktrees/p\n", "repo/worktrees/p/commondir": "../..\n"}
LAYOUTS: Final[Mapping[str, tuple[Mapping[str, str], str]]] = {
    "no git": ({}, ""),
    "a branch": ({".git/HEAD": MAIN, ".git/refs/heads/main": f"{ONE}\n"}, ONE),
    "a branch with slashes": ({".git/HEAD": "ref: refs/heads/a/b\n", ".git/refs/heads/a/b": ONE}, ONE),
    "a packed branch": ({".git/HEAD": MAIN, ".git/packed-refs": PACKED}, ONE),
    "a branch that is packed and moved since": (
        {".git/HEAD": MAIN, ".git/packed-refs": PACKED, ".git/refs/heads/main": TWO}, TWO),
    "a detached head": ({".git/HEAD": f"{ONE}\n"}, ONE),
    "objects named by SHA-256": ({".git/HEAD": f"{LONG}\n"}, LONG),
    "a branch without a commit": ({".git/HEAD": MAIN}, ""),
    "a reference to a reference": (
        {".git/HEAD": MAIN, ".git/refs/heads/main": "ref: refs/heads/x", ".git/refs/heads/x": ONE}, ONE),
    "references in a circle": ({".git/HEAD": MAIN, ".git/refs/heads/main": MAIN}, ""),
    "a reference out of the folder": ({".git/HEAD": "ref: ../secret", "secret": ONE}, ""),
    "a reference out of the folder, by way of refs": ({".git/HEAD": "ref: refs/../../secret", "secret": ONE}, ""),
    "a reference from the root": ({".git/HEAD": "ref: /etc/hostname"}, ""),
    "branches kept as tables": ({".git/HEAD": "ref: refs/heads/.invalid", ".git/reftable/tables.list": "x"}, ""),
    "a head that is none": ({".git/HEAD": "hello\n"}, ""),
    "an empty head": ({".git/HEAD": ""}, ""),
    "a name that is too short": ({".git/HEAD": ONE[1:]}, ""),
    "a name with more behind it": ({".git/HEAD": f"{ONE} x"}, ""),
    "a head that is too long": ({".git/HEAD": ONE + " " * 5000}, ""),
    "an empty git folder": ({".git/x": ""}, ""),
    "a linked work tree": (
        {**WORKTREE, "repo/worktrees/p/HEAD": "ref: refs/heads/w", "repo/refs/heads/w": ONE, "repo/HEAD": TWO}, ONE),
    "a linked work tree of a packed branch": (
        {**WORKTREE, "repo/worktrees/p/HEAD": MAIN, "repo/packed-refs": PACKED, "repo/HEAD": TWO}, ONE),
    "a linked work tree, detached": ({**WORKTREE, "repo/worktrees/p/HEAD": ONE}, ONE),
    "a work tree whose folder is gone": ({"p/.git": "gitdir: ../nowhere\n"}, ""),
    "a .git file that says something else": ({"p/.git": f"{ONE}\n"}, ""),
    "a submodule": ({"p/.git": "gitdir: ../.git/modules/p", ".git/modules/p/HEAD": ONE, ".git/HEAD": TWO}, ONE),
}  # fmt: skip


@pytest.mark.parametrize(("files", "revision"), LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("below", ["p", "p/policies/jp"])
def test_the_revision_is_found_wherever_git_keeps_it(
    tmp_path: Path, files: Mapping[str, str], revision: str, below: str
) -> None:
    lay(tmp_path, files)
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    assert read_revision(tmp_path / below) == revision


def test_the_revision_is_that_of_where_a_link_leads(tmp_path: Path) -> None:
    """As git-sync swaps one link for another, each work tree detached."""
    lay(tmp_path, {
        ".git/HEAD": TWO,
        ".git/worktrees/w1/HEAD": ONE, ".git/worktrees/w1/commondir": "../..",
        ".worktrees/w1/.git": f"gitdir: {tmp_path}/.git/worktrees/w1", ".worktrees/w1/policies/bundle.yaml": "",
    })  # fmt: skip
    (tmp_path / "current").symlink_to(".worktrees/w1")
    assert read_revision(tmp_path / "current" / "policies") == ONE


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return what removes a file or a folder, and makes something else of its name."""

    def change(folder: Path) -> None:
        target = folder / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()
        make(target)

    return change


WRONG: Final[Mapping[str, Callable[[Path], object]]] = {
    "the folder is not there": shutil.rmtree,
    "the head is a folder": instead(".git/HEAD", os.mkdir),
    "the head is a pipe": instead(".git/HEAD", os.mkfifo),
    "the head is a link to itself": instead(".git/HEAD", lambda path: path.symlink_to("HEAD")),
    ".git is a link to itself": instead(".git", lambda path: path.symlink_to(".git")),
    ".git is a pipe": instead(".git", os.mkfifo),
    "the branch is a folder": lambda folder: (folder / ".git" / "refs" / "heads" / "main").mkdir(parents=True),
}


@pytest.mark.parametrize("damage", WRONG.values(), ids=WRONG)
def test_what_git_would_not_leave_there_is_no_revision(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    lay(tmp_path / "p", {".git/HEAD": MAIN})
    damage(tmp_path / "p")
    assert read_revision(tmp_path / "p") == ""


@settings(max_examples=200)
@given(head=st.binary(max_size=60) | st.builds(b"ref: %s".__mod__, st.binary(max_size=40)), file=st.binary(max_size=60))
def test_no_bytes_break_the_reading(tmp_path_factory: pytest.TempPathFactory, head: bytes, file: bytes) -> None:
    folder = tmp_path_factory.mktemp("git")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_bytes(head)
    (folder / ".git" / "packed-refs").write_bytes(file)
    (folder / "p").mkdir()
    (folder / "p" / ".git").write_bytes(file)
    for place in (folder, folder / "p"):
        assert len(read_revision(place)) in {0, 40, 64}


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_git_says_the_same(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        run = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.jp", *words],  # noqa: S607
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return run.stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "one")
    assert read_revision(tmp_path) == git("rev-parse", "HEAD")
    git("pack-refs", "--all")
    assert read_revision(tmp_path) == git("rev-parse", "HEAD")
    git("worktree", "add", "-q", "-b", "other", "tree")
    assert read_revision(tmp_path / "tree") == git("rev-parse", "HEAD")
    git("checkout", "-q", "--detach")
    git("commit", "-q", "--allow-empty", "-m", "two")
    assert read_revision(tmp_path) == git("rev-parse", "HEAD") != read_revision(tmp_path / "tree")
