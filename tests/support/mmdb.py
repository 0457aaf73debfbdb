# SPDX-License-Identifier: Apache-2.0
"""Writes small MaxMind-format databases (MaxMind DB File Format Specification v2.0) for tests."""

from collections.abc import Mapping
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Any, Final

_MARKER: Final = b"\xab\xcd\xefMaxMind.com"
_TEXT, _UINT16, _UINT32, _MAP = 2, 5, 6, 7
_UINT64, _LIST, _BOOLEAN = 9, 11, 14
_RECORD_BYTES: Final = 4

Node = list[Any]


def write_database(
    path: Path, records: Mapping[str, Any], *, kind: str, built: int = 1_700_000_000, ip_version: int = 6
) -> Path:
    """Write a database in one step, as whoever renews one should.

    Args:
        path: where.
        records: by block in CIDR notation; of two that overlap the later must be the narrower.
        kind: how the database names its type.
        built: seconds since 1970.
        ip_version: 4 for one that knows IPv4 alone.
    """
    draft = path.with_name(f"{path.name}.new")
    draft.write_bytes(render_database(records, kind=kind, built=built, ip_version=ip_version))
    return draft.rename(path)


def render_database(records: Mapping[str, Any], *, kind: str, built: int = 1_700_000_000, ip_version: int = 6) -> bytes:
    """Return the bytes of a database."""
    root: Node = [None, None]
    data = b""
    for block, record in records.items():
        _insert(root, _bits(block, ip_version), len(data))
        data += _encode(record)
    nodes = _number(root)
    tree = b"".join(_render(side, nodes) for node in nodes.values() for side in node)
    metadata = {
        "binary_format_major_version": (_UINT16, 2),
        "binary_format_minor_version": (_UINT16, 0),
        "build_epoch": (_UINT64, built),
        "database_type": kind,
        "description": {"en": "for tests"},
        "ip_version": (_UINT16, ip_version),
        "languages": ["en"],
        "node_count": (_UINT32, len(nodes)),
        "record_size": (_UINT16, _RECORD_BYTES * 8),
    }
    return tree + bytes(16) + data + _MARKER + _encode(metadata)


def _bits(block: str, ip_version: int) -> str:
    network = ip_network(block)
    length = network.prefixlen
    number = int(network.network_address)
    if isinstance(network, IPv4Network) and ip_version == 6:
        length += 96
    width = 32 if ip_version == 4 else 128
    return f"{number:0{width}b}"[:length]


def _insert(root: Node, bits: str, offset: int) -> None:
    node = root
    for bit in map(int, bits[:-1]):
        if not isinstance(node[bit], list):
            node[bit] = [node[bit], node[bit]]  # what a wider block said holds beside the narrower one
        node = node[bit]
    node[int(bits[-1])] = offset


def _number(root: Node) -> dict[int, Node]:
    nodes: dict[int, Node] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        nodes[id(node)] = node
        waiting += [side for side in node if isinstance(side, list)]
    return nodes


def _render(side: Any, nodes: Mapping[int, Node]) -> bytes:
    count = len(nodes)
    number = count if side is None else count + 16 + side if isinstance(side, int) else list(nodes).index(id(side))
    return number.to_bytes(_RECORD_BYTES, "big")


def _encode(value: Any) -> bytes:
    if isinstance(value, tuple):
        kind, number = value
        return _sized(kind, number.to_bytes((number.bit_length() + 7) // 8, "big"))
    if isinstance(value, bool):
        return _control(_BOOLEAN, int(value))
    if isinstance(value, int):
        return _encode((_UINT32 if value < 2**32 else _UINT64, value))
    if isinstance(value, str):
        return _sized(_TEXT, value.encode())
    if isinstance(value, list):
        return _control(_LIST, len(value)) + b"".join(map(_encode, value))
    pairs = b"".join(_encode(key) + _encode(each) for key, each in value.items())
    return _control(_MAP, len(value)) + pairs


def _sized(kind: int, data: bytes) -> bytes:
    return _control(kind, len(data)) + data


def _control(kind: int, size: int) -> bytes:
    if size > 284:
        raise ValueError("tests need nothing that long")
    first, more = (size, b"") if size < 29 else (29, bytes([size - 29]))
    return bytes([kind << 5 | first]) + more if kind <= 7 else bytes([first, kind - 7]) + more
