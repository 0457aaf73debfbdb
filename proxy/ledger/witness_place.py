# SPDX-License-Identifier: Apache-2.0
"""The second places where checkpoints are kept: a folder, or whoever takes them over HTTP. This module does I/O.

A ledger proves what stands before a checkpoint, and nothing of what somebody cut off its end together with the
checkpoint. Whoever keeps a checkpoint that the ledger's owner cannot take back can tell.

- Folder: ``<folder>/<origin, percent-encoded>/<size, 20 digits>.checkpoint``, written whole or not at all. A checkpoint
  that is there is never written over: another root of the same size is a split view, two ledgers of one name.
  The folder itself is never made: a share that is not mounted must not become a folder on our own disk.
- HTTP: POST of the note as ``text/plain``. 2xx is success; redirects are not followed; an answer is bounded.
"""

import asyncio
import contextlib
import enum
import errno
import logging
import os
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote, urlsplit  # noqa: TID251 - the name of a file, a place of ours: no request targets

import aiohttp

from proxy.disk import sync_folder
from proxy.errors import FetchError, UsageError
from proxy.fetch import fetch
from proxy.ledger.note import NoteError, VerifierKey
from proxy.ledger.tree_head import TreeHead, open_tree_head

TIMEOUT_SECONDS: Final = 10.0
"""How long one delivery may take."""
MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_NOTE_BYTES: Final = 64 * 1024
MAX_PASSED_OVER: Final = 1000
"""Files at the end of a folder that no key of ours has signed, before no more are looked at."""
_NAME: Final = re.compile(r"[0-9]{20}\.checkpoint")
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}
_HEADERS: Final = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "sekisho"}
_MEND: Final = "name another place with --ledger-witness"

log = logging.getLogger("sekisho.witness")


