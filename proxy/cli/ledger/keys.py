# SPDX-License-Identifier: Apache-2.0
"""The flag ``--key`` of the verbs that verify: a verifier key, or a file of them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from proxy.errors import UsageError
from proxy.ledger.key_file import read_verifier_keys
from proxy.ledger.note import NoteError, VerifierKey


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


def _is_file(flag: str) -> bool:
    try:
        return Path(flag).is_file()
    except OSError:  # a name that no file can have
        return False


def _shorten(flag: str) -> str:
    """Return what is shown of a flag: a signing key that was given by mistake is not."""
    return "PRIVATE+KEY+…" if flag.startswith("PRIVATE+KEY+") else flag
