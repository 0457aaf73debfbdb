# SPDX-License-Identifier: Apache-2.0
"""The writer on real files: all lines or none, one writer, one tree over restarts, and recovery without one."""

import base64
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.clock import parse_instant
from proxy.errors import LedgerError, UsageError
from proxy.ledger.audit import verify_folder
from proxy.ledger.chain import HELD_SECONDS, Chain
from proxy.ledger.lines import KeysLine, Line, RetentionLine, StartLine
from proxy.ledger.merkle import Frontier, leaf_hash
from proxy.ledger.note import SigningKey
from proxy.ledger.segments import CHECKPOINT, LOCK, list_segments, segment_name
from proxy.ledger.tree_head import open_tree_head
from proxy.ledger.writer import DAY_SECONDS, IDLE_SECONDS, LedgerWriter, Limits
from proxy.telemetry import Metrics
from tests.support import tampering
from tests.support.ledger import KEY, read_raw, read_records, read_verified
from tests.support.small_disk import no_file_larger_than

DAY = parse_instant("2026-11-22T00:00:00.000Z")
NOON = DAY + DAY_SECONDS / 2
NEVER = Limits(checkpoint_lines=10**9, checkpoint_seconds=1e9)
"""Nothing is signed but at rotation, on demand and in idle hours."""


START = StartLine(version="1", durability="written", geolocation="", upstreams={}, key_places={})


class Clock:
    """A wall clock that a test sets."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Ledger:
    """A folder, and the writers that a test opens on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics = Metrics()
        self.clock = Clock()
        self._writers: list[LedgerWriter] = []

    def open(self, limits: Limits = NEVER, key: SigningKey = KEY) -> LedgerWriter:
        writer = LedgerWriter(self.folder, self.metrics, key, limits, self.clock)
        self._writers.append(writer)
        return writer

    def close(self) -> None:
        for writer in self._writers:
            writer.close()

    def kinds(self) -> list[str]:
        return [record["line"] for record in read_verified(self.folder)]

    def texts(self) -> list[str]:
        return [record["pseudonyms"] for record in read_verified(self.folder) if record["line"] == "keys"]

    def segments(self) -> list[str]:
        return [segment.path.name for segment in list_segments(self.folder)]

    def count(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"sekisho_ledger_{name}_total")


def a_line(text: str = "0") -> KeysLine:
    return KeysLine(pseudonyms=text)


def path_of(writer: LedgerWriter) -> Path:
    assert writer.path is not None
    return writer.path


def fail_at_the_disk(writer: LedgerWriter) -> None:
    """Let what is written next, and the wait for it, fail: a device that takes nothing has the descriptor's place."""
    file: int = writer._sink._file  # type: ignore[attr-defined]
    other = os.open(os.devnull, os.O_RDONLY)
    os.dup2(other, file)
    os.close(other)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "deep" / "ledger")
    yield ledger
    ledger.close()


@pytest.fixture
def writer(ledger: Ledger) -> LedgerWriter:
    return ledger.open()


# What is written.


def test_lines_stand_in_the_segment_in_their_order_when_append_returns(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.append([a_line("1"), a_line("2")])
    writer.append([])
    writer.append([a_line("3")])
    assert ledger.texts() == ["1", "2", "3"]
    assert ledger.kinds() == ["segment", "keys", "keys", "keys"]
    assert (ledger.count("lines"), ledger.count("failures"), writer.size) == (3, 0, 4)


def test_nobody_but_the_owner_reads_the_ledger(ledger: Ledger) -> None:
    before = os.umask(0)
    try:
        writer = ledger.open()
        writer.append([a_line()])
        writer.sign(NOON)
        writer.publish()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (ledger.folder, *ledger.folder.iterdir())}
    assert modes == {"ledger": 0o700, LOCK: 0o600, CHECKPOINT: 0o600, segment_name(0): 0o600}


@settings(max_examples=50)
@given(st.lists(st.lists(st.text(), max_size=4), max_size=4), st.integers(200, 2000), st.integers(1, 5))
def test_every_line_is_read_back_as_it_was_whatever_text_and_limits(
    batches: list[list[str]], segment_bytes: int, checkpoint_lines: int
) -> None:
    limits = Limits(segment_bytes=segment_bytes, checkpoint_lines=checkpoint_lines)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        for batch in batches:  # each by a gateway of its own
            writer = ledger.open(limits)
            writer.append([a_line(text) for text in batch])
            writer.close()
        assert ledger.texts() == [text for batch in batches for text in batch]


