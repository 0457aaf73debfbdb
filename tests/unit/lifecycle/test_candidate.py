# SPDX-License-Identifier: Apache-2.0
import io
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.bundle.emergency import Urgent
from proxy.bundle.snapshot import Snapshot
from proxy.lifecycle import candidate, reload
from proxy.lifecycle.candidate import LENGTH_BYTES, Failure, Job, examine, main
from proxy.lifecycle.options import LifecycleOptions
from proxy.lifecycle.reload import Reloader
from proxy.lifecycle.takeover import Assembly
from proxy.lifecycle.watch import take_fingerprint
from proxy.telemetry import Metrics
from tests.support.bundle_folder import SMALL, edited, write_bundle
from tests.support.passages import reference_bundle

URGENT = "rules: [{id: now, effect: deny, when: {caller.affiliate: home-co}}]\n"


def a_job(folder: Path, **changes: Any) -> Job:
    return msgspec.structs.replace(Job(str(folder), {}, None, 4096), **changes)


def outcome(job: Job) -> tuple[Urgent, Snapshot | Failure]:
    assembly = Assembly()
    values = [assembly.take(data) for data in examine(job)]
    assert isinstance(values[0], Urgent)
    assert isinstance(values[-1], (Snapshot, Failure))
    return values[0], values[-1]


FAILING: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "a test that fails": (edited(("cases.yaml", "effect: allow", "effect: deny")), {},
                          "the test 'our employee reads' fails"),
    "a rule that is none": (edited(("rules.yaml", "effect: deny", "effect: den")), {}, "is not one of"),
    "no manifest": ({name: text for name, text in SMALL.items() if name != "bundle.yaml"}, {}, "manifest"),
    "a GeoIP database that is not there": (dict(SMALL), {"geoip": "/nonexistent.mmdb"}, "nonexistent"),
    "an upstream of an API that is none": (dict(SMALL), {"upstreams": {"usres": "http://x:1"}}, "'users'"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "changes", "told"), FAILING.values(), ids=FAILING.keys())
def test_what_cannot_be_put_in_force_says_why(
    tmp_path: Path, files: dict[str, str], changes: dict[str, Any], told: str
) -> None:
    _, failure = outcome(a_job(write_bundle(tmp_path, files), **changes))
    assert isinstance(failure, Failure)
    assert any(told in reason for reason in failure.reasons), failure


def test_what_loads_is_handed_over(tmp_path: Path) -> None:
    urgent, snapshot = outcome(a_job(write_bundle(tmp_path)))
    assert urgent == Urgent()
    assert isinstance(snapshot, Snapshot)
    assert snapshot.name == "small"


def test_emergency_denies_come_first_and_neither_wait_for_the_rest_nor_are_tested(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path, {**SMALL, "emergency_denies/now.yaml": URGENT})
    urgent, snapshot = outcome(a_job(folder))
    assert [each.entry.id for each in urgent.entries] == ["now"]
    assert isinstance(snapshot, Snapshot), "the bundle's tests do not know of it"
    assert [rule.id for rule in snapshot.urgent_rules] == ["emergency.now"]


def _replace_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


LOST: dict[str, Callable[[Path], Any]] = {
    "the manifest is missing": lambda folder: (folder / "bundle.yaml").unlink(),
    "the folder is missing": lambda folder: folder.rename(folder.with_name("gone")),
    "a file stands there": lambda folder: _replace_by_file(folder / "emergency_denies"),
}


@pytest.mark.parametrize("befall", LOST.values(), ids=LOST.keys())
def test_emergency_denies_that_cannot_be_seen_are_a_problem_of_all_of_them(
    tmp_path: Path, befall: Callable[[Path], Any]
) -> None:
    folder = write_bundle(tmp_path / "policies", {**SMALL, "emergency_denies/now.yaml": URGENT})
    befall(folder)
    urgent, _ = outcome(a_job(folder))
    assert str(folder / "emergency_denies") in {problem.file for problem in urgent.problems}


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_emergency_denies_that_are_too_much_are_a_problem_of_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(_folder: Path) -> Urgent:
        raise error

    monkeypatch.setattr(candidate, "read_emergency", fail)
    (urgent, *_) = map(pickle.loads, examine(a_job(write_bundle(tmp_path))))
    assert [problem.file for problem in urgent.problems] == [str(tmp_path / "emergency_denies")]


def test_slices_have_their_length_before_them(tmp_path: Path) -> None:
    source, target = io.BytesIO(msgspec.json.encode(a_job(write_bundle(tmp_path), megabytes=2**20))), io.BytesIO()
    main(source, target)
    data, assembly = target.getvalue(), Assembly()
    while data:
        length = int.from_bytes(data[:LENGTH_BYTES], "big")
        assembly.take(data[LENGTH_BYTES:][:length])
        data = data[LENGTH_BYTES + length :]
    assert assembly.snapshot is not None


# A child of its own, that runs into a limit.


async def try_with(folder: Path, **options: Any) -> tuple[Reloader, list[Snapshot]]:
    adopted: list[Snapshot] = []

    async def adopt(snapshot: Snapshot) -> None:
        adopted.append(snapshot)

    async def renew() -> None:
        pass

    reloader = Reloader(
        folder, tried=take_fingerprint(folder), upstreams={},
        options=LifecycleOptions.model_construct(**{**LifecycleOptions().model_dump(), **options}),
        metrics=Metrics(), in_force=lambda: adopted[-1] if adopted else reference_bundle(), adopt=adopt, renew=renew,
    )  # fmt: skip
    await reloader.try_folder()
    return reloader, adopted


async def test_a_child_that_may_load_puts_the_folder_in_force(tmp_path: Path) -> None:
    reloader, adopted = await try_with(write_bundle(tmp_path))
    assert [snapshot.name for snapshot in adopted] == ["small"]
    assert reloader.stale == ()


LIMITS = {
    "too little memory": ({"reload_megabytes": 60}, "the loading process gave no result"),
    "too little time": ({"reload_seconds": 0.05}, "loading took more than 0.05 seconds"),
}


@pytest.mark.parametrize(("options", "told"), LIMITS.values(), ids=LIMITS.keys())
async def test_a_child_that_has(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    reloader, adopted = await try_with(write_bundle(tmp_path), **options)
    assert adopted == []
    assert any(told in reason or "MemoryError" in reason for reason in reloader.stale), reloader.stale


async def test_a_child_that_sends_a_slice_without_end_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "MAX_SLICE_BYTES", 10)
    reloader, adopted = await try_with(write_bundle(tmp_path))
    assert adopted == []
    assert "a slice is too long" in str(reloader.stale)
