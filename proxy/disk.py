# SPDX-License-Identifier: Apache-2.0
"""What every room that keeps files does with them alike. This module does I/O."""

import errno
import os
import stat
from pathlib import Path


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
