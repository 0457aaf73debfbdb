# SPDX-License-Identifier: Apache-2.0
import asyncio
import logging

import pytest

from proxy.gateway.ticker import LATE_SECONDS, TICK_SECONDS, Ticker

LATENESS = {
    "none": ((), False),
    "one that came late": ((True,), False),
    "two in a row": ((True, True), True),
    "two with one in time between them": ((True, False, True), False),
    "one in time behind two that were not": ((True, True, False), False),
}


@pytest.mark.parametrize(("ticks", "is_late"), LATENESS.values(), ids=LATENESS.keys())
async def test_late_ticks_in_a_row_tell_of_too_much_to_do(
    monkeypatch: pytest.MonkeyPatch, ticks: tuple[bool, ...], *, is_late: bool
) -> None:
    now, to_come = [0.0], [*ticks]

    async def sleep(seconds: float) -> None:
        if not to_come:
            raise asyncio.CancelledError
        now[0] += seconds + (LATE_SECONDS + TICK_SECONDS if to_come.pop(0) else 0.0)

    monkeypatch.setattr("proxy.gateway.ticker.elapsed_seconds", lambda: now[0])
    monkeypatch.setattr("proxy.gateway.ticker.asyncio.sleep", sleep)
    watching = Ticker()
    with pytest.raises(asyncio.CancelledError):
        await watching.run()
    assert watching.is_late is is_late


def test_the_trouble_of_one_holds_up_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    class Watched:
        def __init__(self) -> None:
            self.asked = 0

        def check(self, now: float) -> None:
            self.asked += 1
            raise ValueError(str(now))

    watching, several = Ticker(), [Watched() for _ in range(3)]
    for watched in several:
        watching.watch(watched)
    with caplog.at_level(logging.ERROR):
        watching.tick(1.0)
    assert [watched.asked for watched in several] == [1, 1, 1]
    watching.forget(several[0])
    watching.tick(2.0)
    assert [watched.asked for watched in several] == [1, 2, 2]
