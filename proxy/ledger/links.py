# SPDX-License-Identifier: Apache-2.0
"""How lines hang together, read from bytes that anybody may have changed, and how to say what is wrong with them."""

import binascii
import re
from collections.abc import Sequence
from typing import Final

from proxy.ledger.entry import HASH_LENGTH, read_frame
from proxy.ledger.merkle import HASH_BYTES
from proxy.ledger.tree_head import MAX_SIZE

MAX_LINE: Final = 1024 * 1024
"""Bytes of a line; the writer's are far shorter."""
_NUMBER: Final = re.compile(rb'\{"n":(0|[1-9][0-9]{0,18}),')
_TO_PREV: Final = ',"prev":"'
_PREV: Final = re.compile(rb'"prev":"([A-Za-z0-9+/]{43}=)"')


def read_link(line: bytes) -> tuple[int, bytes] | None:
    """Return the number of a line and the leaf before it (32 bytes), as it says itself; None if it does not."""
    read = read_frame(line)
    prev = decode_hash(read.prev) if read is not None else None
    return None if read is None or prev is None or read.n > MAX_SIZE else (read.n, prev)


def are_linked(lines: Sequence[bytes], first: int, leaves: Sequence[bytes]) -> bool:
    """Tell whether lines begin with the numbers that follow one another, each with the hash of the line before it.

    Args:
        lines: whose numbers have the same number of digits.
        first: the number of the first of them.
        leaves: for each the leaf of the line before it.
    """
    numbers = str([*range(first, first + len(lines))])[1:-1].replace(", ", f'{_TO_PREV}{{"n":')
    at = 5 + len(str(first)) + len(_TO_PREV)
    if b"".join([line[:at] for line in lines]) != f'{{"n":{numbers}{_TO_PREV}'.encode():
        return False
    encoded = bytearray(binascii.b2a_base64(b"\x00".join((*leaves, b"")), newline=False))
    encoded[HASH_LENGTH - 1 :: HASH_LENGTH] = b"=" * len(leaves)  # 33 bytes are 44 characters; the last is no hash's
    end = at + HASH_LENGTH
    return b"".join([line[at:end] for line in lines]) == encoded


def decode_hash(encoded: bytes) -> bytes | None:
    """Return the hash of a ``prev``, None if it is none as a writer renders it."""
    data = binascii.a2b_base64(encoded)
    return data if len(data) == HASH_BYTES and binascii.b2a_base64(data, newline=False) == encoded else None


def read_number(line: bytes) -> int | None:
    """Return the number that a line says, also where its frame is damaged elsewhere."""
    match = _NUMBER.match(line)
    return int(match[1]) if match is not None and int(match[1]) <= MAX_SIZE else None


def find_prev(line: bytes) -> bytes | None:
    """Return what a line says of the one before it, also where its frame is damaged elsewhere."""
    match = _PREV.search(line, 0, 128)
    return decode_hash(match[1]) if match is not None else None


def describe_damage(line: bytes, n: int | None, expected: int | None) -> str:
    """Say in a clause how a line shows that no gateway wrote it so.

    Args:
        line: its bytes, at least their beginning.
        n: the number that it says.
        expected: the number of the line that belongs in its place, if one does.
    """
    if len(line) > MAX_LINE:
        return f"it has more than {MAX_LINE:,} bytes, and no gateway writes such lines"
    if line.startswith(b"\x1f\x8b"):
        return "it is packed with gzip, and so perhaps the whole file"
    if n is not None and expected is not None and n != expected:
        return f"it says that it is line {n}, and stands where line {expected} belongs"
    if not line:
        return "it is empty"
    try:
        is_text = line.decode().isprintable()
    except UnicodeDecodeError:
        is_text = False
    return "it does not begin as a line of a ledger does" if is_text else "it is no text"


def clean(text: str) -> str:
    """Return a text without what a terminal would act on."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text[:200])


def tell_lines(first: int, last: int) -> str:
    """Return ``line 5 is`` or ``lines 5 to 9 are``."""
    return f"line {first} is" if first == last else f"lines {first} to {last} are"


def tell_count(count: int, what: str) -> str:
    """Return ``1 line`` or ``5 lines``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
