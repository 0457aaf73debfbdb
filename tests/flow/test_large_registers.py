# SPDX-License-Identifier: Apache-2.0
"""Registers in a file, and the requests that need them: what cannot be read is no person without rows, it is a deny."""

import os
from pathlib import Path
from typing import Final

import msgspec

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.bundle.store import StoredMapping, make_store
from proxy.caller.affiliates import Affiliation
from proxy.caller.people import COLUMNS
from proxy.lifecycle.takeover import Assembly, pack
from proxy.pipeline.passage import Forward, Refuse
from tests.support.bundle_folder import edited, write_bundle
from tests.support.passages import a_checkpoint, a_head, a_passage, reference_bundle

FIRMS: Final = "firms"


def with_stored_affiliates(folder: Path) -> tuple[Snapshot, Path]:
    """Return the reference bundle with its affiliates in a file."""
    snapshot = reference_bundle()
    by_id = snapshot.affiliates.by_id
    store = make_store(folder, {}, lambda writer: writer.add_mapping(FIRMS, sorted(by_id.items())))
    assert dict(StoredMapping(store, FIRMS, Affiliation)) == dict(by_id)
    affiliates = msgspec.structs.replace(snapshot.affiliates, by_id=StoredMapping(store, FIRMS, Affiliation))
    return msgspec.structs.replace(snapshot, affiliates=affiliates), store.path


def test_affiliates_in_a_file_decide_as_those_in_memory(tmp_path: Path) -> None:
    snapshot, _ = with_stored_affiliates(tmp_path / "registers")
    assert isinstance(a_passage(a_checkpoint(snapshot)).begin(a_head()), Forward)


def test_a_file_that_breaks_beneath_a_request_is_a_deny_and_not_an_unknown_affiliate(tmp_path: Path) -> None:
    snapshot, path = with_stored_affiliates(tmp_path / "registers")
    checkpoint = a_checkpoint(snapshot)
    stored = snapshot.affiliates.by_id
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
