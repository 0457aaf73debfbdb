# SPDX-License-Identifier: Apache-2.0
"""An API is asked whether it is healthy: at every place, by nothing of a caller's, and within bounds."""

import asyncio
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import UsageError
from proxy.gateway.options import GatewayOptions
from proxy.gateway.upstream import asking
from proxy.gateway.upstream.asking import HealthAsker, check_health_paths
from proxy.gateway.wire.grammar import MAX_HEAD_BYTES
from proxy.model.api import Api, Upstream
from tests.support import certificates
from tests.support.certificates import SERVER, a_ca, a_leaf
from tests.support.upstream import OK, Act, answering, read_head, serving
from tests.unit.gateway.upstream.test_tls import LOCALHOST, server_context

REQUEST = (
    b"GET /healthz HTTP/1.1\r\nHost: users.internal\r\nUser-Agent: sekisho\r\nAccept: */*\r\nConnection: close\r\n\r\n"
)
Ask = Callable[[], Any]


def an_asker(*urls: str, hosts: tuple[str, ...] = ("users.internal",), **options: Any) -> HealthAsker:
    first, *more = (Upstream(url, None) for url in urls)
    countries = dict(zip(("JP", "KR"), more, strict=False))
    api = Api("users", hosts, first, forwards_authorization=False, upstreams=countries)
    told: dict[str, Any] = {"upstream_health": {"users": "/healthz"}} | options
    return HealthAsker(GatewayOptions(**told), lambda: [api])


async def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.close()


async def _reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _be_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await read_head(reader)


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    while not writer.transport.is_closing():
        writer.write(b"H")
        await asyncio.sleep(0.01)


async def _say_in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    for byte in b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n":
        writer.write(bytes([byte]))
        await writer.drain()


