# SPDX-License-Identifier: Apache-2.0
"""A file that is made by code and committed."""

from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).parents[2]


class Generated(msgspec.Struct, frozen=True):
    """What a file must hold."""

    place: str
    """Below the root of the project, such as ``docs/metrics.md``."""
    text: str

    @property
    def path(self) -> Path:
        """Where it is."""
        return ROOT / self.place

    @property
    def has_drifted(self) -> bool:
        """Whether the file is not there, or holds something else."""
        return not self.path.is_file() or self.path.read_text(encoding="utf-8") != self.text

    def write(self) -> None:
        """Make the file what it must be."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.text, encoding="utf-8")
