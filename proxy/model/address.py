# SPDX-License-Identifier: Apache-2.0
"""Blocks of addresses in CIDR notation, as registers and rules write them."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeAlias

Block: TypeAlias = IPv4Network | IPv6Network


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
