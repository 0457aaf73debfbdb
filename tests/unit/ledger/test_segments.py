# SPDX-License-Identifier: Apache-2.0
"""Which files are segments, and their lines, block by block."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.ledger import segments
from proxy.ledger.segments import (
    BLOCK_BYTES,
    Segment,
    describe_no_ledger,
    find_end_of_lines,
    list_segments,
    read_blocks,
    replace_file,
    segment_name,
)
from tests.support.small_disk import no_file_larger_than
from tests.unit.ledger.test_writer import open_files

NO_SEGMENTS = ["lock", "checkpoint", "bundles", "1.jsonl", f"{0:020d}.json", f"{0:021d}.jsonl", f".{0:020d}.jsonl",
               f"{0:020d}.jsonl.gz", f"{'٠' * 20}.jsonl"]  # fmt: skip


def test_segments_are_listed_in_the_order_of_their_lines_and_nothing_else_is(tmp_path: Path) -> None:
    for name in NO_SEGMENTS:
        (tmp_path / name).touch()
    for first in (104729, 0, 9):
        (tmp_path / segment_name(first)).touch()
    assert list_segments(tmp_path) == [Segment(tmp_path / segment_name(first), first) for first in (0, 9, 104729)]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list_segments(tmp_path / "missing")


def read_all(path: Path) -> tuple[list[bytes], tuple[int, int]]:
    file = os.open(path, os.O_RDONLY)
    try:
        end = find_end_of_lines(file)
        return [line for block in read_blocks(file, end[0]) for line in block], end
    finally:
        os.close(file)


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=12), st.binary(max_size=20))
def test_whole_lines_are_read_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], rest: bytes
) -> None:
    rest = rest.replace(b"\n", b"")
    path = tmp_path_factory.mktemp("segment") / "a"
    whole = b"".join(line + b"\n" for line in lines)
    path.write_bytes(whole + rest)
    before = segments.BLOCK_BYTES
    try:
        for size in (1, 2, 7, 64):
            segments.BLOCK_BYTES = size  # type: ignore[misc]
            assert read_all(path) == (lines, (len(whole), len(whole) + len(rest)))
    finally:
        segments.BLOCK_BYTES = before  # type: ignore[misc]


@pytest.mark.parametrize("length", [0, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 20 * BLOCK_BYTES])
def test_a_line_of_any_length_is_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * length + b"\ny\nz")
    assert read_all(path) == ([b"x" * length, b"y"], (length + 3, length + 4))


def test_a_file_that_became_shorter_meanwhile_is_read_up_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a\nb\n")
    file = os.open(path, os.O_RDONLY)
    assert [line for block in read_blocks(file, 1000) for line in block] == [b"a", b"b"]
    os.close(file)


def test_a_small_file_is_replaced_whole_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    for data in (b"first", b"second, and longer"):
        replace_file(path, data)
        assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("room", [0, 3])
def test_a_small_file_that_finds_no_room_stays_as_it_was_and_leaves_nothing(tmp_path: Path, room: int) -> None:
    path = tmp_path / "checkpoint"
    replace_file(path, b"first")
    before = open_files()
    with no_file_larger_than(room), pytest.raises(OSError, match=r"space|large"):
        replace_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint"]
    assert open_files() == before


def test_what_an_end_midway_left_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.tmp").write_bytes(b"half")
    replace_file(tmp_path / "checkpoint", b"whole")
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint"]


def test_a_folder_without_a_segment_names_the_ledger_below_it(tmp_path: Path) -> None:
    assert describe_no_ledger(tmp_path) == (
        f"{tmp_path} is no ledger: there is no segment in it, such as 00000000000000000000.jsonl."
    )
    below = tmp_path / "ledger"
    below.mkdir()
    (below / segment_name(7)).touch()
    assert describe_no_ledger(tmp_path).endswith(f" Is {below} meant?")
    assert describe_no_ledger(tmp_path / "missing").endswith(".jsonl.")
