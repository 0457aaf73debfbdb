# SPDX-License-Identifier: Apache-2.0
"""Proofs that stand alone, for whoever has only the key of a ledger.

That one line is in it (c2sp.org/tlog-proof, version 1)::

    c2sp.org/tlog-proof@v1
    extra <base64 of the line>
    index 17
    <base64 of a hash, for each on the way to the root>

    <the signed checkpoint>

The line goes along as ``extra``. It is believed because it is the one that the proof holds for, not because it is
there: the specification has ``extra`` unauthenticated.

That a later checkpoint continues an earlier one (the form in which c2sp.org/tlog-witness hands it to witnesses)::

    old 20852014
    <base64 of a hash, for each of the proof>

    <the later signed checkpoint>
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.ledger.merkle import HASH_BYTES, leaf_hash, verify_consistency, verify_inclusion
from proxy.ledger.note import MAX_NOTE_CHARS, NoteError, VerifierKey, decode_base64, encode_base64
from proxy.ledger.tree_head import MAX_SIZE, TreeHead, open_tree_head, parse_decimal

HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_HASHES: Final = MAX_SIZE.bit_length()
"""No way from a leaf to a root is longer."""
MAX_EXTRA_BYTES: Final = 4 * 1024 * 1024
MAX_PROOF_CHARS: Final = 2 * MAX_NOTE_CHARS + 4 * MAX_EXTRA_BYTES // 3

_NO_CHECKPOINT: Final = "a proof ends with an empty line and a signed checkpoint"


class InclusionProof(msgspec.Struct, frozen=True):
    """That an entry is in a ledger: as it was read, not yet believed."""

    index: int
    """The number of the entry, from 0."""
    hashes: tuple[bytes, ...]
    """Those beside the way from its leaf to the root, 32 bytes each, the leaf's neighbour first."""
    note: str
    """The signed checkpoint of a tree that it is in."""
    extra: bytes = b""
    """The entry itself; empty where it is handed over in another way."""

    def render(self) -> str:
        """Return the text that ``parse_proof`` reads, for a file ``*.tlog-proof``."""
        extra = [f"extra {encode_base64(self.extra)}"] if self.extra else []
        lines = [HEADER, *extra, f"index {self.index}", *map(encode_base64, self.hashes), "", self.note]
        return "\n".join(lines)


def parse_proof(text: str) -> InclusionProof:
    """Read a proof. What it says is not yet checked.

    Raises:
        NoteError: it is none.
    """
    if len(text) > MAX_PROOF_CHARS:
        raise NoteError(f"a proof has at most {MAX_PROOF_CHARS} characters")
    head, blank, note = text.partition("\n\n")
    header, *lines = head.split("\n")
    if header != HEADER:
        raise NoteError(f"a proof begins with the line {HEADER}")
    if not blank or not note:
        raise NoteError(_NO_CHECKPOINT)
    extra = b""
    if lines and lines[0].startswith("extra "):
        extra = _read_base64(lines.pop(0).removeprefix("extra "), "the extra data of a proof are")
        if not 0 < len(extra) <= MAX_EXTRA_BYTES:
            raise NoteError(f"the extra data of a proof have 1 to {MAX_EXTRA_BYTES} bytes, not {len(extra)}")
    if not lines or not lines[0].startswith("index "):
        raise NoteError("a proof has a line `index NUMBER` before its hashes")
    index = parse_decimal(lines[0].removeprefix("index "), "the index of a proof")
    return InclusionProof(index, _read_hashes(lines[1:]), note, extra)


def check_proof(proof: InclusionProof, entry: bytes, keys: Sequence[VerifierKey]) -> TreeHead:
    """Verify that an entry is in a ledger.

    Args:
        proof: as it was read.
        entry: the bytes of a line, without its newline.
        keys: those that are believed.

    Returns:
        The checkpoint of the tree in which the entry is line ``proof.index``.

    Raises:
        NoteError: the checkpoint is not to be believed, or the entry is not at that place of its tree.
    """
    head = open_tree_head(proof.note, keys)
    if proof.index >= head.size:
        raise NoteError(f"the checkpoint covers {head.size} lines, and line {proof.index} is not among them")
    if not verify_inclusion(leaf_hash(entry), proof.index, head.size, proof.hashes, head.root):
        raise NoteError(
            f"the entry is not line {proof.index} of the {head.size} lines that {head.origin} signed: "
            "the entry, the index or a hash of the proof was changed"
        )
    return head


class ConsistencyProof(msgspec.Struct, frozen=True):
    """That a tree continues another: as it was read, not yet believed."""

    old: int
    """The number of leaves of the earlier tree."""
    hashes: tuple[bytes, ...]
    note: str
    """The signed checkpoint of the later tree."""

    def render(self) -> str:
        """Return the text that ``parse_consistency`` reads."""
        return "\n".join([f"old {self.old}", *map(encode_base64, self.hashes), "", self.note])


def parse_consistency(text: str) -> ConsistencyProof:
    """Read a proof that a tree continues another. What it says is not yet checked.

    Raises:
        NoteError: it is none.
    """
    if len(text) > MAX_PROOF_CHARS:
        raise NoteError(f"a proof has at most {MAX_PROOF_CHARS} characters")
    head, blank, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    if not first.startswith("old "):
        raise NoteError("a proof that a checkpoint continues another begins with the line `old NUMBER`")
    if not blank or not note:
        raise NoteError(_NO_CHECKPOINT)
    old = parse_decimal(first.removeprefix("old "), "the earlier size of a proof")
    return ConsistencyProof(old, _read_hashes(lines), note)


def check_consistency(proof: ConsistencyProof, earlier: TreeHead, keys: Sequence[VerifierKey]) -> TreeHead:
    """Verify that a checkpoint continues an earlier one.

    Args:
        proof: as it was read.
        earlier: the earlier checkpoint, which is believed.
        keys: those that are believed of the later one.

    Returns:
        The later checkpoint.

    Raises:
        NoteError: the later checkpoint is not to be believed, or it does not continue the earlier one.
    """
    head = open_tree_head(proof.note, keys)
    if head.origin != earlier.origin:
        raise NoteError(f"the later checkpoint is of {head.origin}, the earlier one of {earlier.origin}")
    if proof.old != earlier.size:
        raise NoteError(f"the proof is from {proof.old} lines on, and the earlier checkpoint covers {earlier.size}")
    if not verify_consistency(earlier.size, head.size, earlier.root, head.root, proof.hashes):
        raise NoteError(
            f"the {head.size} lines that {head.origin} signed are not shown to begin with the {earlier.size} it signed "
            "before: these were changed, or a hash of the proof was"
        )
    return head


def _read_hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > MAX_HASHES:
        raise NoteError(f"a proof has at most {MAX_HASHES} hashes")
    hashes = tuple(_read_base64(line, "a hash of a proof is") for line in lines)
    if any(len(each) != HASH_BYTES for each in hashes):
        raise NoteError(f"a hash of a proof has {HASH_BYTES} bytes")
    return hashes


def _read_base64(text: str, what: str) -> bytes:
    try:
        return decode_base64(text)
    except NoteError:
        raise NoteError(f"{what} no base64: {text[:60]!r}") from None
