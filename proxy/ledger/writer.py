# SPDX-License-Identifier: Apache-2.0
"""Appends lines to the ledger's file. This module does I/O.

- ``append`` returns when the lines are in the kernel (one ``write``): they survive the end of this process, not
  yet that of the machine.
- All lines of one call are there, or none: a write that ends halfway is cut off again.
- A ledger that failed is opened anew at the next call, so that it recovers without a restart.
- One process writes a ledger; a second one is refused by a lock.
"""

import errno
import fcntl
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proxy.errors import LedgerError, UsageError
from proxy.ledger.record import encode_line
from proxy.telemetry import Metrics

FILE_NAME: Final = "ledger.jsonl"
_BLOCK_BYTES: Final = 1024 * 1024

log = logging.getLogger("sekisho.ledger")


class LedgerWriter:
    """The one writer of a ledger folder.

    Args:
        folder: made if it is missing, readable by its owner alone.
        metrics: counted are lines and failures.

    Raises:
        UsageError: the folder cannot be made or written, or another gateway writes it.
    """

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self._folder = folder
        self.path = folder / FILE_NAME
        self._metrics = metrics
        self._file = -1
        self._length = 0
        try:
            self._open()
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.EACCES} and folder.exists() and os.access(folder, os.W_OK):
                raise UsageError(
                    f"Another gateway writes the ledger {folder}: stop it, or name another folder with --ledger."
                ) from error
            raise UsageError(
                f"The ledger {folder} cannot be written: {error.strerror}. "
                "Name a folder this user may write with --ledger."
            ) from error

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._length = _cut_unfinished_line(file, self.path)
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def append(self, lines: Sequence[object]) -> None:
        """Make the lines durable in the kernel.

        Raises:
            LedgerError: none of them is.
        """
        try:
            data = b"".join(map(encode_line, lines))
            self._ensure_open()
            written = os.write(self._file, data)
            if written != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - handled as the rest
        except OSError as error:
            self._fail()
            raise LedgerError(f"The ledger {self._folder} cannot be written: {error.strerror}.") from error
        except (TypeError, ValueError) as error:
            self._metrics.ledger_failures.inc()
            raise LedgerError(f"A line for the ledger {self._folder} cannot be rendered.") from error
        self._length += written
        self._metrics.ledger_lines.inc(len(lines))

    def _ensure_open(self) -> None:
        if self._file >= 0 and not self._stands_in_its_place():
            log.error("the ledger's file was removed or replaced: a new one is begun", extra={"path": str(self.path)})
            self._metrics.ledger_failures.inc()
            self.close()
        if self._file < 0:
            self._open()

    def _stands_in_its_place(self) -> bool:
        """Say whether what is written still is the file that readers find under its name."""
        try:
            there = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        ours = os.fstat(self._file)
        return (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev)

    def _fail(self) -> None:
        self._metrics.ledger_failures.inc()
        if self._file < 0:
            return
        try:
            os.ftruncate(self._file, self._length)
        except OSError:
            log.exception("an unfinished line could not be cut off; the next start does")
        self.close()

    def close(self) -> None:
        """Let go of the file and its lock."""
        file, self._file = self._file, -1
        if file >= 0:
            try:
                os.close(file)
            except OSError:
                log.exception("the ledger's file could not be closed in order")


def _cut_unfinished_line(file: int, path: Path) -> int:
    """Cut off a last line without its newline, which nobody was answered on, and return the length."""
    length = whole = os.lseek(file, 0, os.SEEK_END)  # refuses a pipe, which keeps nothing
    while whole > 0:
        start = max(0, whole - _BLOCK_BYTES)
        newline = os.pread(file, whole - start, start).rfind(b"\n")
        if newline >= 0:
            whole = start + newline + 1
            break
        whole = start
    if whole < length:
        log.warning("an unfinished last line was cut off", extra={"path": str(path), "bytes": length - whole})
        os.ftruncate(file, whole)
    return whole
