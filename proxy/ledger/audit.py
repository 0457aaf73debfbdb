# SPDX-License-Identifier: Apache-2.0
"""Verifies a ledger as it lies on disk, segments in parallel in processes of their own. This module does I/O.

A ledger that is written meanwhile is verified up to what was there at the start: the checkpoints that it is held
against are read first, then the lengths of its files.
"""

import multiprocessing
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy.errors import UsageError
from proxy.ledger.finding import Checked, Finding, Follower, Report, Task
from proxy.ledger.join import Head, join_segments
from proxy.ledger.links import clean, read_link
from proxy.ledger.note import NoteError, VerifierKey
from proxy.ledger.segments import BUNDLES, CHECKPOINT, LOCK
from proxy.ledger.tree_head import open_tree_head
from proxy.ledger.verify import BLOCK_BYTES, check_segment

PARALLEL_BYTES: Final = 8 * 1024 * 1024
"""Less is not worth a process of its own."""
MAX_NOTE_BYTES: Final = 64 * 1024
MAX_KEY_BYTES: Final = 4096
_PEEK_BYTES: Final = 64 * 1024
_POLL_SECONDS: Final = 0.1
_SEGMENT: Final = re.compile(r"([0-9]{20})\.jsonl")
_RUN: Final = b'{"n":0,"prev":"'
"""How the first line of a ledger begins."""
_OURS: Final = frozenset({LOCK, CHECKPOINT, BUNDLES, f".{CHECKPOINT}.tmp"})
_GZIP: Final = b"\x1f\x8b"

Progress = Callable[[int], None]
"""Is told how many bytes are done."""


class _Part(msgspec.Struct, frozen=True):
    """Lines in a file."""

    path: str
    start: int
    end: int
    task: Task


def read_key(text: str) -> VerifierKey:
    """Read a verifier key, given as such or as the file that holds it.

    Raises:
        UsageError: it is none.
    """
    try:
        return VerifierKey.parse(text)
    except NoteError as problem:
        if "+" in text and not Path(text).exists():
            raise UsageError(f"--key {clean(text[:100])} is no verifier key: {problem}.") from None
    try:
        with open(text, "rb") as file:  # noqa: PTH123 - a device or pipe is read no further than this
            data = file.read(MAX_KEY_BYTES)
        return VerifierKey.parse(data.decode().strip())
    except OSError as error:
        raise UsageError(f"The key file {text} cannot be read: {error.strerror}.") from error
    except (NoteError, ValueError) as error:
        problem_text = str(error) if isinstance(error, NoteError) else "it is no text"
        raise UsageError(f"The file {text} holds no verifier key: {problem_text}.") from None


def read_heads(paths: Iterable[Path], keys: Sequence[VerifierKey]) -> list[Head]:
    """Read checkpoints that are kept elsewhere, each a file or all files of a folder.

    Raises:
        UsageError: one of them cannot be read.
    """
    heads: list[Head] = []
    for path in paths:
        try:
            files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
            heads += [read_head(file, keys) for file in files]
        except OSError as error:
            raise UsageError(f"The checkpoint {error.filename or path} cannot be read: {error.strerror}.") from error
        if not files:
            raise UsageError(f"The folder {path} holds no checkpoint: name one that does.")
    return heads


