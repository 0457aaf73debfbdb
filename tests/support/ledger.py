# SPDX-License-Identifier: Apache-2.0
"""A ledger's folder as tests read it."""

import json
from pathlib import Path
from typing import Any, Final

from proxy.ledger.note import SigningKey
from proxy.ledger.segments import list_segments

KEY: Final = SigningKey.generate("sekisho.example/ledger")


def write_ledger_key(path: Path, key: SigningKey = KEY) -> Path:
    """Write a signing key into a file, as `sekisho ledger keygen` does."""
    path.write_text(key.render() + "\n", encoding="ascii")
    return path


def read_raw(folder: Path) -> list[bytes]:
    """Return all whole lines of a ledger, without their newlines."""
    lines: list[bytes] = []
    for segment in list_segments(folder) if folder.is_dir() else []:
        lines += segment.path.read_bytes().split(b"\n")[:-1]
    return lines


def read_records(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Return all lines of a ledger, or those of a kind."""
    records: list[dict[str, Any]] = [json.loads(line) for line in read_raw(folder)]
    return [record for record in records if kind in {None, record["line"]}]


def read_ends(folder: Path) -> list[dict[str, Any]]:
    """Return, for each request that has ended, the line that says how: its own, or the decision's."""
    ended = {record["id"]: record for record in read_records(folder) if "complete" in record}
    return list(ended.values())
