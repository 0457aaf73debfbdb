# SPDX-License-Identifier: Apache-2.0
"""``sekisho keys export FILE``: prints the public keys as a JWK Set (RFC 7517)."""

import argparse
from pathlib import Path

from proxy.assertion.key_file import read_keys


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the file, as SEKISHO_ASSERTION_KEY names it")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print them; nothing of what is printed is secret."""
    print(read_keys(options.file).publish().decode())
    return 0
