# SPDX-License-Identifier: Apache-2.0
"""Proofs that stand alone: the form of the specification, what they prove, and every change that undoes it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.merkle import Frontier, leaf_hash, prove_consistency, prove_inclusion
from proxy.ledger.note import NoteError, SigningKey, encode_base64
from proxy.ledger.proof import (
    MAX_HASHES,
    ConsistencyProof,
    InclusionProof,
    check_consistency,
    check_proof,
    parse_consistency,
    parse_proof,
)
from proxy.ledger.tree_head import TreeHead, sign_tree_head

KEY = SigningKey("ledger.example/tokyo-1", bytes(range(32)))
OTHER = SigningKey("ledger.example/seoul-1", bytes(32))
ENTRIES = [b'{"n":%d}' % number for number in range(40)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


def _head(size: int, key: SigningKey = KEY) -> TreeHead:
    frontier = Frontier()
    frontier.extend(LEAVES[:size])
    return TreeHead(key.name, size, frontier.root())


def _prove(index: int, size: int, key: SigningKey = KEY) -> InclusionProof:
    hashes = prove_inclusion(Frontier(), LEAVES, index, size)
    return InclusionProof(index, hashes, sign_tree_head(key, _head(size, key)), ENTRIES[index])


PROOF = _prove(5, 11)
TEXT = PROOF.render()
HASH = encode_base64(PROOF.hashes[0])
EXTRA = encode_base64(ENTRIES[5])


def test_a_proof_is_written_as_the_specification_says() -> None:
    lines = TEXT.split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", f"extra {EXTRA}", "index 5"]
    assert lines[3:7] == [encode_base64(each) for each in PROOF.hashes]
    assert lines[7:11] == ["", "ledger.example/tokyo-1", "11", encode_base64(_head(11).root)]
    assert lines[11] == ""
    assert lines[12].startswith("— ledger.example/tokyo-1 ")
    assert lines[13:] == [""]


@given(st.data())
def test_a_proof_reads_back_and_holds(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 40))
    index = data.draw(st.integers(0, size - 1))
    proof = parse_proof(_prove(index, size).render())
    assert check_proof(proof, proof.extra, [OTHER.verifier, KEY.verifier]) == _head(size)


def test_a_proof_without_its_line_holds_for_the_line_alone() -> None:
    bare = parse_proof(InclusionProof(PROOF.index, PROOF.hashes, PROOF.note).render())
    assert bare.extra == b""
    assert check_proof(bare, ENTRIES[5], [KEY.verifier]).size == 11
    with pytest.raises(NoteError, match="is not line 5"):
        check_proof(bare, ENTRIES[6], [KEY.verifier])


def test_the_only_line_of_a_ledger_needs_no_hash() -> None:
    text = _prove(0, 1).render()
    assert text.split("\n")[2:4] == ["index 0", ""]
    assert check_proof(parse_proof(text), ENTRIES[0], [KEY.verifier]).size == 1


NOT_PROVEN = [
    pytest.param(TEXT.replace("index 5", "index 4"), "is not line 4 of the 11 lines", id="another index"),
    pytest.param(TEXT.replace("index 5", "index 11"), "line 11 is not among them", id="an index after the tree"),
    pytest.param(TEXT.replace(HASH + "\n", ""), "is not line 5", id="a hash is missing"),
    pytest.param(TEXT.replace(HASH, f"{HASH}\n{HASH}"), "is not line 5", id="a hash too many"),
    pytest.param(TEXT.replace(EXTRA, encode_base64(b'{"n":6}')), "is not line 5", id="another line"),
    pytest.param(TEXT.replace("\n11\n", "\n12\n"), "does not fit the text", id="another size"),
    pytest.param(_prove(5, 11, OTHER).render(), "none of the given keys", id="the key of another ledger"),
    pytest.param(TEXT.partition("\n\n")[0] + "\n\n" + _prove(5, 12).note, "is not line 5", id="another checkpoint"),
    pytest.param(TEXT.partition("\n\n")[0] + "\n\nno note\n", "no signed note", id="no checkpoint"),
    pytest.param(TEXT.replace("index 5\n", "index 5\n\n"), "does not fit the text", id="an empty line too many"),
    pytest.param(TEXT.replace("\n\nledger", "\n\n\nledger"), "does not fit the text", id="two empty lines"),
]


@pytest.mark.parametrize(("text", "why"), NOT_PROVEN)
def test_what_proves_nothing(text: str, why: str) -> None:
    assert text != TEXT
    proof = parse_proof(text)
    with pytest.raises(NoteError, match=why):
        check_proof(proof, proof.extra, [KEY.verifier])


NO_PROOFS = [
    pytest.param("", "begins with the line", id="nothing"),
    pytest.param(TEXT.replace("@v1", "@v2"), "begins with the line", id="another version"),
    pytest.param("\n" + TEXT, "begins with the line", id="an empty line before it"),
    pytest.param("\ufeff" + TEXT, "begins with the line", id="a byte order mark"),
    pytest.param(TEXT.replace("\n", "\r\n"), "begins with the line", id="lines that end as on Windows"),
    pytest.param(TEXT.partition("\n\n")[0], "signed checkpoint", id="no checkpoint"),
    pytest.param(TEXT.partition("\n\n")[0] + "\n\n", "signed checkpoint", id="an empty checkpoint"),
    pytest.param(TEXT.replace("index 5\n", ""), "line `index NUMBER`", id="no index"),
    pytest.param(TEXT.replace("index 5", "index  5"), "plain decimal", id="two spaces before the index"),
    pytest.param(TEXT.replace("index 5", "index 05"), "plain decimal", id="a zero before the index"),
    pytest.param(TEXT.replace("index 5", "index -5"), "plain decimal", id="an index below zero"),
    pytest.param(TEXT.replace("index 5", "index"), "line `index NUMBER`", id="an index without a number"),
    pytest.param(TEXT.replace("index 5", "Index 5"), "line `index NUMBER`", id="an index in capitals"),
    pytest.param(
        TEXT.replace(f"extra {EXTRA}\nindex 5", f"index 5\nextra {EXTRA}"), "a hash", id="extra data after it"
    ),
    pytest.param(TEXT.replace(f"extra {EXTRA}", f"extra {EXTRA}\nextra {EXTRA}"), "line `index", id="extra data twice"),
    pytest.param(TEXT.replace(EXTRA, ""), "1 to", id="empty extra data, which are left out"),
    pytest.param(TEXT.replace(EXTRA, EXTRA.rstrip("=") + "?"), "the extra data", id="extra data that are no base64"),
    pytest.param(TEXT.replace(EXTRA, f" {EXTRA}"), "the extra data", id="two spaces before the extra data"),
    pytest.param(TEXT.replace(HASH, HASH[:-1]), "a hash of a proof is no base64", id="a hash without its padding"),
    pytest.param(TEXT.replace(HASH, HASH[:-4]), "32 bytes", id="a hash that is cut short"),
    pytest.param(TEXT.replace(HASH, HASH + " "), "no base64", id="a space after a hash"),
    pytest.param(TEXT.replace(HASH, "\n".join([HASH] * (MAX_HASHES + 1))), "at most 63 hashes", id="too many hashes"),
    pytest.param(TEXT + "x" * 9_000_000, "at most", id="a proof that is too long"),
]


@pytest.mark.parametrize(("text", "why"), NO_PROOFS)
def test_what_is_no_proof(text: str, why: str) -> None:
    with pytest.raises(NoteError, match=re.escape(why)):
        parse_proof(text)


def _check(text: str) -> InclusionProof:
    proof = parse_proof(text)
    check_proof(proof, proof.extra, [KEY.verifier])
    return proof


@given(st.integers(0, len(TEXT.encode()) * 8 - 1))
def test_one_bit_anywhere_and_nothing_is_proven(bit: int) -> None:
    data = bytearray(TEXT.encode())
    data[bit // 8] ^= 1 << bit % 8
    text = data.decode("utf-8", "surrogateescape")
    with pytest.raises(NoteError):
        _check(text)


@given(st.text(), st.sampled_from(["{}", "c2sp.org/tlog-proof@v1\n{}", TEXT.replace("5\n", "5\n{}\n"), TEXT + "{}"]))
def test_reading_raises_nothing_but_its_own_error(text: str, form: str) -> None:
    try:
        proof = _check(form.replace("{}", text))
    except NoteError:
        return
    assert proof == PROOF


# That a checkpoint continues another.


def _grow(old: int, new: int, key: SigningKey = KEY) -> ConsistencyProof:
    hashes = prove_consistency(Frontier(), LEAVES, old, new)
    return ConsistencyProof(old, hashes, sign_tree_head(key, _head(new, key)))


GROWTH = _grow(6, 11)
GROWN = GROWTH.render()
FIRST = encode_base64(GROWTH.hashes[0])


def test_a_growth_is_written_as_witnesses_are_handed_it() -> None:
    lines = GROWN.split("\n")
    assert lines[0] == "old 6"
    assert lines[1:5] == [encode_base64(each) for each in GROWTH.hashes]
    assert lines[5:8] == ["", "ledger.example/tokyo-1", "11"]


@given(st.data())
def test_a_growth_reads_back_and_holds(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 40))
    old = data.draw(st.integers(0, new))
    proof = parse_consistency(_grow(old, new).render())
    assert check_consistency(proof, _head(old), [KEY.verifier]) == _head(new)


NOT_GROWN = [
    pytest.param(GROWN, _head(6, OTHER), "the earlier one of ledger.example/seoul-1", id="of another ledger"),
    pytest.param(GROWN, _head(7), "from 6 lines on, and the earlier checkpoint covers 7", id="of another size"),
    pytest.param(GROWN, TreeHead(KEY.name, 6, LEAVES[0]), "not shown to begin with the 6", id="of another root"),
    pytest.param(GROWN.replace(FIRST + "\n", ""), _head(6), "not shown to begin", id="without a hash"),
    pytest.param(GROWN.replace("\n11\n", "\n12\n"), _head(6), "does not fit the text", id="to a forged checkpoint"),
    pytest.param(_grow(6, 11, OTHER).render(), _head(6), "none of the given keys", id="signed by another"),
    pytest.param(GROWN.replace("old 6", "old 11"), _head(11), "not shown", id="hashes where none are needed"),
]


@pytest.mark.parametrize(("text", "earlier", "why"), NOT_GROWN)
def test_what_shows_no_growth(text: str, earlier: TreeHead, why: str) -> None:
    with pytest.raises(NoteError, match=why):
        check_consistency(parse_consistency(text), earlier, [KEY.verifier])


NO_GROWTHS = [
    pytest.param("", "begins with the line `old NUMBER`", id="nothing"),
    pytest.param(TEXT, "begins with the line `old NUMBER`", id="the proof of a line"),
    pytest.param(GROWN.replace("old 6", "old 06"), "plain decimal", id="a zero before the size"),
    pytest.param(GROWN.partition("\n\n")[0], "signed checkpoint", id="no checkpoint"),
    pytest.param(GROWN.replace(FIRST, FIRST[:-1]), "no base64", id="a hash without its padding"),
    pytest.param(GROWN.replace(FIRST, "\n".join([FIRST] * 64)), "at most 63 hashes", id="too many hashes"),
    pytest.param(GROWN + "x" * 9_000_000, "at most", id="a proof that is too long"),
]


@pytest.mark.parametrize(("text", "why"), NO_GROWTHS)
def test_what_is_no_proof_of_growth(text: str, why: str) -> None:
    with pytest.raises(NoteError, match=re.escape(why)):
        parse_consistency(text)


@given(st.integers(0, len(GROWN.encode()) * 8 - 1))
def test_one_bit_anywhere_and_no_growth_is_shown(bit: int) -> None:
    data = bytearray(GROWN.encode())
    data[bit // 8] ^= 1 << bit % 8
    text = data.decode("utf-8", "surrogateescape")
    with pytest.raises(NoteError):
        _check_growth(text)


def _check_growth(text: str) -> None:
    check_consistency(parse_consistency(text), _head(6), [KEY.verifier])


@given(st.text(), st.sampled_from(["{}", "old {}", "old 6\n{}\n", "old 6\n\n{}"]))
def test_reading_a_growth_raises_nothing_but_its_own_error(text: str, form: str) -> None:
    with pytest.raises(NoteError):
        _check_growth(form.replace("{}", text))
