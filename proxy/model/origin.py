# SPDX-License-Identifier: Apache-2.0
"""From where: the client's address, the network it is declared to be in, and the country."""

import enum
from typing import Final

import msgspec

from proxy.model.facts import UNKNOWN, Fact, FactSet


class ClientAddress(enum.StrEnum):
    """Where a trusted proxy says whose request it passes on. A deployment has exactly one of them."""

    PEER = "peer"
    """Nowhere: no proxy stands before the gateway."""
    X_FORWARDED_FOR = "x-forwarded-for"
    FORWARDED = "forwarded"
    """RFC 7239."""
    X_REAL_IP = "x-real-ip"
    PROXY_PROTOCOL = "proxy-protocol"
    """At the beginning of the connection, version 1 or 2."""


LOCAL: Final = "local"
"""What a PROXY header says of a connection of the proxy's own, in the place of an address."""


ANONYMOUS: Final = ("anonymous", "hosting", "proxy", "residential-proxy", "tor", "vpn")
"""What an address can be of that tells nobody where its user is; ``anonymous`` stands beside each of the others
that hides the user, as the database says."""


class CountrySource(enum.StrEnum):
    """Which authority said the country of an address."""

    NETWORK = "declared network"
    REGISTRY = "registry of address allocations (the registrant's country, not where the address is used)"
    DATABASE = "GeoIP database"
    NONE = "nobody"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request comes from."""

    ip: Fact[str] = UNKNOWN
    """The client's address in canonical form."""
    country: Fact[str] = UNKNOWN
    registered_country: Fact[str] = UNKNOWN
    """The country in which the block of addresses is registered."""
    network: Fact[str] = UNKNOWN
    """The id of the declared network, ``ABSENT`` if the address is in none."""
    source: CountrySource = CountrySource.NONE
    asn: Fact[str] = UNKNOWN
    """The autonomous system that announces the address, as ``AS4134``."""
    anonymous: Fact[FactSet] = UNKNOWN
    """Of ``ANONYMOUS``; the empty set if the address is known to be none of it."""


class Geolocation(msgspec.Struct, frozen=True):
    """What a geolocation source says of one address."""

    country: Fact[str]
    registered_country: Fact[str]
    asn: Fact[str] = UNKNOWN
    anonymous: Fact[FactSet] = UNKNOWN


class DatabaseInfo(msgspec.Struct, frozen=True):
    """One geolocation database, as evidence."""

    use: str
    """``country``, ``asn`` or ``anonymous``."""
    type: str
    """As the database names itself: ``GeoLite2-Country``."""
    built: float
    """Seconds since 1970."""
    digest: str
    """``sha256:`` and that of the file."""
    until: float = float("inf")
    """Seconds since 1970 when it is too old to be believed."""

    def holds(self, now: float) -> bool:
        """Whether its answers are believed at a moment."""
        return now < self.until
