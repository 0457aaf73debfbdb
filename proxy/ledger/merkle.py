# SPDX-License-Identifier: Apache-2.0
"""The Merkle tree of RFC 6962 section 2.1, SHA-256: over which lines a checkpoint speaks, and proofs of that.

A hash is 32 bytes. A leaf is the hash of an entry's bytes (here: of a line without its newline), a node that of two
nodes; they are told apart by a first byte, so no node passes for an entry. A tree of n leaves is split at the largest
power of two less than n.

A *frontier* (compact range) is all that has to be kept of a tree to continue it: the roots of its perfect subtrees,
at most one for each power of two, largest first. Proofs are made from a frontier and the leaves after it, in one pass
and in memory that grows with the logarithm alone.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import islice
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256().digest()
"""The root of the tree without leaves: the hash of nothing."""
_AT_ONCE: Final = 4096
"""How many leaves are taken from a stream at once."""

Range = tuple[int, int]
"""The leaves from the first number up to, not including, the second."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the leaf of an entry."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the node above two nodes."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that can be continued: its size and the roots of its perfect subtrees.

    Args:
        size: number of leaves.
        peaks: roots of the perfect subtrees, the largest and leftmost first, as many as ``size`` has one bits.

    Raises:
        ValueError: the peaks are not those of a tree of that size.
    """

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if size < 0 or len(self.peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks, not {len(self.peaks)}")
        if any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise ValueError(f"a peak has {HASH_BYTES} bytes")

    def __repr__(self) -> str:
        return f"Frontier(size={self.size})"

    def append(self, leaf: bytes) -> None:
        """Add one leaf. This is on the way of each request: one hash on average, and nothing else to spare."""
        peaks, size = self.peaks, self.size
        self.size = size + 1
        while size & 1:
            leaf = sha256(b"\x01" + peaks.pop() + leaf).digest()
            size >>= 1
        peaks.append(leaf)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaves, row by row of the tree above them, which costs little more than the hashes themselves."""
        size = self.size
        self.size = size + len(leaves)
        peaks, row, last = self.peaks, list(leaves), []
        while row:
            if size & 1:  # the last perfect subtree of this height takes part
                row.insert(0, peaks.pop())
            if len(row) & 1:
                last.append(row.pop())
            each = iter(row)
            row = [sha256(b"\x01" + left + right).digest() for left, right in zip(each, each, strict=True)]
            size >>= 1
        peaks.extend(reversed(last))

    def root(self) -> bytes:
        """Return the root of the tree."""
        peaks = self.peaks
        if not peaks:
            return EMPTY_ROOT
        root = peaks[-1]
        for peak in peaks[-2::-1]:
            root = sha256(b"\x01" + peak + root).digest()
        return root

    def copy(self) -> "Frontier":
        """Return one of its own that is continued apart."""
        new = Frontier.__new__(Frontier)
        new.size = self.size
        new.peaks = self.peaks.copy()
        return new


def prove_inclusion(frontier: Frontier, leaves: Iterable[bytes], index: int, size: int) -> tuple[bytes, ...]:
    """Prove that a leaf is in a tree (RFC 6962 2.1.1).

    Args:
        frontier: of the tree before the first of ``leaves``; it stays as it is.
        leaves: the leaves after it, at least up to ``size``; no more are taken.
        index: number of the leaf from 0, not before ``frontier``.
        size: number of leaves of the tree in which it is proven.

    Returns:
        The hashes beside the way from the leaf to the root, the leaf's neighbour first.

    Raises:
        ValueError: there is no such leaf, or the leaves end too early.
    """
    if not frontier.size <= index < size:
        raise ValueError(f"leaf {index} is not between the frontier {frontier.size} and the size {size}")
    return _hash_ranges(frontier, leaves, _inclusion_ranges(index, size), size)


