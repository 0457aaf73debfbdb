# SPDX-License-Identifier: Apache-2.0
"""Keeps each bundle that is put in force beside the segments, so that an old record can still be explained.

::

    DIR/bundles/<digest>/             the files that the bundle was made of, as they were read, at their own paths
    DIR/bundles/<digest>/kept.json    what it is, and SHA-256 of each file
    DIR/bundles/.<digest>.tmp/        one that is being written, or was when a machine stopped: removed by the next

- What was loaded is what is kept: every file is compared with what the loader read, and a difference keeps nothing.
- A folder of that name is whole: it is written under another name, synced, then renamed. It never changes.
- A file that the bundle before has, too, is a hard link to that one: a large table is not stored again for each edit
  of a rule. It is also taken from there if the policy folder has another one by now.

One process writes: whoever holds the ledger's lock. This module does I/O, and is called from threads.
"""

import contextlib
import hashlib
import logging
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from proxy.clock import render_instant, unix_seconds
from proxy.disk import open_regular, sync_folder
from proxy.errors import ArchiveError, FolderChangedError
from proxy.ledger.parts import WORKER_LEVEL, find_rank
from proxy.ledger.record import BUNDLE_DIGITS
from proxy.ledger.segments import BUNDLES, list_ledgers
from proxy.model.source import Source
from proxy.version import VERSION

KEPT: Final = "kept.json"
FORMAT: Final = 1
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LEFT_OVER: Final = re.compile(r"\.[0-9a-f]{64}(?:\.old)?\.tmp")
_BLOCK_BYTES: Final = 1024 * 1024
_MAX_KEPT_BYTES: Final = 16 * 1024 * 1024

log = logging.getLogger("sekisho.archive")


class KeptFile(msgspec.Struct, frozen=True):
    """A file of a kept bundle."""

    path: str
    sha256: str
    size: int


class Bundle(msgspec.Struct, frozen=True):
    """What a bundle is called."""

    digest: str
    """64 hexadecimal digits."""
    policy: str
    """Its policy digest, emergency denies included."""
    registers: str
    name: str
    revision: str
    """The git revision that was checked out when it was read; empty where there is none."""


class Kept(msgspec.Struct, frozen=True):
    """The content of ``kept.json``."""

    format: int
    bundle: Bundle
    since: str
    """When it was put in force for the first time (RFC 3339, UTC)."""
    version: str
    """Of the program that put it in force."""
    files: tuple[KeptFile, ...]


