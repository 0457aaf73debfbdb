# SPDX-License-Identifier: Apache-2.0
"""One connection, over real sockets: every way in which an API can misbehave, and what becomes of the connection."""

import asyncio
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.gateway.upstream.connection import MAX_INTERIM
from proxy.gateway.wire.grammar import MAX_HEAD_BYTES
from proxy.model.decision import Reason
from tests.support.upstream import OK, Act, Heard, answering, asking, for_ever, read_head, serving

# Whole answers.

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE: dict[str, tuple[str, bytes, int, bytes, bool]] = {
    # what: method, answer, status, body, whether the connection is used again
    "a body with a length": ("GET", OK, 200, b"ok", True),
    "no body, and it says so": ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    "a body in chunks": ("GET", CHUNKED + b"1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n", 200, b"ok", True),
    "a body in chunks with trailers": ("GET", CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", 200, b"ok", True),
    "no content": ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "not modified, with the length it would have": (
        "GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b"", True,
    ),
    "the answer to HEAD, with the length it would have": (
        "HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200, b"", True,
    ),
    "an API that closes behind its answer": (
        "GET", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False,
    ),
    "an API of HTTP/1.0": ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    "interim answers, which end here": (
        "GET", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok", True,
    ),
    "more bytes than its length says": ("GET", OK + b"?", 200, b"ok", False),
    "a second answer behind the first": ("GET", OK + OK, 200, b"ok", False),
    "a second answer behind chunks": ("GET", CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + OK, 200, b"ok", False),
    "a body behind the answer to HEAD": ("HEAD", OK, 200, b"", False),
    "a body behind no content": ("GET", b"HTTP/1.1 204 No Content\r\n\r\nok", 204, b"", False),
}  # fmt: skip


@pytest.mark.parametrize("what", WHOLE)
async def test_it_is_answered_with(what: str) -> None:
    method, answer, status, body, is_kept = WHOLE[what]
    async with serving(answering(answer, answer)) as api, asking(api.url) as asks:
        heard = await asks.ask(method)
        assert (heard.calls, heard.body, heard.is_whole) == ([("answered", status)], body, True)
        assert (len(asks.pool.idle), len(asks.pool.open)) == ((1, 1) if is_kept else (0, len(asks.pool.open)))
        again = await asks.ask(method)
        assert (again.body, len(api.received)) == (body, 1 if is_kept else 2)


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\nto the end"
    async with serving(answering(answer, then_close=True)) as api, asking(api.url) as asks:
        heard = await asks.ask()
        assert (heard.body, heard.names[-1]) == (b"to the end", "ended")
        await asks.becomes(lambda: not asks.pool.open)


async def test_what_is_sent_is_what_was_asked_and_its_framing() -> None:
    async with serving(answering(OK, OK, OK)) as api, asking(api.url) as asks:
        await asks.ask()
        await asks.ask("PUT", b"one", b"", b"two")
        await asks.ask("PUT", b"one", b"", b"two", is_chunked=True)
    head = b" /v1/jp/users/42 HTTP/1.1\r\nHost: users.internal\r\nAccept: */*\r\n"
    (received,) = api.received
    assert bytes(received) == (
        b"GET" + head + b"\r\n"
        b"PUT" + head + b"Content-Length: 6\r\n\r\nonetwo"
        b"PUT" + head + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    )  # fmt: skip


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    st.sampled_from([name for name, (*_, is_kept) in WHOLE.items() if is_kept]),
    st.lists(st.integers(1, 40), max_size=12),
)
def test_however_an_answer_is_cut_it_is_the_same(what: str, sizes: list[int]) -> None:
    method, answer, status, body, _ = WHOLE[what]

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await read_head(reader)
            rest = answer
            for size in sizes:
                writer.write(rest[:size])
                rest = rest[size:]
                await asyncio.sleep(0)
            writer.write(rest)

    async def run() -> None:
        async with serving(act) as api, asking(api.url) as asks:
            for _ in range(2):
                heard = await asks.ask(method)
                assert (heard.frame and heard.frame.status, heard.body, heard.is_whole) == (status, body, True)
            assert (len(api.received), len(asks.pool.idle)) == (1, 1)

    uvloop.run(run())


# What is no answer, or no whole one.

