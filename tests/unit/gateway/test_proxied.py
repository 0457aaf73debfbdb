# SPDX-License-Identifier: Apache-2.0
import asyncio

import pytest

from proxy.gateway import proxied
from proxy.gateway.proxied import Proxied, ProxiedStart

LINE = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"


class Counted:
    """Counts how often a connection is refused."""

    def __init__(self) -> None:
        self.refused = 0

    def __call__(self) -> None:
        self.refused += 1


async def a_start() -> tuple[ProxiedStart, Counted]:
    counted = Counted()
    return ProxiedStart(asyncio.get_running_loop(), counted), counted


async def test_what_follows_the_header_belongs_to_the_connection() -> None:
    start, counted = await a_start()

    assert start.feed(LINE + b"GET /") == Proxied("192.0.2.1", b"GET /")
    assert counted.refused == 0


async def test_a_header_may_come_in_pieces() -> None:
    start, _ = await a_start()

    found = [start.feed(LINE[place : place + 1]) for place in range(len(LINE))]

    assert found == [None] * (len(LINE) - 1) + [Proxied("192.0.2.1", b"")]


async def test_what_is_no_header_is_refused_once_whatever_follows() -> None:
    start, counted = await a_start()

    assert [start.feed(data) for data in (b"GET / HTTP/1.1\r\n", LINE, LINE)] == [None] * 3
    assert counted.refused == 1


async def test_a_header_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxied, "START_SECONDS", 0.0)
    late, refused = await a_start()
    closed, never = await a_start()
    done, neither = await a_start()
    closed.close()
    assert done.feed(LINE)
    await asyncio.sleep(0.01)

    assert (refused.refused, never.refused, neither.refused) == (1, 0, 0)
    assert late.feed(LINE) is None
