# SPDX-License-Identifier: Apache-2.0
"""The registers ``networks`` and ``trusted_proxies``: what we know ourselves about addresses.

Private addresses have no GeoIP: their country is what the register says, or unknown. The longest prefix wins.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, ClassVar, Final, TypeAlias

import msgspec
from pydantic import Field

from proxy.model.entry import Country, Entry, Flag, Id, Text, scalar
from proxy.model.problem import Problem
from proxy.origin.forwarded import Address

Block: TypeAlias = IPv4Network | IPv6Network


MIN_PROXY_PREFIX: Final = {4: 8, 6: 16}
"""The shortest prefix of a block of trusted proxies, by version of IP: nobody runs proxies in more."""


def parse_block(text: str) -> Block:
    """Return a block of addresses; ValueError with a sentence if the text is none."""
    try:
        block = ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no block of addresses in CIDR notation: {error}") from error
    _, slash, length = text.partition("/")
    if slash and not (length.isascii() and length.isdigit()):
        raise ValueError(f"{text!r} is no block of addresses in CIDR notation: write a length such as /24, no mask")
    if isinstance(block, IPv6Network) and (block.network_address.scope_id or block.network_address.ipv4_mapped):
        raise ValueError(
            f"{text!r} is no block of addresses that requests come from: write it without a zone, and IPv4 as IPv4"
        )
    return block


Cidr = Annotated[Any, scalar(parse_block)]


class NetworkEntry(Entry):
    """One network whose place is known."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"anonymous", "valid_from", "valid_to"})
    id: Id
    name: Text | None = None
    cidr: list[Cidr] = Field(min_length=1)
    country: Country
    proxies: Flag = False
    """Whether trusted proxies may stand in it."""


class Network(msgspec.Struct, frozen=True):
    """What a declared network says of its addresses."""

    id: str
    country: str


class Prefixes:
    """Blocks of addresses with a value each; the longest prefix wins.

    Args:
        blocks: blocks and their values.
    """

    def __init__(self, blocks: Iterable[tuple[Block, Any]]) -> None:
        tables: dict[tuple[int, int], dict[int, Any]] = {}
        for block, value in blocks:
            shift = block.max_prefixlen - block.prefixlen
            tables.setdefault((block.version, shift), {})[int(block.network_address) >> shift] = value
        self._tables = {
            version: sorted((shift, table) for (v, shift), table in tables.items() if v == version)
            for version in (4, 6)
        }

    def find(self, address: Address) -> Any:
        """Return the value of the longest prefix that holds the address, or None."""
        number = int(address)
        for shift, table in self._tables[address.version]:
            value = table.get(number >> shift)
            if value is not None:
                return value
        return None


def check_networks(networks: Sequence[NetworkEntry]) -> list[Problem]:
    """Return what is wrong across entries: one block in two networks."""
    problems = []
    seen: dict[Block, str] = {}
    for index, entry in enumerate(networks):
        for place, block in enumerate(entry.cidr):
            other = seen.setdefault(block, entry.id)
            if other != entry.id:
                problems.append(Problem((index, "cidr", place), f"{block} is {other!r}'s, too"))
    return problems


def check_proxies(proxies: Sequence[Block], networks: Sequence[NetworkEntry]) -> list[Problem]:
    """Return what is wrong: a trusted proxy inside a network of clients could speak for all of them."""
    problems = []
    for index, proxy in enumerate(proxies):
        if proxy.prefixlen < MIN_PROXY_PREFIX[proxy.version]:
            problems.append(Problem((index,), f"{proxy} trusts half the Internet: name the proxies"))
        problems += [
            Problem(
                (index,),
                f"{proxy} overlaps network {entry.id!r}, whose clients could then write their own address: "
                f"narrow it, or declare the network `proxies: true`",
            )
            for entry in networks
            if not entry.proxies and any(proxy.overlaps(block) for block in entry.cidr)
        ]
    return problems


def compile_networks(networks: Sequence[NetworkEntry]) -> Prefixes:
    """Return the look-up of declared networks."""
    return Prefixes((block, Network(entry.id, entry.country)) for entry in networks for block in entry.cidr)


def compile_proxies(proxies: Iterable[Block]) -> Prefixes:
    """Return the look-up of trusted proxies."""
    return Prefixes((block, True) for block in proxies)