def prove_consistency(frontier: Frontier, leaves: Iterable[bytes], old: int, new: int) -> tuple[bytes, ...]:
    """Prove that a tree continues another (RFC 6962 2.1.2).

    Args:
        frontier: of the tree before the first of ``leaves``; it stays as it is.
        leaves: the leaves after it, at least up to ``new``; no more are taken.
        old: number of leaves of the earlier tree, not fewer than those of ``frontier``.
        new: number of leaves of the later tree.

    Returns:
        The hashes from which both roots follow; none where one of the trees is empty or both are one.

    Raises:
        ValueError: the later tree is the smaller one, or the leaves end too early.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves does not continue one of {old}")
    if old in {0, new}:
        return ()
    if old < frontier.size:
        raise ValueError(f"a tree of {old} leaves ends before the frontier {frontier.size}")
    return _hash_ranges(frontier, leaves, _consistency_ranges(old, new), new)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether a leaf is in the tree of that root and size (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes((leaf, root, *proof)):
        return False
    number, last, node = index, size - 1, leaf
    for beside in proof:
        if last == 0:
            return False
        if number & 1 or number == last:
            node = node_hash(beside, node)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            node = node_hash(node, beside)
        number, last = number >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether the tree of ``new`` leaves continues that of ``old`` (RFC 9162 2.1.4.2).

    Every tree continues the empty one, and itself, by an empty proof.
    """
    if not 0 <= old <= new or not _are_hashes((old_root, new_root, *proof)):
        return False
    if old in {0, new}:
        begins = old_root == EMPTY_ROOT if old == 0 else True
        return begins and not proof and (old != new or old_root == new_root)
    path = list(proof)
    if old & (old - 1) == 0:  # the earlier tree is a perfect subtree of the later: its root is known
        path.insert(0, old_root)
    if not path:
        return False
    number, last = old - 1, new - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    earlier = later = path[0]
    for beside in path[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            earlier, later = node_hash(beside, earlier), node_hash(beside, later)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            later = node_hash(later, beside)
        number, last = number >> 1, last >> 1
    return last == 0 and earlier == old_root and later == new_root


def _are_hashes(values: Iterable[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


def _split(size: int) -> int:
    """Return the largest power of two less than a size of at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the subtrees beside the way from a leaf to the root, from the leaf on."""
    ranges: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def _consistency_ranges(old: int, new: int) -> list[Range]:
    """Return the subtrees from which the roots of both trees follow, 0 < old < new, in the order of RFC 6962."""
    ranges: list[Range] = []
    start, end = 0, new
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start:  # otherwise it is the earlier tree itself, whose root a verifier has
        ranges.append((start, end))
    return ranges[::-1]


def _hash_ranges(frontier: Frontier, leaves: Iterable[bytes], ranges: Sequence[Range], size: int) -> tuple[bytes, ...]:
    """Return the roots over ranges of leaves of a tree of ``size``, in the order of ``ranges``, in one pass.

    Each range begins at a multiple of the least power of two that it fits in, and ends at or after the frontier, or is
    one of its subtrees. So what it has before the frontier is made of whole peaks.
    """
    roots: dict[Range, bytes] = {}
    stream, at = iter(leaves), frontier.size
    for start, end in sorted(ranges):
        at = _skip(stream, at, start)
        begun = _peaks_within(frontier, start, end)
        part = Frontier(sum(1 << height for height, _ in begun), [peak for _, peak in begun])
        while start + part.size < end:
            taken = list(islice(stream, min(end - start - part.size, _AT_ONCE)))
            if not taken:
                raise ValueError(f"the leaves end at {at}, the tree has {size}")
            part.extend(taken)
            at += len(taken)
        roots[start, end] = part.root()
    if _skip(stream, at, size) < size:
        raise ValueError(f"the leaves end before {size}")
    return tuple(roots[each] for each in ranges)


def _skip(stream: Iterable[bytes], at: int, to: int) -> int:
    """Pass over leaves up to number ``to``; return where the stream is then."""
    while at < to:
        passed = sum(1 for _ in islice(stream, min(to - at, _AT_ONCE)))
        if not passed:
            return at
        at += passed
    return at


def _peaks_within(frontier: Frontier, start: int, end: int) -> list[tuple[int, bytes]]:
    """Return the peaks that lie in a range of leaves, each with its height."""
    found: list[tuple[int, bytes]] = []
    at, heights = 0, range(frontier.size.bit_length() - 1, -1, -1)
    peaks = zip((height for height in heights if frontier.size >> height & 1), frontier.peaks, strict=True)
    for height, peak in peaks:
        if start <= at and at + (1 << height) <= end:
            found.append((height, peak))
        at += 1 << height
    return found
