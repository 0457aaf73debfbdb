# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from proxy.model.origin import ClientAddress


class OriginOptions(BaseModel):
    """Whose word is taken for the client's address, and which geolocation is asked."""

    client_address: ClientAddress = ClientAddress.X_FORWARDED_FOR
    """Where trusted proxies say whose request they pass on; nothing else is ever read."""
    geoip: Path | None = None
    """A MaxMind-format country, city or enterprise database; the built-in registry data if there is none."""
    geoip_asn: Path | None = None
    """A MaxMind-format database of autonomous systems; without one they are unknown."""
    geoip_anonymous: Path | None = None
    """A MaxMind-format database of anonymous networks; without one it is unknown what an address hides."""
    geoip_max_age_days: Annotated[int, Field(gt=0)] | None = None
    """How old a database may be, by its build date; an older one says nothing. The built-in data have no such date."""
