# SPDX-License-Identifier: Apache-2.0
"""``sekisho keygen FILE``: makes the ring of keys of pseudonyms, or adds months to one."""

import argparse
import secrets
from pathlib import Path

from proxy.clock import unix_seconds
from proxy.disk import replace_file
from proxy.errors import UsageError
from proxy.ledger.key_ring_file import make_key_file, parse_key_text, read_key_text
from proxy.ledger.pseudonym import MONTHS, KeyRingError, period_of


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("file", type=Path, help="the file to make; it must not exist, unless with --extend")
    parser.add_argument("--extend", action="store_true", help="add the months to come that an existing ring lacks")
    parser.add_argument(
        "--months", type=int, default=MONTHS, metavar="N", help=f"from this month on; {MONTHS} unless told"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write new keys that only this user can read."""
    try:
        if options.extend:
            _extend(options.file, options.months)
        else:
            ring = make_key_file(options.file, period_of(unix_seconds()), options.months)
            print(f"{options.file} holds new keys: of grants' subjects, and of {len(ring.periods)} months.")
            print("Whoever has it can tell whom a pseudonym means: keep it off the ledger's disk.")
    except KeyRingError as error:
        raise UsageError(f"--months: {error}.") from error
    return 0


def _extend(path: Path, months: int) -> None:
    text = read_key_text(path)
    before = parse_key_text(path, text)
    ring = before.extend(period_of(unix_seconds()), months, secrets.token_bytes)
    added = [period for period in ring.periods if period not in before.periods]
    if not added:
        print(f"{path} has a key of each of these months already: it is as it was.")
        return
    replace_file(path, ring.rewrite(text))
    count = "a new key, of" if len(added) == 1 else f"{len(added)} new keys, from"
    through = "" if len(added) == 1 else f" to {added[-1]}"
    print(f"{path} has {count} {added[0]}{through}; those that it had are as they were.")
    print("Every gateway with a copy of this file needs this one.")
