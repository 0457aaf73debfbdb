# SPDX-License-Identifier: Apache-2.0
"""What pure functions of bytes have said, kept for when the same bytes come again: bounded in number and in bytes."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

Value = TypeVar("Value")


class Recall(Generic[Value]):
    """Values by the bytes that they were read from, in two generations.

    A value that is asked for is in the young one, or moves there. When that is full it becomes the old one, and what
    was still in the old one is forgotten. So nothing is ever searched for what was used least, and what is in use
    stays.

    Args:
        count: of values.
        key_bytes: of a key that is kept at all.
        total_bytes: of all keys, and of what values take beside them.
        weigh: says how many bytes a value takes; None: about nothing.
    """

    def __init__(
        self, *, count: int, key_bytes: int, total_bytes: int, weigh: Callable[[Value], int] | None = None
    ) -> None:
        self.young: dict[bytes, Value] = {}
        """Where to look first; whoever finds nothing here asks ``find``."""
        self._old: dict[bytes, Value] = {}
        self._young_bytes = 0
        self._count: Final = count // 2
        self._key_bytes: Final = key_bytes
        self._total_bytes: Final = total_bytes // 2
        self._weigh: Final = weigh

    def find(self, key: bytes) -> Value | None:
        """Return what was kept, None if nothing was."""
        value = self.young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.keep(key, value)
        return value

    def keep(self, key: bytes, value: Value) -> None:
        """Keep a value, unless its key is too long."""
        if len(key) > self._key_bytes:
            return
        size = len(key) if self._weigh is None else len(key) + self._weigh(value)
        if len(self.young) >= self._count or self._young_bytes + size > self._total_bytes:
            self._old, self.young, self._young_bytes = self.young, {}, 0
        self.young[key] = value
        self._young_bytes += size
