# SPDX-License-Identifier: Apache-2.0
"""Somebody who would rather not have been refused gets at a copy of the ledger."""

import shutil
from pathlib import Path

from proxy.ledger.segments import list_segments

_WAS, _IS = b'"status":403', b'"status":203'


def change_one_byte(ledger: Path, copy: Path, decision_id: str) -> str:
    """Copy a ledger, and change one byte of a decision in it.

    Returns:
        What was changed.

    Raises:
        ValueError: there is no such refusal in it.
    """
    shutil.copytree(ledger, copy)
    for segment in list_segments(copy):
        lines = segment.path.read_bytes().split(b"\n")
        for number, line in enumerate(lines):
            if decision_id.encode() in line and _WAS in line:
                lines[number] = line.replace(_WAS, _IS, 1)
                segment.path.write_bytes(b"\n".join(lines))
                return f"{_WAS.decode()} into {_IS.decode()}"
    raise ValueError(f"no refusal with the id {decision_id} is in {ledger}")
