# SPDX-License-Identifier: Apache-2.0
"""The file of the keys that sign assertions: read, made, and rotated. This module does I/O.

Whoever reads it can sign, and whoever writes it can have another sign: it is refused where others than its owner and
its group can read it, or others than its owner write it.
"""

from pathlib import Path
from typing import Final

from proxy.assertion.keys import AssertionKey, AssertionKeyError, AssertionKeys, make_ring_text
from proxy.disk import find_kind, read_key_file, write_new_file
from proxy.errors import UsageError

MAX_BYTES: Final = 64 * 1024
_WHAT: Final = "The file of keys of assertions"
_MEND: Final = "Make one with `sekisho keys new FILE`."


def read_key_text(path: Path) -> str:
    """Read what stands in a file of keys; UsageError if that is no text, cannot be had, or is not kept secret."""
    data = read_key_file(path, _WHAT, _MEND, limit=MAX_BYTES)
    if not data.isascii():
        raise UsageError(f"{_WHAT} {path} is none: it is not ASCII text. {_MEND}")
    return data.decode("ascii")


def parse_key_text(path: Path, text: str) -> AssertionKeys:
    """Read the keys that stand in a file; UsageError if there are none."""
    try:
        return AssertionKeys.parse(text)
    except AssertionKeyError as error:
        kind = find_kind(text.encode(), "SEKISHO_ASSERTION_KEY")
        raise UsageError(f"The file {path} holds no keys of assertions that can be used{kind}: {error}.") from None


def read_keys(path: Path) -> AssertionKeys:
    """Read the keys of a file; UsageError if they cannot be had or used."""
    return parse_key_text(path, read_key_text(path))


def make_key_file(path: Path, key: AssertionKey) -> None:
    """Write a key into a new file that its owner alone can read.

    Raises:
        UsageError: the file exists, or cannot be made.
    """
    try:
        write_new_file(path, make_ring_text(key), 0o600)
    except FileExistsError as error:
        raise UsageError(
            f"{path} exists: APIs would not know the key in its place. Name another file, or add a key with "
            "`sekisho keys rotate`."
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}. Name another file.") from error
