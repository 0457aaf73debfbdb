# SPDX-License-Identifier: Apache-2.0
"""Whoever takes too long, over real sockets: what it is told, what is recorded, and that nothing of it stays."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509

from proxy.clock import elapsed_seconds
from proxy.gateway import connection, proxied, tls
from tests.support.certificates import SERVER, a_leaf, partner_ca
from tests.support.command import write_policies
from tests.support.raw_http import Message
from tests.support.talk import OK, HandApi, ask, hand_api, is_at_rest, measure, put, talking
from tests.support.world import World, run_world

SOON: Final = 0.4
NEVER: Final = 60.0
YEARS: Final = 3 * 365 * 86400
"""The certificate is judged by the real clock."""
MUCH: Final = 32 * 1024 * 1024
"""More bytes than sockets hold."""


@pytest.fixture
async def api() -> AsyncIterator[HandApi]:
    async with hand_api() as api:
        yield api


@contextlib.asynccontextmanager
async def a_world(folder: Path, api: HandApi, **seconds: Any) -> AsyncIterator[World]:
    """Run a gateway whose deadlines are far away, but for those that are told."""
    names = ("client_idle_seconds", "client_head_seconds", "client_body_seconds", "client_read_seconds")
    async with run_world(folder, api.url, **{**dict.fromkeys(names, NEVER), **seconds}) as world:
        yield world


def reason(answer: Message) -> str:
    return str(json.loads(answer.body)["reason"])


HEADS = {
    "one byte": b"G",
    "a request line": b"GET / HTTP/1.1\r\n",
    "all but its end": b"GET / HTTP/1.1\r\nHost: a\r\n\r",
}


@pytest.mark.parametrize("begun", HEADS.values(), ids=HEADS.keys())
async def test_a_head_that_does_not_come_is_408(tmp_path: Path, api: HandApi, begun: bytes) -> None:
    async with a_world(tmp_path, api, client_head_seconds=SOON) as world, talking(world) as talk:
        talk.send(begun)
        answer = await talk.answer()
        assert (answer.status, reason(answer), answer.values("connection")) == (408, "request-timeout", ["close"])
        assert await talk.rest() == b""
        talk.end()
        (decision,) = world.decisions()
        assert (decision["reason"], decision["released"]) == ("request-timeout", False)
        assert await is_at_rest(world)


async def test_a_head_that_drips_in_has_no_more_time(tmp_path: Path, api: HandApi) -> None:
    async with a_world(tmp_path, api, client_head_seconds=SOON) as world, talking(world) as talk:
        answering = asyncio.ensure_future(talk.answer())
        while not answering.done():
            talk.send(b"G")
            await asyncio.sleep(0.01)
        assert answering.result().status == 408


@pytest.mark.parametrize("is_used", [False, True], ids=["before any request", "behind a request"])
async def test_a_connection_that_asks_nothing_ends_without_a_word(
    tmp_path: Path, api: HandApi, *, is_used: bool
) -> None:
    async with a_world(tmp_path, api, client_idle_seconds=SOON) as world, talking(world) as talk:
        if is_used:
            talk.send(ask())
            link = await api.link()
            await link.head()
            link.send(OK)
            assert await talk.status() == 200
        assert await talk.rest() == b""
        assert len(world.decisions()) == is_used
        assert await is_at_rest(world)


BODIES = {
    "by its length": (("Content-Length: 100000",), b"x" * 1000),
    "in chunks": (("Transfer-Encoding: chunked",), b"3e8\r\n" + b"x" * 1000 + b"\r\n"),
    "nothing of it": (("Content-Length: 5",), b""),
}


@pytest.mark.parametrize(("fields", "body"), BODIES.values(), ids=BODIES.keys())
async def test_a_body_that_does_not_come_is_408_and_no_whole_request_of_the_apis(
    tmp_path: Path, api: HandApi, fields: tuple[str, ...], body: bytes
) -> None:
    async with a_world(tmp_path, api, client_body_seconds=SOON) as world, talking(world) as talk:
        talk.send(put(*fields, body=body))
        answer = await talk.answer()
        assert (answer.status, reason(answer), answer.values("connection")) == (408, "request-timeout", ["close"])
        assert await talk.rest() == b""
        talk.end()
        assert not (await (await api.link()).ended()).endswith(b"0\r\n\r\n")
        (end,) = await world.wait_for_ends(1)
        assert (end["complete"], end["reason"]) == (False, "request-timeout")
        assert await is_at_rest(world)


async def test_a_body_that_comes_in_time_may_take_longer_than_any_part_of_it(tmp_path: Path, api: HandApi) -> None:
    window = connection.MIN_WINDOW_BYTES + 1
    async with a_world(tmp_path, api, client_body_seconds=3 * SOON) as world, talking(world) as talk:
        began = elapsed_seconds()
        talk.send(put(f"Content-Length: {window * 20}"))
        link = await api.link()
        await link.head()
        for _ in range(20):
            talk.send(b"x" * window)
            assert await link.reader.readexactly(window) == b"x" * window
            await asyncio.sleep(SOON / 4)
        link.send(OK)
        assert await talk.status() == 200
        assert elapsed_seconds() - began > 3 * SOON


async def test_an_api_that_is_slow_to_take_a_body_is_not_blamed_on_the_caller(tmp_path: Path, api: HandApi) -> None:
    async with a_world(tmp_path, api, client_body_seconds=3 * SOON) as world, talking(world) as talk:
        talk.send(put(f"Content-Length: {MUCH}"))
        link = await api.link()
        await link.head()
        link.writer.transport.pause_reading()  # type: ignore[attr-defined]
        talk.send(b"x" * MUCH)
        answering = asyncio.ensure_future(talk.answer())
        await asyncio.wait([answering], timeout=SOON * 4)
        assert not answering.done()
        link.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await link.reader.readexactly(MUCH)) == MUCH
        link.send(OK)
        assert (await answering).status == 200


async def test_a_caller_that_does_not_take_its_answer_is_cut_off(tmp_path: Path, api: HandApi) -> None:
    async with (
        a_world(tmp_path, api, client_read_seconds=SOON) as world,
        talking(world, takes=4096) as talk,
    ):
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        talk.send(ask())
        link = await api.link()
        await link.head()
        link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MUCH)
        link.send(b"x" * MUCH)
        await link.ended()
        (end,) = await world.wait_for_ends(1)
        assert (end["complete"], end["reason"]) == (False, "client-slow")
        assert await is_at_rest(world)
        talk.writer.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionResetError):
            await talk.reader.readexactly(MUCH)


async def test_a_caller_that_takes_its_answer_slowly_gets_it_all(tmp_path: Path, api: HandApi) -> None:
    async with (
        a_world(tmp_path, api, client_read_seconds=4 * SOON) as world,
        talking(world, takes=65536) as talk,
    ):
        talk.send(ask())
        link = await api.link()
        await link.head()
        link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MUCH)
        link.send(b"x" * MUCH)
        await talk.reader.readuntil(b"\r\n\r\n")
        began = elapsed_seconds()
        for _ in range(16):
            await talk.reader.readexactly(MUCH // 16)
            await asyncio.sleep(SOON / 2)
        assert elapsed_seconds() - began > 4 * SOON
        (end,) = await world.wait_for_ends(1)
        assert end["complete"]


async def test_a_caller_that_asks_on_and_on_and_reads_nothing_is_cut_off(tmp_path: Path, api: HandApi) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
    async with (
        a_world(tmp_path, api, client_read_seconds=SOON) as world,
        talking(world, takes=4096) as talk,
    ):
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        talk.send(ask() * 100)
        link = await api.link()

        async def answer() -> None:
            while True:
                await link.head()
                link.send(whole)

        answering = asyncio.ensure_future(answer())
        assert await is_at_rest(world)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        assert len(world.decisions()) < 20


async def test_a_caller_that_neither_reads_nor_leaves_does_not_keep_a_refused_connection(
    tmp_path: Path, api: HandApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER_SECONDS", SOON)
    async with a_world(tmp_path, api) as world, talking(world) as talk:
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        talk.send(b"\x00\r\n\r\n")
        while await measure(world, "sekisho_connections"):
            with contextlib.suppress(ConnectionError):
                talk.send(b"x" * 1000)
            await asyncio.sleep(0.02)


ROUTES: Final[dict[str, tuple[Callable[[], bytes], int, str]]] = {
    "by the API": (ask, 504, "upstream-timeout"),
    "by the caller": (lambda: put("Content-Length: 5", body=b"he"), 408, "request-timeout"),
}


@pytest.mark.parametrize(("make", "status", "why"), ROUTES.values(), ids=ROUTES.keys())
async def test_a_request_that_outlasts_its_route_is_ended(
    tmp_path: Path, api: HandApi, make: Callable[[], bytes], status: int, why: str
) -> None:
    paths = [f"        path: /v1/{{country}}/users/{{user_id}}{rest}\n" for rest in ("", "/phone")]
    edits = [("apis/users.yaml", path, f"{path}        max_duration: 1s\n") for path in paths]
    policies = write_policies(tmp_path / "policies", *edits)
    async with a_world(tmp_path, api, policies=policies) as world:
        async with talking(world) as talk:
            talk.send(make())
            link = await api.link()
            await link.head()
            heard = await talk.answer()
            assert (heard.status, reason(heard)) == (status, why)
            await link.ended()
        assert await is_at_rest(world)


async def test_a_proxy_that_does_not_say_whose_connection_it_is_is_refused_in_time(
    tmp_path: Path, api: HandApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxied, "START_SECONDS", SOON)
    async with a_world(tmp_path, api, client_address="proxy-protocol") as world:
        for begun in (b"", b"PROXY TCP4 10."):
            async with talking(world) as talk:
                talk.send(begun)
                answer = await talk.answer()
                assert (answer.status, reason(answer)) == (400, "proxy-header-malformed")
                assert await talk.rest() == b""
        assert await is_at_rest(world)


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "the beginning of a hello"])
async def test_a_handshake_that_does_not_come_ends_the_connection(
    tmp_path: Path, api: HandApi, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", SOON)
    name = x509.DNSName("localhost")
    own = a_leaf(partner_ca(), since=-YEARS, until=YEARS, usages=[SERVER], general=[name], serial=None)
    certificate, key = own.write(tmp_path, "own")
    files = {"tls_certificate": certificate, "tls_key": key}
    async with a_world(tmp_path, api, **files) as world, talking(world) as talk:
        talk.send(begun)
        assert await talk.rest() == b""
        assert await measure(world, "sekisho_connections") == 0
        assert world.decisions() == []
