# SPDX-License-Identifier: Apache-2.0
"""The tree over lines of which some were changed: each way in which that can be read, until a signature says which.

Where a line says another hash of the line before than that has, one of the two was changed. If it is the one before,
its true hash is known, and the tree goes on with it. If it is the later one, in what it says of the line before, the
line after that will find it changed, too. So a few readings are carried along at most, and the first checkpoint whose
root one of them has decides.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from proxy.ledger.finding import MAX_FINDINGS, End
from proxy.ledger.merkle import Frontier

MAX_READINGS: Final = 8

Place = tuple[int, int]
"""Line of the file, number in the ledger."""
_Places = tuple[Place, "_Places"] | None
"""The last of some places, and those before it: readings share what they have in common."""


class _Reading:
    """One of them.

    Args:
        frontier: of the tree so far.
        edited: lines that were changed.
        roots: that were asked for.
        waits: whether it holds only if the next line turns out to be changed.
    """

    __slots__ = ("edited", "frontier", "roots", "waits")

    def __init__(self, frontier: Frontier, edited: _Places, roots: dict[int, bytes], *, waits: bool = False) -> None:
        self.frontier = frontier
        self.edited = edited
        self.roots = roots
        self.waits = waits


class Readings:
    """The tree so far.

    Args:
        frontier: that it continues; None where that is not known.
        sizes: at which the root is asked for.
    """

    def __init__(self, frontier: Frontier | None, sizes: Iterable[int] = ()) -> None:
        self._sizes = sorted(set(sizes), reverse=True)
        """Those that lie ahead, the nearest last."""
        self._open = [_Reading(frontier, None, {})] if frontier is not None else []
        self.settled: list[Place] = []
        """Lines that were changed."""
        self.doubtful: list[Place] = []
        """Lines that were changed, or else what the next one says of them."""
        self.roots: dict[int, bytes] = {}
        self._note_roots()

    @property
    def is_lost(self) -> bool:
        """Whether leaves are missing, so that no root can be told any more."""
        return not self._open

    @property
    def is_plain(self) -> bool:
        """Whether nothing is open."""
        return len(self._open) < 2

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaves that are certain."""
        if not self._open or not leaves:
            return
        begin, size = 0, self._open[0].frontier.size
        while self._sizes and self._sizes[-1] <= size + len(leaves):
            end = self._sizes[-1] - size
            self._extend(leaves[begin:end])
            begin = end
            self._note_roots()
        self._extend(leaves[begin:])

    def _extend(self, leaves: Sequence[bytes]) -> None:
        for reading in self._open:
            reading.frontier.extend(leaves)

    def _note_roots(self) -> None:
        if not self._open:
            return
        size = self._open[0].frontier.size
        while self._sizes and self._sizes[-1] <= size:
            asked = self._sizes.pop()
            if asked == size:
                for reading in self._open:
                    reading.roots[asked] = reading.frontier.root()

    def confirm(self, leaf: bytes) -> None:
        """Add the leaf of a line that the next one says to be as it is."""
        self._open = [reading for reading in self._open if not reading.waits] or self._open[:1]
        self.extend((leaf,))

    def differ(self, own: bytes, said: bytes, place: Place) -> None:
        """Add the leaf of a line of which the next one says that it was another.

        Args:
            own: the leaf of the line as it lies there.
            said: the leaf that it had by the next line.
            place: of the line.
        """
        changed = [_Reading(each.frontier.copy(), (place, each.edited), dict(each.roots)) for each in self._open]
        others = [_Reading(each.frontier, each.edited, each.roots, waits=True) for each in self._open]
        others = others[: max(0, MAX_READINGS - len(changed))]
        if not self._open:
            self.settled.append(place)
        for reading in changed:
            reading.frontier.append(said)
        for reading in others:
            reading.frontier.append(own)
        self._open = [*changed, *others]
        self._note_roots()

    def replace(self, said: bytes) -> None:
        """Add the leaf that a line had by the next one, where it is certain that it was changed."""
        for reading in self._open:
            reading.waits = False
        self.extend((said,))

    def holds(self, root: bytes) -> bool:
        """Tell whether a reading has this root; then it is the one."""
        for reading in self._open:
            if reading.frontier.root() == root:
                self._settle(reading)
                self._open = [reading]
                return True
        return False

    def lose(self) -> None:
        """Go on without a tree."""
        if self._open:
            sure, doubtful = tell_apart([_list(reading.edited) for reading in self._open])
            self.settled += sure
            self.doubtful += doubtful
            self.roots.update(self._open[0].roots)
        self._open = []

    def _settle(self, reading: _Reading) -> None:
        self.settled.extend(_list(reading.edited))
        self.roots.update(reading.roots)
        reading.edited, reading.roots, reading.waits = None, {}, False

    def peaks_of(self, size: int) -> set[tuple[bytes, ...]]:
        """Return the peaks that the tree may have at its size, if that is the one asked for."""
        return {tuple(each.frontier.peaks) for each in self._open if each.frontier.size == size}

    def ends(self) -> tuple[End, ...]:
        """Return what is left open, the likeliest first."""
        ends = []
        for each in self._open:
            edited = _list(each.edited)
            kept = tuple(edited[:MAX_FINDINGS])
            roots = {**self.roots, **each.roots}
            ends.append(End(tuple(each.frontier.peaks), kept, len(edited) - len(kept), roots))
        return tuple(ends)


def _list(places: _Places) -> list[Place]:
    """Return places in their order."""
    found = []
    while places is not None:
        place, places = places
        found.append(place)
    return found[::-1]


def tell_apart(readings: Sequence[Sequence[Place]]) -> tuple[list[Place], list[Place]]:
    """Return which lines were changed by every reading, and which others by the likeliest one, the first."""
    common = set(readings[0]).intersection(*readings[1:])
    return [each for each in readings[0] if each in common], [each for each in readings[0] if each not in common]
