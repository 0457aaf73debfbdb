# SPDX-License-Identifier: Apache-2.0
"""What a check is, and which files of a folder no check looks at."""

import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

DEPLOY: Final = Path(__file__).parents[1]
PROGRAM_SECONDS: Final = 900
_NO_FILES: Final = ("__pycache__",)


class Check(msgspec.Struct, frozen=True):
    """What holds files of one kind to what they are for."""

    title: str
    """By what they are judged, such as ``promtool check rules``."""
    patterns: tuple[str, ...]
    """Which files, as globs below ``deploy/``; ``**`` is any depth."""
    find_problems: Callable[[Sequence[Path]], Iterable[str]]
    """Takes the files, returns a sentence for each problem that names the file and the mend."""
    programs: tuple[str, ...] = ()
    """What it starts. Where one is missing, its files are not judged."""
    package: str = ""
    """Debian's package, or a place in words, that has these programs."""

    @property
    def missing(self) -> str:
        """The sentence that names what is missing on this machine; empty if nothing is."""
        absent = [name for name in self.programs if shutil.which(name) is None]
        return f"{', '.join(absent)} cannot be found ({self.package})" if absent else ""


def list_files(folder: Path = DEPLOY) -> list[Path]:
    """Return every file below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not {*path.parts} & {*_NO_FILES})


def select(check: Check, files: Iterable[Path], folder: Path = DEPLOY) -> list[Path]:
    """Return those files that a check looks at."""
    wanted = {path for pattern in check.patterns for path in folder.glob(pattern)}
    return [path for path in files if path in wanted]


def find_unchecked(checks: Iterable[Check], files: Sequence[Path], folder: Path = DEPLOY) -> list[Path]:
    """Return those files that no check looks at."""
    seen = {path for check in checks for path in select(check, files, folder)}
    return [path for path in files if path not in seen]


def run_program(*command: str, cwd: Path = DEPLOY) -> tuple[int, str]:
    """Run a program to its end; return its exit code and all that it printed."""
    run = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False, stdin=subprocess.DEVNULL
    )
    return run.returncode, (run.stdout + run.stderr).strip()
