# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests that are read before the API is asked: whatever befalls them, nothing is left waiting."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest

from proxy.model.decision import Reason
from tests.support.crossings import Bench, Caller, a_request
from tests.support.people import HOST, a_checkpoint
from tests.support.world import STAFF

BODY: Final = b'{"country": "TW"}'
TOO_MUCH: Final = b'{"country": "TW", "note": "' + b"x" * 70_000 + b'"}'


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    with Bench(a_checkpoint()) as bench:
        yield bench
        await bench.finish()
        assert not [task for task in asyncio.all_tasks() if _is_meeting(task)]


def _is_meeting(task: "asyncio.Task[object]") -> bool:
    return "_meet" in repr(task.get_coro())


def a_search(body: bytes, *, chunks: bool = False) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunks else f"Content-Length: {len(body)}"
    head = a_request(
        "/v1/find", framing, "Content-Type: application/json", method="POST", claims={**STAFF, "sub": "carol"}
    ).replace(b"Host: a\r\n", f"Host: {HOST}\r\n".encode())
    return head + (b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunks else body)


def statuses(caller: Caller) -> list[int]:
    return [int(part[:3]) for part in caller.written.split(b"HTTP/1.1 ")[1:]]


async def turn(times: int = 6) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


CASES: Final = {
    "that is there": (a_search(BODY), True, None),
    "that is there, in chunks": (a_search(BODY, chunks=True), True, None),
    "that is too large by its length": (a_search(TOO_MUCH), False, 413),
    "that is too large, in chunks": (a_search(TOO_MUCH, chunks=True), False, 413),
    "of which a broken part was there": (a_search(BODY, chunks=True).replace(b"0\r\n\r\n", b"!!\r\n"), False, 400),
}


@pytest.mark.parametrize(("request_", "is_asked", "status"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("waits_for_keys", [False, True], ids=["at once", "once keys were fetched"])
@pytest.mark.parametrize("is_slow", [False, True], ids=["over a fast disk", "over a slow one"])
async def test_a_body(  # noqa: PLR0917 - pytest calls it
    bench: Bench,
    request_: bytes,
    is_asked: bool,  # noqa: FBT001
    status: int | None,
    waits_for_keys: bool,  # noqa: FBT001
    is_slow: bool,  # noqa: FBT001
) -> None:
    bench.disk.is_slow = is_slow
    sets = dict(bench.checkpoint.keys.sets)
    if waits_for_keys:
        bench.checkpoint.keys.sets.clear()  # type: ignore[attr-defined]
    caller = bench.connect()
    caller.send(request_)
    while caller.deliver():
        pass
    await turn()
    if waits_for_keys:
        assert bench.issuers.waiting
        bench.checkpoint.keys.sets = sets  # type: ignore[misc]
        bench.issuers.come()
    for _ in range(4):
        await turn()
        bench.disk.finish_all()
    assert bool(bench.apis.asked) is is_asked
    assert statuses(caller) == ([] if status is None else [status])
    if is_asked:
        bench.ask.ready()
        assert (bench.ask.body, bench.ask.is_uploaded) == (BODY, True)


@pytest.mark.parametrize("reason", [Reason.GATEWAY_STOPPING, Reason.CLIENT_GONE])
async def test_what_ends_while_its_body_comes_ends(bench: Bench, reason: Reason) -> None:
    caller = bench.connect()
    caller.send(a_search(BODY)[:-3])
    await turn()
    if reason is Reason.CLIENT_GONE:
        caller.lose()
    else:
        caller.connection.cut(reason)
        caller.connection.data_received(BODY[-3:])
    await turn()
    assert bench.apis.asked == []
    assert [line["reason"] for line in bench.disk.taken] == [reason]
