# SPDX-License-Identifier: Apache-2.0
"""A ledger is opened as the settings say, on real files; or it is not, and then nothing of it stays held."""

import asyncio
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import UsageError
from proxy.ledger.audit_parts import PartsAudit
from proxy.ledger.journal import Journal
from proxy.ledger.lines import KeysLine
from proxy.ledger.note import SigningKey
from proxy.ledger.opening import LOOK_SECONDS, STANDARD_OUTPUT, hold_folder, open_ledger
from proxy.ledger.options import LedgerOptions
from proxy.ledger.parts import MAX_REPLICA_CHARS
from proxy.ledger.stdout import LIMITS
from proxy.ledger.tree_head import TreeHead, sign_tree_head
from proxy.ledger.witness_place import FolderWitness
from proxy.telemetry import Metrics
from tests.support.ledger import KEY, read_records, read_verified, write_ledger_key

LINE = KeysLine(pseudonyms="2026-11")


@pytest.fixture
def options(tmp_path: Path) -> LedgerOptions:
    return LedgerOptions(ledger=tmp_path / "ledger", ledger_key=write_ledger_key(tmp_path / "ledger.key"))


def open_with(options: LedgerOptions, **changes: Any) -> Journal:
    return open_ledger(options.model_copy(update=changes), Metrics())


async def record(options: LedgerOptions, count: int = 1, **changes: Any) -> None:
    """Open the ledger, record lines that each stand alone, and close it in order."""
    journal = open_with(options, **changes)
    journal.begin(tuple, LINE)
    for _ in range(count):
        waiting = journal.append([LINE])
        if waiting is not None:
            await waiting
    await journal.close()


async def test_what_is_recorded_is_signed_with_the_key_that_is_named(options: LedgerOptions) -> None:
    await record(options)
    kinds = [line["line"] for line in read_verified(options.ledger)]
    assert kinds == ["segment", "keys", "checkpoint", "keys", "stop", "checkpoint"]


async def test_a_checkpoint_is_signed_after_as_many_lines_as_are_set(options: LedgerOptions) -> None:
    await record(options, 10, ledger_checkpoint_lines=3)
    assert [line["n"] for line in read_records(options.ledger, "checkpoint")] == [2, 6, 10, 14, 17]


async def test_a_segment_ends_at_the_size_that_is_set(options: LedgerOptions) -> None:
    journal = open_with(options, ledger_segment_megabytes=1)
    journal.begin(tuple, LINE)
    for _ in range(4):
        journal.append([KeysLine(pseudonyms="x" * 400_000)])
    await journal.close()
    read_verified(options.ledger)
    assert len(read_records(options.ledger, "segment")) == 2


