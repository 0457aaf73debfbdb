# SPDX-License-Identifier: Apache-2.0
"""A connection and its forwarded chain become an ``Origin``.

Declared networks come first, then geolocation. Private, shared, documentation and reserved addresses (RFC 6890)
never go to geolocation: nothing public is known of them. What nobody knows stays unknown.
"""

from ipaddress import ip_network
from typing import Final

from proxy.model.facts import ABSENT, UNKNOWN, State
from proxy.model.origin import CountrySource, Origin
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
        "192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
        "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
"""The special-purpose registries of IANA (RFC 6890), where the standard library of some Python says global."""


class Origins:
    """Resolves addresses for one snapshot; what was found is kept while the snapshot lives.

    Args:
        networks: look-up of declared networks.
        proxies: look-up of trusted proxies.
        geolocator: asked for public addresses outside all declared networks.
    """

    def __init__(self, networks: Prefixes, proxies: Prefixes, geolocator: Geolocator) -> None:
        self._networks = networks
        self._proxies = proxies
        self._geolocator = geolocator
        self._kept: dict[tuple[str, tuple[str, ...]], Origin] = {}

    def resolve(self, peer: str, forwarded_for: tuple[str, ...]) -> Origin:
        """Return where a request comes from."""
        key = (peer, forwarded_for)
        origin = self._kept.get(key)
        if origin is None:
            address = find_client(peer, forwarded_for, self._is_trusted)
            origin = NOWHERE if isinstance(address, State) else self.locate(address)
            if sum(map(len, forwarded_for)) <= MAX_KEPT_CHAIN:
                if len(self._kept) >= MAX_KEPT:
                    self._kept.clear()
                self._kept[key] = origin
        return origin

    def locate(self, address: Address) -> Origin:
        """Return what is known of one address."""
        network: Network | None = self._networks.find(address)
        if network is not None:
            return Origin(ip=str(address), country=network.country, network=network.id, source=CountrySource.NETWORK)
        if not address.is_global or SPECIAL.find(address) is not None:
            return Origin(ip=str(address), network=ABSENT)
        found = self._geolocator.locate(str(address))
        source = CountrySource.NONE if found.country is UNKNOWN else self._geolocator.source
        return Origin(
            ip=str(address),
            country=found.country,
            registered_country=found.registered_country,
            network=ABSENT,
            source=source,
        )

    def is_proxy(self, peer: str) -> bool:
        """Say whether the address at the other end of a connection is a trusted proxy's."""
        address = parse_address(peer)
        return address is not None and self._is_trusted(address)

    def _is_trusted(self, address: Address) -> bool:
        return self._proxies.find(address) is not None
