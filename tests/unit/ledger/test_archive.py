# SPDX-License-Identifier: Apache-2.0
"""What is kept is what was loaded, whole or not at all."""

import contextlib
import hashlib
import os
import resource
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.errors import ArchiveError, FolderChangedError
from proxy.ledger.archive import (
    KEPT,
    Archive,
    Bundle,
    Kept,
    find_changes,
    find_kept,
    read_kept,
)
from proxy.ledger.record import BUNDLE_DIGITS
from proxy.ledger.segments import BUNDLES
from proxy.model.source import Source
from tests.support.bundle_folder import write_bundle
from tests.support.capabilities import as_any_user

FILES: Final[Mapping[str, bytes]] = {"bundle.yaml": b"one\n", "packs/a/pack.yaml": b"two\n", "people.csv": b"x" * 5000}


@pytest.fixture(autouse=True)
def _ledgers(tmp_path: Path) -> None:
    for name in ("l", "ledger"):
        (tmp_path / name).mkdir(mode=0o700)


def called(name: str, revision: str = "") -> Bundle:
    return Bundle(hashlib.sha256(name.encode()).hexdigest(), f"sha256:{name}", "sha256:registers", name, revision)


def put(folder: Path, files: Mapping[str, bytes] = FILES) -> list[Source]:
    """Write files and return what a loader would say that it read."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return [msgspec.structs.replace(Source.of(path, data), data=None) for path, data in files.items()]


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != KEPT
    }


def of(snapshot: Snapshot) -> Bundle:
    return Bundle(snapshot.digest, snapshot.policy_digest, snapshot.registers_digest, snapshot.name, snapshot.revision)


def test_what_was_read_is_kept_with_what_it_is(tmp_path: Path) -> None:
    sources = put(tmp_path / "policies")
    bundle = called("first", "ab" * 20)
    place = Archive(tmp_path / "ledger").keep(tmp_path / "policies", sources, bundle)
    assert place == tmp_path / "ledger" / "bundles" / bundle.digest
    assert content(place) == FILES
    kept = read_kept(place)
    assert kept is not None
    assert (kept.bundle, len(kept.since)) == (bundle, 24)
    assert {each.path: (each.sha256, each.size) for each in kept.files} == {
        path: (hashlib.sha256(data).hexdigest(), len(data)) for path, data in FILES.items()
    }
    assert find_changes(place, kept) == ()


def test_only_its_owner_may_read_it_and_nobody_may_write_it(tmp_path: Path) -> None:
    place = Archive(tmp_path / "l").keep(tmp_path / "p", put(tmp_path / "p"), called("first"))
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (place.parent, place, *place.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o400}


def test_what_else_lies_in_the_folder_is_not_kept(tmp_path: Path) -> None:
    sources = put(tmp_path / "p")
    put(tmp_path / "p", {"secret.txt": b"s", ".git/HEAD": b"ref: refs/heads/main\n"})
    assert content(Archive(tmp_path / "l").keep(tmp_path / "p", sources, called("first"))) == FILES


def test_what_carries_its_bytes_is_not_read_from_the_folder(tmp_path: Path) -> None:
    sources = [*put(tmp_path / "p"), Source.of("emergency_denies/a.yaml", b"rules: []\n")]
    place = Archive(tmp_path / "l").keep(tmp_path / "p", sources, called("first"))
    assert (place / "emergency_denies" / "a.yaml").read_bytes() == b"rules: []\n"


def test_links_as_kubernetes_makes_them_are_followed(tmp_path: Path) -> None:
    sources = put(tmp_path / "p" / "..2026")
    (tmp_path / "p" / "..data").symlink_to("..2026")
    for name in ("bundle.yaml", "packs", "people.csv"):
        (tmp_path / "p" / name).symlink_to(f"..data/{name}")
    place = Archive(tmp_path / "l").keep(tmp_path / "p", sources, called("first"))
    assert content(place) == FILES
    assert not any(path.is_symlink() for path in place.rglob("*"))


# Once more.


def test_a_bundle_that_is_kept_stays_as_it_is(tmp_path: Path) -> None:
    sources = put(tmp_path / "p")
    archive = Archive(tmp_path / "l")
    place = archive.keep(tmp_path / "p", sources, called("first"))
    before = {path: path.stat() for path in (place, *place.rglob("*"))}
    shutil.rmtree(tmp_path / "p")
    assert archive.keep(tmp_path / "p", sources, called("first", "later")) == place
    assert Archive(tmp_path / "l").keep(tmp_path / "p", sources, called("first", "later")) == place
    for path, status in before.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (status.st_ino, status.st_mtime_ns), path


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return what removes a file, or the folder itself, and makes something else of its name."""

    def change(folder: Path) -> None:
        target = folder / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()
        make(target)

    return change


