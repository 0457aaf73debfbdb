# SPDX-License-Identifier: Apache-2.0
"""What every room that keeps files does with them alike. This module does I/O."""

import contextlib
import errno
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxy.errors import UsageError

_OPEN: Final = stat.S_IWGRP | stat.S_IRWXO
"""That others than its owner write a file, or others than its group read it."""
_A_FOLDER: Final = "it is a folder (Docker makes one in the place of a file that is to be mounted and is not there)"
_KINDS: Final[Mapping[str, tuple[str, re.Pattern[bytes]]]] = {
    "--ledger-key": ("the key of a ledger", re.compile(rb"(?m)^\s*PRIVATE\+KEY\+")),
    "--pseudonym-key": ("a key ring of pseudonyms", re.compile(rb"(?m)^\s*subjects ")),
    "SEKISHO_ASSERTION_KEY": (
        "keys of assertions", re.compile(rb"(?m)^\s*[0-9]{4}-[0-9-]+T[0-9:.]+Z (?:EdDSA|ES256) ")),
    "--tls-key": ("PEM", re.compile(rb"(?m)^-----BEGIN ")),
}  # fmt: skip
"""By the setting that names it, what a file of keys is, and a line of it."""


def sync_folder(folder: Path) -> None:
    """Make durable which files a folder holds.

    Raises:
        OSError: it cannot be.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_regular(path: Path, flags: int = 0) -> int:
    """Open a file to read; whoever can write where it lies may have put a pipe, which is not waited for.

    Args:
        path: the file.
        flags: of ``open``, beside those for that.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))  # noqa: TRY301
    except BaseException:
        os.close(file)
        raise
    return file


def read_key_file(path: Path, what: str, mend: str, *, limit: int) -> bytes:
    """Read a file of keys, which is its owner's and its group's alone.

    Args:
        path: the file.
        what: its kind, as the beginning of a sentence: ``The key of the ledger``.
        mend: how one is made, as a sentence.
        limit: bytes.

    Raises:
        UsageError: it cannot be had, is open to others, is empty or too large.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            data = stream.read(limit + 1)
    except OSError as error:
        why = _A_FOLDER if path.is_dir() else error.strerror
        raise UsageError(f"{what} {path} cannot be read: {why}. {mend}") from error
    if not data.strip() or len(data) > limit:
        why = f"it has more than {limit} bytes" if data.strip() else "it is empty"
        raise UsageError(f"{what} {path} is none: {why}. {mend}")
    if mode & _OPEN:
        raise UsageError(
            f"{what} {path} is open to others (mode {stat.S_IMODE(mode):o}), and whoever has it can do as the gateway "
            f"does: chmod 600 {path}, or 640 where its group is the gateway's alone; where it is mounted, say so to "
            "what mounts it (Kubernetes: defaultMode 0440 and an fsGroup)."
        )
    return data


def find_kind(data: bytes, setting: str) -> str:
    """Return `` (it looks like …)`` where a file of keys that cannot be used is of another kind; else nothing.

    Args:
        data: what stands in it.
        setting: that names it.
    """
    kinds = {name: kind for name, (kind, line) in _KINDS.items() if line.search(data)}
    if setting in kinds or not kinds:
        return ""
    name, kind = next(iter(kinds.items()))
    return f" (it looks like {kind}, of {name})"


def write_new_file(path: Path, text: str, mode: int) -> None:
    """Make a file, to the disk, or leave none behind.

    Args:
        path: where nothing stands.
        text: what shall stand there.
        mode: who may do what with it.

    Raises:
        OSError: it cannot be made, FileExistsError where something stands there.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        _write(file, text)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def replace_file(path: Path, text: str, *, scrub: bool = False) -> None:
    """Replace what stands in the file, whole or not at all; its mode and a link that leads to it stay.

    Args:
        path: the file.
        text: what shall stand there.
        scrub: write over what stood there, as far as that can be done: unless the file has other names, too.

    Raises:
        UsageError: it cannot be replaced; the message says whether it is as it was.
    """
    name, is_replaced = "", False
    try:
        real = path.resolve(strict=True)
        with real.open("r+b" if scrub else "rb") as old:
            about = os.fstat(old.fileno())
            file, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}-")
            os.fchmod(file, about.st_mode & 0o777)
            if (about.st_uid, about.st_gid) != (os.geteuid(), os.getegid()):
                with contextlib.suppress(PermissionError):
                    os.fchown(file, about.st_uid, about.st_gid)
            _write(file, text)
            Path(name).replace(real)
            is_replaced = True
            sync_folder(real.parent)
            if scrub and about.st_nlink == 1:
                old.write(bytes(about.st_size))
                old.flush()
                os.fsync(old.fileno())
    except OSError as error:
        if is_replaced:
            raise UsageError(
                f"{path} was replaced, but what stood there cannot be written over: {error.strerror}."
            ) from error
        if name:
            Path(name).unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be replaced: {error.strerror}. It is as it was.") from error


def _write(file: int, text: str) -> None:
    """Write a text to an open file, to the disk, and close it."""
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
