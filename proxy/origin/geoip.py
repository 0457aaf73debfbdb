# SPDX-License-Identifier: Apache-2.0
"""Sources of geolocation. Making one opens databases; looking up is from memory, and never changes.

- ``RegistryGeolocator`` is the built-in default: the delegation files of the five regional Internet registries,
  inside the ``iptocc`` package. It tells the *registrant's* country, which is not where an address is used.
- ``DatabaseGeolocator`` reads MaxMind-format databases: of countries, of autonomous systems, of anonymous networks.

Nothing here raises at request time: what cannot be told is unknown. One thing is told by silence: a database of
anonymous networks lists nothing else, so an address that is not in it is known to be in none.
"""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from iptocc import country_code

from proxy.clock import render_instant
from proxy.errors import UsageError
from proxy.model.country import parse_country
from proxy.model.facts import EMPTY_SET, UNKNOWN, Fact, FactSet
from proxy.model.origin import CountrySource, DatabaseInfo, Geolocation
from proxy.model.ports import Geolocator
from proxy.origin.databases import Database
from proxy.origin.options import OriginOptions

MAX_ASN: Final = 2**32 - 1
ANONYMOUS_KEYS: Final[Mapping[str, str]] = {
    "is_anonymous": "anonymous",
    "is_anonymous_vpn": "vpn",
    "is_hosting_provider": "hosting",
    "is_public_proxy": "proxy",
    "is_residential_proxy": "residential-proxy",
    "is_tor_exit_node": "tor",
}


class RegistryGeolocator:
    """Looks addresses up in the registries' allocation data."""

    source = CountrySource.REGISTRY
    databases: tuple[DatabaseInfo, ...] = ()

    def __init__(self) -> None:
        self.build = self.version = f"iptocc {version('iptocc')}"

    def locate(self, ip: str, now: float) -> Geolocation:  # noqa: ARG002 - the port's: these data have no date
        """Return the registrant's country."""
        country = _country(country_code(ip))
        return Geolocation(country, country)


class DatabaseGeolocator:
    """Looks addresses up in MaxMind-format databases, and countries in the registries' data if there is none of them.

    Args:
        country: where an address is used, and where it is registered.
        asn: which autonomous system announces it.
        anonymous: what it hides.
    """

    def __init__(
        self, country: Database | None = None, asn: Database | None = None, anonymous: Database | None = None
    ) -> None:
        self._registry = RegistryGeolocator()
        self._country = country
        self._asn = asn
        self._anonymous = anonymous
        self.source = CountrySource.REGISTRY if country is None else CountrySource.DATABASE
        self.databases = tuple(each.info for each in (country, asn, anonymous) if each is not None)
        builds = [f"{each.type} of {render_instant(each.built)}, {each.digest}" for each in self.databases]
        self.build = "; ".join([self._registry.build] * (country is None) + builds)
        self.version = f"sha256:{hashlib.sha256(self.build.encode()).hexdigest()[:16]}"

    def locate(self, ip: str, now: float) -> Geolocation:
        """Return what the databases say of an address that are not too old by now."""
        if self._country is None:
            country, registered = (found := self._registry.locate(ip, now)).country, found.registered_country
        elif self._country.info.holds(now):
            country, registered = read_countries(_get(self._country, ip))
        else:
            country = registered = UNKNOWN
        asn, anonymous = self._asn, self._anonymous
        return Geolocation(
            country,
            registered,
            UNKNOWN if asn is None or not asn.info.holds(now) else read_asn(_get(asn, ip)),
            UNKNOWN if anonymous is None or not anonymous.info.holds(now) else read_anonymous(_get(anonymous, ip)),
        )


def _get(database: Database, ip: str) -> Any:
    """Return a record, None if there is none, ``UNKNOWN`` if that cannot be told."""
    try:
        return database.get(ip)
    except LookupError:
        return UNKNOWN


def read_countries(record: Any) -> tuple[Fact[str], Fact[str]]:
    """Return country and registered country of a record."""
    if not isinstance(record, dict):
        return UNKNOWN, UNKNOWN
    return _country_of(record.get("country")), _country_of(record.get("registered_country"))


def _country_of(part: Any) -> Fact[str]:
    return _country(part.get("iso_code")) if isinstance(part, dict) else UNKNOWN


def read_asn(record: Any) -> Fact[str]:
    """Return the autonomous system of a record, as ``AS4134``; an Enterprise record holds it under ``traits``."""
    if not isinstance(record, dict):
        return UNKNOWN
    traits = record.get("traits")
    number = (traits if isinstance(traits, dict) else record).get("autonomous_system_number")
    is_number = isinstance(number, int) and not isinstance(number, bool) and 0 < number <= MAX_ASN
    return f"AS{number}" if is_number else UNKNOWN


def read_anonymous(record: Any) -> Fact[FactSet]:
    """Return what a record says that an address hides; of one without a record, that it is nothing."""
    if record is None:
        return EMPTY_SET
    if not isinstance(record, dict):
        return UNKNOWN
    if ANONYMOUS_KEYS.keys().isdisjoint(record):
        return UNKNOWN  # a record of another make
    said = {name: record.get(key, False) for key, name in ANONYMOUS_KEYS.items()}
    members = frozenset(name for name, flag in said.items() if flag is True)
    return FactSet(members, is_open=any(not isinstance(flag, bool) for flag in said.values()))


def _country(code: object) -> Fact[str]:
    return (parse_country(code) if isinstance(code, str) else None) or UNKNOWN


def make_geolocator(options: OriginOptions) -> Geolocator:
    """Return the configured geolocation: the databases at their paths, else the registry data that are built in.

    Raises:
        UsageError: a database cannot be opened, or none is named whose age could be told.
    """
    places = {"country": options.geoip, "asn": options.geoip_asn, "anonymous": options.geoip_anonymous}
    databases = {
        use: Database(use, path, options.geoip_max_age_days) for use, path in places.items() if path is not None
    }
    if options.geoip_max_age_days is not None and not databases:
        raise UsageError(
            "--geoip-max-age-days asks how old a database is, and none is named: name one with --geoip, or leave that "
            "out."
        )
    return DatabaseGeolocator(**databases) if databases else RegistryGeolocator()