def test_close_can_be_called_twice_and_nothing_is_written_after_it(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.append([a_line("1")])
    writer.close()
    writer.close()
    with pytest.raises(LedgerError, match="it is closed"):
        writer.append([a_line("2")])
    assert ledger.texts() == ["1"]


UNENCODABLE = [
    pytest.param(object(), id="what is no line"),
    pytest.param(
        StartLine(version="\ud800", durability="", geolocation="", upstreams={}, key_places={}), id="half a pair"
    ),
]


@pytest.mark.parametrize("line", UNENCODABLE)
def test_a_line_that_cannot_be_rendered_is_a_ledger_error_and_leaves_none_of_its_batch(
    writer: LedgerWriter, ledger: Ledger, line: object
) -> None:
    with pytest.raises(LedgerError):
        writer.append([a_line(), line])
    assert ledger.segments() == []
    writer.append([a_line("1")])
    assert ledger.texts() == ["1"]


# One writer.


def test_a_second_writer_is_refused_and_the_first_goes_on(writer: LedgerWriter, ledger: Ledger) -> None:
    with pytest.raises(UsageError, match=r"Another gateway writes the ledger .+ --ledger"):
        ledger.open()
    writer.append([a_line("1")])
    assert ledger.texts() == ["1"]


def test_a_second_writer_is_refused_where_somebody_removed_the_lock(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.append([a_line("1")])
    (ledger.folder / LOCK).unlink()
    with pytest.raises(UsageError, match="Another gateway writes the ledger"):
        ledger.open()
    writer.append([a_line("2")])
    assert ledger.texts() == ["1", "2"]


@pytest.mark.parametrize("has_lock", [True, False], ids=["by the lock", "by the segment"])
def test_a_refused_writer_leaves_no_file_open(writer: LedgerWriter, ledger: Ledger, has_lock: bool) -> None:  # noqa: FBT001
    writer.append([a_line()])
    if not has_lock:
        (ledger.folder / LOCK).unlink()
    before = open_files()
    for _ in range(3):
        with pytest.raises(UsageError):
            ledger.open()
    assert open_files() == before


def test_a_refused_writer_does_not_cut_a_line_that_the_first_is_writing(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.append([a_line()])
    with path_of(writer).open("ab") as file:
        file.write(b'{"n":')
    with pytest.raises(UsageError):
        ledger.open()
    assert path_of(writer).read_bytes().endswith(b'{"n":')


def test_a_closed_writer_makes_room_for_the_next(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.append([a_line("1")])
    writer.close()
    ledger.open().append([a_line("2")])
    assert ledger.texts() == ["1", "2"]


def test_a_writer_whose_folder_another_took_over_never_writes_there_again(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.append([a_line("mine")])
    shutil.rmtree(ledger.folder)
    second = ledger.open()
    with pytest.raises(LedgerError, match="cannot be written"):
        writer.append([a_line("first")])
    second.append([a_line("second")])
    second.close()
    for _ in range(2):
        with pytest.raises(LedgerError, match="another ledger was begun in its place"):
            writer.append([a_line("first")])
    assert ledger.texts() == ["second"]


def test_a_writer_whose_segment_another_went_on_in_never_writes_there_again(
    writer: LedgerWriter, ledger: Ledger, tmp_path: Path
) -> None:
    writer.append([a_line("first")])
    shutil.copytree(ledger.folder, tmp_path / "copy")
    shutil.rmtree(ledger.folder)
    (tmp_path / "copy").rename(ledger.folder)
    second = ledger.open()
    second.append([a_line("second")])
    second.close()
    with pytest.raises(LedgerError, match="another ledger was begun in its place"):
        writer.append([a_line("first")])
    assert ledger.texts() == ["first", "second"]


# One tree over restarts.


def test_a_ledger_that_is_opened_again_goes_on_in_its_tree(ledger: Ledger) -> None:
    for text in ("1", "2", "3"):
        writer = ledger.open()
        writer.append([a_line(text)])
        writer.sign(NOON)
        writer.close()
    assert ledger.kinds() == ["segment", *["keys", "checkpoint"] * 3]
    assert ledger.texts() == ["1", "2", "3"]


def test_opening_a_ledger_and_doing_nothing_leaves_it_as_it_is(ledger: Ledger) -> None:
    ledger.open().append([a_line()])
    ledger.close()
    before = {path.name: path.read_bytes() for path in ledger.folder.iterdir()}
    ledger.open().close()
    assert {path.name: path.read_bytes() for path in ledger.folder.iterdir()} == before


# Segments.


def test_a_segment_ends_by_size_signed_and_the_next_begins_with_what_is_in_force(ledger: Ledger) -> None:
    writer = ledger.open(Limits(segment_bytes=2000, checkpoint_lines=10**9))
    writer.restate = lambda: [a_line("in force")]
    for number in range(30):
        writer.append([a_line(str(number))])
    assert len(ledger.segments()) > 2
    for segment in list_segments(ledger.folder):
        lines = [json.loads(line) for line in segment.path.read_bytes().splitlines()]
        assert segment.path.stat().st_size <= 2000 + 700  # and its checkpoint
        assert [line["line"] for line in lines[:2]] == ["segment", "keys"]
        assert lines[1]["pseudonyms"] == "in force"
        assert segment.path == writer.path or lines[-1]["line"] == "checkpoint"
    assert [text for text in ledger.texts() if text != "in force"] == [str(number) for number in range(30)]
    assert [record["segment"] for record in read_records(ledger.folder, "segment")] == [*range(len(ledger.segments()))]


def test_a_batch_longer_than_a_segment_stands_in_one_of_its_own(ledger: Ledger) -> None:
    writer = ledger.open(Limits(segment_bytes=500))
    writer.append([a_line("before")])
    writer.append([a_line(str(number)) for number in range(20)])
    writer.append([a_line("after")])
    assert len(ledger.segments()) == 3


@pytest.mark.parametrize("by", ["append", "tick"])
def test_a_segment_ends_at_midnight_utc(ledger: Ledger, by: str) -> None:
    writer = ledger.open()
    ledger.clock.now = DAY + DAY_SECONDS - 0.001
    writer.append([a_line("1")])
    writer.tick()
    assert len(ledger.segments()) == 1
    ledger.clock.now = DAY + DAY_SECONDS
    if by == "append":
        writer.append([a_line("2")])
    writer.tick()
    assert ledger.kinds()[:4] == ["segment", "keys", "checkpoint", "segment"]
    assert len(ledger.segments()) == 2


def test_a_restart_on_another_day_begins_a_segment(ledger: Ledger) -> None:
    ledger.open().append([a_line("1")])
    ledger.close()
    ledger.clock.now += DAY_SECONDS
    ledger.open().append([a_line("2")])
    assert ledger.kinds() == ["segment", "keys", "segment", "keys", "checkpoint"]


# Checkpoints.


def test_lines_are_signed_by_count(ledger: Ledger) -> None:
    writer = ledger.open(Limits(checkpoint_lines=4))
    for number in range(10):
        writer.append([a_line(str(number))])
    kinds = ledger.kinds()
    assert kinds == ["segment", *["keys"] * 3, "checkpoint", *["keys"] * 4, "checkpoint", *["keys"] * 3]
    assert ledger.count("checkpoints") == 2


def test_lines_are_signed_by_time_while_there_are_new_ones_and_else_each_hour(ledger: Ledger) -> None:
    writer = ledger.open(Limits(checkpoint_seconds=60.0))
    writer.append([a_line()])
    kinds = []
    for seconds in (59.0, 1.0, IDLE_SECONDS - 1.0, 1.0, 59.0):
        ledger.clock.now += seconds
        writer.tick()
        kinds.append(ledger.kinds().count("checkpoint"))
    assert kinds == [0, 1, 1, 2, 2]


def test_a_ledger_without_a_line_is_signed_in_idle_hours_too(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.tick()
    assert ledger.segments() == []
    ledger.clock.now += IDLE_SECONDS
    writer.tick()
    assert ledger.kinds() == ["segment", "checkpoint"]


def test_what_is_signed_is_not_signed_again_on_demand(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.append([a_line()])
    writer.sign(NOON)
    writer.sign(NOON)
    writer.close()
    ledger.open().sign(NOON)
    assert ledger.kinds() == ["segment", "keys", "checkpoint"]


def test_a_checkpoint_is_published_once_and_is_over_all_lines_so_far(writer: LedgerWriter, ledger: Ledger) -> None:
    assert writer.publish() is None
    writer.append([a_line()])
    assert writer.publish() is None
    assert not (ledger.folder / CHECKPOINT).exists()
    writer.sign(NOON)
    published = writer.publish()
    assert published is not None
    assert (published.head.size, writer.publish()) == (2, None)
    head = open_tree_head((ledger.folder / CHECKPOINT).read_text(encoding="utf-8"), [KEY.verifier])
    assert head == published.head


def test_no_checkpoint_is_published_before_its_lines_are_on_disk(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.append([a_line("1")])
    writer.sign(NOON)
    fail_at_the_disk(writer)
    with pytest.raises(LedgerError, match="cannot be made durable"):
        writer.publish()
    assert not (ledger.folder / CHECKPOINT).exists()


def test_a_checkpoint_that_cannot_be_published_is_tried_again(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.append([a_line()])
    writer.sign(NOON)
    (ledger.folder / CHECKPOINT).mkdir()
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"The checkpoint of the ledger .+ cannot be written"):
            writer.publish()
    (ledger.folder / CHECKPOINT).rmdir()
    assert writer.publish() is not None
    assert sorted(path.name for path in ledger.folder.iterdir()) == [segment_name(0), CHECKPOINT, LOCK]


def test_a_checkpoint_that_finds_no_room_does_not_fail_the_lines_that_did(ledger: Ledger) -> None:
    writer = ledger.open(Limits(checkpoint_lines=3))
    writer.append([a_line("1")])
    room = path_of(writer).stat().st_size + 200
    with no_file_larger_than(room):
        writer.append([a_line("2")])
    assert ledger.kinds() == ["segment", "keys", "keys"]
    writer.append([a_line("3")])
    assert ledger.kinds()[-2:] == ["keys", "checkpoint"]


# The clock.


def times(ledger: Ledger) -> list[float]:
    return [parse_instant(record["time"]) for record in read_verified(ledger.folder)]


def test_a_small_step_back_of_the_clock_is_held(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.append([a_line()])
    ledger.clock.now -= HELD_SECONDS - 0.01
    writer.append([a_line()])
    assert times(ledger) == [NOON] * 3


@pytest.mark.parametrize("seconds", [HELD_SECONDS, 2 * DAY_SECONDS, 365 * DAY_SECONDS])
def test_a_large_step_back_of_the_clock_is_declared_and_never_before_a_segment(ledger: Ledger, seconds: float) -> None:
    writer = ledger.open()
    writer.append([a_line("1")])
    ledger.clock.now -= seconds
    writer.append([a_line("2")])
    declared = read_records(ledger.folder, "clock")
    assert [parse_instant(line["was"]) for line in declared] == [NOON]
    assert times(ledger)[-2:] == [NOON - seconds] * 2
    assert ledger.kinds()[-2:] == ["clock", "keys"]
    assert [json.loads(each.path.read_bytes().split(b"\n")[0])["line"] for each in list_segments(ledger.folder)] == [
        "segment"
    ] * len(ledger.segments())


def test_a_clock_that_jumps_a_year_ahead_and_back_leaves_days_as_they_are(ledger: Ledger) -> None:
    writer = ledger.open()
    for now in (NOON, NOON + 365 * DAY_SECONDS, NOON + 1, NOON + 2, NOON + DAY_SECONDS):
        ledger.clock.now = now
        writer.append([a_line()])
        writer.tick()
    assert len(ledger.segments()) == 4
    assert ledger.kinds().count("clock") == 1


def test_a_clock_that_jumps_back_signs_on(ledger: Ledger) -> None:
    writer = ledger.open(Limits(checkpoint_seconds=60.0))
    writer.append([a_line()])
    ledger.clock.now -= 3600
    writer.tick()
    assert ledger.kinds()[-1] == "checkpoint"


def test_the_clock_may_be_behind_the_ledger_at_a_start(ledger: Ledger) -> None:
    ledger.open().append([a_line("1")])
    ledger.close()
    ledger.clock.now -= 10
    ledger.open().append([a_line("2")])
    assert ledger.kinds() == ["segment", "keys", "clock", "keys", "checkpoint"]


# What somebody without the key put there meanwhile.


def put_behind(folder: Path, lines: Sequence[Line], seconds: float = 1.0) -> None:
    """Write lines behind the last one as the writer would, so many seconds apart."""
    segment = list_segments(folder)[-1]
    tree = Frontier()
    raw = read_raw(folder)
    tree.extend([leaf_hash(line) for line in raw])
    last = base64.b64encode(leaf_hash(raw[-1]))
    chain = Chain(KEY.name, tree, last, parse_instant(json.loads(raw[-1])["time"]))
    for line in lines:
        staged = chain.stage([line], chain.now + seconds)
        chain.take(staged)
        with segment.path.open("ab") as file:
            file.write(staged.data)


def strip_checkpoints(folder: Path) -> None:
    """Take out all checkpoints and link the lines anew."""
    for segment in list_segments(folder):
        tampering.edit(segment.path, lambda lines: [line for line in lines if b'"line":"checkpoint"' not in line])
    tampering.link_anew(folder)
    (folder / CHECKPOINT).unlink(missing_ok=True)


SIGNING = Limits(segment_bytes=5000, checkpoint_lines=10)


def test_history_that_nobody_signed_is_not_signed_now(ledger: Ledger) -> None:
    ledger.open(SIGNING).append([a_line()])
    ledger.close()
    put_behind(ledger.folder, [a_line("forged")] * 20, IDLE_SECONDS / 10)
    before = read_raw(ledger.folder)
    with pytest.raises(UsageError, match=r"in which a gateway ran for 2\.\d hours, and it signs every hour"):
        ledger.open(SIGNING)
    assert read_raw(ledger.folder) == before


def test_history_that_nobody_signed_is_not_signed_now_in_whatever_segments_it_stands(ledger: Ledger) -> None:
    writer = ledger.open(SIGNING)
    for number in range(60):
        ledger.clock.now += 120
        writer.append([a_line(str(number))])
    writer.sign(ledger.clock.now)
    writer.publish()
    writer.close()
    strip_checkpoints(ledger.folder)
    assert len(list_segments(ledger.folder)) > 2
    with pytest.raises(UsageError, match="no checkpoint covers its end"):
        ledger.open(SIGNING)


def test_a_clock_line_makes_unsigned_history_no_shorter(ledger: Ledger) -> None:
    ledger.open(SIGNING).append([a_line()])
    ledger.close()
    put_behind(ledger.folder, [a_line("forged")] * 3, 3 * IDLE_SECONDS)
    put_behind(ledger.folder, [a_line("forged")], -9 * IDLE_SECONDS)
    with pytest.raises(UsageError, match="no checkpoint covers its end"):
        ledger.open(SIGNING)


def test_days_between_starts_that_failed_are_no_unsigned_history(ledger: Ledger) -> None:
    ledger.open(SIGNING).append([a_line()])
    for _ in range(3):
        ledger.close()
        with path_of(ledger.open(SIGNING)).open("ab") as file:
            file.write(b"{")
        ledger.close()
        ledger.clock.now += DAY_SECONDS
    writer = ledger.open(SIGNING)
    writer.append([START])
    assert ledger.kinds()[-3:] == ["recovered", "start", "checkpoint"]


def test_a_day_behind_a_checkpoint_is_no_unsigned_history(ledger: Ledger) -> None:
    writer = ledger.open(SIGNING)
    writer.append([a_line()])
    writer.sign(ledger.clock.now)
    ledger.clock.now += DAY_SECONDS
    writer.append([a_line()])
    ledger.close()
    ledger.open(SIGNING).append([START])
    assert ledger.kinds()[-3:] == ["keys", "start", "checkpoint"]


def test_what_a_crash_left_is_signed_once_the_next_start_is_recorded(ledger: Ledger) -> None:
    ledger.open(SIGNING).append([a_line("1")])
    ledger.close()
    with path_of(ledger.open(SIGNING)).open("ab") as file:
        file.write(b"{")
    ledger.close()
    ledger.clock.now += DAY_SECONDS
    writer = ledger.open(SIGNING)
    assert ledger.kinds() == ["segment", "keys", "segment", "recovered"], "witnesses are asked before it is signed"
    writer.append([a_line("2")])
    assert ledger.kinds()[4:] == ["keys", "checkpoint"]


@pytest.mark.parametrize("later", [1.0, DAY_SECONDS], ids=["on the same day", "on the next, in another segment"])
def test_a_forged_line_does_not_excuse_what_is_removed(ledger: Ledger, later: float) -> None:
    writer = ledger.open(SIGNING)
    for number in range(40):
        writer.append([a_line(str(number))])
    writer.close()
    *older, last = list_segments(ledger.folder)
    put_behind(ledger.folder, [RetentionLine(first=last.first)])
    ledger.clock.now += later
    writer = ledger.open(SIGNING)
    writer.append([a_line()])
    writer.sign(ledger.clock.now)
    writer.close()
    for segment in older:
        segment.path.unlink()
    report = verify_folder(ledger.folder, [KEY.verifier])
    assert [fault.kind for fault in report.faults] == ["retention"]


# An unfinished last line.


UNFINISHED = [
    pytest.param(b"", id="nothing: nothing is cut"),
    pytest.param(b'{"n":2,"prev":"', id="half a line"),
    pytest.param(b"\0" * 4096, id="zeros that a power cut left"),
    pytest.param(b"x" * 1024 * 1024, id="exactly as long as what is looked at"),
    pytest.param(b"x" * (1024 * 1024 + 1), id="longer than what is looked at"),
]


@pytest.mark.parametrize("rest", UNFINISHED)
def test_an_unfinished_last_line_is_cut_at_start_and_said(
    ledger: Ledger, caplog: pytest.LogCaptureFixture, rest: bytes
) -> None:
    writer = ledger.open()
    writer.append([a_line("1")])
    writer.close()
    with path_of(writer).open("ab") as file:
        file.write(rest)
    ledger.open().append([a_line("2")])
    assert ledger.texts() == ["1", "2"]
    said = [vars(record)["bytes"] for record in caplog.records if "cut off" in record.message]
    recorded = [record["cut_bytes"] for record in read_records(ledger.folder, "recovered")]
    assert (said, recorded) == (([len(rest)], [len(rest)]) if rest else ([], []))


def test_an_unfinished_line_behind_megabytes_of_whole_ones_is_cut(ledger: Ledger) -> None:
    writer = ledger.open()
    writer.append([a_line(str(number)) for number in range(20_000)])
    writer.close()
    with path_of(writer).open("ab") as file:
        file.write(b"{")
    ledger.open()
    assert ledger.kinds()[-1] == "recovered"


EMPTY = [
    pytest.param(b"", id="between creating it and writing"),
    pytest.param(b'{"n":3,"prev"', id="in the middle of its first line"),
    pytest.param(b"\0" * 2_000_000, id="and the power, which left zeros"),
]


@pytest.mark.parametrize("content", EMPTY)
def test_a_last_segment_without_a_line_is_removed_after_an_end(ledger: Ledger, content: bytes) -> None:
    writer = ledger.open()
    writer.append([a_line("1")])
    writer.sign(NOON)
    writer.close()
    (ledger.folder / segment_name(3)).write_bytes(content)
    (ledger.folder / segment_name(9)).write_bytes(b"")
    ledger.open().append([a_line("2")])
    assert ledger.segments() == [segment_name(0)]
    assert ledger.texts() == ["1", "2"]
    assert [each["cut_bytes"] for each in read_records(ledger.folder, "recovered")] == (
        [len(content)] if content else []
    )


def test_a_first_segment_without_a_line_is_removed(ledger: Ledger) -> None:
    ledger.folder.mkdir(parents=True)
    (ledger.folder / segment_name(0)).write_bytes(b'{"n":0')
    ledger.open()
    assert ledger.kinds() == ["segment", "recovered"]


# A ledger that is not as it was written.


def edit(data: bytes) -> bytes:
    return data.replace(b'"pseudonyms":"2"', b'"pseudonyms":"X"')


def drop_line(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[:2] + lines[3:])


def swap_lines(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([*lines[:1], lines[2], lines[1], *lines[3:]])


def zero_a_line(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([*lines[:2], b"\0" * (len(lines[2]) - 1) + b"\n", *lines[3:]])


def forge(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[:3]) + lines[4].replace(b'"n":4', b'"n":3')


def no_head(data: bytes) -> bytes:
    return data.replace(b'"peaks":[]', b'"peaks":["AAAA"]')


DAMAGED = [
    pytest.param(edit, r":line 4: it does not follow from the line before", id="a line was edited"),
    pytest.param(drop_line, r":line 3: it does not follow from the line before", id="a line was dropped"),
    pytest.param(swap_lines, r":line 2: it does not follow from the line before", id="lines were swapped"),
    pytest.param(zero_a_line, r":line 3: it does not begin as a line of a ledger", id="zeros stand in a line's place"),
    pytest.param(forge, r":line 4: it does not follow", id="a checkpoint was moved"),
    pytest.param(no_head, r":line 1: it is no first line of a segment", id="its first line is none"),
]


def test_a_ledger_of_another_version_is_refused_and_left_as_it_is(ledger: Ledger) -> None:
    writer = ledger.open()
    writer.append([a_line("1")])
    writer.close()
    path = path_of(writer)
    later = path.read_bytes().replace(b'"format":1', b'"format":2')
    path.write_bytes(later)
    with pytest.raises(
        UsageError, match=r"is of another version of Sekisho: .+ is 2, and this version writes 1\. Start"
    ):
        ledger.open()
    assert path.read_bytes() == later


@pytest.mark.parametrize(("damage", "message"), DAMAGED)
def test_a_damaged_last_segment_is_refused_with_its_place_and_left_as_it_is(
    ledger: Ledger, damage: Callable[[bytes], bytes], message: str
) -> None:
    writer = ledger.open()
    writer.append([a_line("1"), a_line("2"), a_line("3")])
    writer.sign(NOON)
    writer.close()
    path = path_of(writer)
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(
        UsageError, match=rf"is not as it was written: {path.name}{message}.+ledger verify.+a key of another name\.$"
    ):
        ledger.open()
    assert path.read_bytes() == damaged


def test_a_last_line_that_was_edited_is_noticed_once_it_is_signed(ledger: Ledger) -> None:
    writer = ledger.open()
    writer.append([a_line("1")])
    writer.sign(NOON)
    writer.close()
    path = path_of(writer)
    path.write_bytes(path.read_bytes().replace(b'"pseudonyms":"1"', b'"pseudonyms":"X"'))
    with pytest.raises(UsageError, match=r"line 3: it does not follow"):
        ledger.open()


def test_lines_that_are_gone_below_the_checkpoint_beside_them_are_noticed(ledger: Ledger) -> None:
    writer = ledger.open()
    writer.append([a_line("1"), a_line("2")])
    writer.sign(NOON)
    writer.publish()
    writer.close()
    path = path_of(writer)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(UsageError, match=r"it has 2 lines, and the checkpoint beside them is over 3: .+ are gone"):
        ledger.open()


def test_lines_that_were_written_anew_under_the_checkpoint_beside_them_are_noticed(
    ledger: Ledger, tmp_path: Path
) -> None:
    first, second = ledger.open(), Ledger(tmp_path / "other")
    for writer, text in ((first, "1"), (second.open(), "2")):
        writer.append([a_line(text)])
        if writer is first:
            writer.sign(NOON)
            writer.publish()
        writer.append([a_line("3")])
        writer.close()
    shutil.copy(second.folder / segment_name(0), ledger.folder / segment_name(0))
    with pytest.raises(UsageError, match="the 2 lines before it are not those of the checkpoint that is kept"):
        ledger.open()


@pytest.mark.parametrize("content", [b"", b"\xff", b"no note\n"], ids=["empty", "no text", "no note"])
def test_a_file_in_the_checkpoints_place_is_passed_over(ledger: Ledger, content: bytes) -> None:
    ledger.open().append([a_line()])
    ledger.close()
    (ledger.folder / CHECKPOINT).write_bytes(content)
    ledger.open()


OTHER_KEYS = [
    pytest.param(SigningKey.generate("sekisho.example/other"), id="of another name"),
    pytest.param(SigningKey.generate(KEY.name), id="of the same name"),
]


@pytest.mark.parametrize("key", OTHER_KEYS)
def test_the_ledger_of_another_key_is_refused(ledger: Ledger, key: SigningKey) -> None:
    writer = ledger.open()
    writer.append([a_line()])
    writer.sign(NOON)
    writer.close()
    with pytest.raises(UsageError, match=r"was not begun with this key: .+ --ledger-key.+--ledger\.$"):
        ledger.open(key=key)
    ledger.open()


# A disk that is full.


ONE = len(b'{"n":1,"prev":"","time":"2026-11-22T12:00:00.000Z","line":"keys","pseudonyms":"1"}\n') + 44


@pytest.mark.parametrize("room", [0, 1, 20, ONE, ONE + 1, 3 * ONE - 1])
def test_of_a_batch_that_does_not_fit_nothing_is_left_and_room_made_later_is_used(
    writer: LedgerWriter, ledger: Ledger, room: int
) -> None:
    writer.append([a_line("0")])
    before = path_of(writer).read_bytes()
    with no_file_larger_than(len(before) + room), pytest.raises(LedgerError, match=r"cannot be written: .+\.$"):
        writer.append([a_line("1"), a_line("2"), a_line("3")])
    assert path_of(writer).read_bytes() == before
    assert (ledger.count("lines"), ledger.count("failures")) == (1, 1)
    writer.append([a_line("4")])
    assert ledger.texts() == ["0", "4"]
    assert (ledger.count("lines"), ledger.count("failures")) == (2, 1)


def test_each_failure_is_counted_none_blocks_the_next_attempt_and_none_keeps_a_file_open(
    writer: LedgerWriter, ledger: Ledger
) -> None:
    writer.append([a_line("1")])
    before = open_files()
    with no_file_larger_than(10):
        for _ in range(50):
            with pytest.raises(LedgerError):
                writer.append([a_line()])
    assert open_files() == before
    writer.append([a_line("at last")])
    assert ledger.texts() == ["1", "at last"]
    assert ledger.count("failures") == 50


@pytest.mark.parametrize("room", [0, 1, 100, 300, 500])
def test_a_first_segment_that_finds_no_room_leaves_no_file(writer: LedgerWriter, ledger: Ledger, room: int) -> None:
    writer.restate = lambda: [a_line("r" * 400)]
    for _ in range(2):
        with no_file_larger_than(room), pytest.raises(LedgerError):
            writer.append([a_line()])
        assert ledger.segments() == []
    writer.append([a_line("1")])
    assert ledger.texts() == ["r" * 400, "1"]


@pytest.mark.parametrize("room", [0, 1, 100, 300, 450, 600, 700, 900])
def test_a_disk_that_is_full_just_at_rotation_loses_nothing(ledger: Ledger, room: int) -> None:
    writer = ledger.open(Limits(segment_bytes=500))
    writer.restate = lambda: [a_line("r" * 1000)]
    writer.append([a_line("1")])
    with no_file_larger_than(path_of(writer).stat().st_size + room):
        for _ in range(3):
            with contextlib.suppress(LedgerError):
                writer.append([a_line("x" * 500)])
            with contextlib.suppress(LedgerError):
                writer.tick()
    read_verified(ledger.folder)
    writer.append([a_line("2")])
    assert ledger.texts()[-1] == "2"
    assert ledger.kinds().count("checkpoint") <= len(ledger.segments()) + 1


def test_ticks_while_the_disk_fails_are_ledger_errors_and_nothing_else(ledger: Ledger) -> None:
    writer = ledger.open(Limits(checkpoint_seconds=1.0, keep_days=1))
    writer.append([a_line("1")])
    before = open_files()
    with no_file_larger_than(10):
        for seconds in (2, 2, DAY_SECONDS, 2, DAY_SECONDS):
            ledger.clock.now += seconds
            with pytest.raises(LedgerError):
                writer.tick()
    assert open_files() == before
    writer.tick()
    assert ledger.kinds()[:4] == ["segment", "keys", "checkpoint", "segment"]


def test_close_while_the_disk_fails_is_quiet_and_gives_the_folder_free(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.append([a_line("1")])
    fail_at_the_disk(writer)
    with pytest.raises(LedgerError):
        writer.append([a_line("2")])
    writer.close()
    ledger.open().append([a_line("3")])
    assert ledger.texts() == ["1", "3"]


# A disk that says no when it is waited for.


def test_what_is_written_after_a_failed_wait_stands_in_another_segment(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.append([a_line("1")])
    fail_at_the_disk(writer)
    with pytest.raises(LedgerError, match="cannot be made durable"):
        writer.sync()
    writer.append([a_line("2")])
    assert ledger.segments() == [segment_name(0), segment_name(2)]
    assert ledger.texts() == ["1", "2"]
    with pytest.raises(LedgerError, match="cannot be made durable"):
        writer.sync()  # the segment that is left is waited for once more
    writer.sync()


def test_a_wait_covers_the_segments_before_as_well(ledger: Ledger) -> None:
    writer = ledger.open(Limits(segment_bytes=300))
    before = open_files()
    for number in range(10):
        writer.append([a_line(str(number))])
    assert open_files() > before + 5
    writer.sync()
    assert open_files() == before + 1


def test_a_failed_wait_for_one_segment_still_waits_for_the_others(ledger: Ledger) -> None:
    writer = ledger.open(Limits(segment_bytes=300))
    writer.append([a_line("1")])
    fail_at_the_disk(writer)
    with contextlib.suppress(LedgerError):
        writer.append([a_line("2")])
    writer.append([a_line("3")])
    writer.append([a_line("4")])
    with pytest.raises(LedgerError, match="cannot be made durable"):
        writer.sync()
    writer.sync()


# What happens to files under us.


def remove_file(writer: LedgerWriter) -> None:
    path_of(writer).unlink()


def empty_folder(writer: LedgerWriter) -> None:
    folder = path_of(writer).parent
    shutil.rmtree(folder)
    folder.mkdir()


def replace_file(writer: LedgerWriter) -> None:
    other = path_of(writer).with_name("other")
    other.write_bytes(b"")
    other.replace(path_of(writer))


def copy_file(writer: LedgerWriter) -> None:
    other = path_of(writer).with_name("other")
    shutil.copy2(path_of(writer), other)
    other.replace(path_of(writer))


def move_file(writer: LedgerWriter) -> None:
    path_of(writer).rename(path_of(writer).with_name("yesterday.jsonl"))


def unlink_of_two_links(writer: LedgerWriter) -> None:
    path_of(writer).with_name("backup").hardlink_to(path_of(writer))
    path_of(writer).unlink()


def empty_file(writer: LedgerWriter) -> None:
    os.truncate(path_of(writer), 0)


def shorten_file(writer: LedgerWriter) -> None:
    os.truncate(path_of(writer), path_of(writer).stat().st_size - 1)


def lengthen_file(writer: LedgerWriter) -> None:
    with path_of(writer).open("ab") as file:
        file.write(b"forged\n")


UNDER_US = [
    pytest.param(remove_file, id="the segment is removed"),
    pytest.param(replace_file, id="another file takes the segment's place"),
    pytest.param(copy_file, id="a copy takes the segment's place"),
    pytest.param(move_file, id="the segment is moved aside, as log rotation does"),
    pytest.param(empty_folder, id="the folder is emptied"),
    pytest.param(unlink_of_two_links, id="the segment is removed and a hard link keeps it alive"),
    pytest.param(empty_file, id="the segment is emptied"),
    pytest.param(shorten_file, id="the segment is shortened"),
    pytest.param(lengthen_file, id="the segment is lengthened"),
]


@pytest.mark.parametrize("change", UNDER_US)
def test_the_next_line_stands_in_a_new_segment_that_goes_on_with_the_tree_when(
    ledger: Ledger, change: Callable[[LedgerWriter], None], caplog: pytest.LogCaptureFixture
) -> None:
    writer = ledger.open()
    writer.restate = lambda: [a_line("in force")]
    writer.append([a_line("before")])
    size = writer.size
    change(writer)
    writer.append([a_line("after")])
    assert path_of(writer).name == segment_name(size)
    lines = [json.loads(line) for line in path_of(writer).read_bytes().splitlines()]
    assert [line.get("pseudonyms", line["line"]) for line in lines] == ["segment", "in force", "after"]
    assert lines[0]["peaks"]
    assert "the ledger's file was removed or changed: it is written to no more" in caplog.messages
    assert ledger.count("failures") == 1
    with pytest.raises(UsageError, match="Another gateway"):
        ledger.open()
    writer.append([a_line("more")])
    assert path_of(writer).name == segment_name(size)


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def remove_parent(folder: Path) -> None:
    shutil.rmtree(folder.parent)


def move_folder(folder: Path) -> None:
    folder.rename(folder.with_name("aside"))


GONE = [
    pytest.param(remove_folder, id="the folder is removed"),
    pytest.param(remove_parent, id="the folder's parent is removed"),
    pytest.param(move_folder, id="the folder is moved aside"),
]


@pytest.mark.parametrize("change", GONE)
def test_nothing_is_recorded_and_no_other_folder_is_made_while(
    writer: LedgerWriter, ledger: Ledger, change: Callable[[Path], None]
) -> None:
    writer.append([a_line("before")])
    change(ledger.folder)
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"cannot be written: its folder is gone\.$"):
            writer.append([a_line("meanwhile")])
        with pytest.raises(LedgerError, match="gone"):
            writer.sign(ledger.clock())
    assert not ledger.folder.exists()
    ledger.folder.mkdir(parents=True)
    writer.append([a_line("after")])
    gaps: list[tuple[int, int]] = []
    records = read_verified(ledger.folder, gaps=gaps)
    assert [record["pseudonyms"] for record in records if record["line"] == "keys"] == ["after"]
    assert gaps == [(0, 2)]


def test_a_folder_that_was_gone_and_comes_back_is_gone_on_with(writer: LedgerWriter, ledger: Ledger) -> None:
    writer.append([a_line("before")])
    aside = ledger.folder.with_name("aside")
    ledger.folder.rename(aside)
    with pytest.raises(LedgerError):
        writer.append([a_line("meanwhile")])
    aside.rename(ledger.folder)
    writer.append([a_line("after")])
    writer.append([a_line("more")])
    assert ledger.texts() == ["before", "after", "more"]
    ledger.close()
    ledger.open()


def test_a_folder_that_comes_back_after_another_was_begun_is_gone_on_with_and_the_gap_shows(
    writer: LedgerWriter, ledger: Ledger
) -> None:
    writer.append([a_line("before")])
    aside = ledger.folder.with_name("aside")
    ledger.folder.rename(aside)
    ledger.folder.mkdir()
    writer.append([a_line("meanwhile")])
    ledger.folder.rename(aside.with_name("meanwhile"))
    aside.rename(ledger.folder)
    writer.append([a_line("after")])
    writer.append([a_line("more")])
    gaps: list[tuple[int, int]] = []
    records = read_verified(ledger.folder, gaps=gaps)
    assert [record["pseudonyms"] for record in records if record["line"] == "keys"] == ["before", "after", "more"]
    assert gaps == [(2, 4)]
    ledger.close()
    ledger.open()


def test_something_in_the_next_segments_place_is_a_ledger_error_until_it_is_gone(
    writer: LedgerWriter, ledger: Ledger
) -> None:
    writer.append([a_line("1")])
    in_the_way = ledger.folder / segment_name(2)
    in_the_way.mkdir()
    path_of(writer).unlink()
    for _ in range(2):
        with pytest.raises(LedgerError, match="File exists"):
            writer.append([a_line()])
    in_the_way.rmdir()
    writer.append([a_line("2")])
    assert path_of(writer) == in_the_way


def test_a_file_in_the_folders_place_is_a_ledger_error_until_it_is_gone(writer: LedgerWriter, ledger: Ledger) -> None:
    shutil.rmtree(ledger.folder)
    ledger.folder.write_bytes(b"in the way")
    with pytest.raises(LedgerError, match="Not a directory"):
        writer.append([a_line()])
    ledger.folder.unlink()
    ledger.folder.mkdir()
    writer.append([a_line("1")])
    assert ledger.texts() == ["1"]


def test_a_descriptor_that_the_kernel_took_away_is_a_ledger_error_at_most_once(
    writer: LedgerWriter, ledger: Ledger
) -> None:
    writer.append([a_line("1")])
    fail_at_the_disk(writer)
    with pytest.raises(LedgerError):
        writer.append([a_line("2")])
    writer.append([a_line("3")])
    assert ledger.texts() == ["1", "3"]


# Where it cannot start.


def no_folder(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"")


def no_parent(folder: Path) -> None:
    folder.parent.write_bytes(b"")


def a_folder_as_lock(folder: Path) -> None:
    (folder / LOCK).mkdir(parents=True)


def a_folder_as_segment(folder: Path) -> None:
    (folder / segment_name(0)).mkdir(parents=True)


def a_pipe_as_segment(folder: Path) -> None:
    folder.mkdir(parents=True)
    os.mkfifo(folder / segment_name(0))


def a_pipe_as_checkpoint(folder: Path) -> None:
    folder.mkdir(parents=True)
    os.mkfifo(folder / CHECKPOINT)


def a_link_as_segment(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / segment_name(0)).symlink_to("/dev/full")


def a_link_to_nowhere(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / segment_name(0)).symlink_to(folder / "missing" / "file")


IN_THE_WAY = [
    pytest.param(no_folder, id="a file stands in the folder's place"),
    pytest.param(no_parent, id="a file stands in the place of the folder's parent"),
    pytest.param(a_folder_as_lock, id="a folder stands in the lock's place"),
    pytest.param(a_folder_as_segment, id="a folder stands in the segment's place"),
    pytest.param(a_pipe_as_segment, id="a pipe stands in the segment's place"),
    pytest.param(a_pipe_as_checkpoint, id="a pipe stands in the checkpoint's place"),
    pytest.param(a_link_as_segment, id="the segment is a link to a device"),
    pytest.param(a_link_to_nowhere, id="the segment is a link to nowhere"),
]


@pytest.mark.parametrize("prepare", IN_THE_WAY)
def test_it_does_not_start_and_says_what_to_do_when(ledger: Ledger, prepare: Callable[[Path], None]) -> None:
    prepare(ledger.folder)
    with pytest.raises(
        UsageError, match=rf"^The ledger {ledger.folder} cannot be written: .+ a key of another name\.$"
    ):
        ledger.open()


def test_it_does_not_start_where_what_was_cut_off_cannot_be_said(ledger: Ledger) -> None:
    writer = ledger.open()
    writer.append([a_line()])
    writer.close()
    with path_of(writer).open("ab") as file:
        file.write(b"{")
    with no_file_larger_than(path_of(writer).stat().st_size), pytest.raises(LedgerError, match="cannot be written"):
        ledger.open()
    ledger.open()
    assert ledger.kinds() == ["segment", "keys"]


# What is old.


def begin_days(ledger: Ledger, writer: LedgerWriter, days: int) -> None:
    for _ in range(days):
        ledger.clock.now += DAY_SECONDS
        writer.append([a_line()])
        writer.tick()
        writer.publish()


def test_segments_older_than_what_is_kept_are_removed_and_the_ledger_says_so(ledger: Ledger) -> None:
    writer = ledger.open(Limits(keep_days=3))
    writer.append([a_line()])
    begin_days(ledger, writer, 10)
    gaps: list[tuple[int, int]] = []
    records = read_verified(ledger.folder, gaps=gaps)
    first = list_segments(ledger.folder)[0].first
    assert gaps == [(0, first)]
    said = [record["first"] for record in records if record["line"] == "retention"]
    assert said[-1] == first
    oldest = parse_instant(records[0]["time"])
    assert 3 <= (ledger.clock.now - oldest) / DAY_SECONDS <= 4
    ledger.close()
    ledger.open(Limits(keep_days=3)).append([a_line()])


def test_nothing_is_removed_before_it_is_on_disk_that_it_is(ledger: Ledger) -> None:
    writer = ledger.open(Limits(keep_days=1))
    writer.append([a_line()])
    begin_days(ledger, writer, 2)
    before = ledger.segments()
    ledger.clock.now += DAY_SECONDS
    writer.append([a_line()])
    writer.tick()
    assert ledger.segments()[:-1] == before
    assert len(read_records(ledger.folder, "retention")) == 1
    writer.publish()
    assert ledger.segments()[:1] != before[:1]


def test_a_clock_that_jumps_ahead_removes_nothing(ledger: Ledger) -> None:
    writer = ledger.open(Limits(keep_days=30))
    writer.append([a_line()])
    begin_days(ledger, writer, 3)
    before = ledger.segments()
    for now in (ledger.clock.now + 365 * DAY_SECONDS, ledger.clock.now + 60):
        ledger.clock.now = now
        writer.append([a_line()])
        writer.tick()
        writer.publish()
    assert ledger.segments()[: len(before)] == before
    assert read_records(ledger.folder, "retention") == []


def test_a_restart_each_day_does_not_keep_what_is_old(ledger: Ledger) -> None:
    for _ in range(6):
        writer = ledger.open(Limits(keep_days=2))
        begin_days(ledger, writer, 1)
        writer.close()
    assert len(ledger.segments()) <= 4


def test_an_old_segment_that_cannot_be_told_the_age_of_is_kept(ledger: Ledger) -> None:
    writer = ledger.open(Limits(keep_days=1))
    writer.append([a_line()])
    begin_days(ledger, writer, 1)
    second = list_segments(ledger.folder)[1].path
    second.write_bytes(b"damaged\n")
    begin_days(ledger, writer, 5)
    assert ledger.segments()[:2] == [segment_name(0), second.name]


# Any order of what can happen.


STEPS = st.lists(
    st.sampled_from(["append", "batch", "tick", "publish", "restart", "crash", "full", "later", "day", "back", "sync"]),
    max_size=25,
)


@settings(max_examples=60)
@given(STEPS)
def test_whatever_happens_in_whatever_order_the_ledger_verifies_and_keeps_what_was_taken(steps: list[str]) -> None:
    limits = Limits(segment_bytes=1500, checkpoint_lines=5, checkpoint_seconds=30)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        writer = ledger.open(limits)
        taken: list[str] = []
        for number, step in enumerate(steps):
            match step:
                case "append" | "batch":
                    texts = [f"{number}.{each}" for each in range(1 if step == "append" else 4)]
                    writer.append([a_line(text) for text in texts])
                    taken += texts
                case "full":
                    length = path_of(writer).stat().st_size if writer.path else 0
                    with no_file_larger_than(length + 150):
                        for text in (f"{number}.a", f"{number}.b"):
                            with contextlib.suppress(LedgerError):
                                writer.append([a_line(text)])
                                taken.append(text)
                        with contextlib.suppress(LedgerError):
                            writer.tick()
                case "restart" | "crash":
                    writer.close()
                    if step == "crash" and ledger.segments():
                        with path_of(writer).open("ab") as file:
                            file.write(b'{"n":7')
                    writer = ledger.open(limits)
                    writer.append([START])
                case "later" | "day" | "back":
                    ledger.clock.now += {"later": 40, "day": DAY_SECONDS, "back": -7}[step]
                case name:
                    act: Callable[[], Any] = getattr(writer, name)
                    act()
        writer.close()
        assert ledger.texts() == taken
