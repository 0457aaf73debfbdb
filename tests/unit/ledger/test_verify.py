# SPDX-License-Identifier: Apache-2.0
"""One segment by itself: what its lines say is held against what they are."""

import base64
from collections.abc import Callable
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.finding import Checked, Follower, Task
from proxy.ledger.lines import CheckpointLine, ClockLine, RecoveredLine, RetentionLine, SegmentLine, StopLine
from proxy.ledger.merkle import Frontier, leaf_hash
from proxy.ledger.note import SigningKey
from proxy.ledger.verify import check_segment
from tests.support.ledger import KEY
from tests.support.tampering import START, Script

NAME: Final = "segment"
OTHER: Final = SigningKey.generate("sekisho.example/other")


def check(data: bytes, block: int = 1 << 20, **task: object) -> Checked:
    """Check bytes that come in blocks of a size."""
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    plain = Task(name=NAME, first=0, keys=(KEY.verifier,))
    return check_segment(msgspec.structs.replace(plain, **task), blocks)


def told(checked: Checked, *, faults: bool = True) -> list[str]:
    return [
        str(each).removeprefix(f"{NAME}:")
        for each in sorted(checked.findings, key=lambda each: each.line)
        if each.fault is faults
    ]


def begin_later(first: int) -> tuple[Script, tuple[bytes, ...]]:
    """Begin a segment with a later line than the first; return the peaks that it says, too."""
    lines = Script()
    lines.frontier, lines.lines = Frontier(), []
    lines.frontier.extend([bytes([n % 256]) * 32 for n in range(first)])
    peaks = tuple(lines.frontier.peaks)
    encoded = tuple(base64.b64encode(peak).decode() for peak in peaks)
    return lines.add(SegmentLine(format=1, origin=KEY.name, segment=1, peaks=encoded)), peaks


# What is wrong in itself, though every link holds.

