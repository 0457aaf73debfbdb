# SPDX-License-Identifier: Apache-2.0
"""Whose word is taken for the client's address, and geolocation that changes, over real sockets."""

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.gateway import proxied
from tests.support.mmdb import write_database
from tests.support.world import OFFICE, World, run_world, serve_raw, token, wait_for

USER = "/v1/jp/users/42"
PUBLIC = "198.41.0.4"
PROXY, STRANGER = "127.0.0.1", "127.0.0.2"
OFFICE_LINE = f"PROXY TCP4 {OFFICE} 192.0.2.2 4711 443\r\n".encode()
OFFICE_BINARY = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11" + struct.pack(">H", 15) + IPv4Address(OFFICE).packed + bytes(8) + b"\x04\x00\x00"
)
LOCAL_BINARY = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


def a_request(*fields: str, close: bool = True) -> bytes:
    last = ("Connection: close",) if close else ()
    lines = (f"GET {USER} HTTP/1.1", "Host: a", f"Authorization: Bearer {token()}", *fields, *last, "", "")
    return "\r\n".join(lines).encode()


async def answer(request: web.BaseRequest) -> web.Response:
    seen = {name: request.headers.getall(name) for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP")
            if name in request.headers}  # fmt: skip
    return web.json_response(seen)


@contextlib.asynccontextmanager
async def a_world(folder: Path, place: str, **flags: Any) -> AsyncIterator[World]:
    async with serve_raw(answer) as url, run_world(folder, url, client_address=place, **flags) as world:
        yield world


async def talk(world: World, *pieces: bytes, source: str = PROXY) -> bytes:
    """Send bytes, piece by piece, and read until the gateway closes."""
    reader, writer = await asyncio.open_connection(world.host, world.port, local_addr=(source, 0))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def last(world: World) -> dict[str, Any]:
    return world.decisions()[-1]


FIELDS = {
    "x-forwarded-for": f"X-Forwarded-For: {PUBLIC}, {OFFICE}",
    "forwarded": f"Forwarded: for={PUBLIC}, for={OFFICE};proto=https",
    "x-real-ip": f"X-Real-IP: {OFFICE}",
}


@pytest.mark.parametrize("place", FIELDS)
async def test_row_10_the_configured_field_is_believed_and_no_other(tmp_path: Path, place: str) -> None:
    others = [field for name, field in FIELDS.items() if name != place]
    async with a_world(tmp_path, place) as world:
        told = await talk(world, a_request(*FIELDS.values()))
        assert last(world)["origin"]["ip"] == OFFICE
        assert json.loads(told.partition(b"\r\n\r\n")[2]) == {"X-Forwarded-For": [OFFICE]}

        await talk(world, a_request(*others))
        assert last(world)["origin"]["ip"] == "unknown"
        await talk(world, a_request(*FIELDS.values()), source=STRANGER)
        assert last(world)["origin"]["ip"] == STRANGER


async def test_with_peer_no_field_is_believed(tmp_path: Path) -> None:
    async with a_world(tmp_path, "peer") as world:
        for source, ip in ((PROXY, "unknown"), (STRANGER, STRANGER)):
            await talk(world, a_request(*FIELDS.values()), source=source)
            assert last(world)["origin"]["ip"] == ip


@pytest.mark.parametrize("place", FIELDS)
async def test_row_9_x_real_ip_twice_is_refused(tmp_path: Path, place: str) -> None:
    async with a_world(tmp_path, place) as world:
        told = await talk(world, a_request(FIELDS["x-real-ip"], "x-real-ip: 192.0.2.1"))

    assert told.split()[1] == b"400"
    assert last(world)["reason"] == "header-repeated"


STARTS = {
    "version 1": (OFFICE_LINE,),
    "version 1, byte by byte": tuple(OFFICE_LINE[n : n + 1] for n in range(len(OFFICE_LINE))),
    "version 2": (OFFICE_BINARY,),
    "version 2, byte by byte": tuple(OFFICE_BINARY[n : n + 1] for n in range(len(OFFICE_BINARY))),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
async def test_a_connection_is_its_source_s(tmp_path: Path, start: tuple[bytes, ...]) -> None:
    async with a_world(tmp_path, "proxy-protocol") as world:
        told = await talk(world, *start, a_request(*FIELDS.values(), close=False), a_request())
        assert told.count(b"HTTP/1.1 200") == 2
        await talk(world, b"".join(start) + a_request())

        assert [record["origin"]["ip"] for record in world.decisions()] == [OFFICE] * 3
        assert b"192.0.2" not in told


SOURCES = {
    "a health check of the proxy's own": (LOCAL_BINARY, PROXY),
    "a source that the proxy does not know": (b"PROXY UNKNOWN\r\n", "unknown"),
    "row 10: a source that is a trusted proxy itself": (b"PROXY TCP4 127.0.0.1 192.0.2.2 1 2\r\n", "unknown"),
    "row 11: a mapped source": (f"PROXY TCP6 ::ffff:{OFFICE} ::1 1 2\r\n".encode(), OFFICE),
}


@pytest.mark.parametrize(("start", "ip"), SOURCES.values(), ids=SOURCES)
async def test_what_a_header_says_is_what_is_recorded(tmp_path: Path, start: bytes, ip: str) -> None:
    async with a_world(tmp_path, "proxy-protocol") as world:
        await talk(world, start + a_request())

        assert last(world)["origin"]["ip"] == ip


async def test_bytes_that_are_no_request_are_the_source_s(tmp_path: Path) -> None:
    async with a_world(tmp_path, "proxy-protocol") as world:
        told = await talk(world, OFFICE_LINE + b"NO HTTP AT ALL\r\n\r\n")

        assert told.split()[1] == b"400"
        assert (last(world)["reason"], last(world)["origin"]["ip"]) == ("request-malformed", OFFICE)


NO_STARTS = {
    "HTTP at once": a_request(),
    "a line that is malformed": b"PROXY TCP4 300.1.1.1 192.0.2.2 1 2\r\n" + a_request(),
    "a line that never ends": b"PROXY UNKNOWN " + b"x" * 200,
    "version 3": b"\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
}


@pytest.mark.parametrize("start", NO_STARTS.values(), ids=NO_STARTS)
async def test_row_10_a_trusted_proxy_that_does_not_say_whose_it_is_is_refused(tmp_path: Path, start: bytes) -> None:
    async with a_world(tmp_path, "proxy-protocol") as world:
        told = await talk(world, start, b"more")

        assert told.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert json.loads(told.partition(b"\r\n\r\n")[2])["status"] == 400
        [record] = world.decisions()
        assert (record["reason"], record["effect"], record["origin"]["ip"]) == (
            "proxy-header-malformed", "deny", "unknown")  # fmt: skip


async def test_a_proxy_that_says_nothing_is_refused_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxied, "START_SECONDS", 0.05)
    async with a_world(tmp_path, "proxy-protocol") as world:
        assert (await talk(world, b"PROXY TCP4 ")).startswith(b"HTTP/1.1 400")
        assert last(world)["reason"] == "proxy-header-malformed"


