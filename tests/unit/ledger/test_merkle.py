# SPDX-License-Identifier: Apache-2.0
"""The Merkle tree: the reference vectors of RFC 6962, and a naive tree beside which every other is checked."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    verify_consistency,
    verify_inclusion,
)

ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
"""The entries of Certificate Transparency's reference implementation, with its roots of 1 to 8 of them, and proofs."""
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = [
    pytest.param(0, 1, [], id="the only entry needs no proof"),
    pytest.param(
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
        id="the first of eight",
    ),
    pytest.param(
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
        id="the sixth of eight",
    ),
    pytest.param(
        2,
        3,
        ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
        id="the last of three, alone on its side",
    ),
    pytest.param(
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
        id="the second of five",
    ),
]
CONSISTENCY = [
    pytest.param(1, 1, [], id="a tree and itself"),
    pytest.param(
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
        id="one to eight",
    ),
    pytest.param(
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
        id="six to eight",
    ),
    pytest.param(
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
        id="two, a perfect tree, to five",
    ),
    pytest.param(
        6,
        7,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
        id="six to seven",
    ),
]
LEAVES = [leaf_hash(b"%d" % number) for number in range(300)]
OTHER = leaf_hash(b"another")


def _split(size: int) -> int:
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 2.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    at = _split(len(leaves))
    return node_hash(naive_root(leaves[:at]), naive_root(leaves[at:]))


def naive_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    at = _split(len(leaves))
    if index < at:
        return [*naive_path(index, leaves[:at]), naive_root(leaves[at:])]
    return [*naive_path(index - at, leaves[at:]), naive_root(leaves[:at])]


