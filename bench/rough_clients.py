# SPDX-License-Identifier: Apache-2.0
"""Callers of every kind, over bare sockets: most behave, some vanish, stall, dribble or talk nonsense.

Each request has an id of its own, and the API's answer says throughout whose it is (`bench.faulty_api.body_of`). What a
caller gets is held against that: a byte of another's answer, a half answer that looks whole, or a status 200 with
anything else, is a problem, whatever caller and API did wrong.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random  # noqa: TID251 - manners drawn from a seed, no secrets
from typing import Final

from bench.callers import render_head
from bench.faulty_api import FIRST, MANNERS, POISON, RESET, Manner, body_of, manner_of
from bench.processes import LOOPBACK

ANSWER_SECONDS: Final = 30.0
"""Longer than any deadline of the gateway's that the soak sets: whoever waits so long was forgotten."""
UPLOAD_BYTES: Final = 4096
KEPT_REQUESTS: Final = 8
GOOD: Final = ("200", "403")
PATIENCE_SECONDS: Final = 0.5
PIECE_SECONDS: Final = 0.01
DECISION_ID: Final = b"sekisho-decision-id"
REASON: Final = b"urn:sekisho:reason:"
ENOUGH_PROBLEMS: Final = 20
EVERY: Final = 16
"""Of how many answers one's decision is looked for in the ledger."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes
    is_whole: bool


@dataclass(slots=True)
class Seen:
    """What all callers saw."""

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By manner of the caller and how it ended."""
    fair: Counter[bool] = field(default_factory=Counter)
    """Of requests in which neither side did wrong: whether they were answered whole."""
    by_api: Counter[str] = field(default_factory=Counter)
    """Answers by the manner of the API."""
    decisions: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def take(self, manner: Manner, answer: Answer) -> None:
        """Count an answer; of some, keep which record it names."""
        self.by_api[manner.name] += 1
        if self.by_api.total() % EVERY == 0:
            self.decisions.append(answer.fields.get(DECISION_ID, b"").decode())

    def blame(self, what: str) -> None:
        """Note a problem; after some of them there is nothing more to learn."""
        if len(self.problems) < ENOUGH_PROBLEMS:
            self.problems.append(what)


@dataclass(slots=True)
class Caller:
    """One of many callers, each with a range of ids of its own."""

    port: int
    number: int
    own: dict[str, str]
    """Header fields of somebody who may read."""
    others: dict[str, str]
    """Of somebody who may not."""
    chance: Random
    seen: Seen
    turn: itertools.count[int] = field(default_factory=itertools.count)
    latest: str = ""
    """The id of the user who was asked for last."""

    async def live(self, is_over: Callable[[], bool]) -> None:
        """Ask again and again, in manners drawn by chance."""
        names, shares = list(KINDS), [share for share, _ in KINDS.values()]
        while not is_over():
            name = self.chance.choices(names, shares)[0]
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    end = await KINDS[name][1](self)
            except TimeoutError:
                api = manner_of(self.latest).name
                self.seen.blame(f"a caller that {name} waited {ANSWER_SECONDS:g} s for an API that {api}")
                end = "forgotten"
            except (OSError, asyncio.IncompleteReadError):
                end = "cut"
            self.seen.ends[name, end] += 1
            if not end.startswith(GOOD):
                # While the API is down, refusals are quick: asking as quickly would drown everything else.
                await asyncio.sleep(self.chance.uniform(0.0, PATIENCE_SECONDS))

    def user(self) -> str:
        """Return the id of a user for whom nobody has asked, which chooses how the API behaves."""
        chosen: Manner = self.chance.choices(MANNERS, [each.share for each in MANNERS])[0]
        self.latest = f"{FIRST + MANNERS.index(chosen)}{self.number:03}{next(self.turn):09}"
        return self.latest

    def head(self, user: str) -> bytes:
        """Return the bytes that ask for a user."""
        return render_head(path_of(user), self.own)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect, and close at the end."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def judge(self, user: str, answer: Answer | None) -> str:
        """Hold what came back against whom it is for; return how it ended."""
        manner = manner_of(user)
        if manner.is_fair:
            self.seen.fair[answer is not None and answer.status == 200 and answer.is_whole] += 1
        if answer is None:
            return "cut"
        if problem := problem_of(user, answer):
            self.seen.blame(f"an API that {manner.name}, for {user}: {problem}")
        self.seen.take(manner, answer)
        return f"{answer.status}" if answer.is_whole else f"{answer.status} but cut"


