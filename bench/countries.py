# SPDX-License-Identifier: Apache-2.0
"""GeoIP data of the benchmark: the same networks as an HAProxy map and as a MaxMind-format database.

- Deterministic and invented, but for two networks which the regional registries hold for Japan and China, so
  that a gateway with real registry data agrees on the two addresses that the benchmark sends from.
- Some 20,000 networks: the depth of a real look-up, built in seconds.
"""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LISTED_COUNTRY: Final = "CN"
CLIENT_ADDRESS: Final = "133.242.0.1"
"""In Japan: let through."""

LISTED_ADDRESS: Final = "36.112.0.1"
"""In China: refused by the rule."""

REAL_NETWORKS: Final = {"133.242.0.0/16": "JP", "36.112.0.0/16": LISTED_COUNTRY}
INVENTED_COUNTRIES: Final = ("AU", "BR", "CA", "DE", "FR", "GB", "IN", "JP", "KR", "SG", "TH", "US", "VN")
INVENTED_NETWORKS: Final = 20_000
SCATTER: Final = 2_654_435_761
"""Knuth's multiplicative hash: spreads consecutive numbers over the whole range, no two alike."""


def invented_networks() -> Iterator[tuple[str, str]]:
    """Yield scattered /24 networks with a country, none inside a real one."""
    taken = [ip_network(text) for text in REAL_NETWORKS]
    for number in range(INVENTED_NETWORKS):
        prefix = number * SCATTER % (1 << 24)
        network = IPv4Network((prefix << 8, 24))
        if network.is_global and not any(network.overlaps(other) for other in taken):
            yield str(network), INVENTED_COUNTRIES[number % len(INVENTED_COUNTRIES)]


def country_networks() -> dict[str, str]:
    """Return every network with its country."""
    return {**REAL_NETWORKS, **dict(invented_networks())}


def write_map(path: Path) -> None:
    """Write the networks as an HAProxy map: a network, a space, a country."""
    path.write_text("".join(f"{network} {country}\n" for network, country in country_networks().items()))


def write_mmdb(path: Path) -> None:
    """Write the networks as a MaxMind-format country database."""
    # Imported late: `require` must be able to name the missing wheel first.
    from mmdb_writer import MMDBWriter  # noqa: PLC0415
    from netaddr import IPSet  # noqa: PLC0415

    writer = MMDBWriter(6, "GeoLite2-Country", ["en"], "invented, for benchmarks", ipv4_compatible=True)
    for network, country in country_networks().items():
        writer.insert_network(IPSet([network]), {"country": {"iso_code": country}})
    writer.to_db_file(str(path))
