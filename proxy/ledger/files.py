# SPDX-License-Identifier: Apache-2.0
"""The files that a ledger is written to. This module does I/O.

- Bytes of one call are there, or none: a write that ends halfway is cut off again.
- One process writes a folder; a second one is refused by a lock.
- What was removed, replaced, emptied or lengthened by others is not written to any more.
"""

import errno
import fcntl
import logging
import os
import stat
import threading
from pathlib import Path
from typing import Final

from proxy.ledger.segments import CHECKPOINT, LOCK, Segment, list_segments, replace_file, segment_name, sync_folder

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW

log = logging.getLogger("sekisho.ledger")


class Folder:
    """The sink of a ledger that is a folder, held by a lock: the segment that is written.

    Args:
        path: made if it is missing, readable by its owner alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self.length = 0
        """Of the segment that is written, in bytes."""
        self.left = 0
        """How much of what could not be written is there all the same: never anything."""
        self.segment: Path | None = None
        self._file = -1
        self._identity = (0, 0)
        self._lock = -1
        self._lock_identity = (0, 0)
        self._retired: list[int] = []
        """Descriptors of segments that are complete and may not be on disk yet."""
        self._is_listed = True
        """Whether it is durable that the segment is in the folder."""
        self._guard = threading.Lock()
        """Between whoever writes and whoever waits for the disk."""
        self._hold()

    def _hold(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(lock)
            raise
        self._lock, self._lock_identity = lock, _identity(os.fstat(lock))

    def _hold_again(self) -> None:
        """Make sure that the folder is still ours; one that another ledger began in meanwhile is not."""
        try:
            is_held = _identity((self.path / LOCK).lstat()) == self._lock_identity
        except (FileNotFoundError, NotADirectoryError):
            is_held = False
        if is_held:
            return
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        self._hold()
        if any(segment.path != self.segment for segment in list_segments(self.path)):
            self._lock_identity = (0, 0)
            raise FileExistsError(errno.EEXIST, "another ledger was begun in its place")

    def resume(self, segment: Segment, length: int) -> None:
        """Go on in a segment that is there, behind its first ``length`` bytes; what follows them is cut off."""
        file = os.open(segment.path, _FLAGS)
        try:
            found = os.fstat(file)
            if found.st_size != length:
                os.ftruncate(file, length)
        except BaseException:
            os.close(file)
            raise
        self._file, self._identity, self.segment, self.length = file, _identity(found), segment.path, length

    def begin(self, first: int, data: bytes) -> None:
        """Begin the segment of that number with its first lines; the one before is left as it is.

        Raises:
            OSError: it cannot be; then nothing has changed.
        """
        self._hold_again()
        path = self.path / segment_name(first)
        file = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _write(file, data)
            found = os.fstat(file)
        except BaseException:
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        with self._guard:
            if self._file >= 0:
                self._retired.append(self._file)
            self._file, self._is_listed = file, False
        self._identity, self.segment, self.length = _identity(found), path, len(data)

    def write(self, data: bytes) -> None:
        """Append to the segment.

        Raises:
            OSError: nothing was.
        """
        if self._file < 0:
            self._open_again()
        try:
            _write(self._file, data)
        except OSError:
            self._undo()
            raise
        self.length += len(data)

    def _open_again(self) -> None:
        if self.segment is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        self.resume(Segment(self.segment, 0), self.length)

    def _undo(self) -> None:
        try:
            os.ftruncate(self._file, self.length)
        except OSError:
            log.exception("an unfinished line could not be cut off; the next attempt does")
        with self._guard:
            self._retired.append(self._file)
            self._file = -1

    def is_in_place(self) -> bool:
        """Say whether what is written is the file that readers find under its name, as long as we left it.

        After a failure it may be longer by what could not be cut off: that is cut off when it is opened again.
        """
        if self.segment is None:
            return False
        try:
            there = self.segment.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        if _identity(there) != self._identity:
            return False
        return there.st_size == self.length or (self._file < 0 and there.st_size > self.length)

    def sync(self) -> None:
        """Wait until all that was written is on disk. It may be called from another thread than all else.

        Raises:
            OSError: the disk says no; what was written since the last success may be lost.
        """
        with self._guard:
            files, self._retired = self._retired, []
            if self._file >= 0:
                files.append(os.dup(self._file))
            is_listed, self._is_listed = self._is_listed, True
        try:
            for file in files:
                os.fdatasync(file)
            if not is_listed:
                sync_folder(self.path)
        except OSError:
            with self._guard:
                self._is_listed = self._is_listed and is_listed
            raise
        finally:
            for file in files:
                _close(file)

    def keep_checkpoint(self, note: str) -> None:
        """Put the latest checkpoint beside the segments, for whoever copies it elsewhere.

        Raises:
            OSError: the one before may be there still.
        """
        replace_file(self.path / CHECKPOINT, note.encode())

    def find_older(self, limit: float) -> tuple[list[Segment], int]:
        """Return the oldest segments, all of whose lines are older than an instant, and the first line behind them."""
        segments = list_segments(self.path)
        older: list[Segment] = []
        for segment in segments:
            if segment.path == self.segment or segment.path.stat().st_mtime >= limit:
                return older, segment.first
            older.append(segment)
        return [], 0  # what is written is not among them: it was removed

    def close(self) -> None:
        """Let go of all files and of the lock."""
        with self._guard:
            files = [*self._retired, self._file, self._lock]
            self._retired, self._file, self._lock = [], -1, -1
        for file in files:
            if file >= 0:
                _close(file)


def open_segment(segment: Segment) -> int:
    """Open a segment to read and cut it.

    Raises:
        OSError: it cannot be, or is no regular file.
    """
    file = os.open(segment.path, _FLAGS | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "it is no regular file")
    return file


def _write(file: int, data: bytes) -> None:
    if os.write(file, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _close(file: int) -> None:
    try:
        os.close(file)
    except OSError:
        log.exception("a file of the ledger could not be closed in order")


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
