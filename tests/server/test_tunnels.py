# SPDX-License-Identifier: Apache-2.0
"""A connection that is upgraded: what is decided and recorded of it, and the bytes both ways."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from tests.support.command import write_policies
from tests.support.crossings import CHAT, MORE_ROUTES
from tests.support.talk import OK, USER, HandApi, Link, Talk, ask, hand_api, is_at_rest, talking
from tests.support.world import World, headers, run_world, serve_raw, wait_for

UPGRADE: Final = ("Connection: Upgrade", "Upgrade: websocket")
MUCH: Final = 1 << 28
"""Far more bytes than sockets hold."""
SWITCHED: Final = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def tunnel_policies(folder: Path, *edits: tuple[str, str, str]) -> Path:
    return write_policies(folder / "policies", *MORE_ROUTES, *edits)


@pytest.fixture
async def api() -> AsyncIterator[HandApi]:
    async with hand_api() as api:
        yield api


@pytest.fixture
async def world(tmp_path: Path, api: HandApi) -> AsyncIterator[World]:
    async with run_world(tmp_path, api.url, policies=tunnel_policies(tmp_path), watch_seconds=0.05) as world:
        yield world


@pytest.fixture
async def talk(world: World) -> AsyncIterator[Talk]:
    async with talking(world) as talk:
        yield talk


async def opened(api: HandApi, talk: Talk, behind: bytes = b"", rest: bytes = b"") -> Link:
    """Open a tunnel; bytes may stand behind either head."""
    talk.send(ask(CHAT, *UPGRADE) + behind)
    link = await api.link()
    head = await link.head()
    assert b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" in head
    link.send(SWITCHED + rest)
    answer = await talk.answer()
    assert (answer.status, answer.values("upgrade")) == (101, ["websocket"])
    return link


async def the_end(world: World) -> dict[str, Any]:
    (end,) = await world.wait_for_ends(1)
    return end


async def test_bytes_go_both_ways_those_behind_the_heads_too(world: World, api: HandApi, talk: Talk) -> None:
    link = await opened(api, talk, b"\x81early", b"\x82soon")
    assert await talk.reader.readexactly(5) == b"\x82soon"
    assert await link.reader.readexactly(6) == b"\x81early"
    talk.send(b"GET / HTTP/1.1\r\n\r\n")  # no request any more
    assert await link.reader.readexactly(18) == b"GET / HTTP/1.1\r\n\r\n"
    link.send(b"\x00" * 100_000)
    assert await talk.reader.readexactly(100_000) == b"\x00" * 100_000
    link.writer.close()
    assert await talk.rest() == b""
    end = await the_end(world)
    assert (end["complete"], end["bytes"], end["bytes_in"], end["status"]) == (True, 100_005, 24, 101)
    (decision,) = world.decisions()
    assert (decision["effect"], decision["released"], decision["route"]) == ("allow", True, "chat")
    assert [record["bytes"] for record in world.records("released")][-1] == 100_005
    assert await is_at_rest(world)


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_caller_that_leaves_ends_the_tunnel(world: World, api: HandApi, talk: Talk, how: str) -> None:
    link = await opened(api, talk)
    talk.send(b"last words")
    assert await link.reader.readexactly(10) == b"last words"
    getattr(talk, how)()
    await link.ended()
    assert (await the_end(world))["complete"]
    assert await is_at_rest(world)


async def test_an_api_that_reads_nothing_holds_the_caller_back(world: World, api: HandApi, talk: Talk) -> None:
    link = await opened(api, talk)
    link.writer.transport.pause_reading()  # type: ignore[attr-defined]
    sent = 0
    block = b"x" * 65536
    with contextlib.suppress(TimeoutError):
        while sent < MUCH:
            talk.send(block)
            await asyncio.wait_for(talk.writer.drain(), 1.0)
            sent += len(block)
    assert sent < MUCH, "somebody holds it all"
    sent += len(block)
    link.writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert await link.reader.readexactly(sent) == b"x" * sent
    await is_open(link, talk)


async def is_open(link: Link, talk: Talk) -> None:
    link.send(b"?")
    assert await talk.reader.readexactly(1) == b"?"


async def test_a_caller_that_reads_nothing_is_cut_off(tmp_path: Path, api: HandApi) -> None:
    policies = tunnel_policies(tmp_path)
    async with (
        run_world(tmp_path, api.url, policies=policies, client_read_seconds=0.5) as world,
        talking(world, takes=4096) as talk,
    ):
        link = await opened(api, talk)
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        link.send(b"x" * (1 << 24))
        await link.ended()
        end = await the_end(world)
        assert (end["complete"], end["reason"]) == (False, "client-slow")


async def test_a_tunnel_outlives_neither_its_route(tmp_path: Path, api: HandApi) -> None:
    limit = (
        "apis/users.yaml",
        "        upgrade: [websocket]\n",
        "        upgrade: [websocket]\n        max_duration: 1s\n",
    )
    policies = tunnel_policies(tmp_path, limit)
    async with run_world(tmp_path, api.url, policies=policies) as world, talking(world) as talk:
        link = await opened(api, talk)
        await link.ended()
        assert await talk.rest() == b""
        end = await the_end(world)
        assert (end["complete"], end["reason"]) == (False, "upstream-timeout")


async def test_nor_the_policy_that_let_it_through(world: World, tmp_path: Path, api: HandApi, talk: Talk) -> None:
    link = await opened(api, talk)
    rules = tmp_path / "policies" / "rules" / "allow.yaml"
    rules.write_text(rules.read_text("utf-8").replace("report, chat", "report"), "utf-8")
    await link.ended()
    assert await talk.rest() == b""
    end = await the_end(world)
    assert (end["complete"], end["reason"]) == (False, "policy-changed")


UNDECLARED = {
    "on another route": (USER, *UPGRADE),
    "of another protocol": (CHAT, "Connection: upgrade", "Upgrade: h2c"),
    "of several": (CHAT, "Connection: upgrade", "Upgrade: h2c, websocket"),
    "that Connection does not name": (CHAT, "Upgrade: websocket"),
    "with what h2c brings": (USER, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
}


@pytest.mark.parametrize("fields", UNDECLARED.values(), ids=UNDECLARED.keys())
async def test_an_upgrade_that_is_not_declared_is_an_ordinary_request(
    world: World, api: HandApi, talk: Talk, fields: tuple[str, ...]
) -> None:
    talk.send(ask(*fields))
    link = await api.link()
    head = (await link.head()).lower()
    assert b"\r\nupgrade:" not in head
    assert b"\r\nconnection:" not in head
    assert b"http2-settings" not in head
    link.send(OK)
    assert await talk.status() == 200
    assert (await the_end(world))["complete"]


@pytest.mark.parametrize("field", ["Content-Length: 2", "Transfer-Encoding: chunked"])
async def test_an_upgrade_with_a_body_is_refused(world: World, api: HandApi, talk: Talk, field: str) -> None:
    talk.send(ask(CHAT, *UPGRADE, field) + b"{}")
    answer = await talk.answer()
    assert (answer.status, json.loads(answer.body)["reason"]) == (400, "upgrade-unsupported")
    assert await talk.rest() == b""
    assert api.links == []
    (decision,) = world.decisions()
    assert (decision["reason"], decision["released"]) == ("upgrade-unsupported", False)


async def test_an_api_that_does_not_upgrade_has_answered(world: World, api: HandApi, talk: Talk) -> None:
    talk.send(ask(CHAT, *UPGRADE))
    link = await api.link()
    await link.head()
    link.send(OK)
    assert await talk.status() == 200
    talk.send(ask())  # the connection is HTTP's as before
    await link.head()
    link.send(OK)
    assert await talk.status() == 200
    assert len(await world.wait_for_ends(2)) == 2


SWITCHES = {
    "unasked": ((USER,), SWITCHED),
    "to another protocol": ((CHAT, *UPGRADE), SWITCHED.replace(b"websocket", b"h2c")),
    "to no protocol": ((CHAT, *UPGRADE), b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
}


@pytest.mark.parametrize(("fields", "switched"), SWITCHES.values(), ids=SWITCHES.keys())
async def test_an_api_that_switches_otherwise_than_asked_has_not_answered(
    world: World, api: HandApi, talk: Talk, fields: tuple[str, ...], switched: bytes
) -> None:
    talk.send(ask(*fields))
    link = await api.link()
    await link.head()
    link.send(switched + b"secret")
    answer = await talk.answer()
    assert (answer.status, json.loads(answer.body)["reason"]) == (502, "upstream-answer-unsupported")
    assert b"secret" not in answer.raw
    await link.ended()


async def test_a_stop_cuts_a_tunnel_in_time(tmp_path: Path, api: HandApi) -> None:
    policies = tunnel_policies(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        async with run_world(tmp_path, api.url, policies=policies, drain_seconds=0.5) as world:
            talk = await stack.enter_async_context(talking(world))
            await opened(api, talk)
        assert await talk.rest() == b""
        end = await the_end(world)
        assert (end["complete"], end["reason"]) == (False, "gateway-stopping")


async def test_a_real_websocket_talks_through(tmp_path: Path) -> None:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["chat"])
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{message.data}!")
        return socket

    async with (
        serve_raw(echo) as url,
        run_world(tmp_path, url, policies=tunnel_policies(tmp_path)) as world,
        aiohttp.ClientSession() as session,
    ):
        async with session.ws_connect(world.url + CHAT, headers=headers(), protocols=["chat"]) as socket:
            assert socket.protocol == "chat"
            for text in ("hello", "x" * 200_000):
                await socket.send_str(text)
                assert await socket.receive_str() == f"{text}!"
        assert socket.close_code == 1000
        assert (await the_end(world))["complete"]
        await wait_for(lambda: len(world.decisions()) == 1)
