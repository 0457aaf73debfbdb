# SPDX-License-Identifier: Apache-2.0
"""An answer that is looked into, with everything it waits for in a test's hands: in whatever order things come.

Whatever comes when, the caller gets each record it may have, in order, and nothing of another; an answer that is not
whole never seems so; nothing leaves before its record; and nothing is left waiting.
"""

import asyncio
import json
from typing import Any, Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.gateway.upstream.exchange import NOBODY
from proxy.gateway.wire.heads import read_response
from proxy.model.decision import Reason
from proxy.model.subject import LookupNeeded
from tests.support.crossings import Bench, a_request
from tests.support.people import HOST, Register, a_checkpoint, people, person
from tests.support.world import STAFF

ACTS: Final = ("give 1", "give 40", "give 200", "tell", "disk", "slow", "ready", "turn")
ENDS: Final = ("end", "die", "break", "leave", "cut")
IDS: Final = [f"{'tj'[number % 3 == 1]}{number}" for number in range(12)]
BODIES: Final = {
    "/v1/roster": people(*({"id": id_, "name": f"name-{id_}"} for id_ in IDS)),
    "/v1/lines": b"".join(
        json.dumps(person(id_, {"t": "TW", "j": "JP"}[id_[0]])).encode() + b"\n" for id_ in IDS
    ),
}  # fmt: skip


class Asking:
    """Directories that answer when a test says so."""

    def __init__(self, register: Register) -> None:
        self.register = register
        self.waiting: list[tuple[asyncio.Future[None], LookupNeeded]] = []

    async def ask(self, needed: LookupNeeded) -> None:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((future, needed))
        await future

    def tell(self) -> None:
        if self.waiting:
            future, needed = self.waiting.pop(0)
            self.register.answer(needed)
            if not future.done():
                future.set_result(None)


def _unchunk(data: bytes) -> tuple[bytes, bool]:
    """Return what chunks hold, and whether the last one came."""
    body = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return body, rest == b"\r\n"
        if len(rest) < length + 2:
            return body + rest[:length], False
        body, data = body + rest[:length], rest[length + 2 :]
    return body, False


def _read(written: bytes, *, is_cut: bool) -> tuple[int, bytes, bool]:
    """Return status and body of an answer, and whether it seems whole."""
    head, mark, rest = written.partition(b"\r\n\r\n")
    if not mark:
        return 0, b"", False
    frame = read_response(head + mark)
    assert frame is not None
    if b"chunked" in head.lower():
        return frame.status, *_unchunk(rest)
    return frame.status, rest, len(rest) == frame.length and not (is_cut and not rest)


class Play:
    def __init__(self, bench: Bench, directory: Asking, target: str) -> None:
        self.bench = bench
        self.directory = directory
        self.body = self.left = BODIES[target]
        self.caller = bench.connect()
        request = a_request(target, claims={**STAFF, "sub": "carol"}).replace(
            b"Host: a\r\n", f"Host: {HOST}\r\n".encode()
        )
        self.caller.send(request)

    @property
    def exchange(self) -> Any:
        return self.bench.ask.handle.exchange

    async def act(self, act: str) -> None:
        name, _, number = act.partition(" ")
        if name == "give" and not self.bench.ask.is_over:
            data, self.left = self.left[: int(number)], self.left[int(number) :]
            if data:
                self.exchange.upstream_sent(data)
        elif name == "tell":
            self.directory.tell()
        elif name == "disk":
            self.bench.disk.finish()
        elif name == "slow" and not self.caller.is_over:
            self.caller.connection.pause_writing()
        elif name == "ready" and not self.caller.is_over:
            self.caller.connection.resume_writing()
        elif name == "turn":
            await asyncio.sleep(0)

    async def end(self, end: str) -> None:
        handle = self.bench.ask.handle
        if end == "end" and not self.bench.ask.is_over:
            if self.left:
                self.exchange.upstream_sent(self.left)
            handle.carrier = None
            handle.finish()
        elif end == "break" and not self.bench.ask.is_over:
            handle.carrier = None
            handle.finish()
        elif end == "die" and not self.bench.ask.is_over:
            handle.fail(Reason.UPSTREAM_BROKEN)
        elif end == "leave":
            self.caller.lose()
        elif end == "cut":
            self.caller.connection.cut(Reason.POLICY_CHANGED)

    async def settle(self) -> None:
        """Let everything come that is waited for."""
        for _ in range(40):
            self.caller.take()
            self.directory.tell()
            self.bench.disk.finish()
            await asyncio.sleep(0)


async def _play(target: str, kind: str, disk: str, acts: list[str], end: str) -> None:
    register = Register(asked={id_: {"t": "TW", "j": "JP"}[id_[0]] for id_ in IDS})
    directory = Asking(register)
    with Bench(a_checkpoint(directory=register, hold=200)) as bench:
        bench.gateway.directory = directory
        bench.disk.is_slow = disk == "slow"
        play = Play(bench, directory, target)
        await play_through(play, target, kind, acts, end)
        await bench.finish()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def play_through(play: Play, target: str, kind: str, acts: list[str], end: str) -> None:
    bench = play.bench
    for _ in range(5):
        bench.disk.finish()
        await asyncio.sleep(0)
    media = "application/json" if target == "/v1/roster" else "application/x-ndjson"
    framing = {"length": f"Content-Length: {len(play.body)}", "chunked": "Transfer-Encoding: chunked"}[kind]
    frame = read_response(f"HTTP/1.1 200 X\r\nContent-Type: {media}\r\n{framing}\r\n\r\n".encode())
    bench.ask.is_answered = True
    play.exchange.upstream_answered(frame, b"", is_whole=False)
    for act in acts:
        await play.act(act)
    end = "end" if end == "break" and not play.left else end
    await play.end(end)
    await play.settle()
    status, body, is_whole = _read(play.caller.written, is_cut=play.caller.is_aborted)
    bench.ask.size = len(body)
    allowed = [id_ for id_ in IDS if id_[0] == "t"]
    assert b"name-j" not in play.caller.written
    if end == "end":
        assert (status, is_whole) == (200, True)
    if status == 200 and is_whole and end != "break":
        told = json.loads(body)["people"] if media == "application/json" else map(json.loads, body.splitlines())
        assert [each["id"] for each in told] == allowed
    elif status == 200 and media == "application/json":
        assert not is_whole
    assert bench.ask.handle.exchange is NOBODY
    assert not play.directory.waiting
    left = [line for line in bench.disk.durable if line["line"] in {"decision", "released", "end"} and "bytes" in line]
    assert status != 200 or not body or max(line["bytes"] for line in left) >= len(body)


@settings(max_examples=200)
@given(
    target=st.sampled_from([*BODIES]),
    kind=st.sampled_from(["length", "chunked"]),
    disk=st.sampled_from(["fast", "slow"]),
    acts=st.lists(st.sampled_from(ACTS), max_size=25),
    end=st.sampled_from(ENDS),
)
@example("/v1/roster", "length", "slow", ["give 200", "tell", "give 200", "turn", "slow", "ready"], "end")
@example("/v1/roster", "chunked", "fast", ["give 200", "give 200", "turn", "tell"], "end")
@example("/v1/lines", "chunked", "slow", ["give 200", "give 40", "disk", "give 200"], "end")
def test_in_whatever_order_things_come(target: str, kind: str, disk: str, acts: list[str], end: str) -> None:
    asyncio.run(_play(target, kind, disk, acts, end))
