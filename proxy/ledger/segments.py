# SPDX-License-Identifier: Apache-2.0
"""The files of a ledger folder: which they are, and their lines. This module does I/O.

::

    lock                            held by the one writer
    00000000000000000000.jsonl      segments, each named by the number of its first line
    checkpoint                      the latest signed checkpoint (C2SP), for whoever copies it elsewhere
    bundles/<digest>/               policy folders that were in force
    worker-1/                       the ledger of a worker, where there are several: such a folder again
    replica-a/                      that of a replica, where several share this folder, and of its workers below
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from proxy.disk import sync_folder
from proxy.ledger.parts import WHOLE_LEVEL, find_rank

LOCK: Final = "lock"
CHECKPOINT: Final = "checkpoint"
BUNDLES: Final = "bundles"
BLOCK_BYTES: Final = 1024 * 1024
_NAME: Final = re.compile(r"([0-9]{20})\.jsonl")


class Segment(msgspec.Struct, frozen=True):
    """A file of lines."""

    path: Path
    first: int
    """The number of its first line, by its name."""


def list_ledgers(folder: Path, level: int = WHOLE_LEVEL) -> list[Path]:
    """Return the ledgers of a folder: its own if there is one, or if there is none at all, and those of parts below.

    Workers come by their numbers, then replicas by their names, each followed by its workers.

    Args:
        folder: of a ledger, or below which there are such.
        level: of the part whose folder it is.

    Raises:
        OSError: a folder cannot be read.
    """
    ranks = sorted(rank for entry in folder.iterdir() if (rank := find_rank(entry.name)) and rank.level > level)
    parts = [(folder / rank.name, rank.level) for rank in ranks if (folder / rank.name).is_dir()]
    below = [ledger for part, part_level in parts for ledger in list_ledgers(part, part_level)]
    return [*([folder] if not below or list_segments(folder) else []), *below]


def is_segment(path: Path) -> bool:
    """Say whether a file is called as segments are."""
    return _NAME.fullmatch(path.name) is not None


def segment_name(first: int) -> str:
    """Return the name of the segment that begins with a line of that number."""
    return f"{first:020d}.jsonl"


def list_segments(folder: Path) -> list[Segment]:
    """Return the segments of a ledger folder, oldest first; what else lies there is not among them.

    Raises:
        OSError: the folder cannot be read.
    """
    found = []
    for entry in folder.iterdir():
        match = _NAME.fullmatch(entry.name)
        if match is not None:
            found.append(Segment(entry, int(match[1])))
    return sorted(found, key=lambda segment: segment.first)


def describe_no_ledger(folder: Path) -> str:
    """Return the sentence for a folder in which no segment lies, with the ledger below it that may be meant."""
    told = f"{folder} is no ledger: there is no segment in it, such as {segment_name(0)}."
    try:
        below = [each for each in folder.iterdir() if each.is_dir() and any(map(list_segments, list_ledgers(each)))]
    except OSError:
        below = []
    if not below:
        return told
    return (
        f"{told} Is {below[0]} meant?" if len(below) == 1 else f"{told} Name one of {len(below)}, such as {min(below)}."
    )


def read_blocks(file: int, end: int) -> Iterator[list[bytes]]:
    """Yield the whole lines of an open file up to ``end``, block by block, without their newlines."""
    parts: list[bytes] = []
    at = 0
    while at < end:
        block = os.pread(file, min(BLOCK_BYTES, end - at), at)
        if not block:
            return
        at += len(block)
        first, *lines = block.split(b"\n")
        parts.append(first)
        if lines:
            rest = lines.pop()
            yield [b"".join(parts), *lines]
            parts = [rest]


def find_end_of_lines(file: int) -> tuple[int, int]:
    """Return up to where a file holds whole lines, and how long it is.

    Raises:
        OSError: it cannot be read, or is a pipe, which keeps nothing.
    """
    length = whole = os.lseek(file, 0, os.SEEK_END)
    while whole > 0:
        start = max(0, whole - BLOCK_BYTES)
        newline = os.pread(file, whole - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1, length
        whole = start
    return 0, length


def replace_file(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all, durable when this returns.

    Raises:
        OSError: it is not; what was there before may be there still.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if os.write(file, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301
        os.fsync(file)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    finally:
        os.close(file)
    temporary.replace(path)
    sync_folder(path.parent)
