# SPDX-License-Identifier: Apache-2.0
"""Where a ledger's lines go, as the writer sees it: a folder, or standard output."""

from pathlib import Path
from typing import Protocol

from proxy.ledger.segments import Segment


class Sink(Protocol):
    """Takes lines. What one call is given is there, or the call raises ``OSError`` and none of it is but ``left``."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    @property
    def segment(self) -> Path | None:
        """The file that is written."""
        ...

    @property
    def length(self) -> int:
        """How many bytes that has."""
        ...

    @property
    def left(self) -> int:
        """How many bytes are there of what a call was given that failed."""
        ...

    def begin(self, first: int, data: bytes) -> None:
        """Begin a segment with its first lines, the first of which has this number."""
        ...

    def write(self, data: bytes) -> None:
        """Append lines to the segment."""
        ...

    def is_in_place(self) -> bool:
        """Say whether the segment still is what readers find, as it was left."""
        ...

    def sync(self) -> None:
        """Wait until everything is on disk; called from another thread than all else."""
        ...

    def keep_checkpoint(self, note: str) -> None:
        """Keep the latest checkpoint where others find it."""
        ...

    def find_older(self, limit: float) -> tuple[list[Segment], int]:
        """Return the oldest segments, of which all is older than an instant, and the number of the line after them."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
