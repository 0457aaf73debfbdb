# SPDX-License-Identifier: Apache-2.0
"""The API's side, over real sockets: what is sent is what the passage made, and every failure has its reason."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import client_exceptions
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from proxy.gateway.options import GatewayOptions
from proxy.gateway.upstream import Upstreams, find_reason
from proxy.model.api import Api, Upstream
from proxy.model.decision import Reason
from proxy.pipeline.passage import Forward
from proxy.request.headers import render_fields

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"

# Errors and their reasons.

KEY = ConnectionKey("api", 80, is_ssl=False, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)
INFO = RequestInfo(URL("http://api/"), "GET", CIMultiDictProxy(CIMultiDict()), URL("http://api/"))
REFUSED = ConnectionRefusedError(111, "Connection refused")

_BY_REASON: dict[Reason, list[Exception]] = {
    Reason.UPSTREAM_UNREACHABLE: [
        aiohttp.ClientConnectorError(KEY, REFUSED),
        aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "Name or service not known")),
        aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "handshake")),
        aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, "self-signed")),
        aiohttp.ClientSSLError(KEY, ssl.SSLError(1, "handshake")),
        aiohttp.ClientProxyConnectionError(KEY, REFUSED),
        client_exceptions.UnixClientConnectorError("/run/api", KEY, REFUSED),
        aiohttp.ConnectionTimeoutError("connecting"),
    ],
    Reason.UPSTREAM_TIMEOUT: [
        aiohttp.SocketTimeoutError("reading"),
        aiohttp.ServerTimeoutError("reading"),
        TimeoutError("all of it"),
    ],
    Reason.UPSTREAM_ANSWER_UNSUPPORTED: [
        aiohttp.ClientResponseError(INFO, (), status=400, message="a line too long"),
        aiohttp.ContentTypeError(INFO, ()),
        aiohttp.ClientHttpProxyError(INFO, ()),
        aiohttp.WSServerHandshakeError(INFO, ()),
        aiohttp.TooManyRedirects(INFO, ()),
        aiohttp.InvalidURL("http://"),
        aiohttp.InvalidUrlClientError("http://"),
        aiohttp.InvalidUrlRedirectClientError("http://"),
    ],
    Reason.UPSTREAM_BROKEN: [
        aiohttp.ServerDisconnectedError(),
        aiohttp.ServerConnectionError(),
        aiohttp.ClientConnectionError("reset"),
        aiohttp.ClientConnectionResetError("reset"),
        aiohttp.ClientOSError(104, "Connection reset by peer"),
        aiohttp.ClientPayloadError("not all of it"),
        aiohttp.ClientError("any other"),
        aiohttp.UploadAbortedError("the body was not sent"),
        # Cannot happen here: no fingerprint is set, no redirect followed, no other scheme declared.
        aiohttp.ServerFingerprintMismatch(b"expected", b"got", "api", 443),
        aiohttp.RedirectClientError("elsewhere"),
        aiohttp.NonHttpUrlClientError("ftp://"),
        aiohttp.NonHttpUrlRedirectClientError("ftp://"),
        ConnectionResetError(104, "reset"),
        OSError(24, "Too many open files"),
    ],
    Reason.DECISION_FAILED: [ValueError("a mistake of ours"), RuntimeError("another"), KeyError("a third")],
}
ERRORS = {type(error): (error, reason) for reason, errors in _BY_REASON.items() for error in errors}


def kinds_of(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*map(kinds_of, kind.__subclasses__()))


def test_every_error_class_of_the_client_stands_in_the_table() -> None:
    theirs = {kind for kind in kinds_of(aiohttp.ClientError) if kind.__module__.startswith("aiohttp.")}
    assert sorted(kind.__name__ for kind in theirs - ERRORS.keys()) == []


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in ERRORS])
def test_the_reason_is_found_of(kind: type[Exception]) -> None:
    error, reason = ERRORS[kind]
    assert find_reason(error) is reason


# What is sent.


class RawApi:
    """An API of bytes: it keeps what arrives and answers what it is told, connection by connection."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.connections = 0
        self.answer = NO_CONTENT
        self.stays = True
        self.url = ""
        self.gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while data := await reader.read(65536):
                self.received += data
                if self.received.endswith((b"\r\n\r\n", b"0\r\n\r\n")):
                    writer.write(self.answer)
                    await writer.drain()
                    if not self.stays:
                        break
        except ConnectionError:
            pass
        finally:
            self.gone.set()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def head(self) -> tuple[str, dict[str, str]]:
        first, *fields = bytes(self.received).partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        return first, dict(field.split(": ", 1) for field in fields)


