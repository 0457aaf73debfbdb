# SPDX-License-Identifier: Apache-2.0
"""A deployment in a folder, to be mis-set in one thing, and started as the process that operators start."""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from proxy.clock import elapsed_seconds
from tests.support.bundle_folder import edited, write_bundle
from tests.support.keys import write_pseudonym_keys
from tests.support.ledger import write_ledger_key
from tests.support.world import ISSUERS

ROOT: Final = Path(__file__).parents[2]
PATIENCE_SECONDS: Final = 60
_PR_CAPBSET_DROP: Final = 24
"""prctl(2)"""
_DROPPED: Final = (1, 2, 3, 10)
"""CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_NET_BIND_SERVICE (linux/capability.h): what only root may."""
_LIBC: Final = ctypes.CDLL(None)


class Ended(msgspec.Struct, frozen=True):
    """What came of a start."""

    code: int
    told: str
    """All that was printed and logged, the deployment's folder called ``DIR``."""


class Deployment:
    """A gateway that would start: what is in its folder, and its variables. Settings are named in lower case.

    Args:
        folder: empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings: dict[str, object] = {
            "policies": write_bundle(folder / "policies", _files()),
            "listen": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            "ledger": folder / "ledger",
            "ledger_key": write_ledger_key(folder / "ledger.key"),
            "pseudonym_key": write_pseudonym_keys(folder / "pseudonym.key"),
        }
        self.environment: dict[str, str] = {}
        """Variables beside those."""
        self.open_files: int | None = None
        """How many it may have open; None: as many as the tests."""

    def file(self, name: str, text: str | bytes = "", mode: int = 0o600) -> Path:
        """Write a file, and return where."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    def made(self, name: str, mode: int = 0o700) -> Path:
        """Make a folder, and return where."""
        path = self.folder / name
        path.mkdir(parents=True)
        path.chmod(mode)
        return path

    def start(self, until: str = "") -> Ended:
        """Start, and return what came of it.

        Args:
            until: end it in order once this is logged; empty: it ends by itself.
        """
        log = self.folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "proxy.cli", "run"], env=self._variables(), stdout=out, stderr=out, cwd=ROOT,
                stdin=subprocess.DEVNULL, preexec_fn=self._become_anybody,  # noqa: PLW1509 - no thread is running
            )  # fmt: skip
            try:
                if until:
                    _wait_for(lambda: until in log.read_text(encoding="utf-8") or process.poll() is not None)
                    process.send_signal(signal.SIGTERM)
                code = process.wait(PATIENCE_SECONDS)
            finally:
                process.kill()
        return Ended(code, log.read_text(encoding="utf-8").replace(str(self.folder), "DIR"))

    def _variables(self) -> Mapping[str, str]:
        ours = {f"SEKISHO_{name.upper()}": _render(value) for name, value in self.settings.items() if value is not None}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SEKISHO_")}  # noqa: TID251
        return kept | ours | self.environment

    def _become_anybody(self) -> None:
        """Give up what root may beyond the modes of files, and ports that only root may bind."""
        for capability in _DROPPED:
            _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
        if self.open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.open_files, self.open_files))


def _files() -> dict[str, str]:
    place = ("parties.yaml", "https://idp.example.jp/jwks.json", "file:corp.json")
    return {**edited(place), "corp.json": json.dumps(ISSUERS["corp"].key_set())}


def _render(value: object) -> str:
    return json.dumps(value, default=str) if isinstance(value, dict) else str(value)


def _wait_for(condition: Callable[[], bool]) -> None:
    until = elapsed_seconds() + PATIENCE_SECONDS
    while not condition():
        assert elapsed_seconds() < until
        time.sleep(0.02)
