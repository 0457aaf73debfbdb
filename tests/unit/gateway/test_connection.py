# SPDX-License-Identifier: Apache-2.0
"""One connection of a caller, with both its ends in hand."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.gateway.connection import MAX_HELD_BYTES, WRITE_HIGH_BYTES
from tests.support.crossings import Bench, a_request, an_update


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    with Bench() as bench:
        yield bench
        await bench.finish()


async def turn(times: int = 3) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


@pytest.mark.parametrize("behind", [b"", b"GET /v1/jp/us"], ids=["nothing", "the beginning of another"])
async def test_behind_a_large_body_that_came_at_once_the_next_request_is_read(bench: Bench, behind: bytes) -> None:
    caller = bench.connect()
    body = b"x" * (MAX_HELD_BYTES + 1)
    caller.send(an_update(f"Content-Length: {len(body)}", body=body + behind))
    bench.ask.ready()
    assert bench.ask.body == body
    bench.ask.answer()
    await turn()
    caller.send(a_request()[len(behind) :])
    await turn()
    assert len(bench.apis.asked) == 2
    bench.ask.answer()


async def test_behind_a_large_body_that_was_refused_the_next_request_is_read(bench: Bench) -> None:
    caller = bench.connect()
    body = b"x" * (MAX_HELD_BYTES + 1)
    caller.send(an_update(f"Content-Length: {len(body)}", body=body, claims=None))
    await turn()
    caller.send(a_request())
    await turn()
    assert len(bench.apis.asked) == 1
    bench.ask.answer()


@pytest.mark.parametrize("at_once", [True, False], ids=["in one write", "one by one"])
async def test_who_asks_and_asks_and_never_reads_is_not_answered_for_ever(bench: Bench, *, at_once: bool) -> None:
    caller = bench.connect()
    caller.is_stuck = True
    if at_once:
        caller.unread = a_request() * 50
    for _ in range(50):
        if not at_once:
            caller.unread += a_request()
        caller.deliver()
        await turn()
        bench.ask.answer(WRITE_HIGH_BYTES // 4)
        await turn()
    assert caller.untaken < 2 * WRITE_HIGH_BYTES
    assert len(bench.apis.asked) < 10
    caller.take()
    for _ in range(50):
        await turn()
        caller.deliver()
        bench.ask.answer()
    assert len(bench.apis.asked) == 50


async def test_who_never_reads_is_cut_off_between_answers_too(bench: Bench) -> None:
    caller = bench.connect()
    caller.is_stuck = True
    caller.send(a_request() * 3)
    bench.ask.answer(WRITE_HIGH_BYTES + 1)
    await turn()
    bench.tick(bench.gateway.options.client_read_seconds + 1)
    await turn()
    assert caller.is_lost


@pytest.mark.parametrize("has_body", [False, True], ids=["without a body", "in its body"])
async def test_who_ends_and_takes_nothing_is_cut_off(bench: Bench, *, has_body: bool) -> None:
    caller = bench.connect()
    caller.is_stuck = True
    caller.send(an_update("Content-Length: 4", body=b"{}") if has_body else a_request())
    if has_body:
        bench.ask.ready()
    bench.ask.answer(200, now=100)
    caller.end()
    for _ in range(3):
        bench.tick(bench.gateway.options.client_body_seconds + 1)
        await turn()
    assert caller.is_lost


async def test_who_asks_nothing_more_and_never_takes_its_last_answer_is_cut_off(bench: Bench) -> None:
    caller = bench.connect()
    caller.is_stuck = True
    caller.send(a_request())
    bench.ask.answer(WRITE_HIGH_BYTES // 2)  # too little to be called slow
    await turn()
    options = bench.gateway.options
    for later in (0.0, options.client_idle_seconds, 2 * options.client_idle_seconds, options.client_read_seconds):
        bench.tick(options.client_idle_seconds + later + 1)
        await turn()
    assert caller.is_lost