async def test_a_connection_that_ends_before_it_began_is_no_request(tmp_path: Path) -> None:
    async with a_world(tmp_path, "proxy-protocol") as world:
        _, writer = await asyncio.open_connection(world.host, world.port)
        writer.close()
        await talk(world, OFFICE_LINE + a_request())

        assert len(world.decisions()) == 1


async def test_row_10_a_stranger_s_header_is_no_request(tmp_path: Path) -> None:
    async with a_world(tmp_path, "proxy-protocol") as world:
        told = await talk(world, OFFICE_LINE + a_request(), source=STRANGER)
        assert told.split()[1] == b"400"
        assert (last(world)["reason"], last(world)["origin"]["ip"]) == ("request-malformed", STRANGER)

        await talk(world, a_request(*FIELDS.values()), source=STRANGER)
        assert last(world)["origin"]["ip"] == STRANGER


# Geolocation.


def write_countries(folder: Path, country: str, built: int = 1_700_000_000) -> Path:
    record = {"country": {"iso_code": country}, "registered_country": {"iso_code": "US"}}
    return write_database(folder / "country.mmdb", {f"{PUBLIC}/32": record}, kind="GeoLite2-Country", built=built)


async def ready(world: World) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{world.admin}/readyz") as response:
        answer: dict[str, Any] = await response.json()
        return answer


async def test_a_database_is_swapped_under_load_and_recorded(tmp_path: Path) -> None:
    path = write_countries(tmp_path, "JP")
    async with a_world(tmp_path, "x-forwarded-for", geoip=path, watch_seconds=0.02) as world:
        stop = asyncio.Event()

        async def load() -> list[int]:
            statuses = []
            while not stop.is_set():
                told = await talk(world, a_request(f"X-Forwarded-For: {PUBLIC}"))
                statuses.append(int(told.split()[1]))
            return statuses

        loading = asyncio.ensure_future(load())
        await wait_for(lambda: len(world.decisions()) >= 3)
        write_countries(tmp_path, "CN")
        await wait_for(lambda: last(world)["origin"]["country"] == "CN")
        stop.set()
        statuses = await loading

        assert set(statuses) == {200, 403}, "no request is dropped"
        assert sorted(statuses) == statuses, "what is denied was allowed before"
        first, second = world.records("geolocation")
        assert first["databases"][0]["type"] == "GeoLite2-Country"
        assert first["databases"][0]["built"] == "2023-11-14T22:13:20.000Z"
        assert first["databases"][0]["digest"] != second["databases"][0]["digest"]
        versions = [(record["geolocation"], record["origin"]["country"]) for record in world.decisions()]
        assert set(versions) == {(first["version"], "JP"), (second["version"], "CN")}


async def test_a_bad_database_is_told_and_the_good_one_stays(tmp_path: Path) -> None:
    path = write_countries(tmp_path, "JP")
    async with a_world(tmp_path, "x-forwarded-for", geoip=path, watch_seconds=0.02) as world:
        assert (await ready(world))["geolocation_doubts"] == []
        path.write_bytes(b"cut short")
        async with asyncio.timeout(10):
            while not (doubts := (await ready(world))["geolocation_doubts"]):
                await asyncio.sleep(0.02)
        await talk(world, a_request(f"X-Forwarded-For: {PUBLIC}"))

        assert "cannot be opened" in doubts[0]
        assert last(world)["origin"]["country"] == "JP"


async def test_a_database_that_is_too_old_is_told_and_not_believed(tmp_path: Path) -> None:
    path = write_countries(tmp_path, "JP")
    async with a_world(tmp_path, "x-forwarded-for", geoip=path, geoip_max_age_days=30) as world:
        told = await talk(world, a_request(f"X-Forwarded-For: {PUBLIC}"))
        state = await ready(world)
        async with aiohttp.ClientSession() as session, session.get(f"{world.admin}/metrics") as response:
            metrics = await response.text()

        assert told.startswith(b"HTTP/1.1 403")
        assert (
            last(world)["origin"]["country"] == last(world)["origin"].get("registered_country", "unknown") == "unknown"
        )
        assert state["ready"]
        assert "too old" in state["geolocation_doubts"][0]
        assert 'sekisho_geolocation_expired{database="country"} 1.0' in metrics
        assert 'sekisho_geolocation_build_timestamp_seconds{database="country"} 1.7e+09' in metrics
