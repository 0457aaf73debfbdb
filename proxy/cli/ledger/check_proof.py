# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger check-proof FILE --key VKEY``: verifies that one line is in a ledger, with nothing but its proof."""

import argparse
import sys
from pathlib import Path
from typing import Final

import msgspec

from proxy.cli.ledger.keys import add_key_flag, find_verifier_keys
from proxy.errors import UsageError
from proxy.ledger.note import NoteError, encode_base64
from proxy.ledger.proof import MAX_PROOF_CHARS, InclusionProof, check_proof, parse_proof
from proxy.ledger.tree_head import TreeHead

_MAX_LINE_BYTES: Final = 4 * 1024 * 1024


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("file", type=Path, help="the proof, *.tlog-proof, as `sekisho ledger prove` writes it")
    add_key_flag(parser)
    text = "the line that is proven, where the proof does not carry it"
    parser.add_argument("--line", type=Path, metavar="FILE", help=text)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the line if it is proven, and why not if it is not."""
    keys = find_verifier_keys(options.key)
    data = _read(options.file, MAX_PROOF_CHARS)
    try:
        proof = _parse(data)
        entry = _find_entry(options, proof)
        head = check_proof(proof, entry, keys)
    except NoteError as error:
        print(f"{options.file} proves nothing: {error}.", file=sys.stderr)
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
        return _read(options.line, _MAX_LINE_BYTES).removesuffix(b"\n")
    if not proof.extra:
        raise UsageError(f"{options.file} does not carry the line that it proves: name its file with --line FILE.")
    return proof.extra


def _parse(data: bytes) -> InclusionProof:
    try:
        return parse_proof(data.decode())
    except UnicodeDecodeError:
        raise NoteError("it is no text in UTF-8") from None


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > most:
        raise UsageError(f"{path} has more than {most} bytes.")
    return data
