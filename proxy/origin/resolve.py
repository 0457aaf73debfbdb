# SPDX-License-Identifier: Apache-2.0
"""A connection and what its proxies say of it become an ``Origin``.

Declared networks come first, then geolocation: what a network's entry says is so, and geolocation is asked for the
rest. Private, shared, documentation and reserved addresses (RFC 6890) never go to geolocation: nothing public is known
of them. What nobody knows stays unknown: an address without a country is not a private one.
"""

import math
from ipaddress import ip_network
from typing import Final

from proxy.model.facts import ABSENT, UNKNOWN, State
from proxy.model.origin import ClientAddress, CountrySource, Origin
from proxy.model.ports import Geolocator
from proxy.origin.forwarded import Address, find_client, parse_address
from proxy.origin.networks import Network, Prefixes

MAX_KEPT: Final = 50_000
"""Addresses kept in memory: some ten megabytes."""
MAX_KEPT_CHAIN: Final = 256
"""Characters of a forwarded chain that is worth keeping; a longer one is worked out each time."""

NOWHERE: Final = Origin()
SPECIAL: Final = Prefixes(
    (ip_network(block), True)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
        "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
"""The special-purpose registries of IANA (RFC 6890), and what of multicast and of old is nobody's address."""


class Origins:
    """Resolves addresses for one snapshot and one geolocator; what was found is kept while both are in force.

    Args:
        networks: look-up of declared networks.
        proxies: look-up of trusted proxies.
        geolocator: asked for public addresses.
        place: where trusted proxies say whose request they pass on.
    """

    __slots__ = ("_geolocator", "_kept", "_kept_from", "_kept_until", "_networks", "_proxies", "place")

    def __init__(
        self,
        networks: Prefixes,
        proxies: Prefixes,
        geolocator: Geolocator,
        place: ClientAddress = ClientAddress.X_FORWARDED_FOR,
    ) -> None:
        self._networks = networks
        self._proxies = proxies
        self._geolocator = geolocator
        self.place = place
        self._kept: dict[tuple[str, ...], Origin] = {}
        self._kept_from = self._kept_until = -math.inf
        """Between what moments what is kept is what would be found: at each, a database ceases to be believed."""

    def resolve(self, chain: tuple[str, ...], now: float) -> Origin:
        """Return where a request comes from.

        Args:
            chain: the address at the other end of the connection, then everything that stands in the configured place.
            now: the request's reading of the clock.
        """
        if now < self._kept_until:
            try:
                return self._kept[chain]
            except KeyError:
                pass
        return self._find(chain, now)

    def _find(self, chain: tuple[str, ...], now: float) -> Origin:
        address = find_client(chain[0], chain[1:], self._is_trusted, self.place)
        origin = NOWHERE if isinstance(address, State) else self.locate(address, now)
        if now >= self._kept_until:
            self._kept.clear()
            ends = [each.until for each in self._geolocator.databases]
            self._kept_from = max((end for end in ends if end <= now), default=-math.inf)
            self._kept_until = min((end for end in ends if end > now), default=math.inf)
        if self._kept_from <= now and sum(map(len, chain)) <= MAX_KEPT_CHAIN:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[chain] = origin
        return origin

    def trusts(self, peer: str) -> bool:
        """Whether the other end of a connection is a trusted proxy."""
        address = parse_address(peer)
        return address is not None and self._is_trusted(address)

    def locate(self, address: Address, now: float) -> Origin:
        """Return what is known of one address.

        Args:
            address: the address.
            now: seconds since 1970.
        """
        ip = str(address)
        network: Network | None = self._networks.find(address)
        is_special = SPECIAL.find(address) is not None
        if is_special and network is None:
            return Origin(ip=ip, network=ABSENT)
        if is_special and network is not None:
            return Origin(
                ip=ip,
                country=network.country,
                network=network.id,
                source=CountrySource.NETWORK,
                asn=ABSENT,  # no autonomous system announces it
                anonymous=network.anonymous,
            )
        found = self._geolocator.locate(ip, now)
        if network is not None:
            return Origin(
                ip=ip,
                country=network.country,
                registered_country=found.registered_country,
                network=network.id,
                source=CountrySource.NETWORK,
                asn=found.asn,
                anonymous=network.anonymous,
            )
        return Origin(
            ip=ip,
            country=found.country,
            registered_country=found.registered_country,
            network=ABSENT,
            source=CountrySource.NONE if found.country is UNKNOWN else self._geolocator.source,
            asn=found.asn,
            anonymous=found.anonymous,
        )

    def _is_trusted(self, address: Address) -> bool:
        return self._proxies.find(address) is not None