def linked(to: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(to)


def nothing(_path: Path) -> None:
    """Leave it removed."""


def rename_inside(place: Path) -> None:
    text = (place / KEPT).read_text(encoding="utf-8")
    (place / KEPT).unlink()
    (place / KEPT).write_text(text.replace(f'"digest": "{place.name}"', f'"digest": "{"0" * 64}"'), encoding="utf-8")


DAMAGE: Final[Mapping[str, Callable[[Path], object]]] = {
    "a file was edited": instead("bundle.yaml", lambda path: path.write_bytes(b"One\n")),
    "a file is gone": instead("people.csv", nothing),
    "a file was cut off": instead("people.csv", lambda path: path.write_bytes(FILES["people.csv"][:10])),
    "a file is a link to itself": instead("people.csv", linked("people.csv")),
    "a file was added": lambda place: (place / "more.yaml").write_bytes(b""),
    "what it is, is gone": instead(KEPT, nothing),
    "what it is, is no JSON": instead(KEPT, lambda path: path.write_bytes(b"{")),
    "what it is, is brackets without end": instead(
        KEPT, lambda path: path.write_bytes(b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    ),
    "what it is, is a pipe": instead(KEPT, os.mkfifo),
    "it is another one under this name": rename_inside,
    "it is a file": instead(".", lambda path: path.parent.joinpath(path.name).write_bytes(b"")),
    "it is a link to nowhere": instead(".", linked("nowhere")),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_kept_bundle_that_was_changed_is_kept_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    sources = put(tmp_path / "p")
    archive = Archive(tmp_path / "l")
    place = archive.keep(tmp_path / "p", sources, called("first"))
    damage(place)
    assert archive.keep(tmp_path / "p", sources, called("first")) == place
    assert content(place) == FILES
    kept = read_kept(place)
    assert kept is not None
    assert find_changes(place, kept) == ()
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_what_a_stopped_machine_left_is_removed(tmp_path: Path) -> None:
    sources = put(tmp_path / "p")
    digest = called("first").digest
    bundles = tmp_path / "l" / BUNDLES
    put(bundles / f".{digest}.tmp", {"bundle.yaml": b"half"})
    put(bundles / f".{called('other').digest}.old.tmp", {"sub/bundle.yaml": b"half"})
    (bundles / f".{called('third').digest}.tmp").write_bytes(b"")
    put(bundles / "notes", {"mine.txt": b"not ours"})
    Archive(tmp_path / "l").keep(tmp_path / "p", sources, called("first"))
    assert {path.name for path in bundles.iterdir()} == {digest, "notes"}
    assert content(bundles / digest) == FILES


# A large table is not stored again.


def is_one_file(one: Path, other: Path) -> bool:
    return one.stat().st_ino == other.stat().st_ino


@pytest.mark.parametrize("is_new_process", [False, True])
def test_an_unchanged_file_is_a_link_to_the_bundle_before(tmp_path: Path, is_new_process: bool) -> None:  # noqa: FBT001
    archive = Archive(tmp_path / "l")
    first = archive.keep(tmp_path / "p", put(tmp_path / "p"), called("first"))
    sources = put(tmp_path / "p", {**FILES, "bundle.yaml": b"edited\n"})
    archive = Archive(tmp_path / "l") if is_new_process else archive
    second = archive.keep(tmp_path / "p", sources, called("second"))
    assert is_one_file(first / "people.csv", second / "people.csv")
    assert not is_one_file(first / "bundle.yaml", second / "bundle.yaml")
    assert (first / "bundle.yaml").read_bytes() == b"one\n"
    assert content(second) == {**FILES, "bundle.yaml": b"edited\n"}


def test_a_file_that_moved_is_a_link_as_well(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "l")
    first = archive.keep(tmp_path / "p", put(tmp_path / "p"), called("first"))
    second = archive.keep(tmp_path / "q", put(tmp_path / "q", {"all/who.csv": FILES["people.csv"]}), called("second"))
    assert is_one_file(first / "people.csv", second / "all" / "who.csv")


def test_a_kept_file_that_was_changed_is_not_linked_to(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "l")
    first = archive.keep(tmp_path / "p", put(tmp_path / "p"), called("first"))
    (first / "people.csv").chmod(0o600)
    (first / "people.csv").write_bytes(b"y" * 5000)
    second = archive.keep(tmp_path / "p", put(tmp_path / "p"), called("second"))
    assert content(second) == FILES
    assert not is_one_file(first / "people.csv", second / "people.csv")


def test_what_the_bundle_before_has_need_not_be_in_the_folder_any_more(tmp_path: Path) -> None:
    """An emergency deny is put in force with the bundle in force, while the folder may hold the next one already."""
    archive = Archive(tmp_path / "l")
    sources = put(tmp_path / "p")
    archive.keep(tmp_path / "p", sources, called("first"))
    put(tmp_path / "p", dict.fromkeys(FILES, b"the next bundle"))
    second = archive.keep(tmp_path / "p", [*sources, Source.of("emergency_denies/a.yaml", b"cut")], called("cut"))
    assert content(second) == {**FILES, "emergency_denies/a.yaml": b"cut"}


# What cannot be kept.

CHANGED: Final[Mapping[str, Callable[[Path], object]]] = {
    "a file has other bytes": lambda folder: (folder / "people.csv").write_bytes(b"y" * 5000),
    "a file is longer": lambda folder: (folder / "people.csv").write_bytes(b"x" * 5001),
    "a file is shorter": lambda folder: (folder / "people.csv").write_bytes(b"x" * 4999),
    "a file is empty": lambda folder: (folder / "people.csv").write_bytes(b""),
    "a file is gone": instead("people.csv", nothing),
    "a file is a folder": instead("people.csv", os.mkdir),
    "a file is a pipe": instead("people.csv", os.mkfifo),
    "a file is a link to something else": instead("people.csv", linked("/etc/hostname")),
    "a file never ends": instead("people.csv", linked("/dev/zero")),
    "a link leads to itself": instead("people.csv", linked("people.csv")),
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_a_folder_that_changed_meanwhile_keeps_nothing(tmp_path: Path, change: Callable[[Path], object]) -> None:
    sources = put(tmp_path / "p")
    change(tmp_path / "p")
    archive = Archive(tmp_path / "l")
    with pytest.raises(FolderChangedError, match=r"people\.csv is no longer as it was loaded"):
        archive.keep(tmp_path / "p", sources, called("first"))
    assert list((tmp_path / "l" / BUNDLES).iterdir()) == []


def test_a_file_that_was_read_twice_and_differed_keeps_nothing(tmp_path: Path) -> None:
    sources = [*put(tmp_path / "p"), Source.of("bundle.yaml", b"other")]
    with pytest.raises(FolderChangedError):
        Archive(tmp_path / "l").keep(tmp_path / "p", sources, called("first"))


HOSTILE: Final = {
    "up": "../x", "up in the middle": "a/../../x", "back again": "a/../x", "from the root": "/etc/hostname",
    "nothing": "", "here": ".", "two slashes": "a//b", "a folder": "a/", "a zero byte": "a\0b", "up alone": "..",
}  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE.values(), ids=HOSTILE)
def test_a_path_that_is_not_plain_keeps_nothing(tmp_path: Path, path: str) -> None:
    put(tmp_path, {"x": b"outside"})
    with pytest.raises(ArchiveError, match="leads out of the policy folder"):
        Archive(tmp_path / "l").keep(tmp_path / "p", [Source.of(path, b"outside")], called("first"))
    assert list((tmp_path / "l" / BUNDLES).iterdir()) == []


@settings(max_examples=300)
@given(path=st.text("ab./\\\0~ -", max_size=12))
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "l").mkdir()
    with contextlib.suppress(ArchiveError):
        place = Archive(folder / "l").keep(folder / "p", [Source.of(path, b"x")], called("first"))
        assert (place / path).resolve().is_relative_to(place)
    assert {each.name for each in folder.iterdir()} <= {"l"}
    assert {each.name for each in (folder / "l").iterdir()} == {BUNDLES}
    shutil.rmtree(folder)


def test_the_name_of_our_own_file_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="give it another name"):
        Archive(tmp_path / "l").keep(tmp_path / "p", put(tmp_path / "p", {KEPT: b"{}"}), called("first"))


def test_what_is_no_digest_names_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no digest"):
        Archive(tmp_path / "l").keep(tmp_path / "p", [], Bundle("../x", "", "", "", ""))


@contextlib.contextmanager
def no_room(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 3, 4096], ids=["nothing", "a part of a file", "the first files"])
def test_a_full_disk_keeps_nothing_and_the_next_try_all(tmp_path: Path, size: int) -> None:
    sources = put(tmp_path / "p")
    archive = Archive(tmp_path / "l")
    with no_room(size), pytest.raises(ArchiveError, match="make room"):
        archive.keep(tmp_path / "p", sources, called("first"))
    assert list((tmp_path / "l" / BUNDLES).iterdir()) == []
    assert content(archive.keep(tmp_path / "p", sources, called("first"))) == FILES


