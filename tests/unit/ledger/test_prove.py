# SPDX-License-Identifier: Apache-2.0
"""Proofs from real ledgers: whole ones, tampered ones in every way, and those of which a part is gone."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.merkle import leaf_hash
from proxy.ledger.note import SigningKey
from proxy.ledger.proof import check_proof
from proxy.ledger.prove import (
    NotCoveredError,
    NotProvenError,
    Place,
    Proven,
    find_decision,
    mend_leaves,
    open_head,
    prove_growth,
    prove_line,
)
from proxy.ledger.segments import list_segments
from proxy.ledger.tree_head import TreeHead, open_tree_head
from tests.support.sample_ledger import (
    KEY,
    change_line,
    find_checkpoints,
    flip,
    flip_prev,
    read_lines,
    remove_line,
    write_sample,
)

KEYS = [KEY.verifier]
OTHER = SigningKey(KEY.name, bytes(32))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A ledger that nobody changes."""
    folder = tmp_path_factory.mktemp("whole") / "ledger"
    return folder, write_sample(folder)


@pytest.fixture
def ledger(tmp_path: Path) -> tuple[Path, list[str]]:
    """A ledger to tamper with."""
    return tmp_path / "ledger", write_sample(tmp_path / "ledger")


def find(folder: Path, request_id: str) -> Place:
    place = find_decision(list_segments(folder), request_id)
    assert place is not None
    return place


def prove(folder: Path, request_id: str, note: str = "") -> Proven:
    return prove_line(list_segments(folder), find(folder, request_id), KEYS, note)


def heads(folder: Path) -> list[TreeHead]:
    return [open_tree_head(note, KEYS) for _, note in find_checkpoints(folder)]


def test_every_decision_is_found_and_proven_in_the_next_checkpoint(whole: tuple[Path, list[str]]) -> None:
    folder, ids = whole
    assert len(list_segments(folder)) > 3
    lines, checkpoints = read_lines(folder), [number for number, _ in find_checkpoints(folder)]
    for request_id in ids:
        place = find(folder, request_id)
        assert lines[place.number] == place.entry
        assert b'"line":"decision"' in place.entry
        proven = prove_line(list_segments(folder), place, KEYS)
        assert check_proof(proven.proof, place.entry, KEYS) == proven.head
        assert proven.head.size == min(number for number in checkpoints if number > place.number)
        assert proven.passed == ()


def test_a_line_is_proven_in_every_checkpoint_that_was_kept(whole: tuple[Path, list[str]]) -> None:
    folder, ids = whole
    place = find(folder, ids[33])
    for number, note in find_checkpoints(folder):
        if number > place.number:
            proven = prove(folder, ids[33], note)
            assert check_proof(proven.proof, place.entry, KEYS).size == number
        else:
            with pytest.raises(NotCoveredError, match=f"covers {number} lines, and line {place.number} is not among"):
                prove(folder, ids[33], note)


@pytest.mark.parametrize("request_id", ["0" * 26, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "ZZZZZZZZZZZZZZZZZZZZZZZZZZ", "x"])
def test_no_line_is_found_of_an_id_that_nobody_was_told(whole: tuple[Path, list[str]], request_id: str) -> None:
    assert find_decision(list_segments(whole[0]), request_id) is None


