# SPDX-License-Identifier: Apache-2.0
"""The connections to one API: which is used, how many there are, who waits, and when nobody waits any more."""

import asyncio
import socket

import pytest

from proxy.gateway.upstream import pool as pools
from proxy.gateway.upstream.dial import Fault
from proxy.model.decision import Reason
from tests.support.upstream import OK, Act, Asking, Heard, answering, asking, for_ever, read_head, serving


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Gate:
    """An API that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self._open = asyncio.Semaphore(0)

    def release(self, count: int = 1) -> None:
        for _ in range(count):
            self._open.release()

    async def act(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            self.asked += 1
            await self._open.acquire()
            writer.write(OK)


async def _hold(asks: Asking, gate: Gate, count: int = 1) -> list[Heard]:
    """Have so many requests at the API."""
    held = [asks.begin(Heard()) for _ in range(count)]
    before = gate.asked
    await asks.becomes(lambda: gate.asked >= before + count)
    return held


# Which one.


async def test_the_connection_that_was_used_last_is_used_first() -> None:
    gate = Gate()
    async with serving(gate.act) as api, asking(api.url) as asks:
        held = await _hold(asks, gate, 3)
        gate.release(3)
        for heard in held:
            await heard.end()
        last = asks.pool.idle[-1]
        for _ in range(3):
            gate.release()
            await asks.ask()
            assert asks.pool.idle[-1] is last
        assert len(asks.pool.open) == 3


# How many, and for how long.


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_no_more_connections_are_made_than_the_limit(limit: int) -> None:
    gate = Gate()
    async with serving(gate.act) as api, asking(api.url, upstream_connections=limit) as asks:
        heard = [asks.begin(Heard()) for _ in range(10)]
        await asks.becomes(lambda: gate.asked == limit)
        gate.release(10)
        for each in heard:
            assert (await each.end()).body == b"ok"
        assert len(api.received) == limit


async def test_who_waits_is_served_in_order() -> None:
    def note(place: int) -> Heard:
        return Heard(during=lambda *_: order.append(place))

    order: list[int] = []
    async with serving(for_ever) as api, asking(api.url, upstream_connections=1) as asks:
        heard = [asks.begin(note(place)) for place in range(10)]
        for each in heard:
            await each.end()
    assert order == list(range(10))


async def test_who_finds_the_queue_full_is_told_so_at_once() -> None:
    gate = Gate()
    async with serving(gate.act) as api, asking(api.url, upstream_connections=1, upstream_queue=1) as asks:
        (first,) = await _hold(asks, gate)
        second, third = asks.begin(Heard()), asks.begin(Heard())
        assert (await third.end()).reason is Reason.UPSTREAM_BUSY
        gate.release(2)
        assert (await first.end()).is_whole
        assert (await second.end()).is_whole


async def test_who_waits_too_long_for_others_is_told_that_the_api_is_busy() -> None:
    gate = Gate()
    async with serving(gate.act) as api, asking(api.url, upstream_connections=1, upstream_queue_seconds=3) as asks:
        (first,) = await _hold(asks, gate)
        second = asks.begin(Heard())
        asks.tick(2.9)
        assert second.reason is None
        asks.tick(3.1)
        assert second.reason is Reason.UPSTREAM_BUSY
        gate.release()
        assert (await first.end()).is_whole


async def test_who_is_not_connected_in_time_is_told_that_the_api_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        port = deaf.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)  # noqa: FBT003
            filler.connect_ex(("127.0.0.1", port))
        async with asking(f"http://127.0.0.1:{port}", upstream_connect_seconds=60, upstream_queue_seconds=3) as asks:
            heard = asks.begin(Heard())
            asks.tick(3.1)
            assert heard.reason is Reason.UPSTREAM_UNREACHABLE
        for filler in fillers:
            filler.close()


async def test_who_waits_no_longer_is_forgotten() -> None:
    gate = Gate()
    async with serving(gate.act) as api, asking(api.url, upstream_connections=1) as asks:
        (first,) = await _hold(asks, gate)
        second, third = asks.begin(Heard()), asks.begin(Heard())
        second.handle.cancel()
        second.handle.cancel()
        gate.release(2)
        assert (await first.end()).is_whole
        assert (await third.end()).is_whole
        assert (second.calls, gate.asked) == ([], 2)


async def test_a_connection_that_breaks_makes_room_for_who_waits() -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        if len(api.received) > 1:
            writer.write(OK)
        else:
            await go.wait()
            writer.close()

    go = asyncio.Event()
    async with serving(act) as api, asking(api.url, upstream_connections=1) as asks:
        first, second = asks.begin(Heard()), asks.begin(Heard())
        await asks.becomes(lambda: bool(api.received) and bool(api.received[0]))
        go.set()
        assert (await first.end()).reason is Reason.UPSTREAM_BROKEN
        assert (await second.end()).body == b"ok"


AGES = [
    pytest.param({"upstream_keep_seconds": 3}, 2.9, 3.1, id="when it has not been used for long"),
    pytest.param({"upstream_lifetime_seconds": 3}, 2.5, 3.1, id="when it is old"),
]


@pytest.mark.parametrize(("options", "before", "after"), AGES)
async def test_an_idle_connection_is_closed(options: dict[str, float], before: float, after: float) -> None:
    async with serving(for_ever) as api, asking(api.url, **options) as asks:
        await asks.ask()
        asks.tick(before)
        assert len(asks.pool.idle) == 1
        asks.tick(after)
        await asks.becomes(lambda: not asks.pool.open)
        assert not asks.pool.idle


async def test_a_connection_that_is_old_is_not_taken_back() -> None:
    gate = Gate()
    async with serving(gate.act) as api, asking(api.url) as asks:
        (heard,) = await _hold(asks, gate)
        (connection,) = asks.pool.open
        connection.ends_at = 0
        gate.release()
        assert (await heard.end()).is_whole
        assert not asks.pool.idle


# An API that cannot be reached.


async def test_an_api_that_is_not_there_is_tried_some_times_and_then_taken_for_down() -> None:
    async with asking(f"http://127.0.0.1:{_free_port()}", upstream_failures=3) as asks:
        assert (await asks.ask()).reason is Reason.UPSTREAM_UNREACHABLE
        failures = asks.measure("sekisho_upstream_connect_failures_total", cause="connect")
        assert (failures, asks.measure("sekisho_upstream_ejections_total")) == (3, 1)
        assert asks.measure("sekisho_upstream_down") == 1
        assert (await asks.ask()).reason is Reason.UPSTREAM_UNREACHABLE
        assert asks.measure("sekisho_upstream_connect_failures_total", cause="connect") == 3


async def test_many_who_ask_an_api_that_is_not_there_are_all_told() -> None:
    async with asking(f"http://127.0.0.1:{_free_port()}", upstream_failures=3) as asks:
        heard = [asks.begin(Heard()) for _ in range(100)]
        for each in heard:
            assert (await each.end()).reason is Reason.UPSTREAM_UNREACHABLE
        assert asks.measure("sekisho_upstream_ejections_total") == 1


async def test_one_probe_at_a_time_lets_an_api_up_again() -> None:
    port = _free_port()
    async with asking(f"http://127.0.0.1:{port}", upstream_failures=2, upstream_down_seconds=0.02) as asks:
        await asks.ask()
        await asyncio.sleep(0.03)
        async with serving(for_ever, port=port):
            probe, other = asks.begin(Heard()), asks.begin(Heard())
            assert (await other.end()).reason is Reason.UPSTREAM_UNREACHABLE
            assert (await probe.end()).body == b"ok"
            assert (await asks.ask()).body == b"ok"
            assert asks.measure("sekisho_upstream_down") == 0


async def test_while_an_api_is_down_to_new_connections_those_that_it_has_are_used() -> None:
    gate = Gate()
    async with serving(gate.act) as api, asking(api.url, upstream_failures=1) as asks:
        (first,) = await _hold(asks, gate)
        asks.pool._health.note_failure(1e12)
        second = asks.begin(Heard())
        gate.release(2)
        assert (await first.end()).is_whole
        assert (await second.end()).is_whole
        assert len(api.received) == 1


async def test_a_defect_while_connecting_is_told_like_any_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(*_: object) -> Fault | None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(pools, "dial", break_down)
    async with asking("http://127.0.0.1:9") as asks:
        assert (await asks.ask()).reason is Reason.UPSTREAM_UNREACHABLE


REFUSALS: dict[str, Act] = {
    "speaks first": lambda _reader, writer: _say(writer, b"220 ready\r\n\r\n"),
    "closes at once": lambda _reader, writer: _say(writer, b"", close=True),
}


async def _say(writer: asyncio.StreamWriter, data: bytes, *, close: bool = False) -> None:
    writer.write(data)
    await writer.drain()
    if close:
        writer.close()


@pytest.mark.parametrize("what", REFUSALS)
async def test_an_api_is_not_connected_to_again_and_again_that(what: str) -> None:
    async with serving(REFUSALS[what]) as api, asking(api.url) as asks:
        heard = await asks.ask()
        assert heard.reason in {Reason.UPSTREAM_BROKEN, Reason.UPSTREAM_ANSWER_UNSUPPORTED}
        assert len(api.received) == 1


# The end.


async def test_at_the_end_everything_is_closed_and_everybody_told() -> None:
    gate = Gate()
    async with serving(gate.act) as api, asking(api.url, upstream_connections=1) as asks:
        (busy,) = await _hold(asks, gate)
        waiting = asks.begin(Heard())
        pool = asks.pool
        await asks.upstreams.close()
        assert (busy.reason, waiting.reason) == (Reason.GATEWAY_STOPPING, Reason.GATEWAY_STOPPING)
        assert pool.is_empty


async def test_a_pool_of_an_api_that_is_no_more_ends_what_is_under_way_and_goes() -> None:
    gate = Gate()
    async with serving(gate.act) as api, asking(api.url) as asks:
        (busy,) = await _hold(asks, gate)
        pool = asks.pool
        asks.upstreams.adopt([])
        assert asks.measure("sekisho_upstream_connections", state="busy") is None
        gate.release()
        assert (await busy.end()).is_whole
        await asks.becomes(lambda: pool not in asks.ticker._watched)
        assert pool.is_empty


async def test_a_request_that_was_decided_before_is_still_served() -> None:
    async with serving(answering(OK)) as api, asking(api.url) as asks:
        asks.upstreams.adopt([])
        assert (await asks.ask()).body == b"ok"
