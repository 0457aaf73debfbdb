# SPDX-License-Identifier: Apache-2.0
"""The files under a ledger, by themselves; what they are for is tested with the writer."""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from proxy.clock import parse_instant
from proxy.ledger.chain import Chain
from proxy.ledger.files import Folder, open_segment
from proxy.ledger.segments import LOCK, Segment, list_segments, segment_name
from tests.support.small_disk import no_file_larger_than
from tests.unit.ledger.test_writer import open_files

NOON = parse_instant("2026-11-22T12:00:00.000Z")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "ledger")
    yield folder
    folder.close()


def first_line(chain: Chain, now: float = NOON) -> bytes:
    staged = chain.stage([chain.segment()], now)
    chain.take(staged)
    return staged.data


def content(folder: Folder) -> dict[str, bytes]:
    return {segment.path.name: segment.path.read_bytes() for segment in list_segments(folder.path)}


def test_what_is_written_stands_in_the_segment_that_was_begun_last(folder: Folder) -> None:
    folder.begin(0, b"a\n")
    folder.write(b"b\nc\n")
    folder.begin(3, b"d\n")
    folder.write(b"e\n")
    assert content(folder) == {segment_name(0): b"a\nb\nc\n", segment_name(3): b"d\ne\n"}
    assert (folder.segment, folder.length) == (folder.path / segment_name(3), 4)
    assert folder.is_in_place()


def test_nothing_is_written_before_a_segment_is_begun(folder: Folder) -> None:
    assert not folder.is_in_place()
    with pytest.raises(FileNotFoundError):
        folder.write(b"a\n")


def test_a_folder_that_is_closed_takes_nothing_and_holds_nothing(folder: Folder) -> None:
    before = open_files() - 1
    folder.begin(0, b"a\n")
    folder.close()
    assert open_files() == before
    with pytest.raises(OSError, match="it is closed"):
        folder.write(b"b\n")
    with pytest.raises(OSError, match="it is closed"):
        folder.begin(1, b"b\n")
    assert content(folder) == {segment_name(0): b"a\n"}
    assert open_files() == before


def test_a_segment_is_gone_on_with_behind_what_is_whole(folder: Folder) -> None:
    path = folder.path / segment_name(0)
    path.write_bytes(b"a\nb")
    folder.resume(Segment(path, 0), 2)
    folder.write(b"c\n")
    assert content(folder) == {segment_name(0): b"a\nc\n"}


def test_a_segment_that_became_shorter_is_not_gone_on_with(folder: Folder) -> None:
    path = folder.path / segment_name(0)
    path.write_bytes(b"a\n")
    before = open_files()
    with pytest.raises(OSError, match="shorter"):
        folder.resume(Segment(path, 0), 3)
    assert open_files() == before


def test_the_segment_that_is_written_is_held_and_given_free(folder: Folder, tmp_path: Path) -> None:
    folder.begin(0, b"a\n")
    segment = list_segments(folder.path)[0]
    with pytest.raises(BlockingIOError):
        open_segment(segment)
    folder.begin(1, b"b\n")
    os.close(open_segment(segment))
    folder.close()
    os.close(open_segment(list_segments(folder.path)[1]))


def test_a_lock_that_was_removed_is_taken_anew_with_the_next_segment(folder: Folder) -> None:
    folder.begin(0, b"a\n")
    (folder.path / LOCK).unlink()
    folder.begin(1, b"b\n")
    with (folder.path / LOCK).open("rb") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_empty_folder_on_another_disk_is_not_the_one_that_was_held(tmp_path: Path) -> None:
    """As where the folder is a place of mounting, and nothing is mounted there any more."""
    own = tmp_path / "own"
    own.mkdir()
    with TemporaryDirectory(dir="/dev/shm") as other:
        assert Path(other).stat().st_dev != own.stat().st_dev
        place = tmp_path / "place"
        place.symlink_to(own)
        folder = Folder(place)
        folder.begin(0, b"a\n")
        place.unlink()
        place.symlink_to(other)
        with pytest.raises(FileNotFoundError, match="an empty one on another disk is in its place"):
            folder.begin(1, b"b\n")
        assert list(Path(other).iterdir()) == []
        place.unlink()
        place.symlink_to(own)
        folder.begin(1, b"b\n")
        folder.close()
        assert content(folder) == {segment_name(0): b"a\n", segment_name(1): b"b\n"}