BAD: dict[str, tuple[bytes, Reason]] = {
    "nothing, and a close": (b"", Reason.UPSTREAM_BROKEN),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-", Reason.UPSTREAM_BROKEN),
    "an interim answer and no other": (b"HTTP/1.1 100 Continue\r\n\r\n", Reason.UPSTREAM_BROKEN),
    "half a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Reason.UPSTREAM_BROKEN),
    "chunks without the last one": (CHUNKED + b"2\r\nok\r\n", Reason.UPSTREAM_BROKEN),
    "a chunk of no size": (CHUNKED + b"x\r\nok\r\n", Reason.UPSTREAM_BROKEN),
    "a bad chunk behind a good one": (CHUNKED + b"2\r\nok\r\n-1\r\n", Reason.UPSTREAM_BROKEN),
    "garbage": (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", Reason.UPSTREAM_ANSWER_UNSUPPORTED),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Reason.UPSTREAM_ANSWER_UNSUPPORTED),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok", Reason.UPSTREAM_ANSWER_UNSUPPORTED,
    ),
    "a length and chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Reason.UPSTREAM_ANSWER_UNSUPPORTED,
    ),
    "a protocol that nobody asked for": (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        Reason.UPSTREAM_ANSWER_UNSUPPORTED,
    ),
    "a head without end": (b"HTTP/1.1 200 OK\r\nA: " + b"a" * MAX_HEAD_BYTES, Reason.UPSTREAM_ANSWER_UNSUPPORTED),
    "interim answers without end": (
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1), Reason.UPSTREAM_ANSWER_UNSUPPORTED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
async def test_no_answer_is(what: str) -> None:
    answer, reason = BAD[what]
    async with serving(answering(answer, then_close=True)) as api, asking(api.url) as asks:
        heard = await asks.ask()
        assert (heard.reason, heard.is_whole) == (reason, False)
        assert not asks.pool.idle
        await asks.becomes(lambda: not asks.pool.open)
    assert len(api.received) == 1, "what was sent is not sent again"


async def test_a_reset_midway_is_no_end() -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        await writer.drain()
        await reset.wait()
        writer.transport.abort()

    reset = asyncio.Event()
    async with serving(act) as api, asking(api.url) as asks:
        heard = asks.begin(Heard(b"x" * 100, during=lambda name, _: reset.set() if name == "answered" else None), "PUT")
        await heard.end()
        assert heard.reason in {Reason.UPSTREAM_BROKEN, None}
        assert not asks.pool.idle


async def test_bytes_that_answer_nothing_close_the_connection() -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK)
        if len(api.received) == 1:
            await more.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")

    more = asyncio.Event()
    async with serving(act) as api, asking(api.url) as asks:
        assert (await asks.ask()).body == b"ok"
        more.set()
        await asks.becomes(lambda: not asks.pool.open)
        assert (await asks.ask()).body == b"ok"


async def test_bytes_that_have_arrived_but_were_not_read_are_not_taken_for_the_next_answer() -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK)
        if len(api.received) == 1:
            await more.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")
            sent.set()

    more, sent = asyncio.Event(), asyncio.Event()
    async with serving(act) as api, asking(api.url) as asks:
        await asks.ask()
        (connection,) = asks.pool.idle
        connection._transport.pause_reading()  # as if the loop had not come to it yet
        more.set()
        await sent.wait()
        await asks.becomes(lambda: not connection.is_quiet())
        assert (await asks.ask()).body == b"ok"
        assert len(api.received) == 2


async def test_a_connection_that_the_api_closes_is_not_used_again() -> None:
    async with serving(answering(OK, then_close=True)) as api, asking(api.url) as asks:
        await asks.ask()
        await asks.becomes(lambda: not asks.pool.open)
        assert (await asks.ask()).body == b"ok"
        assert len(api.received) == 2


async def test_more_bytes_than_its_length_says_end_the_connection_also_when_they_come_later() -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
        await heard_it.wait()
        writer.write(b"lf?")

    heard_it = asyncio.Event()
    async with serving(act) as api, asking(api.url) as asks:
        heard = await asks.begin(Heard(during=lambda *_: heard_it.set())).end()
        assert (heard.body, heard.is_whole, asks.pool.idle) == (b"half", True, [])


# Bodies of requests.


