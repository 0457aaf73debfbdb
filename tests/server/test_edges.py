# SPDX-License-Identifier: Apache-2.0
"""Edges of HTTP, of deadlines and of stopping, against an API that writes its answer byte by byte."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest
from aiohttp import web

from proxy.clock import elapsed_seconds
from proxy.demo.issuer import make_issuer_app
from tests.support.ledger import read_records
from tests.support.world import (
    ISSUERS,
    POLICIES,
    STAFF,
    SUPPORT,
    World,
    headers,
    run_world,
    serve_app,
    serve_raw,
    token,
    wait_for,
)

USER = "/v1/jp/users/42"
PHONE = f"{USER}/phone"
CHUNKED_BODY = b"2\r\n{}\r\n0\r\n\r\n"

Script: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def raw_api(script: Script) -> AsyncIterator[str]:
    """Serve an API that is a script over each connection's bytes."""
    tasks: set[asyncio.Task[Any]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await script(reader, writer)
        writer.close()

    server = await asyncio.start_server(play, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*parts: bytes, silence: float = 20, seen: list[bytes] | None = None) -> Script:
    """Read one head, write the parts, and then be silent with the connection open."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(head)
        for part in parts:
            writer.write(part)
            await writer.drain()
        await asyncio.sleep(silence)

    return script


def closing_on_reuse(got: list[bytes]) -> Script:
    """Answer the first request, and close the kept connection on the second once it was taken."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            got.append(await reader.readuntil(b"\r\n\r\n"))
            if len(got) == 2:
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()

    return script


def raw_request(
    method: str, path: str, *fields: str, version: str = "1.1", body: bytes = b"", credential: str = ""
) -> bytes:
    credential = credential or token(STAFF if method == "GET" else SUPPORT)
    lines = (
        f"{method} {path} HTTP/{version}",
        "Host: a",
        "X-Forwarded-For: 10.20.3.7",
        f"Authorization: Bearer {credential}",
        *fields,
        "",
    )
    return "".join(f"{line}\r\n" for line in lines).encode() + body


@contextlib.asynccontextmanager
async def connected(world: World, data: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(world.host, world.port)
    writer.write(data)
    try:
        yield reader, writer
    finally:
        writer.close()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(), 10)


def lines_of(world: World) -> list[dict[str, Any]]:
    """Return what was recorded of requests, and of the gateway's end."""
    return [record for record in read_records(world.ledger) if record["line"] not in {"released", "checkpoint"}]


def with_duration(folder: Path, duration: str) -> Path:
    """Copy the reference bundle, giving its routes less time."""
    for source in POLICIES.rglob("*.yaml"):
        target = folder / source.relative_to(POLICIES)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text(encoding="utf-8")
        target.write_text(
            text.replace("        action: ", f"        max_duration: {duration}\n        action: "), "utf-8"
        )
    return folder


async def test_to_a_client_of_http_1_0_an_answer_that_breaks_off_is_a_reset(tmp_path: Path) -> None:
    api = answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n", silence=0.05)
    async with (
        raw_api(api) as url,
        run_world(tmp_path, url) as world,
        connected(world, raw_request("GET", USER, version="1.0")) as (reader, _),
    ):
        with pytest.raises(ConnectionResetError):
            await read_all(reader)


DOUBTFUL = {
    "a coding before chunked": (raw_request("PUT", PHONE, "Transfer-Encoding: gzip, chunked", body=CHUNKED_BODY), 501),
    "chunks from HTTP/1.0": (
        raw_request(
            "PUT", PHONE, "Transfer-Encoding: chunked", "Connection: keep-alive", version="1.0", body=CHUNKED_BODY
        ),
        400,
    ),
}


@pytest.mark.parametrize(("data", "status"), DOUBTFUL.values(), ids=DOUBTFUL.keys())
async def test_a_body_whose_framing_others_read_differently_goes_nowhere(
    tmp_path: Path, data: bytes, status: int
) -> None:
    seen: list[bytes] = []
    async with raw_api(answering(seen=seen)) as url, run_world(tmp_path, url) as world:
        async with connected(world, data) as (reader, _):
            answer = await read_all(reader)  # ends: the connection is not used again
        assert int(answer.split()[1]) == status
        assert seen == []


async def test_a_client_of_http_1_0_gets_no_interim_answer(tmp_path: Path) -> None:
    data = raw_request("PUT", PHONE, "Expect: 100-continue", "Content-Length: 2", version="1.0", body=b"{}")
    async with (
        raw_api(answering(b"HTTP/1.1 204 N\r\n\r\n")) as url,
        run_world(tmp_path, url) as world,
        connected(world, data) as (reader, _),
    ):
        assert b"100 Continue" not in await read_all(reader)


async def test_a_caller_that_hangs_up_as_the_answer_ends_leaves_one_end_line(tmp_path: Path) -> None:
    clients: dict[str, Any] = {}

    async def hang_up_after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        for _ in range(clients["turns"]):
            await asyncio.sleep(0)
        clients["writer"].transport.abort()
        await asyncio.sleep(0.5)

    upload = raw_request("PUT", PHONE, "Content-Length: 100000000", body=b"x" * 1000)
    async with raw_api(hang_up_after) as url, run_world(tmp_path, url) as world:
        for turns in [*range(30)] * 2:
            reader, writer = await asyncio.open_connection(world.host, world.port)
            clients.update(turns=turns, writer=writer)
            writer.write(upload)
            with contextlib.suppress(OSError):
                await read_all(reader)
            writer.close()
        ends = await world.wait_for_ends(60)
        assert len({end["id"] for end in ends}) == len(ends) == 60


async def test_an_api_that_outlasts_its_route_is_504(tmp_path: Path) -> None:
    policies = with_duration(tmp_path / "policies", "1s")
    async with raw_api(answering()) as url, run_world(tmp_path, url, policies=policies) as world:
        async with aiohttp.request("GET", world.url + USER, headers=headers()) as response:
            assert response.status == 504
        (record,) = world.records()
        assert record["reason"] == "upstream-timeout"


async def test_an_upload_that_outlasts_its_route_is_408(tmp_path: Path) -> None:
    policies = with_duration(tmp_path / "policies", "1s")
    async with raw_api(answering()) as url, run_world(tmp_path, url, policies=policies) as world:
        async with connected(world, raw_request("PUT", PHONE, "Content-Length: 100", body=b"{")) as (reader, _):
            assert (await read_all(reader)).split()[1] == b"408"
        (end,) = await world.wait_for_ends(1)
        assert end["reason"] == "request-timeout"


async def test_an_answer_that_outlasts_its_route_is_not_blamed_on_the_caller(tmp_path: Path) -> None:
    policies = with_duration(tmp_path / "policies", "1s")
    api = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
    async with raw_api(api) as url, run_world(tmp_path, url, policies=policies) as world:
        async with aiohttp.request("GET", world.url + USER, headers=headers()) as response:
            with pytest.raises(aiohttp.ClientError):
                await response.read()
        (end,) = await world.wait_for_ends(1)
        assert end["reason"] == "upstream-timeout"


class TestKeys:
    """The fetches of keys are the gateway's: a caller who leaves ends none, and wears out none."""

    @contextlib.asynccontextmanager
    async def world(self, folder: Path, delay: list[float], **flags: Any) -> AsyncIterator[World]:
        async def api(_request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=204)

        async with serve_app(make_issuer_app(ISSUERS)) as published, serve_raw(api) as url:

            async def slow(request: web.BaseRequest) -> web.StreamResponse:
                await asyncio.sleep(delay[0])
                async with aiohttp.request("GET", published + request.path) as response:
                    return web.Response(body=await response.read(), content_type="application/json")

            async with serve_raw(slow) as idp:
                places = {name: f"{idp}/{name}/jwks.json" for name in ISSUERS}
                async with run_world(folder, url, jwks=places, **flags) as world:
                    yield world

    async def fetched(self, world: World) -> float:
        async with aiohttp.request("GET", f"{world.admin}/metrics") as response:
            lines = (await response.text()).splitlines()
        name = 'sekisho_key_fetches_total{issuer="corp",result="fetched"}'
        return next(float(line.split()[-1]) for line in lines if line.startswith(name))

    async def test_a_caller_that_hangs_up_during_a_fetch_fails_nobody_else(self, tmp_path: Path) -> None:
        delay = [0.0]

        async def honest(world: World) -> int:
            async with aiohttp.request("GET", world.url + USER, headers=headers()) as response:
                return response.status

        async with self.world(tmp_path, delay, jwks_minimum_seconds=0.5, jwks_stale_seconds=2) as world:
            delay[0] = 0.3
            await asyncio.sleep(2.1)  # the keys are stale then, and the next request makes them be fetched
            async with connected(world, raw_request("GET", USER)) as (_, writer):
                await asyncio.sleep(0.1)
                follower = asyncio.ensure_future(honest(world))
                await asyncio.sleep(0.05)
                writer.transport.abort()
            assert await follower == 204

    async def test_unknown_key_ids_do_not_starve_the_renewal_of_keys(self, tmp_path: Path) -> None:
        delay = [0.0]
        head, claims, signature = token().split(".")
        fields = json.loads(base64.urlsafe_b64decode(head + "==")) | {"kid": "nobody"}
        forged = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")
        attack = raw_request("GET", USER, credential=f"{forged}.{claims}.{signature}")
        async with self.world(tmp_path, delay, jwks_minimum_seconds=0.5, jwks_refresh_seconds=0.5) as world:
            delay[0] = 0.2
            before = await self.fetched(world)
            async with asyncio.timeout(20):
                while await self.fetched(world) == before:
                    async with connected(world, attack) as (_, writer):
                        await asyncio.sleep(0.02)
                        writer.transport.abort()


@pytest.mark.parametrize(
    ("answer", "last"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", ["decision", "end", "stop"], id="midway"),
        pytest.param(b"", ["decision", "stop"], id="before its answer"),
    ],
)
async def test_what_a_stop_cuts_is_recorded_as_such_and_in_time(tmp_path: Path, answer: bytes, last: list[str]) -> None:
    seen: list[bytes] = []
    async with raw_api(answering(answer, seen=seen)) as url:
        reader = writer = None
        async with run_world(tmp_path, url, drain_seconds=4) as world:
            reader, writer = await asyncio.open_connection(world.host, world.port)
            writer.write(raw_request("GET", USER))
            await wait_for(lambda: seen)
            if answer:
                await reader.readuntil(b"ab")
            began = elapsed_seconds()
        took = elapsed_seconds() - began
        writer.close()
    lines = lines_of(world)
    assert [line["line"] for line in lines][-len(last) :] == last
    assert lines[-2]["reason"] == "gateway-stopping"
    assert took < 7.5, "stopping took longer than drain_seconds allow"


@pytest.mark.parametrize("body", [b"", b"{}"], ids=["without a body", "with a body"])
async def test_an_update_is_sent_once_for_one_record(tmp_path: Path, body: bytes) -> None:
    got: list[bytes] = []
    async with raw_api(closing_on_reuse(got)) as url, run_world(tmp_path, url) as world:
        async with aiohttp.request("GET", world.url + USER, headers=headers()) as response:
            await response.read()
        async with aiohttp.request("PUT", world.url + PHONE, headers=headers(SUPPORT), data=body) as response:
            assert response.status == 502
    assert sum(head.startswith(b"PUT") for head in got) == 1


async def test_a_request_that_the_api_may_have_read_is_never_sent_again(tmp_path: Path) -> None:
    got: list[bytes] = []
    async with raw_api(closing_on_reuse(got)) as url, run_world(tmp_path, url) as world:
        for status in (200, 502):
            async with aiohttp.request("GET", world.url + USER, headers=headers()) as response:
                assert response.status == status
    assert len(got) == 2


async def test_a_queued_upload_with_broken_framing_ends_at_once(tmp_path: Path) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await may_answer.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        await asyncio.sleep(20)

    upload = raw_request("PUT", PHONE, "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n")
    async with (
        raw_api(script) as url,
        run_world(tmp_path, url) as world,
        connected(world, raw_request("GET", USER)) as (reader, writer),
    ):
        await asked.wait()
        writer.write(upload)
        await writer.drain()
        writer.write(b"no chunk\r\n")
        await writer.drain()
        may_answer.set()
        await reader.readuntil(b"{}")
        assert b"HTTP/1.1 2" not in await read_all(reader)
