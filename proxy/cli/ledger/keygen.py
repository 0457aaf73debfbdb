# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger keygen FILE --name NAME``: makes the key that signs the checkpoints of one ledger."""

import argparse
from pathlib import Path

from proxy.errors import UsageError
from proxy.ledger.key_file import write_key_pair
from proxy.ledger.note import NoteError, SigningKey


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add(
        "file",
        type=Path,
        metavar="FILE",
        help="the file to make; the verifier key goes into FILE.pub; neither must exist",
    )
    text = "what the ledger is called, for each writer another one, such as sekisho.example.com/tokyo-1"
    add("--name", required=True, metavar="ORIGIN", help=text)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write a new key that only this user can read, and show what verifies its signatures."""
    key = _make_key(options.name)
    public = write_key_pair(options.file, key)
    print(f"{options.file} holds the key that signs for {key.name}: name it with --ledger-key {options.file}.")
    print("Whoever has it can sign another past: keep it from all but the gateway, and use it for one ledger alone.")
    print()
    print(key.verifier)
    print()
    print(f"This is its verifier key ({public}). Hand it to whoever shall verify the ledger, before they need it,")
    print("and keep a copy where nobody who runs the gateway can change it: `sekisho ledger verify DIR --key VKEY`.")
    return 0


def _make_key(name: str) -> SigningKey:
    try:
        key = SigningKey.generate(name)
    except NoteError as error:
        raise UsageError(f"--name cannot be {name!r}: {error}.") from None
    if not name.isprintable():
        raise UsageError(f"--name cannot be {name!r}: it has characters that cannot be seen.")
    return key
