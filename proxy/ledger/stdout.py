# SPDX-License-Identifier: Apache-2.0
"""Lines go to standard output, for clusters whose collector takes it (``--ledger -``). This module does I/O.

- A write never waits for long, for the event loop waits with it: for room the first time a second at most, in all; and
  while there is none, not at all. What finds no room is an error, and so 503 for the caller.
- A pipe takes 4096 bytes whole or not at all (POSIX: ``PIPE_BUF``). Data are cut between lines, so a line of up to that
  length is there whole or not at all. Where the beginning of a longer one has left and the rest has not, the next write
  ends that half line first: no line begins in the middle of another.
- What nobody can promise of a pipe is said at the start: ``LIMITS``.
"""

import contextlib
import errno
import fcntl
import logging
import os
import select
import socket
import stat
import sys
from typing import Final

from proxy.clock import elapsed_seconds
from proxy.errors import UsageError
from proxy.ledger.segments import Segment

LIMITS: Final = (
    "the ledger goes to standard output: a line is in a pipe before anything leaves, and on no disk of ours. What the "
    "collector has not read is lost when the node stops, and what it drops is lost: numbering and checkpoints show it. "
    "The tree begins anew at each start; to keep, to verify and to read the lines is the collector's part."
)
WAIT_SECONDS: Final = 1.0
"""How long one write may wait for room, in all."""
_STANDARD_OUTPUT: Final = 1
_STANDARD_ERROR: Final = 2
_NO_ROOM: Final = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS}

log = logging.getLogger("sekisho.ledger")


class StandardOutput:
    """Writes lines to a pipe, a socket, a terminal or a file.

    Args:
        file: the descriptor; a descriptor of our own is made of it.
        wait: seconds that one write may wait for room, in all.

    Raises:
        UsageError: it is not open for writing.
    """

    def __init__(self, file: int = _STANDARD_OUTPUT, *, wait: float = WAIT_SECONDS) -> None:
        try:
            self._file = _own(file)
        except OSError as error:
            raise UsageError(
                f"The ledger cannot be written to standard output: {error.strerror}. "
                "Let it lead to a collector, or name a folder with --ledger."
            ) from error
        kind = os.fstat(self._file).st_mode
        self._socket = socket.socket(fileno=self._file) if stat.S_ISSOCK(kind) else None
        self._is_file = stat.S_ISREG(kind)
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLOUT)
        self._wait = wait
        self._is_stuck = False
        """Whether the last write found no room: the next does not wait for it."""
        self._is_half = False
        """Whether what was written last has left the beginning of a line without its end."""
        self._given = -1
        """Standard output as it was given, while it is taken."""
        self.left = 0
        """How many bytes of the last write's data have left: all of them, or fewer and it was an error."""

    @classmethod
    def take(cls) -> "StandardOutput":
        """Take standard output for the lines alone, and say what that cannot promise.

        Whatever else this process or a child of it prints goes to standard error from here on.

        Raises:
            UsageError: it is closed.
        """
        if sys.stdout is None:  # then the number may belong to a file of somebody else by now
            raise UsageError(
                "The ledger cannot be written to standard output: it is closed. "
                "Let it lead to a collector, or name a folder with --ledger."
            )
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        taken = cls()
        taken._given = os.dup(_STANDARD_OUTPUT)
        with contextlib.suppress(OSError):  # where standard error is closed, nobody prints there either
            os.dup2(_STANDARD_ERROR, _STANDARD_OUTPUT)
        log.warning(LIMITS)
        return taken

    def write(self, data: bytes) -> None:
        """Write whole lines.

        Raises:
            OSError: they have not all left (``left`` says how many bytes have): EAGAIN where there is no room, EPIPE
                where nobody reads, ENOSPC and others of a file.
        """
        start = 1 if self._is_half else 0
        data = b"\n" + data if self._is_half else data
        done = 0
        try:
            deadline = elapsed_seconds() + (0.0 if self._is_stuck else self._wait)
            while done < len(data):
                self._wait_for_room(deadline)
                done += self._put(data, done, deadline)
                if self._is_stuck:  # it moves again: what belongs together gets its time
                    self._is_stuck, deadline = False, elapsed_seconds() + self._wait
        except OSError as error:
            self._is_stuck = error.errno in _NO_ROOM
            raise
        finally:
            if done:
                self._is_half = data[done - 1] != ord("\n")
            self.left = max(0, done - start)

    def _wait_for_room(self, deadline: float) -> None:
        if self._is_file:
            return
        left = max(0.0, deadline - elapsed_seconds())
        if not self._poll.poll(left * 1000):
            raise OSError(errno.EAGAIN, "nobody reads it, and it is full")

    def _put(self, data: bytes, start: int, deadline: float) -> int:
        """Write one piece without waiting, and return how much of it has left."""
        if self._is_file:
            return os.write(self._file, data[start:])
        end = start + select.PIPE_BUF
        if end < len(data):
            end = data.rfind(b"\n", start, end) + 1 or end
        try:
            if self._socket is not None:
                return self._socket.send(data[start:end], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            return os.write(self._file, data[start:end])
        except BlockingIOError:  # somebody else has taken the room meanwhile
            if elapsed_seconds() >= deadline:
                raise
            return 0

    def close(self) -> None:
        """Let go of our descriptor, and give standard output back if it was taken."""
        if self._given >= 0:
            with contextlib.suppress(OSError):
                sys.stdout.flush()  # what was printed meanwhile is no line
            os.dup2(self._given, _STANDARD_OUTPUT)
            os.close(self._given)
            self._given = -1
        if self._socket is not None:
            self._socket.close()
        elif self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
        self._file, self._socket = -1, None


class Stream:
    """The sink of a ledger that is standard output: one segment without an end.

    Args:
        output: where lines go.
    """

    name: Final = "on standard output"
    segment: Final = None

    def __init__(self, output: StandardOutput) -> None:
        self._output = output
        self.length = 0

    @property
    def left(self) -> int:
        """How much of what could not be written has left all the same."""
        return self._output.left

    def begin(self, first: int, data: bytes) -> None:  # noqa: ARG002 - nothing has a name here
        """Begin with these lines."""
        self._output.write(data)

    def write(self, data: bytes) -> None:
        """Write whole lines; see ``StandardOutput.write``."""
        self._output.write(data)

    def is_in_place(self) -> bool:
        """Say whether lines still go where they went: nobody can tell."""
        return True

    def sync(self) -> None:
        """Wait for nothing: no disk of ours is there."""

    def keep_checkpoint(self, note: str) -> None:
        """Keep nothing: the checkpoint is among the lines."""

    def find_older(self, limit: float) -> tuple[list[Segment], int]:  # noqa: ARG002 - there are none
        """Return nothing: what is kept is the collector's part."""
        return [], 0

    def close(self) -> None:
        """Let go of standard output."""
        self._output.close()


def _own(file: int) -> int:
    """Return a descriptor of our own: of a pipe or a terminal one that never waits, if the system gives it.

    That it does not wait is a property of what is open, which others share (standard error often is the same pipe): so
    it is opened once more. Where that may not be (a pipe that another user made), polling before each piece has to do.
    """
    if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "it is open for reading alone")
    kind = os.fstat(file).st_mode
    if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            return os.open(f"/proc/self/fd/{file}", flags)
    return os.dup(file)
