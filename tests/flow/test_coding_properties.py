# SPDX-License-Identifier: Apache-2.0
"""What must hold of any body in any content coding: read whole or refused, however it arrives, and bounded."""

import gzip
import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Final

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.decision import Reason
from proxy.redaction.codings import CODINGS, PART_BYTES, UNSUSPECTED_BYTES, find_coding, make_decoder, make_encoder
from tests.support.coding_reference import RATIO, check_alike, decode
from tests.support.json_writing import SPLITS, split

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NAMES: Final = ("identity", *CODINGS)
COMPRESS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}
DECOMPRESS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": brotli.decompress,
    "zstd": zstd.decompress,
}
CODING: Final = st.sampled_from(NAMES)
CODED: Final = st.sampled_from(CODINGS)
TEXTS: Final = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda text, times: text * times, st.binary(min_size=1, max_size=40), st.integers(1, 400)),
)


def test_every_coding_has_an_independent_one_beside_it() -> None:
    assert {*COMPRESS} == {*NAMES}
    assert {*DECOMPRESS} == {*NAMES}


@given(CODING, TEXTS, SPLITS)
def test_what_others_encode_is_read_however_it_arrives(coding: str, text: bytes, sizes: list[int]) -> None:
    assert decode(coding, split(COMPRESS[coding](text), sizes)) == (text, None)


@given(CODING, TEXTS, SPLITS, st.booleans())
def test_what_is_encoded_others_read(coding: str, text: bytes, sizes: list[int], flushes: bool) -> None:  # noqa: FBT001
    encoder = make_encoder(coding, flushes=flushes)
    parts = [encoder.encode(part) for part in split(text, sizes)]
    coded = b"".join([*parts, encoder.end()])
    assert DECOMPRESS[coding](coded) == text
    assert decode(coding, split(coded, sizes)) == (text, None)


@given(CODED, TEXTS, SPLITS)
def test_what_is_flushed_can_be_read_at_once(coding: str, text: bytes, sizes: list[int]) -> None:
    encoder, decoder = make_encoder(coding, flushes=True), make_decoder(coding, RATIO)
    for part in split(text, sizes[:3] and [size * 20 for size in sizes[:3]]):
        assert b"".join(decoder.feed(encoder.encode(part))) == part


@given(CODING, st.binary(max_size=200), SPLITS)
def test_any_bytes_are_read_or_refused_alike_however_they_arrive(coding: str, data: bytes, sizes: list[int]) -> None:
    check_alike(coding, data, split(data, sizes))


@given(st.data(), CODED, TEXTS, SPLITS)
def test_so_are_bodies_with_something_changed_in_them(
    data: st.DataObject, coding: str, text: bytes, sizes: list[int]
) -> None:
    coded = bytearray(COMPRESS[coding](text))
    for _ in range(data.draw(st.integers(1, 3))):
        coded[data.draw(st.integers(0, len(coded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    made, reason = check_alike(coding, bytes(coded), split(bytes(coded), sizes))
    if coding in {"gzip", "deflate"} and reason is None:
        assert made == text, "a body of which a bit was changed passes its check sum"


@given(st.data(), CODED, TEXTS, SPLITS)
def test_a_body_that_is_cut_off_is_refused(data: st.DataObject, coding: str, text: bytes, sizes: list[int]) -> None:
    coded = COMPRESS[coding](text)
    cut = coded[: data.draw(st.integers(0, len(coded) - 1))]
    made, reason = decode(coding, split(cut, sizes))
    assert reason == Reason.ANSWER_CODING_BROKEN
    assert text.startswith(made)


@given(CODED, TEXTS, st.binary(min_size=1, max_size=9), SPLITS)
def test_a_body_with_something_behind_it_is_refused(coding: str, text: bytes, more: bytes, sizes: list[int]) -> None:
    made, reason = decode(coding, split(COMPRESS[coding](text) + more, sizes))
    assert reason == Reason.ANSWER_CODING_BROKEN
    assert text.startswith(made)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_ends_early(coding: str) -> None:
    coded = COMPRESS[coding](bytes(8 * 1024 * 1024))
    made, reason = decode(coding, [coded], 2)
    assert reason == Reason.ANSWER_EXPANDS_TOO_MUCH
    assert len(made) <= max(UNSUSPECTED_BYTES, 2 * len(coded)) + PART_BYTES


@given(st.lists(st.text(st.sampled_from("gzipbrdeflatxs,-; \t\0"), max_size=8), max_size=2))
def test_any_name_of_a_coding_is_read_or_refused(values: list[str]) -> None:
    found = find_coding(tuple(values))
    assert found is Reason.ANSWER_CODING_UNSUPPORTED or found in NAMES
    if len(values) == 1 and found in NAMES:
        assert found in values[0].lower()