def test_a_lock_that_somebody_else_has_is_an_error_until_it_is_free(folder: Folder) -> None:
    folder.begin(0, b"a\n")
    (folder.path / LOCK).unlink()
    with (folder.path / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(2):
            with pytest.raises(BlockingIOError):
                folder.begin(1, b"b\n")
    folder.begin(1, b"b\n")


def test_a_segment_that_could_be_neither_begun_nor_removed_does_not_stand_in_the_way(folder: Folder) -> None:
    path = folder.path / segment_name(0)
    path.touch()
    folder._abandoned = (path.stat().st_dev, path.stat().st_ino)
    folder.begin(0, b"a\n")
    assert content(folder) == {segment_name(0): b"a\n"}


def test_a_segment_of_somebody_else_is_never_removed(folder: Folder) -> None:
    path = folder.path / segment_name(0)
    path.write_bytes(b"theirs\n")
    for _ in range(2):
        with pytest.raises(FileExistsError):
            folder.begin(0, b"a\n")
    assert path.read_bytes() == b"theirs\n"


def test_what_a_failed_write_left_is_cut_off_the_segment_that_is_left(folder: Folder) -> None:
    folder.begin(0, b"a\n")
    with (folder.path / segment_name(0)).open("ab") as file:
        file.write(b"half")
    with folder._guard:  # as where it could not be cut off
        folder._retire()
    assert folder.is_in_place()
    folder.begin(1, b"b\n")
    assert content(folder) == {segment_name(0): b"a\n", segment_name(1): b"b\n"}


def test_failed_writes_keep_no_more_than_one_file_open(folder: Folder) -> None:
    folder.begin(0, b"a\n")
    before = open_files()
    for _ in range(20):
        with folder._guard:
            folder._retire()
        with no_file_larger_than(3), pytest.raises(OSError, match=r"space|large"):
            folder.write(b"bcd\n")
    assert open_files() <= before + 1
    folder.sync()
    assert open_files() == before


def test_the_folder_must_be_there_to_be_waited_for(folder: Folder) -> None:
    folder.begin(0, b"a\n")
    aside = folder.path.with_name("aside")
    folder.path.rename(aside)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            folder.sync()
    aside.rename(folder.path)
    folder.sync()
    folder.path.rename(aside)
    folder.sync()  # which files it holds is durable, and the file itself is there


def test_whoever_waits_for_the_disk_returns_after_those_who_waited_before(folder: Folder) -> None:
    folder.begin(0, b"a\n")
    done: list[str] = []

    def wait() -> None:
        folder.sync()
        done.append("synced")

    with folder._syncing:
        waiting = threading.Thread(target=wait)
        waiting.start()
        folder.write(b"b\n")  # nobody who writes is held up
        waiting.join(0.05)
        done.append("first")
    waiting.join()
    assert done == ["first", "synced"]


def test_many_threads_may_wait_while_one_writes(folder: Folder) -> None:
    folder.begin(0, b"a\n")
    before = open_files()
    errors: list[OSError] = []

    def wait() -> None:
        for _ in range(50):
            try:
                folder.sync()
            except OSError as error:
                errors.append(error)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 100):
        folder.begin(number, b"a\n")
        folder.write(b"b\n")
    for thread in threads:
        thread.join()
    folder.sync()
    assert errors == []
    assert open_files() == before
    assert set(content(folder).values()) == {b"a\n", b"a\nb\n"}


def test_older_segments_are_told_by_what_they_say_and_not_by_the_time_of_the_file(folder: Folder) -> None:
    chain = Chain("ledger.example")
    for day in range(4):
        folder.begin(chain.size, first_line(chain, NOON + day * 86400))
    for segment in list_segments(folder.path):
        os.utime(segment.path, (0, 0))
    segments = list_segments(folder.path)
    found = {day: folder.find_older(NOON + day * 86400 + 1) for day in (-1, 0, 1, 2, 3, 9)}
    assert found == {
        -1: ([], 0),
        0: ([], 0),
        1: (segments[:1], 1),
        2: (segments[:2], 2),
        3: (segments[:3], 3),
        9: (segments[:3], 3),
    }


def test_nothing_is_older_where_the_segment_that_is_written_was_removed(folder: Folder) -> None:
    chain = Chain("ledger.example")
    for _ in range(3):
        folder.begin(chain.size, first_line(chain))
    list_segments(folder.path)[-1].path.unlink()
    assert folder.find_older(NOON + 10**6) == ([], 0)


def test_a_file_that_is_no_segment_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = open_files()
    with pytest.raises(OSError, match="no regular file") as raised:
        open_segment(Segment(tmp_path / "pipe", 0))
    assert raised.value.errno == errno.EINVAL
    assert open_files() == before
