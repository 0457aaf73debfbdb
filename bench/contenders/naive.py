# SPDX-License-Identifier: Apache-2.0
"""The naive proxy of `bench.naive_aiohttp`: what a straightforward gateway in Python costs."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.processes import Launch, free_port, running
from bench.setting import Contender, Duty

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.setting import Setting


@contextmanager
def start_naive(setting: Setting) -> Iterator[Contender]:
    """Run the naive proxy with this very Python."""
    room, port = setting.room("naive"), free_port()
    (room / "key.pem").write_bytes(setting.issuer.public_pem())
    ports = ["--port", str(port), "--upstream-port", str(setting.upstream_port)]
    command = [sys.executable, "-m", "bench.naive_aiohttp", *ports, "--key", str(room / "key.pem")]
    with running(Launch(command, setting.cores.contender, port, room / "output")) as pid:
        yield Contender("naive aiohttp", pid, port, frozenset({Duty.TOKEN}), speaks_tls=False)
