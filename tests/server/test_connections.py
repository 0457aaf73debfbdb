# SPDX-License-Identifier: Apache-2.0
"""Callers' connections over real sockets: one request behind the other, ends of all kinds, and what is framed anew."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.clock import elapsed_seconds
from proxy.demo.issuer import make_issuer_app
from proxy.errors import LedgerError
from proxy.ledger.entry import encode_body
from proxy.ledger.writer import LedgerWriter
from tests.support.command import run_command, write_policies
from tests.support.crossings import MORE_ROUTES
from tests.support.raw_http import Message
from tests.support.talk import (
    OK,
    PHONE,
    USER,
    HandApi,
    Link,
    Talk,
    ask,
    hand_api,
    is_at_rest,
    measure,
    put,
    talking,
)
from tests.support.world import ENGINEER, ISSUERS, POLICIES, World, run_world, serve_app, wait_for

MANY: Final = 100
CALLERS: Final = 16
PART: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"


@pytest.fixture
async def api() -> AsyncIterator[HandApi]:
    async with hand_api() as api:
        yield api


@pytest.fixture
async def world(tmp_path: Path, api: HandApi) -> AsyncIterator[World]:
    policies = write_policies(tmp_path / "policies", *MORE_ROUTES)
    async with run_world(tmp_path, api.url, policies=policies) as world:
        yield world


@pytest.fixture
async def talk(world: World) -> AsyncIterator[Talk]:
    async with talking(world) as talk:
        yield talk


def user(number: int) -> str:
    return f"/v1/jp/users/{number}"


async def the_end(world: World) -> dict[str, Any]:
    (end,) = await world.wait_for_ends(1)
    return end


async def the_decision(world: World) -> dict[str, Any]:
    (decision,) = await world.wait_for_records(1)
    return decision


@contextlib.asynccontextmanager
async def echoing(api: HandApi) -> AsyncIterator[list[bytes]]:
    """Have the API answer each request with its target; yields the targets in the order of asking."""
    asked: list[bytes] = []

    async def serve(link: Link) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await link.reader.readuntil(b"\r\n\r\n")
                target = head.split()[1]
                asked.append(target)
                if b"Content-Length: 5\r\n" in head:
                    await link.reader.readexactly(5)
                link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    async def take() -> None:
        async with asyncio.TaskGroup() as tasks:
            count = 0
            while True:
                if len(api.links) > count:
                    tasks.create_task(serve(api.links[count]))
                    count += 1
                await asyncio.sleep(0.002)

    serving = asyncio.ensure_future(take())
    try:
        yield asked
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


class TestPipelining:
    async def test_many_requests_in_one_write_are_answered_in_their_order(
        self, world: World, api: HandApi, talk: Talk
    ) -> None:
        async with echoing(api) as asked:
            talk.send(b"".join(ask(user(number)) for number in range(1, MANY + 1)))
            targets = [user(number).encode() for number in range(1, MANY + 1)]
            assert [(await talk.answer()).body for _ in range(MANY)] == targets
            assert asked == targets
        assert len({record["id"] for record in await world.wait_for_records(MANY)}) == MANY

    async def test_each_is_judged_by_itself(self, world: World, api: HandApi, talk: Talk) -> None:
        async with echoing(api) as asked:
            talk.send(
                ask(user(1))
                + ask(user(2), claims=ENGINEER)
                + put("Content-Length: 5", body=b"GET /", target=f"{user(3)}/phone")
                + ask(user(4), claims=None)
                + ask(user(5), method="HEAD")
                + ask(user(6))
            )
            answers = [await talk.answer(method) for method in ("GET", "GET", "PUT", "GET", "HEAD", "GET")]
            assert [answer.status for answer in answers] == [200, 403, 200, 401, 200, 200]
            assert answers[-1].body == user(6).encode()
            assert asked == [user(1).encode(), f"{user(3)}/phone".encode(), user(5).encode(), user(6).encode()]
        assert [record["reason"] for record in world.decisions()].count("rule-denies") == 1

    async def test_the_next_one_waits_for_the_answer_before(self, world: World, api: HandApi, talk: Talk) -> None:
        talk.send(ask(user(1)) + ask(user(2)))
        link = await api.link()
        await link.head()
        link.send(PART)
        assert b"ab" in await talk.reader.readuntil(b"ab")
        assert await measure(world, "sekisho_passages_in_progress") == 1
        assert len(api.links) == 1
        link.send(b"cde")
        assert await talk.reader.readexactly(3) == b"cde"
        await link.head()
        link.send(OK)
        assert await talk.status() == 200

    @pytest.mark.parametrize("behind", [b"\x00\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"GET /\r\n\r\n"])
    async def test_behind_what_is_no_request_nothing_is_read(self, api: HandApi, talk: Talk, behind: bytes) -> None:
        async with echoing(api) as asked:
            talk.send(ask(user(1)) + behind + ask(user(2)))
            assert await talk.status() == 200
            assert await talk.status() in {400, 505}
            assert await talk.rest() == b""
            assert asked == [user(1).encode()]

    async def test_a_body_larger_than_what_is_held_and_a_request_behind_it(
        self, world: World, api: HandApi, talk: Talk
    ) -> None:
        body = b"x" * 200_000
        talk.send(put(f"Content-Length: {len(body)}", body=body))
        talk.send(ask(user(7)))
        link = await api.link()
        await link.head()
        assert await link.reader.readexactly(len(body)) == body
        link.send(OK)
        assert await talk.status() == 200
        assert b"users/7 " in await (await api.link(len(api.links))).head()
        api.links[-1].send(OK)
        assert await talk.status() == 200
        assert len(world.decisions()) == 2


KEPT = {
    "HTTP/1.1": ("1.1", (), True, []),
    "HTTP/1.1 that closes": ("1.1", ("Connection: close",), False, ["close"]),
    "HTTP/1.0": ("1.0", (), False, ["close"]),
    "HTTP/1.0 that keeps": ("1.0", ("Connection: keep-alive",), True, ["keep-alive"]),
}


class TestFraming:
    @pytest.mark.parametrize(("version", "fields", "is_kept", "told"), KEPT.values(), ids=KEPT.keys())
    async def test_connections_are_kept_as_asked(
        self, api: HandApi, talk: Talk, version: str, fields: tuple[str, ...], *, is_kept: bool, told: list[str]
    ) -> None:
        async with echoing(api):
            for _ in range(2 if is_kept else 1):
                talk.send(ask(USER, *fields, version=version))
                answer = await talk.answer()
                assert (answer.status, answer.values("connection")) == (200, told)
            if not is_kept:
                assert await talk.rest() == b""

    @pytest.mark.parametrize("status", [204, 304])
    async def test_an_answer_without_a_body_keeps_the_connection(self, api: HandApi, talk: Talk, status: int) -> None:
        for count in range(2):
            talk.send(ask())
            link = await api.link()
            await link.head()
            link.send(b"HTTP/1.1 %d X\r\n\r\n" % status)
            answer = await talk.answer()
            assert (answer.status, answer.body, count < 2) == (status, b"", True)

    async def test_an_answer_to_head_has_its_length_and_no_body(self, api: HandApi, talk: Talk) -> None:
        talk.send(ask(method="HEAD"))
        link = await api.link()
        await link.head()
        link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
        answer = await talk.answer("HEAD")
        assert answer.values("content-length") == ["1234"]
        talk.send(ask())
        await link.head()
        link.send(OK)
        assert (await talk.answer()).body == b"ok"

    async def test_chunks_are_framed_anew_and_trailers_dropped(self, world: World, api: HandApi, talk: Talk) -> None:
        talk.send(ask())
        link = await api.link()
        await link.head()
        link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n003;a=b\r\nabc\r\n")
        await talk.reader.readuntil(b"\r\n\r\n")
        assert await talk.reader.readexactly(8) == b"3\r\nabc\r\n"
        link.send(b"2\r\nde\r\n0\r\nX: secret\r\n\r\n")
        assert await talk.reader.readexactly(12) == b"2\r\nde\r\n0\r\n\r\n"
        end = await the_end(world)
        assert (end["complete"], end["bytes"]) == (True, 5)

    @pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked\r\n", ""], ids=["chunks", "up to the close"])
    async def test_to_http_1_0_what_has_no_length_ends_with_the_connection(
        self, world: World, api: HandApi, talk: Talk, framing: str
    ) -> None:
        talk.send(ask(USER, "Connection: keep-alive", version="1.0"))
        link = await api.link()
        await link.head()
        link.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n".encode())
        head = await talk.reader.readuntil(b"\r\n\r\n")
        assert b"\r\nConnection: close\r\n" in head
        assert b"Transfer-Encoding" not in head
        link.send(b"3\r\nabc\r\n0\r\n\r\n" if framing else b"abc")
        if not framing:
            link.writer.close()
        assert await talk.rest() == b"abc"
        assert (await the_end(world))["complete"]

    async def test_interim_answers_of_the_api_go_nowhere(self, world: World, api: HandApi, talk: Talk) -> None:
        talk.send(ask())
        link = await api.link()
        await link.head()
        link.send(b"HTTP/1.1 103 Early Hints\r\nLink: </secret>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
        link.send(OK)
        answer = await talk.answer()
        assert (answer.status, answer.body) == (200, b"ok")
        assert (await the_end(world))["complete"]

    async def test_who_waits_to_be_asked_for_a_body_is_asked_once_it_is_decided(self, api: HandApi, talk: Talk) -> None:
        talk.send(put("Expect: 100-continue", "Content-Length: 2"))
        assert await talk.status() == 100
        talk.send(b"{}")
        link = await api.link()
        assert b"expect" not in (await link.head()).lower()
        assert await link.reader.readexactly(2) == b"{}"
        link.send(OK)
        assert await talk.status() == 200

    async def test_who_waits_and_is_refused_is_not_asked(self, api: HandApi, talk: Talk) -> None:
        talk.send(ask(PHONE, "Expect: 100-continue", "Content-Length: 2", method="PUT"))
        answer = await talk.answer()
        assert (answer.status, answer.values("connection")) == (403, ["close"])
        assert await talk.rest() == b""
        assert api.links == []


class TestEnds:
    async def test_an_answer_before_the_upload_ended_arrives_and_closes(
        self, world: World, api: HandApi, talk: Talk
    ) -> None:
        talk.send(put("Content-Length: 100000000", body=b"x" * 1000))
        link = await api.link()
        await link.head()
        link.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!")
        answer = await talk.answer()
        assert (answer.status, answer.body, answer.values("connection")) == (413, b"no!", ["close"])
        for _ in range(20):  # an upload that goes on for a while does not lose the answer
            talk.send(b"x" * 1000)
        assert await talk.rest() == b""
        await link.ended()
        assert (await the_end(world))["complete"]
        assert await is_at_rest(world)

    LEFT: Final = {
        "before the answer": (b"", False),
        "within the answer": (PART, True),
    }

    @pytest.mark.parametrize("how", ["end", "reset"])
    @pytest.mark.parametrize(("part", "is_released"), LEFT.values(), ids=LEFT.keys())
    async def test_a_caller_that_leaves_ends_the_apis_work(
        self, world: World, api: HandApi, talk: Talk, part: bytes, how: str, *, is_released: bool
    ) -> None:
        talk.send(ask())
        link = await api.link()
        await link.head()
        link.send(part)
        if part:
            await talk.reader.readuntil(b"ab")
        getattr(talk, how)()
        await link.ended()
        decision = await the_decision(world)
        assert (decision["effect"], decision["released"]) == ("allow", is_released)
        last = (await the_end(world)) if is_released else decision
        assert (last["reason"], last.get("complete", False)) == ("client-gone", False)
        assert await is_at_rest(world)

    async def test_a_caller_that_ends_within_a_head_is_told_so(self, world: World, api: HandApi, talk: Talk) -> None:
        talk.send(ask()[:-9])
        talk.end()
        answer = await talk.answer()
        assert (answer.status, json.loads(answer.body)["reason"]) == (400, "request-malformed")
        assert (await the_decision(world))["released"] is False
        assert api.links == []

    @pytest.mark.parametrize("how", ["end", "reset"])
    async def test_a_caller_that_leaves_within_a_body_gives_the_api_half_of_it(
        self, world: World, api: HandApi, talk: Talk, how: str
    ) -> None:
        talk.send(put("Transfer-Encoding: chunked", body=b"3\r\nabc\r\n"))
        link = await api.link()
        await link.head()
        assert await link.reader.readexactly(8) == b"3\r\nabc\r\n"
        getattr(talk, how)()
        assert b"0\r\n" not in await link.ended()
        assert (await the_end(world))["reason"] == "client-gone"
        assert await is_at_rest(world)

    async def test_a_caller_that_says_nothing_leaves_nothing(self, world: World, talk: Talk) -> None:
        talk.end()
        assert await talk.rest() == b""
        assert world.decisions() == []
        assert await is_at_rest(world)


class TestStop:
    async def test_idle_connections_end_and_requests_under_way_finish(self, tmp_path: Path, api: HandApi) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with run_world(tmp_path, api.url) as world:
                idle, busy = [await stack.enter_async_context(talking(world)) for _ in range(2)]
                busy.send(ask())
                link = await api.link()
                await link.head()
                answering = asyncio.ensure_future(_answer_once_nobody_is_served(world, link))
            await answering
            answer = await busy.answer()
            assert (answer.status, answer.body, answer.values("connection")) == (200, b"ok", ["close"])
            assert await busy.rest() == await idle.rest() == b""
        assert (await the_end(world))["complete"]

    async def test_an_api_that_never_answers_does_not_hold_it_up(self, tmp_path: Path, api: HandApi) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with run_world(tmp_path, api.url, drain_seconds=0.5) as world:
                waiting, midway = [await stack.enter_async_context(talking(world)) for _ in range(2)]
                for count, talk in enumerate((waiting, midway), 1):
                    talk.send(ask())
                    await (await api.link(count)).head()
                api.links[1].send(PART)
                await midway.reader.readuntil(b"ab")
                began = elapsed_seconds()
            assert elapsed_seconds() - began < 5
            assert await waiting.status() == 503
            assert await midway.rest() == b""
        assert {record["reason"] for record in world.records() if not record["released"]} == {"gateway-stopping"}
        assert [end["reason"] for end in world.ends() if not end["complete"]] == ["gateway-stopping"]

    @pytest.mark.parametrize("durability", ["written", "synced"])
    async def test_sigterm_under_load_loses_nothing(self, tmp_path: Path, api: HandApi, durability: str) -> None:
        """Over connections that are in use each request is answered, the last one with the word that it is the last."""
        answered: list[Message] = []

        async def keep_asking(talk: Talk) -> None:
            while True:
                talk.send(ask())
                answer = await talk.answer()
                answered.append(answer)
                if "close" in answer.values("connection"):
                    assert await talk.rest() == b""
                    return

        async with contextlib.AsyncExitStack() as stack, echoing(api), serve_app(make_issuer_app(ISSUERS)) as idp:
            jwks = {name: f"{idp}/{name}/jwks.json" for name in ISSUERS}
            settings: dict[str, Any] = {"ledger_durability": durability}
            async with run_command(tmp_path / "gateway", POLICIES, settings, upstream=api.url, jwks=jwks) as command:
                host, _, port = command.url.removeprefix("http://").rpartition(":")
                world = World(host, int(port), command.admin, command.folder / "ledger")
                talks = [await stack.enter_async_context(talking(world)) for _ in range(CALLERS)]
                asking = [asyncio.ensure_future(keep_asking(talk)) for talk in talks]
                await wait_for(lambda: len(answered) > 10 * CALLERS)
                before = len(answered)
            await asyncio.gather(*asking)
        assert len(answered) >= before + CALLERS
        assert {(answer.status, answer.body) for answer in answered} == {(200, USER.encode())}
        records = {record["id"]: record for record in world.decisions()}
        assert len(records) == len(answered)
        for answer in answered:
            (decision_id,) = answer.values("sekisho-decision-id")
            assert (records[decision_id]["released"], records[decision_id]["complete"]) == (True, True)


async def _answer_once_nobody_is_served(world: World, link: Link) -> None:
    async def is_served() -> bool:
        with contextlib.suppress(OSError):
            async with talking(world):
                return True
        return False

    async with asyncio.timeout(10):
        while await is_served():
            await asyncio.sleep(0.01)
    link.send(OK)


class TestLedger:
    """Each step of an answer, over a ledger that is slow or says no."""

    @pytest.fixture
    async def synced(self, tmp_path: Path, api: HandApi) -> AsyncIterator[World]:
        async with run_world(tmp_path, api.url, ledger_durability="synced") as world:
            yield world

    async def test_parts_that_come_while_the_disk_is_waited_for_leave_in_order(
        self, synced: World, api: HandApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sync, may_go = LedgerWriter.sync, threading.Event()
        monkeypatch.setattr(LedgerWriter, "sync", lambda writer: (may_go.wait(10), sync(writer))[1])
        body = bytes(range(256)) * 400
        async with talking(synced) as talk:
            talk.send(ask())
            link = await api.link()
            await link.head()
            link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            for start in range(0, len(body), 1000):
                link.send(body[start : start + 1000])
                await asyncio.sleep(0)
            await wait_for(synced.records)
            assert not talk.reader.at_eof()
            may_go.set()
            answer = await talk.answer()
            assert answer.body == body
        end = await the_end(synced)
        assert (end["complete"], end["bytes"]) == (True, len(body))
        assert [record["bytes"] for record in synced.records("released")][-1] == len(body)

    async def test_a_caller_that_leaves_while_the_disk_is_waited_for_ends_the_apis_work(
        self, synced: World, api: HandApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sync, may_go = LedgerWriter.sync, threading.Event()
        monkeypatch.setattr(LedgerWriter, "sync", lambda writer: (may_go.wait(10), sync(writer))[1])
        async with talking(synced) as talk:
            talk.send(ask())
            link = await api.link()
            await link.head()
            link.send(PART)
            await wait_for(synced.records)
            talk.reset()
            await link.ended()
        may_go.set()
        assert (await the_end(synced))["reason"] == "client-gone"
        assert await is_at_rest(synced)

    STEPS: Final = {
        # which line is not taken: the request, what the API says, the status, how often the API is asked
        "the record of an update": ("decision", "PUT", b"", 503, 0),
        "the record of an answer": ("decision", "GET", OK, 503, 1),
        "the record of an answer that comes in parts": ("decision", "GET", PART, 503, 1),
        "the first part": ("released", "GET", PART, 503, 1),
        "the end": ("end", "GET", PART + b"cde", 200, 1),
    }

    @pytest.mark.parametrize(("kind", "method", "answer", "status", "asked"), STEPS.values(), ids=STEPS.keys())
    async def test_what_the_ledger_does_not_take_does_not_happen(  # noqa: PLR0917 - pytest calls it
        self,
        world: World,
        api: HandApi,
        talk: Talk,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
        method: str,
        answer: bytes,
        status: int,
        asked: int,
    ) -> None:
        refuse_lines(monkeypatch, kind)
        talk.send(put("Content-Length: 2", body=b"{}") if method == "PUT" else ask())
        if asked:
            link = await api.link()
            await link.head()
            link.send(answer)
        heard = await talk.answer()
        assert heard.status == status
        assert status == 200 or json.loads(heard.body)["reason"] == "ledger-unavailable"
        assert len(api.links) == asked

    async def test_a_later_part_that_the_ledger_does_not_take_cuts_the_answer(
        self, world: World, api: HandApi, talk: Talk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        talk.send(ask())
        link = await api.link()
        await link.head()
        link.send(PART)
        await talk.reader.readuntil(b"ab")
        refuse_lines(monkeypatch, "released")
        link.send(b"c")
        assert await talk.rest() == b""
        await link.ended()
        end = await the_end(world)
        assert (end["complete"], end["reason"], end["bytes"]) == (False, "ledger-unavailable", 2)


def refuse_lines(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Have the ledger take no line of a kind."""
    append = LedgerWriter.append

    def refuse(writer: LedgerWriter, lines: Sequence[Any]) -> None:
        if any(json.loads(encode_body(line))["line"] == kind for line in lines):
            raise LedgerError("it is full")
        append(writer, lines)

    monkeypatch.setattr(LedgerWriter, "append", refuse)
