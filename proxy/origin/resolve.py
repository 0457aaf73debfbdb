# SPDX-License-Identifier: Apache-2.0
"""A connection and its forwarded chain become an ``Origin``.

Declared networks come first, then geolocation. Private, shared, documentation and reserved addresses (RFC 6890)
never go to geolocation: nothing public is known of them. What nobody knows stays unknown.
"""

from collections.abc import Sequence
from typing import Final

from proxy.model.facts import ABSENT, UNKNOWN, State
from proxy.model.origin import CountrySource, Origin
from proxy.model.ports import Geolocator
from proxy.origin.forwarded import Address, find_client
from proxy.origin.networks import Network, Prefixes

MAX_KEPT: Final = 50_000
"""Addresses kept in memory: some ten megabytes."""

NOWHERE: Final = Origin()


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
        self._kept: dict[tuple[str, Sequence[str]], Origin] = {}

    def resolve(self, peer: str, forwarded_for: tuple[str, ...]) -> Origin:
        """Return where a request comes from."""
        key = (peer, forwarded_for)
        origin = self._kept.get(key)
        if origin is None:
            address = find_client(peer, forwarded_for, self._is_trusted)
            origin = NOWHERE if isinstance(address, State) else self.locate(address)
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[key] = origin
        return origin

    def locate(self, address: Address) -> Origin:
        """Return what is known of one address."""
        network: Network | None = self._networks.find(address)
        if network is not None:
            return Origin(ip=str(address), country=network.country, network=network.id, source=CountrySource.NETWORK)
        if not address.is_global:
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

    def _is_trusted(self, address: Address) -> bool:
        return self._proxies.find(address) is not None
