# SPDX-License-Identifier: Apache-2.0
"""A snapshot travels from the process that made it to one that serves, in slices.

Reading a snapshot of ten thousand rules in one go would hold a serving process up for half a second. So every long
mapping and tuple travels by itself, a few entries a slice, before what holds it; between two slices requests are
served. Slices come from our own child process alone, over a pipe: pickle is no format for anybody else's bytes.
"""

import io
import pickle
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from proxy.bundle.snapshot import Snapshot

SLICE: Final = 64
"""Entries of a mapping or a tuple that travel at once: some milliseconds of work."""
_LONG: Final = 2 * SLICE


class Part(msgspec.Struct, frozen=True):
    """Some entries of a long mapping or tuple."""

    number: int
    """Of the container."""
    entries: list[Any]
    is_mapping: bool
    is_last: bool


class _Packer(pickle.Pickler):
    """Pickles a value with a number in the place of everything long, which is then pickled before it."""

    def __init__(self, stream: io.BytesIO, known: dict[int, int], found: list[Any]) -> None:
        super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
        self._known = known
        self._found = found

    def persistent_id(self, value: Any) -> int | None:
        kind = type(value)
        if (kind is not dict and kind is not tuple) or len(value) <= _LONG:
            return None
        number = self._known.get(id(value))
        if number is None:
            number = self._known[id(value)] = len(self._known)
            self._found.append(value)
        return number


def pack(snapshot: Snapshot) -> Iterator[bytes]:
    """Yield a snapshot in slices, the last of which is the snapshot itself.

    What serves needs neither tests nor places in files: they stay behind.
    """
    served = msgspec.structs.replace(
        snapshot,
        cases=(),
        fixtures={},
        places={},
        parties=(),
        declared=msgspec.structs.replace(
            snapshot.declared, **dict.fromkeys(snapshot.declared.__struct_fields__, frozenset())
        ),
    )
    yield from _Packing().pack(served)


class _Packing:
    def __init__(self) -> None:
        self.known: dict[int, int] = {}
        self.kept: list[Any] = []
        """What was numbered, so that no other object gets its id meanwhile."""

    def pack(self, value: Any) -> Iterator[bytes]:
        """Yield everything long inside of a value, then the value."""
        stream, found = io.BytesIO(), list[Any]()
        _Packer(stream, self.known, found).dump(value)
        for container in found:
            self.kept.append(container)
            yield from self._pack_long(container)
        yield stream.getvalue()

    def _pack_long(self, container: Any) -> Iterator[bytes]:
        number = self.known[id(container)]
        is_mapping = isinstance(container, dict)
        entries = list(container.items()) if is_mapping else list(container)
        for start in range(0, len(entries), SLICE):
            is_last = start + SLICE >= len(entries)
            yield from self.pack(Part(number, entries[start : start + SLICE], is_mapping, is_last))


class Assembly:
    """Puts slices together again."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self._containers: dict[int, Any] = {}

    def take(self, data: bytes) -> object:
        """Take the next slice and return what it is; ``snapshot`` is there after the last."""
        unpickler = pickle.Unpickler(io.BytesIO(data))  # noqa: S301 - our own child's bytes, over a pipe
        unpickler.persistent_load = self._containers.__getitem__  # type: ignore[method-assign]
        value = unpickler.load()
        if isinstance(value, Snapshot):
            self.snapshot = value
            self._containers = {}
        elif isinstance(value, Part):
            self._add(value)
        return value

    def _add(self, part: Part) -> None:
        container = self._containers.setdefault(part.number, {} if part.is_mapping else [])
        if part.is_mapping:
            container.update(part.entries)
        else:
            container.extend(part.entries)
            if part.is_last:
                self._containers[part.number] = tuple(container)
