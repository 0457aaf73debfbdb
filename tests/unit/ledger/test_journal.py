# SPDX-License-Identifier: Apache-2.0
"""What a gateway records into, on real files: floods are counted, time does its work, the end is signed."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.errors import LedgerError
from proxy.ledger import journal as module
from proxy.ledger.entry import Rendered, encode_body
from proxy.ledger.journal import Journal
from proxy.ledger.lines import DecisionLine, EndLine, KeysLine, Line, OriginRecorded
from proxy.ledger.segments import CHECKPOINT
from proxy.ledger.tree_head import open_tree_head
from proxy.ledger.writer import LedgerWriter, Limits
from proxy.telemetry import Metrics
from tests.support.ledger import KEY, read_records, read_verified
from tests.support.small_disk import no_file_larger_than
from tests.unit.ledger.test_writer import Clock, fail_at_the_disk

IN_FORCE = KeysLine(pseudonyms="2026-11")
START = KeysLine(pseudonyms="start")


class Opened:
    """A journal on a folder of its own."""

    def __init__(self, folder: Path, *, synced: bool = False, limits: Limits | None = None) -> None:
        self.folder = folder
        self.clock = Clock()
        self.metrics = Metrics()
        self.writer = LedgerWriter(folder, self.metrics, KEY, limits or Limits(), self.clock)
        self.journal = Journal(self.writer, synced=synced, clock=self.clock)
        self.journal.begin(lambda: [IN_FORCE], START)

    def kinds(self) -> list[str]:
        return [record["line"] for record in read_verified(self.folder)]

    def full(self) -> contextlib.AbstractContextManager[None]:
        return no_file_larger_than(10)


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    opened = Opened(tmp_path / "ledger")
    yield opened
    await opened.journal.close()


@pytest.fixture
async def synced(tmp_path: Path) -> AsyncIterator[Opened]:
    opened = Opened(tmp_path / "ledger", synced=True)
    yield opened
    await opened.journal.close()


def a_refusal(stranger: str = "192.0.2.1") -> Rendered:
    line = DecisionLine(
        id="0" * 26, effect="deny", reason="token-missing", released=False, method="GET", bundle="b",
        origin=OriginRecorded(ip=stranger),
    )  # fmt: skip
    return Rendered(encode_body(line), stranger, line.reason)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# What is recorded.


async def test_it_begins_with_the_start_and_what_is_in_force_and_ends_with_the_stop_signed(opened: Opened) -> None:
    await opened.journal.close()
    assert opened.kinds() == ["segment", "keys", "keys", "checkpoint", "stop", "checkpoint"]
    note = (opened.folder / CHECKPOINT).read_text(encoding="utf-8")
    assert open_tree_head(note, [KEY.verifier]).size == 5


async def test_a_journal_that_was_not_begun_leaves_nothing(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path / "ledger", Metrics(), KEY)
    await Journal(writer).close()
    assert read_records(tmp_path / "ledger") == []


async def test_written_needs_no_waiting(opened: Opened) -> None:
    assert opened.journal.append([EndLine(id="1", complete=True)]) is None
    assert opened.journal.append([]) is None
    assert opened.kinds()[-1] == "end"


async def test_every_segment_says_what_is_in_force_now(opened: Opened) -> None:
    opened.clock.now += 86400
    opened.journal.append([EndLine(id="1", complete=True)])
    assert opened.kinds()[-3:] == ["segment", "keys", "end"]


async def test_a_start_that_cannot_be_recorded_is_an_error(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path / "ledger", Metrics(), KEY)
    with no_file_larger_than(10), pytest.raises(LedgerError):
        Journal(writer).begin(lambda: [IN_FORCE], START)
    writer.close()


# On disk.


async def test_synced_is_to_be_waited_for(synced: Opened) -> None:
    waiting = synced.journal.append([EndLine(id="1", complete=True)])
    assert waiting is not None
    assert synced.kinds()[-1] == "end"
    await waiting


async def test_a_disk_that_says_no_fails_whoever_waits_and_the_next_lines_stand_in_another_segment(
    synced: Opened,
) -> None:
    synced.journal.append([EndLine(id="1", complete=True)])
    await turns(3)
    fail_at_the_disk(synced.writer)
    assert synced.journal._commit is not None
    with pytest.raises(LedgerError, match="cannot be made durable"):
        await synced.journal._commit.wait(synced.writer.sync_failures)
    with contextlib.suppress(LedgerError):  # the segment that is left is waited for once more
        await (synced.journal.append([EndLine(id="2", complete=True)]) or turns(0))
    await (synced.journal.append([EndLine(id="3", complete=True)]) or turns(0))
    assert synced.kinds().count("segment") >= 2
    assert [record["id"] for record in read_records(synced.folder, "end")] == ["1", "2", "3"]


async def test_many_who_wait_are_all_on_disk_and_in_order(synced: Opened) -> None:
    async def record(number: int) -> None:
        waiting = synced.journal.append([EndLine(id=str(number), complete=True)])
        assert waiting is not None
        await waiting

    await asyncio.gather(*[record(number) for number in range(200)])
    assert [record["id"] for record in read_records(synced.folder, "end")] == [str(number) for number in range(200)]


# Floods.


async def test_refusals_of_nobody_beyond_a_limit_are_counted_and_no_one_is_lost(opened: Opened) -> None:
    for _ in range(50):
        opened.journal.append([a_refusal()])
    written = len(read_records(opened.folder, "decision"))
    assert written == 20
    await opened.journal.close()
    (counted,) = read_records(opened.folder, "refusals")
    assert (counted["ip"], counted["count"], counted["reasons"]) == ("192.0.2.1", 30, {"token-missing": 30})


NEVER_FOLDED: list[object] = [
    pytest.param([a_refusal(stranger="")], id="of somebody, or that were let pass"),
    pytest.param([a_refusal(), EndLine(id="1", complete=True)], id="with something else"),
    pytest.param([EndLine(id="1", complete=True)], id="that are none"),
]


@pytest.mark.parametrize("lines", NEVER_FOLDED)
async def test_every_one_is_written_of_refusals(opened: Opened, lines: list[Line | Rendered]) -> None:
    for _ in range(50):
        opened.journal.append(lines)
    assert len(read_records(opened.folder)) == 4 + 50 * len(lines)


async def test_counts_that_find_no_room_are_recorded_later(opened: Opened) -> None:
    for _ in range(50):
        opened.journal.append([a_refusal()])
    opened.clock.now += 60
    with opened.full(), pytest.raises(LedgerError):
        opened.journal._drain()
    opened.journal._drain()
    assert [record["count"] for record in read_records(opened.folder, "refusals")] == [30]


# What time asks for.


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.001)


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.mark.usefixtures("hurried")
async def test_what_was_signed_is_published_in_time(opened: Opened) -> None:
    keeping = asyncio.ensure_future(opened.journal.keep())
    opened.clock.now += 61
    await until((opened.folder / CHECKPOINT).exists)
    keeping.cancel()


@pytest.mark.usefixtures("hurried")
async def test_a_disk_that_fails_for_a_while_does_not_end_the_round(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    keeping = asyncio.ensure_future(opened.journal.keep())
    with opened.full():
        opened.clock.now += 61
        await until(lambda: "the ledger could not be kept" in caplog.messages)
        assert not keeping.done()
    await until((opened.folder / CHECKPOINT).exists)
    keeping.cancel()


@pytest.mark.usefixtures("hurried")
async def test_a_defect_does_not_end_the_round(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    opened.writer.restate = lambda: [IN_FORCE][3:4] or [object()]  # type: ignore[list-item]
    keeping = asyncio.ensure_future(opened.journal.keep())
    opened.clock.now += 86400
    await until(lambda: "the ledger could not be kept" in caplog.messages)
    assert not keeping.done()
    opened.writer.restate = lambda: [IN_FORCE]
    await until(lambda: opened.kinds().count("segment") == 2)
    keeping.cancel()


@pytest.mark.usefixtures("hurried")
async def test_what_was_signed_before_the_disk_was_full_is_published_while_it_is(opened: Opened) -> None:
    opened.writer.sign(opened.clock.now)
    keeping = asyncio.ensure_future(opened.journal.keep())
    with no_file_larger_than(600):  # room for a checkpoint's copy, none for a line
        opened.clock.now += 86400
        await until((opened.folder / CHECKPOINT).exists)
    keeping.cancel()


# The end.


async def test_an_end_while_the_disk_is_full_is_told_and_leaves_nothing_open(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        opened.journal.append([a_refusal()])
    with opened.full():
        await opened.journal.close()
    assert "the stop could not be recorded" in caplog.messages
    LedgerWriter(opened.folder, Metrics(), KEY).close()


async def test_an_end_without_a_folder_is_told_and_no_error(opened: Opened) -> None:
    shutil.rmtree(opened.folder)
    opened.folder.touch()
    await opened.journal.close()


async def test_an_end_while_somebody_waits_settles_every_wait(synced: Opened) -> None:
    folder = synced.writer._sink
    waits = []
    with folder._syncing:  # type: ignore[attr-defined]
        for number in range(5):
            waits.append(synced.journal.append([EndLine(id=str(number), complete=True)]))
            await turns(2)
    await synced.journal.close()
    done = await asyncio.gather(*[wait for wait in waits if wait is not None], return_exceptions=True)
    assert {type(each) for each in done} <= {type(None), LedgerError}
    with pytest.raises(LedgerError, match="it is closed"):
        synced.journal.append([EndLine(id="late", complete=True)])
