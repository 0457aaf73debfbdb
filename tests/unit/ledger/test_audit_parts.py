# SPDX-License-Identifier: Apache-2.0
"""The ledgers of replicas and workers, and what is done to them: each by itself, and that all are there."""

import shutil
from pathlib import Path

import pytest

from proxy.clock import unix_seconds
from proxy.errors import UsageError
from proxy.ledger.audit_parts import PartsAudit
from proxy.ledger.finding import Report
from proxy.ledger.inventory import read_heads
from proxy.ledger.lines import KeysLine, StopLine
from proxy.ledger.note import SigningKey, VerifierKey
from proxy.ledger.segments import list_segments, segment_name
from proxy.ledger.witness_place import encode_origin
from proxy.ledger.writer import LedgerWriter
from proxy.telemetry import Metrics
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
    return PartsAudit([folder], keys, read_heads(heads, keys)).run()


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


# Replicas, and workers of replicas.

PARTS = ("replica-a", "replica-b/worker-1", "replica-b/worker-2")


@pytest.fixture(scope="module")
def good_replicas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replicas") / "ledger"
    for part in PARTS:
        write_sample(folder / part, 20, key=KEY.of_part(part))
    return folder


@pytest.fixture
def replicas(good_replicas: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good_replicas, tmp_path / "ledger")


@pytest.fixture
def kept(good_replicas: Path, tmp_path: Path) -> Path:
    """Checkpoints that are kept elsewhere, as a witness does, of all of them."""
    for part in PARTS:
        place = tmp_path / "witness" / encode_origin(f"{KEY.name}/{part}")
        place.mkdir(parents=True)
        shutil.copy(good_replicas / part / "checkpoint", place / f"{0:020d}.checkpoint")
    return tmp_path / "witness"


def test_replicas_and_their_workers_are_good_by_one_key(replicas: Path, kept: Path) -> None:
    reports = verify(replicas, kept)
    assert faults(reports) == [[], [], []]
    assert [report.origins for report in reports] == [(f"{KEY.name}/{part}",) for part in PARTS]
    assert [report.heads for report in reports] == [1, 1, 1]


@pytest.mark.parametrize("part", ["replica-a", "replica-b", "replica-b/worker-2"])
def test_a_replica_by_itself_is_verified_by_the_same_key_and_asks_for_no_other(
    replicas: Path, kept: Path, part: str
) -> None:
    reports = verify(replicas / part, kept)
    assert not any(map(any, faults(reports)))
    assert all(report.heads == 1 for report in reports)


def test_what_one_gateway_and_its_workers_wrote_before_is_verified_beside_replicas(replicas: Path) -> None:
    write_sample(replicas, 5)
    write_sample(replicas / "worker-1", 5, key=KEY.of_part("worker-1"))
    reports = verify(replicas)
    assert not any(map(any, faults(reports)))
    assert not any(report.remarks for report in reports)
    assert [report.origins[0].removeprefix(KEY.name) for report in reports] == [
        "",
        "/worker-1",
        *(f"/{each}" for each in PARTS),
    ]


def test_replicas_of_a_key_that_was_replaced_are_verified_by_both(replicas: Path) -> None:
    other = SigningKey("ledger.example/second", bytes(range(1, 33)))
    write_sample(replicas / "replica-c", 5, key=other.of_part("replica-c"))
    assert faults(verify(replicas, keys=[KEY.verifier, other.verifier])) == [[], [], [], []]
    assert [bool(each) for each in faults(verify(replicas))] == [False, False, False, True]


SWAPS = {
    "a replica in the place of another": ("replica-a", "replica-c", "replica-a"),
    "a worker in the place of another of its replica": (
        "replica-b/worker-1",
        "replica-b/worker-2",
        "replica-b/worker-1",
    ),
    "a worker in the place of a replica": ("replica-b/worker-1", "replica-a", "replica-b/worker-1"),
    "a replica in the place of a worker": ("replica-a", "replica-b/worker-2", "replica-a"),
    "a replica's worker in the place of the whole's": ("replica-b/worker-1", "worker-1", "replica-b/worker-1"),
    "a replica in the place of the whole": ("replica-a", ".", "replica-a"),
}


@pytest.mark.parametrize(("taken", "put", "signed"), SWAPS.values(), ids=SWAPS.keys())
def test_whatever_lies_in_anothers_place_is_found(replicas: Path, taken: str, put: str, signed: str) -> None:
    copy = shutil.copytree(replicas / taken, replicas / "bundles")
    if put != ".":
        shutil.rmtree(replicas / put, ignore_errors=True)
    shutil.copytree(copy, replicas / put, dirs_exist_ok=True)
    told = [each for report in faults(verify(replicas)) for each in report]
    assert told == [f"the ledger in {(replicas / put).name} is signed as {KEY.name}/{signed}"]


def test_a_worker_in_anothers_place_is_found_by_the_name_of_the_replicas_own_folder(replicas: Path) -> None:
    shutil.rmtree(replicas / "replica-b" / "worker-2")
    write_sample(replicas / "replica-b" / "worker-2", 5, key=KEY.of_part("replica-c/worker-2"))
    told = f"the ledger in worker-2 is signed as {KEY.name}/replica-c/worker-2"
    assert faults(verify(replicas / "replica-b")) == [[], [told]]


