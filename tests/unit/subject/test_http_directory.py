# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.errors import FetchError
from proxy.model.json_path import parse_json_path
from proxy.subject.http_directory import MAX_ANSWER_BYTES, HttpDirectory
from proxy.subject.places import MAX_URL
from proxy.subject.register import HttpQuestion
from proxy.subject.told import FAILED, NOT_FOUND
from tests.support.lookups import JP, TW, an_asked
from tests.support.world import serve_raw


class Place:
    """A real directory on loopback; what it answers is the test's."""

    def __init__(self) -> None:
        self.answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = saying({"country": "JP"})
        self.asked: list[str] = []
        self.heads: list[dict[str, str]] = []
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.raw_path if isinstance(request, web.Request) else request._message.path)
        self.heads.append({name.lower(): value for name, value in request.headers.items()})
        return await self.answer(request)


def saying(document: Any, status: int = 200) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(document, status=status)

    return answer


def giving(**response: Any) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(**response)

    return answer


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    found = Place()
    async with serve_raw(found.handle) as found.url:
        yield found


def one(url: str, **changes: Any) -> HttpDirectory:
    how = HttpQuestion(f"{url}/users/{{id}}", parse_json_path("$.country"), **changes)
    return HttpDirectory(an_asked(how, batch=1), how, None)


def several(url: str, **changes: Any) -> HttpDirectory:
    paths = {"records": parse_json_path("$.users[*]"), "record_id": parse_json_path("$.id")}
    how = HttpQuestion(f"{url}/users?ids={{ids}}", parse_json_path("$.country"), **(paths | changes))
    return HttpDirectory(an_asked(how), how, None)


async def test_one_id_is_asked_for(place: Place) -> None:
    directory = one(place.url)
    assert await directory.ask(["a/b?c"]) == {"a/b?c": JP}
    assert place.asked == ["/users/a%2Fb%3Fc"]
    assert place.heads[0]["accept"] == "application/json"
    assert "authorization" not in place.heads[0]
    await directory.close()
    assert await directory.ask(["1"]) == {"1": JP}, "it opens again"
    await directory.close()


async def test_an_id_that_would_be_another_path_is_not_asked_for(place: Place) -> None:
    directory = one(place.url)
    assert await directory.ask([".."]) == {}
    assert place.asked == []


async def test_several_ids_are_asked_for_at_once(place: Place) -> None:
    place.answer = saying({"users": [{"id": "1", "country": "JP"}, {"id": 2, "country": "TW"}, {"id": "9"}]})
    directory = several(place.url)
    assert await directory.ask(["1", "2", "3"]) == {"1": JP, "2": TW, "9": NOT_FOUND}
    assert place.asked == ["/users?ids=1,2,3"]
    await directory.close()


async def test_records_may_stand_under_the_ids(place: Place) -> None:
    place.answer = saying({"1": {"country": "JP"}, "2": {"country": "nowhere"}})
    directory = several(place.url, records=parse_json_path("$[*]"), record_id=None)
    assert await directory.ask(["1", "2"]) == {"1": JP, "2": FAILED}
    await directory.close()


async def test_a_directory_says_that_there_is_no_such_id(place: Place) -> None:
    place.answer = saying({"error": "no such user"}, 404)
    directory = one(place.url)
    assert await directory.ask(["1"]) == {}
    await directory.close()


NONSENSE = {
    "an error status": giving(status=500),
    "that the question is wrong": giving(status=400),
    "that the token is wrong": giving(status=401),
    "nothing": giving(status=204),
    "a redirect": giving(status=302, headers={"Location": "/elsewhere"}),
    "a page": giving(text="<html>JP</html>", content_type="text/html"),
    "JSON that it does not call so": giving(text='{"country":"JP"}', content_type="text/plain"),
    "what is no JSON": giving(text="JP", content_type="application/json"),
    "a name twice": giving(text='{"country":"JP","country":"TW"}', content_type="application/json"),
}
"""What a directory may answer that says nothing."""


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
async def test_an_answer_makes_no_sense(place: Place, answer: Callable[..., Any]) -> None:
    place.answer = answer
    for directory in (one(place.url), several(place.url)):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever the sentence
            await directory.ask(["1"])
        await directory.close()
    assert len(place.asked) == 2, "nothing leads elsewhere"


async def test_404_on_several_ids_makes_no_sense(place: Place) -> None:
    place.answer = giving(status=404)
    directory = several(place.url)
    with pytest.raises(ValueError, match="404"):
        await directory.ask(["1"])
    await directory.close()


async def _breaks_off(request: web.BaseRequest) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    await asyncio.sleep(0.6)
    return web.Response()


async def _never_answers(_: web.BaseRequest) -> web.StreamResponse:
    await asyncio.sleep(0.6)
    return web.Response()


async def _compressed(_: web.BaseRequest) -> web.StreamResponse:
    response = web.Response(body=b" " * (MAX_ANSWER_BYTES + 1), content_type="application/json")
    response.enable_compression(web.ContentCoding.gzip)
    return response


DOWN = {
    "too much asked": giving(status=429),
    "a bad gateway": giving(status=502),
    "nobody there": giving(status=503),
    "nobody in time": giving(status=504),
    "an answer that breaks off": _breaks_off,
    "no answer": _never_answers,
    "a large one": giving(body=b" " * (MAX_ANSWER_BYTES + 1), content_type="application/json"),
    "a large one, compressed": _compressed,
}


@pytest.mark.parametrize("answer", DOWN.values(), ids=DOWN)
async def test_a_directory_is_down(place: Place, answer: Callable[..., Any]) -> None:
    place.answer = answer
    how = HttpQuestion(f"{place.url}/{{id}}", parse_json_path("$.country"))
    directory = HttpDirectory(an_asked(how, timeout_seconds=0.3), how, None)
    with pytest.raises(FetchError):
        await directory.ask(["1"])
    await directory.close()


async def test_a_directory_is_not_there() -> None:
    async with serve_raw(Place().handle) as url:
        pass
    directory = one(url)
    with pytest.raises(FetchError, match="cannot be reached"):
        await directory.ask(["1"])
    await directory.close()


async def test_the_token_is_read_for_each_question(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    directory = one(place.url, token=f"file:{file}")
    directory.check()
    await directory.ask(["1"])
    file.write_text("second\n")
    await directory.ask(["1"])
    assert [head["authorization"] for head in place.heads] == ["Bearer first", "Bearer second"]
    file.unlink()
    with pytest.raises(FetchError, match="cannot be read"):
        await directory.ask(["1"])
    with pytest.raises(FetchError, match="cannot be read"):
        directory.check()
    await directory.close()


def test_the_file_of_its_ca_is_looked_at(tmp_path: Path) -> None:
    how = HttpQuestion("https://directory.internal/{id}", parse_json_path("$.country"))
    for file in (tmp_path / "none.pem", Path(__file__)):
        with pytest.raises(FetchError, match="SEKISHO_LOOKUP_CA"):
            HttpDirectory(an_asked(how), how, file).check()


def test_ids_are_split_by_what_a_url_has_room_for() -> None:
    directory = several("http://127.0.0.1:9")
    ids = ["佐" * 100 + str(number) for number in range(20)]
    parts = [*directory.split(ids)]
    assert [id_ for part in parts for id_ in part] == ids
    assert {len(part) for part in parts} == {MAX_URL // 902}
    assert [len(part) for part in directory.split([str(number) for number in range(250)])] == [100, 100, 50]
