# SPDX-License-Identifier: Apache-2.0
"""Opens what counts, as the settings say. This module does I/O."""

import contextlib

import msgspec

from proxy.clock import elapsed_seconds
from proxy.model.ports import CountsSource, Volume
from proxy.telemetry import Metrics
from proxy.volume.memory import MemoryCounts
from proxy.volume.options import MEMORY, VolumeOptions


class Counting(msgspec.Struct, frozen=True):
    """What counts."""

    volume: Volume
    source: CountsSource | None
    """Whom to ask where ``volume`` does not know; None where it always does."""


async def open_counts(stack: contextlib.AsyncExitStack, options: VolumeOptions, metrics: Metrics) -> Counting:
    """Return what counts, until the stack ends.

    Raises:
        UsageError: a file that the settings name cannot be read.
    """
    if options.counts == MEMORY:
        memory = MemoryCounts(options.counts_max_members, elapsed_seconds)
        metrics.counts_members.set_function(lambda: memory.members)
        return Counting(memory, None)
    from proxy.volume.shared import SharedCounts  # noqa: PLC0415 - its library is loaded only where it is used

    shared = SharedCounts(options, metrics)
    stack.push_async_callback(shared.close)
    await shared.start()
    return Counting(shared, shared)
