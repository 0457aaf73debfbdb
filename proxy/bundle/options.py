# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from pathlib import Path

from pydantic import BaseModel


class BundleOptions(BaseModel):
    """Where large registers are kept."""

    registers_folder: Path | None = None
    """A folder of this user's alone, made if it is not there, in which tables become files that all workers read;
    one in the system's folder for temporary files if it is not set."""