def test_a_worker_of_another_replica_that_is_alone_in_the_whole_is_found(tmp_path: Path) -> None:
    write_sample(tmp_path / "l" / "worker-1", 5, key=KEY.of_part("replica-b/worker-1"))
    told = f"the ledger in worker-1 is signed as {KEY.name}/replica-b/worker-1"
    assert faults(verify(tmp_path / "l")) == [[told]]


@pytest.mark.parametrize("left", [("replica-a",), ("replica-b",), ("replica-a", "replica-b")])
def test_replicas_that_were_removed_are_found_by_their_checkpoints(
    replicas: Path, kept: Path, left: tuple[str, ...]
) -> None:
    """Also when a single ledger is left, and when that is the whole's own."""
    write_sample(replicas, 5)
    for part in {"replica-a", "replica-b"}.difference(left):
        shutil.rmtree(replicas / part)
    told = [each for report in faults(verify(replicas, kept)) for each in report]
    gone = [part for part in PARTS if part.split("/")[0] not in left]
    assert [each.split(f"{KEY.name}/")[1].split(",")[0] for each in told] == gone


def test_the_one_ledger_that_is_left_shows_that_the_others_were_removed(replicas: Path, kept: Path) -> None:
    shutil.rmtree(replicas / "replica-b")
    (told,) = faults(verify(replicas, kept))
    assert [each.rpartition(" is of the ledger ")[2] for each in told] == [
        f"{KEY.name}/{part}, which is not here" for part in PARTS[1:]
    ]


def test_a_replica_that_was_moved_is_looked_for_in_all_folders_that_are_named(replicas: Path, kept: Path) -> None:
    archive = replicas.parent / "archive"
    archive.mkdir()
    shutil.move(replicas / "replica-b", archive)
    assert any(map(any, faults(verify(replicas, kept))))
    assert any(map(any, faults(verify(archive, kept))))
    reports = PartsAudit([replicas, archive], KEYS, read_heads([kept], KEYS)).run()
    assert faults(reports) == [[], [], []]
    assert [report.heads for report in reports] == [1, 1, 1]


def test_the_checkpoint_of_another_key_asks_for_no_replica_here(replicas: Path, kept: Path, tmp_path: Path) -> None:
    other = SigningKey("ledger.example/second", bytes(range(1, 33)))
    write_sample(tmp_path / "other", 5, key=other.of_part("replica-z"))
    shutil.copy(tmp_path / "other" / "checkpoint", kept / "other")
    assert faults(verify(replicas, kept)) == [[], [], []]
    assert faults(verify(replicas, tmp_path / "other" / "checkpoint")) != [[], [], []]


def test_pods_that_recorded_nothing_and_half_made_folders_are_no_fault(replicas: Path) -> None:
    (replicas / "replica-c" / "bundles").mkdir(parents=True)
    (replicas / "replica-d" / "worker-1").mkdir(parents=True)
    (replicas / "replica-d" / "worker-1" / "lock").touch()
    assert faults(verify(replicas)) == [[], [], []]


def test_an_empty_segment_of_a_pod_that_died_at_once_is_no_ledger_of_anybody(replicas: Path) -> None:
    (replicas / "replica-c").mkdir()
    (replicas / "replica-c" / segment_name(0)).touch()
    reports = verify(replicas)
    assert not any(each for report in reports for each in report.faults if each.kind == "origin")


@pytest.mark.parametrize("name", ["replica-A", "replica-..x", "Replica-b", "replica_b", "copy"])
def test_what_no_gateway_makes_beside_replicas_is_told(replicas: Path, name: str) -> None:
    (replicas / "replica-a").rename(replicas / name)
    first, *_ = verify(replicas)
    assert [str(each) for each in first.remarks] == [f"{name}: this file is not of a ledger, it is passed over"]


def test_a_link_to_a_replica_is_told_and_to_another_one_found(replicas: Path) -> None:
    (replicas / "replica-c").symlink_to("replica-a")
    (replicas / "replica-d").symlink_to(".")
    reports = verify(replicas)
    remarks = [str(each) for report in reports for each in report.remarks]
    assert remarks == [
        f"{name}: this folder is a symbolic link, which no gateway makes" for name in ("replica-c", "replica-d")
    ]
    assert faults(reports)[3] == [f"the ledger in replica-c is signed as {KEY.name}/replica-a"]


@pytest.mark.parametrize("end", ["", "garbage\n", '{"n":0}\n'])
def test_a_segment_that_says_no_name_is_held_by_where_it_lies(replicas: Path, kept: Path, end: str) -> None:
    for segment in list_segments(replicas / "replica-a")[1:]:
        segment.path.unlink()
    list_segments(replicas / "replica-a")[0].path.write_text(end, encoding="utf-8")
    assert any(faults(verify(replicas, kept))[0])


def test_a_ledger_whose_gateway_stopped_in_order_is_said_to_have_ended(tmp_path: Path) -> None:
    maker = [LedgerWriter(tmp_path / f"replica-{name}", Metrics(), KEY.of_part(f"replica-{name}")) for name in "ab"]
    for name, writer in zip("ab", maker, strict=True):
        writer.append([StopLine() if name == "a" else KeysLine(pseudonyms="2026-11")])
        writer.sign(unix_seconds())
        writer.publish()
        writer.close()
    assert [report.is_ended for report in verify(tmp_path)] == [True, False]
