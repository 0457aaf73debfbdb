# SPDX-License-Identifier: Apache-2.0
"""A small real file system, to be filled, covered and taken away; whoever may not mount gets a namespace of its own."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SIZE: Final = 1024 * 1024
MOUNT, UMOUNT, UNSHARE = (shutil.which(name) or name for name in ("mount", "umount", "unshare"))
_MARK: Final = "IN_A_NAMESPACE_OF_ITS_OWN"


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let the kernel refuse what goes beyond: a full disk that also stops root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class SmallDisk:
    """A file system of a megabyte, and a place where a folder of it is seen.

    Args:
        folder: where both are mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.place = folder / "place"
        """Where the gateway finds the disk; a bind mount, so that it can go away and come back."""
        self._disk = folder / "disk"
        self._mounted: list[Path] = []
        for path in (self._disk, self.place):
            path.mkdir()
        self._mount("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", self._disk)
        (self._disk / "kept").mkdir()
        self.put_back()

    def _mount(self, *arguments: str | Path) -> None:
        subprocess.run([MOUNT, *map(str, arguments)], check=True, capture_output=True)
        self._mounted.append(Path(arguments[-1]))

    def _unmount(self, path: Path) -> None:
        subprocess.run([UMOUNT, "--lazy", str(path)], check=True, capture_output=True)
        self._mounted.reverse()
        self._mounted.remove(path)
        self._mounted.reverse()

    def fill(self) -> None:
        """Leave no room for another page."""
        with (self._disk / "filler").open("ab", buffering=0) as filler:
            for size in (65536, 4096, 512, 1):
                with contextlib.suppress(OSError):
                    while True:
                        filler.write(b"\0" * size)

    def free(self) -> None:
        """Make the room again."""
        (self._disk / "filler").unlink()

    def take_away(self) -> None:
        """Take the disk from its place; what stands there then is the folder below."""
        self._unmount(self.place)

    def put_back(self) -> None:
        """Put the disk where it was."""
        self._mount("--bind", self._disk / "kept", self.place)

    def cover(self) -> None:
        """Put a file system that is read-only, and empty, in the disk's place."""
        self._mount("-t", "tmpfs", "-o", "ro,size=4k", "tmpfs", self.place)

    def uncover(self) -> None:
        """Take it away."""
        self._unmount(self.place)

    def set_writable(self, *, to: bool) -> None:
        """Mount the disk anew, read-only or not; nothing on it may be open for writing."""
        options = f"remount,{'rw' if to else 'ro'}"  # with its source: else a uid is added that no namespace knows
        subprocess.run([MOUNT, "-o", options, "tmpfs", str(self._disk)], check=True, capture_output=True)

    def close(self) -> None:
        """Unmount everything."""
        while self._mounted:
            self._unmount(self._mounted[-1])


@contextlib.contextmanager
def mount_small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount a small disk in a folder for the block."""
    disk = SmallDisk(folder)
    try:
        yield disk
    finally:
        disk.close()


def _may_mount() -> bool:
    with TemporaryDirectory() as folder:
        try:
            with mount_small_disk(Path(folder)):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def on_a_small_disk(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Run a test where file systems may be mounted: here, or as the root of a namespace of its own."""

    @wraps(test)
    async def run(request: pytest.FixtureRequest, **values: Any) -> None:
        if _may_mount():
            await test(request=request, **values)
            return
        if _MARK in os.environ:  # noqa: TID251 - set by ourselves
            pytest.fail("No file system can be mounted, not even in a namespace: run the tests as root.")
        nested = subprocess.run(
            [UNSHARE, "-Urm", "env", f"{_MARK}=1", sys.executable, "-m", "pytest", "-q", request.node.nodeid],
            capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
        if nested.returncode != 0 and "namespace" in nested.stderr + nested.stdout:
            pytest.fail("No file system can be mounted: run the tests as root, or let users make namespaces.")
        assert nested.returncode == 0, nested.stdout + nested.stderr

    return run
