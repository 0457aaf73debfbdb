# SPDX-License-Identifier: Apache-2.0
import fcntl
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.bundle import store as module
from proxy.bundle.store import (
    BLOCK,
    KEPT_SECONDS,
    Store,
    StoredMapping,
    StoredRows,
    Writer,
    default_folder,
    digest_inputs,
    find_store,
    make_store,
    open_store,
)
from proxy.bundle.tables import FILES
from proxy.clock import unix_seconds
from proxy.errors import StoreError, UsageError

INPUTS: Final = {"tables": ["a"]}
WORDS: Final = {"issuer": ["corp", "login"], "kind": ["", "employee", "contractor"]}
ROWS: Final = [("e-1", 0, 1, 2 * FILES), ("e-1", 1, 2, 3 * FILES), ("e-2", 0, 0, 4 * FILES + 1)]


class Firm(msgspec.Struct, frozen=True):
    country: str
    owners: tuple[str, ...] = ()


FIRMS: Final = {"ly": Firm("JP", ("a", "b")), "branch": Firm("KR"), "支店": Firm("CN")}


def fill(writer: Writer) -> None:
    writer.add_rows("people", ROWS, WORDS, ["people.csv", "more.csv"])
    writer.add_mapping("firms", FIRMS.items())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "registers"


@pytest.fixture
def store(folder: Path) -> Store:
    return make_store(folder, INPUTS, fill)


def test_rows_are_found_with_their_words_and_places(store: Store) -> None:
    rows = StoredRows(store, "people")
    assert len(rows) == 3
    assert rows.find("e-1", "corp") == [("employee", "people.csv:2")]
    assert rows.find("e-1", "login") == [("contractor", "people.csv:3")]
    assert rows.find("e-2", "corp") == [("", "more.csv:4")]


@pytest.mark.parametrize(
    ("key", "qualifier"),
    [("e-2", "login"), ("e-1", "nobody"), ("e", "corp"), ("e-3", "corp"), ("", "corp"), ("E-1", "corp"),
     ("e-1\0", "corp"), ("\ud800", "corp"), ("\U0010ffff", "corp")],
    ids=["another issuer's", "an issuer that is not there", "before the first", "behind the last", "nothing",
         "another case", "a NUL", "half of a surrogate pair", "the last character there is"],
)  # fmt: skip
def test_nobody_else_is_found(store: Store, key: str, qualifier: str) -> None:
    assert StoredRows(store, "people").find(key, qualifier) == []


