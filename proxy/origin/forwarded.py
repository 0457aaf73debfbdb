# SPDX-License-Identifier: Apache-2.0
"""Whose address a request has, when proxies stand between.

- Trust goes by the address of the peer, and by nothing that a header says.
- From a peer that is no trusted proxy, forwarded fields are ignored: the peer is the client.
- From a trusted proxy the chain is walked from right to left; the first address that is no trusted proxy is the
  client. What stands further left was written by the client and is never looked at.
- A chain that ends before that, or an element that is no address, leaves the address unknown. There is no
  leftmost, and no guess.
- Addresses are made canonical first: an IPv4-mapped IPv6 address is the IPv4 address, a zone id is refused.
"""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from proxy.model.facts import UNKNOWN, Fact

Address: TypeAlias = IPv4Address | IPv6Address

MAX_PORT: Final = 65535
MAX_PORT_DIGITS: Final = 5
MAX_HOPS: Final = 64
"""Elements that are looked at; a longer chain is nobody's network, but an attempt."""


def parse_address(text: str) -> Address | None:
    """Return the canonical address, or None if the text is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def find_client(peer: str, forwarded_for: Sequence[str], is_trusted: Callable[[Address], bool]) -> Fact[Address]:
    """Return the client's address.

    Args:
        peer: the address at the other end of the connection.
        forwarded_for: the values of all ``X-Forwarded-For`` fields, in the order received.
        is_trusted: whether an address is that of a trusted proxy.
    """
    address = parse_address(peer)
    if address is None:
        return UNKNOWN
    if not is_trusted(address):
        return address
    hops = ",".join(forwarded_for).rsplit(",", MAX_HOPS)
    for hop in reversed(hops[-MAX_HOPS:]):
        found = parse_address(_strip_port(hop.strip(" \t")))
        if found is None:
            return UNKNOWN
        if not is_trusted(found):
            return found
    return UNKNOWN


def _strip_port(text: str) -> str:
    """Return the address of ``192.0.2.1:4711`` and ``[2001:db8::1]:4711``, as some proxies write them."""
    if text.startswith("["):
        inside, bracket, port = text[1:].partition("]")
        return inside if bracket and (not port or (port[0] == ":" and _is_port(port[1:]))) else ""
    host, colon, port = text.partition(":")
    return host if colon and _is_port(port) and "." in host else text


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_PORT_DIGITS and int(text) <= MAX_PORT