class Archive:
    """The kept bundles of one ledger.

    Args:
        ledger: the ledger's folder.
    """

    def __init__(self, ledger: Path) -> None:
        self.folder = ledger / BUNDLES
        self._lock = threading.Lock()
        self._last: Path | None = None
        """What was kept last: most of its files are in the next one."""

    def keep(self, policies: Path, sources: Iterable[Source], bundle: Bundle) -> Path:
        """Keep a bundle and return its folder, which is on the disk then; one that is there and whole stays as it is.

        Args:
            policies: the policy folder.
            sources: the files that the bundle was made of.
            bundle: what it is called.

        Raises:
            FolderChangedError: the policy folder has other files by now.
            ArchiveError: it cannot be kept. Nothing is, in either case.
        """
        if not _DIGEST.fullmatch(bundle.digest):
            raise ValueError(f"{bundle.digest!r} is no digest of a bundle")
        place = self.folder / bundle.digest
        with self._lock:
            try:
                self._remove_left_over()
                if not _is_kept(place):
                    self._write(place, policies, _check_paths(sources), bundle)
            except OSError as error:
                self._discard(bundle)
                raise ArchiveError(
                    f"The bundle cannot be kept in {self.folder} ({error.strerror or error}), and what is not kept is "
                    "not put in force: make room there, and let this user write there."
                ) from error
            except BaseException:
                self._discard(bundle)
                raise
            self._last = place
        return place

    def _remove_left_over(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)  # never the ledger's own: where that is gone, its disk may be, too
        for entry in list(self.folder.iterdir()):
            if _LEFT_OVER.fullmatch(entry.name):
                _remove(entry)

    def _discard(self, bundle: Bundle) -> None:
        with contextlib.suppress(OSError):
            _remove(self._unfinished(bundle))

    def _unfinished(self, bundle: Bundle) -> Path:
        return self.folder / f".{bundle.digest}.tmp"

    def _write(self, place: Path, policies: Path, sources: Mapping[str, Source], bundle: Bundle) -> None:
        unfinished = self._unfinished(bundle)
        unfinished.mkdir(mode=0o700)
        before = self._find_before()
        folders = {unfinished}
        for path, source in sources.items():
            target = unfinished / path
            for parent in reversed(PurePosixPath(path).parents[:-1]):
                (unfinished / parent).mkdir(mode=0o700, exist_ok=True)
                folders.add(unfinished / parent)
            if source.data is not None:
                _write_new(target, source.data)
            elif not _take_over(before.get(source.sha256), source, target):
                _copy(policies / path, source, target)
        files = tuple(KeptFile(each.path, each.sha256, each.size) for each in sources.values())
        kept = Kept(FORMAT, bundle, render_instant(unix_seconds()), VERSION, files)
        _write_new(unfinished / KEPT, msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
        for folder in folders:
            sync_folder(folder)
        aside = self.folder / f".{bundle.digest}.old.tmp"
        if place.is_symlink() or place.exists():
            place.rename(aside)
        unfinished.rename(place)
        sync_folder(self.folder)
        _remove(aside)

    def _find_before(self) -> dict[str, Path]:
        """Return the files of the bundle that was kept last, by SHA-256 of what they should hold."""
        last = self._last if self._last is not None else self._find_newest()
        kept = None if last is None else read_kept(last)
        if last is None or kept is None:
            return {}
        return {each.sha256: last / each.path for each in kept.files if _is_inside(each.path)}

    def _find_newest(self) -> Path | None:
        found = []
        for entry in self.folder.iterdir():
            with contextlib.suppress(OSError):
                if _DIGEST.fullmatch(entry.name):
                    found.append(((entry / KEPT).stat().st_mtime_ns, entry))
        return max(found)[1] if found else None


# Reading


def find_kept(ledger: Path, prefix: str) -> Path | None:
    """Return the folder of the bundle whose digest begins so, as a decision line says it; None if it is not kept.

    Args:
        ledger: of the gateway that decided, or below which its ledger is: replicas that had one bundle each keep it.
        prefix: of the digest.
    """
    if len(prefix) < BUNDLE_DIGITS:
        return None
    with contextlib.suppress(OSError):
        for home in dict.fromkeys(map(_find_home, [ledger, *list_ledgers(ledger)])):
            found = _find_in(home / BUNDLES, prefix)
            if found:
                return found[0] if len(found) == 1 else None
    return None


def _find_home(ledger: Path) -> Path:
    """Return the folder of a gateway by that of a ledger that it writes: workers have their bundles in one place."""
    rank = find_rank(ledger.name)
    return ledger.parent if rank is not None and rank.level == WORKER_LEVEL else ledger


def _find_in(bundles: Path, prefix: str) -> list[Path]:
    """Return the bundles whose digests begin so."""
    try:
        entries = list(bundles.iterdir())
    except OSError:
        return []
    return [each for each in entries if each.name.startswith(prefix) and _DIGEST.fullmatch(each.name) and each.is_dir()]


def read_kept(folder: Path) -> Kept | None:
    """Return what ``kept.json`` says of a kept bundle; None if it says nothing that this version reads."""
    try:
        with _opened(folder / KEPT) as file:
            kept = msgspec.json.decode(os.read(file, _MAX_KEPT_BYTES), type=Kept)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return kept if kept.format == FORMAT and kept.bundle.digest == folder.name else None


def find_changes(folder: Path, kept: Kept) -> tuple[str, ...]:
    """Return the files of a kept bundle that are not as they were kept, or were not kept with it."""
    known = {each.path: each for each in kept.files}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()} - {KEPT}
    changed = {
        path
        for path, each in known.items()
        if not _is_inside(path) or not _holds(folder / path, each.sha256, each.size)
    }
    return tuple(sorted(changed | (there - known.keys())))