def path_of(user: str) -> str:
    """Return where a user's record is."""
    return f"/v1/users/{user}"


# What comes back


def problem_of(user: str, answer: Answer) -> str | None:
    """Return what is wrong with an answer; None where nothing is."""
    if POISON.strip() in answer.body:
        return f"a caller was sent what belongs to nobody, with status {answer.status}"
    if answer.status != 200:
        is_ours = REASON in answer.body and b"record of" not in answer.body
        return None if is_ours or not answer.is_whole else f"status {answer.status} with {answer.body[:100]!r}"
    expected = body_of(user, manner_of(user).size)
    if not expected.startswith(answer.body):
        return f"the answer for {user} is another: {answer.body[:100]!r}"
    if answer.is_whole and answer.body != expected:
        return f"{len(answer.body)} of {len(expected)} bytes look like a whole answer"
    return None


async def read_answer(reader: asyncio.StreamReader) -> Answer | None:
    """Read one answer; None if the connection ends before its head does."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, OSError):
        return None
    line, *lines = head[:-4].split(b"\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (each.partition(b":") for each in lines)}
    body = bytearray()
    is_whole = await read_body(reader, fields, body)
    return Answer(int(line.split(b" ")[1]), fields, bytes(body), is_whole)


async def read_body(reader: asyncio.StreamReader, fields: dict[bytes, bytes], body: bytearray) -> bool:
    """Read a body into a buffer; return whether it ended as it was announced."""
    try:
        if b"content-length" in fields:
            await read_exactly(reader, int(fields[b"content-length"]), body)
        elif fields.get(b"transfer-encoding") == b"chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await read_exactly(reader, size, body)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            body.extend(await reader.read())
    except (asyncio.IncompleteReadError, OSError):
        return False
    return True


async def read_exactly(reader: asyncio.StreamReader, size: int, body: bytearray) -> None:
    """Read so many bytes into a buffer, which holds what came if fewer do."""
    end = len(body) + size
    while len(body) < end:
        came = await reader.read(end - len(body))
        if not came:
            raise asyncio.IncompleteReadError(bytes(body), end)
        body.extend(came)


# Kinds of callers, each by what it does


async def asks_again_and_again(caller: Caller) -> str:
    """Send some requests over one connection, each after the last one's answer."""
    end = "cut"
    async with caller.connected() as (reader, writer):
        for _ in range(KEPT_REQUESTS):
            user = caller.user()
            writer.write(caller.head(user))
            answer = await read_answer(reader)
            end = caller.judge(user, answer)
            if answer is None or not answer.is_whole or answer.fields.get(b"connection") == b"close":
                break
    return end


async def posts(caller: Caller) -> str:
    """Send a body of a length that is told."""
    return await post(caller, f"Content-Length: {UPLOAD_BYTES}\r\n", [b"n" * UPLOAD_BYTES])


async def posts_in_chunks(caller: Caller) -> str:
    """Send a body in chunks."""
    return await post(
        caller, "Transfer-Encoding: chunked\r\n", [b"400\r\n" + b"n" * 1024 + b"\r\n"] * 4 + [b"0\r\n\r\n"]
    )


async def post(caller: Caller, framing: str, parts: list[bytes]) -> str:
    """Send a body in parts."""
    user = caller.user()
    async with caller.connected() as (reader, writer):
        writer.write(head_of_post(caller, user, framing))
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0)
        return caller.judge(user, await read_answer(reader))


def head_of_post(caller: Caller, user: str, framing: str) -> bytes:
    """Return the head of a request with a body."""
    head = render_head(f"{path_of(user)}/notes", caller.own).replace(b"GET ", b"POST ", 1)
    return head.removesuffix(b"\r\n") + f"{framing}\r\n".encode()


async def pipelines(caller: Caller) -> str:
    """Send three requests at once; their answers come in that order."""
    users = [caller.user() for _ in range(3)]
    end = "cut"
    async with caller.connected() as (reader, writer):
        writer.write(b"".join(map(caller.head, users)))
        for user in users:
            answer = await read_answer(reader)
            if answer is None:
                break  # the one before ended the connection, and with it what was behind it
            end = caller.judge(user, answer)
            if not answer.is_whole:
                break
    return end