@pytest_asyncio.fixture
async def api() -> AsyncIterator[RawApi]:
    api = RawApi()
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield api


@pytest_asyncio.fixture
async def upstreams() -> AsyncIterator[Upstreams]:
    upstreams = Upstreams(GatewayOptions(upstream_connect_seconds=2, upstream_idle_seconds=0.2))
    yield upstreams
    await upstreams.close()


def a_forward(url: str, target: str = "/v1/jp/users/42", headers: tuple[tuple[str, str], ...] = ()) -> Forward:
    upstream = Api("users", (), Upstream(url, None), forwards_authorization=False)
    return Forward(
        api=upstream,
        target=target,
        fields=render_fields((("Host", "users.example"), *headers)),
        expects_continue=False,
        is_read=True,
        seconds=5.0,
        lines=(),
    )


async def body_of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


TARGETS = ["/", "/v1/jp/users/42", "/a:b@c/~x!$&'()*+,=", "/x?q=%2F%2f%C3%A9+a", "/x?[a]=1&&;=", "/x?a=http://b/../c?d"]


@pytest.mark.parametrize("target", TARGETS)
async def test_the_target_is_sent_byte_for_byte(api: RawApi, upstreams: Upstreams, target: str) -> None:
    async with await upstreams.request("GET", a_forward(api.url, target), None) as response:
        assert response.status == 204
    assert api.head()[0] == f"GET {target} HTTP/1.1"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
async def test_without_a_body_nothing_is_added_but_that_it_is_empty(
    api: RawApi, upstreams: Upstreams, method: str
) -> None:
    forward = a_forward(api.url, headers=(("X-One", "1"), ("Accept-Language", "ja")))
    async with await upstreams.request(method, forward, None):
        pass
    fields = api.head()[1]
    assert fields.pop("Content-Length", "0") == "0"
    assert fields == {"Host": "users.example", "X-One": "1", "Accept-Language": "ja"}


REPEATED = [
    pytest.param(("Accept", "Accept", "Accept"), id="spelt alike"),
    pytest.param(("Accept", "ACCEPT", "accept"), id="spelt in different letter cases"),
    pytest.param(("X-Tenant", "X-Tenant", "x-tenant"), id="that an API may read the first or the last of"),
]


@pytest.mark.parametrize("names", REPEATED)
async def test_no_field_is_lost_of_those_that_stand_more_than_once(
    api: RawApi, upstreams: Upstreams, names: tuple[str, ...]
) -> None:
    headers = tuple(zip(names, ("a", "b", "c"), strict=True))
    async with await upstreams.request("GET", a_forward(api.url, headers=headers), None):
        pass
    sent = [line.split(": ") for line in bytes(api.received).decode().split("\r\n")[2:-2]]
    assert [(name.lower(), value) for name, value in sent] == [(name.lower(), value) for name, value in headers]


async def test_a_body_is_sent_in_chunks_and_nothing_but_framing_is_added(api: RawApi, upstreams: Upstreams) -> None:
    async with await upstreams.request("PUT", a_forward(api.url), body_of(b"one", b"two")):
        pass
    assert api.head()[1] == {"Host": "users.example", "Transfer-Encoding": "chunked"}
    assert bytes(api.received).endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_a_declared_length_is_kept_and_not_framed_twice(api: RawApi, upstreams: Upstreams) -> None:
    async with await upstreams.request("PUT", a_forward(api.url), body_of(b"\r\n", b"\r\n"), "4"):
        pass
    assert ("Content-Length" in api.head()[1]) != ("Transfer-Encoding" in api.head()[1])


async def test_no_cookie_is_kept_and_no_redirect_followed(api: RawApi, upstreams: Upstreams) -> None:
    api.answer = b"HTTP/1.1 302 Found\r\nSet-Cookie: a=b\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    for _ in range(2):
        async with await upstreams.request("GET", a_forward(api.url), None) as response:
            assert (response.status, response.headers["Location"]) == (302, "/elsewhere")
    assert (b"ookie" in api.received, b"elsewhere" in api.received, api.connections) == (False, False, 1)


