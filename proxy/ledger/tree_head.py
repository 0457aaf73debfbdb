# SPDX-License-Identifier: Apache-2.0
"""Tree heads as checkpoints (c2sp.org/tlog-checkpoint): which ledger, how many lines, which root; signed as a note.

::

    ledger.example/tokyo-1
    1042
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — ledger.example/tokyo-1 Az3grl…
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.ledger.merkle import EMPTY_ROOT, HASH_BYTES
from proxy.ledger.note import NoteError, SigningKey, VerifierKey, decode_base64, encode_base64, open_note

MAX_SIZE: Final = (1 << 63) - 1
"""The largest number of leaves that other tools read."""
_MAX_DIGITS: Final = len(str(MAX_SIZE))


class TreeHead(msgspec.Struct, frozen=True):
    """What a checkpoint says."""

    origin: str
    """Which ledger: the name of the key that signs for it."""
    size: int
    """Number of leaves."""
    root: bytes
    """32 bytes."""

    def render(self) -> str:
        """Return the text of the checkpoint, which is signed."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"


def parse_tree_head(text: str) -> TreeHead:
    """Read the text of a checkpoint. Extension lines are passed over.

    Raises:
        NoteError: it is none.
    """
    origin, *lines = text.split("\n")
    if len(lines) < 3 or lines.pop() != "":
        raise NoteError("a checkpoint has the lines origin, size and root")
    if not origin:
        raise NoteError("the origin of a checkpoint is not empty")
    if "" in lines[2:]:
        raise NoteError("a checkpoint has no empty line")
    size = parse_decimal(lines[0], "the size of a checkpoint")
    try:
        root = decode_base64(lines[1])
    except NoteError:
        raise NoteError("the root of a checkpoint is no base64") from None
    if len(root) != HASH_BYTES:
        raise NoteError(f"the root of a checkpoint has {HASH_BYTES} bytes, not {len(root)}")
    if size == 0 and root != EMPTY_ROOT:
        raise NoteError("the root of a checkpoint of size 0 is not that of the empty tree")
    return TreeHead(origin, size, root)


def sign_tree_head(key: SigningKey, head: TreeHead) -> str:
    """Return a checkpoint, signed.

    Raises:
        ValueError: the key signs for another origin.
    """
    if key.name != head.origin:
        raise ValueError(f"the key of {key.name} does not sign for {head.origin}")
    return key.sign(head.render())


def open_tree_head(note: str, keys: Sequence[VerifierKey]) -> TreeHead:
    """Verify a checkpoint.

    Raises:
        NoteError: it is no checkpoint, or no key of its own origin among ``keys`` signed it.
    """
    opened = open_note(note, keys)
    head = parse_tree_head(opened.text)
    if all(key.name != head.origin for key in opened.keys):
        raise NoteError(f"the checkpoint is of {head.origin!r}, and signed by {opened.keys[0].name} for it")
    return head


def parse_decimal(text: str, what: str) -> int:
    """Read a number of leaves as specifications of transparency logs write it.

    Raises:
        NoteError: it is no plain decimal number from 0 to ``MAX_SIZE``.
    """
    plain = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    if not plain or (text[0] == "0" and text != "0") or int(text) > MAX_SIZE:
        raise NoteError(f"{what} is a plain decimal number, not {text[:40]!r}")
    return int(text)
