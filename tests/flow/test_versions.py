# SPDX-License-Identifier: Apache-2.0
"""Ledgers of other versions: one that was written before is gone on with, and what a later one adds breaks nothing.

An upgrade is the first, a rollback the second. What changes the meaning of lines has another ``format``: that is
refused by whoever would write behind it or vouch for it.
"""

import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.cli import main
from proxy.clock import parse_instant, unix_seconds
from proxy.errors import UsageError
from proxy.ledger.audit import verify_folder
from proxy.ledger.chain import Chain
from proxy.ledger.lines import KeysLine, Line, SegmentLine, StopLine
from proxy.ledger.segments import list_segments, segment_name
from proxy.ledger.writer import LedgerWriter
from proxy.telemetry import Metrics
from tests.support.ledger import read_records
from tests.support.sample_ledger import KEY

BEFORE: Final = Path(__file__).parents[1] / "assets" / "ledger-0.1.0.tar.gz"
VKEY: Final = ("--key", str(KEY.verifier))
READERS: Final[Sequence[Sequence[str]]] = [
    ("ledger", "tail", "DIR", "-n", "99"),
    ("ledger", "tail", "DIR", "-n", "99", "--json"),
    ("ledger", "query", "DIR"),
    ("ledger", "export", "DIR", "--ocsf"),
    ("ledger", "verify", "DIR", *VKEY),
]
"""Programs that read a ledger; each must know those of other versions."""


class LaterLine(Line, frozen=True, kw_only=True, tag="later"):
    """A kind of line that this version does not know."""

    what: str


class LaterKeysLine(Line, frozen=True, kw_only=True, tag="keys"):
    """A line with a member that this version does not know."""

    pseudonyms: str
    more: dict[str, int]


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A ledger that an earlier version wrote."""
    with tarfile.open(BEFORE) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # it came with Python 3.11.4
        archive.extractall(tmp_path / "ledger")  # noqa: S202 - ours
    return tmp_path / "ledger"


def go_on(folder: Path, *lines: Any, clock: Callable[[], float] = unix_seconds) -> LedgerWriter:
    """Write lines behind those that are there, and sign them."""
    writer = LedgerWriter(folder, Metrics(), KEY, clock=clock)
    writer.append(lines or [KeysLine(pseudonyms="2026-11"), StopLine()])
    writer.sign(clock())
    writer.publish()
    writer.close()
    return writer


def call(command: Sequence[str], folder: Path) -> int:
    return main([str(folder) if part == "DIR" else part for part in command])


def test_a_ledger_of_before_is_gone_on_with_in_the_same_tree(before: Path) -> None:
    records = read_records(before)
    assert verify_folder(before, [KEY.verifier]).is_good
    same_day = parse_instant(records[-1]["time"])
    writer = go_on(before, clock=lambda: same_day)  # another day begins a segment of its own
    report = verify_folder(before, [KEY.verifier])
    assert report.is_good
    assert (report.segments, report.next) == (1, len(records) + 3)
    assert writer.size == report.next


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_a_ledger_of_before_is_read(before: Path, command: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(command, before) == 0
    out, err = capsys.readouterr()
    assert out
    assert "skipped" not in err


def test_a_decision_of_before_is_shown_proven_and_explained_under_the_bundle_of_then(
    before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    denied = next(line for line in read_records(before, "decision") if line.get("rule") == "jp-no-china")
    assert main(["ledger", "show", str(before), denied["id"]]) == 0
    assert main(["ledger", "prove", str(before), denied["id"], *VKEY, "--out", str(tmp_path / "proof")]) == 0
    assert main(["ledger", "check-proof", str(tmp_path / "proof"), *VKEY]) == 0
    capsys.readouterr()
    assert main(["explain", "--ledger", str(before), "--id", denied["id"], "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["decision"]["rule"]["id"] == "jp-no-china"
    assert "explained under the bundle that decided it" in said["remarks"][0]


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_what_a_later_version_added_is_passed_on_or_left_out_and_breaks_no_reader(
    before: Path, command: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    go_on(before, LaterLine(what="x"), LaterKeysLine(pseudonyms="2026-12", more={"a": 1}), LaterLine(what="y"))
    assert call(command, before) == 0
    assert "skipped" not in capsys.readouterr().err


def test_a_ledger_that_a_later_version_went_on_with_is_gone_on_with_again(before: Path) -> None:
    go_on(before, LaterLine(what="x"), LaterKeysLine(pseudonyms="2026-12", more={"a": 1}))
    go_on(before)
    assert verify_folder(before, [KEY.verifier]).is_good


def write_in_format(folder: Path, number: int) -> None:
    """Write a ledger in another format than ours."""
    chain = Chain(KEY.name)
    first = SegmentLine(format=number, origin=KEY.name, segment=0, peaks=())
    staged = chain.stage([first, KeysLine(pseudonyms="2026-11")], unix_seconds())
    chain.take(staged)
    _, line = chain.sign(KEY)
    folder.mkdir()
    (folder / segment_name(0)).write_bytes(staged.data + chain.stage([line], unix_seconds()).data)


def test_a_ledger_in_a_later_format_is_neither_written_nor_vouched_for(tmp_path: Path) -> None:
    write_in_format(tmp_path / "ledger", 2)
    with pytest.raises(UsageError, match=r"of another version of Sekisho.+Start that version; or keep this"):
        go_on(tmp_path / "ledger")
    report = verify_folder(tmp_path / "ledger", [KEY.verifier])
    assert [fault.kind for fault in report.faults] == ["header"]
    assert "its lines are of format 2; this version of sekisho knows 1" in str(report.faults[0])


def test_a_ledger_that_only_seems_to_be_in_another_format_is_damaged(before: Path) -> None:
    """Somebody edited it, after which nothing follows from it any more: the next line says so."""
    (segment,) = list_segments(before)
    data = segment.path.read_bytes()
    segment.path.write_bytes(data.replace(b'"format":1', b'"format":2', 1))
    assert not verify_folder(before, [KEY.verifier]).is_good