async def test_an_early_answer_is_given_at_once_and_the_connection_not_used_again() -> None:
    async with serving(answering(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")) as api:
        async with asking(api.url) as asks:
            heard = await asks.begin(Heard(), "PUT", length=1000).end()
            assert heard.calls == [("ready",), ("answered", 413)]
            heard.handle.write(b"late")
            heard.handle.end()
            assert not asks.pool.idle
            await asks.becomes(lambda: not asks.pool.open)
        assert b"late" not in api.received[0]


async def test_an_api_may_answer_while_it_is_asked() -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(CHUNKED + b"2\r\nok\r\n")
        assert await reader.read(100) == b"more"
        writer.write(b"0\r\n\r\n")

    async with serving(act) as api, asking(api.url) as asks:
        heard = asks.begin(Heard(), "PUT", length=4)
        await asks.becomes(lambda: "answered" in heard.names)
        asks.tick(3600)  # it is the caller's turn
        heard.handle.write(b"more")
        heard.handle.end()
        assert (await heard.end()).names == ["ready", "answered", "ended"]
        assert len(asks.pool.idle) == 1


async def test_an_upload_pauses_while_the_api_does_not_read() -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        total = len((await read_head(reader)).partition(b"\r\n\r\n")[2])
        await read_on.wait()
        while total < size:
            total += len(await reader.read(1 << 20))
        writer.write(OK)

    size, part = 64 << 20, b"x" * (1 << 20)
    read_on = asyncio.Event()
    async with serving(act) as api, asking(api.url) as asks:
        heard = asks.begin(Heard(), "PUT", length=size)
        await asks.becomes(lambda: "ready" in heard.names)
        given = 0
        while "pause" not in heard.names:
            heard.handle.write(part)
            given += len(part)
            await asyncio.sleep(0)
        assert given < size
        read_on.set()
        await asks.becomes(lambda: "resume" in heard.names)
        heard.handle.write(b"x" * (size - given))
        heard.handle.end()
        assert (await heard.end()).body == b"ok"


@pytest.mark.parametrize("changes", [{"length": 4}, {"length": 10}], ids=["longer than its length", "shorter than it"])
async def test_a_body_that_is_not_as_long_as_it_says_is_a_defect_that_ends_the_connection(changes: Any) -> None:
    async with serving(_silent_after()) as api, asking(api.url) as asks:
        heard = asks.begin(Heard(), "PUT", **changes)
        await asks.becomes(lambda: "ready" in heard.names)
        with pytest.raises(AssertionError, match="as long as"):  # noqa: PT012 - one of both
            heard.handle.write(b"seven..")
            heard.handle.end()
        assert heard.reason is Reason.DECISION_FAILED
        await asks.becomes(lambda: not asks.pool.open)


# Backpressure and deadlines.


async def test_a_paused_answer_is_not_read_and_its_deadline_rests() -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(b"x" * size)

    size = 16 << 20

    def pause(name: str, heard: Heard) -> None:
        if name == "answered":
            heard.handle.pause()

    async with serving(act) as api, asking(api.url) as asks:
        heard = asks.begin(Heard(during=pause))
        await asks.becomes(lambda: bool(heard.calls))
        for _ in range(20):
            await asyncio.sleep(0.001)
        got = len(heard.body)
        asks.tick(3600)
        assert got < size
        assert heard.names == ["answered"]
        heard.handle.resume()
        assert len((await heard.end()).body) == size
        assert len(asks.pool.idle) == 1


def _silent_after(*parts: bytes) -> Act:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        for part in parts:
            writer.write(part)

    return act


SILENT: dict[str, tuple[Act, float, int]] = {
    # what: the API, a time after which it is given up and not before, how many calls come first
    "before its answer": (_silent_after(), 7, 0),
    "in the middle of a head": (_silent_after(b"HTTP/1.1 200 OK\r\n"), 7, 0),
    "behind an interim answer": (_silent_after(b"HTTP/1.1 100 Continue\r\n\r\n"), 7, 0),
    "in the middle of a body": (_silent_after(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), 3, 1),
    "in a body that ends with the connection": (_silent_after(b"HTTP/1.1 200 OK\r\n\r\nhalf"), 3, 1),
}


@pytest.mark.parametrize("what", SILENT)
async def test_an_api_is_given_up_that_is_silent(what: str) -> None:
    act, seconds, calls = SILENT[what]
    options = {"upstream_first_byte_seconds": 7, "upstream_idle_seconds": 3}
    async with serving(act) as api, asking(api.url, **options) as asks:
        heard = asks.begin(Heard())
        await asks.becomes(lambda: bool(api.received and api.received[0]) and len(heard.calls) == calls)
        for _ in range(20):  # what is on its way is there
            await asyncio.sleep(0.001)
        asks.tick(seconds - 1)
        assert heard.reason is None
        asks.tick(seconds + 0.1)
        assert heard.reason is Reason.UPSTREAM_TIMEOUT
        await asks.becomes(lambda: not asks.pool.open)


async def test_nobody_is_given_up_while_the_caller_is_slow_to_send() -> None:
    async with serving(answering(OK)) as api, asking(api.url) as asks:
        heard = asks.begin(Heard(), "PUT", length=2)
        await asks.becomes(lambda: "ready" in heard.names)
        asks.tick(3600)
        assert heard.reason is None
        heard.handle.write(b"ok")
        heard.handle.end()
        assert (await heard.end()).is_whole


# What may be done within a call.


@pytest.mark.parametrize("within", ["ready", "answered", "sent"])
async def test_after_cancel_nothing_is_heard_and_the_connection_is_closed(within: str) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(CHUNKED + b"1\r\no\r\n")
        await asyncio.sleep(0.01)
        writer.write(b"1\r\nk\r\n0\r\n\r\n")

    def cancel(name: str, heard: Heard) -> None:
        if name == within:
            heard.handle.cancel()

    body = (b"x",) if within == "ready" else ()
    async with serving(act) as api, asking(api.url) as asks:
        heard = asks.begin(Heard(*body, during=cancel), "PUT" if body else "GET")
        await asks.becomes(lambda: within in heard.names and (within == "sent" or not asks.pool.open))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert heard.names[-1] == within
        assert within == "sent" or not asks.pool.idle


async def test_cancel_after_the_last_call_harms_nobody_who_has_the_connection_now() -> None:
    async with serving(for_ever) as api, asking(api.url) as asks:
        first = await asks.ask()
        second = asks.begin(Heard())
        first.handle.cancel()
        first.handle.pause()
        first.handle.write(b"x")
        first.handle.end()
        assert (await second.end()).body == b"ok"
        assert len(api.received) == 1


async def test_another_exchange_may_begin_within_the_last_call_and_has_the_same_connection() -> None:
    def go_on(name: str, _: Heard) -> None:
        if name == "answered" and len(later) < 50:
            later.append(Heard(during=go_on))
            asks.begin(later[-1])

    later: list[Heard] = []
    async with serving(for_ever) as api, asking(api.url) as asks:
        await asks.begin(Heard(during=go_on)).end()
        await asks.becomes(lambda: len(later) == 50 and later[-1].is_whole)
        assert {heard.body for heard in later} == {b"ok"}
        assert len(api.received) == 1


# Tunnels.

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def test_a_connection_that_is_upgraded_carries_bytes_as_they_are_both_ways() -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" in await read_head(reader)
        writer.write(UPGRADED + b"first")
        while data := await reader.read(100):
            writer.write(data.upper())
        writer.write(b"bye")
        await writer.drain()
        writer.close()

    async with serving(act) as api, asking(api.url) as asks:
        heard = asks.begin(Heard(), upgrade="websocket")
        await asks.becomes(lambda: "upgraded" in heard.names)
        heard.handle.write(b"ping")
        await asks.becomes(lambda: heard.body == b"firstPING")
        asks.tick(3600)
        heard.handle.end()
        await heard.end()
        assert (heard.body, heard.is_whole) == (b"firstPINGbye", True)
        await asks.becomes(lambda: not asks.pool.open)


async def test_an_api_that_does_not_upgrade_has_answered() -> None:
    async with serving(answering(OK)) as api, asking(api.url) as asks:
        heard = await asks.begin(Heard(), upgrade="websocket").end()
        assert (heard.body, len(asks.pool.idle)) == (b"ok", 1)


async def test_an_upgrade_to_something_else_is_no_answer() -> None:
    async with serving(answering(UPGRADED)) as api, asking(api.url) as asks:
        heard = await asks.begin(Heard(), upgrade="h2c").end()
        assert heard.reason is Reason.UPSTREAM_ANSWER_UNSUPPORTED
        assert api.received