async def test_an_encoded_body_arrives_as_it_was_sent(api: RawApi, upstreams: Upstreams) -> None:
    api.answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nno gzip"
    async with await upstreams.request("GET", a_forward(api.url), None) as response:
        assert await response.read() == b"no gzip"


async def test_a_proxy_of_the_environment_is_not_used(
    api: RawApi, upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with await upstreams.request("GET", a_forward(api.url), None) as response:
        assert response.status == 204


# How it fails.


class OurError(Exception):
    """Raised while the caller's body is read, as when it is too large."""


async def failing_body(error: Exception) -> AsyncIterator[bytes]:
    yield b"part"
    raise error


async def test_an_error_of_the_callers_body_can_be_told_from_one_of_the_api_by_its_cause(
    api: RawApi, upstreams: Upstreams
) -> None:
    ours = OurError()
    with pytest.raises((OurError, aiohttp.ClientError)) as caught:
        await upstreams.request("PUT", a_forward(api.url), failing_body(ours))
    assert ours in (caught.value, caught.value.__cause__)


async def test_a_body_that_breaks_off_does_not_look_whole_to_the_api(api: RawApi, upstreams: Upstreams) -> None:
    with contextlib.suppress(Exception):
        await upstreams.request("PUT", a_forward(api.url), failing_body(OurError()))
    await asyncio.wait_for(api.gone.wait(), 5)
    assert b"0\r\n\r\n" not in api.received


def say(answer: bytes, *, stays: bool = True) -> Callable[[RawApi], None]:
    def tell(api: RawApi) -> None:
        api.answer, api.stays = answer, stays

    return tell


FAILURES = [
    pytest.param(say(b""), Reason.UPSTREAM_TIMEOUT, id="it says nothing"),
    pytest.param(say(b"HTTP/1.1 200"), Reason.UPSTREAM_TIMEOUT, id="it stops within its head"),
    pytest.param(say(b"", stays=False), Reason.UPSTREAM_BROKEN, id="it hangs up"),
    pytest.param(say(b"SSH-2.0-OpenSSH\r\n\r\n"), Reason.UPSTREAM_ANSWER_UNSUPPORTED, id="it does not speak HTTP"),
    pytest.param(say(b"HTTP/1.1 20 OK\r\n\r\n"), Reason.UPSTREAM_ANSWER_UNSUPPORTED, id="its status is none"),
    pytest.param(say(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000 + b"\r\n\r\n"), Reason.UPSTREAM_ANSWER_UNSUPPORTED,
                 id="a field is too long"),
    pytest.param(say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab"),
                 Reason.UPSTREAM_ANSWER_UNSUPPORTED, id="its length is ambiguous"),
    pytest.param(say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", stays=False), Reason.UPSTREAM_BROKEN,
                 id="its body ends early"),
    pytest.param(say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", stays=False),
                 Reason.UPSTREAM_BROKEN, id="its chunks end early"),
    pytest.param(say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), Reason.UPSTREAM_TIMEOUT,
                 id="it stops within its body"),
]  # fmt: skip


async def fetch(upstreams: Upstreams, forward: Forward) -> Any:
    async with await upstreams.request("GET", forward, None) as response:
        return await response.read()


@pytest.mark.parametrize(("prepare", "reason"), FAILURES)
async def test_a_failing_api_becomes_a_reason_when(
    api: RawApi, upstreams: Upstreams, prepare: Callable[[RawApi], None], reason: Reason
) -> None:
    prepare(api)
    with pytest.raises((aiohttp.ClientError, OSError)) as caught:
        await fetch(upstreams, a_forward(api.url))
    assert find_reason(caught.value) is reason


async def test_an_api_that_nobody_serves_is_unreachable(upstreams: Upstreams) -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(aiohttp.ClientError) as caught:
        await fetch(upstreams, a_forward(f"http://127.0.0.1:{port}"))
    assert find_reason(caught.value) is Reason.UPSTREAM_UNREACHABLE


async def test_an_api_of_tls_that_speaks_none_is_unreachable(api: RawApi, upstreams: Upstreams) -> None:
    api.stays = False
    with pytest.raises(aiohttp.ClientError) as caught:
        await fetch(upstreams, a_forward(api.url.replace("http", "https")))
    assert find_reason(caught.value) in {Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_TIMEOUT}
