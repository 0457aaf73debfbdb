# SPDX-License-Identifier: Apache-2.0
"""A changed file is taken up whole or not at all, and whatever is not as it should be is told, once."""

import asyncio
import contextlib
import logging

import pytest

from proxy.errors import UsageError
from proxy.held import HeldFile
from tests.support.world import wait_for

LOG = logging.getLogger("sekisho.test")


class Number:
    """A number that stands in a file, and what was put to use of it."""

    def __init__(self, seconds: float = 0.001) -> None:
        self.text = "1"
        self.used: list[int] = []
        self.refused = False
        self.crashes = 0
        self.held = HeldFile("number", LOG, self.read, self.parse, seconds=seconds)

    def read(self) -> str:
        if self.crashes:
            self.crashes -= 1
            raise MemoryError
        return self.text

    def parse(self, text: str) -> int:
        if not text.isdigit():
            raise UsageError(f"{text} is no number.")
        return int(text)

    def adopt(self) -> None:
        if self.refused:
            raise UsageError("It cannot be put to use.")
        self.used.append(self.held.value)

    async def look(self, text: str) -> tuple[int, str]:
        self.text = text
        await self.held.look(self.adopt)
        return self.held.value, self.held.stale


async def test_a_change_is_put_to_use_and_the_same_value_is_none() -> None:
    number = Number()
    assert [await number.look(text) for text in ("1", "01", "2", "2")] == [(1, ""), (1, ""), (2, ""), (2, "")]
    assert number.used == [2]


async def test_what_cannot_be_used_leaves_what_is_held_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    number = Number()
    with caplog.at_level(logging.INFO, LOG.name):
        assert [await number.look("x") for _ in range(3)] == [(1, "x is no number.")] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "the number is not in use as it lies there: the last good one is"
    ]
    assert await number.look("1") == (1, "")
    number.refused = True
    assert await number.look("2") == (1, "It cannot be put to use.")
    number.refused = False
    assert await number.look("2") == (2, ""), "it is tried again"
    assert number.used == [2]


def test_what_cannot_be_used_does_not_start() -> None:
    with pytest.raises(UsageError, match="x is no number"):
        HeldFile("number", LOG, lambda: "x", Number().parse, seconds=0)


@pytest.mark.parametrize("seconds", [0.001, 0])
async def test_it_is_watched_or_looked_at_when_told_whatever_a_look_comes_to(seconds: float) -> None:
    number = Number(seconds)
    watching = asyncio.ensure_future(number.held.watch(number.adopt))
    number.crashes = 1
    number.held.poke()
    await wait_for(lambda: not number.crashes)
    number.text = "2"
    number.held.poke()
    await wait_for(lambda: number.used == [2])
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
