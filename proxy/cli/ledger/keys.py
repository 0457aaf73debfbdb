# SPDX-License-Identifier: Apache-2.0
"""What the verbs that verify are given: the flag ``--key``, a verifier key or a file of them; files of notes."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from proxy.errors import UsageError
from proxy.ledger.key_file import read_verifier_keys
from proxy.ledger.note import NoteError, VerifierKey
from proxy.ledger.proof import MAX_PROOF_CHARS


def add_key_flag(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add ``--key``, which may be given more than once."""
    text = "a verifier key that is believed, or a file of them; may be given more than once"
    parser.add_argument("--key", action="append", required=required, metavar="VKEY", help=text)


def find_verifier_keys(flags: Sequence[str] | None) -> tuple[VerifierKey, ...]:
    """Return the keys that are believed, each once.

    Args:
        flags: the values of ``--key``: each a verifier key, or the name of a file of them.

    Raises:
        UsageError: one of them is neither.
    """
    keys: dict[VerifierKey, None] = {}
    for flag in flags or ():
        try:
            keys[VerifierKey.parse(flag)] = None
        except NoteError as error:
            if flag.count("+") > 1 and not _is_file(flag):
                raise UsageError(f"--key {_shorten(flag)} is no verifier key: {error}.") from None
            keys.update(dict.fromkeys(read_verifier_keys(Path(flag))))
    return tuple(keys)


def read_note(path: Path) -> str:
    """Return the text of a file that holds a checkpoint or a proof.

    Raises:
        UsageError: it cannot be read, or is no such text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PROOF_CHARS + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_PROOF_CHARS:
        raise UsageError(f"{path} has more than {MAX_PROOF_CHARS} bytes: it is neither a checkpoint nor a proof.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8: it is neither a checkpoint nor a proof.") from None


def _is_file(flag: str) -> bool:
    try:
        return Path(flag).is_file()
    except OSError:  # a name that no file can have
        return False


def _shorten(flag: str) -> str:
    """Return what is shown of a flag: a signing key that was given by mistake is not."""
    return "PRIVATE+KEY+…" if flag.startswith("PRIVATE+KEY+") else flag
