# SPDX-License-Identifier: Apache-2.0
"""The ledger that settings name is opened as they say, or it is said why not."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import UsageError
from proxy.ledger.lines import KeysLine
from proxy.ledger.opening import open_ledger
from proxy.ledger.options import LedgerOptions
from proxy.telemetry import Metrics
from tests.support.ledger import read_verified, write_ledger_key

LINE = KeysLine(pseudonyms="2026-11")


def options(folder: Path, **changes: Any) -> LedgerOptions:
    key = folder / "key"
    return LedgerOptions(**{"ledger": folder / "ledger", "ledger_key": key, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_ledger_key(tmp_path / "key")
    return tmp_path


async def test_lines_go_to_the_folder_that_is_named_signed_by_the_key(folder: Path) -> None:
    journal = open_ledger(options(folder), Metrics())
    journal.begin(lambda: [LINE], LINE)
    assert journal.append([LINE]) is None
    await journal.close()
    assert [record["line"] for record in read_verified(folder / "ledger")][-2:] == ["stop", "checkpoint"]


async def test_synced_is_waited_for(folder: Path) -> None:
    journal = open_ledger(options(folder, ledger_durability="synced"), Metrics())
    journal.begin(lambda: [LINE], LINE)
    waiting = journal.append([LINE])
    assert waiting is not None
    await waiting
    await journal.close()


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        pytest.param({"ledger_checkpoint_lines": 2}, 5, id="by the lines between checkpoints"),
        pytest.param({"ledger_checkpoint_lines": 10**6}, 0, id="by none"),
    ],
)
async def test_limits_are_those_of_the_settings(folder: Path, changes: dict[str, Any], count: int) -> None:
    journal = open_ledger(options(folder, **changes), Metrics())
    for _ in range(10):
        journal.append([LINE])
    kinds = [record["line"] for record in read_verified(folder / "ledger")]
    assert kinds.count("checkpoint") == count
    await journal.close()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"ledger_durability": "synced"}, id="synced"),
        pytest.param({"ledger_witness": ["/tmp/witness"]}, id="with a witness"),  # noqa: S108 - nothing is written
    ],
)
def test_standard_output_is_refused(folder: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="go with a folder"):
        open_ledger(options(folder, ledger=Path("-"), **changes), Metrics())


def test_a_ledger_without_a_key_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="sekisho ledger keygen"):
        open_ledger(options(folder, ledger_key=None), Metrics())


async def test_a_ledger_that_a_witness_knows_better_is_refused_and_given_free(folder: Path) -> None:
    (folder / "witness").mkdir()
    witnessed = options(folder, ledger_witness=[str(folder / "witness")])
    journal = open_ledger(witnessed, Metrics())
    journal.begin(lambda: [LINE], LINE)
    await journal.close()
    shutil.rmtree(folder / "ledger")
    for _ in range(2):
        with pytest.raises(UsageError, match="lines at its end are gone"):
            open_ledger(witnessed, Metrics())
