# SPDX-License-Identifier: Apache-2.0
"""Whose address a request has, when proxies stand between.

- Trust goes by the address of the peer, and by nothing that a header says.
- From a peer that is no trusted proxy, forwarded fields are ignored: the peer is the client.
- A trusted proxy says whose request it passes on in exactly one place, the one that the deployment configures.
- A chain is walked from right to left; the first address that is no trusted proxy is the client. What stands further
  left was written by the client and is never looked at.
- A chain that ends before that, or an element that is no address, leaves the address unknown. There is no
  leftmost, and no guess. A trusted proxy is never a client, unless it says that the connection is its own.
- Addresses are made canonical first: an IPv4-mapped IPv6 address is the IPv4 address, a zone id is refused.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from proxy.model.facts import UNKNOWN, Fact
from proxy.model.origin import LOCAL, ClientAddress
from proxy.origin.rfc7239 import MAX_ELEMENTS, parse_forwarded, parse_node

Address: TypeAlias = IPv4Address | IPv6Address
IsTrusted: TypeAlias = Callable[[Address], bool]

MAX_PORT: Final = 65535
MAX_PORT_DIGITS: Final = 5
MAX_HOPS: Final = MAX_ELEMENTS
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


def find_client(
    peer: str, said: Sequence[str], is_trusted: IsTrusted, place: ClientAddress = ClientAddress.X_FORWARDED_FOR
) -> Fact[Address]:
    """Return the client's address.

    Args:
        peer: the address at the other end of the connection.
        said: what stands in the configured place: the values of all fields of that name, in the order received, or
            what the connection's PROXY header says.
        is_trusted: whether an address is that of a trusted proxy.
        place: the place.
    """
    address = parse_address(peer)
    if address is None:
        return UNKNOWN
    if not is_trusted(address):
        return address
    if place is ClientAddress.PROXY_PROTOCOL and len(said) == 1 and said[0] == LOCAL:
        return address
    return _walk(_HOPS[place](said), is_trusted)


def _walk(hops: Iterable[Address | None], is_trusted: IsTrusted) -> Fact[Address]:
    """Return the first of the hops, nearest first, that is no trusted proxy."""
    for hop in hops:
        if hop is None:
            return UNKNOWN
        if not is_trusted(hop):
            return hop
    return UNKNOWN


def _nobody(_said: Sequence[str]) -> Iterator[Address | None]:
    return iter(())


def _hops_of_list(values: Sequence[str]) -> Iterator[Address | None]:
    """Yield the hops of ``X-Forwarded-For``, nearest first."""
    hops = ",".join(values).rsplit(",", MAX_HOPS)
    for hop in reversed(hops[-MAX_HOPS:]):
        yield parse_address(_strip_port(hop.strip(" \t")))


def _hops_of_elements(values: Sequence[str]) -> Iterator[Address | None]:
    """Yield the hops of ``Forwarded``, nearest first; a line that does not parse as a whole ends the walk.

    Lines are parsed one by one, the last first: a quoted string that does not end in its line cannot swallow the next.
    """
    left = MAX_HOPS
    for value in reversed(values):
        elements = parse_forwarded(value)
        if elements is None:
            yield None
            return
        for element in reversed(elements):
            if left == 0:
                return
            left -= 1
            node = parse_node(element.get("for", ""))
            yield None if node is None else parse_address(node)


def _only_hop(values: Sequence[str]) -> Iterator[Address | None]:
    """Yield the hop of a place that holds one address."""
    if len(values) != 1:
        return iter(())
    return iter((parse_address(_strip_port(values[0].strip(" \t"))),))


def _proxied_hop(values: Sequence[str]) -> Iterator[Address | None]:
    return iter((parse_address(values[0]),)) if len(values) == 1 else iter(())


_HOPS: Final[dict[ClientAddress, Callable[[Sequence[str]], Iterator[Address | None]]]] = {
    ClientAddress.PEER: _nobody,
    ClientAddress.X_FORWARDED_FOR: _hops_of_list,
    ClientAddress.FORWARDED: _hops_of_elements,
    ClientAddress.X_REAL_IP: _only_hop,
    ClientAddress.PROXY_PROTOCOL: _proxied_hop,
}


def _strip_port(text: str) -> str:
    """Return the address of ``192.0.2.1:4711`` and ``[2001:db8::1]:4711``, as some proxies write them."""
    if text.startswith("["):
        inside, bracket, port = text[1:].partition("]")
        return inside if bracket and (not port or (port[0] == ":" and _is_port(port[1:]))) else ""
    host, colon, port = text.partition(":")
    return host if colon and _is_port(port) and "." in host else text


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_PORT_DIGITS and int(text) <= MAX_PORT
