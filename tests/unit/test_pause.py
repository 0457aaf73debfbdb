# SPDX-License-Identifier: Apache-2.0
import asyncio

from proxy.pause import Pause

LONG = 3600.0


async def test_a_pause_ends_by_itself() -> None:
    async with asyncio.timeout(10):
        await Pause().wait(0.001)


async def test_a_pause_under_way_ends_when_told() -> None:
    pause = Pause()
    waiting = asyncio.ensure_future(pause.wait(None))
    await asyncio.sleep(0)
    assert not waiting.done()
    pause.end()
    async with asyncio.timeout(10):
        await waiting


async def test_what_was_told_before_ends_the_next_pause_alone() -> None:
    pause = Pause()
    pause.end()
    async with asyncio.timeout(10):
        await pause.wait(LONG)
    waiting = asyncio.ensure_future(pause.wait(LONG))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
