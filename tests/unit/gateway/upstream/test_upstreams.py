# SPDX-License-Identifier: Apache-2.0
"""All APIs: each has its own connections, and what metrics say of them."""

import asyncio
from typing import Final

from proxy.model.api import Api, Upstream
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from tests.support.upstream import OK, Heard, answering, asking, for_ever, read_head, serving

NAMES: Final = ("users", "users/JP")
"""What the places of ``in_two_countries`` are called."""


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


def in_two_countries(here: str, there: str) -> Api:
    """Return an API that is served at one place, and for Japanese subjects at another."""
    elsewhere = {"JP": Upstream(there, "JP")}
    return Api("users", (), Upstream(here, "KR"), forwards_authorization=False, upstreams=elsewhere)


async def test_a_request_goes_where_its_subjects_country_is_served() -> None:
    korea, japan = (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + country for country in (b"KR", b"JP"))
    async with serving(answering(korea, korea)) as here, serving(answering(japan)) as there, asking(here.url) as asks:
        asks.api = in_two_countries(here.url, there.url)
        asks.upstreams.adopt([asks.api])
        assert [(await asks.ask(country=country)).body for country in ("JP", "TW", UNKNOWN)] == [b"JP", b"KR", b"KR"]


async def test_a_place_that_is_down_is_named_and_the_other_one_serves() -> None:
    async with serving(for_ever) as here, asking(here.url, upstream_failures=1) as asks:
        asks.api = in_two_countries(here.url, "http://127.0.0.1:1")
        asks.upstreams.adopt([asks.api])
        assert (await asks.ask(country="JP")).reason is Reason.UPSTREAM_UNREACHABLE
        assert (await asks.ask(country="TW")).body == b"ok"
        assert [asks.measure("sekisho_upstream_down", api=name) for name in NAMES] == [0, 1]
        failures = "sekisho_upstream_connect_failures_total"
        assert asks.measure(failures, api="users/JP", cause="connect") == 1


async def test_a_place_that_serves_two_countries_is_one_and_is_named_after_the_first() -> None:
    async with serving(for_ever) as api, asking(api.url) as asks:
        asks.upstreams.adopt([in_two_countries(api.url, api.url)])
        await asks.ask()
        states = [
            asks.measure("sekisho_upstream_connections", api=name, state="idle") for name in ("users", "users/JP")
        ]
        assert states == [1, None]


async def test_a_place_that_is_given_up_is_closed() -> None:
    async with serving(for_ever) as here, serving(for_ever) as there, asking(here.url) as asks:
        asks.api = in_two_countries(here.url, there.url)
        asks.upstreams.adopt([asks.api])
        await asks.ask(country="JP")
        asks.upstreams.adopt([Api("users", (), Upstream(here.url, "KR"), forwards_authorization=False)])
        await asks.becomes(lambda: there.ended == [True])
        assert asks.measure("sekisho_upstream_down", api="users/JP") is None


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
