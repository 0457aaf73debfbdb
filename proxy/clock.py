# SPDX-License-Identifier: Apache-2.0
"""The only place that reads time. Everything that decides is handed its ``now``."""

import time
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from typing import Final

elapsed_seconds: Final = time.perf_counter
"""A monotonic reading for durations, in seconds."""


def unix_seconds() -> float:
    """Read the wall clock, in seconds since 1970-01-01 UTC."""
    return time.time()  # noqa: TID251 - this is the place


def monotonic_microseconds() -> int:
    """Read the clock by which service managers tell reloads apart, CLOCK_MONOTONIC, in microseconds."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def render_instant(unix: float) -> str:
    """Render a wall-clock reading as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def render_date(unix: float) -> str:
    """Render the day of a wall-clock reading, in UTC."""
    return datetime.fromtimestamp(unix, UTC).date().isoformat()


@lru_cache(maxsize=2)
def render_http_date(unix: int) -> str:
    """Render a second of the wall clock as RFC 9110 5.6.7 has it: ``Sun, 06 Nov 1994 08:49:37 GMT``."""
    return formatdate(unix, usegmt=True)


def parse_instant(text: str) -> float:
    """Return the wall-clock reading of what ``render_instant`` wrote; ValueError for anything else."""
    return datetime.fromisoformat(text).timestamp()
