# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger check-proof FILE --key VKEY``: verifies that one line is in a ledger, with nothing but its proof."""

import argparse
import sys
from pathlib import Path

import msgspec

from proxy.cli.ledger.keys import add_key_flag, find_verifier_keys, read_note
from proxy.cli.terminal import plain
from proxy.errors import UsageError
from proxy.ledger.note import NoteError, encode_base64
from proxy.ledger.proof import InclusionProof, check_proof, parse_proof
from proxy.ledger.tree_head import TreeHead


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="the proof, *.tlog-proof, as `sekisho ledger prove` writes it"
    )
    add_key_flag(parser)
    text = "the line that is proven, where the proof does not carry it"
    parser.add_argument("--line", type=Path, metavar="FILE", help=text)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the line if it is proven, and why not if it is not."""
    keys = find_verifier_keys(options.key)
    text = read_note(options.file)
    try:
        proof = parse_proof(text)
        entry = _find_entry(options, proof)
        head = check_proof(proof, entry, keys)
    except NoteError as error:
        print(plain(f"{options.file} proves nothing: {error}."), file=sys.stderr)
        return 1
    print(render_line(entry))
    print()
    for name, value in _describe(proof, head, entry):
        print(f"{name:<9} {value}")
    return 0


def render_line(entry: bytes) -> str:
    """Return a line for reading, one member on each line; what cannot be seen is escaped."""
    try:
        text = msgspec.json.format(entry, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = entry.decode("utf-8", "backslashreplace")
    return "\n".join(map(_escape, text.split("\n")))


def _escape(text: str) -> str:
    """Return text for a terminal: what cannot be seen is told, not done."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _describe(proof: InclusionProof, head: TreeHead, entry: bytes) -> list[tuple[str, str]]:
    return [
        ("proven", f"this is line {proof.index} of the ledger {head.origin}, as it was when {head.size} were written"),
        ("origin", head.origin),
        ("index", str(proof.index)),
        ("size", str(head.size)),
        ("root", encode_base64(head.root)),
        ("time", _find_time(entry)),
    ]


class _Timed(msgspec.Struct):
    time: str


def _find_time(entry: bytes) -> str:
    """Return when the line says it was written."""
    try:
        return _escape(msgspec.json.decode(entry, type=_Timed).time)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "the line names none"


def _find_entry(options: argparse.Namespace, proof: InclusionProof) -> bytes:
    if options.line is not None:
        try:
            entry: bytes = options.line.read_bytes()
        except OSError as error:
            raise UsageError(f"{options.line} cannot be read: {error.strerror}.") from error
        return entry.removesuffix(b"\n")
    if not proof.extra:
        raise UsageError(f"{options.file} does not carry the line that it proves: name its file with --line FILE.")
    return proof.extra
