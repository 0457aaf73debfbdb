# SPDX-License-Identifier: Apache-2.0
"""The server of operators, on a real socket: whatever it is told, it answers in one voice, and goes on."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.admin import serving
from proxy.admin.serving import Answer, Page
from tests.support.admin import Listener, read_answer, serve_pages

SECRET = "s3cret"
GET = b"GET /page HTTP/1.1\r\nHost: localhost\r\n"
IN_ONE_VOICE = {"cache-control": "no-store", "x-content-type-options": "nosniff", "server": "sekisho"}


async def page() -> Answer:
    return Answer(b'{"fine":true}')


async def defective() -> Answer:
    raise ValueError(SECRET)


PAGES: dict[str, Page] = {"/page": page, "/defect": defective}


@pytest_asyncio.fixture
async def listener() -> AsyncIterator[Listener]:
    async with serve_pages(PAGES.get) as listener:
        yield listener


async def test_a_page_is_served_once_and_the_connection_ends(listener: Listener) -> None:
    told = await listener.say(GET + b"\r\n" + GET + b"\r\n")
    assert (told.status, told.body) == (200, b'{"fine":true}')
    assert told.fields["connection"] == "close"
    assert told.fields.items() >= IN_ONE_VOICE.items()


async def test_head_is_get_without_the_body(listener: Listener) -> None:
    got, head = await listener.ask("/page"), await listener.ask("/page", "HEAD")
    assert (head.status, head.body) == (200, b"")
    differs = {"date"}
    assert {k: v for k, v in head.fields.items() if k not in differs} == {
        k: v for k, v in got.fields.items() if k not in differs
    }


REFUSED = {
    "a path where nothing is": (b"GET /other HTTP/1.1\r\nHost: [::1]:9090\r\n\r\n", 404),
    "a page as if it were a folder": (b"GET /page/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
    "a page in other letters": (b"GET /PAGE HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
    "a page behind an encoded slash": (b"GET /x/..%2fpage HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
    "a page behind dots": (b"GET /x/../page HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
    "a whole URL": (b"GET http://127.0.0.1/page HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
    "a path of 8,000 characters": (b"GET /" + b"x" * 8000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
    "a method that changes something": (b"POST /page HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405),
    "a method that nobody has": (b"BREW /page HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a preflight": (b"OPTIONS /page HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n", 405),
    "a tunnel": (b"CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: 10.0.0.1:443\r\n\r\n", 404),
    "an upgrade": (b"GET /other HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 404),
    "a name that a page had point here": (b"GET /page HTTP/1.1\r\nHost: evil.example:9090\r\n\r\n", 421),
    "a name that begins like an address": (b"GET /page HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", 421),
    "a name that begins like localhost": (b"GET /page HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 421),
    "a name in brackets": (b"GET /page HTTP/1.1\r\nHost: [evil.example]\r\n\r\n", 421),
    "a page that is defective": (b"GET /defect HTTP/1.1\r\nHost: localhost\r\n\r\n", 500),
    "a body that breaks off, where nobody reads it": (
        b"POST /page HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, 400),
    "a line of something else": (b"HELO there s3cret\r\n\r\n", 400),
    "another version": (b"GET /page HTTP/9.9\r\nHost: localhost\r\n\r\n", 400),
    "a field without a name": (b"GET /page HTTP/1.1\r\nHost: localhost\r\n: s3cret\r\n\r\n", 400),
    "a field with a control character": (b"GET /page HTTP/1.1\r\nHost: localhost\r\nX: \x00s3cret\r\n\r\n", 400),
    "two lengths": (b"GET /page HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "a length and chunks": (
        b"GET /page HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "a request line that is too long": (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a field that is too long": (GET + b"X: " + b"x" * 70_000 + b"\r\n\r\n", 400),
    "too many fields": (GET + b"".join(b"X-%d: 1\r\n" % n for n in range(10_000)) + b"\r\n", 400),
}  # fmt: skip


@pytest.mark.parametrize(("said", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_whatever_cannot_be_answered_is_a_problem_and_the_listener_goes_on(
    listener: Listener, said: bytes, status: int
) -> None:
    told = await listener.say(said)
    assert (told.status, told.problem["status"]) == (status, status)
    assert told.fields.items() >= IN_ONE_VOICE.items()
    assert told.fields.get("allow") == ("GET, HEAD" if status == 405 else None)
    for leak in (SECRET, "Traceback", "aiohttp", "Python", "<html"):
        assert leak not in told.body.decode() + str(told.fields)
    assert (await listener.ask("/page")).status == 200


async def test_of_a_defect_the_log_says_where(listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        await listener.ask("/defect")
    assert [record.message for record in caplog.records] == ["an operator's request could not be answered"]
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize("host", ["127.0.0.1:9090", "[::1]", "LOCALHOST:80", "10.1.2.3", "0.0.0.0:9090"])
async def test_on_loopback_it_is_asked_by_an_address_or_as_localhost(listener: Listener, host: str) -> None:
    assert (await listener.ask("/page", host=host)).status == 200


async def test_elsewhere_it_is_asked_by_whatever_name_it_has() -> None:
    async with serve_pages(PAGES.get, is_local=False) as listener:
        assert (await listener.ask("/page", host="sekisho.monitoring.svc:9090")).status == 200


async def test_a_client_of_http_1_0_needs_no_host(listener: Listener) -> None:
    assert (await listener.say(b"GET /page HTTP/1.0\r\n\r\n")).status == 200


async def _read_to_end(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), 10)
    return b""


async def test_who_never_ends_a_request_is_cut_off(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "CONNECTION_SECONDS", 0.2)
    for begun in (b"", b"GET /page HT", GET, GET + b"Content-Length: 9\r\n\r\n1"):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(begun)
        await _read_to_end(reader)
        writer.close()


async def test_who_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "CONNECTION_SECONDS", 0.2)

    async def large() -> Answer:
        return Answer(bytes(32 * 1024 * 1024))

    async with serve_pages({"/large": large}.get) as listener:
        _, writer = await asyncio.open_connection("127.0.0.1", listener.port, limit=1024)
        writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(10):
            while listener.server.connections:
                await asyncio.sleep(0.01)
        writer.transport.abort()


async def test_who_holds_many_connections_keeps_no_probe_out(listener: Listener) -> None:
    held = []
    for number in range(serving.MAX_CONNECTIONS + 10):
        held.append(await asyncio.open_connection("127.0.0.1", listener.port))
        held[-1][1].write(b"GET /")
        if number % 10 == 0:
            assert (await listener.ask("/page")).status == 200
    assert (await listener.ask("/page")).status == 200
    assert await _read_to_end(held[0][0]) == b""
    held[-1][1].write(b"page HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert read_answer(await _read_to_end(held[-1][0])).status == 200
    for _, writer in held:
        writer.close()


async def test_who_goes_away_is_waited_for_no_longer() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> Answer:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Answer(b"")

    async with serve_pages({"/slow": slow}.get) as listener:
        _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(begun.wait(), 10)
        writer.transport.abort()
        await asyncio.wait_for(ended.wait(), 10)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(min_size=1, max_size=300),
        st.builds(
            lambda method, path, fields: b"%b %b HTTP/1.1\r\n%b\r\n\r\n" % (method, path, b"\r\n".join(fields)),
            st.one_of(st.sampled_from([b"GET", b"HEAD", b"POST"]), st.binary(max_size=8)),
            st.one_of(st.sampled_from([b"/page", b"/defect"]), st.binary(max_size=40)),
            st.lists(st.one_of(st.sampled_from([b"Host: localhost", b"Content-Length: 5"]), st.binary(max_size=40))),
        ),
    )
)
def test_no_bytes_are_answered_otherwise(said: bytes) -> None:
    async def try_it() -> None:
        async with serve_pages(PAGES.get) as listener:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(said)
            if writer.can_write_eof():
                writer.write_eof()
            answer = await _read_to_end(reader)
            writer.close()
            if answer:
                told = read_answer(answer)
                assert told.fields.items() >= IN_ONE_VOICE.items()
                assert told.status == 200 or said.startswith(b"HEAD ") or told.problem
            assert (await listener.ask("/page")).status == 200

    asyncio.run(try_it())