def read_head(path: Path, keys: Sequence[VerifierKey]) -> Head:
    """Read one checkpoint.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_NOTE_BYTES + 1)
    if len(data) > MAX_NOTE_BYTES:
        return Head(str(path), None, "it is too long")
    try:
        return Head(str(path), open_tree_head(data.decode(), keys))
    except UnicodeDecodeError:
        return Head(str(path), None, "it is no text")
    except NoteError as problem:
        return Head(str(path), None, str(problem))


class Audit:
    """What is to be verified.

    Args:
        path: the folder of a ledger, or a file of lines.
        keys: whose signatures are believed.
        heads: checkpoints that are kept elsewhere.

    Raises:
        UsageError: there is no ledger.
    """

    def __init__(self, path: Path, keys: Sequence[VerifierKey], heads: Sequence[Head] = ()) -> None:
        self.path = path
        self._keys = tuple(keys)
        self._heads = list(heads)
        self._findings: list[Finding] = []
        self._runs: list[list[_Part]] = []
        try:
            self._is_file = not path.is_dir()
            self._look()
        except OSError as error:
            raise UsageError(f"{error.filename or path} cannot be read: {error.strerror}.") from error

    def _look(self) -> None:
        """Find out what there is, at this moment."""
        if not self._is_file:
            self._read_own_head()
            self._runs = [self._list_folder()]
        elif self.path.is_file():
            self._runs = self._split_file()
        elif self.path.exists():
            raise UsageError(f"{self.path} is neither a folder nor a file: name the folder of a ledger.")
        else:
            raise UsageError(f"There is no {self.path}: name the folder of a ledger, or a file of its lines.")

    @property
    def size_bytes(self) -> int:
        """How much there is to read."""
        return sum(part.end - part.start for parts in self._runs for part in parts)

    # What there is.

    def _read_own_head(self) -> None:
        path = self.path / CHECKPOINT
        try:
            kept = read_head(path, self._keys)
        except FileNotFoundError:
            return
        except OSError as error:
            self._find("unreadable", path.name, f"it cannot be read: {error.strerror}")
        else:
            self._heads.append(msgspec.structs.replace(kept, name="in its own folder", is_own=True))

    def _find(self, kind: str, name: str, message: str, *, fault: bool = True) -> None:
        self._findings.append(Finding(kind, clean(name), 0, -1, message, fault))

    def _list_folder(self) -> list[_Part]:
        """Return the segments, in the order of their lines."""
        found: list[tuple[str, int, int, bytes]] = []
        names = sorted(entry.name for entry in self.path.iterdir())
        segments = [name for name in names if _SEGMENT.fullmatch(name)]
        for name in names:
            if name not in segments:
                self._remark_foreign(name)
        if not segments:
            raise UsageError(
                f"{self.path} holds no ledger: no segment such as {0:020d}.jsonl lies in it. Name the folder of one."
            )
        for name in segments:
            try:
                size, begin = _peek(self.path / name)
            except OSError as error:
                self._find("unreadable", name, f"this segment cannot be read: {error.strerror}")
                continue
            if (self.path / name).is_symlink():
                self._find("foreign", name, "this segment is a symbolic link, which no gateway makes", fault=False)
            if not size:
                last = name == segments[-1]
                told = "this segment is empty" + (": a gateway ended when it began it" if last else "")
                self._find("empty", name, told, fault=not last)
                continue
            found.append((name, _first_number(begin, int(name[:20])), size, begin))
        found.sort(key=lambda each: each[1])
        return [self._make_part(found, index) for index in range(len(found))]

    def _make_part(self, found: Sequence[tuple[str, int, int, bytes]], index: int) -> _Part:
        name, first, size, _ = found[index]
        follower, until = None, None
        if index + 1 < len(found):
            until = found[index + 1][1]
            link = read_link(found[index + 1][3].split(b"\n", 1)[0])
            follower = Follower(*link) if link is not None else None
        sizes = self._sizes(first, until)
        task = Task(
            name=name, first=int(name[:20]), keys=self._keys, follower=follower, is_last=until is None, sizes=sizes
        )
        return _Part(str(self.path / name), 0, size, task)

    def _sizes(self, first: int, until: int | None) -> tuple[int, ...]:
        sizes = {kept.head.size for kept in self._heads if kept.head is not None}
        return tuple(sorted(size for size in sizes if first <= size and (until is None or size <= until)))

    def _remark_foreign(self, name: str) -> None:
        if name in _OURS:
            return
        what = "this file is not of a ledger, it is passed over"
        if name.endswith((".gz", ".zst", ".xz", ".bz2")):
            what = "this file is packed, it is passed over: unpack it if it is a segment"
        self._find("foreign", name, what, fault=False)

    def _split_file(self) -> list[list[_Part]]:
        """Return the runs that lie one after another in a file of lines."""
        size, begin = _peek(self.path)
        if begin.startswith(_GZIP):
            raise UsageError(f"{self.path} is packed with gzip: unpack it first.")
        if not size:
            raise UsageError(f"{self.path} is empty: it holds no lines of a ledger.")
        starts = _find_runs(self.path, size)
        runs = []
        for index, (start, line) in enumerate(starts):
            end = starts[index + 1][0] if index + 1 < len(starts) else size
            first = _first_number(begin, 0) if start == 0 else 0
            task = Task(
                name=self.path.name,
                first=first,
                keys=self._keys,
                is_last=end == size,
                sizes=self._sizes(first, None),
                line=line,
            )
            runs.append([_Part(str(self.path), start, end, task)])
        return runs

    # What is known of it.

    def run(self, jobs: int = 1, progress: Progress = lambda _: None) -> list[Report]:
        """Verify all, and return a report for each run of a gateway; a folder is one.

        Args:
            jobs: how many processes may take part.
            progress: is told now and then how many bytes are done.
        """
        parts = [part for run in self._runs for part in run]
        results = _check_all(parts, jobs, progress)
        heads = list(self._heads)
        reports = []
        for run in self._runs:
            mine = [(part, results.pop(0)) for part in run]
            held = heads if run is self._runs[-1] else [head for head in heads if _fits(head, mine)]
            heads = [head for head in heads if head not in held]
            reports.append(self._join(mine, held))
        return reports

    def _join(self, results: Sequence[tuple[_Part, Checked | Finding]], heads: Sequence[Head]) -> Report:
        places = {(each.name, each.first): part for part, each in results if isinstance(each, Checked)}
        checked = [each for _, each in results if isinstance(each, Checked)]
        findings = [*self._findings, *(each for _, each in results if isinstance(each, Finding))]

        def recheck(segment: Checked, peaks: tuple[bytes, ...]) -> Checked:
            part = places[segment.name, segment.first]
            task = msgspec.structs.replace(part.task, first=segment.first, peaks=peaks)
            again = _check(msgspec.structs.replace(part, task=task), lambda _: None)
            return again if isinstance(again, Checked) else segment

        return join_segments(str(self.path), checked, heads, recheck=recheck, findings=findings, is_alone=self._is_file)


def verify_folder(path: Path, keys: Sequence[VerifierKey], heads: Sequence[Head] = (), jobs: int = 1) -> Report:
    """Verify the ledger in a folder.

    Raises:
        UsageError: there is none.
    """
    return Audit(path, keys, heads).run(jobs)[0]


def _peek(path: Path) -> tuple[int, bytes]:
    """Return the length of a file and how it begins."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is no regular file")
        return found.st_size, os.pread(file, _PEEK_BYTES, 0)
    finally:
        os.close(file)


