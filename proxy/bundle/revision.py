# SPDX-License-Identifier: Apache-2.0
"""Which git revision a folder was checked out from, read without the program. This module does I/O.

It is what ``HEAD`` says, not what lies in the folder: files may have been edited since.

- The folder may be anywhere below the top of its work tree, and a symbolic link to there (git-sync's).
- ``.git`` is a folder, or a file that names one (``gitdir:``, of linked work trees and submodules); of a linked work
  tree branches stand in the common folder (``commondir``). See gitrepository-layout(5).
- A branch is a loose file or a line of ``packed-refs``. Branches kept in another way (reftable) are not read.
"""

import re
from pathlib import Path
from typing import Final

from proxy.bundle.read import read_bytes

_OBJECT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
"""The name of an object: SHA-1, or SHA-256."""
_REF: Final = re.compile(r"refs(?:/(?!\.)[^/\0\\]+)+")
_MAX_HEAD: Final = 4096
_MAX_PACKED: Final = 64 * 1024 * 1024
_MAX_STEPS: Final = 5
"""Symbolic references that lead to one another, as git itself follows them."""


def read_revision(folder: Path) -> str:
    """Return the revision that is checked out around a folder, 40 or 64 hexadecimal digits; empty if there is none.

    Whatever is wrong with what git left there, there is none.
    """
    try:
        here = folder.resolve()
        for place in (here, *here.parents):
            found = place / ".git"
            if found.is_dir():
                return _read_head(found)
            if found.is_file():
                kind, _, named = _read(found).partition(":")
                return _read_head(place / named.strip()) if kind == "gitdir" else ""
    except (OSError, RuntimeError, ValueError):
        pass
    return ""


def _read_head(git: Path) -> str:
    """Return what ``HEAD`` of a git folder comes to."""
    shared = _read(git / "commondir").strip()
    places = (git, git / shared) if shared else (git,)
    said = _read(git / "HEAD").strip()
    for _ in range(_MAX_STEPS):
        kind, _, name = said.partition(":")
        if kind != "ref":
            break
        said = _follow(name.strip(), places)
    return said if _OBJECT.fullmatch(said) else ""


def _follow(ref: str, places: tuple[Path, ...]) -> str:
    """Return what a reference says; empty if it is not there."""
    if not _REF.fullmatch(ref):
        return ""
    for place in places:
        said = _read(place / ref).strip()
        if said:
            return said
    for place in places:
        for line in _read(place / "packed-refs", _MAX_PACKED).splitlines():
            object_, _, name = line.partition(" ")
            if name == ref:
                return object_
    return ""


def _read(path: Path, limit: int = _MAX_HEAD) -> str:
    data = read_bytes(path, "", limit)
    return data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else ""
