# SPDX-License-Identifier: Apache-2.0
"""Bodies are decoded whole or not at all, and never take much memory."""

import gzip
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random  # noqa: TID251 - incompressible bytes, the same each time
from typing import Final

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.decision import Reason
from proxy.model.filtering import AnswerRefusedError
from proxy.redaction.codings import (
    CODINGS,
    IDENTITY,
    PART_BYTES,
    UNSUSPECTED_BYTES,
    find_coding,
    make_decoder,
    make_encoder,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

RATIO: Final = 200
JSON: Final = b'{"id":"u-42","name":"\xe5\xb1\xb1\xe7\x94\xb0"},' * 40
NOISE: Final = Random(8).randbytes(300_000)  # noqa: S311 - no secret

ENCODE: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


def decode(coding: str, *parts: bytes, ratio: int = RATIO) -> bytes:
    """Decode a body that arrives in these parts."""
    decoder = make_decoder(coding, ratio)
    decoded = [piece for part in parts for piece in decoder.feed(part)]
    decoder.end()
    return b"".join(decoded)


def find_reason(coding: str, *parts: bytes, ratio: int = RATIO) -> Reason | None:
    try:
        decode(coding, *parts, ratio=ratio)
    except AnswerRefusedError as error:
        return error.reason
    return None


def split(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return (data[start:end] for start, end in pairwise(places))


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(
    "body", [b"", b"{}", JSON, NOISE, JSON * 500], ids=["empty", "small", "text", "noise", "large"]
)
def test_what_others_encode_is_decoded(coding: str, body: bytes) -> None:
    assert decode(coding, ENCODE[coding](body)) == body


@pytest.mark.parametrize("coding", CODINGS)
def test_byte_by_byte_it_is_the_same(coding: str) -> None:
    coded = ENCODE[coding](JSON)
    assert decode(coding, *(coded[at : at + 1] for at in range(len(coded)))) == JSON


@given(st.sampled_from([*CODINGS, IDENTITY]), st.binary(max_size=2000), st.lists(st.integers(0, 5000)), st.booleans())
def test_what_is_encoded_in_any_parts_is_decoded_in_any_parts(
    coding: str,
    body: bytes,
    cuts: list[int],
    flushes: bool,  # noqa: FBT001
) -> None:
    encoder = make_encoder(coding, flushes=flushes)
    coded = b"".join([*(encoder.encode(part) for part in split(body, cuts)), encoder.end()])
    assert decode(coding, *split(coded, cuts[::-1])) == body


@pytest.mark.parametrize("coding", CODINGS)
def test_others_decode_what_is_encoded(coding: str) -> None:
    encoder = make_encoder(coding, flushes=False)
    coded = encoder.encode(JSON) + encoder.encode(NOISE) + encoder.end()
    decoders = {"gzip": gzip.decompress, "deflate": zlib.decompress, "br": brotli.decompress, "zstd": zstd.decompress}
    assert decoders[coding](coded) == JSON + NOISE


@pytest.mark.parametrize("coding", [*CODINGS, IDENTITY])
def test_a_reader_who_waits_gets_each_part(coding: str) -> None:
    encoder, decoder = make_encoder(coding, flushes=True), make_decoder(coding, RATIO)
    for event in (b"data: 1\n\n", b"data: 22\n\n", b"", JSON):
        assert b"".join(decoder.feed(encoder.encode(event))) == event


@pytest.mark.parametrize("coding", CODINGS)
def test_nothing_is_written_for_nothing(coding: str) -> None:
    encoder = make_encoder(coding, flushes=True)
    assert encoder.encode(b"") == b""
    assert decode(coding, encoder.end()) == b""


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("body", [JSON, NOISE], ids=["text", "noise"])
def test_a_body_that_lacks_its_end_is_broken(coding: str, body: bytes) -> None:
    coded = ENCODE[coding](body)
    for length in {0, 1, 2, 5, 10, len(coded) // 2, len(coded) - 8, len(coded) - 1}:
        assert find_reason(coding, coded[:length]) is Reason.ANSWER_CODING_BROKEN, length


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("more", [b"\n", b"\0" * 8, b"GARBAGE", JSON], ids=["newline", "zeros", "letters", "json"])
def test_a_body_with_something_behind_its_end_is_broken(coding: str, more: bytes) -> None:
    coded = ENCODE[coding](JSON)
    assert find_reason(coding, coded + more) is Reason.ANSWER_CODING_BROKEN
    assert find_reason(coding, coded, more) is Reason.ANSWER_CODING_BROKEN


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("other", [*CODINGS, IDENTITY])
def test_a_body_that_is_not_coded_as_it_says_is_broken(coding: str, other: str) -> None:
    if coding != other:
        assert find_reason(coding, JSON if other == IDENTITY else ENCODE[other](JSON)) is Reason.ANSWER_CODING_BROKEN


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_a_body_that_was_altered_is_broken(coding: str) -> None:
    """Brotli has no check sum (RFC 7932): there the filter has the last word."""
    options: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
    coded = bytearray(zstd.compress(NOISE, options=options) if coding == "zstd" else ENCODE[coding](NOISE))
    coded[len(coded) // 2] ^= 1
    assert find_reason(coding, bytes(coded)) is Reason.ANSWER_CODING_BROKEN


def test_raw_deflate_is_not_deflate() -> None:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    assert find_reason("deflate", stream.compress(JSON) + stream.flush()) is Reason.ANSWER_CODING_BROKEN


def test_a_dictionary_that_nobody_has_is_broken() -> None:
    stream = zlib.compressobj(zdict=b'{"id":"u-')
    assert find_reason("deflate", stream.compress(JSON) + stream.flush()) is Reason.ANSWER_CODING_BROKEN


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_one_after_the_other_are_one_body(coding: str) -> None:
    encode = ENCODE[coding]
    coded = encode(JSON) + encode(b"") + encode(NOISE)
    assert decode(coding, coded) == JSON + NOISE
    assert decode(coding, *(coded[at : at + 7] for at in range(0, len(coded), 7))) == JSON + NOISE
    assert find_reason(coding, coded + encode(JSON)[:-3]) is Reason.ANSWER_CODING_BROKEN


@pytest.mark.parametrize("coding", ["br", "deflate"])
def test_other_codings_have_no_members(coding: str) -> None:
    assert find_reason(coding, ENCODE[coding](JSON) * 2) is Reason.ANSWER_CODING_BROKEN


def test_a_frame_of_zstd_that_holds_nothing_is_skipped() -> None:
    skipped = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    assert decode("zstd", skipped + zstd.compress(JSON) + skipped) == JSON


def test_a_frame_of_zstd_of_another_size_than_it_says_is_broken_in_any_parts() -> None:
    coded = bytearray(zstd.compress(b""))
    coded[5] = 1  # Frame_Content_Size (RFC 8878 3.1.1.1.4), of one byte here
    for cut in range(len(coded)):
        assert find_reason("zstd", bytes(coded[:cut]), bytes(coded[cut:])) is Reason.ANSWER_CODING_BROKEN


WINDOWS = {"8 MiB are a window": (23, None), "16 MiB are too much": (24, Reason.ANSWER_CODING_BROKEN)}


@pytest.mark.parametrize(("log", "expected"), WINDOWS.values(), ids=WINDOWS)
def test_windows_of_zstd_are_bounded(log: int, expected: Reason | None) -> None:
    stream = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
    assert find_reason("zstd", stream.compress(JSON) + stream.flush()) is expected


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_ends_early_and_takes_little_memory(coding: str) -> None:
    bomb = ENCODE[coding](bytes(64 * 1024 * 1024))
    parts = make_decoder(coding, RATIO).feed(bomb)
    lengths: list[int] = []
    tracemalloc.start()
    try:
        with pytest.raises(AnswerRefusedError) as refused:
            lengths.extend(map(len, parts))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.reason is Reason.ANSWER_EXPANDS_TOO_MUCH
    assert max(lengths) <= PART_BYTES
    assert sum(lengths) <= max(UNSUSPECTED_BYTES, RATIO * len(bomb))
    assert peak < 4 * 1024 * 1024


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_small_may_expand_as_it_likes(coding: str) -> None:
    body = bytes(UNSUSPECTED_BYTES)
    assert decode(coding, ENCODE[coding](body)) == body
    assert find_reason(coding, ENCODE[coding](body + b"\0")) is Reason.ANSWER_EXPANDS_TOO_MUCH


def test_the_ratio_is_a_setting() -> None:
    body = JSON * 2000
    coded = gzip.compress(body)
    ratio = len(body) // len(coded)
    assert find_reason("gzip", coded, ratio=ratio + 1) is None
    assert find_reason("gzip", coded, ratio=ratio // 2) is Reason.ANSWER_EXPANDS_TOO_MUCH


@pytest.mark.parametrize("coding", CODINGS)
def test_no_part_is_larger_than_is_said(coding: str) -> None:
    coded = ENCODE[coding](NOISE + JSON * 3000)
    assert max(map(len, make_decoder(coding, RATIO).feed(coded))) <= PART_BYTES


def test_many_empty_members_are_read_in_linear_time() -> None:
    """Each is a decoder of its own: what was not read yet is not copied for every one."""
    assert decode("gzip", gzip.compress(b"") * 5_000) == b""


@given(st.sampled_from(CODINGS), st.binary(max_size=400), st.lists(st.integers(0, 400)))
def test_any_bytes_are_decoded_or_broken(coding: str, data: bytes, cuts: list[int]) -> None:
    whole = find_reason(coding, data)
    assert whole in {None, Reason.ANSWER_CODING_BROKEN}
    assert find_reason(coding, *split(data, cuts)) is whole


@given(st.sampled_from(CODINGS), st.integers(0), st.integers(0, 255), st.lists(st.integers(0, 400)))
def test_any_altered_byte_is_told_alike_in_any_parts(coding: str, place: int, byte: int, cuts: list[int]) -> None:
    coded = bytearray(ENCODE[coding](JSON))
    coded[place % len(coded)] = byte
    assert find_reason(coding, *split(bytes(coded), cuts)) is find_reason(coding, bytes(coded))


NAMED = {
    "none": ((), IDENTITY),
    "identity, which should not be written": (("identity",), IDENTITY),
    "gzip": (("gzip",), "gzip"),
    "its old name": (("x-gzip",), "gzip"),
    "in any case, with blanks": ((" GZip\t",), "gzip"),
    "deflate": (("deflate",), "deflate"),
    "brotli": (("br",), "br"),
    "zstd": (("zstd",), "zstd"),
    "one that nobody uses any more": (("compress",), Reason.ANSWER_CODING_UNSUPPORTED),
    "an unknown one": (("dcb",), Reason.ANSWER_CODING_UNSUPPORTED),
    "an empty name": (("",), Reason.ANSWER_CODING_UNSUPPORTED),
    "two, one upon the other": (("gzip, br",), Reason.ANSWER_CODING_UNSUPPORTED),
    "two in two fields": (("gzip", "br"), Reason.ANSWER_CODING_UNSUPPORTED),
    "the same in two fields": (("gzip", "gzip"), Reason.ANSWER_CODING_UNSUPPORTED),
    "one and identity": (("gzip, identity",), Reason.ANSWER_CODING_UNSUPPORTED),
    "a name with a parameter": (("gzip;q=1",), Reason.ANSWER_CODING_UNSUPPORTED),
    "a letter that only looks like one": (("g\u0131zip",), Reason.ANSWER_CODING_UNSUPPORTED),
}


@pytest.mark.parametrize(("values", "expected"), NAMED.values(), ids=NAMED)
def test_the_coding_that_is_named(values: tuple[str, ...], expected: str | Reason) -> None:
    assert find_coding(values) == expected
