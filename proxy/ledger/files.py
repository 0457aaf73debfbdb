# SPDX-License-Identifier: Apache-2.0
"""The files that a ledger is written to. This module does I/O.

- Bytes of one call are there, or none: a write that ends halfway is cut off again.
- One process writes a folder; a second one is refused by a lock, and by another on the segment itself, should somebody
  have removed the first.
- What was removed, replaced, emptied or lengthened by others is not written to any more. A folder that was gone and
  comes back is gone on with if it is ours.
"""

import errno
import fcntl
import logging
import os
import stat
import threading
from pathlib import Path
from typing import Final

import msgspec

from proxy.clock import parse_instant
from proxy.disk import sync_folder
from proxy.ledger.entry import read_frame
from proxy.ledger.segments import CHECKPOINT, LOCK, Segment, list_segments, replace_file, segment_name

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_HEAD_BYTES: Final = 111
"""By so much of its beginning a segment is known again: number, hash of the line before, and time of its first line."""
_FRAME_BYTES: Final = 256
"""In which a frame ends."""

log = logging.getLogger("sekisho.ledger")

Identity = tuple[int, int]
"""Device and inode."""


class _Left(msgspec.Struct, frozen=True):
    """A segment as we left it."""

    head: bytes
    length: int


class Folder:
    """The sink of a ledger that is a folder, held by a lock: the segment that is written.

    Args:
        path: made if it is missing, readable by its owner alone. Once held it is never made again: where it is gone,
            its disk may be, too, and what took its place would be on another.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self.length = 0
        """Of the segment that is written, in bytes."""
        self.left = 0
        """How much of what could not be written is there all the same: never anything."""
        self.segment: Path | None = None
        self._place = ""
        """Its path, as a text."""
        self._is_closed = False
        self._file = -1
        self._identity: Identity = (0, 0)
        self._lock = -1
        self._lock_identity: Identity = (0, 0)
        self._device = 0
        """The disk that the folder is on."""
        self._ours: dict[str, _Left] = {}
        """The segments that were written here, by name."""
        self._abandoned: Identity | None = None
        """A segment that could neither be begun nor be removed again."""
        self._retired: dict[Identity, int] = {}
        """Descriptors of files that are written no more and may not be on disk yet."""
        self._is_listed = True
        """Whether it is durable that the segment is in the folder."""
        self._guard = threading.Lock()
        """Between whoever writes and whoever waits for the disk."""
        self._syncing = threading.Lock()
        """Held while somebody waits for the disk: whoever comes next must not return before that is done."""
        self._make()
        self._hold()

    # Whose the folder is.

    def _make(self) -> None:
        if self.path.is_file():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file, and a ledger is a folder")
        _make_private(self.path)
        self._device = self.path.stat().st_dev

    def _hold(self) -> None:
        lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(lock)
            raise
        self._lock, self._lock_identity = lock, _identity(os.fstat(lock))

    def _hold_again(self) -> None:
        """Make sure that the folder is still ours; one that another ledger began in meanwhile is not.

        Raises:
            OSError: it is not, or nobody can tell.
        """
        try:
            is_held = _identity((self.path / LOCK).lstat()) == self._lock_identity
        except (FileNotFoundError, NotADirectoryError):
            is_held = False
        if is_held:
            return
        self._check_is_there()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock, self._lock_identity = -1, (0, 0)
        self._hold()
        if not self._is_ours():
            self._lock_identity = (0, 0)
            raise FileExistsError(errno.EEXIST, "another ledger was begun in its place")

    def _check_is_there(self) -> None:
        """Make sure that there is a folder to go on in.

        Raises:
            OSError: it is gone, or it is empty and on another disk, as where its own is not mounted any more.
        """
        try:
            device = self.path.stat().st_dev
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "its folder is gone") from None
        if device != self._device and not list_segments(self.path):
            raise FileNotFoundError(errno.ENOENT, "its folder is gone: an empty one on another disk is in its place")

    def _is_ours(self) -> bool:
        """Say whether nobody else has written the folder: its last segment is one that we left, and no longer."""
        segments = list_segments(self.path)
        if not segments:
            return True
        path = segments[-1].path
        self._note_length()
        left = self._ours.get(path.name)
        if left is None:
            return False
        is_half = path == self.segment and self._file < 0  # what could not be cut off
        return _read_start(path, _HEAD_BYTES) == left.head and (is_half or path.stat().st_size <= left.length)

    def _note_length(self) -> None:
        if self.segment is not None:
            self._ours[self.segment.name] = _Left(self._ours[self.segment.name].head, self.length)

    # What is written.

    def resume(self, segment: Segment, length: int) -> None:
        """Go on in a segment that is there, behind its first ``length`` bytes; what follows them is cut off.

        Raises:
            OSError: it cannot be; EAGAIN where somebody else writes it.
        """
        file = open_segment(segment)
        try:
            found = os.fstat(file)
            if found.st_size < length:
                raise OSError(errno.EIO, "the segment became shorter")  # noqa: TRY301
            if found.st_size != length:
                os.ftruncate(file, length)
            self._ours[segment.path.name] = _Left(os.pread(file, _HEAD_BYTES, 0), length)
        except BaseException:
            os.close(file)
            raise
        self._file, self._identity, self.segment, self.length = file, _identity(found), segment.path, length
        self._place = str(segment.path)

    def begin(self, first: int, data: bytes) -> None:
        """Begin the segment of that number with its first lines; the one before is left as it is.

        Raises:
            OSError: it cannot be; then nothing has changed.
        """
        self._check_open()
        self._hold_again()
        path = self.path / segment_name(first)
        self._remove_abandoned(path)
        file = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            found = os.fstat(file)
            self._abandoned = _identity(found)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(file, data)
        except BaseException:
            os.close(file)
            self._remove_abandoned(path)
            raise
        self._abandoned = None
        self._tidy()
        with self._guard:
            self._retire()
            self._file, self._is_listed = file, False
        self._note_length()
        self._ours[path.name] = _Left(data[:_HEAD_BYTES], len(data))
        self._identity, self.segment, self.length = _identity(found), path, len(data)
        self._place = str(path)

    def _remove_abandoned(self, path: Path) -> None:
        """Remove what an attempt to begin a segment has left; where that fails the next attempt does."""
        try:
            if self._abandoned is not None and _identity(path.lstat()) == self._abandoned:
                path.unlink()
            self._abandoned = None
        except FileNotFoundError:
            self._abandoned = None
        except OSError:
            log.exception("a segment that could not be begun could not be removed, either; the next attempt does")

    def _tidy(self) -> None:
        """Cut off what a failed write has left behind the segment that is left."""
        if self._file >= 0 or self.segment is None or not self.is_in_place():
            return
        try:
            os.truncate(self.segment, self.length)
        except OSError:
            log.exception("an unfinished line could not be cut off a segment that is left", extra={"path": self.name})

    def write(self, data: bytes) -> None:
        """Append to the segment.

        Raises:
            OSError: nothing was.
        """
        if self._file < 0:
            self._check_open()
            if self.segment is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            self.resume(Segment(self.segment, 0), self.length)
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - one call less on the way
        except OSError:
            self._undo()
            raise
        self.length += len(data)

    def _undo(self) -> None:
        """Cut off what was written of a call that failed; where that fails, the file is opened anew for the next."""
        try:
            os.ftruncate(self._file, self.length)
        except OSError:
            log.exception("an unfinished line could not be cut off; the next attempt does")
            with self._guard:
                self._retire()

    def _retire(self) -> None:
        """Keep the file until what was written to it is on disk. The guard is held."""
        file, self._file = self._file, -1
        if file < 0:
            return
        try:
            fcntl.flock(file, fcntl.LOCK_UN)  # it may be opened again before this descriptor is closed
            identity = _identity(os.fstat(file))
        except OSError:
            identity = (-1, file)
        if identity in self._retired:  # one is enough to wait for the disk with
            _close(file)
        else:
            self._retired[identity] = file

    def is_in_place(self) -> bool:
        """Say whether what is written is the file that readers find under its name, as long as we left it.

        After a failure it may be longer by what could not be cut off: that is cut off when it is opened again.
        """
        if self.segment is None:
            return False
        try:
            there = os.lstat(self._place)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if (there.st_dev, there.st_ino) != self._identity:
            return False
        return there.st_size == self.length or (self._file < 0 and there.st_size > self.length)

    # What is on disk.

    def sync(self) -> None:
        """Wait until all that was written is on disk. It may be called from other threads than all else.

        Raises:
            OSError: the disk says no; what was written since the last success may be lost.
        """
        with self._syncing:
            with self._guard:
                current = os.dup(self._file) if self._file >= 0 else -1
                files, self._retired = [*self._retired.values()], {}
                is_listed, self._is_listed = self._is_listed, True
            if current >= 0:
                files.append(current)
            errors = [error for error in map(_sync, files) if error is not None]  # each file has its say
            if not is_listed:
                try:
                    sync_folder(self.path)
                except OSError as error:
                    errors.append(error)
                    with self._guard:
                        self._is_listed = False
            if errors:
                raise errors[0]

    def keep_checkpoint(self, note: str) -> None:
        """Put the latest checkpoint beside the segments, for whoever copies it elsewhere.

        Raises:
            OSError: the one before may be there still.
        """
        replace_file(self.path / CHECKPOINT, note.encode())

    def find_older(self, limit: float) -> tuple[list[Segment], int]:
        """Return the oldest segments, all of whose lines are older than an instant, and the first line behind them.

        How old a segment is says the first line of the next: what a copy makes of the time of a file does not count.

        Raises:
            OSError: the folder cannot be read.
        """
        segments = list_segments(self.path)
        current = next((at for at, segment in enumerate(segments) if segment.path == self.segment), 0)
        older = 0
        while older < current and _read_time(segments[older + 1].path) < limit:
            older += 1
        return segments[:older], segments[older].first if older else 0

    def close(self) -> None:
        """Let go of all files and of the lock. Nothing is written any more."""
        with self._guard:
            self._is_closed = True
            self._retire()
            files = [*self._retired.values(), self._lock]
            self._retired, self._lock = {}, -1
        for file in files:
            if file >= 0:
                _close(file)

    def _check_open(self) -> None:
        if self._is_closed:
            raise OSError(errno.EBADF, "it is closed")


def _make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner alone, and make durable that it is there."""
    if folder.exists():
        return
    _make_private(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700)  # another replica may make the one above at the same time
    sync_folder(folder.parent)


def open_segment(segment: Segment) -> int:
    """Open a segment to read and cut it, and hold it.

    Raises:
        OSError: it cannot be, or is no regular file; EAGAIN where somebody else holds it.
    """
    file = os.open(segment.path, _FLAGS | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")  # noqa: TRY301
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(file)
        raise
    return file


def _read_start(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _read_time(path: Path) -> float:
    """Return when the first line of a segment was written; infinity where that cannot be told."""
    frame = read_frame(_read_start(path, _FRAME_BYTES))
    try:
        return parse_instant(frame.time.decode()) if frame else float("inf")
    except ValueError:
        return float("inf")


def _write(file: int, data: bytes) -> None:
    if os.write(file, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sync(file: int) -> OSError | None:
    """Wait for the disk, and close the file; return what it says."""
    try:
        os.fdatasync(file)
    except OSError as error:
        return error
    finally:
        _close(file)
    return None


def _close(file: int) -> None:
    try:
        os.close(file)
    except OSError:
        log.exception("a file of the ledger could not be closed in order")


def _identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino
