# SPDX-License-Identifier: Apache-2.0
"""Rehearses the image file where no container engine runs: its own steps, below a folder instead of ``/``."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).parents[2]
MOVED: Final = ("/opt/", "/build", "/wheels", "/var/lib/sekisho", "/etc/sekisho", "/run/secrets")
"""Paths of the image that are made below the folder; all others are the machine's own."""
UID: Final = 10001


class Stage(msgspec.Struct):
    """The instructions of one stage, in order."""

    steps: list[tuple[str, str]]

    def all(self, keyword: str) -> list[str]:
        return [text for word, text in self.steps if word == keyword]


def read_stages(path: Path) -> list[Stage]:
    """Read an image file into its stages."""
    text = re.sub(r"\\\n\s*", " ", re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
    stages: list[Stage] = []
    for line in filter(str.strip, text.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append(Stage([]))
        elif stages:
            stages[-1].steps.append((word, rest.strip()))
    return stages


class Rehearsal:
    """An image's steps, run below a folder.

    Args:
        folder: stands for ``/``; its paths are as short as the image's own, so that scripts can name them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.build, self.final = read_stages(ROOT / "Dockerfile")
        self._bin = folder / "base" / "bin"
        _copy_python(folder / "base")

    def path(self, text: str) -> str:
        """Move the image's paths in a text below the folder."""
        pattern = "|".join(re.escape(prefix) for prefix in MOVED)
        return re.sub(rf"(?<![\w.])({pattern})", lambda match: f"{self.folder}{match[1]}", text)

    def run_build(self) -> None:
        """Copy and run what the first stage copies and runs, in an empty environment."""
        work = self.folder
        for word, text in self.build.steps:
            if word == "WORKDIR":
                work = Path(self.path(text))
                work.mkdir(parents=True)
            elif word == "COPY":
                self._copy(text.split(), work)
            elif word == "RUN":
                env = {
                    "PATH": f"{self._bin}:/usr/bin:/bin",
                    "HOME": str(self.folder),
                    "LD_LIBRARY_PATH": str(self.folder / "base" / "lib"),
                    **_pip_settings(),
                }
                subprocess.run(["/bin/sh", "-euc", self.path(text)], check=True, cwd=work, env=env)

    def _copy(self, words: list[str], work: Path) -> None:
        *sources, target = words
        for source in map(ROOT.joinpath, sources):
            if source.is_dir():
                shutil.copytree(source, work / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, work / target)

    def environment(self) -> dict[str, str]:
        """Return what the image sets, and nothing of this machine's."""
        text = " ".join(self.final.all("ENV"))
        pairs = (word.partition("=") for word in text.split())
        image = {name: self.path(value).replace("$PATH", "/usr/bin:/bin") for name, _, value in pairs}
        return image | {"LD_LIBRARY_PATH": str(self.folder / "base" / "lib")}  # where the base's Python has its own

    def command(self) -> list[str]:
        """Return what the image starts."""
        return [*json.loads(self.final.all("ENTRYPOINT")[0]), *json.loads(self.final.all("CMD")[0])]

    def health(self) -> list[str]:
        """Return what the image asks for its health."""
        return list(json.loads(self.final.all("HEALTHCHECK")[0].partition(" CMD ")[2]))

    def make_place(self, name: str, *, owned: bool = False) -> Path:
        """Make a folder of the image's, owned by its user where the image says so."""
        place = Path(self.path(name))
        place.mkdir(parents=True)
        if owned:
            give_to_user(place)
        return place


def give_to_user(path: Path) -> None:
    """Make a file or folder the property of the image's user, where one may."""
    if os.getuid() == 0:
        os.chown(path, UID, UID)


def _copy_python(folder: Path) -> None:
    """Put this Python, without its packages and tests, where another user may run it: it stands for the base image."""
    ignored = shutil.ignore_patterns("site-packages", "test", "tests", "__pycache__", "*.a", "idlelib", "share")
    shutil.copytree(sys.base_prefix, folder, ignore=ignored, symlinks=True)
    link = folder / "bin" / "python"
    if not link.exists():
        link.symlink_to("python3")


def as_another_user() -> dict[str, int]:
    """Return how to start a process as the image's user; as this one where that needs rights it lacks."""
    return {"user": UID, "group": UID} if os.getuid() == 0 else {}


def _pip_settings() -> dict[str, str]:
    """Return what this machine needs to reach its package index: settings of pip, nothing else of it."""
    return {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}  # noqa: TID251
