# SPDX-License-Identifier: Apache-2.0
"""A ledger's folder as tests read it."""

import base64
import json
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy.ledger.entry import encode_body
from proxy.ledger.lines import CallerRecorded, DecisionLine, OriginRecorded, SubjectRecorded
from proxy.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from proxy.ledger.note import SigningKey
from proxy.ledger.segments import list_segments
from proxy.ledger.tree_head import TreeHead, open_tree_head

KEY: Final = SigningKey.generate("sekisho.example/ledger")


def write_ledger_key(path: Path, key: SigningKey = KEY) -> Path:
    """Write a signing key into a file, as `sekisho ledger keygen` does."""
    path.touch(mode=0o600)
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
    return [fill(record) for record in records if kind in {None, record["line"]}]


def fill(record: dict[str, Any]) -> dict[str, Any]:
    """Return a line with what is left out of a decision because nobody knows it."""
    if record["line"] != "decision":
        return record
    told = {
        "caller": {"who": ""} | dict.fromkeys(("issuer", "affiliate", "kind", "countries"), "unknown"),
        "origin": {"ip": "unknown", "country": "unknown", "network": "absent"},
        "subject": {"country": "unknown", "id": "unknown"},
    }
    return record | {part: defaults | record.get(part, {}) for part, defaults in told.items()}


def read_decisions(folder: Path) -> list[dict[str, Any]]:
    """Return all decisions; whatever a line leaves unsaid of caller, origin and subject is said."""
    parts: list[tuple[str, Any]] = [
        ("caller", CallerRecorded()), ("origin", OriginRecorded()), ("subject", SubjectRecorded())
    ]  # fmt: skip
    unsaid = {name: msgspec.structs.asdict(part) for name, part in parts}
    return [
        record | {name: unsaid[name] | record.get(name, {}) for name in unsaid}
        for record in read_records(folder, "decision")
    ]


def read_ends(folder: Path) -> list[dict[str, Any]]:
    """Return, for each request that has ended, the line that says how: its own, or the decision's."""
    ended = {record["id"]: record for record in read_records(folder) if "complete" in record}
    return list(ended.values())


def read_verified(
    folder: Path, key: SigningKey = KEY, gaps: list[tuple[int, int]] | None = None
) -> list[dict[str, Any]]:
    """Return all lines of a ledger, each held against the format, the chain, the tree and the checkpoints.

    It shares nothing with the writer and the verifier but the tree's and the notes' own modules.

    Args:
        folder: of the ledger.
        key: that signed it.
        gaps: takes, of each place where lines are missing before a segment, the number expected and the one found;
            without it, there must be none.
    """
    records: list[dict[str, Any]] = []
    tree, prev, time = Frontier(), base64.b64encode(EMPTY_ROOT).decode(), ""
    for segment in list_segments(folder):
        data = segment.path.read_bytes()
        assert data.endswith(b"\n"), f"{segment.path.name} does not end with a whole line"
        for number, line in enumerate(data[:-1].split(b"\n")):
            record = json.loads(line)
            assert list(record)[:4] == ["n", "prev", "time", "line"], line
            if number == 0:
                assert (record["line"], record["n"], record["origin"]) == ("segment", segment.first, key.name)
                peaks = [base64.b64decode(peak) for peak in record["peaks"]]
                if tree.size != segment.first:
                    assert gaps is not None, f"lines {tree.size} to {segment.first} are missing"
                    gaps.append((tree.size, segment.first))
                    tree, prev = Frontier(segment.first, peaks), record["prev"]
                assert peaks == tree.peaks
            assert (record["n"], record["prev"]) == (tree.size, prev), line
            assert record["time"] >= time or record["line"] == "clock", line
            if record["line"] == "checkpoint":
                assert open_tree_head(record["note"], [key.verifier]) == TreeHead(key.name, tree.size, tree.root())
            leaf = leaf_hash(line)
            tree.append(leaf)
            prev, time = base64.b64encode(leaf).decode(), record["time"]
            records.append(record)
    return records


def decode_decision(line: object) -> DecisionLine:
    """Return what a decision line says."""
    return msgspec.json.decode(encode_body(line), type=DecisionLine)
