# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from proxy.demo.evidence import change_one_byte
from proxy.ledger.segments import segment_name

REFUSAL = b'{"n":1,"id":"A","status":403,"rule":"r"}'


def write(folder: Path, *lines: bytes) -> Path:
    folder.mkdir()
    (folder / segment_name(0)).write_bytes(b"".join(line + b"\n" for line in lines))
    return folder


def test_one_byte_of_the_copy_is_another_and_the_ledger_is_as_it_was(tmp_path: Path) -> None:
    ledger = write(tmp_path / "ledger", b'{"n":0}', REFUSAL, b'{"n":2,"id":"B","status":403}')
    before = (ledger / segment_name(0)).read_bytes()
    assert change_one_byte(ledger, tmp_path / "copy", "A") == '"status":403 into "status":203'
    after = (tmp_path / "copy" / segment_name(0)).read_bytes()
    assert [number for number, (one, other) in enumerate(zip(before, after, strict=True)) if one != other] == [
        before.index(b"403")
    ]
    assert (ledger / segment_name(0)).read_bytes() == before


def test_a_refusal_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no refusal with the id C"):
        change_one_byte(write(tmp_path / "ledger", REFUSAL), tmp_path / "copy", "C")
