# SPDX-License-Identifier: Apache-2.0
"""The sockets that callers connect to. The supervisor's own, so that none is refused while a worker is replaced.

There are as many gates as workers, bound to the same address with ``SO_REUSEPORT``: the kernel gives each connection
to one of them by its addresses and ports. One socket that all workers accept on would be simpler, and is not even:
whoever wakes first takes what there is (of 8 connections all 8, of 64 all but 7, measured here with two workers on
uvloop), and connections that are kept stay where they are. What waits at the gate of a worker that died is not lost
either: the socket is ours, and another worker accepts on it.
"""

import socket
from collections.abc import Sequence
from typing import Final

from proxy.listening import binding
from proxy.settings import parse_endpoint

_FLAG: Final = "--listen"

Gate = tuple[socket.socket, ...]
"""A socket for each address that the host has, IPv4 and IPv6."""


def open_gates(endpoint: str, count: int) -> tuple[Gate, ...]:
    """Bind gates. They listen once a worker accepts on them.

    Args:
        endpoint: ``HOST:PORT``; port 0 takes a free one, for each address of the host the same.
        count: how many.

    Raises:
        UsageError: the address is taken, or cannot be bound.
    """
    host, port = parse_endpoint(endpoint, _FLAG)
    opened: list[socket.socket] = []
    try:
        with binding(endpoint, _FLAG):
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            places = dict.fromkeys((family, address) for family, _, _, _, address in found)
            for family, address in places:
                place = address if port or not opened else (address[0], opened[0].getsockname()[1], *address[2:])
                _check_free(family, place)
                first = _bind(family, place)
                opened.append(first)
                opened += [_bind(family, first.getsockname()) for _ in range(count - 1)]
    except BaseException:
        for each in opened:
            each.close()
        raise
    return tuple(tuple(opened[number::count]) for number in range(count))


def render_address(gates: Sequence[Gate]) -> str:
    """Return ``HOST:PORT`` of the first address that was bound."""
    host, port, *_ = gates[0][0].getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def close_gates(gates: Sequence[Gate]) -> None:
    """Let go of the address: once no worker accepts on it either, callers are refused."""
    for gate in gates:
        for each in gate:
            each.close()


def _check_free(family: int, address: tuple[str | int, ...] | tuple[int, bytes]) -> None:
    """Refuse an address where somebody listens: who shares ports would share that one, and half of the callers."""
    probe = _make(family)
    try:
        probe.bind(address)
        probe.listen(1)
    finally:
        probe.close()


def _bind(family: int, address: tuple[str | int, ...] | tuple[int, bytes]) -> socket.socket:
    made = _make(family)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(address)
        made.setblocking(False)  # noqa: FBT003 - the standard library's own
    except OSError:
        made.close()
        raise
    return made


def _make(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made
