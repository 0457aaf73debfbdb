# SPDX-License-Identifier: Apache-2.0
"""The pause between two looks at something that may have changed."""

import asyncio
import contextlib


class Pause:
    """Lasts so many seconds, or until somebody says to look now."""

    def __init__(self) -> None:
        self._told = asyncio.Event()

    def end(self) -> None:
        """Look now: the pause under way ends, or else the next does as it begins."""
        self._told.set()

    async def wait(self, seconds: float | None) -> None:
        """Wait until it is over; None: only once it is ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._told.wait()
        self._told.clear()