SAID: Final[dict[str, tuple[Callable[[Script], object], list[str]]]] = {
    "a checkpoint of another key": (
        lambda lines: lines.ends(3).sign(OTHER),
        [
            (
                "5 (n 4): its checkpoint is not to be believed: none of the given keys signed the note; "
                f"it is signed by {OTHER.name}+{OTHER.verifier.key_id.hex()}"
            )
        ],
    ),
    "a checkpoint with a bad signature": (
        lambda lines: lines.add(CheckpointLine(note=KEY.sign(f"{KEY.name}\n1\nAAAA\n").replace("\n1\n", "\n2\n"))),
        [
            (
                "2 (n 1): its checkpoint is not to be believed: "
                f"the signature of {KEY.name}+{KEY.verifier.key_id.hex()} does not fit the text"
            )
        ],
    ),
    "a checkpoint of no note": (
        lambda lines: lines.add(CheckpointLine(note="hello\x1b[2J")),
        ["2 (n 1): its checkpoint is not to be believed: it is no signed note: text, a blank line, signatures"],
    ),
    "a checkpoint over fewer lines": (
        lambda lines: lines.ends(3).sign(size=3),
        ["5 (n 4): its checkpoint is over 3 lines, and 4 stand before it"],
    ),
    "a checkpoint over other lines": (
        lambda lines: lines.ends(3).sign().ends(3).sign(root=b"x" * 32).ends(2),
        [
            (
                "9 (n 8): the lines before it are not those that its checkpoint signed: between lines 4 and 7 "
                "something was changed, put in or left out, and linked anew"
            )
        ],
    ),
    "a clock that goes back": (
        lambda lines: lines.ends(3).add(START, -2),
        [
            (
                "5 (n 4): its time 2026-11-22T12:00:01.000Z is before that of the line before, "
                "2026-11-22T12:00:03.000Z, and no `clock` line says so"
            )
        ],
    ),
    "a day that is none": (
        lambda lines: lines.add(START, time=b"2026-11-32T12:00:00.000Z").ends(1),
        ["2 (n 1): its time 2026-11-32T12:00:00.000Z is none of the calendar"],
    ),
    "a minute of too many seconds": (
        lambda lines: lines.ends(3).add(START, time=b"2026-11-22T12:00:60.000Z"),
        ["5 (n 4): its time 2026-11-22T12:00:60.000Z is none of the calendar"],
    ),
    "a gap": (
        lambda lines: lines.add(START).ends(3).add(START, 3 * 3600).ends(1).add(StopLine()).sign().ends(1),
        [],
    ),
    "a gap in which nobody started": (
        lambda lines: lines.add(START).ends(3).sign(seconds=2 * 3600).ends(3),
        [
            (
                "6 (n 5): there is nothing between 2026-11-22T12:00:04.000Z and 2026-11-22T14:00:04.000Z, "
                "and no `stop` before it: a gateway that runs signs every hour, so lines are missing or it hung"
            )
        ],
    ),
    "a gap of 65 minutes": (lambda lines: lines.add(START).ends(3).sign(seconds=65 * 60).ends(3), []),
    "a first line of another format": (
        lambda lines: lines.lines.__setitem__(0, lines.lines[0].replace(b'"format":1', b'"format":2')),
        ["1 (n 0): its lines are of format 2; this version of sekisho knows 1"],
    ),
    "a first line of no segment": (
        lambda lines: lines.lines.__setitem__(0, lines.lines[0].replace(b'"segment"', b'"fragment"')),
        ["1 (n 0): this is no first line of a segment (Invalid value 'fragment' - at `$.line`)"],
    ),
    "another segment's first line in the middle": (
        lambda lines: lines.add(SegmentLine(format=1, origin=KEY.name, segment=1, peaks=())),
        ["2 (n 1): its `peaks` are not those of the tree over the lines before it"],
    ),
    "a line of the ledger itself that cannot be read": (
        lambda lines: lines.add({"line": "recovered", "cut_bytes": "many"}),
        ["2 (n 1): this `recovered` line cannot be read (Expected `int`, got `str` - at `$.cut_bytes`)"],
    ),
}


@pytest.mark.parametrize(("write", "expected"), SAID.values(), ids=SAID)
def test_what_lines_say_is_held_against_what_they_are(write: Callable[[Script], object], expected: list[str]) -> None:
    lines = Script()
    write(lines)
    assert told(check(lines.data)) == expected


def test_what_the_first_line_of_all_says_of_lines_before_is_none() -> None:
    lines = Script()
    lines.prev = base64.b64encode(bytes(32))
    lines.frontier, lines.lines = Frontier(), []
    lines.add(SegmentLine(format=1, origin=KEY.name, segment=0, peaks=()))
    assert told(check(lines.data)) == ["1 (n 0): its `prev` is not that of the very first line"]


def test_a_checkpoint_of_another_ledger_is_a_fault() -> None:
    lines = Script(OTHER.name).ends(2).sign()
    assert told(check(lines.data)) == [f"4 (n 3): its checkpoint is of {KEY.name}, and these lines are of {OTHER.name}"]


# What is worth knowing.


def test_remarks() -> None:
    lines = Script().add(START).ends(2)
    lines.add(RecoveredLine(cut_bytes=17), 7200).add(START).add(ClockLine(was="x"), -60).ends(1)
    lines.add(StopLine()).sign().add(RetentionLine(first=2)).sign()
    checked = check(lines.data)
    assert told(checked) == []
    assert told(checked, faults=False) == [
        "5 (n 4): an unfinished line of 17 bytes was cut off after a crash; nobody was answered on it",
        "6 (n 5): a gateway starts, and the one before ended without `stop`",
        "7 (n 6): the clock was set back here, from 2026-11-22T14:00:04.000Z to 2026-11-22T13:59:04.000Z",
    ]
    assert (checked.retained, checked.stopped, checked.start, checked.opening) == (((10, 2),), True, (2, 1), "start")
    assert [signed.size for signed in checked.signed] == [9, 11]


