# SPDX-License-Identifier: Apache-2.0
"""The ledgers of workers, and what is done to them: each by itself, and that all are there."""

import shutil
from pathlib import Path

import pytest

from proxy.errors import UsageError
from proxy.ledger.audit_parts import PartsAudit
from proxy.ledger.finding import Report
from proxy.ledger.inventory import read_heads
from proxy.ledger.note import VerifierKey
from proxy.ledger.segments import list_segments
from tests.support.sample_ledger import KEY, change_line, flip, write_sample

KEYS = [KEY.verifier]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "ledger"
    for part in ("worker-1", "worker-2"):
        write_sample(folder / part, 20, key=KEY.of_part(part))
    return folder


@pytest.fixture
def ledger(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "ledger")


@pytest.fixture
def witness(good: Path, tmp_path: Path) -> Path:
    """Checkpoints that are kept elsewhere, of both workers."""
    folder = tmp_path / "witness"
    folder.mkdir()
    for part in ("worker-1", "worker-2"):
        shutil.copy(good / part / "checkpoint", folder / part)
    return folder


def verify(folder: Path, *heads: Path, keys: list[VerifierKey] = KEYS) -> list[Report]:
    return PartsAudit(folder, keys, read_heads(heads, keys)).run()


def faults(reports: list[Report]) -> list[list[str]]:
    return [[str(each) for each in report.faults] for report in reports]


def test_each_is_good_by_the_key_whose_name_they_share(ledger: Path, witness: Path) -> None:
    reports = verify(ledger, witness)
    assert faults(reports) == [[], []]
    assert [report.origins for report in reports] == [(f"{KEY.name}/worker-1",), (f"{KEY.name}/worker-2",)]
    assert [report.heads for report in reports] == [1, 1]
    assert all(report.proven for report in reports)


def test_one_by_itself_is_verified_by_the_same_key(ledger: Path) -> None:
    (report,) = verify(ledger / "worker-2")
    assert report.is_good


def test_what_was_written_before_there_were_workers_is_verified_too(ledger: Path) -> None:
    write_sample(ledger, 5)
    reports = verify(ledger)
    assert faults(reports) == [[], [], []]
    assert reports[0].origins == (KEY.name,)
    assert reports[0].remarks == ()


def test_a_line_that_was_changed_is_found_in_its_own(ledger: Path) -> None:
    change_line(ledger / "worker-2", 5, flip)
    first, second = faults(verify(ledger))
    assert first == []
    assert "this line was changed" in second[0]


def test_one_that_was_put_in_the_place_of_another_is_found(ledger: Path) -> None:
    shutil.rmtree(ledger / "worker-2")
    shutil.copytree(ledger / "worker-1", ledger / "worker-2")
    told = f"the ledger in worker-2 is signed as {KEY.name}/worker-1"
    assert faults(verify(ledger)) == [[], [told]]


def test_one_that_was_removed_is_found_by_its_checkpoint(ledger: Path, witness: Path) -> None:
    write_sample(ledger / "worker-3", 5, key=KEY.of_part("worker-3"))
    shutil.rmtree(ledger / "worker-2")
    first, third = faults(verify(ledger, witness))
    assert third == []
    assert first == [f"the checkpoint {witness / 'worker-2'} is of the ledger {KEY.name}/worker-2, which is not here"]


def test_lines_at_the_end_of_one_that_are_gone_are_found_by_its_checkpoint(ledger: Path, witness: Path) -> None:
    last = list_segments(ledger / "worker-1")[-1].path
    last.write_bytes(last.read_bytes().split(b"\n")[0] + b"\n")
    (ledger / "worker-1" / "checkpoint").unlink()
    first, second = faults(verify(ledger, witness))
    assert first
    assert second == []


def test_a_key_of_another_name_vouches_for_none(ledger: Path) -> None:
    other = VerifierKey("ledger.example/other", KEY.verifier.public)
    assert all(report.faults for report in verify(ledger, keys=[other]))


def test_a_worker_that_has_not_begun_is_no_fault(ledger: Path) -> None:
    (ledger / "worker-3").mkdir()
    assert faults(verify(ledger)) == [[], []]


def test_a_folder_without_any_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no ledger"):
        verify(tmp_path)
