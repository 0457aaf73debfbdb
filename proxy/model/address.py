# SPDX-License-Identifier: Apache-2.0
"""Blocks of addresses in CIDR notation, as registers and rules write them."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeAlias

Block: TypeAlias = IPv4Network | IPv6Network


def _mend(text: str) -> str:
    """Return what to write instead, where the text has bits set behind its length; else an example."""
    try:
        return f": it has host bits set; write {ip_network(text, strict=False)}"
    except ValueError:
        return ", such as 10.20.0.0/16 or 2001:db8::/32"


def parse_block(text: str) -> Block:
    """Return a block of addresses; ValueError with a sentence if the text is none."""
    try:
        block = ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no block of addresses in CIDR notation{_mend(text)}") from error
    _, slash, length = text.partition("/")
    if slash and not (length.isascii() and length.isdigit()):
        raise ValueError(f"{text!r} is no block of addresses in CIDR notation: write a length such as /24, no mask")
    if isinstance(block, IPv6Network) and (block.network_address.scope_id or block.network_address.ipv4_mapped):
        raise ValueError(
            f"{text!r} is no block of addresses that requests come from: write it without a zone, and IPv4 as IPv4"
        )
    return block
