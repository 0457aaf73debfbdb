# SPDX-License-Identifier: Apache-2.0
"""The writer on real files: all lines or none, one writer, and recovery without a restart."""

import contextlib
import json
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import LedgerError, UsageError
from proxy.ledger.lines import StartLine, StopLine
from proxy.ledger.writer import FILE_NAME, LedgerWriter
from proxy.telemetry import Metrics

WHOLE = b'{"line":"stop","time":"0"}\n'
NEXT = b'{"line":"stop","time":"next"}\n'


def a_line(text: str = "0") -> StopLine:
    return StopLine(time=text)


def read_times(path: Path) -> list[str]:
    content = path.read_bytes()
    assert content == b"" or content.endswith(b"\n")
    return [json.loads(line)["time"] for line in content.split(b"\n")[:-1]]


def count(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"sekisho_ledger_{name}_total")


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let the kernel refuse what goes beyond: a full disk that also stops root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ledger"


@pytest.fixture
def writer(folder: Path, metrics: Metrics) -> Iterator[LedgerWriter]:
    writer = LedgerWriter(folder, metrics)
    yield writer
    with contextlib.suppress(OSError):
        writer.close()


# What is written.


def test_lines_stand_in_the_file_in_their_order_when_append_returns(writer: LedgerWriter, metrics: Metrics) -> None:
    writer.append([a_line("1"), a_line("2")])
    writer.append([])
    writer.append([a_line("3")])
    assert read_times(writer.path) == ["1", "2", "3"]
    assert (count(metrics, "lines"), count(metrics, "failures")) == (3, 0)


