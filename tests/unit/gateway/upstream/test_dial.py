# SPDX-License-Identifier: Apache-2.0
"""How a connection is made: each address is tried, and each step that fails has its name."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from proxy.clock import elapsed_seconds
from proxy.gateway.upstream import dial as dials
from proxy.gateway.upstream.dial import Cause, Place, dial, parse_place
from proxy.gateway.upstream.tls import TlsFiles, UpstreamTls
from proxy.model.decision import Reason
from tests.support.upstream import asking, for_ever, serving

PLACES = [
    ("http://127.0.0.1:9000", Place("127.0.0.1", 9000)),
    ("http://users.internal", Place("users.internal", 80)),
    ("https://users.internal", Place("users.internal", 443, is_secure=True)),
    ("https://[::1]:8443", Place("::1", 8443, is_secure=True)),
    ("unix:/run/users.sock", Place("localhost", 0, "/run/users.sock")),
]


@pytest.mark.parametrize(("url", "place"), PLACES)
def test_a_declared_upstream_is_at(url: str, place: Place) -> None:
    assert parse_place(url) == place


NO_TLS = UpstreamTls("users", TlsFiles())


class Made(asyncio.Protocol):
    """Counts the connections that were made."""

    count = 0

    def connection_made(self, transport: Any) -> None:
        type(self).count += 1
        transport.abort()


@pytest.fixture(autouse=True)
def _count_anew() -> None:
    Made.count = 0


def _resolving_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    async def find(_: Place) -> list[tuple[str, int]]:
        return [*addresses]

    monkeypatch.setattr(dials, "_find_addresses", find)


def _closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def test_each_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(for_ever) as api:
        closed = ("127.0.0.1", _closed_port())
        _resolving_to(monkeypatch, closed, closed, ("127.0.0.1", api.port))
        assert await dial(Place("users.internal", 1), NO_TLS, Made, 5) is None
        assert Made.count == 1


async def test_an_address_that_does_not_answer_leaves_time_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(for_ever) as api:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
            place = deaf.getsockname()
            fillers = [socket.socket() for _ in range(3)]
            for filler in fillers:
                filler.setblocking(False)  # noqa: FBT003
                filler.connect_ex(place)
            _resolving_to(monkeypatch, place, ("127.0.0.1", api.port))
            began = elapsed_seconds()
            assert await dial(Place("users.internal", 1), NO_TLS, Made, 2) is None
            assert 0.8 < elapsed_seconds() - began < 2
            _resolving_to(monkeypatch, place)
            fault = await dial(Place("users.internal", 1), NO_TLS, Made, 0.05)
            assert fault is not None
            assert fault.cause is Cause.TIMEOUT
            for filler in fillers:
                filler.close()


async def _fail(cause: Cause, place: Place, seconds: float = 5) -> str:
    fault = await dial(place, NO_TLS, Made, seconds)
    assert fault is not None
    assert (fault.cause, Made.count) == (cause, 0)
    return fault.text


async def test_what_refuses_is_told_without_addresses() -> None:
    port = _closed_port()
    text = await _fail(Cause.CONNECT, Place("127.0.0.1", port))
    assert str(port) not in text


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 64 + ".internal", "..", ""])
async def test_a_name_without_an_address_is_told_apart(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def find(*_: Any, **__: Any) -> Any:
        if host == "no-such-name.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [] if not host else host.encode("idna")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", find, raising=False)
    await _fail(Cause.RESOLVE, Place(host, 80))


async def test_a_name_that_is_not_resolved_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def find(_: Place) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(dials, "_find_addresses", find)
    await _fail(Cause.TIMEOUT, Place("users.internal", 80), 0.01)


async def test_a_unix_socket_is_spoken_to(tmp_path: Path) -> None:
    async with serving(for_ever, path=str(tmp_path / "api.sock")) as api, asking(api.url) as asks:
        assert (await asks.ask()).body == b"ok"
        assert (await asks.ask()).body == b"ok"
        assert len(api.received) == 1


async def test_a_unix_socket_that_is_not_there_is_an_api_that_cannot_be_reached(tmp_path: Path) -> None:
    async with asking(f"unix:{tmp_path}/api.sock") as asks:
        assert (await asks.ask()).reason is Reason.UPSTREAM_UNREACHABLE
