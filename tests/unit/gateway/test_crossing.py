# SPDX-License-Identifier: Apache-2.0
"""One request under way, with the caller, the API and the disk in hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest

from proxy.bundle.check import load_bundle
from proxy.gateway.connection import WRITE_HIGH_BYTES
from proxy.model.decision import Reason
from tests.support.command import write_policies
from tests.support.crossings import CHAT, MORE_ROUTES, Bench, Caller, a_request, an_update
from tests.support.passages import a_checkpoint


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    with Bench() as bench:
        yield bench
        await bench.finish()


async def turn(times: int = 3) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


def statuses(caller: Caller) -> list[int]:
    return [int(part[:3]) for part in caller.written.split(b"HTTP/1.1 ")[1:]]


def deny(bench: Bench) -> None:
    """Put in force what knows no issuer's keys, and so nobody."""
    checkpoint = a_checkpoint()
    checkpoint.keys.sets.clear()  # type: ignore[attr-defined]
    for crossing in [*bench.gateway.under_way]:
        crossing.revisit(checkpoint, 0.0)


ENDS: dict[str, tuple[Callable[[Bench, Caller], None], int]] = {
    "the API fails": (lambda bench, _: bench.ask.fail(), 502),
    "its time is over": (lambda bench, _: bench.tick(1e6), 504),
    "another bundle denies it": (lambda bench, _: deny(bench), 403),
    "the gateway stops": (lambda _, caller: caller.connection.cut(Reason.GATEWAY_STOPPING), 503),
}


UPGRADE: Final = ("Connection: upgrade", "Upgrade: websocket")


class TestDisk:
    """With ``synced``: whatever happens while the disk is waited for."""

    @pytest.mark.parametrize(("end", "status"), ENDS.values(), ids=ENDS.keys())
    async def test_what_ends_an_answer_that_waits_for_the_disk_ends_it(
        self, bench: Bench, end: Callable[[Bench, Caller], None], status: int
    ) -> None:
        bench.disk.is_slow = True
        caller = bench.connect()
        caller.send(a_request())
        bench.ask.answer(9, now=3)
        end(bench, caller)
        bench.disk.finish()  # the answer's own lines, and then those of its end
        await turn()
        bench.disk.finish_all()
        await turn()
        assert statuses(caller) == [status]

    @pytest.mark.parametrize("end", ["its time is over", "another bundle denies it", "the gateway stops"])
    async def test_an_update_that_ends_while_it_is_recorded_never_reaches_the_api(self, bench: Bench, end: str) -> None:
        bench.disk.is_slow = True
        caller = bench.connect()
        caller.send(an_update("Content-Length: 2", body=b"{}"))
        ENDS[end][0](bench, caller)
        bench.disk.finish()
        await turn()
        bench.disk.finish_all()
        await turn()
        assert bench.apis.asked == []
        assert len(statuses(caller)) == 1

    async def test_a_stop_while_keys_are_fetched_ends_it(self, bench: Bench) -> None:
        sets = dict(bench.checkpoint.keys.sets)
        bench.checkpoint.keys.sets.clear()  # type: ignore[attr-defined]
        bench.disk.is_slow = True
        caller = bench.connect()
        caller.send(a_request())
        await turn()
        assert bench.issuers.waiting
        caller.connection.cut(Reason.GATEWAY_STOPPING)
        bench.checkpoint.keys.sets = sets  # type: ignore[misc]
        bench.issuers.come()
        await turn()
        bench.disk.finish_all()
        await turn()
        assert bench.apis.asked == []
        assert statuses(caller) == [503]

    @pytest.mark.parametrize("kind", ["length", "chunked", "until close"])
    async def test_an_answer_that_ends_while_the_disk_is_waited_for_is_whole(self, bench: Bench, kind: str) -> None:
        bench.disk.is_slow = True
        caller = bench.connect()
        caller.send(a_request())
        ask = bench.ask
        ask.answer(10, now=3, kind=kind)
        ask.send(4)
        ask.end()
        while bench.disk.waiting:
            bench.disk.finish()
            await turn()
        assert caller.written.count(ask.mark) == 10
        assert [line["bytes"] for line in bench.disk.lines(ask.decision_id) if "complete" in line] == [10]

    async def test_what_comes_while_the_head_is_recorded_waits_for_its_own_record(self, bench: Bench) -> None:
        bench.disk.is_slow = True
        caller = bench.connect()
        caller.send(a_request())
        bench.ask.answer(10, now=0)
        bench.ask.send(4)
        bench.disk.finish()
        await turn()
        assert statuses(caller) == [200]
        assert caller.written.count(bench.ask.mark) == 0
        bench.disk.finish()
        await turn()
        assert caller.written.count(bench.ask.mark) == 4

    async def test_a_disk_that_says_no_of_an_answer_and_of_its_refusal_answers_once(self, bench: Bench) -> None:
        bench.disk.is_slow = True
        caller = bench.connect()
        caller.send(a_request())
        bench.ask.answer(9, now=3)
        bench.ask.fail()
        for _ in range(3):
            bench.disk.finish(fails=True)
            await turn()
        assert statuses(caller) == [503]


