# SPDX-License-Identifier: Apache-2.0
"""Whether connecting to an API is worth while, told by how it went before. Pure: it is told the time."""


class Health:
    """Opens after failures in a row, and then lets one try through at a time.

    Args:
        failures: in a row, after which the API is taken for down.
        seconds: how long it then is, before it is tried again.
    """

    def __init__(self, failures: int, seconds: float) -> None:
        self._limit = failures
        self._seconds = seconds
        self._failed = 0
        self._until = 0.0

    @property
    def is_down(self) -> bool:
        """Whether the last tries failed, as many as it takes."""
        return self._failed >= self._limit

    def allows(self, now: float, connecting: int) -> bool:
        """Say whether to connect now.

        Args:
            now: a reading of ``elapsed_seconds``.
            connecting: how many tries are under way.
        """
        return not self.is_down or (now >= self._until and connecting == 0)

    def note_failure(self, now: float) -> bool:
        """Take note of a try that failed, and say whether the API is given up by it, for the first time or again.

        Tries that began before it was given up and fail meanwhile do not make that longer.
        """
        if self.is_down and now < self._until:
            return False
        self._failed += 1
        if not self.is_down:
            return False
        self._until = now + self._seconds
        return True

    def note_success(self) -> None:
        """Take note of a connection that was made."""
        self._failed = 0
