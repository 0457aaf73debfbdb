# SPDX-License-Identifier: Apache-2.0
"""``sekisho keygen FILE``: makes the key of pseudonyms."""

import argparse
import os
import secrets
from pathlib import Path

from proxy.errors import UsageError
from proxy.ledger.pseudonym import KEY_BYTES


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("file", type=Path, help="the file to make; it must not exist")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write a new key that only this user can read."""
    write_key(options.file)
    print(f"{options.file} holds a new key.")
    print("Whoever has it can tell whom a pseudonym means: keep it off the ledger's disk.")
    return 0


def write_key(path: Path) -> None:
    """Write a new key.

    Raises:
        UsageError: the file exists, or cannot be made.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(
            f"{path} exists: a new key in its place would make old records unlinkable. Name another file."
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}. Name another file.") from error
    with os.fdopen(file, "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(KEY_BYTES) + "\n")