async def may_not(caller: Caller) -> str:
    """Ask as somebody who is denied."""
    user = caller.user()
    async with caller.connected() as (reader, writer):
        writer.write(render_head(path_of(user), caller.others))
        answer = await read_answer(reader)
        if answer is None or answer.status != 403:
            caller.seen.blame(f"somebody who may not was answered {answer and answer.status}")
        return caller.judge(user, answer)


async def reads_slowly(caller: Caller) -> str:
    """Let an answer lie, then take it."""
    user = caller.user()
    async with caller.connected() as (reader, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(caller.head(user))
        await asyncio.sleep(caller.chance.uniform(0.1, 1.5))
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        return caller.judge(user, await read_answer(reader))


async def dribbles(caller: Caller) -> str:
    """Send a request a few bytes at a time."""
    user = caller.user()
    head = caller.head(user)
    step = len(head) // 20 + 1
    async with caller.connected() as (reader, writer):
        for start in range(0, len(head), step):
            writer.write(head[start : start + step])
            await asyncio.sleep(PIECE_SECONDS)
        return caller.judge(user, await read_answer(reader))


async def stops_sending(caller: Caller) -> str:
    """Close its own side behind the request; whether that is answered is the gateway's choice."""
    user = caller.user()
    async with caller.connected() as (reader, writer):
        writer.write(caller.head(user))
        writer.write_eof()
        answer = await read_answer(reader)
        return "cut" if answer is None else caller.judge(user, answer)


async def vanishes_at_once(caller: Caller) -> str:
    """Be gone before the answer comes."""
    return await vanish(caller, caller.head(caller.user()), 0.0)


async def vanishes_soon(caller: Caller) -> str:
    """Be gone while the request is under way, or its answer."""
    return await vanish(caller, caller.head(caller.user()), caller.chance.uniform(0.0, 0.5))


async def vanishes_in_its_head(caller: Caller) -> str:
    """Be gone before the request is complete."""
    head = caller.head(caller.user())
    return await vanish(caller, head[: caller.chance.randrange(1, len(head))], 0.05)


async def vanishes_in_its_body(caller: Caller) -> str:
    """Be gone before the request's body is complete."""
    head = head_of_post(caller, caller.user(), f"Content-Length: {UPLOAD_BYTES}\r\n")
    return await vanish(caller, head + b"n" * caller.chance.randrange(UPLOAD_BYTES), 0.05)


async def vanish(caller: Caller, data: bytes, seconds: float) -> str:
    """Send, and cut the connection some time later, in an orderly way or not."""
    async with caller.connected() as (_, writer):
        if caller.chance.random() < 0.5:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.write(data)
        await asyncio.sleep(seconds)
    return "gone"


async def vanishes_midway(caller: Caller) -> str:
    """Take some of an answer, and be gone."""
    async with caller.connected() as (reader, writer):
        writer.write(caller.head(caller.user()))
        with suppress(OSError):
            await reader.read(1000)
    return "gone"


async def talks_garbage(caller: Caller) -> str:
    """Send what is no request."""
    async with caller.connected() as (reader, writer):
        writer.write(caller.chance.choice(GARBAGE))
        with suppress(OSError):
            said = await reader.read(1 << 16)
            if said and not said.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 5")):
                caller.seen.blame(f"what is no request was answered {said[:100]!r}")
    return "refused"


GARBAGE: Final = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 8 + b"\r\n\r\n",
    b"GET  /v1/users/1 HTTP/1.1\r\n\r\n",
    b"GET /v1/users/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST /v1/users/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"a" * (1 << 17),
)

KINDS: Final[dict[str, tuple[int, Callable[[Caller], Awaitable[str]]]]] = {
    "asks again and again": (8, asks_again_and_again),
    "posts": (2, posts),
    "posts in chunks": (2, posts_in_chunks),
    "pipelines": (2, pipelines),
    "may not": (2, may_not),
    "reads slowly": (2, reads_slowly),
    "dribbles": (1, dribbles),
    "stops sending": (1, stops_sending),
    "vanishes at once": (1, vanishes_at_once),
    "vanishes soon": (2, vanishes_soon),
    "vanishes in its head": (1, vanishes_in_its_head),
    "vanishes in its body": (1, vanishes_in_its_body),
    "vanishes midway": (2, vanishes_midway),
    "talks garbage": (1, talks_garbage),
}
"""How often each is drawn, and what it does."""