def test_nobody_but_the_owner_reads_the_ledger(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    before = os.umask(0)
    try:
        LedgerWriter(folder, Metrics()).close()
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / FILE_NAME)] == [0o700, 0o600]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.text(), max_size=4), max_size=4))
def test_every_line_is_read_back_as_it_was_whatever_text_is_inside(batches: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = LedgerWriter(Path(folder), Metrics())
        for batch in batches:
            writer.append([a_line(text) for text in batch])
        writer.close()
        assert read_times(writer.path) == [text for batch in batches for text in batch]


def test_a_ledger_that_is_opened_again_goes_on(folder: Path, metrics: Metrics) -> None:
    for text in ("1", "2"):
        writer = LedgerWriter(folder, metrics)
        writer.append([a_line(text)])
        writer.close()
    assert read_times(folder / FILE_NAME) == ["1", "2"]


def test_close_can_be_called_twice(writer: LedgerWriter) -> None:
    writer.close()
    writer.close()


UNENCODABLE = [
    pytest.param(object(), id="what is no line"),
    pytest.param(StartLine(time="\ud800", version="", geolocation="", upstreams={}, key_places={}), id="half a pair"),
]


@pytest.mark.parametrize("line", UNENCODABLE)
def test_a_line_that_cannot_be_rendered_is_a_ledger_error_and_leaves_none_of_its_batch(
    writer: LedgerWriter, line: object
) -> None:
    with pytest.raises(LedgerError):
        writer.append([a_line(), line])
    assert read_times(writer.path) == []


# One writer.


def test_a_second_writer_is_refused_and_the_first_goes_on(writer: LedgerWriter, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"Another gateway writes the ledger .+ --ledger"):
        LedgerWriter(folder, Metrics())
    writer.append([a_line("1")])
    assert read_times(writer.path) == ["1"]


def test_a_refused_writer_leaves_no_file_open(writer: LedgerWriter, folder: Path) -> None:
    open_files = Path("/proc/self/fd")
    before = len(list(open_files.iterdir()))
    for _ in range(3):
        with pytest.raises(UsageError):
            LedgerWriter(folder, Metrics())
    assert len(list(open_files.iterdir())) == before


def test_a_refused_writer_does_not_cut_a_line_that_the_first_is_writing(writer: LedgerWriter, folder: Path) -> None:
    with writer.path.open("ab") as file:
        file.write(b'{"line":')
    with pytest.raises(UsageError):
        LedgerWriter(folder, Metrics())
    assert writer.path.read_bytes() == b'{"line":'


def test_a_closed_writer_makes_room_for_the_next(writer: LedgerWriter, folder: Path) -> None:
    writer.close()
    LedgerWriter(folder, Metrics()).close()


def test_a_first_writer_whose_file_was_taken_over_does_not_write_beside_the_second(
    writer: LedgerWriter, folder: Path
) -> None:
    shutil.rmtree(folder)
    second = LedgerWriter(folder, Metrics())
    with pytest.raises(LedgerError):
        writer.append([a_line("first")])
    second.append([a_line("second")])
    second.close()
    assert read_times(second.path) == ["second"]
    writer.append([a_line("first")])
    assert read_times(second.path) == ["second", "first"]


# An unfinished last line.

UNFINISHED = [
    pytest.param(b"", b"", id="nothing: nothing is cut"),
    pytest.param(WHOLE, b"", id="whole lines: nothing is cut"),
    pytest.param(b"", b'{"line', id="the very first line"),
    pytest.param(WHOLE * 3, b'{"line":"decis', id="the last of some lines"),
    pytest.param(WHOLE, b"\0" * 4096, id="zeros that a power cut left"),
    pytest.param(WHOLE, b"x" * 1024 * 1024, id="exactly as long as what is looked at"),
    pytest.param(WHOLE, b"x" * (1024 * 1024 + 1), id="longer than what is looked at"),
    pytest.param(b"", b"\0" * (3 * 1024 * 1024), id="megabytes of zeros and no line at all"),
    pytest.param(WHOLE * 100_000, b"{", id="behind megabytes of whole lines"),
]


@pytest.mark.parametrize(("whole", "rest"), UNFINISHED)
def test_an_unfinished_last_line_is_cut_at_start_and_said(
    folder: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture, whole: bytes, rest: bytes
) -> None:
    folder.mkdir(parents=True)
    path = folder / FILE_NAME
    path.write_bytes(whole + rest)
    writer = LedgerWriter(folder, metrics)
    writer.append([a_line("next")])
    writer.close()
    assert path.stat().st_size == len(whole) + len(NEXT)
    assert path.read_bytes().startswith(whole)
    said = [vars(record)["bytes"] for record in caplog.records if "cut off" in record.message]
    assert said == ([len(rest)] if rest else [])


# A disk that is full.


@pytest.mark.parametrize("room", [0, 1, 20, len(WHOLE), len(WHOLE) + 1, 3 * len(WHOLE) - 1])
def test_of_a_batch_that_does_not_fit_nothing_is_left_and_room_made_later_is_used(
    writer: LedgerWriter, metrics: Metrics, room: int
) -> None:
    writer.append([a_line("0")])
    before = writer.path.read_bytes()
    with no_file_larger_than(len(before) + room), pytest.raises(LedgerError, match=r"cannot be written: .+\.$"):
        writer.append([a_line("1"), a_line("2"), a_line("3")])
    assert writer.path.read_bytes() == before
    assert (count(metrics, "lines"), count(metrics, "failures")) == (1, 1)
    writer.append([a_line("4")])
    assert read_times(writer.path) == ["0", "4"]
    assert (count(metrics, "lines"), count(metrics, "failures")) == (2, 1)


def test_each_failure_is_counted_and_none_blocks_the_next_attempt(writer: LedgerWriter, metrics: Metrics) -> None:
    with no_file_larger_than(10):
        for _ in range(3):
            with pytest.raises(LedgerError):
                writer.append([a_line()])
    writer.append([a_line("at last")])
    assert read_times(writer.path) == ["at last"]
    assert count(metrics, "failures") == 3


def test_a_full_device_in_place_of_the_file_is_a_ledger_error(folder: Path, metrics: Metrics) -> None:
    folder.mkdir(parents=True)
    (folder / FILE_NAME).symlink_to("/dev/full")
    writer = LedgerWriter(folder, metrics)
    for _ in range(2):
        with pytest.raises(LedgerError, match="No space left on device"):
            writer.append([a_line()])
    writer.path.unlink()
    writer.append([a_line("1")])
    writer.close()
    assert read_times(writer.path) == ["1"]


# What happens to files under us.


def remove_file(writer: LedgerWriter) -> None:
    writer.path.unlink()


def remove_folder(writer: LedgerWriter) -> None:
    shutil.rmtree(writer.path.parent)


def remove_parent(writer: LedgerWriter) -> None:
    shutil.rmtree(writer.path.parent.parent)


def replace_file(writer: LedgerWriter) -> None:
    other = writer.path.with_name("other")
    other.write_bytes(b"")
    other.replace(writer.path)


def move_file(writer: LedgerWriter) -> None:
    writer.path.rename(writer.path.with_name("yesterday.jsonl"))


def move_folder(writer: LedgerWriter) -> None:
    writer.path.parent.rename(writer.path.parent.with_name("yesterday"))


def unlink_of_two_links(writer: LedgerWriter) -> None:
    writer.path.with_name("backup").hardlink_to(writer.path)
    writer.path.unlink()


def empty_file(writer: LedgerWriter) -> None:
    os.truncate(writer.path, 0)


UNDER_US = [
    pytest.param(remove_file, id="the file is removed"),
    pytest.param(remove_folder, id="the folder is removed"),
    pytest.param(remove_parent, id="the folder's parent is removed"),
    pytest.param(replace_file, id="another file takes the file's place"),
    pytest.param(move_file, id="the file is moved aside, as log rotation does"),
    pytest.param(move_folder, id="the folder is moved aside"),
    pytest.param(unlink_of_two_links, id="the file is removed and a hard link keeps it alive"),
    pytest.param(empty_file, id="the file is emptied"),
]
LOST = UNDER_US[:4]


@pytest.mark.parametrize("change", UNDER_US)
def test_the_next_line_stands_in_the_ledgers_place_when(
    writer: LedgerWriter, folder: Path, change: Callable[[LedgerWriter], None]
) -> None:
    writer.append([a_line("before")])
    change(writer)
    writer.append([a_line("after")])
    assert read_times(folder / FILE_NAME) == ["after"]
    with pytest.raises(UsageError, match="Another gateway"):
        LedgerWriter(folder, Metrics())


@pytest.mark.parametrize("change", LOST)
def test_that_earlier_lines_are_gone_is_said_when(
    writer: LedgerWriter, caplog: pytest.LogCaptureFixture, change: Callable[[LedgerWriter], None]
) -> None:
    writer.append([a_line("before")])
    change(writer)
    writer.append([a_line("after")])
    said = [record for record in caplog.records if vars(record).get("path") == str(writer.path)]
    assert [record.levelname for record in said] in (["WARNING"], ["ERROR"])


def test_something_in_the_files_place_is_a_ledger_error_until_it_is_gone(writer: LedgerWriter) -> None:
    writer.path.unlink()
    writer.path.mkdir()
    for _ in range(2):
        with pytest.raises(LedgerError, match="Is a directory"):
            writer.append([a_line()])
    writer.path.rmdir()
    writer.append([a_line("1")])
    assert read_times(writer.path) == ["1"]


def test_a_file_in_the_folders_place_is_a_ledger_error_until_it_is_gone(writer: LedgerWriter, folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"in the way")
    with pytest.raises(LedgerError, match="File exists"):
        writer.append([a_line()])
    folder.unlink()
    writer.append([a_line("1")])
    assert read_times(writer.path) == ["1"]


def test_a_descriptor_that_the_kernel_took_away_is_a_ledger_error_at_most_once(writer: LedgerWriter) -> None:
    writer.append([a_line("1")])
    os.close(writer._file)
    with contextlib.suppress(LedgerError):
        writer.append([a_line("2")])
    writer.append([a_line("3")])
    assert read_times(writer.path)[-1] == "3"


# Where it cannot start.


def no_folder(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"")


def no_parent(folder: Path) -> None:
    folder.parent.write_bytes(b"")


def a_folder_as_file(folder: Path) -> None:
    (folder / FILE_NAME).mkdir(parents=True)


def a_pipe_as_file(folder: Path) -> None:
    folder.mkdir(parents=True)
    os.mkfifo(folder / FILE_NAME)


def a_link_to_nowhere(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / FILE_NAME).symlink_to(folder / "missing" / "file")


IN_THE_WAY = [
    pytest.param(no_folder, id="a file stands in the folder's place"),
    pytest.param(no_parent, id="a file stands in the place of the folder's parent"),
    pytest.param(a_folder_as_file, id="a folder stands in the file's place"),
    pytest.param(a_pipe_as_file, id="a pipe stands in the file's place"),
    pytest.param(a_link_to_nowhere, id="the file is a link to nowhere"),
]


@pytest.mark.parametrize("prepare", IN_THE_WAY)
def test_it_does_not_start_and_says_what_to_do_when(folder: Path, prepare: Callable[[Path], None]) -> None:
    prepare(folder)
    with pytest.raises(UsageError, match=rf"^The ledger {folder} cannot be written: .+ with --ledger\.$"):
        LedgerWriter(folder, Metrics())