def test_a_stop_behind_the_last_checkpoint_is_told() -> None:
    lines = Script().add(START).sign().add(StopLine())
    assert check(lines.data).unsigned_stop == (4, 3)
    assert check(lines.sign().data).unsigned_stop is None


# By itself, and with what stands around it.


def test_a_later_segment_stands_on_the_peaks_that_it_says() -> None:
    lines, peaks = begin_later(1234)
    lines.ends(5).sign()
    checked = check(lines.data, first=1234)
    assert (told(checked), checked.peaks, checked.next) == ([], peaks, 1241)
    assert checked.ends[0].peaks == tuple(lines.frontier.peaks)
    other = check(lines.data, first=1234, peaks=(b"x" * 32, *peaks[1:]))
    assert told(other) == [
        "1 (n 1234): its `peaks` are not those of the tree over the lines before it",
        (
            "7 (n 1240): the lines before it are not those that its checkpoint signed: between lines 1234 and 1239 "
            "something was changed, put in or left out, and linked anew"
        ),
    ]


def test_the_next_segment_says_what_the_last_line_was() -> None:
    lines = Script().ends(3)
    leaf = leaf_hash(lines.lines[-1])
    assert check(lines.data, follower=Follower(4, leaf), is_last=False).ends[0].edited == ()
    changed, intact = check(lines.data, follower=Follower(4, b"x" * 32), is_last=False).ends
    assert (changed.edited, intact.edited) == (((4, 3),), ())


def test_a_segment_that_is_not_the_last_ends_with_a_newline() -> None:
    lines = Script().ends(3)
    leaf = leaf_hash(lines.lines[-1])
    checked = check(lines.data[:-1], follower=Follower(4, leaf), is_last=False)
    assert told(checked) == ["4: the last line has no newline: it was cut"]
    assert (checked.next, checked.lines) == (4, 4)


@pytest.mark.parametrize("block", [1, 7, 100, 1000, 1 << 20])
def test_blocks_may_end_anywhere(block: int) -> None:
    lines = Script().add(START).ends(120).sign().ends(5)
    lines.lines[40] = lines.lines[40].replace(b"true", b"null")
    sizes = tuple(range(0, 128, 9))
    assert check(lines.data, block, sizes=sizes) == check(lines.data, sizes=sizes)


def test_roots_are_told_where_they_are_asked_for() -> None:
    lines, roots = Script(), {}
    for size in range(1, 1200):
        roots[size] = lines.frontier.root()
        lines.add(START if size == 1 else CheckpointLine(note=""), 0.01) if size % 500 == 1 else lines.ends(1)
    asked = (1, 2, 3, 9, 10, 11, 500, 501, 999, 1000, 1024, 1199)
    checked = check(lines.data, 50_000, sizes=asked)
    assert checked.ends[0].roots == {size: roots[size] for size in asked}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4000)), max_size=60))
def test_lines_at_once_are_found_as_lines_one_by_one(written: list[tuple[int, int]]) -> None:
    lines = Script()
    for kind, seconds in written:
        if kind == 0:
            lines.ends(9)
        elif kind == 1:
            lines.sign(seconds=seconds)
        else:
            lines.add(START if kind == 2 else StopLine(), seconds)
    at_once, one_by_one = check(lines.data), check(lines.data, 1)
    assert (at_once, told(at_once)) == (one_by_one, told(one_by_one))


def test_bytes_of_any_kind_are_findings() -> None:
    for data in (
        b"\n",
        b"\n\n\n",
        b"\x00" * 5000,
        b"{}\n" * 50,
        b'{"n":' * 1000 + b"\n",
        b"\xff\n" * 9,
        b"[" * 100_000,
    ):
        checked = check(data + b"\n")
        assert told(checked)
        assert not checked.signed
