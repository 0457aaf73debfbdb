# SPDX-License-Identifier: Apache-2.0
"""A ledger of several segments and many checkpoints, as the writer itself writes it; and ways to tamper with it."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy.gateway.ids import make_request_id
from proxy.ledger.lines import DecisionLine, EndLine
from proxy.ledger.note import SigningKey
from proxy.ledger.segments import list_segments
from proxy.ledger.writer import LedgerWriter, Limits
from proxy.telemetry import Metrics

KEY: Final = SigningKey("ledger.example/tokyo-1", bytes(range(32)))
BEGIN: Final = 1_764_000_000.0
LIMITS: Final = Limits(segment_bytes=12_000, checkpoint_lines=7)


def write_sample(folder: Path, decisions: int = 100, *, key: SigningKey = KEY, end: bool = True) -> list[str]:
    """Write decisions, each with an ``end`` line, one every 10 seconds; return their ids.

    Args:
        folder: of the ledger.
        decisions: how many.
        key: signs.
        end: whether the last lines are signed.
    """
    now = BEGIN
    writer = LedgerWriter(folder, Metrics(), key, LIMITS, clock=lambda: now)
    ids = []
    for _ in range(decisions):
        ids.append(make_request_id(now))
        now += 10.0
        writer.append([_decision(ids[-1])])
        writer.append([EndLine(id=ids[-1], status=200, complete=True)])
    if end:
        writer.sign(now)
        writer.publish()
    writer.close()
    return ids


def _decision(request_id: str) -> DecisionLine:
    return DecisionLine(
        id=request_id, effect="allow", reason="rule-allows", released=True, status=200, method="GET", bundle="0" * 32
    )


def change_line(folder: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of one line, wherever it stands; what it becomes may be no line, or several."""
    for segment in list_segments(folder):
        lines = segment.path.read_bytes().split(b"\n")
        at = number - segment.first
        if 0 <= at < len(lines) - 1:
            lines[at : at + 1] = change(lines[at]).split(b"\n")
            segment.path.write_bytes(b"\n".join(lines))
            return
    raise AssertionError(f"there is no line {number}")


def remove_line(folder: Path, number: int) -> None:
    """Take one line out."""
    for segment in list_segments(folder):
        lines = segment.path.read_bytes().split(b"\n")
        at = number - segment.first
        if 0 <= at < len(lines) - 1:
            segment.path.write_bytes(b"\n".join([*lines[:at], *lines[at + 1 :]]))
            return
    raise AssertionError(f"there is no line {number}")


def flip(entry: bytes) -> bytes:
    """Change a line's status: it reads as well as before."""
    return entry.replace(b'"status":200', b'"status":201').replace(b'"complete":true', b'"complete":True')


def flip_prev(entry: bytes) -> bytes:
    """Change what a line says of the one before it."""
    prev = json.loads(entry)["prev"]
    other = base64.b64encode(bytes(byte ^ 1 for byte in base64.b64decode(prev))).decode()
    return entry.replace(prev.encode(), other.encode())


def read_lines(folder: Path) -> list[bytes]:
    """Return all whole lines."""
    return [line for segment in list_segments(folder) for line in segment.path.read_bytes().split(b"\n")[:-1]]


def find_checkpoints(folder: Path) -> list[tuple[int, str]]:
    """Return the checkpoints of a ledger, each with its line's number."""
    decoded = [json.loads(line) for line in read_lines(folder)]
    return [(line["n"], line["note"]) for line in decoded if line["line"] == "checkpoint"]
