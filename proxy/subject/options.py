# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from pathlib import Path

from pydantic import BaseModel, Field


class SubjectOptions(BaseModel):
    """Where this deployment finds who tells the countries of data subjects."""

    lookup: dict[str, str] = Field(default_factory=dict)
    """Lookup id to the URL, or the path of a database, where this deployment finds it, in place of the bundle's."""
    lookup_ca: dict[str, Path] = Field(default_factory=dict)
    """Lookup id to a PEM file of the CAs that its certificate may be signed by, in place of the system's."""
