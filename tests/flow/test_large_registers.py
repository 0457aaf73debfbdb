# SPDX-License-Identifier: Apache-2.0
"""Registers in a file, and the requests that need them: what cannot be read is no person without rows, it is a deny."""

import gc
import os
import sqlite3
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.bundle.store import StoredMapping, make_store
from proxy.caller.affiliate_tables import OF_ENTITIES
from proxy.caller.people import COLUMNS
from proxy.caller.register import Affiliation
from proxy.errors import StoreError
from proxy.lifecycle.takeover import Assembly, pack
from proxy.pipeline.steps import Forward, Refuse
from tests.support.bundle_folder import edited, write_bundle
from tests.support.passages import a_checkpoint, a_head, a_passage, reference_bundle

FIRMS: Final = "firms"


def with_stored_affiliates(folder: Path) -> tuple[Snapshot, Path]:
    """Return the reference bundle with its affiliates in a file."""
    snapshot = reference_bundle()
    register = snapshot.affiliates.current
    by_id = register.by_id
    store = make_store(folder, {}, lambda writer: writer.add_mapping(FIRMS, sorted(by_id.items())))
    assert dict(StoredMapping(store, FIRMS, Affiliation)) == dict(by_id)
    kept = msgspec.structs.replace(register, by_id=StoredMapping(store, FIRMS, Affiliation))
    affiliates = msgspec.structs.replace(snapshot.affiliates, epochs=(kept,))
    return msgspec.structs.replace(snapshot, affiliates=affiliates), store.path


def test_affiliates_in_a_file_decide_as_those_in_memory(tmp_path: Path) -> None:
    snapshot, _ = with_stored_affiliates(tmp_path / "registers")
    assert isinstance(a_passage(a_checkpoint(snapshot)).begin(a_head()), Forward)


def test_a_file_that_breaks_beneath_a_request_is_a_deny_and_not_an_unknown_affiliate(tmp_path: Path) -> None:
    snapshot, path = with_stored_affiliates(tmp_path / "registers")
    checkpoint = a_checkpoint(snapshot)
    stored = snapshot.affiliates.current.by_id
    assert isinstance(stored, StoredMapping)
    stored._store.query("PRAGMA shrink_memory")
    path.chmod(0o600)
    os.truncate(path, 0)
    step = a_passage(checkpoint).begin(a_head())
    assert isinstance(step, Refuse)
    assert (step.outcome.status, step.outcome.reason, step.outcome.effect) == (503, "decision-failed", "deny")


def test_a_snapshot_that_travels_finds_the_same_people(tmp_path: Path) -> None:
    files = edited(("bundle.yaml", "files:\n", "files:\n  people.csv: [people]\n"))
    rows = "".join(f"corp,e-{number},branch,employee,KR,KR,KR;JP,,\n" for number in range(10_000))
    folder = write_bundle(tmp_path / "policies", {**files, "people.csv": ",".join(COLUMNS) + "\n" + rows})
    made = load_bundle(folder, None, tmp_path / "registers")
    assembly = Assembly()
    slices = list(pack(made))
    for data in slices:
        assembly.take(data)
    assert assembly.snapshot is not None
    for subject in ("e-0", "e-9999", "e-10000"):
        assert assembly.snapshot.people.find("corp", subject) == made.people.find("corp", subject)
    assert not any(b"e-999" in data for data in slices), "the rows stay in the file"


ENTITIES_CSV: Final = ",".join(OF_ENTITIES)


def with_tables(folder: Path, *rows: str) -> Path:
    """Return the small bundle with a table of affiliates."""
    files = edited(("bundle.yaml", "files:\n", "files:\n  entities.csv: [affiliates]\n"))
    return write_bundle(folder, {**files, "entities.csv": "\n".join((ENTITIES_CSV, *rows)) + "\n"})


def test_a_snapshot_that_travels_knows_the_same_affiliates_and_carries_none(tmp_path: Path) -> None:
    rows = [f"firm-{number},Firm {number},CN,,,,,branch,,,," for number in range(2_000)]
    made = load_bundle(with_tables(tmp_path / "policies", *rows), None, tmp_path / "registers")
    assembly = Assembly()
    slices = list(pack(made))
    for data in slices:
        assembly.take(data)
    assert assembly.snapshot is not None
    now, then = assembly.snapshot.affiliates.current.by_id, made.affiliates.current.by_id
    assert now["firm-1999"] == then["firm-1999"]
    assert "firm-2000" not in now
    assert not any(b"firm-1" in data for data in slices), "the rows stay in the file"


def test_a_file_that_has_vanished_cannot_be_taken_over(tmp_path: Path) -> None:
    made = load_bundle(with_tables(tmp_path / "policies", "firm,Firm,CN,,,,,,,,,"), None, tmp_path / "registers")
    slices = list(pack(made))
    del made
    gc.collect()
    for path in (tmp_path / "registers").iterdir():
        path.unlink()
    assembly = Assembly()
    with pytest.raises(StoreError, match="cannot be used"):
        list(map(assembly.take, slices))


def test_a_changed_table_is_another_register(tmp_path: Path) -> None:
    before = load_bundle(with_tables(tmp_path / "policies", "firm,Firm,CN,,,,,,,,,"), None, tmp_path / "registers")
    after = load_bundle(with_tables(tmp_path / "policies", "firm,Firm,HK,,,,,,,,,"), None, tmp_path / "registers")
    assert before.registers_digest != after.registers_digest
    assert before.policy_digest == after.policy_digest
    assert [each.affiliates.current.by_id["firm"].country for each in (before, after)] == ["CN", "HK"]


def test_a_file_of_affiliates_that_breaks_is_an_error_and_not_an_unknown_affiliate(tmp_path: Path) -> None:
    rows = [f"firm-{number},Firm {number},CN,,,,,branch,,,," for number in range(2_000)]
    made = load_bundle(with_tables(tmp_path / "policies", *rows), None, tmp_path / "registers")
    by_id = made.affiliates.current.by_id
    assert by_id["firm-7"].country == "CN"
    for path in (tmp_path / "registers").iterdir():
        path.chmod(0o600)
        os.truncate(path, 0)
    with pytest.raises(sqlite3.Error):
        by_id.get("firm-1999")
