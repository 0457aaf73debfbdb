# SPDX-License-Identifier: Apache-2.0
"""``sekisho keys new FILE``: makes a file with a key that signs decisions for APIs."""

import argparse
from pathlib import Path

from proxy.assertion.key_file import make_key_file
from proxy.assertion.keys import ALGORITHMS, EDDSA, AssertionKey
from proxy.clock import unix_seconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the file to make; it must not exist")
    add_algorithm_flag(parser, EDDSA)
    parser.set_defaults(run=run)


def add_algorithm_flag(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Add ``--algorithm``."""
    text = f"how the key signs: EdDSA (Ed25519) or ES256 (P-256) ({default or 'as the last one'})"
    parser.add_argument("--algorithm", choices=ALGORITHMS, default=default, help=text)


def run(options: argparse.Namespace) -> int:
    """Write a new key that only this user can read."""
    key = AssertionKey.generate(unix_seconds(), options.algorithm)
    make_key_file(options.file, key)
    print(f"{options.file} holds a new key, {key.id}: set SEKISHO_ASSERTION_KEY={options.file}.")
    print("Whoever has it can make an API believe that the gateway let a request pass. Every worker and replica has")
    print(f"the same. What APIs need: `sekisho keys export {options.file}`.")
    return 0