def test_where_the_ledgers_folder_is_gone_it_is_not_made_again(tmp_path: Path) -> None:
    sources = put(tmp_path / "p")
    (tmp_path / "l").rmdir()
    with pytest.raises(ArchiveError, match="No such file or directory"):
        Archive(tmp_path / "l").keep(tmp_path / "p", sources, called("first"))
    assert not (tmp_path / "l").exists()


def test_a_place_that_is_no_folder_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "l" / BUNDLES).write_bytes(b"")
    with pytest.raises(ArchiveError, match="cannot be kept in"):
        Archive(tmp_path / "l").keep(tmp_path / "p", put(tmp_path / "p"), called("first"))


def test_a_place_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    sources = put(tmp_path / "p")
    (tmp_path / "l" / BUNDLES).mkdir(mode=0o500)
    with pytest.raises(ArchiveError, match="Permission denied"):
        as_any_user(lambda: Archive(tmp_path / "l").keep(tmp_path / "p", sources, called("first")))
    assert list((tmp_path / "l" / BUNDLES).iterdir()) == []


def test_two_threads_keep_one_bundle(tmp_path: Path) -> None:
    """A reload that took too long is given up; its thread is not."""
    sources = put(tmp_path / "p")
    archive = Archive(tmp_path / "l")
    kept: list[Path] = []
    threads = [
        threading.Thread(target=lambda: kept.append(archive.keep(tmp_path / "p", sources, called("first"))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept == [tmp_path / "l" / BUNDLES / called("first").digest] * 8
    assert content(kept[0]) == FILES


# Finding one again.


def test_a_bundle_is_found_by_what_a_decision_line_calls_it(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "l")
    sources = put(tmp_path / "p")
    first = archive.keep(tmp_path / "p", sources, called("first"))
    archive.keep(tmp_path / "p", sources, called("second"))
    assert find_kept(tmp_path / "l", first.name[:BUNDLE_DIGITS]) == first
    assert find_kept(tmp_path / "l", first.name) == first


@pytest.mark.parametrize("asked", [".", "replica-a", "replica-a/worker-1"])
def test_a_bundle_of_a_replica_is_found_from_its_worker_and_from_the_whole(tmp_path: Path, asked: str) -> None:
    (tmp_path / "l" / "replica-a" / "worker-1").mkdir(parents=True)
    (tmp_path / "l" / "replica-0" / BUNDLES).mkdir(parents=True)
    kept = Archive(tmp_path / "l" / "replica-a").keep(tmp_path / "p", put(tmp_path / "p"), called("first"))
    assert find_kept(tmp_path / "l" / asked, kept.name[:BUNDLE_DIGITS]) == kept
    assert find_kept(tmp_path / "l" / "replica-0", kept.name[:BUNDLE_DIGITS]) is None


@pytest.mark.parametrize("prefix", ["", "0", "0" * BUNDLE_DIGITS, "../x", "." * BUNDLE_DIGITS])
def test_what_is_not_kept_is_not_found(tmp_path: Path, prefix: str) -> None:
    assert find_kept(tmp_path / "nowhere", prefix) is None
    Archive(tmp_path / "l").keep(tmp_path / "p", put(tmp_path / "p"), called("first"))
    assert find_kept(tmp_path / "l", prefix) is None


@settings(max_examples=100)
@given(data=st.binary(max_size=200) | st.builds(lambda name: b'{"format":1,"bundle":%s}' % name, st.binary(max_size=9)))
def test_no_description_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    place = tmp_path_factory.mktemp("kept")
    (place / KEPT).write_bytes(data)
    assert read_kept(place) is None


def test_paths_of_a_forged_description_are_not_opened(tmp_path: Path) -> None:
    place = Archive(tmp_path / "l").keep(tmp_path / "p", put(tmp_path / "p"), called("first"))
    kept = read_kept(place)
    assert kept is not None
    outside = msgspec.structs.replace(kept.files[0], path="../../../p/bundle.yaml")
    assert find_changes(place, msgspec.structs.replace(kept, files=(*kept.files, outside))) == (outside.path,)


def test_a_description_of_a_later_format_is_not_read(tmp_path: Path) -> None:
    place = Archive(tmp_path / "l").keep(tmp_path / "p", put(tmp_path / "p"), called("first"))
    later = msgspec.structs.replace(msgspec.json.decode((place / KEPT).read_bytes(), type=Kept), format=2)
    (place / KEPT).unlink()
    (place / KEPT).write_bytes(msgspec.json.encode(later))
    assert read_kept(place) is None


# Whole bundles.


def test_a_kept_bundle_loads_and_is_the_same(tmp_path: Path) -> None:
    loaded = load_bundle(write_bundle(tmp_path / "p"))
    place = Archive(tmp_path / "l").keep(tmp_path / "p", loaded.sources, of(loaded))
    again = load_bundle(place)
    assert place.name == again.digest == loaded.digest
    assert again.sources == loaded.sources
