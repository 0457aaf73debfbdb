# SPDX-License-Identifier: Apache-2.0
"""From where: the client's address, the network it is declared to be in, and the country."""

import enum

import msgspec

from proxy.model.facts import UNKNOWN, Fact


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


class Geolocation(msgspec.Struct, frozen=True):
    """What a geolocation source says of one address."""

    country: Fact[str]
    registered_country: Fact[str]
