# SPDX-License-Identifier: Apache-2.0
"""Another party's answer is had whole, bounded and from where it was asked, or it is an error of ours."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from proxy.errors import FetchError
from proxy.fetch import Fetched, fetch
from tests.support.world import serve_raw

LIMIT = 1000


@contextlib.asynccontextmanager
async def a_session(seconds: float = 5) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds)) as session:
        yield session


async def ask(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], seconds: float = 5) -> Fetched:
    async with serve_raw(answer) as url, a_session(seconds) as session:
        return await fetch(session, f"{url}/x", limit=LIMIT)


def answering(
    body: bytes, headers: dict[str, str] | None = None, status: int = 200
) -> Callable[[web.BaseRequest], Awaitable[web.Response]]:
    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    return answer


async def test_an_answer_is_had_whole() -> None:
    found = await ask(answering(b"x" * LIMIT, {"Content-Type": "application/json; charset=utf-8"}, 203))
    assert found == Fetched(203, "application/json", b"x" * LIMIT)


async def test_a_form_is_sent_by_post_with_its_headers() -> None:
    got: list[tuple[str, str, str | None, str]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        body = (await request.read()).decode()
        got.append((request.method, body, request.headers.get("Authorization"), request.content_type))
        return web.Response()

    async with serve_raw(answer) as url, a_session() as session:
        await fetch(session, url, limit=LIMIT, form={"token": "a+b&c"}, headers={"Authorization": "Basic x"})
    assert got == [("POST", "token=a%2Bb%26c", "Basic x", "application/x-www-form-urlencoded")]


async def test_bytes_are_sent_by_post_as_they_are() -> None:
    got: list[tuple[str, bytes, str, str | None]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        got.append((request.method, await request.read(), request.content_type, request.charset))
        return web.Response()

    headers = {"Content-Type": "text/plain; charset=utf-8"}
    async with serve_raw(answer) as url, a_session() as session:
        await fetch(session, url, limit=LIMIT, body="a+b\u2014\n".encode(), headers=headers)
    assert got == [("POST", "a+b\u2014\n".encode(), "text/plain", "utf-8")]


async def test_a_redirect_is_an_answer_and_no_way_on() -> None:
    asked = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    assert (await ask(answer)).status == 307
    assert asked == ["/x"]


TOO_MUCH = {
    "a byte too many": answering(b"x" * (LIMIT + 1)),
    "a bomb": answering(gzip.compress(b" " * 2**20), {"Content-Encoding": "gzip"}),
    "what is not gzip": answering(b"it is plain text", {"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("answer", TOO_MUCH.values(), ids=TOO_MUCH)
async def test_it_is_an_error_to_answer(answer: Callable[[web.BaseRequest], Awaitable[web.Response]]) -> None:
    with pytest.raises(FetchError):
        await ask(answer)


async def test_nobody_is_waited_for_for_ever() -> None:
    go_on = asyncio.Event()

    async def answer(_request: web.BaseRequest) -> web.Response:
        await go_on.wait()
        return web.Response()

    async with serve_raw(answer) as url, a_session(0.05) as session:
        with pytest.raises(FetchError, match="Timeout"):
            await fetch(session, url, limit=LIMIT)
        go_on.set()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://127.0.0.1:99999/", "http://[::1", "ftp://a/", ""])
async def test_a_place_that_cannot_be_asked_is_an_error(url: str) -> None:
    async with a_session() as session:
        with pytest.raises(FetchError):
            await fetch(session, url, limit=LIMIT)


async def test_an_error_says_nothing_of_what_was_sent() -> None:
    async with a_session() as session:
        with pytest.raises(FetchError) as caught:
            await fetch(session, "http://127.0.0.1:1/", limit=LIMIT, form={"token": "hush"}, headers={"A": "hush"})
    assert "hush" not in str(caught.value)
