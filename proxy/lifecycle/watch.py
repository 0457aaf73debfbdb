# SPDX-License-Identifier: Apache-2.0
"""Tells one state of a policy folder from another. This module does I/O.

It looks, rather than being told: notifications of file systems do not cross every mount, and what Kubernetes does to
a ConfigMap (one symbolic link, ``..data``, is swapped for another) looks like nothing to many of them.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

MAX_ENTRIES: Final = 20_000
"""Files and folders that are looked at; a policy folder has no more."""


def take_fingerprint(folder: Path) -> str:
    """Return what changes when a file of the folder does: names, sizes, times and what links lead to.

    A folder or file that cannot be read counts as what it is: one more state.
    """
    digest = hashlib.sha256()
    left = MAX_ENTRIES
    waiting = [folder]
    seen: set[str] = set()
    while waiting and left > 0:
        place = waiting.pop()
        real = os.path.realpath(place)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            digest.update(f"{place}\0{error.errno}\0".encode("utf-8", "surrogateescape"))
            continue
        for entry in entries[:left]:
            if entry.name.startswith(".") and not entry.name.startswith(".."):
                continue  # an editor's, a version control's: nothing of it is ever loaded
            digest.update(_describe(entry).encode("utf-8", "surrogateescape"))
            if _is_folder(entry):
                waiting.append(Path(entry.path))
        left -= len(entries)
    return digest.hexdigest()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _describe(entry: os.DirEntry[str]) -> str:
    try:
        link = str(Path(entry.path).readlink()) if entry.is_symlink() else ""
        status = entry.stat()
    except OSError as error:
        return f"{entry.path}\0{error.errno}\0"
    shape = (
        "folder" if entry.is_dir() else f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    )
    return f"{entry.path}\0{link}\0{shape}\0"
