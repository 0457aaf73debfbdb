# SPDX-License-Identifier: Apache-2.0
"""What there is to verify: files that hold several segments and runs, folders of witnesses."""

from pathlib import Path
from typing import Final

import pytest

from proxy.errors import UsageError
from proxy.ledger.audit import Audit
from proxy.ledger.finding import Report
from proxy.ledger.inventory import read_heads, take_inventory
from proxy.ledger.merkle import EMPTY_ROOT
from proxy.ledger.note import SigningKey
from proxy.ledger.tree_head import TreeHead, sign_tree_head
from tests.support.ledger import KEY, read_raw
from tests.support.tampering import make_ledger

OTHER: Final = SigningKey.generate("sekisho.example/other")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ledger(tmp_path_factory.mktemp("good") / "ledger")


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ledger(tmp_path_factory.mktemp("second") / "ledger", 40)


def collect(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def verify(path: Path) -> list[Report]:
    return Audit(path, [KEY.verifier]).run()


def told(report: Report) -> list[str]:
    return [str(fault) for fault in report.faults]


def remarks(report: Report) -> list[str]:
    return [str(remark) for remark in report.remarks]


# Files of lines.


@pytest.mark.parametrize("block", [500, 1013, 256 * 1024])
def test_segments_and_runs_are_found_in_a_file(
    good: Path, second: Path, tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.ledger.inventory.BLOCK_BYTES", block)
    path = collect(tmp_path / "lines", *read_raw(good), *read_raw(second))
    runs = take_inventory(path, [KEY.verifier]).runs
    assert [[(part.task.first, part.task.line) for part in run] for run in runs] == [
        [(0, 0), (26, 26), (51, 51)],
        [(0, 73), (26, 99)],
    ]
    assert [part.start for run in runs for part in run][1:] == [part.end for run in runs for part in run][:-1]
    assert [[part.task.is_last for part in run] for run in runs] == [[False, False, True], [False, True]]
    assert [told(report) for report in verify(path)] == [[], []]


def test_lines_that_a_collector_dropped_are_named_and_the_next_segment_stands(good: Path, tmp_path: Path) -> None:
    lines = read_raw(good)
    (report,) = verify(collect(tmp_path / "lines", *lines[:30], *lines[40:]))
    assert told(report) == ["lines:31 (n 30): lines 30 to 39 are missing before this line"]
    assert report.proven == ((0, 24), (40, 71))


def test_a_line_of_which_half_left_before_there_was_no_room_is_a_remark(good: Path, tmp_path: Path) -> None:
    lines = read_raw(good)
    (report,) = verify(collect(tmp_path / "lines", *lines[:30], lines[30][:-1], *lines[30:40], b'{"n"', *lines[40:]))
    assert told(report) == []
    left = "bytes of a line left before there was no room; it was written again, or nobody answered"
    assert remarks(report) == [f"lines:31: {len(lines[30]) - 1} {left}", f"lines:42: 4 {left}"]
    assert report.proven == ((0, 71),)


def test_a_half_line_that_is_not_the_next_is_a_fault(good: Path, tmp_path: Path) -> None:
    lines = read_raw(good)
    (report,) = verify(collect(tmp_path / "lines", *lines[:30], lines[31][:-1], *lines[30:]))
    assert told(report) == [
        "lines:31 (n 31): this line does not belong here, where 30 comes next: put in, copied or moved"
    ]


def test_a_file_without_its_first_line_holds_one_run_more_that_is_none(
    good: Path, second: Path, tmp_path: Path
) -> None:
    first, last = verify(collect(tmp_path / "lines", *read_raw(good)[1:], *read_raw(second)))
    assert told(first)
    assert told(last) == []


# Folders of checkpoints.


def keep(folder: Path, key: SigningKey, note: str) -> None:
    """Keep a checkpoint as a witness does."""
    place = folder / key.name.replace("/", "%2F")
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{note.split()[1]:0>20}.checkpoint").write_text(note, encoding="utf-8")


def verify_with(good: Path, *heads: Path, keys: tuple[SigningKey, ...] = (KEY,)) -> Report:
    verifiers = [key.verifier for key in keys]
    return Audit(good, verifiers, read_heads(heads, verifiers)).run()[0]


def test_a_witness_may_keep_checkpoints_of_other_ledgers_as_well(good: Path, tmp_path: Path) -> None:
    keep(tmp_path, KEY, (good / "checkpoint").read_text(encoding="utf-8"))
    keep(tmp_path, OTHER, sign_tree_head(OTHER, TreeHead(OTHER.name, 5, b"x" * 32)))
    (tmp_path / ".tmp").write_text("hello")
    for keys in ((KEY,), (KEY, OTHER)):
        report = verify_with(good, tmp_path, keys=keys)
        assert (told(report), report.heads) == ([], 1)
        assert remarks(report) == ["1 file beside the checkpoints kept elsewhere: none of this ledger's"]


def test_a_witness_that_keeps_none_of_this_ledger_is_a_fault(good: Path, tmp_path: Path) -> None:
    keep(tmp_path, OTHER, sign_tree_head(OTHER, TreeHead(OTHER.name, 0, EMPTY_ROOT)))
    report = verify_with(good, tmp_path)
    assert told(report) == ["1 file beside the checkpoints kept elsewhere: none of this ledger's"]


def test_a_forged_checkpoint_in_the_folder_of_a_witness_is_a_fault(good: Path, tmp_path: Path) -> None:
    note = (good / "checkpoint").read_text(encoding="utf-8")
    keep(tmp_path, KEY, note)
    keep(tmp_path, KEY, note.replace("\n72\n", "\n71\n"))
    report = verify_with(good, tmp_path)
    assert report.heads == 1
    assert [fault.kind for fault in report.faults] == ["forged"]


def test_a_place_without_checkpoints_cannot_be_used(good: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"The folder .* holds no checkpoint: name one that does"):
        read_heads([tmp_path], [KEY.verifier])
    with pytest.raises(UsageError, match=r"The checkpoint .*none cannot be read: No such file or directory"):
        read_heads([tmp_path / "none"], [KEY.verifier])
