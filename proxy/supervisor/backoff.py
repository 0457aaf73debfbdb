# SPDX-License-Identifier: Apache-2.0
"""How long a worker that ended by itself is waited for before another is started in its place."""

from typing import Final

FIRST_SECONDS: Final = 0.25
LONGEST_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""A worker that served for so long was all right: the next one is not waited for longer than the first."""


def find_delay(failures: int, chance: float) -> float:
    """Return the seconds before another attempt: they double each time, and vary so that attempts do not go in step.

    Args:
        failures: how many workers in a row did not last; 0 for none.
        chance: from 0 to 1, by lot.
    """
    longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures, 16))
    return longest * (0.5 + chance / 2)
