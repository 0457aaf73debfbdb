# SPDX-License-Identifier: Apache-2.0
"""What there is to verify: segments of a folder, runs in a file of lines, checkpoints. This module does I/O.

Checkpoints are read before the lengths of files: a ledger that is written meanwhile has every line that they cover.
"""

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from proxy.disk import open_regular
from proxy.errors import UsageError
from proxy.ledger.finding import Finding, Follower, Task
from proxy.ledger.join import Head
from proxy.ledger.lines import SegmentLine
from proxy.ledger.links import clean, read_link
from proxy.ledger.note import NoteError, VerifierKey
from proxy.ledger.parts import find_rank
from proxy.ledger.segments import BUNDLES, CHECKPOINT, LOCK, describe_no_ledger, list_segments
from proxy.ledger.tree_head import MAX_SIZE, open_tree_head

BLOCK_BYTES: Final = 256 * 1024
"""A good size of blocks: what is done with one stays in the processor's cache."""
MAX_NOTE_BYTES: Final = 64 * 1024
_PEEK_BYTES: Final = 64 * 1024
_SEGMENT: Final = re.compile(r"([0-9]{20})\.jsonl")
_BEGIN: Final = b',"line":"segment",'
"""What the first line of a segment says behind its time."""
_BEFORE_BEGIN: Final = re.compile(rb'\n\{"n":(0|[1-9][0-9]{0,18}),"prev":"[^"\n]{44}","time":"[^"\n]{24}"\Z')
_FRAME_BYTES: Final = 128
_SEGMENT_LINE: Final = msgspec.json.Decoder(SegmentLine)
_OURS: Final = frozenset({LOCK, CHECKPOINT, BUNDLES, f".{CHECKPOINT}.tmp"})
_PACKED: Final = (".gz", ".zst", ".xz", ".bz2")
_GZIP: Final = b"\x1f\x8b"

Progress = Callable[[int], None]
"""Is told how many bytes were done since it was told last."""


class Part(msgspec.Struct, frozen=True):
    """A segment: a file, or a part of one."""

    path: str
    start: int
    end: int
    task: Task


class Inventory(msgspec.Struct, frozen=True):
    """All that is to be verified."""

    runs: tuple[tuple[Part, ...], ...]
    """Segments of one tree; a folder holds one run."""
    heads: tuple[Head, ...]
    findings: tuple[Finding, ...]
    """What is known already."""
    is_file: bool


def take_inventory(path: Path, keys: Sequence[VerifierKey], heads: Sequence[Head] = ()) -> Inventory:
    """Find out what there is, at this moment.

    Args:
        path: the folder of a ledger, or a file of lines.
        keys: whose signatures are believed.
        heads: checkpoints that are kept elsewhere, read before.

    Raises:
        UsageError: there is no ledger.
    """
    try:
        if path.is_dir():
            return _look_into_folder(path, tuple(keys), heads)
        if path.is_file():
            return _look_into_file(path, tuple(keys), tuple(heads))
    except OSError as error:
        raise UsageError(f"{error.filename or path} cannot be read: {error.strerror}.") from error
    if path.exists():
        raise UsageError(f"{path} is neither a folder nor a file: name the folder of a ledger.")
    raise UsageError(f"There is no {path}: name the folder of a ledger, or a file of its lines.")


# Checkpoints.


def read_heads(paths: Iterable[Path], keys: Sequence[VerifierKey]) -> list[Head]:
    """Read checkpoints that are kept elsewhere, each a file or all files of a folder, as witnesses keep them.

    Raises:
        UsageError: one of them cannot be read.
    """
    heads: list[Head] = []
    for path in paths:
        try:
            if not path.is_dir():
                heads.append(_read_head(path, keys, str(path)))
                continue
            files = sorted(each for each in path.rglob("[!.]*") if each.is_file())
            heads += [_read_head(file, keys, str(file), is_found=True) for file in files]
        except OSError as error:
            raise UsageError(f"The checkpoint {error.filename or path} cannot be read: {error.strerror}.") from error
        if not files:
            raise UsageError(f"The folder {path} holds no checkpoint: name one that does.")
    return heads


