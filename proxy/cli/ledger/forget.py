# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger forget FILE PERIOD``: erases the key of a month, so that its records are of nobody any more."""

import argparse
from pathlib import Path

from proxy.clock import unix_seconds
from proxy.disk import replace_file
from proxy.errors import UsageError
from proxy.ledger.key_ring_file import parse_key_text, read_key_text
from proxy.ledger.pseudonym import SUBJECTS, KeyRing, KeyRingError, parse_period, period_of


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="the key ring, as --pseudonym-key names it")
    add("period", metavar="YYYY-MM", help="the month whose key is erased")
    add("--yes", action="store_true", help="do it: the key cannot be had back")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Erase the key, and say what that does and does not do."""
    path, period = options.file, options.period
    text = read_key_text(path)
    ring = parse_key_text(path, text)
    _refuse(ring, period, unix_seconds())
    months = _tell(ring.months_of(period))
    if not options.yes:
        raise UsageError(
            f"This erases the key of {period} for ever: whom the records of {months} name could never be told again. "
            "Say --yes to do it."
        )
    replace_file(path, ring.without(period).rewrite(text), scrub=True)
    print(f"{path} has no key of {period} any more.")
    print(
        f"- The records of {months} name people by hashes that nobody can link to anybody, once every copy of the key"
    )
    print("  is gone: backups and snapshots of this file, copies of other gateways and of whoever resolves names. A")
    print("  gateway that runs holds the key in memory until it reads the file again.")
    print("- No record was changed: every signature, checkpoint and proof stands.")
    print("- What else a record says stays, and may still tell somebody apart: address, affiliate, ties, and that two")
    print("  records of one month are of the same person.")
    return 0


def _tell(months: tuple[str, ...]) -> str:
    return " and ".join(months) if len(months) < 3 else f"{months[0]} to {months[-1]}"


def _refuse(ring: KeyRing, period: str, now: float) -> None:
    """Refuse to erase what is still needed, or is not there; UsageError."""
    if period == SUBJECTS:
        raise UsageError(
            f"The key `{SUBJECTS}` is of no month: grants name data subjects under it, and no record does. To part "
            "with it, write the grants anew with a new ring."
        )
    try:
        parse_period(period)
    except KeyRingError as error:
        raise UsageError(f"{error}.") from None
    if period not in ring.names:
        raise UsageError(f"The ring has no key of {period}. It has: {', '.join(ring.periods)}.")
    if period >= period_of(now):
        raise UsageError(f"The month {period} is not over: records are still made with its key. Erase it afterwards.")
    if period == ring.period_at(now):
        raise UsageError(
            f"The key of {period} is still in use, as no later month has one: add months with `sekisho keygen FILE "
            "--extend`, have every gateway read the file, and erase it then."
        )
