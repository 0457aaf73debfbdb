# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger prove DIR ID``: hands out one decision with the proof that it is in the ledger, and nothing else."""

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Final

from proxy.cli.ledger.keys import add_key_flag, find_verifier_keys, read_note
from proxy.cli.ledger.source import COUNTED, where_counted
from proxy.cli.terminal import plain
from proxy.errors import UsageError
from proxy.ledger.options import LedgerOptions
from proxy.ledger.proof import check_proof
from proxy.ledger.prove import NotCoveredError, NotProvenError, Proven, find_among, prove_line
from proxy.ledger.segments import Segment, describe_no_ledger, list_ledgers, list_segments, segment_name

_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_NEXT: Final = (
    f"A gateway that runs signs its lines within {LedgerOptions().ledger_checkpoint_seconds:g} seconds, if "
    "SEKISHO_LEDGER_CHECKPOINT_SECONDS says nothing else, and when it stops: try again then."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("ledger", type=Path, metavar="DIR", help="the folder of the ledger")
    add("id", metavar="ID", help="the decision's id, as the caller was told it")
    add_key_flag(parser, required=False)
    text = "prove it in this checkpoint, which was kept elsewhere; by default in the ledger's first one after the line"
    add("--checkpoint", type=Path, metavar="FILE", help=text)
    add("--out", type=Path, metavar="FILE", help="the file to make; by default ID.tlog-proof; - is standard output")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the proof of one decision, once it has been verified here."""
    request_id = options.id.strip()  # as it was copied
    if not _ID.fullmatch(request_id):
        raise UsageError(f"{options.id!r} is no id of a decision, such as 01HF8QZ3V9M2T6X0C4B7N5K1AR.")
    keys = find_verifier_keys(options.key)
    note = read_note(options.checkpoint) if options.checkpoint else ""
    ledgers = _find_ledgers(options.ledger)
    try:
        found = find_among(ledgers, request_id)
        if found is None:
            raise UsageError(
                f"No decision of the ledger {options.ledger} has the id {request_id}; {COUNTED}: "
                f"{where_counted(str(options.ledger))}"
            )
        proven = prove_line(*found, keys, note)
    except OSError as error:
        raise UsageError(f"The ledger {options.ledger} cannot be read: {error.strerror}.") from error
    except NotCoveredError as error:
        print(f"{request_id} cannot be proven: {error}.{'' if note else f' {_NEXT}'}", file=sys.stderr)
        return 1
    except NotProvenError as error:
        print(plain(f"{request_id} cannot be proven: {error}."), file=sys.stderr)
        return 1
    for each in proven.passed:
        print(plain(f"passed over: {each}"), file=sys.stderr)
    if keys:
        check_proof(proven.proof, proven.proof.extra, keys)
    _hand_out(request_id, proven, options.out, is_signed=bool(keys))
    return 0


def find_segments(folder: Path) -> list[Segment]:
    """Return the segments of a ledger.

    Raises:
        UsageError: there are none.
    """
    try:
        segments = list_segments(folder)
    except NotADirectoryError as error:
        raise UsageError(
            f"{folder} is a file, and proofs are made of a ledger's folder: name that. Lines that a collector took "
            f"from standard output are one if those of one start lie in a folder as {segment_name(0)}."
        ) from error
    except OSError as error:
        raise UsageError(f"The ledger {folder} cannot be read: {error.strerror}.") from error
    if not segments:
        raise UsageError(describe_no_ledger(folder))
    return segments


def _find_ledgers(folder: Path) -> list[list[Segment]]:
    """Return the segments of each ledger of a folder, those of workers included."""
    try:
        ledgers = [segments for each in list_ledgers(folder) if (segments := list_segments(each))]
    except OSError:
        ledgers = []
    return ledgers or [find_segments(folder)]


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        UsageError: it is there, or cannot be made.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(file, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} exists: name another file with --out.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}. Name another file with --out.") from error


def _hand_out(request_id: str, proven: Proven, out: Path | None, *, is_signed: bool) -> None:
    text, head = proven.proof.render(), proven.head
    if out == Path("-"):
        sys.stdout.write(text)
        return
    file = out or Path(f"{request_id}.tlog-proof")
    write_new(file, text)
    print(f"{file} proves that {request_id} is line {proven.proof.index} of the ledger {head.origin}:")
    print(f"its checkpoint of {head.size} lines follows from this line and {len(proven.proof.hashes)} hashes.")
    if not is_signed:
        print("Whether the checkpoint is truly signed was not verified: name the verifier key with --key.")
    print(f"Whoever has the verifier key needs nothing else: sekisho ledger check-proof {file} --key VKEY")