class Result(enum.StrEnum):
    """What became of one attempt."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """There was no answer, or one that says to come again."""
    REFUSED = "refused"
    """This checkpoint is not taken."""
    CONFLICT = "conflict"
    """The place keeps another root of the same size: a split view."""


class NotDeliveredError(Exception):
    """A witness has not taken a checkpoint; the message says why."""

    def __init__(self, result: Result, why: str) -> None:
        self.result = result
        super().__init__(why)


class Witness(Protocol):
    """A second place."""

    @property
    def name(self) -> str:
        """What it is called in the log and in metrics."""

    async def deliver(self, head: TreeHead, note: str) -> None:
        """Keep a checkpoint.

        Raises:
            NotDeliveredError: it was not taken.
        """

    async def close(self) -> None:
        """Let go of connections."""


def make_witness(place: str, ledger: Path | None = None) -> "FolderWitness | HttpWitness":
    """Return the witness at a place.

    Args:
        place: a folder that is there, or an ``http://`` or ``https://`` URL.
        ledger: the ledger's own folder, which is no second place.

    Raises:
        UsageError: it cannot be used that way.
    """
    if not place:
        raise UsageError("A witness of the ledger needs a place: name a folder or a URL with --ledger-witness.")
    if "://" in place:
        return HttpWitness(_check_url(place))
    folder = Path(place)
    if not folder.is_dir():
        raise UsageError(f"The witness folder {place} is not there: make or mount it, or {_MEND}.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"The witness folder {place} cannot be written: let this user write there, or {_MEND}.")
    if ledger is not None and folder.resolve().is_relative_to(ledger.resolve()):
        raise UsageError(f"The witness folder {place} is in the ledger's own folder, and is lost with it: {_MEND}.")
    return FolderWitness(folder)


def _check_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        parts, host = urlsplit(""), None
    is_plain = text.isascii() and text.isprintable() and " " not in text
    if not host or not is_plain or parts.scheme not in {"http", "https"}:
        raise UsageError(f"The witness {text!r} is neither a folder nor an http:// or https:// URL: {_MEND}.")
    if "@" in parts.netloc or parts.fragment:
        raise UsageError(f"The URL of the witness at {host} names a user or a fragment: neither is sent, leave it out.")
    if parts.scheme == "http" and host not in _LOOPBACK:
        log.warning("a witness is told over plain http: whoever stands in between can answer in its place")
    return text


class FolderWitness:
    """Keeps checkpoints in a folder.

    Args:
        folder: where.
        timeout: seconds that one delivery may take.
    """

    def __init__(self, folder: Path, timeout: float = TIMEOUT_SECONDS) -> None:
        self._folder = folder
        self._timeout = timeout
        self.name = str(folder)
        self._writing: asyncio.Future[NotDeliveredError | None] | None = None

    async def deliver(self, head: TreeHead, note: str) -> None:
        """Keep a checkpoint, on disk.

        A share may hang for ever: it is waited for in a thread of its own, and by one thread at most.
        """
        if self._writing is not None:
            await self._wait(self._writing)
        self._writing = _run_apart(lambda: self._keep(head, note))
        error = await self._wait(self._writing)
        if error is not None:
            raise error

    async def _wait(self, writing: "asyncio.Future[NotDeliveredError | None]") -> NotDeliveredError | None:
        await asyncio.wait([writing], timeout=self._timeout)
        if not writing.done():
            raise NotDeliveredError(Result.FAILED, f"it does not answer within {self._timeout:g} seconds")
        self._writing = None
        return writing.result()

    def _keep(self, head: TreeHead, note: str) -> NotDeliveredError | None:
        """Write a checkpoint; return why it could not be."""
        try:
            kept = _read(_write(self._folder, head, note))
        except OSError as error:
            return NotDeliveredError(Result.FAILED, error.strerror or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
            return NotDeliveredError(Result.FAILED, type(error).__name__)
        if kept.partition("\n\n")[0] + "\n" != head.render():
            return NotDeliveredError(Result.CONFLICT, f"it keeps another checkpoint of size {head.size}")
        return None

    def latest(self, origin: str, keys: Sequence[VerifierKey]) -> TreeHead | None:
        """Return the checkpoint of the most lines that is kept; None if there is none.

        Files that no key has signed for this origin are passed over, with an error in the log: whoever can write there
        must not be able to keep the gateway from starting.

        Raises:
            UsageError: the folder cannot be read.
        """
        folder = self._folder / encode_origin(origin)
        try:
            names = sorted((each.name for each in folder.iterdir() if _NAME.fullmatch(each.name)), reverse=True)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(
                f"The witness folder {folder} cannot be read: {error.strerror}; mend it, or {_MEND}."
            ) from error
        passed_over = []
        found = None
        for name in names[:MAX_PASSED_OVER]:
            found = _open(folder / name, origin, keys)
            if found is not None:
                break
            passed_over.append(name)
        if passed_over:
            path, many = str(folder / passed_over[0]), len(passed_over)
            log.error("%d files of a witness are no checkpoints that our keys signed", many, extra={"path": path})
        return found

    async def close(self) -> None:
        """Let go: there is nothing to let go of."""


class HttpWitness:
    """Sends checkpoints to a URL.

    Args:
        url: where.
        timeout: seconds that one delivery may take.
    """

    def __init__(self, url: str, timeout: float = TIMEOUT_SECONDS) -> None:
        self._url = url
        self._timeout = timeout
        self.name = url.partition("?")[0]
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, head: TreeHead, note: str) -> None:  # noqa: ARG002 - the note says it all
        """Send a checkpoint."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout), cookie_jar=aiohttp.DummyCookieJar()
            )
        try:
            answer = await fetch(self._session, self._url, limit=MAX_ANSWER_BYTES, body=note.encode(), headers=_HEADERS)
        except FetchError as error:
            raise NotDeliveredError(Result.FAILED, str(error)) from error
        if not 200 <= answer.status < 300:
            is_passing = answer.status >= 500 or answer.status in {408, 429}
            raise NotDeliveredError(Result.FAILED if is_passing else Result.REFUSED, f"it answered {answer.status}")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def encode_origin(origin: str) -> str:
    """Return an origin as the name of one folder: percent-encoded but for letters, digits and ``_-~.`` inside."""
    name = quote(origin, safe="")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def _write(folder: Path, head: TreeHead, note: str) -> Path:
    """Write a checkpoint to where it belongs, unless there is one, and return the place."""
    folder.stat()  # it is not made where it went missing
    place = folder / encode_origin(head.origin)
    place.mkdir(exist_ok=True)
    path = place / f"{head.size:020d}.checkpoint"
    if path.exists():
        return path
    temporary = place / f".{path.name}.{secrets.token_hex(4)}"
    try:
        with temporary.open("xb") as file:
            file.write(note.encode())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another gateway of this name was quicker: the reader compares
            _put(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # there are places where nothing can be removed
            temporary.unlink(missing_ok=True)
    for each in (place, folder):
        with contextlib.suppress(OSError):  # some shares cannot, and the next attempt would find the file there
            sync_folder(each)
    return path


def _put(temporary: Path, path: Path) -> None:
    """Give a file its name, if nothing has it: a hard link does that in one step, a rename would write over it."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS or path.exists():
            raise
        temporary.rename(path)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_NOTE_BYTES).decode("utf-8", "replace")


def _open(path: Path, origin: str, keys: Sequence[VerifierKey]) -> TreeHead | None:
    """Return the checkpoint in a file; None if it is none of this origin and of the size that its name says."""
    try:
        head = open_tree_head(_read(path) if path.is_file() else "", keys)
    except (OSError, NoteError):
        return None
    return head if head.origin == origin and f"{head.size:020d}.checkpoint" == path.name else None


def _run_apart(
    work: Callable[[], NotDeliveredError | None],
) -> "asyncio.Future[NotDeliveredError | None]":
    """Run what may hang in a thread that holds up neither the loop, nor other threads' work, nor the process' end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[NotDeliveredError | None] = loop.create_future()

    def settle(error: NotDeliveredError | None) -> None:
        if not future.done():
            future.set_result(error)

    def run() -> None:
        error = work()
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, name="witness", daemon=True).start()
    return future
