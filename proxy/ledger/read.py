# SPDX-License-Identifier: Apache-2.0
"""Reads the lines of a ledger: forward, backward, and on as they are written. This module does I/O.

- A ledger is a folder of segments, one file, or a stream. What is damaged is skipped, counted and told, never raised:
  reading shows what can be read, and ``verify`` says what is wrong.
- Memory is bounded by the longest line that is taken, never by the size of a segment.
- A line is named ``file:line``. The number is counted only when somebody asks, so that reading backward stays cheap.
"""

import heapq
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from proxy.disk import open_regular
from proxy.errors import UsageError
from proxy.ledger.entry import TIME_LENGTH
from proxy.ledger.segments import find_end_of_lines, is_segment, list_ledgers, list_segments

MAX_LINE_BYTES: Final = 1024 * 1024
"""A longer line is none of ours: an entry of a log that is served as tiles has at most 65,535 bytes."""
_BLOCK_BYTES: Final = 1024 * 1024
_BACKWARD_BYTES: Final = 64 * 1024
_HEAD_BYTES: Final = 512
_TIME_KEY: Final = b'"time":"'
_KIND_KEY: Final = b'"line":"'
_KIND_LENGTH: Final = 33
_TOLD: Final = 10
"""Damaged lines that are named one by one; the others are counted."""


class Entry(NamedTuple):
    """One line as it stands in a file or came through a stream."""

    path: Path | None
    """None for a stream."""
    offset: int
    """Of its first byte in the file; of a stream, the number of its lines before this one."""
    data: bytes
    """Without the newline."""
    is_whole: bool = True
    """Whether a newline ends it."""


class Position(NamedTuple):
    """Behind a line of a file: where the next one begins."""

    path: Path
    offset: int


class Files(NamedTuple):
    """The files of a ledger in the order of their lines."""

    folder: Path | None
    """None where one file was named."""
    paths: tuple[Path, ...]


def find_files(place: Path) -> Files:
    """Return the segments of a folder, or the one file that was named.

    Raises:
        UsageError: there is no such place, or it cannot be read.
    """
    try:
        if not stat.S_ISDIR(place.stat().st_mode):
            return Files(None, (place,))
        return Files(place, tuple(segment.path for segment in list_segments(place)))
    except FileNotFoundError as error:
        raise UsageError(f"There is no ledger {place}: name its folder, one of its files, or - for a pipe.") from error
    except OSError as error:
        raise UsageError(f"The ledger {place} cannot be read: {error.strerror}.") from error


def find_ledgers(place: Path) -> list[Files]:
    """Return the files of every ledger at a place: of a folder its own, and those of workers below it.

    Raises:
        UsageError: there is no such place, or it cannot be read.
    """
    found = find_files(place)
    if found.folder is None:
        return [found]
    try:
        return [find_files(each) for each in list_ledgers(found.folder)]
    except OSError as error:
        raise UsageError(f"The ledger {place} cannot be read: {error.strerror}.") from error


def merge_by_time(streams: Iterable[Iterator[Entry]], *, backward: bool = False) -> Iterator[Entry]:
    """Return the lines of several ledgers as those of one, by their times."""
    return heapq.merge(*streams, key=lambda entry: line_time(entry.data), reverse=backward)


def open_file(path: Path) -> io.FileIO:
    """Open a file to read. A pipe may be named to be read; one that is called as segments are is refused.

    Raises:
        OSError: it cannot be opened.
    """
    return io.FileIO(open_regular(path) if is_segment(path) else path)


def choose_by_time(paths: Sequence[Path], since: str, until: str) -> tuple[Path, ...]:
    """Leave out segments that hold no line of a time.

    Times never go back within a ledger but where a ``clock`` line says so, so the first line of a segment bounds those
    of the segment before it. Whoever calls gives bounds wide enough for clocks that were set back.

    Args:
        paths: segments in order.
        since: RFC 3339 in UTC with milliseconds, as lines say it; empty for no bound.
        until: likewise; a segment that begins then or later is left out.
    """
    kept, later = [], ""
    for path in reversed(paths):
        begin = _first_time(path)
        if not (since and later and later < since) and not (until and begin and begin >= until):
            kept.append(path)
        later = begin or later
    return tuple(reversed(kept))


def _first_time(path: Path) -> str:
    """Return the time of a segment's first line, empty if that cannot be told."""
    try:
        with open_file(path) as file:
            head = file.read(_HEAD_BYTES).partition(b"\n")[0]
    except OSError:
        return ""
    return line_time(head).decode("ascii", "replace")


def line_time(data: bytes) -> bytes:
    """Return the time that the frame of a line says, empty if that cannot be told without decoding."""
    start = data.find(_TIME_KEY, 0, _HEAD_BYTES) + len(_TIME_KEY)
    end = start + TIME_LENGTH
    return data[start:end] if start >= len(_TIME_KEY) and data[end : end + 1] == b'"' else b""


def line_kind(data: bytes) -> bytes:
    """Return the kind of a line, empty if that cannot be told without decoding."""
    start = data.find(_KIND_KEY, 0, _HEAD_BYTES) + len(_KIND_KEY)
    end = data.find(b'"', start, start + _KIND_LENGTH)
    return data[start:end] if start >= len(_KIND_KEY) and end >= 0 else b""


