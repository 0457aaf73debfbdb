# SPDX-License-Identifier: Apache-2.0
"""All APIs: each has its own connections, and what metrics say of them."""

import asyncio

from proxy.model.api import Api, Upstream
from tests.support.upstream import OK, Heard, answering, asking, for_ever, read_head, serving


async def test_an_api_that_moved_is_asked_where_it_is_now() -> None:
    here = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere"
    async with serving(for_ever) as old, serving(answering(here)) as new, asking(old.url) as asks:
        assert (await asks.ask()).body == b"ok"
        asks.api = Api("users", (), Upstream(new.url, None), forwards_authorization=False)
        asks.upstreams.adopt([asks.api])
        assert (await asks.ask()).body == b"here"
        await asks.becomes(lambda: old.ended == [True])


async def test_an_api_that_stays_keeps_its_connections() -> None:
    async with serving(for_ever) as api, asking(api.url) as asks:
        await asks.ask()
        asks.upstreams.adopt([Api("users", ("x",), Upstream(api.url, "JP"), forwards_authorization=True)])
        await asks.ask()
        assert len(api.received) == 1


async def test_two_apis_at_one_place_share_no_connection() -> None:
    async with serving(for_ever) as api, asking(api.url) as asks:
        await asks.ask()
        asks.api = Api("orders", (), Upstream(api.url, None), forwards_authorization=False)
        await asks.ask()
        assert len(api.received) == 2


async def test_metrics_look_when_they_are_asked() -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            await go.wait()
            writer.write(OK)

    def look() -> list[float | None]:
        states = [asks.measure("sekisho_upstream_connections", state=state) for state in ("busy", "idle")]
        return [*states, asks.measure("sekisho_upstream_waiting"), asks.measure("sekisho_upstream_down")]

    go = asyncio.Event()
    async with serving(act) as api, asking(api.url, upstream_connections=2) as asks:
        assert look() == [0, 0, 0, 0]
        heard = [asks.begin(Heard()) for _ in range(3)]
        await asks.becomes(lambda: len(asks.pool.open) == 2)
        assert look() == [2, 0, 1, 0]
        go.set()
        for each in heard:
            await each.end()
        await asks.becomes(lambda: look() == [0, 2, 0, 0])