class TestTunnel:
    """Of a route that lets itself be upgraded."""

    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[Bench]:
        policies = write_policies(tmp_path / "policies", *MORE_ROUTES)
        with Bench(a_checkpoint(load_bundle(policies))) as bench:
            yield bench
            await bench.finish()

    @pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "and the disk is slow"])
    async def test_what_stands_behind_either_head_goes_through(self, bench: Bench, *, is_slow: bool) -> None:
        bench.disk.is_slow = is_slow
        caller = bench.connect()
        caller.send(a_request(CHAT, *UPGRADE) + b"first")
        ask = bench.ask
        ask.upgrade(rest=3)
        ask.send(2)
        assert bool(ask.body) is not is_slow
        while bench.disk.waiting:
            bench.disk.finish()
            await turn()
        assert statuses(caller) == [101]
        assert caller.written.endswith(ask.mark * 5)
        assert ask.body == b"first"
        caller.send(b" and second")
        assert ask.body == b"first and second"
        ask.end()
        bench.disk.finish_all()
        (end,) = [line for line in bench.disk.lines(ask.decision_id) if "complete" in line]
        assert (end["complete"], end["bytes"], end["bytes_in"], end["status"]) == (True, 5, 16, 101)

    async def test_an_api_that_takes_nothing_holds_the_caller_back(self, bench: Bench) -> None:
        caller = bench.connect()
        caller.send(a_request(CHAT, *UPGRADE))
        ask = bench.ask
        ask.upgrade()
        ask.pause_upload()
        caller.send(b"more")
        assert caller.is_paused
        ask.resume_upload()
        caller.deliver()
        assert ask.body == b"more"


async def test_a_defect_behind_a_fetch_of_keys_ends_the_request(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = dict(bench.checkpoint.keys.sets)
    bench.checkpoint.keys.sets.clear()  # type: ignore[attr-defined]
    caller = bench.connect()
    caller.send(a_request())
    await turn()

    def fail(*_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(bench.apis, "begin", fail)
    bench.checkpoint.keys.sets = sets  # type: ignore[misc]
    bench.issuers.come()
    await turn()
    assert statuses(caller) == [503]
    assert not bench.gateway.under_way
    assert bench.troubles.seen
    bench.troubles.seen.clear()


async def test_a_caller_that_was_told_that_the_connection_closes_sees_it_close(bench: Bench) -> None:
    caller = bench.connect()
    caller.send(an_update("Content-Length: 4", body=b"{}"))
    bench.ask.ready()
    bench.ask.answer(4, now=2)  # before the upload is whole
    assert b"Connection: close" in caller.written
    caller.send(b"{}")
    bench.ask.end()
    await turn()
    assert caller.is_over or caller.has_ended


async def test_a_slow_caller_has_its_deadline_also_while_it_uploads(bench: Bench) -> None:
    caller = bench.connect()
    caller.send(an_update("Content-Length: 4", body=b"{}"))
    ask = bench.ask
    ask.ready()
    caller.is_stuck = True
    ask.answer(WRITE_HIGH_BYTES * 3, now=2)
    ask.send(WRITE_HIGH_BYTES * 2)
    assert ask.is_paused
    caller.send(b"{}")
    bench.tick(bench.gateway.options.client_read_seconds + 1)
    await turn()
    assert caller.is_lost
    (end,) = [line for line in bench.disk.lines(ask.decision_id) if line["line"] == "end"]
    assert end["reason"] == "client-slow"
