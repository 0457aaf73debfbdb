# SPDX-License-Identifier: Apache-2.0
"""Appends lines to a ledger, signs them and rotates its files. This module does I/O.

- ``append`` returns when the lines are in the kernel (one ``write``): they survive the end of this process.
  ``sync`` makes them survive that of the machine; no checkpoint is published before.
- All lines of one call are there, or none. A ledger that failed is opened anew at the next call, so that it recovers
  without a restart.
- What others do to its files never ends the tree: the next segment goes on with it, so that what is missing shows.
- It is called on one thread, but for ``publish`` and ``sync``, which wait for the disk.
"""

import errno
import io
import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from proxy.clock import unix_seconds
from proxy.disk import open_regular
from proxy.errors import LedgerError, UsageError
from proxy.ledger.chain import Chain, DamagedError, ForeignError, FormatError, Replay, Staged, Unsigned
from proxy.ledger.files import Folder, open_segment
from proxy.ledger.lines import Line, RecoveredLine, RetentionLine
from proxy.ledger.note import MAX_NOTE_CHARS, NoteError, SigningKey
from proxy.ledger.segments import CHECKPOINT, Segment, find_end_of_lines, list_segments, read_blocks
from proxy.ledger.sink import Sink
from proxy.ledger.tree_head import TreeHead, open_tree_head
from proxy.telemetry import Metrics

DAY_SECONDS: Final = 86400
IDLE_SECONDS: Final = 3600.0
"""A checkpoint is signed so often though nothing happened: a gap then shows that something is missing."""
_MENDS: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Make room there"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "Let this user write in that folder"),
    errno.EROFS: "Mount a file system there that can be written",
}
"""What whoever starts a gateway does about a folder that cannot be written, beside beginning another ledger."""
_LATE_SECONDS: Final = 300.0
"""By so much a checkpoint may be late, on a machine under load."""
_KEEP_AND_BEGIN: Final = (
    "Keep it as evidence, see what `sekisho ledger verify` says of it, and begin another one with --ledger and a key "
    "of another name."
)

log = logging.getLogger("sekisho.ledger")


class Limits(msgspec.Struct, frozen=True):
    """When segments end, when checkpoints are signed, and what is kept."""

    segment_bytes: int = 64 * 1024 * 1024
    checkpoint_lines: int = 1000
    checkpoint_seconds: float = 60.0
    keep_days: int | None = None
    """None keeps all."""
    look_seconds: float = 0.0
    """How often it is looked at whether the file that is written is still there; 0 is with every write."""


class Published(msgspec.Struct, frozen=True):
    """A checkpoint whose lines are on disk."""

    head: TreeHead
    note: str


