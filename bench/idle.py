# SPDX-License-Identifier: Apache-2.0
"""What a connection costs that waits: memory of the gateway's processes, over thousands of them, without and with TLS.

- Each gateway is fresh and warm: some hundred requests were answered before the first reading.
- Every connection has had one answer, as a client's pool has; then it says nothing.
- Resident memory of the process tree, not the kernel's for sockets: that is alike for all.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bench.answers import SMALL_BODY
from bench.callers import READ_BYTES, render_head
from bench.certificate import write_certificate
from bench.duties import request_headers
from bench.harness import BenchError, settled_cpu
from bench.processes import LOOPBACK, resident_megabytes
from bench.races import STARTERS, upstream_running
from bench.workloads import SMALL

if TYPE_CHECKING:
    from bench.identity import Issuer
    from bench.setting import Contender

WARMING: Final = 300
"""Requests, on as many connections one after the other."""
TLS_PART: Final = 5
"""Of so many connections one is opened with TLS: a handshake takes its time, and each weighs more."""
ANSWER_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Idle:
    """Kibibytes of memory that one waiting connection takes."""

    plain: float
    tls: float | None
    """None: this gateway is not told to speak it."""


def measure(issuer: Issuer, count: int) -> dict[str, Idle]:
    """Weigh so many waiting connections of each gateway, one gateway at a time."""
    found: dict[str, Idle] = {}
    with upstream_running(issuer) as setting:
        certificate = write_certificate(setting.folder)
        head = render_head(SMALL.path, request_headers(issuer.token()))
        for start in STARTERS:
            with start(replace(setting, folder=setting.folder / "plain")) as contender:
                name, plain = contender.name, weigh(contender, head, count, None)
            with start(replace(setting, folder=setting.folder / "tls", certificate=certificate)) as contender:
                context = ssl.create_default_context(cafile=str(certificate.chain))
                tls = weigh(contender, head, count // TLS_PART, context) if contender.speaks_tls else None
            found[name] = Idle(plain, tls)
    return found


def weigh(contender: Contender, head: bytes, count: int, context: ssl.SSLContext | None) -> float:
    """Return the kibibytes of one connection, over so many."""
    for _ in range(WARMING):
        with connect(contender, context) as connection:
            ask(connection, head)
    before = resting_megabytes(contender)
    with ExitStack() as stack:
        for _ in range(count):
            ask(stack.enter_context(connect(contender, context)), head)
        return (resting_megabytes(contender) - before) * 1024 / count


def connect(contender: Contender, context: ssl.SSLContext | None) -> socket.socket:
    """Open one connection."""
    connection = socket.create_connection((LOOPBACK, contender.port), timeout=ANSWER_SECONDS)
    return connection if context is None else context.wrap_socket(connection, server_hostname=LOOPBACK)


def ask(connection: socket.socket, head: bytes) -> None:
    """Have one request answered.

    Raises:
        BenchError: If the answer is not the small record.
    """
    connection.sendall(head)
    held = b""
    while not held.endswith(SMALL_BODY):
        came = connection.recv(READ_BYTES)
        if not came:
            raise BenchError(f"a connection was closed, not answered: {held[:300]!r}")
        held += came


def resting_megabytes(contender: Contender) -> float:
    """Return the resident memory once the gateway rests."""
    settled_cpu(contender.pid)
    return resident_megabytes(contender.pid)
