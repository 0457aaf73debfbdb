# SPDX-License-Identifier: Apache-2.0
"""Ledgers of the real writer, tampered with on disk: what is wrong is named, and where."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import UsageError
from proxy.ledger.audit import Audit, verify_folder
from proxy.ledger.finding import Report
from proxy.ledger.inventory import read_heads
from proxy.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from proxy.ledger.note import SigningKey
from proxy.ledger.tree_head import TreeHead, sign_tree_head
from tests.support.ledger import KEY, read_raw
from tests.support.tampering import START, Maker, edit, link_anew, make_ledger, segment_paths

FIRST, SECOND, THIRD = (f"{first:020d}.jsonl" for first in (0, 26, 51))
"""The segments of the ledger that is tampered with: lines 0 to 25, 26 to 50, 51 to 72."""
SIZE: Final = 73
OTHER: Final = SigningKey.generate("b")
CHANGED: Final = "this line was changed: the next line says that it had another hash"
DOUBTFUL: Final = "this line was changed, or what the next line says of it"

Change = Callable[[list[bytes]], list[bytes]]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ledger(tmp_path_factory.mktemp("good") / "ledger")


@pytest.fixture
def ledger(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "ledger")


def verify(folder: Path, *heads: Path, jobs: int = 1) -> Report:
    keys = [KEY.verifier]
    return verify_folder(folder, keys, read_heads(heads, keys), jobs)


def told(report: Report) -> list[str]:
    return [str(fault) for fault in report.faults]


def remarks(report: Report) -> list[str]:
    return [str(remark) for remark in report.remarks]


def at(index: int, change: Callable[[bytes], bytes]) -> Change:
    return lambda lines: [*lines[:index], change(lines[index]), *lines[index + 1 :]]


def other(line: bytes) -> bytes:
    return line.replace(b'"status":200', b'"status":201')


def other_prev(line: bytes) -> bytes:
    at = line.index(b'"prev":"') + 20
    return line[:at] + (b"A" if line[at : at + 1] != b"A" else b"B") + line[at + 1 :]


def test_a_good_ledger_is_good(good: Path) -> None:
    report = verify(good)
    assert (told(report), remarks(report), report.more) == ([], [], 0)
    assert (report.segments, report.lines, report.first, report.next) == (3, SIZE, 0, SIZE)
    assert (report.since, report.until) == ("2026-11-22T12:00:00.500Z", "2026-11-22T12:00:31.000Z")
    assert report.checkpoints == {KEY.name: 8}
    assert report.proven == ((0, SIZE - 2),)
    assert report.size_bytes == sum(path.stat().st_size for path in segment_paths(good))


# A table of what may be done to lines.

LINES: Final[dict[str, tuple[Change, list[str]]]] = {
    "one line is edited": (at(5, other), [f"{SECOND}:6 (n 31): {CHANGED}"]),
    "two lines that follow one another are edited": (
        lambda lines: at(6, other)(at(5, other)(lines)),
        [f"{SECOND}:6 (n 31): {CHANGED}", f"{SECOND}:7 (n 32): {CHANGED}"],
    ),
    "two lines far from one another are edited": (
        lambda lines: at(15, other)(at(5, other)(lines)),
        [f"{SECOND}:6 (n 31): {CHANGED}", f"{SECOND}:16 (n 41): {CHANGED}"],
    ),
    "what a line says of the one before is edited": (at(5, other_prev), [f"{SECOND}:6 (n 31): {CHANGED}"]),
    "what two lines say of those before is edited": (
        lambda lines: at(6, other_prev)(at(5, other_prev)(lines)),
        [
            f"{SECOND}:5 (n 30): {DOUBTFUL}",
            f"{SECOND}:6 (n 31): {DOUBTFUL}",
            f"{SECOND}:7 (n 32): {CHANGED}",
            (
                f"{SECOND}:11 (n 36): the lines before it are not those that its checkpoint signed: "
                "between lines 26 and 35 something was changed, put in or left out, and linked anew"
            ),
        ],
    ),
    "the number of a line is edited": (
        at(5, lambda line: line.replace(b'"n":31', b'"n":47')),
        [f"{SECOND}:6 (n 31): this line was changed: it says that it is line 47, and stands where line 31 belongs"],
    ),
    "the time of a line is edited": (
        at(5, lambda line: line.replace(b"T12:", b"T11:")),
        [f"{SECOND}:6 (n 31): {CHANGED}"],
    ),
    "a line is replaced by bytes that are no text": (
        at(5, lambda _: b"\xff\x00" * 90),
        [f"{SECOND}:6 (n 31): this line was changed: it is no text"],
    ),
    "a line is emptied": (at(5, lambda _: b""), [f"{SECOND}:6 (n 31): this line was changed: it is empty"]),
    "the frame of a line is broken": (
        at(5, lambda line: line.replace(b'{"n":', b'{"m":')),
        [f"{SECOND}:6 (n 31): this line was changed: it does not begin as a line of a ledger does"],
    ),
    "a line is made longer than any line": (
        at(5, lambda line: line + b" " * 5_000_000),
        [
            (
                f"{SECOND}:6 (n 31): this line was changed: it has more than 1,048,576 bytes, "
                "and no gateway writes such lines"
            )
        ],
    ),
    "a line before a checkpoint is edited": (at(6, other), [f"{SECOND}:7 (n 32): {CHANGED}"]),
    "the first line of a segment is edited": (
        at(0, lambda line: line.replace(b'"segment":1', b'"segment":2')),
        [f"{SECOND}:1 (n 26): {CHANGED}"],
    ),
    "the last line of a segment is edited": (
        at(24, lambda line: line.replace(b"\\n26", b"\\n27").replace(b'"note":"s', b'"note":"z')),
        [f"{SECOND}:25 (n 50): {CHANGED}"],
    ),
    "a line is deleted": (
        lambda lines: [*lines[:5], *lines[6:]],
        [f"{SECOND}:6 (n 31): line 31 is missing before this line"],
    ),
    "three lines are deleted": (
        lambda lines: [*lines[:5], *lines[8:]],
        [f"{SECOND}:6 (n 31): lines 31 to 33 are missing before this line"],
    ),
    "lines are deleted at two places": (
        lambda lines: [*lines[:5], *lines[6:15], *lines[16:]],
        [
            f"{SECOND}:6 (n 31): line 31 is missing before this line",
            f"{SECOND}:15 (n 41): line 41 is missing before this line",
        ],
    ),
    "the last lines of a segment in the middle are deleted": (
        lambda lines: lines[:-3],
        [f"{THIRD} (n 48): lines 48 to 50 are missing before this file"],
    ),
    "a line stands twice": (
        lambda lines: [*lines[:6], *lines[5:]],
        [f"{SECOND}:7 (n 31): this line stands here twice"],
    ),
    "lines are copied": (
        lambda lines: [*lines[:6], *lines[1:4], *lines[6:]],
        [
            (
                f"{SECOND}:7 (n 27): this line and those up to line 9 (n 29) do not belong here, where 32 comes next: "
                "put in, copied or moved"
            )
        ],
    ),
    "a text is put in": (
        lambda lines: [*lines[:5], b"hello", *lines[5:]],
        [f"{SECOND}:6: this line was put in: it does not begin as a line of a ledger does"],
    ),
    "a line is put in before one of the same number": (
        lambda lines: [*lines[:5], other(lines[5]), *lines[5:]],
        [f"{SECOND}:6 (n 31): this line was put in: the true line 31 is line 7 of the file"],
    ),
    "a line is put in behind one of the same number": (
        lambda lines: [*lines[:6], other(lines[5]), *lines[6:]],
        [f"{SECOND}:7 (n 31): this line does not belong here, where 32 comes next: put in, copied or moved"],
    ),
    "two lines are swapped": (
        lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]],
        [f"{SECOND}:6 (n 32): this line stands in the wrong place: it belongs before line 8 of the file"],
    ),
    "a line is moved on": (
        lambda lines: [*lines[:5], *lines[6:9], lines[5], *lines[9:]],
        [f"{SECOND}:9 (n 31): this line stands in the wrong place: it belongs before line 6 of the file"],
    ),
    "a line is moved back": (
        lambda lines: [*lines[:5], lines[8], *lines[5:8], *lines[9:]],
        [f"{SECOND}:6 (n 34): this line stands in the wrong place: it belongs before line 10 of the file"],
    ),
    "two lines far from one another are swapped": (
        lambda lines: [*lines[:5], lines[15], *lines[6:15], lines[5], *lines[16:]],
        [
            f"{SECOND}:6 (n 31): this line was changed: it says that it is line 41, and stands where line 31 belongs",
            f"{SECOND}:16 (n 41): this line was changed: it says that it is line 31, and stands where line 41 belongs",
        ],
    ),
    "a line ends early": (
        lambda lines: [*lines[:5], lines[5][:150], lines[5][150:], *lines[6:]],
        [
            f"{SECOND}:6 (n 31): {CHANGED}",
            f"{SECOND}:7: this line was put in: it does not begin as a line of a ledger does",
        ],
    ),
    "all lines end as on Windows": (
        lambda lines: [line + b"\r" for line in lines],
        [f"{SECOND}:{number} (n {25 + number}): {CHANGED}" for number in range(1, 26)],
    ),
}


@pytest.mark.parametrize(("change", "expected"), LINES.values(), ids=LINES)
def test_what_is_done_to_lines_is_named(change: Change, expected: list[str], ledger: Path) -> None:
    edit(segment_paths(ledger)[1], change)
    assert told(verify(ledger)) == expected


# And to files.


def make_folder(ledger: Path) -> None:
    (ledger / SECOND).unlink()
    (ledger / SECOND).mkdir()


def compress(ledger: Path) -> None:
    (ledger / SECOND).rename(ledger / f"{SECOND}.gz")


FILES: Final[dict[str, tuple[Callable[[Path], object], list[str]]]] = {
    "a segment in the middle is removed": (
        lambda ledger: (ledger / SECOND).unlink(),
        [f"{THIRD} (n 26): lines 26 to 50 are missing before this file"],
    ),
    "the first segment is removed": (
        lambda ledger: (ledger / FIRST).unlink(),
        [f"{SECOND} (n 0): lines 0 to 25 are missing: the ledger begins with 26, and no `retention` line says so"],
    ),
    "the last segment is removed": (
        lambda ledger: (ledger / THIRD).unlink(),
        [
            (
                "the ledger was cut: the checkpoint in its own folder of size 72 was signed over more, "
                "lines 51 to 71 are missing at the end"
            )
        ],
    ),
    "the last segment is emptied": (
        lambda ledger: os.truncate(ledger / THIRD, 0),
        [
            (
                "the ledger was cut: the checkpoint in its own folder of size 72 was signed over more, "
                "lines 51 to 71 are missing at the end"
            )
        ],
    ),
    "a segment in the middle is emptied": (
        lambda ledger: os.truncate(ledger / SECOND, 0),
        [
            f"{THIRD} (n 26): lines 26 to 50 are missing before this file",
            f"{SECOND}: this segment is empty",
        ],
    ),
    "a segment is packed": (compress, [f"{THIRD} (n 26): lines 26 to 50 are missing before this file"]),
    "a segment is renamed": (
        lambda ledger: (ledger / SECOND).rename(ledger / FIRST.replace("00.", "77.")),
        ["00000000000000000077.jsonl:1 (n 26): the file is named for line 77 and begins with 26"],
    ),
    "a segment is copied": (
        lambda ledger: shutil.copy(ledger / SECOND, ledger / FIRST.replace("00.", "77.")),
        [
            (
                "00000000000000000077.jsonl (n 26): its lines from 26 on stand in 00000000000000000026.jsonl as well: "
                "one of the files is a copy"
            )
        ],
    ),
    "a folder has the name of a segment": (
        make_folder,
        [
            f"{THIRD} (n 26): lines 26 to 50 are missing before this file",
            f"{SECOND}: this segment cannot be read: it is no regular file",
        ],
    ),
    "the last newline of a segment in the middle is cut off": (
        lambda ledger: os.truncate(ledger / SECOND, (ledger / SECOND).stat().st_size - 1),
        [f"{SECOND}:25: the last line has no newline: it was cut"],
    ),
    "a checkpoint lies in the folder that is none": (
        lambda ledger: (ledger / "checkpoint").write_bytes(b"\xff\n"),
        ["the checkpoint in its own folder is not to be believed: it is no text"],
    ),
}


@pytest.mark.parametrize(("change", "expected"), FILES.values(), ids=FILES)
def test_what_is_done_to_files_is_named(change: Callable[[Path], object], expected: list[str], ledger: Path) -> None:
    change(ledger)
    assert told(verify(ledger)) == expected


def test_foreign_files_are_a_remark(ledger: Path) -> None:
    (ledger / "notes.txt").write_text("hello")
    (ledger / f"{SECOND}.gz").write_bytes(b"\x1f\x8b")
    (ledger / THIRD).rename(ledger.parent / THIRD)
    (ledger / THIRD).symlink_to(ledger.parent / THIRD)
    (ledger / "bundles").mkdir()
    report = verify(ledger)
    assert told(report) == []
    assert remarks(report) == [
        f"{THIRD}: this segment is a symbolic link, which no gateway makes",
        f"{SECOND}.gz: this file is packed, it is passed over: unpack it if it is a segment",
        "notes.txt: this file is not of a ledger, it is passed over",
    ]


def test_an_unfinished_line_at_the_end_is_a_remark(ledger: Path) -> None:
    with (ledger / THIRD).open("ab") as file:
        file.write(b'{"n":73,"pre')
    report = verify(ledger)
    assert told(report) == []
    assert remarks(report) == [
        (
            f"{THIRD}:23: the last 12 bytes are no whole line: a gateway is writing it, or ended midway; "
            "nobody was answered on it"
        )
    ]


# Everything is linked anew, by somebody who has everything but the key.


def told_rewritten(place: str, first: int, last: int) -> str:
    return (
        f"{place}: the lines before it are not those that its checkpoint signed: between lines {first} and {last} "
        "something was changed, put in or left out, and linked anew"
    )


def told_size(place: str, size: int, n: int) -> str:
    return f"{place}: its checkpoint is over {size} lines, and {n} stand before it"


def test_a_ledger_linked_anew_behind_an_edited_line_is_not_what_was_signed(ledger: Path) -> None:
    edit(ledger / SECOND, at(5, other))
    link_anew(ledger)
    report = verify(ledger)
    assert told(report) == [
        told_rewritten(f"{SECOND}:11 (n 36)", 26, 35),
        told_rewritten(f"{THIRD}:11 (n 61)", 51, 60),
        "the checkpoint in its own folder of size 72 cannot be held against the lines, which are not all known",
    ]
    assert report.proven == ((0, 24),)


def test_a_ledger_linked_anew_without_a_line_is_not_what_was_signed(ledger: Path) -> None:
    edit(ledger / SECOND, lambda lines: [*lines[:5], *lines[6:]])
    link_anew(ledger)
    last = f"{50:020d}.jsonl"
    assert told(verify(ledger)) == [
        told_size(f"{SECOND}:10 (n 35)", 36, 35),
        told_size(f"{SECOND}:21 (n 46)", 47, 46),
        told_size(f"{SECOND}:24 (n 49)", 50, 49),
        told_size(f"{last}:11 (n 60)", 61, 60),
        told_size(f"{last}:22 (n 71)", 72, 71),
        "the ledger was rewritten: the checkpoint in its own folder of size 72 was signed over other lines",
    ]


# Against checkpoints that are kept elsewhere.


def test_cutting_the_end_off_is_found_by_a_checkpoint_kept_elsewhere(ledger: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes((ledger / "checkpoint").read_bytes())
    (ledger / "checkpoint").unlink()
    edit(ledger / THIRD, lambda lines: lines[:-12])
    assert told(verify(ledger)) == []
    assert told(verify(ledger, kept)) == [
        (
            f"the ledger was cut: the checkpoint {kept} of size 72 was signed over more, "
            "lines 61 to 71 are missing at the end"
        )
    ]


def test_a_ledger_written_anew_is_found_by_a_checkpoint_kept_elsewhere(good: Path, tmp_path: Path) -> None:
    anew = make_ledger(tmp_path / "anew", 70)
    assert told(verify(anew)) == []
    report = verify(anew, good / "checkpoint")
    told_of = f"the checkpoint {good / 'checkpoint'} of size 72 was signed over other lines"
    assert told(report) == [f"the ledger was rewritten: {told_of}"]


def test_checkpoints_of_every_size_hold(good: Path, tmp_path: Path) -> None:
    frontier = Frontier()
    for line in [*read_raw(good), b""]:
        head = TreeHead(KEY.name, frontier.size, frontier.root())
        (tmp_path / f"{frontier.size}").write_text(sign_tree_head(KEY, head), encoding="utf-8")
        frontier.append(leaf_hash(line))
    report = verify(good, tmp_path)
    assert (told(report), report.heads) == ([], SIZE + 1)
    assert report.proven == ((0, SIZE - 1),)


KEPT: Final[dict[str, tuple[bytes, str]]] = {
    "no note": (b"hello", "is not to be believed: it is no signed note: text, a blank line, signatures"),
    "no text": (b"\xff", "is not to be believed: it is no text"),
    "endless": (b"a" * 100_000, "is not to be believed: it is too long"),
    "of another ledger": (
        sign_tree_head(OTHER, TreeHead("b", 0, EMPTY_ROOT)).encode(),
        (
            "is not to be believed: none of the given keys signed the note; "
            f"it is signed by b+{OTHER.verifier.key_id.hex()}"
        ),
    ),
}


@pytest.mark.parametrize(("data", "expected"), KEPT.values(), ids=KEPT)
def test_a_checkpoint_that_is_none_is_a_fault(data: bytes, expected: str, good: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(data)
    assert told(verify(good, kept)) == [f"the checkpoint {kept} {expected}"]


# Never a wrong "good", never an error.


def swap(parts: list[bytes], a: int, b: int) -> None:
    parts[a], parts[b] = parts[b], parts[a]


MUTATIONS: Final[dict[str, Callable[[list[bytes], int, int], object]]] = {
    "flip a bit": lambda parts, a, b: parts.__setitem__(a, bytes((parts[a][0] ^ (1 << b % 8),)) + parts[a][1:]),
    "delete": lambda parts, a, b: parts.__delitem__(slice(a, a + 1 + b % 5)),
    "insert": lambda parts, a, b: parts.insert(a, b"x" * (1 + b % 300) + b"\n" * (b % 2)),
    "swap": swap,
    "truncate": lambda parts, a, _: parts.__delitem__(slice(a, None)),
    "copy": lambda parts, a, b: parts.__setitem__(slice(a, a), parts[b : b + 1 + a % 5]),
    "move": lambda parts, a, b: parts.insert(b % len(parts), parts.pop(a)),
    "replace": lambda parts, a, b: parts.__setitem__(a, parts[b]),
}
Mutation = tuple[str, str, int, int, int]


def mutations() -> st.SearchStrategy[Mutation]:
    """What is done, to lines or bytes, in which segment, where, and with what."""
    place = st.integers(0, 2**16)
    return st.tuples(
        st.sampled_from([*MUTATIONS]), st.sampled_from(["lines", "bytes"]), st.integers(0, 2), place, place
    )


def mutate(folder: Path, mutation: Mutation) -> None:
    kind, of, file, first, second = mutation
    path = segment_paths(folder)[file]
    data = path.read_bytes()
    parts = data.splitlines(keepends=True) if of == "lines" else [data[at : at + 1] for at in range(len(data))]
    if parts:
        MUTATIONS[kind](parts, first % len(parts), second % len(parts))
        path.write_bytes(b"".join(parts))


@given(st.lists(mutations(), min_size=1, max_size=4))
@settings(max_examples=300)
def test_what_verifies_holds_the_lines_that_were_written(
    good: Path, tmp_path_factory: pytest.TempPathFactory, done: list[Mutation]
) -> None:
    folder = shutil.copytree(good, tmp_path_factory.mktemp("mutated") / "ledger")
    try:
        for each in done:
            mutate(folder, each)
        report = verify(folder)
        before, after = read_raw(good)[: SIZE - 1], read_raw(folder)[: SIZE - 1]
        assert not report.is_good or before == after
    finally:
        shutil.rmtree(folder.parent)


@given(st.integers(0, SIZE - 2), st.data())
@settings(max_examples=300)
def test_an_edited_line_is_named_and_no_other(
    good: Path, tmp_path_factory: pytest.TempPathFactory, n: int, data: st.DataObject
) -> None:
    folder = shutil.copytree(good, tmp_path_factory.mktemp("edited") / "ledger")
    try:
        path = segment_paths(folder)[0 if n < 26 else 1 if n < 51 else 2]
        index = n - int(path.name[:20])

        def change(line: bytes) -> bytes:
            at = data.draw(st.integers(0, len(line) - 1))
            new = data.draw(st.integers(0, 255).filter(lambda byte: byte not in {10, line[at]}))
            return line[:at] + bytes((new,)) + line[at + 1 :]

        edit(path, lambda lines: [*lines[:index], change(lines[index]), *lines[index + 1 :]])
        report = verify(folder)
        assert {fault.n for fault in report.faults} == {n}
        assert all((fault.segment, fault.line) == (path.name, index + 1) for fault in report.faults)
    finally:
        shutil.rmtree(folder.parent)


@given(st.binary(max_size=2000), st.sampled_from(["file", "folder"]))
def test_any_bytes_are_findings(tmp_path_factory: pytest.TempPathFactory, data: bytes, what: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = folder / FIRST
    path.write_bytes(data or b"\n")
    try:
        reports = Audit(path if what == "file" else folder, [KEY.verifier]).run()
    except UsageError:
        assert (what, data[:2]) == ("file", b"\x1f\x8b")
    else:
        assert not any(report.is_good for report in reports)
    shutil.rmtree(folder)


@pytest.mark.parametrize("n", [2**63 - 1, 2**63, 10**19 - 1, 10**19, 10**200])
def test_numbers_of_any_length_are_findings(ledger: Path, n: int) -> None:
    edit(ledger / SECOND, at(5, lambda line: line.replace(b'{"n":31,', b'{"n":%d,' % n)))
    edit(ledger / THIRD, lambda lines: [*lines, lines[-1].replace(b'{"n":72,', b'{"n":%d,' % n)])
    (ledger / FIRST).rename(ledger / f"{n:020d}.jsonl"[-26:])
    report = verify(ledger)
    assert (SECOND, 6) in {(fault.segment, fault.line) for fault in report.faults}
    assert msgspec.json.encode(report)
    (report,) = Audit(ledger / THIRD, [KEY.verifier]).run()
    assert msgspec.json.encode(report)


def test_a_pipe_in_the_checkpoints_place_is_named_and_not_waited_for(ledger: Path) -> None:
    (ledger / "checkpoint").unlink()
    os.mkfifo(ledger / "checkpoint")
    assert told(verify(ledger)) == ["checkpoint: it cannot be read: it is no regular file"]


# What is no ledger.


def test_what_is_no_ledger_cannot_be_used(tmp_path: Path) -> None:
    empty, packed, missing = tmp_path / "empty", tmp_path / "packed", tmp_path / "missing"
    empty.touch()
    packed.write_bytes(b"\x1f\x8b\x08")
    os.mkfifo(tmp_path / "pipe")
    for path, message in {
        tmp_path: "is no ledger: there is no segment in it, such as 00000000000000000000.jsonl",
        empty: "is empty: it holds no lines of a ledger",
        packed: "is packed with gzip: unpack it first",
        missing: "name the folder of a ledger, or a file of its lines",
        tmp_path / "pipe": "is neither a folder nor a file",
    }.items():
        with pytest.raises(UsageError, match=message):
            Audit(path, [KEY.verifier])


def test_several_processes_find_the_same(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(ledger / SECOND, at(5, other))
    alone = verify(ledger)
    monkeypatch.setattr("proxy.ledger.audit.PARALLEL_BYTES", 0)
    done: list[int] = []
    reports = Audit(ledger, [KEY.verifier]).run(2, done.append)
    assert reports == [alone]
    assert done[-1] == alone.size_bytes


# A file of several runs.


def test_a_file_may_hold_several_runs(good: Path, tmp_path: Path) -> None:
    second = make_ledger(tmp_path / "second", 30)
    lines = [*read_raw(good), *read_raw(second)]
    path = tmp_path / "collected.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    heads = read_heads([good / "checkpoint", second / "checkpoint"], [KEY.verifier])
    first, last = Audit(path, [KEY.verifier], heads).run()
    assert (first.lines, first.heads, told(first)) == (SIZE, 1, [])
    assert (last.lines, last.heads, told(last)) == (len(lines) - SIZE, 1, [])
    path.write_bytes(b"".join(line + b"\n" for line in at(SIZE + 4, other)(lines)))
    first, last = Audit(path, [KEY.verifier]).run()
    assert told(first) == []
    assert told(last) == [f"collected.jsonl:{SIZE + 5} (n 4): {CHANGED}"]


def test_a_segment_alone_can_be_verified(good: Path) -> None:
    (report,) = Audit(good / SECOND, [KEY.verifier]).run()
    assert told(report) == []
    assert remarks(report) == [f"{SECOND} (n 0): it begins with line 26: those before are not looked at"]


def test_a_ledger_that_grows_is_verified_up_to_what_was_there(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "ledger")
    maker.append(START)
    maker.ends(5)
    maker.sign()
    maker.publish()
    audit = Audit(tmp_path / "ledger", [KEY.verifier])
    maker.ends(5)
    (report,) = audit.run()
    assert (told(report), report.next) == ([], 8)
    maker.stop()
