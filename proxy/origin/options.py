# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from pathlib import Path

from pydantic import BaseModel


class OriginOptions(BaseModel):
    """Which geolocation is asked."""

    geoip: Path | None = None
    """A MaxMind-format country database; the built-in registry data if there is none."""
