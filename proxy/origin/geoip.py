# SPDX-License-Identifier: Apache-2.0
"""Sources of geolocation. This module opens databases; looking up is from memory.

- ``RegistryGeolocator`` is the built-in default: the delegation files of the five regional Internet registries,
  inside the ``iptocc`` package. It tells the *registrant's* country, which is not where an address is used.
- ``DatabaseGeolocator`` reads a MaxMind-format country database, when one is configured.

Nothing here raises at request time: what cannot be told is unknown.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Final

import geoip2.database
import geoip2.errors
import maxminddb
from iptocc import country_code

from proxy.errors import UsageError
from proxy.model.country import parse_country
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.origin import CountrySource, Geolocation
from proxy.model.ports import Geolocator

NOT_FOUND: Final = Geolocation(UNKNOWN, UNKNOWN)


class RegistryGeolocator:
    """Looks addresses up in the registries' allocation data."""

    source = CountrySource.REGISTRY

    def __init__(self) -> None:
        self.build = f"iptocc {version('iptocc')}"

    def locate(self, ip: str) -> Geolocation:
        """Return the registrant's country."""
        country = _country(country_code(ip))
        return Geolocation(country, country)


class DatabaseGeolocator:
    """Looks addresses up in a MaxMind-format database, held in memory.

    Args:
        path: the ``.mmdb`` file.

    Raises:
        UsageError: the file is missing, unreadable, or no country database.
    """

    source = CountrySource.DATABASE

    def __init__(self, path: Path) -> None:
        try:
            self._reader = geoip2.database.Reader(path, mode=maxminddb.MODE_MEMORY)
            metadata = self._reader.metadata()
        except (OSError, maxminddb.InvalidDatabaseError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"The GeoIP database {path} cannot be opened: {error}. Name a MaxMind-format country database with "
                f"--geoip, or leave it out to use the built-in registry data."
            ) from error
        if not any(kind in metadata.database_type for kind in ("Country", "City", "Enterprise")):
            raise UsageError(
                f"The GeoIP database {path} is a {metadata.database_type!r}: a country database is needed."
            )
        kinds = {"Country": self._reader.country, "City": self._reader.city, "Enterprise": self._reader.enterprise}
        self._look_up = next(look_up for kind, look_up in kinds.items() if kind in metadata.database_type)
        self.build = f"{metadata.database_type} {metadata.build_epoch}"

    def locate(self, ip: str) -> Geolocation:
        """Return the country where the address is used, and where it is registered."""
        try:
            found = self._look_up(ip)
        except (geoip2.errors.GeoIP2Error, maxminddb.InvalidDatabaseError, ValueError, KeyError, TypeError):
            return NOT_FOUND
        return Geolocation(_country(found.country.iso_code), _country(found.registered_country.iso_code))


def _country(code: object) -> Fact[str]:
    return (parse_country(code) if isinstance(code, str) else None) or UNKNOWN


def make_geolocator(path: Path | None) -> Geolocator:
    """Return the configured geolocation: the database at a path, else the registry data that is built in.

    Raises:
        UsageError: the database cannot be opened.
    """
    return RegistryGeolocator() if path is None else DatabaseGeolocator(path)
