# SPDX-License-Identifier: Apache-2.0
"""What the next line follows from: staged is not taken, clocks that step, and a chain built again from its lines."""

import base64
import itertools
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.clock import parse_instant, render_instant
from proxy.ledger.chain import HELD_SECONDS, Chain, DamagedError, ForeignError, Replay, parse_time
from proxy.ledger.entry import FIRST_PREV
from proxy.ledger.lines import KeysLine
from proxy.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from proxy.ledger.note import SigningKey
from proxy.ledger.tree_head import TreeHead, open_tree_head

KEY = SigningKey("ledger.example", bytes(32))
NOON = parse_instant("2026-11-22T12:00:00.000Z")


def a_line(text: str = "") -> KeysLine:
    return KeysLine(pseudonyms=text)


def write(chain: Chain, *lines: object, now: float = NOON) -> list[bytes]:
    staged = chain.stage(lines, now)
    chain.take(staged)
    return staged.data.splitlines()


def a_segment(chain: Chain | None = None, lines: int = 3) -> tuple[Chain, list[bytes]]:
    """Return a chain, and a segment of it: its first line, others, and a checkpoint."""
    chain = chain or Chain(KEY.name)
    written = write(chain, chain.segment())
    written += write(chain, *[a_line(str(number)) for number in range(lines)])
    written += write(chain, chain.sign(KEY)[1])
    return chain, written


def replay(lines: list[bytes], first: int = 0, key: SigningKey = KEY, kept: TreeHead | None = None) -> Chain:
    again = Replay(first, key, kept)
    again.feed(lines)
    return again.end()[0]


# Staging.


def test_the_first_line_follows_from_nothing_and_each_other_from_the_one_before() -> None:
    chain = Chain(KEY.name)
    assert base64.b64decode(FIRST_PREV) == EMPTY_ROOT
    prev = FIRST_PREV.decode()
    for n, line in enumerate(write(chain, a_line("a"), a_line("b")) + write(chain, a_line("c"))):
        record = json.loads(line)
        assert (record["n"], record["prev"]) == (n, prev)
        prev = base64.b64encode(leaf_hash(line)).decode()
    assert (chain.size, chain.prev.decode()) == (3, prev)


def test_what_is_staged_and_not_taken_changes_nothing() -> None:
    chain = Chain(KEY.name)
    write(chain, a_line("a"))
    before = (chain.size, chain.prev, chain.now, chain.frontier.root())
    first = chain.stage([a_line("b")], NOON + 5)
    assert (chain.size, chain.prev, chain.now, chain.frontier.root()) == before
    assert chain.stage([a_line("b")], NOON + 5) == first


def test_of_what_is_staged_the_first_lines_can_be_taken_alone() -> None:
    chain, other = Chain(KEY.name), Chain(KEY.name)
    staged = chain.stage([a_line("a"), a_line("b")], NOON)
    chain.take(staged.first(1))
    write(other, a_line("a"))
    assert (chain.size, chain.prev, chain.frontier.root()) == (1, other.prev, other.frontier.root())
    chain.take(staged.first(0))
    assert chain.size == 1


@given(st.lists(st.floats(0, 4e9), min_size=1, max_size=8))
def test_times_never_go_back_but_behind_a_line_that_says_so(clock: list[float]) -> None:
    chain = Chain(KEY.name)
    lines = [json.loads(line) for now in clock for line in write(chain, a_line(), now=now)]
    for before, line in itertools.pairwise(lines):
        assert line["time"] >= before["time"] or (line["line"] == "clock" and line["was"] == before["time"])
    assert sum(line["line"] == "keys" for line in lines) == len(clock)


@given(st.floats(0, 4e9))
def test_an_instant_is_rendered_as_everywhere(now: float) -> None:
    (line,) = write(Chain(KEY.name), a_line(), now=now)
    assert abs(parse_instant(json.loads(line)["time"]) - parse_instant(render_instant(now))) < 0.0011
    assert len(json.loads(line)["time"]) == 24


STEPS = [
    pytest.param(0.0, NOON, id="none"),
    pytest.param(5.0, NOON + 5, id="ahead"),
    pytest.param(-0.5, NOON, id="back a little, which is waited for"),
    pytest.param(-HELD_SECONDS, NOON - HELD_SECONDS, id="back further"),
]


@pytest.mark.parametrize(("step", "held"), STEPS)
def test_a_step_of_the_clock_counts(step: float, held: float) -> None:
    assert Chain(KEY.name, now=NOON).hold(NOON + step) == held


def test_a_checkpoint_is_over_all_lines_before_it() -> None:
    _, lines = a_segment()
    note = json.loads(lines[-1])["note"]
    tree = Frontier()
    tree.extend([leaf_hash(line) for line in lines[:-1]])
    assert open_tree_head(note, [KEY.verifier]) == TreeHead(KEY.name, 4, tree.root())


