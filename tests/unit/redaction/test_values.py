# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.decision import Reason
from proxy.model.filtering import AnswerRefusedError
from proxy.redaction.grammar import DOCUMENT
from proxy.redaction.values import ARRAY, OBJECT, Node, ValueReader


def read(text: bytes, base: int = 0, *, max_bytes: int = 10_000, is_ended: bool = True) -> Node | None:
    return ValueReader(DOCUMENT, max_bytes, 8, 16).read(text, base, is_ended=is_ended)


def value_of(node: Node, raw: bytes) -> Any:
    """Return what a value means, by its nodes."""
    if node.kind == OBJECT:
        assert [json.loads(raw[at : raw.index(b":", at)]) for at in node.starts] == node.names
        return {name: value_of(child, raw) for name, child in zip(node.names, node.children, strict=True)}
    if node.kind == ARRAY:
        return [value_of(child, raw) for child in node.children]
    return json.loads(raw[node.start : node.end])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"[a-zあ]{0,3}", fullmatch=True), inner, max_size=4)
    ),
    max_leaves=12,
)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(VALUES.filter(lambda value: depth(value) <= 8), st.integers(1, 9), st.booleans())
def test_every_value_is_read_in_any_parts(value: Any, size: int, ascii_only: bool) -> None:  # noqa: FBT001
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=size % 3 or None).encode("utf-8", "replace")
    reader = ValueReader(DOCUMENT, 100_000, 8, 16)
    buffer, node = bytearray(b"xx"), None
    for at in range(0, len(raw), size):
        assert node is None
        buffer += raw[at : at + size]
        node = reader.read(buffer, 2, is_ended=False)
    node = node or reader.read(buffer, 2, is_ended=True)
    assert node is not None
    assert (node.start, node.end) == (0, len(raw))
    assert value_of(node, raw) == json.loads(raw)


def test_a_value_ends_before_what_follows() -> None:
    node = read(b'[1, {"a": "]"}] , 2')
    assert node is not None
    assert node.end == 15


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a":1,"\\u0061":2}', Reason.ANSWER_KEY_REPEATED),
        (b'[{"a":{"b":1,"b":1}}', Reason.ANSWER_KEY_REPEATED),
        (b"[" * 9, Reason.ANSWER_TOO_DEEP),
        (b"[12345678901234567]", Reason.ANSWER_NUMBER_TOO_LONG),
        (b"[1,]", Reason.ANSWER_MALFORMED),
        (b'{"a":1,}', Reason.ANSWER_MALFORMED),
        (b'{"a" "b"}', Reason.ANSWER_MALFORMED),
        (b'{"a":1 "b":2}', Reason.ANSWER_MALFORMED),
        (b"[1}", Reason.ANSWER_MALFORMED),
        (b"]", Reason.ANSWER_MALFORMED),
        (b",", Reason.ANSWER_MALFORMED),
        (b"{1:2}", Reason.ANSWER_MALFORMED),
    ],
)
def test_the_first_fault_is_told(text: bytes, reason: Reason) -> None:
    assert {refusal(text[:stop]) for stop in range(1, len(text) + 1)} == {None, reason} - (
        {None} if len(text) == 1 else set()
    )


def refusal(text: bytes) -> Reason | None:
    """Return why a text is refused of which more may come, None where it is not."""
    try:
        read(text, is_ended=False)
    except AnswerRefusedError as error:
        return error.reason
    return None


def test_containers_around_count() -> None:
    reader = ValueReader(DOCUMENT, 100, 8, 16)
    reader.begin(7)
    assert reader.read(b"[]", 0, is_ended=True) is not None
    reader.begin(8)
    with pytest.raises(AnswerRefusedError) as refused:
        reader.read(b"[]", 0, is_ended=True)
    assert refused.value.reason is Reason.ANSWER_TOO_DEEP


@pytest.mark.parametrize(
    ("text", "is_too_large"), [(b'"12345678"', False), (b'"123456789"', True), (b'"12345678901', True)]
)
@pytest.mark.parametrize("size", [1, 5, 100])
def test_a_value_has_a_largest_size(text: bytes, is_too_large: bool, size: int) -> None:  # noqa: FBT001
    reader = ValueReader(DOCUMENT, 10, 8, 16)
    reasons = set()
    for stop in range(size, len(text) + size, size):
        try:
            reader.read(text[:stop], 0, is_ended=False)
        except AnswerRefusedError as error:
            reasons.add(error.reason)
            break
    assert reasons == ({Reason.ANSWER_RECORD_TOO_LARGE} if is_too_large else set())
