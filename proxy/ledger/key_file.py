# SPDX-License-Identifier: Apache-2.0
"""The files of the keys that sign and verify checkpoints. This module does I/O.

A signing key stands alone in its file. A file of verifier keys has one on each line; empty lines and those that begin
with ``#`` are passed over.
"""

from pathlib import Path
from typing import Final

from proxy.disk import find_kind, read_key_file, write_new_file
from proxy.errors import UsageError
from proxy.ledger.note import NoteError, SigningKey, VerifierKey

MAX_BYTES: Final = 64 * 1024
_WHAT: Final = "The key of the ledger"
_MEND: Final = "Make one with `sekisho ledger keygen FILE --name NAME` and name it with --ledger-key FILE."


def read_signing_key(path: Path | None) -> SigningKey:
    """Read the key that signs a ledger. No message holds a part of it.

    Raises:
        UsageError: there is none, it is none, or it is open to others.
    """
    if path is None:
        raise UsageError(f"The key of the ledger is not set: nobody could tell whether records were changed. {_MEND}")
    data = read_key_file(path, _WHAT, _MEND, limit=MAX_BYTES)
    try:
        return SigningKey.parse(data.decode().strip())
    except UnicodeDecodeError:
        raise UsageError(f"{_WHAT} {path} is none: it is no text in UTF-8. {_MEND}") from None
    except NoteError as error:
        raise UsageError(f"{_WHAT} {path} is none{find_kind(data, '--ledger-key')}: {error}. {_MEND}") from None


def read_verifier_keys(path: Path) -> tuple[VerifierKey, ...]:
    """Read the keys that are believed, at least one.

    Raises:
        UsageError: the file cannot be read, a line in it is no verifier key, or there is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UsageError(f"The file of verifier keys {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise UsageError(f"The file of verifier keys {path} is none: it is no text in UTF-8.") from None
    keys = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not line.startswith("#"):
            try:
                keys.append(VerifierKey.parse(line))
            except NoteError as error:
                raise UsageError(f"{path}:{number}: this is no verifier key: {error}.") from None
    if not keys:
        raise UsageError(f"{path} holds no verifier key. `sekisho ledger keygen` writes one beside each signing key.")
    return tuple(keys)


def write_key_pair(path: Path, key: SigningKey) -> Path:
    """Write a new signing key that only this user can read, and its verifier key beside it.

    Returns:
        The file of the verifier key: the same name with ``.pub`` after it.

    Raises:
        UsageError: one of the files exists or cannot be made; then neither is left behind.
    """
    public = Path(f"{path}.pub")
    _write_new(path, key.render(), 0o600)
    try:
        _write_new(public, str(key.verifier), 0o644)
    except UsageError:
        path.unlink()
        raise
    return public


def _write_new(path: Path, text: str, mode: int) -> None:
    try:
        write_new_file(path, f"{text}\n", mode)
    except FileExistsError as error:
        raise UsageError(
            f"{path} exists: a ledger that is signed with another key than before is not believed. Name another file."
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}. Name another file.") from error