# Built again.


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_chain_is_built_again_from_its_last_segment_alone(before: int, lines: int) -> None:
    chain, _ = a_segment(lines=before)
    chain.segments = 1
    first = chain.size
    chain, segment = a_segment(chain, lines)
    again = replay(segment, first)
    assert (again.size, again.prev, again.now) == (chain.size, chain.prev, chain.now)
    assert (again.frontier.peaks, again.segments) == (chain.frontier.peaks, 2)


def test_it_is_known_what_was_signed_and_what_stood_last() -> None:
    again = Replay(0, KEY)
    assert again.end()[1] == ""
    _, lines = a_segment()
    again.feed(lines[:2])
    assert (again.signed, again.end()[1]) == (-1, "keys")
    again = Replay(0, KEY)
    again.feed(lines[:2])
    again.feed(lines[2:])
    assert (again.signed, again.end()[1]) == (4, "checkpoint")


DEEP = b"[" * 100_000 + b"]" * 100_000
Change = Callable[[list[bytes]], list[bytes]]
CHANGES: list[object] = [
    pytest.param(lambda lines: [lines[0], *lines[2:]], 2, "does not follow", id="a line is gone"),
    pytest.param(lambda lines: lines[1:], 1, "no first line of a segment", id="the first line is gone"),
    pytest.param(lambda lines: [*lines[:2], lines[1], *lines[2:]], 3, "does not follow", id="a line is there twice"),
    pytest.param(lambda lines: [*lines[:2], b"", *lines[2:]], 3, "does not begin as", id="an empty line is there"),
    pytest.param(
        lambda lines: [lines[0].replace(KEY.name.encode(), b"other.example"), *lines[1:]], 1, "other.example's",
        id="the segment is another ledger's",
    ),
    pytest.param(
        lambda lines: [lines[0].replace(b"47DE", b"57DE"), *lines[1:]], 1, "names one before",
        id="the first line of all follows from something",
    ),
    pytest.param(
        lambda lines: [*lines[:-1], lines[-1].replace(b'"line":"checkpoint","note"', b'"line":"checkpoint","nite"')],
        5, "checkpoint cannot be verified", id="a checkpoint has no note",
    ),
    pytest.param(
        lambda lines: [*lines[:-1], lines[-1].replace(b"\\n4\\n", b"\\n5\\n")], 5, "checkpoint cannot be verified",
        id="a checkpoint was edited",
    ),
    pytest.param(lambda lines: [lines[0][:-1] + b',"x":' + DEEP + b"}", *lines[1:]], 1, "no first line of a segment",
        id="the first line holds brackets without end",
    ),
    pytest.param(lambda lines: [*lines[:-1], lines[-1][:-1] + b',"x":' + DEEP + b"}"], 5, "checkpoint cannot be",
        id="a checkpoint holds brackets without end",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "line", "what"), CHANGES)
def test_a_chain_is_not_built_where(change: Change, line: int, what: str) -> None:
    _, lines = a_segment()
    with pytest.raises(DamagedError, match=what) as raised:
        replay(change(lines))
    assert raised.value.line == line
    assert str(raised.value).startswith(f"line {line}: ")


def test_a_checkpoint_that_was_signed_over_other_lines_is_damage() -> None:
    chain, other = Chain(KEY.name), Chain(KEY.name)
    lines = write(chain, chain.segment(), a_line("a"))
    write(other, other.segment(), a_line("b"))
    lines += write(chain, other.sign(KEY)[1])
    with pytest.raises(DamagedError, match="does not fit the lines before"):
        replay(lines)


def test_the_checkpoint_of_another_key_of_that_name_is_foreign() -> None:
    _, lines = a_segment()
    with pytest.raises(ForeignError, match="another key"):
        replay(lines, key=SigningKey(KEY.name, b"1" * 32))


@pytest.mark.parametrize("size", range(6))
def test_lines_are_held_against_a_checkpoint_that_was_kept_wherever_it_ends(size: int) -> None:
    _, lines = a_segment()
    tree = Frontier()
    tree.extend([leaf_hash(line) for line in lines[:size]])
    replay(lines, kept=TreeHead(KEY.name, size, tree.root()))
    replay(lines, kept=TreeHead(KEY.name, 6, bytes(32)))
    with pytest.raises(DamagedError, match=f"the {size} lines before it are not those of the checkpoint"):
        replay(lines, kept=TreeHead(KEY.name, size, bytes(32)))


@given(st.lists(st.binary(max_size=80), max_size=4), st.integers(0, 4))
def test_whatever_lines_are_there_it_is_damage_and_no_other_error(lines: list[bytes], at: int) -> None:
    _, good = a_segment()
    try:
        replay([*good[:at], *lines])
    except DamagedError:
        return
    assert lines == []


def test_a_time_that_no_calendar_has_counts_for_nothing() -> None:
    assert parse_time(b"2026-02-31T00:00:00.000Z") == 0.0
    assert parse_time(b"2026-11-22T12:00:00.000Z") == NOON
