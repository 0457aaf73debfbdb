# SPDX-License-Identifier: Apache-2.0
"""The last commit: when it was made, and all that it holds."""

import contextlib
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def read_epoch(root: Path = ROOT) -> int:
    """Return when the last commit was made, in seconds since 1970: the time of everything that is made from it."""
    return int(_git(root, "log", "-1", "--format=%ct"))


def find_uncommitted(root: Path = ROOT) -> list[str]:
    """Return what has been changed since, or was never committed."""
    return _git(root, "status", "--porcelain").decode().splitlines()


@contextlib.contextmanager
def export_commit(root: Path = ROOT) -> Iterator[Path]:
    """Write out all that the last commit holds into a folder that is there until the end of the block."""
    if changed := find_uncommitted(root):
        print(f"not in it, because no commit has it: {', '.join(line[3:] for line in changed)}", file=sys.stderr)
    with (
        tempfile.TemporaryDirectory() as name,
        tarfile.open(fileobj=io.BytesIO(_git(root, "archive", "HEAD"))) as archive,
    ):
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # it came with Python 3.11.4
        archive.extractall(name)  # noqa: S202 - what git made of our own commit
        yield Path(name)


def _git(root: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True).stdout