EARLY = b"HTTP/1.1 103 Early Hints\r\n\r\n"
ANSWERS: dict[str, tuple[Act, str]] = {
    "it is": (answering(OK), ""),
    "it is, and says no more": (answering(b"HTTP/1.1 204 No Content\r\n\r\n"), ""),
    "it is, and has a body of a gigabyte": (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\nx"), ""),
    "it is, and speaks HTTP/1.0": (answering(b"HTTP/1.0 200 OK\r\n\r\nfine", then_close=True), ""),
    "it is, byte by byte, after a hint": (_say_in_pieces, ""),
    "it is, after all hints that there may be": (answering(EARLY * 8 + OK), ""),
    "it gives hints for ever": (answering(EARLY * 9 + OK), "its answer is none of HTTP/1.1"),
    "it is not": (answering(b"HTTP/1.1 500 Oh no\r\nContent-Length: 6\r\n\r\ns3cret"), "it answers 500"),
    "it starts": (answering(b"HTTP/1.1 503 s3cret\r\n\r\n"), "it answers 503"),
    "it wants a token": (answering(b"HTTP/1.1 401 Unauthorized\r\n\r\n"), "it answers 401"),
    "it is elsewhere": (answering(b"HTTP/1.1 302 Found\r\nLocation: http://evil.example\r\n\r\n"), "it answers 302"),
    "it switches": (
        answering(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        "its answer is none of HTTP/1.1"),
    "it is something else": (answering(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "its answer is none of HTTP/1.1"),
    "it is of two minds on framing": (
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        "its answer is none of HTTP/1.1"),
    "its head has no end": (
        answering(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES), "its answer is none of HTTP/1.1"),
    "it closes": (_close, "it closes the connection without an answer"),
    "it resets": (_reset, "it closes the connection without an answer"),
    "it is silent": (_be_silent, asking._LATE),
    "it drips": (_drip, asking._LATE),
}  # fmt: skip


@pytest.mark.parametrize(("act", "why"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_it_is_healthy_where_it_says_so_and_else_it_is_told_why(
    monkeypatch: pytest.MonkeyPatch, act: Act, why: str
) -> None:
    if why == asking._LATE:
        monkeypatch.setattr(asking, "ASK_SECONDS", 0.2)
    async with serving(act) as api:
        told = await asyncio.wait_for(an_asker(api.url).ask("users"), 10)
        assert told == ((f"users: {why}",) if why else ())
        async with asyncio.timeout(10):
            while not all(api.ended):
                await asyncio.sleep(0.005)
        assert len(api.received) == 1
        assert bytes(api.received[0]) in {REQUEST, b""}


async def test_it_is_asked_by_its_declared_host_and_else_by_its_address() -> None:
    async with serving(answering(OK)) as api:
        assert await an_asker(api.url, hosts=()).ask("users") == ()
        assert f"\r\nHost: 127.0.0.1:{api.port}\r\n".encode() in api.received[0]


async def test_a_unix_socket_is_asked(tmp_path: Path) -> None:
    async with serving(answering(OK), path=str(tmp_path / "api.sock")) as api:
        assert await an_asker(api.url).ask("users") == ()
    assert await an_asker(api.url).ask("users") == ("users: no connection: Connection refused",)


async def test_who_is_not_there_is_told_of() -> None:
    async with serving(answering(OK)) as api:
        url = api.url
    assert await an_asker(url).ask("users") == ("users: no connection: Connection refused",)


async def test_every_place_has_to_answer() -> None:
    async with serving(answering(OK)) as first, serving(answering(b"HTTP/1.1 500 No\r\n\r\n")) as second:
        told = await an_asker(first.url, second.url, first.url).ask("users")
    assert told == ("users/JP: it answers 500",)


async def test_tls_is_verified_as_for_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "NOW", time.time())  # noqa: TID251
    ca, other = a_ca("Internal CA"), a_ca("Other CA")
    context: ssl.SSLContext = server_context(a_leaf(ca, usages=[SERVER], general=[LOCALHOST]), tmp_path)
    async with serving(answering(OK), context=context) as api:
        url = api.url.replace("http://", "https://")
        trusting = an_asker(url, upstream_ca={"users": ca.write(tmp_path, "ca")[0]})
        doubting = an_asker(url, upstream_ca={"users": other.write(tmp_path, "other")[0]})
        assert await trusting.ask("users") == ()
        why = "users: no connection: its certificate is not taken: unable to get local issuer certificate"
        assert await doubting.ask("users") == (why,)
        blind = an_asker(url, upstream_ca={"users": tmp_path / "none.pem"})
        told = await blind.ask("users")
        assert told is not None
        assert "SEKISHO_UPSTREAM_CA of 'users'" in told[0]


async def test_an_api_that_is_not_declared_or_says_nowhere_is_not_asked() -> None:
    async with serving(answering(OK)) as api:
        assert await an_asker(api.url).ask("orders") is None
        assert await an_asker(api.url, upstream_health={}).ask("users") is None
        assert api.received == []


async def test_a_storm_of_probes_is_one_question_and_who_goes_away_ends_it_for_nobody() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await go_on.wait()
        writer.write(OK)

    async with serving(act) as api:
        asker = an_asker(api.url)
        first, *others = [asyncio.ensure_future(asker.ask("users")) for _ in range(200)]
        await asyncio.wait_for(asked.wait(), 10)
        first.cancel()
        go_on.set()
        assert set(await asyncio.gather(*others)) == {()}
        assert len(api.received) == 1


class Turning:
    """An API that is healthy until told otherwise."""

    def __init__(self) -> None:
        self.answer = OK

    async def act(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(self.answer)


async def test_an_api_is_asked_once_a_second_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    now, turning = [100.0], Turning()
    monkeypatch.setattr(asking, "elapsed_seconds", lambda: now[0])
    async with serving(turning.act) as api:
        asker = an_asker(api.url)
        for _ in range(50):
            assert await asker.ask("users") == ()
        turning.answer = b"HTTP/1.1 500 No\r\n\r\n"
        now[0] += asking.KEPT_SECONDS - 0.001
        assert await asker.ask("users") == (), "of the same second"
        assert len(api.received) == 1
        now[0] += 0.001
        told = await asyncio.gather(*(asker.ask("users") for _ in range(50)))
        assert set(told) == {("users: it answers 500",)}, "healthy no longer than that second"
        assert len(api.received) == 2
        turning.answer = OK
        assert await asker.ask("users") == ("users: it answers 500",), "what is wrong is kept likewise"
        now[0] += asking.KEPT_SECONDS
        assert await asker.ask("users") == ()
        assert len(api.received) == 3


async def test_an_answer_that_was_long_in_coming_is_not_kept_beyond_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, turning = [100.0], Turning()
    monkeypatch.setattr(asking, "elapsed_seconds", lambda: now[0])
    async with serving(turning.act) as api:
        asker = an_asker(api.url)
        waiting = asyncio.ensure_future(asker.ask("users"))
        await asyncio.sleep(0)
        now[0] += asking.KEPT_SECONDS
        assert [await waiting, await asker.ask("users")] == [(), ()]
        assert len(api.received) == 2


async def test_at_the_end_nobody_is_asked_any_more() -> None:
    async with serving(_be_silent) as api:
        asker = an_asker(api.url)
        waiting = asyncio.ensure_future(asker.ask("users"))
        async with asyncio.timeout(10):
            while not api.received:
                await asyncio.sleep(0.005)
        await asker.close()
        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError)


PATHS = {
    "no slash": "healthz",
    "nothing": "",
    "a URL": "http://127.0.0.1/healthz",
    "a query": "/healthz?deep=1",
    "a query without anything": "/healthz?",
    "dots": "/../healthz",
    "a slash at the end": "/healthz/",
    "a fragment": "/healthz#x",
    "a blank": "/health z",
    "a second line": "/healthz HTTP/1.1\r\nX: y",
    "an encoded character": "/health%7A",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_what_is_no_path_stops_the_start(path: str) -> None:
    with pytest.raises(UsageError, match=r"SEKISHO_UPSTREAM_HEALTH of 'users' is .*, which is no plain path"):
        check_health_paths(GatewayOptions(upstream_health={"users": path}), [_api()])


def test_an_api_that_nobody_declares_stops_the_start() -> None:
    with pytest.raises(UsageError, match=r"'usres' that the bundle does not declare \(did you mean 'users'\?\)"):
        check_health_paths(GatewayOptions(upstream_health={"usres": "/healthz"}), [_api()])


def test_paths_of_declared_apis_are_taken() -> None:
    for path in ("/", "/healthz", "/actuator/health/liveness", "/v1/-/ready"):
        check_health_paths(GatewayOptions(upstream_health={"users": path}), [_api()])


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_a_path_that_is_taken_is_one_line_in_one_piece(text: str) -> None:
    try:
        check_health_paths(GatewayOptions(upstream_health={"users": f"/{text}"}), [_api()])
    except UsageError:
        return
    assert not {" ", "\r", "\n", "?", "#"} & set(text)
    assert text.isascii()


def _api() -> Api:
    return Api("users", (), Upstream("http://127.0.0.1:9", None), forwards_authorization=False)
