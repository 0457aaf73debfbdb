# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger consistency DIR --from FILE``: proves that what a checkpoint signs goes on from an earlier one.

DIR is the ledger, whose lines make the proof, or the file of a proof that was made before and needs no ledger. It is of
what was signed: a line that was edited since takes no proof from two checkpoints, and ``verify`` names it.
"""

import argparse
import sys
from pathlib import Path

from proxy.cli.ledger.keys import add_key_flag, find_verifier_keys, read_note
from proxy.cli.ledger.prove import find_segments, write_new
from proxy.cli.terminal import plain
from proxy.errors import UsageError
from proxy.ledger.note import NoteError, VerifierKey, encode_base64
from proxy.ledger.proof import ConsistencyProof, check_consistency, parse_consistency
from proxy.ledger.prove import NotProvenError, prove_growth
from proxy.ledger.segments import CHECKPOINT
from proxy.ledger.tree_head import TreeHead, open_tree_head


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("source", type=Path, metavar="DIR", help="the folder of the ledger; or a proof that --out wrote before")
    add("--from", dest="from_", type=Path, required=True, metavar="FILE", help="the earlier checkpoint")
    add("--to", type=Path, metavar="FILE", help="the later checkpoint; by default the ledger's last")
    add_key_flag(parser)
    add("--out", type=Path, metavar="FILE", help="write the proof into a file that is made")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print whether a checkpoint continues another, and why not if it does not."""
    keys = find_verifier_keys(options.key)
    earlier_note = read_note(options.from_)
    try:
        earlier = _open(options.from_, earlier_note, keys)
        proof = _read_proof(options) if options.source.is_file() else _prove(options, earlier, keys)
        later = check_consistency(proof, earlier, keys)
    except (NoteError, NotProvenError) as error:
        print(plain(f"inconsistent: {error}."), file=sys.stderr)
        return 1
    except OSError as error:
        raise UsageError(f"The ledger {options.source} cannot be read: {error.strerror}.") from error
    if options.out is not None:
        write_new(options.out, proof.render())
    print(
        f"consistent: the {later.size} lines that {later.origin} signed go on from the {earlier.size} signed before\n"
        "Whether they still lie there as they were signed: sekisho ledger verify DIR --key VKEY"
    )
    for name, value in _describe(earlier, later):
        print(f"{name:<9} {value}")
    for each in proof.hashes:
        print(f"proof     {encode_base64(each)}")
    return 0


def _describe(earlier: TreeHead, later: TreeHead) -> list[tuple[str, str]]:
    return [
        ("origin", later.origin),
        ("from", f"{earlier.size} {encode_base64(earlier.root)}"),
        ("to", f"{later.size} {encode_base64(later.root)}"),
    ]


def _open(file: Path, note: str, keys: tuple[VerifierKey, ...]) -> TreeHead:
    try:
        return open_tree_head(note, keys)
    except NoteError as error:
        raise NoteError(f"{file} is not to be believed: {error}") from None


def _prove(options: argparse.Namespace, earlier: TreeHead, keys: tuple[VerifierKey, ...]) -> ConsistencyProof:
    segments = find_segments(options.source)
    file = options.to or options.source / CHECKPOINT
    note = read_note(file)
    later = _open(file, note, keys)
    if later.size < earlier.size and options.to is not None:
        raise UsageError(f"{file} covers fewer lines than {options.from_}: the earlier one goes with --from.")
    if later.size < earlier.size:
        raise NotProvenError(
            f"{options.from_} covers {earlier.size} lines, and the last checkpoint of the ledger {later.size}: "
            "its end is gone"
        )
    return ConsistencyProof(earlier.size, prove_growth(segments, earlier, later), note)


def _read_proof(options: argparse.Namespace) -> ConsistencyProof:
    if options.to is not None:
        raise UsageError(f"{options.source} holds the later checkpoint already: leave --to out.")
    return parse_consistency(read_note(options.source))
