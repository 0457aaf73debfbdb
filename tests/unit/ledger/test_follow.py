# SPDX-License-Identifier: Apache-2.0
"""Following a ledger: each line once, in order, whatever happens to its files. Nobody waits here."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UsageError
from proxy.ledger.follow import Follower
from proxy.ledger.lines import StopLine
from proxy.ledger.read import MAX_LINE_BYTES, find_end, find_files
from tests.support.ledger_lines import LedgerOnDisk, write_ledger


class Following:
    """A follower, and what it told."""

    def __init__(self, place: Path, *, from_end: bool = False) -> None:
        files = find_files(place)
        self.notes: list[str] = []
        self.follower = Follower(files, find_end(files) if from_end else None, self.notes.append)

    def numbers(self) -> list[int]:
        """Return the numbers of the lines that are new."""
        return [int(entry.data.split(b",")[0][5:]) for entry in self.follower.read() if entry.is_whole]


def test_what_is_there_and_what_comes_is_given_once(tmp_path: Path) -> None:
    ledger = write_ledger(tmp_path, [StopLine()] * 2)
    following = Following(tmp_path)
    assert following.numbers() == [0, 1, 2]
    assert following.numbers() == []
    ledger.write(StopLine(), StopLine())
    assert following.numbers() == [3, 4]
    following.follower.close()


def test_from_the_end_only_what_comes_is_given(tmp_path: Path) -> None:
    ledger = write_ledger(tmp_path, [StopLine()] * 2, [StopLine()])
    following = Following(tmp_path, from_end=True)
    assert following.numbers() == []
    ledger.write(StopLine())
    assert following.numbers() == [5]
    following.follower.close()


def test_an_empty_folder_is_followed_from_its_first_line(tmp_path: Path) -> None:
    following = Following(tmp_path, from_end=True)
    assert following.numbers() == []
    write_ledger(tmp_path, [StopLine()])
    assert following.numbers() == [0, 1]
    following.follower.close()


def test_no_line_is_lost_where_several_segments_begin_between_two_looks(tmp_path: Path) -> None:
    ledger = write_ledger(tmp_path, [StopLine()])
    following = Following(tmp_path)
    assert following.numbers() == [0, 1]
    ledger.write(StopLine())
    for _ in range(3):
        ledger.begin()
        ledger.write(StopLine())
    assert following.numbers() == list(range(2, 9))
    following.follower.close()


@given(st.lists(st.sampled_from(["line", "segment", "look", "half", "cut", "retention", "copy"]), max_size=25))
def test_every_line_is_given_once_and_in_order(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    ledger = write_ledger(tmp_path_factory.mktemp("ledger"), [StopLine()])
    following, given_numbers = Following(ledger.folder), []
    whole = ledger.path.stat().st_size
    for step in steps:
        if step == "look":
            given_numbers += following.numbers()
        elif step == "half":
            with ledger.path.open("ab") as file:
                file.write(b'{"n":99,"prev":"')
        else:
            with ledger.path.open("r+b") as file:  # a restarted writer begins by cutting off what is unfinished
                file.truncate(whole)
            if step == "line":
                ledger.write(StopLine())
            elif step == "segment":
                ledger.begin()
            elif step == "copy":
                shutil.copy(ledger.path, ledger.folder / "copy")
                (ledger.folder / "copy").replace(ledger.path)
            elif step == "retention":
                given_numbers += following.numbers()
                for path in find_files(ledger.folder).paths[:-1]:
                    path.unlink()
            whole = ledger.path.stat().st_size
    with ledger.path.open("r+b") as file:
        file.truncate(whole)
    given_numbers += following.numbers()
    following.follower.close()
    assert given_numbers == list(range(ledger.n))


def test_a_segment_that_is_removed_while_it_is_read_ends_where_the_next_begins(tmp_path: Path) -> None:
    ledger = write_ledger(tmp_path, [StopLine()])
    following = Following(tmp_path)
    assert following.numbers() == [0, 1]
    ledger.write(StopLine()).unlink()
    assert following.numbers() == [2], "it is still open here"
    ledger.begin()
    assert following.numbers() == [3]
    assert following.notes == []
    following.follower.close()


def test_a_segment_that_is_replaced_is_not_given_again(tmp_path: Path) -> None:
    ledger = write_ledger(tmp_path, [StopLine()] * 3)
    following = Following(tmp_path, from_end=True)
    assert following.numbers() == []
    content = ledger.path.read_bytes()
    ledger.path.unlink()
    ledger.path.write_bytes(content)
    ledger.write(StopLine())
    assert following.numbers() == [4]
    assert following.notes == [f"{ledger.path} was replaced; reading on after line 3."]
    following.follower.close()


def test_a_segment_that_is_cut_is_told_and_read_on(tmp_path: Path) -> None:
    ledger = write_ledger(tmp_path, [StopLine()] * 3)
    following = Following(tmp_path)
    assert following.numbers() == [0, 1, 2, 3]
    content = ledger.path.read_bytes()
    ledger.path.write_bytes(b"\n".join(content.split(b"\n")[:2]) + b"\nhalf")
    assert following.numbers() == []
    assert [note.partition(" was cut to ")[0] for note in following.notes] == [str(ledger.path)]
    ledger.path.write_bytes(b"\n".join(content.split(b"\n")[:2]) + b"\n" + b'{"n":2,"again":0}\n')
    assert following.numbers() == [2]
    following.follower.close()


def test_an_unfinished_line_comes_when_it_is_whole_and_is_named_where_the_next_segment_stands(tmp_path: Path) -> None:
    ledger = write_ledger(tmp_path, [StopLine()])
    following = Following(tmp_path)
    assert following.numbers() == [0, 1]
    with ledger.path.open("ab") as file:
        file.write(b'{"n":2,"prev"')
        file.flush()
        assert following.numbers() == []
        file.write(b':"x"}\n{"n":3,"half')
        file.flush()
    assert following.numbers() == [2]
    ledger.n = 4
    ledger.begin()
    entries = list(following.follower.read())
    assert [(entry.data[:7], entry.is_whole) for entry in entries] == [(b'{"n":3,', False), (b'{"n":4,', True)]
    following.follower.close()


def test_a_folder_that_goes_and_comes_back(tmp_path: Path) -> None:
    folder, away = tmp_path / "ledger", tmp_path / "away"
    ledger = write_ledger(folder, [StopLine()])
    following = Following(folder)
    assert following.numbers() == [0, 1]
    folder.rename(away)
    assert (following.numbers(), following.numbers()) == ([], [])
    assert following.notes == [f"The folder {folder} is gone; waiting for it to come back."]
    away.rename(folder)
    ledger.write(StopLine())
    assert following.numbers() == [2]
    following.follower.close()


def test_one_file_is_followed_by_itself(tmp_path: Path) -> None:
    ledger = write_ledger(tmp_path, [StopLine()])
    following = Following(ledger.path)
    assert following.numbers() == [0, 1]
    ledger.write(StopLine())
    ledger.begin()
    assert following.numbers() == [2]
    following.follower.close()


def test_a_line_without_end_takes_bounded_memory(tmp_path: Path) -> None:
    ledger = write_ledger(tmp_path, [])
    with ledger.path.open("ab") as file:
        file.write(b"x" * (2 * MAX_LINE_BYTES))
    following = Following(tmp_path)
    entries = list(following.follower.read())
    assert [(len(entry.data), entry.is_whole) for entry in entries[1:]] == [(MAX_LINE_BYTES, False)] * 2
    following.follower.close()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    following = Following(tmp_path)
    (tmp_path / f"{0:020d}.jsonl").mkdir()
    with pytest.raises(UsageError, match=r"00000000000000000000\.jsonl cannot be read: it is no regular file\.$"):
        following.numbers()


def test_lines_that_bear_no_number_are_given(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b'{"line":"stop"}\n')
    follower = Follower(find_files(path), None, pytest.fail)
    assert [entry.data for entry in follower.read()] == [b'{"line":"stop"}']
    follower.close()


def test_a_ledger_is_written_and_followed_from_its_beginning(tmp_path: Path) -> None:
    following = Following(tmp_path)
    ledger = LedgerOnDisk(tmp_path)
    seen = []
    for _ in range(5):
        ledger.begin()
        seen += following.numbers()
        ledger.write(StopLine())
        seen += following.numbers()
    assert seen == list(range(10))
    following.follower.close()