def _read_head(
    path: Path, keys: Sequence[VerifierKey], name: str, *, is_found: bool = False, is_own: bool = False
) -> Head:
    """Read one checkpoint.

    Raises:
        OSError: the file cannot be read.
    """
    with io.FileIO(open_regular(path)) if is_own else path.open("rb") as file:
        data = file.read(MAX_NOTE_BYTES + 1)
    problem, origin = "it is too long", ""
    if len(data) <= MAX_NOTE_BYTES:
        try:
            note = data.decode()
            origin = note.partition("\n")[0]
            return Head(name, open_tree_head(note, keys), origin, is_found=is_found, is_own=is_own)
        except UnicodeDecodeError:
            problem = "it is no text"
        except NoteError as error:
            problem = str(error)
    return Head(name, None, origin, problem, is_found=is_found, is_own=is_own)


# A folder.


class _File(msgspec.Struct, frozen=True):
    """A segment of a folder."""

    name: str
    first: int
    """The number of its first line."""
    size: int
    begin: bytes


def _look_into_folder(path: Path, keys: tuple[VerifierKey, ...], kept: Sequence[Head]) -> Inventory:
    heads, findings, files = list(kept), [], []
    try:
        heads.append(_read_head(path / CHECKPOINT, keys, "in its own folder", is_own=True))
    except FileNotFoundError:
        pass
    except OSError as error:
        findings.append(_find("unreadable", CHECKPOINT, f"it cannot be read: {error.strerror}"))
    names = sorted(entry.name for entry in path.iterdir())
    segments = [name for name in names if _SEGMENT.fullmatch(name) and int(name[:20]) <= MAX_SIZE]
    if not segments:
        raise UsageError(describe_no_ledger(path))
    findings += [_remark_foreign(name) for name in names if not _is_ours(name) and name not in segments]
    for name in segments:
        try:
            size, begin = _peek(path / name)
        except OSError as error:
            findings.append(_find("unreadable", name, f"this segment cannot be read: {error.strerror}"))
            continue
        if (path / name).is_symlink():
            findings.append(_remark_link(name, "segment"))
        if size:
            files.append(_File(name, _first_number(begin, int(name[:20])), size, begin))
        else:
            last = name == segments[-1]
            told = "this segment is empty" + (": a gateway ended when it began it" if last else "")
            findings.append(_find("empty", name, told, fault=not last))
    files.sort(key=lambda file: file.first)
    parts = tuple(_make_part(path, files, index, keys, heads) for index in range(len(files)))
    return Inventory((parts,), tuple(heads), tuple(findings), is_file=False)


def _make_part(
    folder: Path, files: Sequence[_File], index: int, keys: tuple[VerifierKey, ...], heads: Sequence[Head]
) -> Part:
    file, after = files[index], files[index + 1 : index + 2]
    task = Task(
        name=file.name,
        first=int(file.name[:20]),
        keys=keys,
        follower=_follow(after[0].begin) if after else None,
        is_last=not after,
        sizes=_sizes(heads, file.first, after[0].first if after else None),
    )
    return Part(str(folder / file.name), 0, file.size, task)


def _find(kind: str, name: str, message: str, *, fault: bool = True) -> Finding:
    return Finding(kind, clean(name), 0, -1, message, fault)


def _is_ours(name: str) -> bool:
    return name in _OURS or find_rank(name) is not None


def find_foreign(folder: Path) -> list[Finding]:
    """Return remarks on what no gateway makes in a folder in which only other folders of ledgers should be.

    Raises:
        OSError: it cannot be read.
    """
    entries = sorted(folder.iterdir())
    links = [_remark_link(each.name, "folder") for each in entries if find_rank(each.name) and each.is_symlink()]
    return [*links, *(_remark_foreign(each.name) for each in entries if not _is_ours(each.name))]


def peek_origin(path: Path) -> str:
    """Return what a ledger says itself that it is signed as; empty where that cannot be read.

    Args:
        path: its folder, or a file of lines.
    """
    with contextlib.suppress(OSError):
        for file in [each.path for each in list_segments(path)] if path.is_dir() else [path]:
            with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError):
                return _SEGMENT_LINE.decode(_peek(file)[1].partition(b"\n")[0]).origin
    return ""


def _remark_link(name: str, what: str) -> Finding:
    return _find("foreign", name, f"this {what} is a symbolic link, which no gateway makes", fault=False)


