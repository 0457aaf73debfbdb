# SPDX-License-Identifier: Apache-2.0
"""The sockets that callers connect to."""

import socket

import pytest

from proxy.errors import UsageError
from proxy.supervisor.gates import close_gates, open_gates, render_address


def test_gates_are_bound_to_one_address() -> None:
    gates = open_gates("127.0.0.1:0", 3)
    try:
        assert len({gate[0].getsockname() for gate in gates}) == 1
        assert render_address(gates) == f"127.0.0.1:{gates[0][0].getsockname()[1]}"
    finally:
        close_gates(gates)


def test_a_host_with_two_addresses_has_one_port() -> None:
    gates = open_gates("localhost:0", 2)
    try:
        assert len({each.getsockname()[1] for gate in gates for each in gate}) == 1
        assert len({len(gate) for gate in gates}) == 1
    finally:
        close_gates(gates)


def test_an_address_where_somebody_listens_is_not_shared() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="is taken: name another with --listen"):
            open_gates(f"127.0.0.1:{taken.getsockname()[1]}", 2)


def test_an_ipv6_address_is_told_in_brackets() -> None:
    try:
        gates = open_gates("[::1]:0", 1)
    except UsageError:
        pytest.skip("this machine has no IPv6")
    try:
        assert render_address(gates).startswith("[::1]:")
    finally:
        close_gates(gates)
