# SPDX-License-Identifier: Apache-2.0
"""How long Sekisho takes from its start until it is ready, and what it then holds in memory.

- The anchor is what nobody can do without: Python, importing the four large libraries that a gateway needs.
- Ready is what `/readyz` says: bundle loaded, checked and tested, ledger open, keys there, callers accepted.
- Wall time on one core, files in the page cache, compiled modules on disk.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from bench.contenders.sekisho import command_of, write_inputs
from bench.harness import BenchError, Comparison, paired, settled_cpu, tree_of, wait_until
from bench.processes import LOOPBACK, Launch, free_port, pinned, resident_kilobytes, start_pinned, stop
from bench.races import SEKISHO, upstream_running
from proxy.clock import elapsed_seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.identity import Issuer
    from bench.setting import Setting

ANCHOR: Final = "imports alone"
IMPORTS: Final = "import aiohttp, uvloop, jwt, pydantic"


@dataclass(frozen=True, slots=True)
class Starts:
    """Hold what starting costs."""

    comparison: Comparison
    """Seconds."""
    worker_mebibytes: float
    """Resident memory of the process that serves, ready and never asked."""


@dataclass(frozen=True, slots=True)
class Starter:
    """Be a contender for `paired`: start the gateway, wait until it is ready, stop it; return the seconds to ready."""

    setting: Setting
    room: Path
    megabytes: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """Start once."""
        port, admin_port = free_port(), free_port()
        command = command_of(self.room, port, admin_port, self.setting)
        began = elapsed_seconds()
        process = start_pinned(Launch(command, self.setting.cores.contender, port, self.room / "output"))
        try:
            wait_until(lambda: is_ready(process, admin_port), f"/readyz of {SEKISHO}")
            took = elapsed_seconds() - began
            settled_cpu(process.pid)
            self.megabytes.append(max(map(resident_kilobytes, tree_of(process.pid))) / 1024)
        finally:
            stop(process)
        return took


def is_ready(process: subprocess.Popen[bytes], admin_port: int) -> bool:
    """Return whether the gateway says that it is ready.

    Raises:
        BenchError: If it has ended instead.
    """
    if process.poll() is not None:
        raise BenchError(f"the gateway ended with code {process.returncode} before it was ready")
    connection = http.client.HTTPConnection(LOOPBACK, admin_port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def import_alone(core: int) -> float:
    """Run the anchor once and return its seconds."""
    with pinned(core):
        began = elapsed_seconds()
        subprocess.run([sys.executable, "-c", IMPORTS], check=True)
        return elapsed_seconds() - began


def measure(issuer: Issuer, rounds: int) -> Starts:
    """Start so often."""
    with upstream_running(issuer) as setting:
        room = setting.room("sekisho")
        write_inputs(room, setting)
        starter = Starter(setting, room)
        alone: Callable[[], float] = partial(import_alone, setting.cores.contender)
        comparison = paired({ANCHOR: alone, SEKISHO: starter}, ANCHOR, rounds)
    return Starts(comparison, max(starter.megabytes))