def _remark_foreign(name: str) -> Finding:
    is_packed = name.endswith(_PACKED)
    what = "is packed, it is passed over: unpack it if it is a segment"
    return _find(
        "foreign", name, f"this file {what if is_packed else 'is not of a ledger, it is passed over'}", fault=False
    )


def _sizes(heads: Iterable[Head], first: int, until: int | None) -> tuple[int, ...]:
    """Return the sizes of checkpoints that end in a segment."""
    sizes = {kept.head.size for kept in heads if kept.head is not None}
    return tuple(sorted(size for size in sizes if first <= size and (until is None or size <= until)))


def _follow(begin: bytes) -> Follower | None:
    """Return what a segment says of the one before it."""
    link = read_link(begin.partition(b"\n")[0])
    return Follower(*link) if link is not None else None


def _first_number(begin: bytes, named: int) -> int:
    """Return the number of the first line: as it says, unless the second line says that it is as the name says."""
    first, _, rest = begin.partition(b"\n")
    link, second = read_link(first), read_link(rest.partition(b"\n")[0])
    if link is None or (second is not None and second[0] == named + 1):
        return named
    return link[0]


# A file of lines.


class _Begin(msgspec.Struct, frozen=True):
    """Where a segment begins in a file."""

    at: int
    line: int
    """How many lines of the file stand before."""
    first: int


def _look_into_file(path: Path, keys: tuple[VerifierKey, ...], heads: tuple[Head, ...]) -> Inventory:
    size, begin = _peek(path)
    if begin.startswith(_GZIP):
        raise UsageError(f"{path} is packed with gzip: unpack it first.")
    if not size:
        raise UsageError(f"{path} is empty: it holds no lines of a ledger.")
    begins = _find_begins(path, size, _first_number(begin, 0))
    runs: list[list[Part]] = []
    for each, after in zip(begins, [*begins[1:], None], strict=True):
        is_end = after is None or after.first == 0
        follower, end = None, size
        if after is not None:
            end = after.at
            follower = None if is_end else _follow(_peek(path, after.at)[1])
        task = Task(
            name=path.name,
            first=each.first,
            keys=keys,
            follower=follower,
            is_last=is_end,
            is_stream=True,
            sizes=_sizes(heads, each.first, None if is_end or after is None else after.first),
            line=each.line,
        )
        if each.first == 0 or not runs:
            runs.append([])
        runs[-1].append(Part(str(path), each.at, end, task))
    return Inventory(tuple(map(tuple, runs)), heads, (), is_file=True)


def _find_begins(path: Path, size: int, first: int) -> list[_Begin]:
    """Return where segments begin in a file."""
    found = [_Begin(0, 0, first)]
    lines, at, carry = 0, 0, b""
    for block in read_part(path, 0, size):
        data = carry + block
        base, counted, begin = at - len(carry), 0, 0
        while (where := data.find(_BEGIN, begin)) >= 0:
            begin = where + 1
            match = _BEFORE_BEGIN.search(data, max(0, where - _FRAME_BYTES), where)
            if match is not None:
                lines += data.count(b"\n", counted, match.start() + 1)
                counted = match.start() + 1
                found.append(_Begin(base + counted, lines, min(int(match[1]), MAX_SIZE)))
        keep = max(counted, len(data) - _FRAME_BYTES - len(_BEGIN))
        lines += data.count(b"\n", counted, keep)
        carry, at = data[keep:], at + len(block)
    return found


# Bytes.


def _peek(path: Path, at: int = 0) -> tuple[int, bytes]:
    """Return the length of a file and how it begins, or goes on at a place."""
    file = open_regular(path)
    try:
        return os.fstat(file).st_size, os.pread(file, _PEEK_BYTES, at)
    finally:
        os.close(file)


def read_part(path: Path, start: int, end: int, count: Progress = lambda _: None) -> Iterator[bytes]:
    """Yield the blocks of a part of a file; what was cut off meanwhile is not there.

    Raises:
        OSError: it cannot be read.
    """
    file = open_regular(path)
    try:
        while start < end:
            block = os.pread(file, min(BLOCK_BYTES, end - start), start)
            if not block:
                return
            yield block
            start += len(block)
            count(len(block))
    finally:
        os.close(file)