def read_forward(paths: Iterable[Path], *, holding: bytes = b"") -> Iterator[Entry]:
    """Return the lines of files in order.

    Args:
        paths: the files. One that is gone was removed by retention after it was listed, and is left out.
        holding: only lines with these bytes in them, which is far cheaper than looking at each.

    Raises:
        UsageError: one of them cannot be read.
    """
    for path in paths:
        try:
            with open_file(path) as file:
                yield from _read_blocks(file, path, holding)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _read_blocks(file: io.FileIO, path: Path, holding: bytes) -> Iterator[Entry]:
    rest, offset = b"", 0
    while block := file.read(_BLOCK_BYTES):
        block = rest + block
        end = block.rfind(b"\n") + 1
        if end:
            if holding in block:
                yield from _split(block[:end], path, offset, holding)
        elif len(block) > MAX_LINE_BYTES:
            yield Entry(path, offset, block[:MAX_LINE_BYTES], is_whole=False)
            end = len(block)
        rest, offset = block[end:], offset + end
    if rest and holding in rest:
        yield Entry(path, offset, rest, is_whole=False)


def _split(block: bytes, path: Path, offset: int, holding: bytes) -> Iterator[Entry]:
    for data in block[:-1].split(b"\n"):
        if holding in data:
            yield Entry(path, offset, data)
        offset += len(data) + 1


def read_stream(stream: BinaryIO) -> Iterator[Entry]:
    """Return the lines of a stream as they come."""
    for number, raw in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES), b"")):
        is_whole = raw.endswith(b"\n")
        yield Entry(None, number, raw[:-1] if is_whole else raw, is_whole)


def find_end(files: Files) -> Position | None:
    """Return where the next line will begin; None for a folder without a segment."""
    for path in reversed(files.paths):
        try:
            with open_file(path) as file:
                return Position(path, find_end_of_lines(file.fileno())[0])
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    return None


def read_backward(files: Files, end: Position | None = None) -> Iterator[Entry]:
    """Return the lines of files from the last to the first, reading no more than is asked for.

    Args:
        files: of the ledger.
        end: where to begin; the end of everything unless told.

    Raises:
        UsageError: one of them cannot be read.
    """
    for path in reversed(files.paths):
        if end is not None and path.name > end.path.name:
            continue
        try:
            with open_file(path) as file:
                size = end.offset if end and path == end.path else os.fstat(file.fileno()).st_size
                yield from _read_file_backward(file, path, size)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _read_file_backward(file: io.RawIOBase | io.BufferedIOBase, path: Path, size: int) -> Iterator[Entry]:
    file.seek(max(0, size - 1))
    is_whole = size > 0 and file.read(1) == b"\n"
    rest, start = b"", size - 1 if is_whole else size
    while start > 0:
        end, start = start, max(0, start - _BACKWARD_BYTES)
        file.seek(start)
        block = file.read(end - start) + rest
        cursor = start + len(block)
        first, *lines = block.split(b"\n")
        if start == 0 or len(first) > MAX_LINE_BYTES:
            lines, first = [first, *lines], b""
        for data in reversed(lines):
            cursor -= len(data)
            yield Entry(path, cursor, data[:MAX_LINE_BYTES], is_whole)
            cursor, is_whole = cursor - 1, True
        rest = first


def locate(entry: Entry) -> str:
    """Return ``file:line`` of a line, counted from 1."""
    if entry.path is None:
        return f"standard input:{entry.offset + 1}"
    number, left = 1, entry.offset
    try:
        with open_file(entry.path) as file:
            while left > 0 and (block := file.read(min(left, _BLOCK_BYTES))):
                number, left = number + block.count(b"\n"), left - len(block)
    except OSError:
        return f"{entry.path} at byte {entry.offset}"
    return f"{entry.path}:{number}"


_decode: Final = msgspec.json.Decoder().decode


class Reading:
    """Decodes lines; counts and tells those that cannot be read.

    Args:
        tell: takes a sentence for a person.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.damaged = 0

    def decode(self, entry: Entry) -> dict[str, Any] | None:
        """Return what a line says; None if it cannot be read, which is counted and told."""
        if not entry.is_whole:
            is_long = len(entry.data) >= MAX_LINE_BYTES
            self._note(entry, "it is longer than any line of ours" if is_long else "it is unfinished")
            return None
        try:
            decoded = _decode(entry.data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._note(entry, f"it is no JSON: {str(error).removeprefix('JSON is malformed: ')}")
            return None
        if not isinstance(decoded, dict) or not isinstance(decoded.get("line"), str):
            self._note(entry, "it is no line of a ledger: it does not say which kind of `line` it is")
            return None
        return decoded

    def look(self, entry: Entry) -> tuple[bytes, str] | None:
        """Return the kind and the time of a line without decoding it, as ours are written; None as ``decode`` does."""
        data = entry.data
        kind, time = line_kind(data), line_time(data)
        if kind and time and entry.is_whole and data[:1] == b"{" and data[-1:] == b"}":
            return kind, time.decode("ascii", "replace")
        line = self.decode(entry)
        return None if line is None else (line["line"].encode("utf-8", "replace"), str(line.get("time", "")))

    def _note(self, entry: Entry, why: str) -> None:
        self.damaged += 1
        if self.damaged <= _TOLD:
            self._tell(f"{locate(entry)} is skipped: {why}.")

    def finish(self) -> None:
        """Tell how many lines were skipped, if any."""
        if self.damaged:
            lines = "1 line was" if self.damaged == 1 else f"{self.damaged:,} lines were"
            self._tell(f"{lines} skipped; `sekisho ledger verify` says what is wrong with a ledger.")
