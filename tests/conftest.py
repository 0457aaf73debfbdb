# SPDX-License-Identifier: Apache-2.0
"""Guards that hold for every test: loopback alone, no environment of the machine's, examples that stay the same."""

import os
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# What needs more than this checkout and its virtual environment: `make e2e` runs it, and names what it needs.
collect_ignore = ["e2e"]

# A test says today what it said yesterday, and a slow machine fails none: what a test sets for itself goes before.
settings.register_profile(
    "house", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")

_connect = socket.socket.connect


def _connect_to_loopback(self: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else "unix"
    if host not in {"127.0.0.1", "127.0.0.2", "::1", "localhost", "unix"}:
        raise AssertionError(f"a test connects to {host}: only loopback is allowed")
    _connect(self, address)


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _connect_to_loopback)
    for name in [name for name in os.environ if name.startswith("SEKISHO_")]:  # noqa: TID251 - to clean it
        monkeypatch.delenv(name)