def test_a_mapping_is_what_was_put_in(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEPT", 2)
    firms = StoredMapping(store, "firms", Firm)
    for _ in range(2):
        assert dict(firms) == FIRMS
    assert len(firms) == 3
    assert len(firms._kept) <= 2
    assert "ly" in firms
    assert firms.get("nobody") is None
    assert "\ud800" not in firms
    with pytest.raises(KeyError):
        firms["LY"]


def test_an_empty_mapping_and_a_table_without_rows(folder: Path) -> None:
    def fill_nothing(writer: Writer) -> None:
        writer.add_rows("people", [], WORDS, [])
        writer.add_mapping("firms", ())

    store = make_store(folder, INPUTS, fill_nothing)
    assert StoredRows(store, "people").find("e-1", "corp") == []
    assert dict(StoredMapping(store, "firms", Firm)) == {}


def test_it_travels_as_its_path_and_is_opened_once(store: Store) -> None:
    data = pickle.dumps((StoredRows(store, "people"), StoredMapping(store, "firms", Firm)))
    rows, firms = pickle.loads(data)  # noqa: S301 - our own bytes
    assert rows._store is firms._store is store
    code = (
        "import pickle, sys; rows, _ = pickle.loads(sys.stdin.buffer.read())\n"
        "print(rows.find('e-1', 'corp'))"
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps((StoredRows(store, "people"), None)),
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"[('employee', 'people.csv:2')]\n"


def test_starting_again_takes_the_file_that_is_there(folder: Path, store: Store) -> None:
    before = store.path.stat()
    found = find_store(folder, INPUTS)
    assert found is store
    assert store.path.stat().st_ino == before.st_ino
    assert find_store(folder, {"tables": ["b"]}) is None
    assert store.path.name == f"{digest_inputs(INPUTS)}.sekisho"


def test_it_is_this_users_alone(folder: Path, store: Store) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert store.path.stat().st_mode & 0o777 == 0o400
    assert [path.name for path in folder.iterdir()] == [store.path.name]


def test_it_cannot_be_written_through(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError):
        store.query("DELETE FROM people_blocks")


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[: len(data) // 2])


def _scribble(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"\0" * path.stat().st_size)


def _other(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE head (digest TEXT, counts TEXT)")
    connection.close()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _set(path: Path, statement: str) -> None:
    path.chmod(0o600)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


SPOILED = {
    "it is not there": lambda path: path.unlink(),
    "it is empty": lambda path: (path.unlink(), path.touch(mode=0o600)),
    "it was cut short": _cut,
    "it is nothing but zeros": _scribble,
    "it is another program's": _other,
    "it is of another version": lambda path: _set(path, "PRAGMA user_version = 99"),
    "it was made of something else": lambda path: _set(path, "UPDATE head SET digest = 'x'"),
    "it says nothing of itself": lambda path: _set(path, "DELETE FROM head"),
    "its counts are none": lambda path: _set(path, "UPDATE head SET counts = 'x'"),
    "its group may write it": lambda path: path.chmod(0o620),
    "everybody may write it": lambda path: path.chmod(0o602),
    "it is a link": lambda path: (path.rename(path.with_name("elsewhere")), path.symlink_to("elsewhere")),
    "it is a folder": lambda path: (path.unlink(), path.mkdir()),
    "it is a pipe": _pipe,
    "somebody removes it": lambda path: fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_file_that_is_not_what_it_should_be_is_not_used_and_made_again(folder: Path, spoil: Any) -> None:
    path = _make_and_close(folder)
    spoil(path)
    with pytest.raises(StoreError, match="cannot be used"):
        open_store(path, digest_inputs(INPUTS))
    assert find_store(folder, INPUTS) is None
    if path.is_dir():
        path.rmdir()
    again = make_store(folder, INPUTS, fill)
    assert StoredRows(again, "people").find("e-1", "corp") == [("employee", "people.csv:2")]


def _make_and_close(folder: Path) -> Path:
    return make_store(folder, INPUTS, fill).path


def test_a_file_cut_short_beneath_a_reader_is_an_error_and_ends_nobody(folder: Path) -> None:
    rows = [(f"e-{number:06}", 0, 1, number * FILES) for number in range(100_000)]
    store = make_store(folder, INPUTS, lambda writer: writer.add_rows("people", rows, WORDS, ["people.csv"]))
    found = StoredRows(store, "people")
    store.path.chmod(0o600)
    os.truncate(store.path, 3 * 4096)
    with pytest.raises(sqlite3.DatabaseError):
        found.find("e-050000", "corp")


def test_rows_of_zeros_beneath_a_reader_are_an_error(folder: Path) -> None:
    rows = [(f"e-{number:06}", 0, 1, number * FILES) for number in range(100_000)]
    store = make_store(folder, INPUTS, lambda writer: writer.add_rows("people", rows, WORDS, ["people.csv"]))
    found = StoredRows(store, "people")
    store.path.chmod(0o600)
    with store.path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\0" * (store.path.stat().st_size - 3 * 4096))
    with pytest.raises((sqlite3.DatabaseError, msgspec.DecodeError, ValueError)):
        found.find("e-050000", "corp")


def test_a_file_that_is_removed_beneath_a_reader_is_still_read(store: Store) -> None:
    store.path.unlink()
    assert StoredRows(store, "people").find("e-1", "corp") == [("employee", "people.csv:2")]


BUILDER: Final = """\
import sys
from pathlib import Path
from proxy.bundle.store import make_store, StoredRows
def fill(writer):
    print("filling", flush=True)
    rows = [(f"e-{number:06}", 0, 0, number * 1024) for number in range(20_000)]
    sys.stdin.read(1)
    writer.add_rows("people", rows, {"issuer": ["corp"], "kind": [""]}, ["people.csv"])
store = make_store(Path(sys.argv[1]), {"tables": ["a"]}, fill)
print(len(StoredRows(store, "people").find("e-000777", "corp")), flush=True)
"""


def start_builder(folder: Path) -> "subprocess.Popen[bytes]":
    builder = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert builder.stdout is not None
    assert builder.stdout.readline() == b"filling\n"
    return builder


def test_two_processes_may_make_the_same_file_at_once(folder: Path) -> None:
    builders = [start_builder(folder) for _ in range(2)]
    for builder in builders:
        assert builder.stdin is not None
        builder.stdin.write(b"x")
        builder.stdin.flush()
    assert [builder.communicate()[0] for builder in builders] == [b"1\n", b"1\n"]
    assert len(list(folder.iterdir())) == 1


def test_what_a_builder_that_was_killed_left_is_never_used_and_is_removed(folder: Path) -> None:
    builder = start_builder(folder)
    builder.send_signal(signal.SIGKILL)
    builder.communicate()
    (left,) = folder.iterdir()
    assert left.name.startswith(".building-")
    assert find_store(folder, INPUTS) is None
    _age(left)
    store = make_store(folder, INPUTS, fill)
    assert list(folder.iterdir()) == [store.path]


def _age(path: Path) -> None:
    then = unix_seconds() - KEPT_SECONDS - 60
    os.utime(path, (then, then))


def test_files_that_nobody_uses_are_removed_when_another_is_made(folder: Path, store: Store) -> None:
    unused, young = (_make_in_a_process(folder, name) for name in ("b", "c"))
    foreign = folder / "notes.txt"
    foreign.touch()
    for path in (store.path, unused, foreign):
        _age(path)
    other = make_store(folder, {"tables": ["d"]}, fill)
    assert set(folder.iterdir()) == {store.path, young, foreign, other.path}


def _make_in_a_process(folder: Path, name: str) -> Path:
    code = BUILDER.replace('["a"]', f'["{name}"]')
    subprocess.run([sys.executable, "-c", code, str(folder)], input=b"x", capture_output=True, check=True)
    return folder / f"{digest_inputs({'tables': [name]})}.sekisho"


def test_a_failure_while_filling_leaves_nothing_behind(folder: Path) -> None:
    def fail(writer: Writer) -> None:
        fill(writer)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        make_store(folder, INPUTS, fail)
    assert list(folder.iterdir()) == []


def _as_file(path: Path) -> None:
    path.touch()


def _as_link(path: Path) -> None:
    path.with_name("real").mkdir(mode=0o700)
    path.symlink_to("real")


def _open_to_others(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)


FOLDERS = {
    "a file": (_as_file, "cannot be made"),
    "a link": (_as_link, "is no folder"),
    "open to others": (_open_to_others, "open to others: chmod 700"),
}


@pytest.mark.parametrize(("make", "words"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_that_is_not_ours_alone_is_refused_with_the_mend(folder: Path, make: Any, words: str) -> None:
    make(folder)
    with pytest.raises(UsageError, match=f"{words}.*SEKISHO_REGISTERS_FOLDER"):
        find_store(folder, INPUTS)
    with pytest.raises(UsageError, match=f"{words}.*SEKISHO_REGISTERS_FOLDER"):
        make_store(folder, INPUTS, fill)


def test_another_users_folder_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(UsageError, match="another user's"):
        find_store(folder, INPUTS)


def test_another_users_file_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _make_and_close(folder)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(StoreError, match="others can write it"):
        open_store(path, digest_inputs(INPUTS))


def test_a_disk_that_is_full_is_told(folder: Path) -> None:
    def fill_up(_writer: Writer) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(UsageError, match=r"cannot be written to .*disk is full"):
        make_store(folder, INPUTS, fill_up)


def test_the_default_folder_is_of_one_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert default_folder() == tmp_path / f"sekisho-{os.geteuid()}"
    assert make_store(None, INPUTS, fill).path.parent == default_folder()


keys = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=3)


@given(st.lists(st.tuples(keys, st.integers(0, 1), st.integers(0, 2)), max_size=5 * BLOCK))
def test_every_row_is_found_as_by_looking_at_all_of_them(found: list[tuple[str, int, int]]) -> None:
    rows = sorted((*row, number * FILES) for number, row in enumerate(found))
    with tempfile.TemporaryDirectory() as name:
        store = make_store(
            Path(name) / "r", INPUTS, lambda writer: writer.add_rows("people", rows, WORDS, ["people.csv"])
        )
        stored = StoredRows(store, "people")
        for key in {"", "\U0010fffd", *(row[0] for row in rows), *(row[0] + "!" for row in rows)}:
            for code, qualifier in enumerate(WORDS["issuer"]):
                assert stored.find(key, qualifier) == _look(rows, WORDS, key, code)


def _look(rows: Sequence[tuple[str, int, int, int]], words: Mapping[str, Sequence[str]], key: str, code: int) -> Any:
    return [(words["kind"][row[2]], f"people.csv:{row[3] // FILES}") for row in rows if row[:2] == (key, code)]
