# SPDX-License-Identifier: Apache-2.0
"""In which coding an answer is asked for, and in which the caller gets it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.redaction.accepting import choose_coding, fit_request, join_accept_encoding
from proxy.redaction.codings import CODINGS, IDENTITY

CHOSEN = {
    "what the API used, where the caller takes it": ("gzip", "gzip, br", "gzip"),
    "in any case": ("gzip", "GZIP", "gzip"),
    "by its old name": ("gzip", "x-gzip", "gzip"),
    "by a star": ("zstd", "*", "zstd"),
    "though the caller wants another one more": ("gzip", "gzip;q=0.1, br", "gzip"),
    "none, where the caller takes another": ("br", "gzip", IDENTITY),
    "none, where the caller says nothing": ("gzip", "", IDENTITY),
    "none, where the caller does not take it": ("gzip", "gzip;q=0, br", IDENTITY),
    "none, where a star excludes no coding but this": ("gzip", "*, gzip;q=0.000", IDENTITY),
    "none, where the API used none": (IDENTITY, "gzip, br", IDENTITY),
    "one the caller takes, where it takes no answer without": (IDENTITY, "gzip, identity;q=0", "gzip"),
    "the one it wants most": (IDENTITY, "gzip;q=0.5, br;q=0.8, *;q=0", "br"),
    "ours first, of two it wants alike": ("deflate", "gzip, zstd, deflate;q=0, identity;q=0", "zstd"),
    "none, where it takes none of ours": (IDENTITY, "compress, *;q=0", IDENTITY),
    "none, where it takes nothing at all": ("gzip", "*;q=0", IDENTITY),
    "identity named beside a star that excludes": ("gzip", "identity, *;q=0", IDENTITY),
    "none, where the weight is no weight": ("gzip", "gzip;q=2", IDENTITY),
    "none, where there is another parameter": ("gzip", "gzip;level=9", IDENTITY),
    "none, where elements are not parted": ("gzip", "gzip br", IDENTITY),
    "with blanks and empty elements": ("gzip", ", ,\tgzip ; q=1.000 ,", "gzip"),
}


@pytest.mark.parametrize(("used", "accepted", "expected"), CHOSEN.values(), ids=CHOSEN)
def test_the_caller_gets(used: str, accepted: str, expected: str) -> None:
    assert choose_coding(used, accepted) == expected


@given(st.sampled_from([*CODINGS, IDENTITY]), st.text())
def test_whatever_a_caller_says_there_is_a_coding(used: str, accepted: str) -> None:
    assert choose_coding(used, accepted) in {*CODINGS, IDENTITY}


ASKED = {
    "those that we read": ("gzip, deflate, br, zstd", "zstd, br, gzip, deflate"),
    "without those that we do not": ("compress, gzip, dcz", "gzip"),
    "the one the caller wants most first": ("gzip, br;q=0.5, zstd;q=0.7", "gzip, zstd, br"),
    "all of them, by a star": ("*", "zstd, br, gzip, deflate"),
    "but what it excludes": ("*, br;q=0", "zstd, gzip, deflate"),
    "none, if it says nothing": ("", "identity"),
    "none, if there is none of ours": ("compress", "identity"),
    "none, if it takes none": ("identity", "identity"),
    "none, if it makes no sense": ("gzip;q=x;;", "identity"),
}


@pytest.mark.parametrize(("accepted", "expected"), ASKED.values(), ids=ASKED)
def test_the_api_is_asked_for(accepted: str, expected: str) -> None:
    headers = (("accept-encoding", accepted),) if accepted else ()
    assert fit_request(headers, "GET") == (("Accept-Encoding", expected),)


def test_several_fields_of_a_caller_are_one() -> None:
    headers = (("Accept-Encoding", "gzip"), ("Accept", "*/*"), ("ACCEPT-ENCODING", "br;q=0.5"))
    assert join_accept_encoding(headers) == "gzip, br;q=0.5"
    assert fit_request(headers, "GET") == (("Accept", "*/*"), ("Accept-Encoding", "gzip, br"))


CONDITIONS = ("If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since")
PARTS = ("Range", "If-Range")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", [*CONDITIONS, *PARTS, "if_none_match", "IF.MODIFIED.SINCE", "if_range"])
def test_a_read_asks_for_no_part_and_no_comparison(method: str, name: str) -> None:
    assert fit_request(((name, "x"), ("Accept", "a/b")), method) == (("Accept", "a/b"), ("Accept-Encoding", "identity"))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST", "DELETE"])
def test_a_write_keeps_its_conditions_and_asks_for_no_part(method: str) -> None:
    fields = tuple((name, "x") for name in (*CONDITIONS, *PARTS))
    assert fit_request(fields, method)[:-1] == fields[: len(CONDITIONS)]


def test_an_alias_of_accept_encoding_asks_for_nothing() -> None:
    """A server behind CGI would read it, and it says what nobody checked."""
    assert fit_request((("Accept_Encoding", "compress"),), "GET") == (("Accept-Encoding", "identity"),)


def test_other_fields_go_on_in_their_order() -> None:
    fields = (("Accept", "application/json"), ("X-Tenant", "1"), ("accept-language", "ja"), ("X-Tenant", "2"))
    assert fit_request(fields, "GET")[:-1] == fields
