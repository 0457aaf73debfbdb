# SPDX-License-Identifier: Apache-2.0
"""Follows a ledger that is being written: from file to file, through what happens to files. This module does I/O.

- Nobody waits here: ``read`` returns what is new, and the caller asks again.
- The next segment is begun only when the one before it has been read to its end after the next one was seen.
- A segment that is replaced is read from its beginning again, without the lines that were given before.
- An unfinished line is read anew each time, so that one which a restarted writer cut off leaves nothing behind.
"""

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from proxy.errors import UsageError
from proxy.ledger.read import MAX_LINE_BYTES, Entry, Files, Position, open_file, read_backward
from proxy.ledger.segments import find_end_of_lines, list_segments

_NUMBER: Final = re.compile(rb'\{"n":([0-9]{1,18}),')


class Follower:
    """Reads on where a reader stopped.

    Args:
        files: of the ledger.
        start: where to begin; None for the first line of the first segment that is there or comes.
        tell: takes a sentence for a person.
    """

    def __init__(self, files: Files, start: Position | None, tell: Callable[[str], None]) -> None:
        self._folder = files.folder
        self._path = start.path if start else None if files.folder else files.paths[0]
        self._offset = start.offset if start else 0
        self._tell = tell
        self._file: io.FileIO | None = None
        self._last = _number_before(files, start) if start else -1
        """Number of the last line that was given, or stands before the first of them."""
        self._shown = -1
        """Lines up to this number were given before their file was replaced."""
        self._is_lost = False

    def read(self) -> Iterator[Entry]:
        """Return the whole lines that are there and were not given yet.

        Raises:
            UsageError: a file cannot be read.
        """
        try:
            while True:
                following = self._find_next()  # looked for first: behind what is read then nothing more comes
                file, path = self._ensure_open(), self._path
                if file is not None and path is not None:
                    yield from self._read_lines(file, path)
                if self._has_changed():
                    continue
                if following is None:
                    return
                yield from self._finish()
                self._path, self._offset = following, 0
        except OSError as error:
            raise UsageError(f"{self._path or self._folder} cannot be read: {error.strerror}.") from error

    def close(self) -> None:
        """Let go of the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _ensure_open(self) -> io.FileIO | None:
        if self._file is None and self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                self._file = open_file(self._path)
        return self._file

    def _read_lines(self, file: io.FileIO, path: Path) -> Iterator[Entry]:
        while block := os.pread(file.fileno(), MAX_LINE_BYTES, self._offset):
            whole = block.rfind(b"\n") + 1
            if whole:
                yield from self._split(block[: whole - 1], path)
            elif len(block) >= MAX_LINE_BYTES:
                yield Entry(path, self._offset, block, is_whole=False)
                whole = len(block)
            else:
                return
            self._offset += whole

    def _split(self, block: bytes, path: Path) -> Iterator[Entry]:
        offset = self._offset
        for data in block.split(b"\n"):
            number = _NUMBER.match(data)
            if number is None or int(number[1]) > self._shown:
                yield Entry(path, offset, data)
            if number is not None:
                self._last = int(number[1])
            offset += len(data) + 1

    def _find_next(self) -> Path | None:
        """Return the segment after the one that is read, or the first; None if there is none yet."""
        if self._folder is None:
            return None
        try:
            paths = [segment.path for segment in list_segments(self._folder)]
        except (FileNotFoundError, NotADirectoryError):
            if not self._is_lost:
                self._tell(f"The folder {self._folder} is gone; waiting for it to come back.")
            self._is_lost = True
            return None
        self._is_lost = False
        return next((path for path in paths if self._path is None or path.name > self._path.name), None)

    def _finish(self) -> Iterator[Entry]:
        """Return an unfinished line at the end of a file behind which another one stands."""
        if self._file is None or self._path is None:
            return
        rest = os.pread(self._file.fileno(), MAX_LINE_BYTES, self._offset)
        if rest:
            yield Entry(self._path, self._offset, rest, is_whole=False)
        self.close()

    def _has_changed(self) -> bool:
        """Say whether the file under our name has to be read from another place now."""
        if self._file is None or self._path is None:
            return False
        ours = os.fstat(self._file.fileno())
        try:
            there = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        if (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev):
            self._tell(f"{self._path} was replaced; reading on after line {self._last}.")
            self.close()
            self._offset, self._shown = 0, self._last
            return True
        if ours.st_size < self._offset:
            self._tell(f"{self._path} was cut to {ours.st_size} bytes; reading on from there.")
            self._offset = find_end_of_lines(self._file.fileno())[0]
        return False


def _number_before(files: Files, start: Position) -> int:
    for entry in read_backward(files, start):
        number = _NUMBER.match(entry.data)
        return int(number[1]) if number else -1
    return -1
