# SPDX-License-Identifier: Apache-2.0
"""Ledgers as files, line by line: what readers read, without a gateway."""

import argparse
import base64
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from proxy.clock import render_instant
from proxy.gateway.ids import make_request_id
from proxy.ledger.entry import FIRST_PREV, encode_body, frame
from proxy.ledger.lines import (
    CallerRecorded,
    DecisionLine,
    EndLine,
    Line,
    OriginRecorded,
    SegmentLine,
    SubjectRecorded,
)
from proxy.ledger.merkle import leaf_hash
from proxy.ledger.segments import segment_name

BEGAN: Final = 1616457600.0
"""2021-03-23T00:00:00Z."""
WANG: Final = "a1" * 16
SATO: Final = "b2" * 16
USER_42: Final = "users:" + "c3" * 16
SHANGHAI: Final = CallerRecorded(
    who=WANG,
    issuer="corp",
    affiliate="shanghai-digital",
    kind="contractor",
    countries=("CN", "JP"),
    ties=("employer:CN:shanghai-digital", "control.majority:JP:shanghai-digital<ly"),
)
TOKYO: Final = CallerRecorded(who=SATO, issuer="corp", affiliate="ly", kind="employee", countries=("JP",))


class LedgerOnDisk:
    """Writes a ledger's lines as its writer does, one after another.

    Args:
        folder: made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.n = 0
        self.now = BEGAN
        self.path = folder / segment_name(0)
        self._prev = FIRST_PREV
        self._segments = 0

    def begin(self) -> Path:
        """Begin a segment and return its file."""
        self.path = self.folder / segment_name(self.n)
        line = SegmentLine(format=1, origin="gateway.example/1", segment=self._segments, peaks=())
        self._segments += 1
        return self.write(line)

    def write(self, *lines: Line, seconds: float = 1.0) -> Path:
        """Append lines, each so many seconds after the one before."""
        with self.path.open("ab") as file:
            for line in lines:
                self.now += seconds
                data = frame(self.n, self._prev, render_instant(self.now).encode(), encode_body(line))
                self._prev = base64.b64encode(leaf_hash(data))
                self.n += 1
                file.write(data + b"\n")
        return self.path


def a_decision(now: float = BEGAN, **changes: Any) -> DecisionLine:
    """Return the line of a refusal: somebody in Shanghai asks for a Japanese user."""
    fields: dict[str, Any] = {
        "id": make_request_id(now),
        "effect": "deny",
        "reason": "rule-denies",
        "released": False,
        "status": 403,
        "rule": "jp-no-china",
        "certainty": "matched",
        "method": "GET",
        "api": "users",
        "route": "user",
        "action": "read",
        "data": ("name", "phone"),
        "caller": SHANGHAI,
        "origin": OriginRecorded(ip="203.0.113.9", country="CN", source="registry"),
        "subject": SubjectRecorded(country="JP", id=USER_42),
        "bundle": "ab" * 16,
    }
    return DecisionLine(**(fields | changes))


def an_allowance(now: float = BEGAN, **changes: Any) -> DecisionLine:
    """Return the line of a request that passes: an employee in Tokyo asks for the same."""
    fields: dict[str, Any] = {
        "effect": "allow",
        "reason": "rule-allows",
        "released": True,
        "status": 200,
        "rule": "ly-staff-read-japan",
        "caller": TOKYO,
        "origin": OriginRecorded(ip="198.51.100.7", country="JP", network="tokyo-vpn", source="network"),
    }
    return a_decision(now, **(fields | changes))


def an_end(request_id: str, **changes: Any) -> EndLine:
    """Return the line of an answer that left whole."""
    fields: dict[str, Any] = {"id": request_id, "status": 200, "complete": True, "bytes": 512, "seconds": 0.012}
    return EndLine(**(fields | changes))


def write_ledger(folder: Path, *segments: Sequence[Line]) -> LedgerOnDisk:
    """Write a ledger of segments, each with its lines, one second apart."""
    ledger = LedgerOnDisk(folder)
    for lines in segments:
        ledger.begin()
        ledger.write(*lines)
    return ledger


def run_verb(verb: str, *arguments: object) -> int:
    """Run a verb of ``sekisho ledger`` by itself and return its exit code."""
    parser = argparse.ArgumentParser(prog=f"sekisho ledger {verb}")
    import_module(f"proxy.cli.ledger.{verb}").configure(parser)
    options = parser.parse_args(list(map(str, arguments)))
    code: int = options.run(options)
    return code


def as_row(line: Line, n: int = 0, now: float = BEGAN) -> dict[str, Any]:
    """Return a line as a reader decodes it."""
    row: dict[str, Any] = {"n": n, "time": render_instant(now)} | json.loads(encode_body(line))
    return row