class LedgerWriter:
    """The one writer of a ledger.

    Args:
        place: a folder, made if it is missing, readable by its owner alone; or another sink.
        metrics: counted are lines, failures and checkpoints.
        key: signs checkpoints; its name is the ledger's.
        limits: when segments end and checkpoints are signed.
        clock: reads the wall clock.

    Raises:
        UsageError: the folder cannot be made or written, another gateway writes it, or it is not as it was written.
    """

    def __init__(
        self,
        place: Path | Sink,
        metrics: Metrics,
        key: SigningKey,
        limits: Limits | None = None,
        clock: Callable[[], float] = unix_seconds,
    ) -> None:
        self._metrics = metrics
        self._key = key
        self._limits = limits or Limits()
        self._clock = clock
        self.restate: Callable[[], Sequence[Line]] = tuple
        """What is in force: repeated at the beginning of every segment, so that it can be read by itself."""
        self._chain = Chain(key.name)
        self._signed = -1
        """The size at the last checkpoint."""
        self._signed_at = clock()
        self._day = 0
        """Of the segment that is written."""
        self._kept_day = int(self._signed_at // DAY_SECONDS)
        """The last day at whose beginning it was looked after what is old."""
        self._old: tuple[Segment, ...] = ()
        """Segments to be removed once it is on disk that they are."""
        self._begun_bytes = 0
        """How long the segment was when it was begun."""
        self._is_begun = False
        self._is_resumed = False
        """Whether the last lines are those of a writer that ended before it signed them."""
        self._unpublished: Published | None = None
        self._published = -1
        """The size of the checkpoint that was published last."""
        self._publishing = threading.Lock()
        self._is_suspect = False
        self.sync_failures = 0
        """How often the disk has said no."""
        self._looked_at = self._look_at = 0.0
        """Between these two instants nothing is known that would begin a new segment."""
        self._cut = 0
        """Bytes of an unfinished last line that were cut off at the start."""
        self._sink: Sink = self._open(place) if isinstance(place, Path) else place
        if self._cut:
            self._tell_cut()

    # At the start.

    def _open(self, path: Path) -> Folder:
        """Hold a folder, and go on behind what is there."""
        try:
            folder = Folder(path)
            try:
                cut = self._recover(folder)
            except BaseException:
                folder.close()
                raise
        except OSError as error:
            raise refuse_folder(path, error) from error
        self._cut = cut
        return folder

    def _tell_cut(self) -> None:
        log.warning("an unfinished last line was cut off", extra={"path": self._sink.name, "bytes": self._cut})
        try:
            self._append([RecoveredLine(cut_bytes=self._cut)], self._clock())  # not signed: no witness was asked yet
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """How many lines there are."""
        return self._chain.size

    @property
    def root(self) -> bytes:
        """The root of the tree over them."""
        return self._chain.frontier.root()

    @property
    def path(self) -> Path | None:
        """The segment that is written; None before the first line, and where there is no file."""
        return self._sink.segment

    def _recover(self, folder: Folder) -> int:
        """Go on in the last segment that holds a line; return how many bytes of an unfinished one were cut off."""
        kept = self._read_kept(folder)
        cut = 0
        segments = list_segments(folder.path)
        while segments and not self._is_begun:
            cut += self._replay(segments, folder, kept)
        if kept is not None and kept.size > self._chain.size:
            raise UsageError(
                f"The ledger {folder.path} is not as it was written: it has {self._chain.size} lines, and the "
                f"checkpoint beside them is over {kept.size}: lines at its end are gone. {_KEEP_AND_BEGIN}"
            )
        return cut

    def _read_kept(self, folder: Folder) -> TreeHead | None:
        """Return what the checkpoint beside the segments says; it was published once its lines were on disk."""
        path = folder.path / CHECKPOINT
        try:
            with io.FileIO(open_regular(path)) as file:
                note = file.read(MAX_NOTE_CHARS).decode()
            return open_tree_head(note, [self._key.verifier])
        except FileNotFoundError:
            return None
        except (NoteError, UnicodeDecodeError) as error:
            log.warning("the checkpoint beside the ledger is not used", extra={"path": str(path), "error": str(error)})
            return None

    def _replay(self, segments: list[Segment], folder: Folder, kept: TreeHead | None) -> int:
        """Go on in the last segment, or remove one that holds no line; return how many bytes were cut off."""
        segment = segments.pop()
        file = open_segment(segment)
        try:
            whole, length = find_end_of_lines(file)
            if whole == 0:
                segment.path.unlink()
                return length
            replay = Replay(segment.first, self._key, kept)
            try:
                for lines in read_blocks(file, whole):
                    replay.feed(lines)
                self._chain, kind = replay.end()
                self._look_back(segment, segments, replay)
            except DamagedError as damage:
                raise _refuse(folder.path, segment, damage) from damage
        finally:
            os.close(file)
        folder.resume(segment, whole)
        self._signed = self._chain.size - 1 if kind == "checkpoint" else replay.signed
        self._day = self._kept_day = int(self._chain.now // DAY_SECONDS)
        self._is_begun, self._is_resumed = True, kind != "checkpoint"
        return length - whole

    def _look_back(self, segment: Segment, segments: list[Segment], replay: Replay) -> None:
        """Go back to the last checkpoint: what is behind it is signed next, and must be no more than a gateway leaves.

        What does not hang together with the lines before it is found by whoever verifies, signed or not.

        Raises:
            DamagedError: it is more: somebody may have written it who has no key to sign it with.
        """
        behind = [segment]
        while replay.signed < 0 and segments:
            before = _read_again(segments[-1], self._key, Unsigned())
            if before is None or before.ends != replay.continues:
                break
            behind.insert(0, segments.pop())
            replay = before
        unsigned = replay.unsigned
        if len(behind) > 1:
            unsigned = Unsigned()
            for each in behind:
                _read_again(each, self._key, unsigned)
        if unsigned.seconds > max(IDLE_SECONDS, self._limits.checkpoint_seconds) + _LATE_SECONDS:
            hours = f"{unsigned.seconds / 3600:.1f} hours"
            told = f"no checkpoint covers its end, in which a gateway ran for {hours}, and it signs every hour"
            raise DamagedError(1, told)

    # Lines.

    def append(self, lines: Sequence[object]) -> None:
        """Make the lines durable in the kernel.

        Raises:
            LedgerError: none of them is.
        """
        now = self._clock()
        self._append(lines, now)
        if self._is_resumed or self._chain.size - self._signed > self._limits.checkpoint_lines:
            try:
                self.sign(now)
            except LedgerError as error:  # the lines are there: they are signed next time
                log.warning("a checkpoint could not be written", extra={"error": str(error)})

    def _append(self, lines: Sequence[object], now: float) -> None:
        try:
            self._write(lines, now)
        except OSError as error:
            raise self._fail(error) from error
        except (TypeError, ValueError) as error:
            self._metrics.ledger_failures.inc()
            raise LedgerError(f"A line for the ledger {self._sink.name} cannot be rendered.") from error
        self._metrics.ledger_lines.inc(len(lines))

    def _fail(self, error: OSError) -> LedgerError:
        self._metrics.ledger_failures.inc()
        return LedgerError(f"The ledger {self._sink.name} cannot be written: {error.strerror}.")

    def _write(self, lines: Sequence[object], now: float) -> None:
        chain, sink = self._chain, self._sink
        staged = chain.stage(lines, now)
        is_known = self._looked_at <= staged.now < self._look_at
        fits = is_known and sink.length + len(staged.data) <= self._limits.segment_bytes
        if not fits and self._must_begin(len(staged.data), staged.now):
            self._begin(now)
            staged = chain.stage(lines, now)
        self._put(staged, sink.write)

    def _put(self, staged: Staged, write: Callable[[bytes], None]) -> None:
        try:
            write(staged.data)
        except OSError:
            self._look_at = 0.0
            self._chain.take(staged.first(staged.data[: self._sink.left].count(b"\n")))
            raise
        self._chain.take(staged)

    def _must_begin(self, more: int, now: float) -> bool:
        """Look whether the next lines stand in a new segment; one that is complete is signed first."""
        limit = self._limits.segment_bytes
        if not self._is_begun:
            return True
        if self._is_suspect or not self._sink.is_in_place():
            log.error(
                "the ledger's file was removed or changed: it is written to no more", extra={"path": str(self.path)}
            )
            self._metrics.ledger_failures.inc()
            return True
        length = self._sink.length
        if (length + more > limit and length > self._begun_bytes) or int(now // DAY_SECONDS) != self._day:
            return True
        self._looked_at = now
        self._look_at = min(now + self._limits.look_seconds, (self._day + 1) * DAY_SECONDS)
        return False

    def _begin(self, now: float) -> None:
        # What was found is not signed before something is written behind it: no line of it then has, as one of ours
        # may, a checkpoint that follows at once.
        if self._is_begun and not self._is_resumed and not self._is_suspect and self._sink.is_in_place():
            self._sign(now)
        # Nothing but its own line may stand first, not even that the clock was set back: the next line says so.
        staged = self._chain.stage([self._chain.segment(), *self.restate()], max(now, self._chain.now))
        self._put(staged, partial(self._sink.begin, self._chain.size))
        self._chain.segments += 1
        self._day, self._begun_bytes = int(self._chain.hold(now) // DAY_SECONDS), len(staged.data)
        self._is_begun, self._is_suspect, self._look_at = True, False, 0.0

    # Checkpoints.

    def sign(self, now: float) -> None:
        """Sign what was not signed yet.

        Raises:
            LedgerError: the checkpoint cannot be written.
        """
        try:
            self._sign_in_place(now)
        except OSError as error:
            raise self._fail(error) from error

    def _sign_in_place(self, now: float, *, idle: bool = False) -> None:
        if self._chain.size == self._signed + 1 and not idle:
            return
        if self._must_begin(0, self._chain.hold(now)):
            self._begin(now)
        self._sign(now, idle=idle)

    def _sign(self, now: float, *, idle: bool = False) -> None:
        if self._chain.size == self._signed + 1 and not idle:
            return
        head, line = self._chain.sign(self._key)
        staged = self._chain.stage([line], max(now, self._chain.now))
        self._put(staged, self._sink.write)
        self._signed, self._signed_at, self._is_resumed = head.size, now, False
        self._unpublished = Published(head, line.note)
        self._metrics.ledger_checkpoints.inc()
        self._metrics.ledger_checkpoint_at.set(now)

    def tick(self) -> None:
        """Do what time asks for: sign, begin the day's segment, say that old ones are removed.

        Raises:
            LedgerError: it cannot be written.
        """
        now = self._clock()
        since = now - self._signed_at
        has_new = self._chain.size > self._signed + 1
        try:
            if self._is_begun and int(self._chain.hold(now) // DAY_SECONDS) != self._day:
                self._write([], now)
            elif not 0 <= since < (self._limits.checkpoint_seconds if has_new else IDLE_SECONDS):
                self._sign_in_place(now, idle=True)
            self._look_after_old(now)
        except OSError as error:
            raise self._fail(error) from error

    def _look_after_old(self, now: float) -> None:
        """Say once a day which segments are removed, all of whose lines are older than what is kept.

        Only where one day follows another: a clock that jumps ahead removes nothing.
        """
        day = int(now // DAY_SECONDS)
        if day == self._kept_day or self._limits.keep_days is None:
            return
        if day == self._kept_day + 1:
            older, first = self._sink.find_older(now - self._limits.keep_days * DAY_SECONDS)
            if older:
                self._write([RetentionLine(first=first)], now)
                self._sign(now)
                self._old = tuple(older)
        self._kept_day = day

    # On disk.

    def publish(self) -> Published | None:
        """Make all lines durable on disk and return the checkpoint that was signed since the last call, if any.

        It waits for the disk: call it from another thread than all else. Then what is old is removed.

        Raises:
            LedgerError: the disk says no. It is tried again at the next call.
        """
        with self._publishing:
            published, old = self._unpublished, self._old
            if published is None or published.head.size <= self._published:
                return None
            self.sync()
            try:
                self._sink.keep_checkpoint(published.note)
            except OSError as error:
                raise LedgerError(
                    f"The checkpoint of the ledger {self._sink.name} cannot be written: {error.strerror}."
                ) from error
            self._published = published.head.size
            self._remove(old)
        return published

    def _remove(self, old: Sequence[Segment]) -> None:
        """Remove segments; those that stay are found again the next day."""
        if not old:
            return
        try:
            for segment in old:
                segment.path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("an old segment could not be removed", extra={"path": self._sink.name, "error": str(error)})
        else:
            log.info("old segments were removed", extra={"path": self._sink.name, "count": len(old)})
        if self._old is old:
            self._old = ()

    def sync(self) -> None:
        """Wait until all lines are on disk.

        Raises:
            LedgerError: the disk says no. What is written from then on stands in another segment.
        """
        try:
            self._sink.sync()
        except OSError as error:
            self._is_suspect, self._look_at = True, 0.0
            self.sync_failures += 1
            self._metrics.ledger_failures.inc()
            raise LedgerError(f"The ledger {self._sink.name} cannot be made durable: {error.strerror}.") from error

    def close(self) -> None:
        """Let go of the files and the lock."""
        self._sink.close()


def _read_again(segment: Segment, key: SigningKey, unsigned: Unsigned) -> Replay | None:
    """Follow the lines of a segment; None where they are not as they were written."""
    replay = Replay(segment.first, key, unsigned=unsigned)
    file = open_regular(segment.path)
    try:
        for lines in read_blocks(file, find_end_of_lines(file)[0]):
            replay.feed(lines)
    except DamagedError:
        return None
    finally:
        os.close(file)
    return replay


def _refuse(folder: Path, segment: Segment, damage: DamagedError) -> UsageError:
    """Return why a ledger is not gone on with."""
    if isinstance(damage, ForeignError):
        return UsageError(
            f"The ledger {folder} was not begun with this key: {segment.path.name}:{damage}. "
            "Name its key with --ledger-key, or begin another ledger with --ledger."
        )
    if isinstance(damage, FormatError):
        return UsageError(
            f"The ledger {folder} is of another version of Sekisho: {segment.path.name}:{damage}. Start that version; "
            "or keep this as evidence, and begin another one with --ledger and a key of another name."
        )
    return UsageError(f"The ledger {folder} is not as it was written: {segment.path.name}:{damage}. {_KEEP_AND_BEGIN}")


def refuse_folder(path: Path, error: OSError) -> UsageError:
    """Return the sentence for a folder that cannot be held, with the mend."""
    if error.errno in {errno.EAGAIN, errno.EACCES} and path.exists() and os.access(path, os.W_OK):
        return UsageError(
            f"Another gateway writes the ledger {path}: stop it, or begin another ledger with --ledger and a key of "
            "another name. Replicas that share both are each given a name of their own, by SEKISHO_REPLICA."
        )
    mend = _MENDS.get(error.errno or 0, "Mend that")
    return UsageError(
        f"The ledger {path} cannot be written: {error.strerror}. {mend}, or begin another ledger with --ledger and a "
        "key of another name."
    )
