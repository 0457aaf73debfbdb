# SPDX-License-Identifier: Apache-2.0
"""How lines hang together."""

import base64

import pytest

from proxy.ledger.links import are_linked, clean, decode_hash, describe_damage, find_prev, read_link, read_number
from proxy.ledger.merkle import leaf_hash
from tests.support.tampering import Script

LINES = Script().ends(30).lines
LEAVES = [leaf_hash(line) for line in LINES]


def test_lines_are_linked_if_each_says_the_one_before() -> None:
    assert are_linked(LINES[11:], 11, LEAVES[10:-1])
    assert are_linked(LINES[11:12], 11, LEAVES[10:11])
    assert not are_linked(LINES[12:], 11, LEAVES[11:-1])
    assert not are_linked([*LINES[11:20], *LINES[21:]], 11, LEAVES[10:-2])
    assert not are_linked(LINES[11:], 11, LEAVES[9:-2])


def test_any_other_byte_of_the_link_is_seen() -> None:
    line = LINES[20]
    for at in range(len('{"n":20,"prev":"') + 44):
        changed = line[:at] + bytes((line[at] ^ 1,)) + line[at + 1 :]
        assert not are_linked([*LINES[11:20], changed], 11, LEAVES[10:20])


def test_the_parts_of_a_link_are_found_also_where_another_is_damaged() -> None:
    line = LINES[20]
    assert read_link(line) == (20, LEAVES[19])
    assert (read_number(line), find_prev(line)) == (20, LEAVES[19])
    for damaged in (b"x" + line[1:], line.replace(b'"time"', b'"tame"')):
        assert read_link(damaged) is None
        assert find_prev(damaged) == LEAVES[19]
    assert read_number(line.replace(b'"time"', b'"tame"')) == 20
    assert read_number(b'{"n":020,') is None
    assert find_prev(b" " * 200 + line) is None
    assert read_link(line.replace(base64.b64encode(LEAVES[19]), b"A" * 42 + b"B=")) is None


@pytest.mark.parametrize("encoded", [b"A" * 42 + b"B=", b"A" * 44, b"A" * 40, b""])
def test_a_hash_is_read_as_a_writer_renders_it(encoded: bytes) -> None:
    assert decode_hash(b"A" * 43 + b"=") == bytes(32)
    assert decode_hash(encoded) is None


def test_what_a_terminal_would_act_on_is_not_told() -> None:
    assert clean("a\x1b[2J\u202eb") == "a\ufffd[2J\ufffdb"
    assert describe_damage(b"\x1f\x8b\x08", None, 3) == "it is packed with gzip, and so perhaps the whole file"