def _first_number(begin: bytes, named: int) -> int:
    """Return the number of the first line: as it says, unless the second line says that it is as the name says."""
    first, _, rest = begin.partition(b"\n")
    link, second = read_link(first), read_link(rest.partition(b"\n")[0])
    if link is None or (second is not None and second[0] == named + 1):
        return named
    return link[0]


def _find_runs(path: Path, size: int) -> list[tuple[int, int]]:
    """Return where runs begin in a file: the byte, and how many lines stand before."""
    starts, lines, at, carry = [(0, 0)], 0, 0, b""
    for block in _read(path, 0, size, lambda _: None):
        data = carry + block
        begin, base, counted = 0, at - len(carry), 0
        while (found := data.find(b"\n" + _RUN, begin)) >= 0:
            counted += data.count(b"\n", begin, found + 1)
            begin = found + 1
            starts.append((base + begin, lines + counted))
        keep = len(_RUN)
        end = max(begin, len(data) - keep)
        lines += counted + data.count(b"\n", begin, end)
        carry, at = data[end:], at + len(block)
    return starts


def _read(path: Path, start: int, end: int, count: Progress) -> Iterator[bytes]:
    """Yield the blocks of a part of a file; what was cut off meanwhile is not there."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
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


def _fits(head: Head, results: Sequence[tuple[_Part, Checked | Finding]]) -> bool:
    """Tell whether a checkpoint was signed over lines of a run."""
    if head.head is None:
        return False
    checked = [each for _, each in results if isinstance(each, Checked)]
    known = [roots for each in checked for roots in (each.roots, *(end.roots for end in each.ends))]
    return any(roots.get(head.head.size) == head.head.root for roots in known)


def _check(part: _Part, count: Progress) -> Checked | Finding:
    try:
        return check_segment(part.task, _read(Path(part.path), part.start, part.end, count))
    except OSError as error:
        told = f"this segment cannot be read: {error.strerror}"
        return Finding("unreadable", part.task.name, 0, -1, told)


def _check_all(parts: Sequence[_Part], jobs: int, progress: Progress) -> list[Checked | Finding]:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done)

    if jobs < 2 or len(parts) < 2 or sum(part.end - part.start for part in parts) < PARALLEL_BYTES:
        return [_check(part, count) for part in parts]
    context = multiprocessing.get_context("spawn")
    shared = context.Value("q", 0)
    with ProcessPoolExecutor(min(jobs, len(parts)), context, _begin_process, (shared,)) as pool:
        futures = [pool.submit(_check_in_process, part) for part in parts]
        waiting = set(futures)
        while waiting:
            _, waiting = wait(waiting, _POLL_SECONDS, FIRST_COMPLETED)
            progress(shared.value)
        return [future.result() for future in futures]


_shared: Any = None
"""In a process of the pool: how many bytes all of them have done."""


def _begin_process(shared: Any) -> None:
    global _shared  # noqa: PLW0603 - what the pool hands to each process once
    _shared = shared


def _check_in_process(part: _Part) -> Checked | Finding:
    def count(more: int) -> None:
        with _shared.get_lock():
            _shared.value += more

    return _check(part, count)