def naive_proof(old: int, leaves: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    """RFC 6962 2.1.2, word for word."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    at = _split(len(leaves))
    if old <= at:
        return [*naive_proof(old, leaves[:at], whole=whole), naive_root(leaves[at:])]
    return [*naive_proof(old - at, leaves[at:], whole=False), naive_root(leaves[:at])]


def frontier_of(size: int) -> Frontier:
    frontier = Frontier()
    frontier.extend(LEAVES[:size])
    return frontier


def test_the_tree_without_leaves_has_the_hash_of_nothing() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Frontier().root() == EMPTY_ROOT


def test_the_leaf_of_an_empty_entry() -> None:
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_of_the_reference(size: int) -> None:
    frontier = Frontier()
    for entry in ENTRIES[:size]:
        frontier.append(leaf_hash(entry))
    assert frontier.root().hex() == ROOTS[size - 1]


@pytest.mark.parametrize(("index", "size", "hashes"), INCLUSION)
def test_the_inclusion_proofs_of_the_reference(index: int, size: int, hashes: list[str]) -> None:
    leaves = [leaf_hash(entry) for entry in ENTRIES]
    proof = prove_inclusion(Frontier(), leaves, index, size)
    assert [each.hex() for each in proof] == hashes
    assert verify_inclusion(leaves[index], index, size, proof, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("old", "new", "hashes"), CONSISTENCY)
def test_the_consistency_proofs_of_the_reference(old: int, new: int, hashes: list[str]) -> None:
    proof = prove_consistency(Frontier(), [leaf_hash(entry) for entry in ENTRIES], old, new)
    assert [each.hex() for each in proof] == hashes
    assert verify_consistency(old, new, bytes.fromhex(ROOTS[old - 1]), bytes.fromhex(ROOTS[new - 1]), proof)


@given(st.lists(st.integers(0, 40), max_size=8))
def test_leaves_one_by_one_and_in_batches_make_the_naive_tree(batches: list[int]) -> None:
    one, many, at = Frontier(), Frontier(), 0
    for count in batches:
        taken = (LEAVES * 2)[at : at + count]
        for leaf in taken:
            one.append(leaf)
        many.extend(taken)
        at += count
        assert one.size == many.size == at
        assert one.peaks == many.peaks
        assert one.root() == naive_root((LEAVES * 2)[:at])


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_frontier_is_all_that_is_needed_to_continue(start: int, more: int) -> None:
    kept = frontier_of(start)
    frontier = Frontier(kept.size, kept.peaks)
    copy = frontier.copy()
    frontier.extend(LEAVES[start : start + more])
    assert frontier.root() == naive_root(LEAVES[: start + more])
    assert (copy.size, copy.peaks) == (kept.size, kept.peaks), "a copy is continued apart"


@pytest.mark.parametrize(
    ("size", "peaks"),
    [
        pytest.param(1, [], id="a peak is missing"),
        pytest.param(2, [OTHER, OTHER], id="one peak too many"),
        pytest.param(0, [OTHER], id="a peak of nothing"),
        pytest.param(-1, [OTHER], id="a size below zero"),
        pytest.param(1, [b"short"], id="a peak that is no hash"),
    ],
)
def test_what_is_no_frontier(size: int, peaks: list[bytes]) -> None:
    with pytest.raises(ValueError, match="peak"):
        Frontier(size, peaks)


@given(st.data())
def test_inclusion_is_proven_from_any_frontier_before(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 200))
    index = data.draw(st.integers(0, size - 1))
    start = data.draw(st.integers(0, index))
    frontier = frontier_of(start)
    proof = prove_inclusion(frontier, iter(LEAVES[start:]), index, size)
    assert list(proof) == naive_path(index, LEAVES[:size])
    assert verify_inclusion(LEAVES[index], index, size, proof, frontier_of(size).root())
    assert frontier.size == start, "it stays as it is"


@given(st.data())
def test_consistency_is_proven_from_any_frontier_before(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 200))
    old = data.draw(st.integers(0, new))
    start = data.draw(st.integers(0, old))
    proof = prove_consistency(frontier_of(start), iter(LEAVES[start:]), old, new)
    assert list(proof) == (naive_proof(old, LEAVES[:new]) if old else [])
    assert verify_consistency(old, new, frontier_of(old).root(), frontier_of(new).root(), proof)


@given(st.data())
def test_a_proof_that_is_changed_anywhere_proves_nothing(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 100))
    index = data.draw(st.integers(0, size - 1))
    proof = list(prove_inclusion(Frontier(), LEAVES, index, size))
    leaf, root = LEAVES[index], frontier_of(size).root()
    changed = data.draw(_changes(proof))
    assert not verify_inclusion(leaf, index, size, changed, root)
    assert not verify_inclusion(_flip(leaf, data.draw(st.integers(0, 255))), index, size, proof, root)
    assert not verify_inclusion(leaf, index, size, proof, _flip(root, data.draw(st.integers(0, 255))))
    other = data.draw(st.integers(-1, 100).filter(lambda other: other != index))
    assert not verify_inclusion(leaf, other, size, proof, root)


@given(st.data())
def test_a_consistency_proof_that_is_changed_anywhere_proves_nothing(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 100))
    old = data.draw(st.integers(1, new - 1))
    proof = list(prove_consistency(Frontier(), LEAVES, old, new))
    roots = frontier_of(old).root(), frontier_of(new).root()
    assert not verify_consistency(old, new, *roots, data.draw(_changes(proof)))
    bit = data.draw(st.integers(0, 255))
    assert not verify_consistency(old, new, _flip(roots[0], bit), roots[1], proof)
    assert not verify_consistency(old, new, roots[0], _flip(roots[1], bit), proof)
    assert not verify_consistency(new, old, *roots, proof)


def _flip(value: bytes, bit: int) -> bytes:
    return bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(value))


def _changes(proof: list[bytes]) -> st.SearchStrategy[list[bytes]]:
    """One bit flipped, a hash dropped, added or cut short."""
    at = st.integers(0, len(proof) - 1)
    return st.one_of(
        st.builds(lambda i, bit: [*proof[:i], _flip(proof[i], bit), *proof[i + 1 :]], at, st.integers(0, 255)),
        at.map(lambda i: [*proof[:i], *proof[i + 1 :]]),
        at.map(lambda i: [*proof[:i], OTHER, *proof[i:]]),
        at.map(lambda i: [*proof[:i], proof[i][:-1], *proof[i + 1 :]]),
        st.just([*proof, OTHER]),
        st.just([*proof, b""]),
    )


EDGES = [
    pytest.param(0, 0, EMPTY_ROOT, EMPTY_ROOT, [], True, id="the empty tree and itself"),
    pytest.param(0, 5, EMPTY_ROOT, OTHER, [], True, id="anything continues the empty tree"),
    pytest.param(3, 3, OTHER, OTHER, [], True, id="a tree continues itself"),
    pytest.param(0, 5, OTHER, OTHER, [], False, id="a root that the empty tree does not have"),
    pytest.param(0, 0, EMPTY_ROOT, OTHER, [], False, id="two roots of the empty tree"),
    pytest.param(3, 3, OTHER, EMPTY_ROOT, [], False, id="two roots of one size"),
    pytest.param(3, 3, OTHER, OTHER, [OTHER], False, id="a proof where none is needed"),
    pytest.param(0, 5, EMPTY_ROOT, OTHER, [OTHER], False, id="a proof of the empty tree"),
    pytest.param(1, 2, OTHER, OTHER, [], False, id="no proof where one is needed"),
    pytest.param(3, 4, OTHER, OTHER, [], False, id="no proof where the earlier root is not a part of it"),
    pytest.param(4, 3, OTHER, OTHER, [OTHER], False, id="a tree that shrinks"),
    pytest.param(-1, 3, OTHER, OTHER, [OTHER], False, id="a size below zero"),
]


@pytest.mark.parametrize(("old", "new", "old_root", "new_root", "proof", "holds"), EDGES)
def test_the_edges_of_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes], *, holds: bool
) -> None:
    assert verify_consistency(old, new, old_root, new_root, proof) is holds


@pytest.mark.parametrize(
    ("index", "size", "start", "given_leaves"),
    [
        pytest.param(5, 5, 0, 300, id="a leaf after the end"),
        pytest.param(-1, 5, 0, 300, id="a leaf before the first"),
        pytest.param(2, 5, 3, 300, id="a leaf before the frontier"),
        pytest.param(0, 8, 0, 7, id="leaves that end too early"),
        pytest.param(4, 5, 0, 4, id="leaves that end before the one that is asked for"),
        pytest.param(0, 8, 0, 0, id="no leaves at all"),
    ],
)
def test_what_cannot_be_proven_to_be_included(index: int, size: int, start: int, given_leaves: int) -> None:
    with pytest.raises(ValueError, match=r"leaves end|is not between"):
        prove_inclusion(frontier_of(start), LEAVES[start:given_leaves], index, size)


@pytest.mark.parametrize(
    ("old", "new", "start", "given_leaves"),
    [
        pytest.param(5, 4, 0, 300, id="a tree that shrinks"),
        pytest.param(2, 8, 3, 300, id="an earlier tree that ends before the frontier"),
        pytest.param(3, 8, 0, 7, id="leaves that end too early"),
        pytest.param(-1, 8, 0, 300, id="a size below zero"),
    ],
)
def test_what_cannot_be_proven_to_continue(old: int, new: int, start: int, given_leaves: int) -> None:
    with pytest.raises(ValueError, match=r"leaves end|does not continue|before the frontier"):
        prove_consistency(frontier_of(start), LEAVES[start:given_leaves], old, new)


def test_no_more_leaves_are_taken_than_needed() -> None:
    stream = iter(LEAVES)
    prove_inclusion(Frontier(), stream, 3, 10)
    assert next(stream) == LEAVES[10]
