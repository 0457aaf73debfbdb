# SPDX-License-Identifier: Apache-2.0
"""What every room that keeps files does with them alike. This module does I/O."""

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

from proxy.errors import UsageError


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
