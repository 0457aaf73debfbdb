# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: the form of the specification, who may sign for whom, and every way in which one is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.merkle import EMPTY_ROOT, leaf_hash
from proxy.ledger.note import NoteError, SigningKey, VerifierKey
from proxy.ledger.tree_head import MAX_SIZE, TreeHead, open_tree_head, parse_decimal, parse_tree_head, sign_tree_head

KEY = SigningKey("ledger.example/tokyo-1", bytes(range(32)))
OTHER = SigningKey("ledger.example/seoul-1", bytes(32))
ROOT = leaf_hash(b"a line")
HEAD = TreeHead("ledger.example/tokyo-1", 1042, ROOT)
LINES = HEAD.render().split("\n")

SPEC_TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
"""The example of c2sp.org/tlog-checkpoint."""


def test_the_example_of_the_specification() -> None:
    head = parse_tree_head(SPEC_TEXT)
    assert (head.origin, head.size, head.root.hex()[:8]) == ("example.com/behind-the-sofa", 20852163, "0ac5186a")
    assert head.render() == SPEC_TEXT


@given(st.integers(1, MAX_SIZE), st.binary(min_size=32, max_size=32))
def test_a_head_reads_back_as_it_was_signed(size: int, root: bytes) -> None:
    head = TreeHead(KEY.name, size, root)
    assert parse_tree_head(head.render()) == head
    assert open_tree_head(sign_tree_head(KEY, head), [OTHER.verifier, KEY.verifier]) == head


def test_the_head_of_an_empty_ledger() -> None:
    head = TreeHead(KEY.name, 0, EMPTY_ROOT)
    assert open_tree_head(sign_tree_head(KEY, head), [KEY.verifier]) == head


def test_extension_lines_are_passed_over() -> None:
    assert open_tree_head(KEY.sign(HEAD.render() + "more\n"), [KEY.verifier]) == HEAD


def test_a_key_signs_for_its_own_ledger_alone() -> None:
    with pytest.raises(ValueError, match="does not sign for"):
        sign_tree_head(OTHER, HEAD)


def test_a_believed_key_of_another_ledger_is_not_believed_of_this_one() -> None:
    with pytest.raises(NoteError, match=r"of 'ledger\.example/tokyo-1', and signed by ledger\.example/seoul-1"):
        open_tree_head(OTHER.sign(HEAD.render()), [KEY.verifier, OTHER.verifier])


def test_a_signature_of_another_beside_it_does_no_harm() -> None:
    both = OTHER.sign(HEAD.render()) + KEY.sign(HEAD.render()).rpartition("\n\n")[2]
    assert open_tree_head(both, [KEY.verifier, OTHER.verifier]) == HEAD


@pytest.mark.parametrize("keys", [[], [OTHER.verifier], [VerifierKey(KEY.name, OTHER.verifier.public)]])
def test_without_its_key_nothing_is_believed(keys: list[VerifierKey]) -> None:
    with pytest.raises(NoteError, match="none of the given keys"):
        open_tree_head(sign_tree_head(KEY, HEAD), keys)


NONE = [
    pytest.param("", "origin, size and root", id="nothing"),
    pytest.param("\n\n\n", "origin of a checkpoint is not empty", id="empty lines"),
    pytest.param("a\n1\n", "origin, size and root", id="no root"),
    pytest.param(HEAD.render().removesuffix("\n"), "origin, size and root", id="no newline at the end"),
    pytest.param("\n" + "\n".join(LINES[1:]), "not empty", id="an empty origin"),
    pytest.param(HEAD.render() + "\n", "no empty line", id="an empty line at the end"),
    pytest.param(HEAD.render() + "\nmore\n", "no empty line", id="an empty line before an extension"),
    pytest.param(HEAD.render().replace("1042", "01042"), "plain decimal", id="a zero before the size"),
    pytest.param(HEAD.render().replace("1042", "00"), "plain decimal", id="two zeros"),
    pytest.param(HEAD.render().replace("1042", "+1042"), "plain decimal", id="a sign before the size"),
    pytest.param(HEAD.render().replace("1042", "-1"), "plain decimal", id="a size below zero"),
    pytest.param(HEAD.render().replace("1042", ""), "plain decimal", id="no size"),
    pytest.param(HEAD.render().replace("1042", " 1042"), "plain decimal", id="a space before the size"),
    pytest.param(HEAD.render().replace("1042", "1_042"), "plain decimal", id="a line between digits"),
    pytest.param(HEAD.render().replace("1042", "1042\r"), "plain decimal", id="a line that ends as on Windows"),
    pytest.param(HEAD.render().replace("1042", "١٠"), "plain decimal", id="digits of another script"),
    pytest.param(HEAD.render().replace("1042", "²"), "plain decimal", id="a raised digit"),
    pytest.param(HEAD.render().replace("1042", str(MAX_SIZE + 1)), "plain decimal", id="a size that is too large"),
    pytest.param(HEAD.render().replace("1042", "9" * 9999), "plain decimal", id="a size of ten thousand digits"),
    pytest.param(f"a\n1\n{LINES[2][:-1]}\n", "no base64", id="a root without its padding"),
    pytest.param(f"a\n1\n{LINES[2][:40]}\n", "32 bytes, not 30", id="a root that is cut short"),
    pytest.param("a\n1\n\n", "32 bytes, not 0", id="an empty root"),
    pytest.param(HEAD.render().replace("1042", "0"), "empty tree", id="size 0 with a root that the empty tree has not"),
]


@pytest.mark.parametrize(("text", "why"), NONE)
def test_what_is_no_checkpoint(text: str, why: str) -> None:
    with pytest.raises(NoteError, match=why):
        parse_tree_head(text)


@given(st.text())
def test_reading_raises_nothing_but_its_own_error(text: str) -> None:
    for each in (text, f"a\n{text}\n{LINES[2]}\n", f"a\n1\n{text}\n", f"{text}\n1\n{LINES[2]}\n"):
        try:
            assert parse_tree_head(each).render() in each
        except NoteError:
            continue


@given(st.integers(0, MAX_SIZE))
def test_a_number_is_read_in_one_form_alone(number: int) -> None:
    assert parse_decimal(str(number), "it") == number
    for other in (f"0{number}", f"+{number}", f"{number}.0", f"{number} ", hex(number)):
        with pytest.raises(NoteError, match="it is a plain decimal number"):
            parse_decimal(other, "it")
