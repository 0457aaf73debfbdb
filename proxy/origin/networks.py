# SPDX-License-Identifier: Apache-2.0
"""The registers ``networks`` and ``trusted_proxies``: what we know ourselves about addresses.

Private addresses have no GeoIP: their country is what the register says, or unknown. The longest prefix wins.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, ClassVar, Final

import msgspec
from pydantic import Field

from proxy.model.address import Block, parse_block
from proxy.model.entry import Country, Entry, Flag, Id, Text, choice, scalar, spelled
from proxy.model.facts import EMPTY_SET, FactSet
from proxy.model.origin import ANONYMOUS
from proxy.model.problem import Problem, nearest
from proxy.origin.forwarded import Address

MIN_PROXY_PREFIX: Final = {4: 8, 6: 16}
"""The shortest prefix of a block of trusted proxies, by version of IP: nobody runs proxies in more."""


Cidr = Annotated[Any, scalar(parse_block, spelled(re.compile(r"[0-9A-Fa-f.:]+(?:/[0-9]+)?")))]


class NetworkEntry(Entry):
    """One network whose place is known."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"valid_from", "valid_to"})
    id: Id
    name: Text | None = None
    cidr: list[Cidr] = Field(min_length=1)
    country: Country
    proxies: Flag = False
    """Whether trusted proxies may stand in it."""
    anonymous: list[Annotated[str, choice(*ANONYMOUS)]] = Field(default_factory=list)
    """What it hides of whoever is in it: a network that ends a VPN, say. Of all others that is known to be nothing."""
    contains: list[Id] = Field(default_factory=list)
    """Networks that lie inside this one. Each is named, so that one of them cannot go missing unseen: its addresses
    would then be where this one is."""


class Network(msgspec.Struct, frozen=True):
    """What a declared network says of its addresses."""

    id: str
    country: str
    anonymous: FactSet = EMPTY_SET


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


def check_networks(networks: Sequence[NetworkEntry], ids: frozenset[str]) -> list[Problem]:
    """Return what is wrong across entries: one block in two networks, a network inside another that does not say so.

    Args:
        networks: the entries that are sound by themselves.
        ids: every id that is written in the register.
    """
    problems = []
    seen: dict[Block, str] = {}
    for index, entry in enumerate(networks):
        for place, block in enumerate(entry.cidr):
            other = seen.setdefault(block, entry.id)
            if other != entry.id:
                problems.append(Problem((index, "cidr", place), f"{block} is {other!r}'s, too"))
    return problems + _check_nesting(networks, ids)


def _check_nesting(networks: Sequence[NetworkEntry], ids: frozenset[str]) -> list[Problem]:
    places = {entry.id: index for index, entry in enumerate(networks)}
    inside: dict[str, set[str]] = {entry.id: set() for entry in networks}
    for outer, inner in _find_nested(networks):
        inside[outer].add(inner)
    problems = []
    for entry in networks:
        index = places[entry.id]
        problems += [
            Problem(
                (index,),
                f"network {inner!r} lies inside: name it under `contains`, so that it cannot go missing unseen",
            )
            for inner in sorted(inside[entry.id] - set(entry.contains))
        ]
        for place, inner in enumerate(entry.contains):
            if inner not in ids:
                problems.append(Problem((index, "contains", place), f"no network {inner!r}{nearest(inner, ids)}"))
            elif inner not in inside[entry.id] and len(places) == len(ids):
                problems.append(Problem((index, "contains", place), f"{inner!r} does not lie inside this network"))
    return problems


def _find_nested(networks: Sequence[NetworkEntry]) -> Iterator[tuple[str, str]]:
    """Yield ids of networks, outer and inner, where a block of one lies inside a block of the other."""
    blocks = sorted(
        ((block.version, int(block.network_address), -int(block.broadcast_address), entry.id)
         for entry in networks for block in entry.cidr),
    )  # fmt: skip
    open_: list[tuple[int, int, str]] = []
    for version, start, negative_end, id_ in blocks:
        while open_ and (open_[-1][0] != version or open_[-1][1] < start):
            open_.pop()
        yield from ((outer, id_) for _, _, outer in open_ if outer != id_)
        open_.append((version, -negative_end, id_))


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
    return Prefixes(
        (block, network)
        for entry in networks
        for network in (Network(entry.id, entry.country, FactSet(frozenset(entry.anonymous))),)
        for block in entry.cidr
    )


def compile_proxies(proxies: Iterable[Block]) -> Prefixes:
    """Return the look-up of trusted proxies."""
    return Prefixes((block, True) for block in proxies)