def test_a_decision_is_found_though_the_clock_was_wrong(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    for segment in list_segments(folder)[1:]:
        change_line(folder, segment.first, lambda line: line.replace(b'"time":"2', b'"time":"1'))
    for request_id in (ids[0], ids[50], ids[99]):
        assert find(folder, request_id).entry in read_lines(folder)


def test_old_segments_need_not_be_there(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    *old, last = list_segments(folder)
    place = find(folder, ids[-1])
    assert place.segment == last
    for segment in old:
        segment.path.unlink()
    assert prove(folder, ids[-1]).proof.index == place.number


def test_without_keys_a_line_is_proven_in_a_checkpoint_that_nobody_vouches_for(whole: tuple[Path, list[str]]) -> None:
    folder, ids = whole
    assert prove_line(list_segments(folder), find(folder, ids[0]), []).proof == prove(folder, ids[0]).proof


def test_a_line_that_is_younger_than_the_last_checkpoint(tmp_path: Path) -> None:
    ids = write_sample(tmp_path / "ledger", 2, end=False)
    with pytest.raises(NotCoveredError, match=r"line 3 is not yet covered by a checkpoint: the last line is 4$"):
        prove(tmp_path / "ledger", ids[-1])


# Tampering.


def test_a_changed_line_is_named_with_both_hashes(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    true = leaf_hash(find(folder, ids[40]).entry).hex()
    number = find(folder, ids[40]).number
    change_line(folder, number, flip)
    changed = leaf_hash(find(folder, ids[40]).entry).hex()
    assert changed != true
    with pytest.raises(NotProvenError, match=f"line {number} was changed .*{changed}, and the tree has {true}"):
        prove(folder, ids[40])


@pytest.mark.parametrize("change", [flip, lambda line: line[1:], lambda _: b"", lambda _: b"\xff" * 5000])
def test_one_changed_line_takes_no_proof_away_but_its_own(
    ledger: tuple[Path, list[str]], change: Callable[[bytes], bytes]
) -> None:
    folder, ids = ledger
    before = {request_id: prove(folder, request_id).proof for request_id in ids}
    number = find(folder, ids[40]).number + 1
    assert b'"line":"end"' in read_lines(folder)[number]
    change_line(folder, number, change)
    assert {request_id: prove(folder, request_id).proof for request_id in ids} == before


def test_a_changed_first_line_of_a_segment_takes_nothing_away(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    before = {request_id: prove(folder, request_id).proof for request_id in ids}
    segments = list_segments(folder)
    change_line(folder, segments[1].first, lambda line: line.replace(b'"peaks":["', b'"peaks":["A', 1))
    change_line(folder, segments[2].first, lambda line: line.replace(b'"segment":2', b'"segment":3'))
    change_line(folder, segments[3].first, lambda _: b"nothing")
    assert {request_id: prove(folder, request_id).proof for request_id in ids} == before


def test_a_forged_checkpoint_is_passed_over(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    place = find(folder, ids[40])
    first, second = [number for number, _ in find_checkpoints(folder) if number > place.number][:2]
    change_line(folder, first, lambda line: line.replace(b"\\n\\n", b"\\nmore\\n\\n"))
    proven = prove(folder, ids[40])
    assert proven.head.size == second
    assert len(proven.passed) == 1
    assert proven.passed[0].startswith(f"line {first}: the checkpoint does not hold: the signature of {KEY.name}+")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(lambda line: line[:-1], "cannot be read", id="a checkpoint that is cut short"),
        pytest.param(
            lambda line: line.replace(b'"note":"', b'"note":1,"x":"'), "cannot be read", id="a note that is none"
        ),
    ],
)
def test_a_checkpoint_that_cannot_be_read_is_passed_over(
    ledger: tuple[Path, list[str]], change: Callable[[bytes], bytes], why: str
) -> None:
    folder, ids = ledger
    number = next(number for number, _ in find_checkpoints(folder) if number > find(folder, ids[40]).number)
    change_line(folder, number, change)
    assert why in prove(folder, ids[40]).passed[0]


def test_a_checkpoint_of_another_place_is_passed_over(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    place = find(folder, ids[0])
    (first, one), (_, two), *_ = find_checkpoints(folder)
    escaped = [note.replace("\n", "\\n").encode() for note in (one, two)]
    change_line(folder, first, lambda line: line.replace(escaped[0], escaped[1]))
    assert f"line {first}: the checkpoint covers" in prove(folder, ids[0]).passed[0]
    assert place.number < first


def test_the_keys_of_another_open_no_checkpoint(whole: tuple[Path, list[str]]) -> None:
    folder, ids = whole
    with pytest.raises(
        NotProvenError, match=r"no checkpoint after line 1 is to be believed: (line .* none of the given keys .*){3}$"
    ):
        prove_line(list_segments(folder), find(folder, ids[0]), [OTHER.verifier])


def test_a_line_taken_out_leaves_nothing_proven_behind_it(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    place = find(folder, ids[40])
    remove_line(folder, place.number + 1)
    with pytest.raises(NotProvenError, match=r"sekisho ledger verify|some are missing before it"):
        prove(folder, ids[40])
    assert prove(folder, ids[0]).proof.index == find(folder, ids[0]).number, "what stands before it can be proven"


def test_a_segment_that_is_gone_is_named(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    _, second, third, *_ = list_segments(folder)
    second.path.unlink()
    assert prove(folder, ids[0]).proof.index == find(folder, ids[0]).number
    _, note = find_checkpoints(folder)[-1]
    with pytest.raises(NotProvenError, match=f"line {second.first} should begin the segment {third.path.name}"):
        prove(folder, ids[0], note)


def test_a_ledger_whose_end_was_cut_off(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    _, note = find_checkpoints(folder)[-1]
    list_segments(folder)[-1].path.unlink()
    with pytest.raises(NotProvenError, match=r"the leaves end at .*: the end of the ledger is gone"):
        prove(folder, ids[0], note)


def test_a_first_line_that_is_changed_and_nothing_before_it(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    *old, last = list_segments(folder)
    for segment in old:
        segment.path.unlink()
    change_line(folder, last.first, flip_prev)
    with pytest.raises(NotProvenError, match=f"nothing before line .* the first that is kept is {last.first}"):
        prove(folder, ids[-1])


def test_a_damaged_decision_is_found_by_what_is_left_of_its_id(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    number = find(folder, ids[40]).number
    change_line(folder, number, lambda line: line[1:])
    with pytest.raises(NotProvenError, match=f"line {number} was changed"):
        prove(folder, ids[40])


@given(st.data())
def test_leaves_are_mended_around_any_one_change(whole: tuple[Path, list[str]], data: st.DataObject) -> None:
    lines = read_lines(whole[0])[: data.draw(st.integers(1, 30))]
    leaves = [leaf_hash(line) for line in lines]
    assert list(mend_leaves(lines)) == leaves
    at = data.draw(st.integers(0, len(lines) - 1))
    changed = data.draw(st.sampled_from([flip(lines[at]), lines[at] + b" ", lines[at][:20], b""]))
    lines[at] = changed
    mended = list(mend_leaves(lines))
    assert mended[:-1] == leaves[:-1], "all but the last, which nothing follows"
    assert mended[-1] == leaf_hash(lines[-1])


@given(st.integers(1, 28))
def test_a_changed_word_of_the_line_before_misleads_nobody(whole: tuple[Path, list[str]], at: int) -> None:
    lines = read_lines(whole[0])[:31]
    leaves = [leaf_hash(line) for line in lines]
    lines[at] = flip_prev(lines[at])
    assert list(mend_leaves(lines)) == leaves


# Growth.


def test_every_checkpoint_continues_every_earlier_one(whole: tuple[Path, list[str]]) -> None:
    folder, _ = whole
    segments, signed = list_segments(folder), heads(folder)
    for earlier in signed[::5]:
        for later in signed[::7]:
            if earlier.size <= later.size:
                prove_growth(segments, earlier, later)


def test_growth_is_shown_though_a_line_was_changed(ledger: tuple[Path, list[str]]) -> None:
    folder, ids = ledger
    before = prove_growth(list_segments(folder), heads(folder)[0], heads(folder)[-1])
    change_line(folder, find(folder, ids[40]).number, flip)
    signed = heads(folder)
    assert prove_growth(list_segments(folder), signed[0], signed[-1]) == before


def test_what_does_not_continue(whole: tuple[Path, list[str]]) -> None:
    folder, _ = whole
    segments, (first, second, *_), last = list_segments(folder), heads(folder), heads(folder)[-1]
    forged = TreeHead(first.origin, first.size, second.root)
    with pytest.raises(NotProvenError, match="signed two different ledgers of 7 lines"):
        prove_growth(segments, first, forged)
    with pytest.raises(NotProvenError, match="first 7 lines of the ledger are not those that the earlier checkpoint"):
        prove_growth(segments, forged, last)
    with pytest.raises(NotProvenError, match="are not those that the later checkpoint signs"):
        prove_growth(segments, first, TreeHead(first.origin, second.size, first.root))
    with pytest.raises(NotProvenError, match="one checkpoint is of a, the other of"):
        prove_growth(segments, TreeHead("a", first.size, first.root), last)
    with pytest.raises(NotProvenError, match=r"covers 9999 lines, and the ledger has .*: its end is gone"):
        prove_growth(segments, first, TreeHead(first.origin, 9999, last.root))


def test_growth_before_what_is_kept_is_not_shown(ledger: tuple[Path, list[str]]) -> None:
    folder, _ = ledger
    signed, (first, second, *_) = heads(folder), list_segments(folder)
    first.path.unlink()
    with pytest.raises(NotProvenError, match=f"the first that is kept is {second.first}"):
        prove_growth(list_segments(folder), signed[0], signed[-1])


def test_a_checkpoint_that_is_none() -> None:
    with pytest.raises(NotProvenError, match="does not hold: it is no signed note"):
        open_head("text", [])
