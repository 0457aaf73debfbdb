# SPDX-License-Identifier: Apache-2.0
"""How much is under way at once, over real sockets: what comes on top is refused at once, and nothing of it stays."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.command import write_policies
from tests.support.raw_http import Message
from tests.support.talk import (
    OK,
    PROXY,
    STATUS,
    STRANGER,
    HandApi,
    answering_api,
    ask,
    hand_api,
    is_at_rest,
    measure,
    put,
    talking,
)
from tests.support.world import run_world


@pytest.fixture
async def api() -> AsyncIterator[HandApi]:
    async with hand_api() as api:
        yield api


def reason(answer: Message) -> str:
    return str(json.loads(answer.body)["reason"])


async def test_a_connection_too_many_is_told_so_and_keeps_nobody_out_for_long(tmp_path: Path) -> None:
    async with answering_api() as api, run_world(tmp_path, api.url, max_connections=2) as world:
        async with talking(world) as one, talking(world, STRANGER) as two:
            for talk in (one, two):
                talk.send(ask(STATUS, claims=None))
                assert await talk.status() == 200
            async with talking(world) as third:
                answer = await third.answer()
                assert (answer.status, reason(answer)) == (503, "connections-exceeded")
                assert answer.values("retry-after")
                assert await third.rest() == b""
            one.send(ask(STATUS, claims=None))
            assert await one.status() == 200
        assert await is_at_rest(world)
        async with talking(world) as again:
            again.send(ask(STATUS, claims=None))
            assert await again.status() == 200
        assert [record["reason"] for record in world.records()].count("connections-exceeded") == 1


async def test_connections_are_counted_by_address_but_for_trusted_proxies(tmp_path: Path) -> None:
    async with (
        answering_api() as api,
        run_world(tmp_path, api.url, max_connections_per_address=1) as world,
        AsyncExitStack() as stack,
    ):
        for source, statuses in {PROXY: (200, 200, 200), STRANGER: (200, 503, 503), "127.0.0.3": (200, 503)}.items():
            for status in statuses:
                talk = await stack.enter_async_context(talking(world, source))
                if status == 200:
                    talk.send(ask(STATUS, claims=None))
                assert await talk.status() == status


async def test_an_address_whose_connections_have_ended_may_connect_again(tmp_path: Path) -> None:
    async with answering_api() as api, run_world(tmp_path, api.url, max_connections_per_address=1) as world:
        for _ in range(3):
            async with talking(world, STRANGER) as talk:
                talk.send(ask(STATUS, claims=None))
                assert await talk.status() == 200
            assert await is_at_rest(world)


async def test_requests_too_many_are_refused_until_others_end(tmp_path: Path, api: HandApi) -> None:
    async with (
        run_world(tmp_path, api.url, max_requests=1) as world,
        talking(world) as one,
        talking(world) as two,
    ):
        one.send(ask())
        link = await api.link()
        await link.head()
        two.send(ask())
        answer = await two.answer()
        assert (answer.status, reason(answer), answer.values("retry-after")) == (503, "overloaded", ["5"])
        link.send(OK)
        assert await one.status() == 200
        two.send(ask())  # over the same connection
        await link.head()
        link.send(OK)
        assert await two.status() == 200
        assert await measure(world, "sekisho_passages_in_progress") == 0


async def test_requests_of_one_address_are_counted_but_for_a_trusted_proxy(tmp_path: Path, api: HandApi) -> None:
    async with (
        run_world(tmp_path, api.url, max_requests_per_address=1) as world,
        talking(world, STRANGER) as one,
        talking(world, STRANGER) as two,
        talking(world, "127.0.0.3") as other,
        talking(world) as proxied,
        talking(world) as proxied_too,
    ):
        one.send(ask(STATUS, claims=None))
        await (await api.link()).head()
        two.send(ask(STATUS, claims=None))
        answer = await two.answer()
        assert (answer.status, reason(answer)) == (429, "requests-exceeded")
        for count, talk in enumerate((other, proxied, proxied_too), 2):
            talk.send(ask(STATUS, claims=None))
            await (await api.link(count)).head()
        for link, talk in zip(api.links, (one, other, proxied, proxied_too), strict=True):
            link.send(OK)
            assert await talk.status() == 200
        two.send(ask(STATUS, claims=None))
        await api.links[-1].head()
        api.links[-1].send(OK)
        assert await two.status() == 200


async def test_what_is_cut_off_counts_no_more(tmp_path: Path, api: HandApi) -> None:
    async with run_world(tmp_path, api.url, max_requests=1, max_requests_per_address=1) as world:
        for count in range(1, 4):
            async with talking(world, STRANGER) as talk:
                talk.send(ask(STATUS, claims=None))
                link = await api.link(count)
                await link.head()
                talk.reset()
            assert await link.ended() == b""
            assert await is_at_rest(world)


LARGE = {
    "by its length": ("Content-Length: 11", b"x" * 11),
    "by its length alone": ("Content-Length: 11\r\nExpect: 100-continue", b""),
    "in chunks": ("Transfer-Encoding: chunked", b"6\r\nxxxxxx\r\n5\r\nxxxxx\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize(("field", "body"), LARGE.values(), ids=LARGE.keys())
async def test_a_body_larger_than_its_route_takes_is_refused(
    tmp_path: Path, api: HandApi, field: str, body: bytes
) -> None:
    route = "        action: update\n"
    policies = write_policies(tmp_path / "policies", ("apis/users.yaml", route, f"{route}        max_body_bytes: 10\n"))
    async with run_world(tmp_path, api.url, policies=policies) as world:
        async with talking(world) as talk:
            talk.send(put(field, body=body))
            answer = await talk.answer()
            assert (answer.status, reason(answer)) == (413, "request-too-large")
            assert answer.values("connection") == ["close"]
            assert await talk.rest() == b""
        for link in api.links:
            assert not (await link.ended()).endswith(b"0\r\n\r\n"), "the API saw a whole request"
        assert await is_at_rest(world)
        async with talking(world) as talk:
            talk.send(put("Content-Length: 10", body=b"x" * 10))
            link = await api.link(len(api.links) + 1)
            assert b"Content-Length: 10\r\n" in await link.head()
            link.send(OK)
            assert await talk.status() == 200
