# SPDX-License-Identifier: Apache-2.0
"""Processes under measurement: pinned to a core, started, waited for, weighed and stopped by pid.

- The contender has one core, the load generator and the upstream share another, so that they never compete.
- With a single core all share it: CPU per request still holds, requests per second says nothing then.
- A process is ready when it accepts a connection: polled, never slept for.
- Only processes that were started here are stopped, by pid, children after their parent.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.harness import BenchError, tree_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOOPBACK: Final = "127.0.0.1"
STOP_SECONDS: Final = 10.0
"""How long a process may take to end after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Name the core of the contender and the core of all that drives it."""

    contender: int
    driver: int

    @property
    def note(self) -> str:
        """Return one line for the reader of a table."""
        if self.contender == self.driver:
            return "one core shared by contender, load generator and upstream: requests/s says nothing"
        return f"contender on core {self.contender}, load generator and upstream on core {self.driver}"


def allotted_cores() -> Cores:
    """Return the first and the last core that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(contender=allowed[0], driver=allowed[-1])


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Bind this thread to one core within the block; what is started inside inherits it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Launch:
    """Say how one process is started and where it will listen."""

    command: Sequence[str]
    core: int
    port: int
    output: Path
    """Where standard output and error are appended."""
    ready_seconds: float = 20.0
    """How long it may take until it listens."""

    @property
    def name(self) -> str:
        """Return the program's name, for messages."""
        return Path(self.command[0]).name


@contextmanager
def running(launch: Launch) -> Iterator[int]:
    """Start a process, wait until it accepts connections, give its pid, and stop it at the end.

    Raises:
        BenchError: If it ends or does not listen in time; the end of its output is part of the message.
    """
    process = start_pinned(launch)
    try:
        listening = f"{launch.name} listening on port {launch.port}"
        wait_until(lambda: is_accepting(process, launch), listening, launch.ready_seconds)
        yield process.pid
    finally:
        stop(process)


def start_pinned(launch: Launch) -> subprocess.Popen[bytes]:
    """Start the process on its core, its output appended to a file that may be truncated at any time."""
    with pinned(launch.core), launch.output.open("ab") as output:
        return subprocess.Popen(launch.command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)


def is_accepting(process: subprocess.Popen[bytes], launch: Launch) -> bool:
    """Return whether the port accepts a connection now.

    Raises:
        BenchError: If the process has ended instead.
    """
    if process.poll() is not None:
        tail = launch.output.read_text(errors="replace")[-2000:]
        raise BenchError(f"{launch.name} ended with code {process.returncode} before it listened: {tail}")
    try:
        socket.create_connection((LOOPBACK, launch.port), timeout=1).close()
    except OSError:
        return False
    return True


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here; its whole tree by force if it does not obey in time."""
    tree = tree_of(process.pid)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for pid in tree:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def end_on_sigterm() -> None:
    """Turn SIGTERM into an ordinary exit, so that what was started here is stopped (a CI's time-out, say)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def resident_megabytes(root_pid: int) -> float:
    """Return the resident memory of a tree; pages that its processes share are counted in each."""
    return sum(resident_kilobytes(pid) for pid in tree_of(root_pid)) / 1024


def resident_kilobytes(pid: int) -> int:
    """Return VmRSS of one process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
