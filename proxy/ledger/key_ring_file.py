# SPDX-License-Identifier: Apache-2.0
"""The file that holds the key ring: read, and made so that its owner alone can read it. This module does I/O."""

import secrets
from pathlib import Path
from typing import Final

from proxy.disk import find_kind, read_key_file, write_new_file
from proxy.errors import UsageError
from proxy.ledger.pseudonym import MONTHS, KeyRing, KeyRingError

MAX_BYTES: Final = 1024 * 1024
_WHAT: Final = "The key of pseudonyms"
_MEND: Final = "Make one with `sekisho keygen FILE` and name it with --pseudonym-key FILE."


def read_key_ring(path: Path | None) -> KeyRing:
    """Read the key ring.

    Raises:
        UsageError: there is none, or it is none.
    """
    found = find_key_file(path)
    return parse_key_text(found, read_key_text(found))


def find_key_file(path: Path | None) -> Path:
    """Return where the key ring is; UsageError if nobody said where."""
    if path is None:
        raise UsageError(f"The key of pseudonyms is not set: people are never recorded by name. {_MEND}")
    return path


def read_key_text(path: Path) -> str:
    """Read what stands in the file of a key ring.

    Raises:
        UsageError: that is no text, cannot be had, or is open to others.
    """
    data = read_key_file(path, _WHAT, _MEND, limit=MAX_BYTES)
    if not data.isascii():
        raise UsageError(f"{_WHAT} {path} is none: it is not ASCII text. {_MEND}")
    return data.decode("ascii")


def parse_key_text(path: Path, text: str) -> KeyRing:
    """Read a key ring that stands in a file; UsageError if it is none."""
    try:
        return KeyRing.parse(text)
    except KeyRingError as error:
        kind = find_kind(text.encode(), "--pseudonym-key")
        raise UsageError(f"The key ring {path} cannot be used{kind}: {error}.") from None


def make_key_file(path: Path, first: str, months: int = MONTHS) -> KeyRing:
    """Write new keys into a new file, readable by its owner alone, and return them.

    Args:
        path: the file.
        first: the first period.
        months: how many of them.

    Raises:
        UsageError: the file exists, or cannot be made.
        KeyRingError: so many months cannot be had.
    """
    ring = KeyRing.generate(first, months, secrets.token_bytes)
    try:
        write_new_file(path, ring.render(), 0o600)
    except FileExistsError as error:
        raise UsageError(
            f"{path} exists: new keys in its place would make old records unlinkable. Name another file, or add months "
            "to it with --extend."
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}. Name another file.") from error
    return ring
