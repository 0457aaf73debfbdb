# SPDX-License-Identifier: Apache-2.0
"""The file that holds the key ring: read, made, and replaced whole. This module does I/O.

Only its owner can read it. It is replaced by renaming, so that whoever reads it finds the old one or the new one.
"""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

from proxy.disk import sync_folder
from proxy.errors import UsageError
from proxy.ledger.pseudonym import MONTHS, KeyRing, KeyRingError

MAX_BYTES: Final = 1024 * 1024
_MEND: Final = "Make one with `sekisho keygen FILE` and name it with --pseudonym-key FILE."


def read_key_ring(path: Path | None) -> KeyRing:
    """Read the key ring.

    Raises:
        UsageError: there is none, or it is none.
    """
    if path is None:
        raise UsageError(f"The key of pseudonyms is not set: people are never recorded by name. {_MEND}")
    return parse_key_text(path, read_key_text(path))


def read_key_text(path: Path) -> str:
    """Read what stands in the file of a key ring; UsageError if that is no text or cannot be had."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"The key of pseudonyms {path} cannot be read: {error.strerror}. {_MEND}") from error
    if len(data) > MAX_BYTES or not data.isascii():
        told = "has more than a mebibyte" if len(data) > MAX_BYTES else "is not ASCII text"
        raise UsageError(f"The key ring {path} is none: it {told}. {_MEND}")
    return data.decode("ascii")


def parse_key_text(path: Path, text: str) -> KeyRing:
    """Read a key ring that stands in a file; UsageError if it is none."""
    try:
        return KeyRing.parse(text)
    except KeyRingError as error:
        raise UsageError(f"The key ring {path} cannot be used: {error}.") from None


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
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise UsageError(
            f"{path} exists: new keys in its place would make old records unlinkable. Name another file, or add months "
            "to it with --extend."
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}. Name another file.") from error
    try:
        _write(file, ring.render())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror}. Name another file.") from error
    return ring


def replace_key_file(path: Path, text: str, *, scrub: bool = False) -> None:
    """Replace what stands in the file, whole or not at all; its mode and a link that leads to it stay.

    Args:
        path: the file.
        text: what shall stand there.
        scrub: write over what stood there, as far as that can be done: unless the file has other names, too.

    Raises:
        UsageError: it cannot be replaced; the message says whether it is as it was.
    """
    name, is_replaced = "", False
    try:
        real = path.resolve(strict=True)
        with real.open("r+b" if scrub else "rb") as old:
            about = os.fstat(old.fileno())
            file, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}-")
            os.fchmod(file, about.st_mode & 0o777)
            if (about.st_uid, about.st_gid) != (os.geteuid(), os.getegid()):
                with contextlib.suppress(PermissionError):
                    os.fchown(file, about.st_uid, about.st_gid)
            _write(file, text)
            Path(name).replace(real)
            is_replaced = True
            sync_folder(real.parent)
            if scrub and about.st_nlink == 1:
                old.write(bytes(about.st_size))
                old.flush()
                os.fsync(old.fileno())
    except OSError as error:
        if is_replaced:
            raise UsageError(
                f"{path} was replaced, but what stood there cannot be written over: {error.strerror}."
            ) from error
        if name:
            Path(name).unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be replaced: {error.strerror}. It is as it was.") from error


def _write(file: int, text: str) -> None:
    """Write a text to an open file, to the disk, and close it."""
    with os.fdopen(file, "w", encoding="ascii") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