def _is_kept(place: Path) -> bool:
    """Say whether a bundle is there, whole; one that is not is told of."""
    if not place.exists():
        return False
    kept = read_kept(place)
    changed = (KEPT,) if kept is None else find_changes(place, kept)
    if changed:
        log.error("a kept bundle was changed: it is kept anew", extra={"path": str(place), "error": ", ".join(changed)})
    return not changed


# Files


def _check_paths(sources: Iterable[Source]) -> dict[str, Source]:
    """Return the files by their paths.

    Raises:
        ArchiveError: one leads elsewhere, or has the name of ours.
        FolderChangedError: one was read twice, and was not the same.
    """
    found: dict[str, Source] = {}
    for source in sources:
        if not _is_inside(source.path):
            raise ArchiveError(f"The file {source.path!r} cannot be kept: its path leads out of the policy folder.")
        if source.path == KEPT:
            raise ArchiveError(f"The policy folder has a file {KEPT}, as kept bundles do: give it another name.")
        if found.setdefault(source.path, source).sha256 != source.sha256:
            raise _tell_changed(source.path)
    return found


def _is_inside(path: str) -> bool:
    """Say whether a path is a plain one, from a folder to a file inside."""
    parts = path.split("/")
    return not set(parts) & {"", ".", ".."} and "\0" not in path


def _tell_changed(path: str) -> FolderChangedError:
    return FolderChangedError(
        f"The policy folder changed while it was put in force: {path} is no longer as it was loaded. Load it again."
    )


def _take_over(kept: Path | None, source: Source, target: Path) -> bool:
    """Make a file of one that is kept already, as a link where the file system can; False if that one is not it."""
    if kept is None or not _holds(kept, source.sha256, source.size):
        return False
    try:
        os.link(kept, target, follow_symlinks=False)
    except OSError:  # too many links, or a file system that knows none
        _copy(kept, source, target)
    return True


def _holds(path: Path, sha256: str, size: int) -> bool:
    """Say whether a file holds what it should."""
    try:
        with _opened(path, os.O_NOFOLLOW) as file:
            if os.fstat(file).st_size != size:
                return False
            digest = hashlib.sha256()
            while block := os.read(file, _BLOCK_BYTES):
                digest.update(block)
    except OSError:
        return False
    return digest.hexdigest() == sha256


def _copy(path: Path, source: Source, target: Path) -> None:
    """Copy a file and see that it is what was read.

    Raises:
        FolderChangedError: it is not.
        OSError: the copy cannot be written.
    """
    digest, left = hashlib.sha256(), source.size
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_opened(path))
        except OSError as error:
            raise _tell_changed(source.path) from error
        copy = stack.enter_context(_create(target))
        while block := os.read(file, _BLOCK_BYTES):
            left -= len(block)
            if left < 0:
                break
            digest.update(block)
            _write_all(copy, block)
        if left or digest.hexdigest() != source.sha256:
            raise _tell_changed(source.path)
        os.fsync(copy)


def _write_new(target: Path, data: bytes) -> None:
    with _create(target) as file:
        _write_all(file, data)
        os.fsync(file)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


@contextlib.contextmanager
def _opened(path: Path, flags: int = 0) -> Iterator[int]:
    file = open_regular(path, flags)
    try:
        yield file
    finally:
        os.close(file)


@contextlib.contextmanager
def _create(target: Path) -> Iterator[int]:
    file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    try:
        yield file
    finally:
        os.close(file)


def _remove(path: Path) -> None:
    """Remove whatever is there, if anything is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