@pytest.mark.parametrize("durability", ["written", "synced"])
async def test_there_is_something_to_wait_for_where_lines_must_be_on_disk(
    options: LedgerOptions, durability: str
) -> None:
    journal = open_with(options, ledger_durability=durability)
    journal.begin(tuple, LINE)
    waiting = journal.append([LINE])
    assert (waiting is not None) == (durability == "synced")
    if waiting is not None:
        await waiting
    await journal.close()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"ledger_key": None}, r"is not set.+ledger keygen FILE.+--ledger-key FILE\.$", id="no key"),
        pytest.param({"ledger_key": Path("/nowhere")}, "The key of the ledger /nowhere cannot be read", id="no file"),
        pytest.param({"ledger_witness": ("/nowhere",)}, "/nowhere is not there", id="a witness that is not there"),
        pytest.param({"ledger": STANDARD_OUTPUT, "ledger_durability": "synced"}, "go with a folder", id="synced"),
        pytest.param({"ledger": STANDARD_OUTPUT, "ledger_witness": ("/",)}, "go with a folder", id="a witness"),
        pytest.param({"ledger": STANDARD_OUTPUT, "ledger_keep_days": 90}, "go with a folder", id="days that are kept"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_made(options: LedgerOptions, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        open_with(options, **changes)
    assert not options.ledger.exists()


def test_the_ledgers_own_folder_is_no_witness(options: LedgerOptions) -> None:
    options.ledger.mkdir()
    with pytest.raises(UsageError, match="in the ledger's own folder"):
        open_with(options, ledger_witness=(str(options.ledger),))


async def test_a_ledger_goes_on_that_is_as_its_witness_knows_it(options: LedgerOptions, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    witness.mkdir()
    for _ in range(2):
        await record(options, ledger_witness=(str(witness),))
    latest = FolderWitness(witness).latest(KEY.name, [KEY.verifier])
    assert latest is not None
    assert latest.size == len(read_verified(options.ledger)) - 1


async def test_a_ledger_that_is_shorter_than_its_witness_knows_is_not_gone_on_with_and_is_let_go(
    options: LedgerOptions, tmp_path: Path
) -> None:
    await record(options)
    witness = tmp_path / "witness"
    witness.mkdir()
    head = TreeHead(KEY.name, 99, b"r" * 32)
    await FolderWitness(witness).deliver(head, sign_tree_head(KEY, head))
    before = read_records(options.ledger)
    for _ in range(2):  # the second time it would be held by the first
        with pytest.raises(UsageError, match="99"):
            open_with(options, ledger_witness=(str(witness),))
    assert read_records(options.ledger) == before
    await record(options)


async def test_a_checkpoint_of_another_key_at_the_witness_says_nothing_of_this_ledger(
    options: LedgerOptions, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    witness.mkdir()
    other = SigningKey.generate("other.example/ledger")
    head = TreeHead(other.name, 99, b"r" * 32)
    await FolderWitness(witness).deliver(head, sign_tree_head(other, head))
    await record(options, ledger_witness=(str(witness),))


def test_lines_go_to_standard_output_and_what_that_cannot_promise_to_standard_error(options: LedgerOptions) -> None:
    code = (
        "import asyncio, logging, pathlib, sys\n"
        "from proxy.ledger.lines import KeysLine\n"
        "from proxy.ledger.opening import open_ledger\n"
        "from proxy.ledger.options import LedgerOptions\n"
        "from proxy.telemetry import Metrics\n"
        "logging.basicConfig(format='%(message)s')\n"
        "async def main():\n"
        "    journal = open_ledger(LedgerOptions(ledger='-', ledger_key=pathlib.Path(sys.argv[1])), Metrics())\n"
        "    journal.begin(tuple, KeysLine(pseudonyms='2026-11'))\n"
        "    print('no line')\n"
        "    await journal.close()\n"
        "asyncio.run(main())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(options.ledger_key)], capture_output=True, text=True, timeout=60, check=True
    )
    options.ledger.mkdir()
    (options.ledger / f"{0:020d}.jsonl").write_text(run.stdout, encoding="utf-8")
    kinds = [line["line"] for line in read_verified(options.ledger)]
    assert kinds == ["segment", "keys", "checkpoint", "stop", "checkpoint"]
    assert LIMITS in run.stderr
    assert "no line" in run.stderr


async def test_the_ledger_of_a_worker_is_a_folder_below_signed_under_a_name_of_its_own(
    options: LedgerOptions, tmp_path: Path
) -> None:
    (tmp_path / "witness").mkdir()
    journals = [
        open_ledger(options.model_copy(update={"ledger_witness": (str(tmp_path / "witness"),)}), Metrics(), part)
        for part in ("worker-1", "worker-2")  # at the same time
    ]
    for journal in journals:
        journal.begin(tuple, LINE)
        await journal.close()
    for part in ("worker-1", "worker-2"):
        assert read_verified(options.ledger / part, KEY.of_part(part))
    kept = sorted(path.name for path in (tmp_path / "witness").iterdir())
    assert kept == [f"{KEY.name.replace('/', '%2F')}%2Fworker-{number}" for number in (1, 2)]


def test_the_folder_of_workers_is_held_by_one_gateway(options: LedgerOptions) -> None:
    with hold_folder(options.ledger):
        with pytest.raises(UsageError, match="Another gateway writes"), hold_folder(options.ledger):
            pass
        with pytest.raises(UsageError, match="Another gateway writes"):
            open_with(options)
    with hold_folder(options.ledger):
        pass


# Replicas.


async def test_replicas_share_a_key_a_folder_and_a_witness_and_write_ledgers_of_their_own(
    options: LedgerOptions, tmp_path: Path
) -> None:
    (tmp_path / "witness").mkdir()
    changes = {"ledger_witness": (str(tmp_path / "witness"),)}
    journals = [open_with(options, replica=name, **changes) for name in ("a", "b.c-1")]
    journals.append(open_ledger(options.model_copy(update={"replica": "d", **changes}), Metrics(), "worker-1"))
    for journal in journals:
        journal.begin(tuple, LINE)
        await journal.close()
    parts = ("replica-a", "replica-b.c-1", "replica-d/worker-1")
    for part in parts:
        assert read_verified(options.ledger / part, KEY.of_part(part))
    kept = sorted(path.name for path in (tmp_path / "witness").iterdir())
    assert kept == [f"{KEY.name}/{part}".replace("/", "%2F") for part in parts]
    assert not [each for each in PartsAudit([options.ledger], [KEY.verifier]).run() if not each.is_good]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (options.ledger, options.ledger / "replica-a")}
    assert modes == {0o700}


def test_a_second_gateway_of_one_name_does_not_start_and_is_told_how(options: LedgerOptions) -> None:
    first = open_with(options, replica="a")
    with pytest.raises(UsageError, match=r"replica-a: stop it.+a name of their own, by SEKISHO_REPLICA\.$"):
        open_with(options, replica="a")
    with pytest.raises(UsageError, match="Another gateway writes"), hold_folder(options.ledger / "replica-a"):
        pass
    del first


async def test_two_gateways_of_one_name_where_the_disk_keeps_no_locks_are_found_out(
    options: LedgerOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("proxy.ledger.files.fcntl.flock", lambda *_: None)
    (tmp_path / "witness").mkdir()
    journals = []
    for _ in range(2):
        journals.append(open_with(options, replica="a", ledger_witness=(str(tmp_path / "witness"),)))
        journals[-1].begin(tuple, LINE)
    for journal in (*journals, *journals):
        await asyncio.sleep(2 * LOOK_SECONDS)  # then it is looked again whether the file is as it was left
        journal.append([LINE])
    for journal in journals:
        await journal.close()
    (report,) = PartsAudit([options.ledger], [KEY.verifier]).run()
    assert not report.is_good
    assert "the ledger's file was removed or changed" in caplog.text


async def test_what_one_gateway_wrote_before_there_were_replicas_stays_and_is_read_with_theirs(
    options: LedgerOptions,
) -> None:
    await record(options)
    await record(options, replica="a")
    await record(options, replica="a")  # a pod that comes back under its name goes on
    reports = PartsAudit([options.ledger], [KEY.verifier]).run()
    assert [(report.is_good, report.is_ended, report.segments) for report in reports] == [(True, True, 1)] * 2
    assert [report.origins for report in reports] == [(KEY.name,), (f"{KEY.name}/replica-a",)]


async def test_a_replica_that_comes_back_with_another_key_is_refused_and_a_new_one_is_not(
    options: LedgerOptions, tmp_path: Path
) -> None:
    await record(options, replica="a")
    second = SigningKey("ledger.example/second", bytes(range(1, 33)))
    (tmp_path / "second.key").write_text(second.render(), encoding="utf-8")
    (tmp_path / "second.key").chmod(0o600)
    with pytest.raises(UsageError, match="was not begun with this key"):
        open_with(options, replica="a", ledger_key=tmp_path / "second.key")
    await record(options, replica="b", ledger_key=tmp_path / "second.key")
    reports = PartsAudit([options.ledger], [KEY.verifier, second.verifier]).run()
    assert all(report.is_good for report in reports)


def test_a_name_that_is_too_long_for_its_witness_is_told_at_the_start(options: LedgerOptions, tmp_path: Path) -> None:
    (tmp_path / "witness").mkdir()
    with pytest.raises(UsageError, match=r"cannot be read: File name too long; mend it"):
        open_with(options, replica="a" * MAX_REPLICA_CHARS, ledger_witness=(str(tmp_path / "witness"),))


@pytest.mark.parametrize("name", ["", "..", "../a", "A", "a/b", "a" * (MAX_REPLICA_CHARS + 1)])
def test_a_name_that_no_pod_has_is_no_replicas(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a replica: name it as its pod is"):
        LedgerOptions(replica=name)
