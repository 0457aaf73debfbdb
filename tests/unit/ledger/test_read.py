# SPDX-License-Identifier: Apache-2.0
"""Lines are read in order, forward and backward, and what is damaged is skipped, counted and named."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UsageError
from proxy.ledger import read
from proxy.ledger.follow import Follower
from proxy.ledger.lines import StopLine
from proxy.ledger.read import (
    MAX_LINE_BYTES,
    Entry,
    Position,
    Reading,
    choose_by_time,
    find_end,
    find_files,
    line_kind,
    line_time,
    locate,
    read_backward,
    read_forward,
    read_stream,
)
from tests.support.ledger_lines import a_decision, write_ledger

GOOD = b'{"n":0,"prev":"x","time":"2021-03-23T00:00:01.000Z","line":"stop"}'

DAMAGED = [
    pytest.param(b'{"n":1,"prev":"x","ti', "it is no JSON", id="a line that breaks off"),
    pytest.param(b"", "it is no JSON", id="an empty line"),
    pytest.param(b"\x00" * 40, "it is no JSON", id="zeros, as a disk that lost power leaves"),
    pytest.param(b'{"line":"\xff\xfe"}', "it is no JSON", id="bytes that are no UTF-8"),
    pytest.param(b'{"line":"stop"} {"line":"stop"}', "it is no JSON", id="two lines in one"),
    pytest.param(b"[" * 100_000, "it is no JSON", id="brackets without end"),
    pytest.param(b'{"line":"stop","n":' + b"9" * 5000 + b"}", "it is no JSON", id="a number beyond all numbers"),
    pytest.param(b'["line","stop"]', "it is no line of a ledger", id="a list"),
    pytest.param(b'"stop"', "it is no line of a ledger", id="a text"),
    pytest.param(b'{"n":1}', "it is no line of a ledger", id="an object without a kind"),
    pytest.param(b'{"line":["stop"]}', "it is no line of a ledger", id="a kind that is no text"),
]
LINES = st.binary(max_size=12).map(lambda line: line.replace(b"\n", b""))
FOREIGN = ["lock", "checkpoint", "ledger.jsonl", "0.jsonl", "00000000000000000000.jsonl.gz", "x" * 20 + ".jsonl"]


def a_file(folder: Path, content: bytes, first: int = 0) -> Path:
    path = folder / f"{first:020d}.jsonl"
    path.write_bytes(content)
    return path


def read_whole(content: bytes) -> list[tuple[int, bytes, bool]]:
    """Return what a reader should find."""
    found, offset = [], 0
    *lines, rest = content.split(b"\n")
    for line in lines:
        found.append((offset, line, True))
        offset += len(line) + 1
    return found + ([(offset, rest, False)] if rest else [])


def told(entries: list[Entry]) -> list[tuple[int, bytes, bool]]:
    return [(entry.offset, entry.data, entry.is_whole) for entry in entries]


# In order.


def test_the_lines_of_a_folder_come_in_the_order_of_its_segments(tmp_path: Path) -> None:
    write_ledger(tmp_path, [StopLine()] * 3, [StopLine()] * 2, [])
    for name in FOREIGN:
        (tmp_path / name).write_bytes(GOOD + b"\n")
    files = find_files(tmp_path)
    reading = Reading(pytest.fail)
    forward = [reading.decode(entry) for entry in read_forward(files.paths)]
    assert [line["n"] for line in forward if line] == list(range(8))
    backward = [reading.decode(entry) for entry in read_backward(files)]
    assert [line["n"] for line in backward if line] == list(range(7, -1, -1))


@given(st.lists(LINES, max_size=30), st.sampled_from([b"", b"\n"]))
def test_forward_and_backward_find_the_same_lines_at_any_size_of_block(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes
) -> None:
    content = b"\n".join(lines) + (end if lines else b"")
    path = a_file(tmp_path_factory.mktemp("ledger"), content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "_BLOCK_BYTES", 7)
        patch.setattr(read, "_BACKWARD_BYTES", 5)
        forward = told(list(read_forward([path])))
        backward = told(list(read_backward(find_files(path))))
    assert forward == read_whole(content)
    assert [each for each in backward[::-1] if each[1]] == [each for each in forward if each[1]]


def test_only_lines_that_hold_some_bytes(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"one\ntwo\nthree two\nfour\nunfinished two")
    assert [entry.data for entry in read_forward([path], holding=b"two")] == [b"two", b"three two", b"unfinished two"]
    assert list(read_forward([path], holding=b"five")) == []


def test_reading_backward_reads_no_more_than_is_asked_for(tmp_path: Path) -> None:
    path = a_file(tmp_path, (GOOD + b"\n") * 50_000)
    with path.open("rb", buffering=0) as file:
        entries = read._read_file_backward(file, path, path.stat().st_size)
        assert next(entries).data == GOOD
        assert file.tell() > path.stat().st_size - 2 * read._BACKWARD_BYTES


def test_backward_from_a_position_sees_nothing_behind_it(tmp_path: Path) -> None:
    first, second = a_file(tmp_path, b"a\nb\n"), a_file(tmp_path, b"c\nd\n", 2)
    files = find_files(tmp_path)
    assert [entry.data for entry in read_backward(files, Position(first, 2))] == [b"a"]
    assert [entry.data for entry in read_backward(files, Position(second, 2))] == [b"c", b"b", b"a"]


def test_the_end_is_behind_the_last_whole_line(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"a\nbc\nunfin")
    assert find_end(find_files(tmp_path)) == Position(path, 5)
    path.write_bytes(b"unfin")
    assert find_end(find_files(tmp_path)) == Position(path, 0)


def test_a_segment_that_retention_removes_meanwhile_is_left_out(tmp_path: Path) -> None:
    paths = [a_file(tmp_path, b"a\n"), a_file(tmp_path, b"b\n", 1), a_file(tmp_path, b"c\n", 2)]
    files = find_files(tmp_path)
    paths[0].unlink()
    assert [entry.data for entry in read_forward(files.paths)] == [b"b", b"c"]
    assert [entry.data for entry in read_backward(files)] == [b"c", b"b"]
    paths[2].unlink()
    assert find_end(files) == Position(paths[1], 2)


def test_an_empty_folder_has_no_lines_and_no_end(tmp_path: Path) -> None:
    files = find_files(tmp_path)
    assert (files.paths, list(read_backward(files)), find_end(files)) == ((), [], None)


def test_a_place_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^There is no ledger .*: name its folder, one of its files, or - for a pipe"):
        find_files(tmp_path / "missing")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / f"{0:020d}.jsonl").mkdir()
    files = find_files(tmp_path)
    for read_it in (
        lambda: list(read_forward(files.paths)),
        lambda: list(read_backward(files)),
        lambda: find_end(files),
    ):
        with pytest.raises(UsageError, match=r"00000000000000000000\.jsonl cannot be read: it is no regular file\.$"):
            read_it()


def test_a_pipe_in_a_segments_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"{0:020d}.jsonl")
    files = find_files(tmp_path)
    assert choose_by_time(files.paths, "2021-03-23T00:00:00.000Z", "") == files.paths
    for read_it in (
        lambda: list(read_forward(files.paths)),
        lambda: list(read_backward(files)),
        lambda: find_end(files),
        lambda: list(Follower(files, None, print).read()),
    ):
        with pytest.raises(UsageError, match=r"00000000000000000000\.jsonl cannot be read: it is no regular file\.$"):
            read_it()


def test_a_pipe_that_is_named_is_read(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, GOOD + b"\n")
    os.close(writer)
    path = Path(f"/proc/self/fd/{reader}")
    assert list(read_forward(find_files(path).paths)) == [Entry(path, 0, GOOD)]
    os.close(reader)


def test_a_stream_gives_its_lines_as_they_come() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as stream:  # noqa: PTH123 - a descriptor
        entries = read_stream(stream)
        os.write(writer, b"a\nb\n")
        assert next(entries) == Entry(None, 0, b"a")
        os.write(writer, b"half")
        assert next(entries) == Entry(None, 1, b"b")
        os.close(writer)
        assert list(entries) == [Entry(None, 2, b"half", is_whole=False)]


# Damage.


@pytest.mark.parametrize(("damage", "why"), DAMAGED)
def test_damage_is_skipped_counted_and_named(tmp_path: Path, damage: bytes, why: str) -> None:
    path = a_file(tmp_path, GOOD + b"\n" + damage + b"\n" + GOOD + b"\n")
    notes: list[str] = []
    reading = Reading(notes.append)
    lines = [line for entry in read_forward([path]) if (line := reading.decode(entry))]
    assert [line["line"] for line in lines] == ["stop", "stop"]
    assert (reading.damaged, len(notes)) == (1, 1)
    assert notes[0].startswith(f"{path}:2 is skipped: {why}")
    reading.finish()
    assert notes[1] == "1 line was skipped; `sekisho ledger verify` says what is wrong with a ledger."


@pytest.mark.parametrize("unfinished", [GOOD, GOOD[:30]], ids=["but for its newline whole", "in the middle"])
def test_a_line_that_no_newline_ends_is_none(tmp_path: Path, unfinished: bytes) -> None:
    path = a_file(tmp_path, GOOD + b"\n" + unfinished)
    for entries in (list(read_forward([path])), list(read_backward(find_files(path)))[::-1]):
        notes: list[str] = []
        reading = Reading(notes.append)
        assert [reading.decode(entry) is not None for entry in entries] == [True, False]
        assert notes == [f"{path}:2 is skipped: it is unfinished."]


def test_a_file_of_one_line_without_end_takes_bounded_memory_and_is_named(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"x" * (4 * MAX_LINE_BYTES) + b"\n" + GOOD + b"\n")
    notes: list[str] = []
    reading = Reading(notes.append)
    lengths = [len(entry.data) for entry in read_forward([path]) if reading.decode(entry) is None]
    assert max(lengths) <= 2 * MAX_LINE_BYTES
    assert notes[0] == f"{path}:1 is skipped: it is longer than any line of ours."
    with path.open("rb") as stream:
        assert [entry.data for entry in read_stream(stream)][-1] == GOOD
    backward = read_backward(find_files(path))
    assert next(backward).data == GOOD
    assert max(len(entry.data) for entry in backward) <= MAX_LINE_BYTES


def test_only_the_first_damaged_lines_are_named_and_all_are_counted() -> None:
    notes: list[str] = []
    reading = Reading(notes.append)
    for entry in read_stream(io.BytesIO(b"no\n" * 1234)):
        assert reading.decode(entry) is None
    reading.finish()
    assert len(notes) == 11
    assert notes[0].startswith("standard input:1 is skipped: ")
    assert notes[-1].startswith("1,234 lines were skipped")


def test_the_kind_and_time_of_whatever_is_a_line_are_told(tmp_path: Path) -> None:
    notes: list[str] = []
    reading = Reading(notes.append)
    lines = [GOOD, GOOD[:-1], b"{}x", b'{ "time": "t", "line": "\xe6\x97\xa5" }', b'{"line":"stop"}']
    lines.append(b'{"line":"stop","time":7}')
    seen = [reading.look(entry) for entry in read_stream(io.BytesIO(b"\n".join(lines) + b"\n" + GOOD))]
    assert seen == [
        (b"stop", "2021-03-23T00:00:01.000Z"), None, None, ("日".encode(), "t"), (b"stop", ""), (b"stop", "7"), None,
    ]  # fmt: skip
    assert (reading.damaged, len(notes)) == (3, 3)


def test_the_number_of_a_line_is_that_of_its_file(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"a\nb\nc\n")
    assert [locate(entry) for entry in read_forward([path])] == [f"{path}:{number}" for number in (1, 2, 3)]
    path.unlink()
    assert locate(Entry(path, 4, b"c")) == f"{path} at byte 4"


def test_nothing_read_says_nothing() -> None:
    Reading(pytest.fail).finish()


# Times.


def test_the_kind_and_time_of_a_line_are_found_without_decoding(tmp_path: Path) -> None:
    path = write_ledger(tmp_path, [a_decision()]).path
    kinds = [(line_kind(entry.data), line_time(entry.data)) for entry in read_forward([path])]
    assert kinds == [(b"segment", b"2021-03-23T00:00:01.000Z"), (b"decision", b"2021-03-23T00:00:02.000Z")]
    for strange in (b"", b"{}", b'{"line":', b'{"line":"', b'{"time":"2021"}', b'{"line":"' + b"x" * 600):
        assert (line_kind(strange), line_time(strange)) == (b"", b"")


CHOSEN = [
    pytest.param("", "", [0, 1, 2, 3], id="no bounds"),
    pytest.param("2021-03-23T00:00:00.000Z", "", [0, 1, 2, 3], id="since before everything"),
    pytest.param("2021-03-23T00:00:01.000Z", "", [0, 1, 2, 3], id="since the first line"),
    pytest.param("2021-03-23T00:00:05.000Z", "", [1, 2, 3], id="since within the second"),
    pytest.param(
        "2021-03-23T00:00:04.000Z", "", [0, 1, 2, 3], id="since the first line of the second: the first may end so"
    ),
    pytest.param("2021-03-23T01:00:00.000Z", "", [3], id="since after everything: the last may go on"),
    pytest.param("", "2021-03-23T00:00:04.000Z", [0], id="until the second begins"),
    pytest.param("", "2021-03-23T00:00:04.001Z", [0, 1], id="until just after it begins"),
    pytest.param("", "2021-03-23T00:00:01.000Z", [], id="until the first line"),
    pytest.param("2021-03-23T00:00:05.000Z", "2021-03-23T00:00:06.000Z", [1], id="within one"),
]


@pytest.mark.parametrize(("since", "until", "expected"), CHOSEN)
def test_segments_are_chosen_by_the_times_of_their_first_lines(
    tmp_path: Path, since: str, until: str, expected: list[int]
) -> None:
    write_ledger(tmp_path, *[[StopLine()] * 2] * 4)
    paths = find_files(tmp_path).paths
    assert choose_by_time(paths, since, until) == tuple(paths[index] for index in expected)


def test_a_segment_whose_first_line_cannot_be_read_is_never_left_out_for_it(tmp_path: Path) -> None:
    write_ledger(tmp_path, *[[StopLine()] * 2] * 4)
    paths = find_files(tmp_path).paths
    paths[1].write_bytes(b"\x00" * 300)
    paths[2].write_bytes(b"")
    assert choose_by_time(paths, "2021-03-23T00:00:11.000Z", "") == paths[3:]
    assert choose_by_time(paths, "2021-03-23T00:00:05.000Z", "2021-03-23T00:00:06.000Z") == paths[:3]
