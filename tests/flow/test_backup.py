# SPDX-License-Identifier: Apache-2.0
"""A ledger that is copied while it is written, and one that is put back from a copy.

- A copy is a good ledger up to its own end, if each ``checkpoint`` beside segments is copied before them.
- One that was put back is shorter than what witnesses keep: its gateway does not go on with it where it can ask them,
  and whoever verifies sees it.
"""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from proxy.clock import unix_seconds
from proxy.errors import UsageError
from proxy.ledger.audit_parts import PartsAudit
from proxy.ledger.finding import Report
from proxy.ledger.inventory import read_heads
from proxy.ledger.lines import KeysLine
from proxy.ledger.opening import open_ledger
from proxy.ledger.options import LedgerOptions
from proxy.ledger.segments import list_segments
from proxy.ledger.writer import LedgerWriter, Limits
from proxy.telemetry import Metrics
from tests.support.ledger import KEY, write_ledger_key

PARTS: Final = ("replica-a", "replica-b/worker-1", "replica-b/worker-2")
LIMITS: Final = Limits(segment_bytes=20_000, checkpoint_lines=5)
LINE: Final = KeysLine(pseudonyms="2026-11")
COPIES: Final = 4

COPY: Final = """\
cd "$1" && mkdir "$2"
find . -name checkpoint | tar cf - -T - | tar xf - -C "$2"
tar cf - --exclude=checkpoint --warning=no-file-changed --warning=no-file-removed . | tar xf - -C "$2"
"""
"""As the operator's guide does it: checkpoints first."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Path]:
    """A folder in which replicas write as fast as they can, sign often, and publish."""
    folder = tmp_path / "ledger"
    is_over = threading.Event()

    def write(part: str) -> None:
        writer = LedgerWriter(folder / part, Metrics(), KEY.of_part(part), LIMITS)
        while not is_over.is_set():
            for _ in range(7):
                writer.append([LINE])
            writer.publish()
        writer.sign(unix_seconds())
        writer.publish()
        writer.close()

    threads = [threading.Thread(target=write, args=(part,)) for part in PARTS]
    for thread in threads:
        thread.start()
    yield folder
    is_over.set()
    for thread in threads:
        thread.join()


def copy(ledger: Path, to: Path) -> Path:
    subprocess.run(["/bin/sh", "-c", COPY, "copy", str(ledger), str(to)], check=True, timeout=60)
    return to


def verify(folder: Path, *heads: Path) -> list[Report]:
    return PartsAudit([folder], [KEY.verifier], read_heads(heads, [KEY.verifier])).run()


def wait_for(condition: Callable[[], bool]) -> None:
    turn = threading.Event()
    for _ in range(2000):
        if condition():
            return
        turn.wait(0.01)
    raise AssertionError("it did not come true")


def test_a_copy_of_what_is_written_meanwhile_is_good_and_claims_no_more_than_is_signed(
    ledger: Path, tmp_path: Path
) -> None:
    wait_for(lambda: all((ledger / part / "checkpoint").exists() for part in PARTS))
    ends = dict.fromkeys(PARTS, 0)
    for turn in range(COPIES):
        reports = verify(copy(ledger, tmp_path / f"copy-{turn}"))
        assert not [str(fault) for report in reports for fault in report.faults]
        assert len(reports) == len(PARTS)
        for part, report in zip(PARTS, reports, strict=True):
            assert report.proven[0][0] == 0
            assert ends[part] <= report.proven[-1][1] < report.next
            ends[part] = report.proven[-1][1]
    assert any(len(list_segments(tmp_path / f"copy-{COPIES - 1}" / part)) > 1 for part in PARTS)


def test_a_copy_in_the_other_order_may_claim_lines_that_it_has_not(tmp_path: Path) -> None:
    """Why checkpoints go first."""
    writer = LedgerWriter(tmp_path / "ledger", Metrics(), KEY)
    writer.append([LINE])
    writer.sign(unix_seconds())
    writer.publish()
    shutil.copytree(tmp_path / "ledger", tmp_path / "copy")
    writer.append([LINE])
    writer.sign(unix_seconds())
    writer.publish()
    shutil.copy(tmp_path / "ledger" / "checkpoint", tmp_path / "copy")
    writer.close()
    (report,) = verify(tmp_path / "copy")
    assert [fault.kind for fault in report.faults] == ["cut"]


@pytest.fixture
def options(tmp_path: Path) -> LedgerOptions:
    (tmp_path / "witness").mkdir()
    return LedgerOptions(
        ledger=tmp_path / "ledger",
        ledger_key=write_ledger_key(tmp_path / "ledger.key"),
        ledger_witness=(str(tmp_path / "witness"),),
        replica="a",
    )


async def serve(options: LedgerOptions) -> None:
    """Start, record, and stop in order."""
    journal = open_ledger(options, Metrics())
    journal.begin(tuple, LINE)
    journal.append([LINE])
    await journal.close()


async def go_back(options: LedgerOptions, backup: Path) -> None:
    """Have the ledger be what it was before the gateway served last, as witnesses know that it did."""
    await serve(options)
    shutil.copytree(options.ledger, backup)
    await serve(options)
    shutil.rmtree(options.ledger)
    shutil.copytree(backup, options.ledger)


async def test_a_ledger_that_went_back_in_time_is_not_gone_on_with_where_a_witness_knows(
    options: LedgerOptions, tmp_path: Path
) -> None:
    await go_back(options, tmp_path / "backup")
    with pytest.raises(
        UsageError, match=r"has 6 lines, and the witness .+ keeps a checkpoint of \d+: lines at its end"
    ):
        await serve(options)
    assert not any(report.faults for report in verify(options.ledger)), "by itself it is a good ledger"
    (report,) = verify(options.ledger, tmp_path / "witness")
    assert {fault.kind for fault in report.faults} == {"cut"}
    # The mend: it stays for whoever asks, and another one is begun under another name.
    await serve(options.model_copy(update={"replica": "a-2"}))
    assert [report.is_good for report in verify(options.ledger)] == [True, True]


async def test_a_ledger_that_went_back_in_time_and_on_shows_by_what_witnesses_keep(
    options: LedgerOptions, tmp_path: Path
) -> None:
    await go_back(options, tmp_path / "backup")
    for _ in range(2):
        await serve(options.model_copy(update={"ledger_witness": ()}))  # nobody was asked
    assert not any(report.faults for report in verify(options.ledger)), "two histories: each is good by itself"
    (report,) = verify(options.ledger, tmp_path / "witness")
    assert {fault.kind for fault in report.faults} == {"rewritten"}
    with pytest.raises(UsageError, match="are not those of the checkpoint that the witness"):
        await serve(options)


async def test_the_whole_ledger_put_back_is_gone_on_with(options: LedgerOptions, tmp_path: Path) -> None:
    await serve(options)
    await serve(options)
    copy(options.ledger, tmp_path / "backup")
    shutil.rmtree(options.ledger)
    copy(tmp_path / "backup", options.ledger)
    await serve(options)
    (report,) = verify(options.ledger, tmp_path / "witness")
    assert report.is_good
    assert report.segments == 1
