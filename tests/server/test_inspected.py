# SPDX-License-Identifier: Apache-2.0
"""Answers that are looked into, byte by byte: what leaves, when, how it ends, and what it costs others."""

import asyncio
import contextlib
import gzip
import json
import re
import threading
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from proxy.ledger.writer import LedgerWriter
from tests.support.people import HOST, LOOKUPS, mixed, people, person, write_people
from tests.support.talk import HandApi, Link, Talk, hand_api, is_at_rest, talking
from tests.support.world import OFFICE, STAFF, World, run_world, serve_app, token, wait_for

LIST: Final = "/v1/people"
MOVES: Final = (
    "  - {id: moves, effect: allow, when: {resource.route: move, subject.country: TW, caller.affiliate: ly}}\n"
)
HOLD: Final = 4096
PLACES: Final = ("people", "people/JP", "people/TH", "users")


def ask(target: str = LIST, *fields: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    lines = [
        f"{method} {target} HTTP/{version}",
        f"Host: {HOST}",
        f"X-Forwarded-For: {OFFICE}",
        f"Authorization: Bearer {token({**STAFF, 'sub': 'carol'})}",
    ]
    return "\r\n".join([*lines, *fields, "", ""]).encode() + body


def find(body: bytes, *fields: str, method: str = "POST", target: str = "/v1/find") -> bytes:
    kind = "Content-Type: application/json"
    return ask(target, kind, f"Content-Length: {len(body)}", *fields, method=method, body=body)


def answer(body: bytes, *fields: str, status: int = 200, kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def begin(kind: str = "application/json", *fields: str) -> bytes:
    """Write the head of an answer in chunks."""
    return "\r\n".join(
        ["HTTP/1.1 200 X", f"Content-Type: {kind}", "Transfer-Encoding: chunked", *fields, "", ""]
    ).encode()


def line(word: str) -> bytes:
    return json.dumps(person(word[2:], word[:2]), separators=(",", ":")).encode() + b"\n"


@pytest.fixture
async def api() -> AsyncIterator[HandApi]:
    async with hand_api() as api:
        yield api


@contextlib.asynccontextmanager
async def gateway(folder: Path, api: HandApi, *, lookups: str = LOOKUPS, **flags: Any) -> AsyncIterator[World]:
    policies = write_people(folder / "policies", MOVES, lookups=lookups)
    upstream = dict.fromkeys(PLACES, api.url)
    flags = {"policies": policies, "upstream": upstream, "inspect_hold_bytes": HOLD} | flags
    async with run_world(folder, api.url, **flags) as world:
        yield world


@pytest.fixture
async def world(tmp_path: Path, api: HandApi) -> AsyncIterator[World]:
    async with gateway(tmp_path, api) as world:
        yield world


async def asked(api: HandApi, talk: Talk, request: bytes, number: int = 1) -> Link:
    """Ask, and wait until the API was."""
    talk.send(request)
    link = await api.link(number)
    await link.head()
    return link


def ids(body: bytes) -> list[str]:
    return [each["id"] for each in json.loads(body)["people"]]


async def the_end(world: World) -> dict[str, Any]:
    (end,) = await world.wait_for_ends(1)
    return end


# Small answers.


async def test_a_search_shows_whom_it_may(world: World, api: HandApi) -> None:
    async with talking(world) as talk:
        link = await asked(api, talk, ask())
        link.send(answer(mixed("TW1 JP2 KR3 TH4"), 'ETag: "x"', "Digest: sha-256=x", "Accept-Ranges: bytes"))
        heard = await talk.answer()
        assert (heard.status, ids(heard.body)) == (200, ["1", "3", "4"])
        assert heard.values("content-length") == [str(len(heard.body))]
        assert not {"etag", "digest", "accept-ranges"} & {name for name, _ in heard.fields}
        link = await asked(api, talk, ask())  # over the same connections
        link.send(answer(mixed("JP1")))
        assert ids((await talk.answer()).body) == []
    (first, second) = world.decisions()
    assert (first["content"]["seen"], first["content"]["dropped"]) == (4, 1)
    assert (second["content"]["seen"], second["content"]["dropped"]) == (1, 1)
    assert await is_at_rest(world)


async def test_an_answer_is_asked_for_whole(world: World, api: HandApi) -> None:
    async with talking(world) as talk:
        talk.send(
            ask(LIST, "Range: bytes=0-10", 'If-None-Match: "x"', "If-Modified-Since: x", "Accept-Encoding: br, x")
        )
        head = (await (await api.link()).head()).lower()
        for name in (b"range", b"if-none-match", b"if-modified-since"):
            assert b"\r\n%b:" % name not in head
        assert b"x" not in re.findall(rb"accept-encoding: ([^\r]*)", head)


async def test_what_goes_wrong_with_a_small_answer_is_a_clean_refusal(world: World, api: HandApi) -> None:
    async with talking(world) as talk:
        link = await asked(api, talk, ask())
        link.send(answer(mixed("TW1")[:-1]))
        heard = await talk.answer()
        assert (heard.status, json.loads(heard.body)["reason"]) == (502, "answer-incomplete")
        assert b"name-1" not in heard.raw
        link = await asked(api, talk, ask(), 1 if not link.reader.at_eof() else 2)
        link.send(answer(mixed("TW1")))
        assert (await talk.answer()).status == 200
    assert [record["released"] for record in world.decisions()] == [False, True]


@pytest.mark.parametrize("status", [404, 500])
async def test_the_body_of_an_error_never_leaves(world: World, api: HandApi, status: int) -> None:
    async with talking(world) as talk:
        link = await asked(api, talk, ask())
        link.send(answer(b"no Hanako Yamada here", status=status, kind="text/plain"))
        heard = await talk.answer()
        assert (heard.status, b"Hanako" in heard.raw) == (status, False)
        assert heard.values("content-type") == ["application/problem+json"]


async def test_no_content_stays_none(world: World, api: HandApi) -> None:
    async with talking(world) as talk:
        link = await asked(api, talk, ask())
        link.send(b"HTTP/1.1 204 X\r\n\r\n")
        heard = await talk.answer()
        assert (heard.status, heard.body, heard.values("content-length")) == (204, b"", [])
        link = await asked(api, talk, ask())
        link.send(answer(mixed("TW1")))
        assert (await talk.answer()).status == 200


async def test_of_a_head_nothing_follows(world: World, api: HandApi) -> None:
    async with talking(world) as talk:
        talk.send(ask("/v1/headed", method="HEAD"))
        assert await talk.status("HEAD") == 403
    assert api.links == []


# Large answers.


def large(count: int = 200, *, spoilt: bool = False) -> bytes:
    records = [person(str(number), "JP" if number % 3 else "TW") for number in range(count)]
    body = people(*records, page=1)
    return body.replace(b'"TW"},{"id":"199"', b'"tw"},{"id":"199"') if spoilt else body


async def test_a_large_answer_leaves_as_it_is_judged(world: World, api: HandApi) -> None:
    body = large()
    async with talking(world) as talk:
        link = await asked(api, talk, ask())
        link.send(begin() + chunk(body[:9000]))
        head = await asyncio.wait_for(talk.reader.readuntil(b"\r\n\r\n"), 10)
        assert b"transfer-encoding: chunked" in head.lower()
        first = await asyncio.wait_for(talk.reader.read(65536), 10)
        assert first
        (told,) = await wait_for(lambda: world.records("released"))
        assert told["content"]["seen"] > 10
        link.send(chunk(body[9000:]) + b"0\r\n\r\n")
        rest = await asyncio.wait_for(talk.reader.readuntil(b"0\r\n\r\n"), 10)
        told_body = b"".join(re.findall(rb"(?s)[0-9a-f]+\r\n(.*?)\r\n", first + rest))
        assert len(ids(told_body)) == 67
        link = await asked(api, talk, ask())
        link.send(answer(mixed("TW1")))
        assert (await talk.answer()).status == 200
    end = world.ends()[0]
    assert (end["complete"], end["bytes"], end["content"]["seen"]) == (True, len(told_body), 200)
    assert await is_at_rest(world)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("how", ["a record cannot be judged", "the API dies", "it breaks off"])
async def test_a_large_answer_that_goes_wrong_cannot_be_taken_for_whole(
    world: World, api: HandApi, version: str, how: str
) -> None:
    body = large(spoilt=how == "a record cannot be judged")
    body = body[:-20] if how == "it breaks off" else body
    async with talking(world) as talk:
        link = await asked(api, talk, ask(version=version))
        link.send(begin() + chunk(body[:9000]))
        assert b"chunked" in await talk.reader.readuntil(b"\r\n\r\n") or version == "1.0"
        if how == "the API dies":
            await link.writer.drain()
            link.writer.transport.abort()
        else:
            link.send(chunk(body[9000:]) + b"0\r\n\r\n")
        was_reset = False
        rest = b""
        try:
            while more := await asyncio.wait_for(talk.reader.read(65536), 10):
                rest += more
        except ConnectionError:
            was_reset = True
        assert was_reset
        assert b"0\r\n\r\n" not in rest
        assert b"]" not in rest
    end = await the_end(world)
    reasons = {"a record cannot be judged": "answer-country-malformed", "the API dies": "upstream-broken"}
    assert (end["complete"], end["reason"]) == (False, reasons.get(how, "answer-incomplete"))
    assert await is_at_rest(world)


async def test_an_older_caller_reads_until_the_end(world: World, api: HandApi) -> None:
    async with talking(world) as talk:
        link = await asked(api, talk, ask(version="1.0"))
        link.send(answer(large()))
        head, _, body = (await talk.rest()).partition(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        assert len(ids(body)) == 67
    assert (await the_end(world))["complete"]


async def test_a_slow_caller_holds_the_api_back(world: World, api: HandApi) -> None:
    given = 0
    async with talking(world, takes=4096) as talk:
        link = await asked(api, talk, ask("/v1/lines"))
        link.send(begin("application/x-ndjson"))
        block = line("TW1") * 1000

        async def give() -> None:
            nonlocal given
            for _ in range(1000):
                link.send(chunk(block))
                await link.writer.drain()
                given += len(block)
            link.send(b"0\r\n\r\n")

        giving = asyncio.ensure_future(give())
        before = -1
        while before != given:
            before = given
            await asyncio.sleep(0.3)
        assert given < 40_000_000
        giving.cancel()
        talk.reset()
    assert (await the_end(world))["reason"] == "client-gone"
    assert await is_at_rest(world)


# Streams.


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/event-stream"])
async def test_parts_of_a_stream_leave_as_they_come(world: World, api: HandApi, kind: str) -> None:
    is_events = kind == "text/event-stream"
    async with talking(world) as talk:
        link = await asked(api, talk, ask("/v1/events" if is_events else "/v1/lines"))
        link.send(begin(kind))
        for word, leaves in (("TW1", True), ("JP2", False), ("KR3", True), ("TW4", True)):
            part = line(word)
            link.send(chunk(b"data: " + part + b"\n" if is_events else part))
            if leaves:
                heard = await asyncio.wait_for(talk.reader.readuntil(f'"id":"{word[2:]}"'.encode()), 10)
                assert b"name-2" not in heard
        link.send(b"0\r\n\r\n")
        assert (await asyncio.wait_for(talk.reader.readuntil(b"0\r\n\r\n"), 10)).endswith(b"0\r\n\r\n")
    end = await the_end(world)
    assert (end["complete"], end["content"]["seen"], end["content"]["dropped"]) == (True, 4, 1)


# Content codings.


async def test_what_is_coded_is_looked_into_and_coded_again(world: World, api: HandApi) -> None:
    coded = gzip.compress(mixed("TW1 JP2"))
    async with talking(world) as talk:
        link = await asked(api, talk, ask(LIST, "Accept-Encoding: gzip"))
        link.send(answer(coded, "Content-Encoding: gzip"))
        heard = await talk.answer()
        assert heard.values("content-encoding") == ["gzip"]
        assert ids(gzip.decompress(heard.body)) == ["1"]
        link = await asked(api, talk, ask())
        link.send(answer(coded, "Content-Encoding: gzip"))
        heard = await talk.answer()
        assert (heard.values("content-encoding"), ids(heard.body)) == ([], ["1"])
        link = await asked(api, talk, ask(LIST, "Accept-Encoding: gzip"))
        link.send(answer(coded[:-4], "Content-Encoding: gzip"))
        assert json.loads((await talk.answer()).body)["reason"] == "answer-coding-broken"


async def test_what_is_held_is_bounded_by_what_it_decodes_to(world: World, api: HandApi) -> None:
    coder = zlib.compressobj(wbits=31)
    body = people(*(person("1", "TW") for _ in range(5000)))
    coded = coder.compress(body) + coder.flush(zlib.Z_SYNC_FLUSH)
    assert len(coded) < HOLD
    async with talking(world) as talk:
        link = await asked(api, talk, ask())
        link.send(begin("application/json", "Content-Encoding: gzip") + chunk(coded))
        assert b"200" in await asyncio.wait_for(talk.reader.readuntil(b"\r\n\r\n"), 10)


# A directory.


class Directory:
    """Tells countries over HTTP, when it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        id_ = request.match_info["id"]
        self.asked.append(id_)
        await self.may_answer.wait()
        return web.json_response({"country": "JP" if id_.endswith("7") else "TW"})


@contextlib.asynccontextmanager
async def with_directory(folder: Path, api: HandApi, directory: Directory) -> AsyncIterator[tuple[World, Any]]:
    """Run a gateway that asks a directory; what ends the directory is given, too."""
    app = web.Application()
    app.router.add_get("/users/{id}", directory.answer)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve_app(app))
        lookups = (
            f'  - {{id: staff, kind: http, url: "{url}/users/{{id}}", select: "$.country", fresh: 1m, timeout: 2s}}\n'
        )
        async with gateway(folder, api, lookups=lookups) as world:
            yield world, stack.aclose


def roster(*names: str) -> bytes:
    return people(*({"id": name, "name": f"name-{name}"} for name in names))


async def test_a_directory_tells_whose_each_record_is(tmp_path: Path, api: HandApi) -> None:
    directory = Directory()
    async with with_directory(tmp_path, api, directory) as (world, _), talking(world) as talk:
        link = await asked(api, talk, ask("/v1/roster"))
        link.send(answer(roster("1", "7", "2", "17", "1")))
        assert ids((await talk.answer()).body) == ["1", "2", "1"]
        assert sorted(directory.asked) == ["1", "17", "2", "7"]
        link = await asked(api, talk, ask("/v1/roster"))
        link.send(answer(roster("2", "7")))
        assert ids((await talk.answer()).body) == ["2"]
        assert len(directory.asked) == 4


async def test_a_directory_that_dies_midway_leaks_nobody(tmp_path: Path, api: HandApi) -> None:
    directory = Directory()
    async with with_directory(tmp_path, api, directory) as (world, kill), talking(world) as talk:
        link = await asked(api, talk, ask("/v1/roster"))
        link.send(answer(roster("1", "7")))
        assert ids((await talk.answer()).body) == ["1"]
        await kill()
        link = await asked(api, talk, ask("/v1/roster"))
        link.send(answer(roster("3", "8", "1")))
        heard = await talk.answer()
        assert (heard.status, json.loads(heard.body)["reason"]) == (503, "lookup-unavailable")
        assert b"name-" not in heard.raw
        link = await asked(api, talk, ask("/v1/roster"))
        link.send(answer(roster("1", "7")))  # they are known still
        assert ids((await talk.answer()).body) == ["1"]
        talk.send(ask("/v1/members/9/card"))
        heard = await talk.answer()
        assert (heard.status, json.loads(heard.body)["reason"]) == (503, "lookup-unavailable")
    assert len(api.links) == 1
    told = json.dumps(world.records("decision"))
    assert "name-" not in told
    assert [record["released"] for record in world.decisions()] == [True, False, True, False]


async def test_while_a_directory_is_asked_the_api_is_held_back_and_its_end_is_not_lost(
    tmp_path: Path, api: HandApi
) -> None:
    directory = Directory()
    directory.may_answer.clear()
    async with with_directory(tmp_path, api, directory) as (world, _), talking(world) as talk:
        link = await asked(api, talk, ask("/v1/roster"))
        body = roster("1", "7", "2")
        link.send(begin() + chunk(body[:60]))
        await wait_for(lambda: directory.asked)
        link.send(chunk(body[60:]) + b"0\r\n\r\n")
        await asyncio.sleep(0.05)
        directory.may_answer.set()
        assert ids((await talk.answer()).body) == ["1", "2"]
    (record,) = world.decisions()
    assert (record["content"]["seen"], record["content"]["dropped"]) == (3, 1)


async def test_a_caller_that_leaves_while_a_directory_is_asked_ends_all(tmp_path: Path, api: HandApi) -> None:
    directory = Directory()
    directory.may_answer.clear()
    async with with_directory(tmp_path, api, directory) as (world, _):
        async with talking(world) as talk:
            link = await asked(api, talk, ask("/v1/roster"))
            link.send(begin() + chunk(roster("1", "7")[:60]))
            await wait_for(lambda: directory.asked)
            talk.reset()
            await link.ended()
        directory.may_answer.set()
        (record,) = await wait_for(world.decisions)
        assert (record["released"], record["reason"]) == (False, "client-gone")
        assert await is_at_rest(world)


async def test_an_api_that_dies_while_a_directory_is_asked_is_a_refusal(tmp_path: Path, api: HandApi) -> None:
    directory = Directory()
    directory.may_answer.clear()
    async with with_directory(tmp_path, api, directory) as (world, _), talking(world) as talk:
        link = await asked(api, talk, ask("/v1/roster"))
        link.send(begin() + chunk(roster("1", "7")[:60]))
        await wait_for(lambda: directory.asked)
        link.writer.transport.abort()
        directory.may_answer.set()
        heard = await talk.answer()
        assert (heard.status, b"name-" in heard.raw) == (502, False)
    (record,) = world.decisions()
    assert (record["released"], record["reason"]) == (False, "upstream-broken")


# The body of the request.

BODY: Final = b' {"country" : "TW",\t"note": "\\u00e9\xc3\xa9"}\n'


async def test_the_body_is_read_before_the_api_is_asked_and_goes_on_as_it_is(world: World, api: HandApi) -> None:
    async with talking(world) as talk:
        request = find(BODY)
        talk.send(request[: -len(BODY) + 9])
        await asyncio.sleep(0.05)
        assert api.links == []
        talk.send(request[-len(BODY) + 9 :] + ask())  # another request right behind it
        link = await api.link()
        assert f"content-length: {len(BODY)}".encode() in (await link.head()).lower()
        assert await asyncio.wait_for(link.reader.readexactly(len(BODY)), 10) == BODY
        link.send(answer(mixed("TW1")))
        assert await talk.status() == 200
        await link.head()
        link.send(answer(mixed("TW1 JP2")))
        assert ids((await talk.answer()).body) == ["1"]


async def test_a_body_in_chunks_goes_on_as_it_is(world: World, api: HandApi) -> None:
    async with talking(world) as talk:
        head = ask("/v1/find", "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST")
        talk.send(head + chunk(BODY[:7]))
        await asyncio.sleep(0.02)
        talk.send(chunk(BODY[7:]) + b"0\r\n\r\n")
        link = await api.link()
        assert b"transfer-encoding: chunked" in (await link.head()).lower()
        raw = await asyncio.wait_for(link.reader.readuntil(b"0\r\n\r\n"), 10)
        assert b"".join(re.findall(rb"(?s)[0-9a-f]+\r\n(.*?)\r\n", raw[:-5])) == BODY or chunk(BODY) in raw
        link.send(answer(mixed("TW1")))
        assert await talk.status() == 200


async def test_a_caller_that_waits_to_be_asked_for_its_body_is_asked_once(world: World, api: HandApi) -> None:
    async with talking(world) as talk:
        request = find(BODY, "Expect: 100-continue")
        talk.send(request[: -len(BODY)])
        assert await talk.status() == 100
        talk.send(BODY)
        link = await api.link()
        await link.head()
        assert await asyncio.wait_for(link.reader.readexactly(len(BODY)), 10) == BODY
        link.send(answer(mixed("TW1")))
        assert await talk.status() == 200


TOO_MUCH: Final = b'{"country": "TW", "note": "' + b"x" * 70_000 + b'"}'
REFUSED: Final[dict[str, tuple[bytes, int, str]]] = {
    "too large by its length": (find(TOO_MUCH), 413, "request-too-large"),
    "too large, in chunks": (
        ask("/v1/find", "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST")
        + chunk(TOO_MUCH), 413, "request-too-large",
    ),
    "too large, in small chunks": (
        ask("/v1/find", "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST")
        + chunk(b"x" * 700) * 100, 413, "request-too-large",
    ),
    "of broken chunks": (
        ask("/v1/find", "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n",
        400, "request-malformed",
    ),
    "of nothing": (find(b""), 400, "body-missing"),
    "of two countries": (find(b'{"country":"TW","country":"JP"}'), 400, "body-malformed"),
    "of one who is denied": (find(b'{"country":"JP"}'), 403, "no-rule-allows"),
    "of an update of one who is denied": (
        find(b'{"country":"JP"}', method="PUT", target="/v1/move"), 403, "no-rule-allows"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "bit by bit"])
async def test_a_body_that_may_not_go_on_is_refused_before_the_api_is_asked(
    world: World, api: HandApi, name: str, is_slow: bool  # noqa: FBT001
) -> None:  # fmt: skip
    request, status, reason = REFUSED[name]
    request = re.sub(rb"Bearer [^\r]+", b"Bearer " + token({**STAFF, "sub": "carol"}).encode(), request)
    async with talking(world) as talk:
        if is_slow:
            end = request.index(b"\r\n\r\n") + 4
            for part in (request[:end], request[end : end + 5], request[end + 5 :]):
                talk.send(part)
                await asyncio.sleep(0.02)
        else:
            talk.send(request)
        heard = await talk.answer()
        assert (heard.status, json.loads(heard.body)["reason"]) == (status, reason)
    assert api.links == []
    (record,) = world.decisions()
    assert (record["reason"], record["released"]) == (reason, False)
    assert await is_at_rest(world)


async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path, api: HandApi) -> None:
    async with gateway(tmp_path, api, client_body_seconds=0.3) as world, talking(world) as talk:
        talk.send(find(BODY)[:-5])
        heard = await talk.answer()
        assert (heard.status, json.loads(heard.body)["reason"]) == (408, "request-timeout")
        assert api.links == []
        assert await is_at_rest(world)


async def test_a_caller_that_leaves_before_its_body_is_there_leaves_nothing(world: World, api: HandApi) -> None:
    async with talking(world) as talk:
        talk.send(find(BODY)[:-5])
        await asyncio.sleep(0.05)
        talk.reset()
    (record,) = await wait_for(world.decisions)
    assert record["reason"] == "client-gone"
    assert api.links == []
    assert await is_at_rest(world)


# The disk.


async def test_nothing_leaves_before_the_disk_has_its_record(
    tmp_path: Path, api: HandApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, may_go = LedgerWriter.sync, threading.Event()
    monkeypatch.setattr(LedgerWriter, "sync", lambda writer: (may_go.wait(10), sync(writer))[1])
    may_go.set()
    async with gateway(tmp_path, api, ledger_durability="synced") as world, talking(world) as talk:
        body = large()
        link = await asked(api, talk, ask())
        may_go.clear()
        link.send(begin())
        for at in range(0, len(body), 1000):
            link.send(chunk(body[at : at + 1000]))
            await asyncio.sleep(0)
        link.send(b"0\r\n\r\n")
        await wait_for(world.decisions)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(talk.reader.read(1), 0.2)
        may_go.set()
        heard = await talk.answer()
        assert len(ids(heard.body)) == 67
        link = await asked(api, talk, ask())
        may_go.clear()
        link.send(answer(mixed("TW1 JP2")))
        await wait_for(lambda: len(world.decisions()) == 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(talk.reader.read(1), 0.2)
        may_go.set()
        assert ids((await talk.answer()).body) == ["1"]
    assert [end["complete"] for end in world.ends()] == [True, True]
    assert world.ends()[0]["bytes"] == len(heard.body)
