# SPDX-License-Identifier: Apache-2.0
"""Tells the operator's log again and again that nothing is blocked, while that is so. This module does I/O."""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Final

from proxy.bundle.snapshot import Snapshot
from proxy.clock import render_instant, unix_seconds

LOOK_SECONDS: Final = 1.0
REMIND_SECONDS: Final = 3600
"""How often the log says it again."""

log = logging.getLogger("sekisho")


async def remind(in_force: Callable[[], Snapshot]) -> None:
    """Say again and again that nothing is blocked, and say when that has ended.

    Args:
        in_force: returns the bundle in force.
    """
    reminded = math.inf  # seconds of the wall clock, while observing
    while True:
        snapshot, now = in_force(), unix_seconds()
        if snapshot.observe_until is not None and snapshot.observes(now):
            if not 0 <= now - reminded < REMIND_SECONDS:
                until = render_instant(snapshot.observe_until)
                log.warning("observe mode: NOTHING IS BLOCKED, refusals are only recorded", extra={"until": until})
                reminded = now
        elif reminded != math.inf:
            log.warning("observe mode has ended: refusals are enforced")
            reminded = math.inf
        await asyncio.sleep(LOOK_SECONDS)
