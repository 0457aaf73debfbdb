# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from proxy.model.decision import Reason
from proxy.model.request import Target
from proxy.request.target import MAX_TARGET_LENGTH, parse_target

ACCEPTED = {
    "the root has no segments": ("/", (), ""),
    "a plain path": ("/v1/jp/users/42", ("v1", "jp", "users", "42"), ""),
    "every unreserved character": ("/aZ09-._~", ("aZ09-._~",), ""),
    "sub-delimiters, colon and at sign, which every server reads alike": ("/!$&'()*+,=:@", ("!$&'()*+,=:@",), ""),
    "three dots are a name": ("/.../a", ("...", "a"), ""),
    "a dot at the front of a name": ("/.well-known", (".well-known",), ""),
    "letter case is kept": ("/V1/JP", ("V1", "JP"), ""),
    "row 4: the query has no part in the path": ("/v1/a?/v1/b/../c//", ("v1", "a"), "/v1/b/../c//"),
    "row 4: only the first question mark begins the query": ("/a??b?c", ("a",), "?b?c"),
    "a query may be percent-encoded": ("/a?q=%E6%97%A5&r=%2F%2e", ("a",), "q=%E6%97%A5&r=%2F%2e"),
    "a query may have square brackets": ("/a?ids[]=1", ("a",), "ids[]=1"),
    "as long as may be": ("/" + "a" * (MAX_TARGET_LENGTH - 1), ("a" * (MAX_TARGET_LENGTH - 1),), ""),
}

REFUSED = {
    "nothing": ("", Reason.TARGET_NOT_ORIGIN_FORM),
    "only a query": ("?a", Reason.TARGET_NOT_ORIGIN_FORM),
    "asterisk form": ("*", Reason.TARGET_NOT_ORIGIN_FORM),
    "authority form": ("users.internal:80", Reason.TARGET_NOT_ORIGIN_FORM),
    "row 2: absolute form, which names another host than Host": ("http://evil/v1/a", Reason.TARGET_NOT_ORIGIN_FORM),
    "row 6: absolute form with a scheme in upper case": ("HTTP://users.internal/a", Reason.TARGET_NOT_ORIGIN_FORM),
    "row 5: no leading slash (gRPC-Go CVE-2026-33186)": ("v1/jp/users/42", Reason.TARGET_NOT_ORIGIN_FORM),
    "a space before the slash": (" /a", Reason.TARGET_NOT_ORIGIN_FORM),
    "a backslash before the slash": ("\\/a", Reason.TARGET_NOT_ORIGIN_FORM),
    "row 3: a fragment behind the path": ("/v1/a#b", Reason.TARGET_HAS_FRAGMENT),
    "row 3: a fragment behind the query": ("/v1/a?b#c", Reason.TARGET_HAS_FRAGMENT),
    "row 3: an empty fragment": ("/v1/a#", Reason.TARGET_HAS_FRAGMENT),
    "row 3: a fragment hides a question mark": ("/v1/a#?b", Reason.TARGET_HAS_FRAGMENT),
    "row 1: an encoded slash": ("/v1/jp%2Fusers", Reason.TARGET_PERCENT_ENCODED),
    "row 1: an encoded slash in lower case": ("/v1/jp%2fusers", Reason.TARGET_PERCENT_ENCODED),
    "row 1: an encoded backslash": ("/v1/%5C..", Reason.TARGET_PERCENT_ENCODED),
    "row 1: an encoded NUL": ("/v1/a%00", Reason.TARGET_PERCENT_ENCODED),
    "row 1: an encoded letter": ("/v1/%6Ap/users", Reason.TARGET_PERCENT_ENCODED),
    "row 1: an encoded dot segment": ("/v1/%2e%2e/a", Reason.TARGET_PERCENT_ENCODED),
    "row 1: encoded twice": ("/v1/%252e%252e/a", Reason.TARGET_PERCENT_ENCODED),
    "row 1: encoded as IIS does": ("/v1/%u002e/a", Reason.TARGET_PERCENT_ENCODED),
    "row 1: an encoded question mark": ("/v1/a%3Fb", Reason.TARGET_PERCENT_ENCODED),
    "row 1: bytes that are no UTF-8": ("/v1/%ff", Reason.TARGET_PERCENT_ENCODED),
    "a stray percent sign": ("/v1/100%", Reason.TARGET_PERCENT_ENCODED),
    "row 1: an empty segment in the middle (OPA CVE-2026-26205)": ("/v1//users", Reason.TARGET_EMPTY_SEGMENT),
    "row 1: an empty segment in front, which reads as a host": ("//evil/a", Reason.TARGET_EMPTY_SEGMENT),
    "row 1: an empty segment at the end": ("/v1/users/", Reason.TARGET_EMPTY_SEGMENT),
    "row 1: an ending slash before a query": ("/v1/users/?a", Reason.TARGET_EMPTY_SEGMENT),
    "only slashes": ("//", Reason.TARGET_EMPTY_SEGMENT),
    "row 1: a parent in the middle": ("/v1/../admin", Reason.TARGET_DOT_SEGMENT),
    "row 1: a parent at the end": ("/v1/users/..", Reason.TARGET_DOT_SEGMENT),
    "row 1: a parent before a query": ("/v1/..?a", Reason.TARGET_DOT_SEGMENT),
    "row 1: this folder in the middle": ("/v1/./users", Reason.TARGET_DOT_SEGMENT),
    "row 1: this folder at the front": ("/.", Reason.TARGET_DOT_SEGMENT),
    "row 1: a matrix parameter (Keycloak CVE-2026-74909)": ("/v1/jp;x=1/users", Reason.TARGET_CHARACTER),
    "row 1: a parent with a matrix parameter": ("/v1/..;/admin", Reason.TARGET_CHARACTER),
    "row 1: a backslash for a slash": ("/v1\\users", Reason.TARGET_CHARACTER),
    "row 1: a backslash parent": ("/v1/..\\admin", Reason.TARGET_CHARACTER),
    "row 1: a byte that is no UTF-8": ("/v1/\udcff", Reason.TARGET_CHARACTER),
    "row 1: a letter outside ASCII": ("/v1/\u65e5", Reason.TARGET_CHARACTER),
    "a full-width digit": ("/v1/\uff14\uff12", Reason.TARGET_CHARACTER),
    "a full-width full stop, which NFKC makes a dot": ("/v1/\uff0e\uff0e/a", Reason.TARGET_CHARACTER),
    "a space": ("/v1/a b", Reason.TARGET_CHARACTER),
    "a line feed at the end, which `$` overlooks": ("/v1/a\n", Reason.TARGET_CHARACTER),
    "a carriage return": ("/v1/a\rb", Reason.TARGET_CHARACTER),
    "a NUL": ("/v1/a\x00", Reason.TARGET_CHARACTER),
    "a tab, which URL parsers delete": ("/v1/.\t./a", Reason.TARGET_CHARACTER),
    "a template of ours": ("/v1/{country}/users", Reason.TARGET_CHARACTER),
    "square brackets in a path": ("/v1/[a]", Reason.TARGET_CHARACTER),
    "a quote in a path": ('/v1/"a"', Reason.TARGET_CHARACTER),
    "a space in the query": ("/a?b c", Reason.QUERY_CHARACTER),
    "an encoded NUL in the query": ("/a?b=%00", Reason.QUERY_CHARACTER),
    "a stray percent sign in the query": ("/a?b=%", Reason.QUERY_CHARACTER),
    "half an octet in the query": ("/a?b=%4", Reason.QUERY_CHARACTER),
    "an octet as IIS writes it in the query": ("/a?b=%u0041", Reason.QUERY_CHARACTER),
    "full-width hexadecimal digits in the query": ("/a?b=%\uff14\uff11", Reason.QUERY_CHARACTER),
    "a backslash in the query": ("/a?b=\\", Reason.QUERY_CHARACTER),
    "a line feed at the end of the query": ("/a?b\n", Reason.QUERY_CHARACTER),
    "a letter outside ASCII in the query": ("/a?b=\u65e5", Reason.QUERY_CHARACTER),
    "one character too long": ("/" + "a" * MAX_TARGET_LENGTH, Reason.TARGET_TOO_LONG),
    "too long by its query": ("/?" + "a" * MAX_TARGET_LENGTH, Reason.TARGET_TOO_LONG),
}

PIECES = (*"/?#%.;\\ :@aZ0~[]", "//", "..", "%2F", "%2e", "%00", "a=b", "\u65e5", "\udcff", "\n", "\t")
NEAR_TARGETS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
TARGETS = st.one_of(
    st.text(max_size=40),
    NEAR_TARGETS,
    NEAR_TARGETS.map("/".__add__),
    st.from_regex(r"/[a-z0-9.~:@-]+(/[A-Z0-9._,-]+){0,3}(\?[a-z=&/?%41\[\].]+)?", fullmatch=True),
)


@pytest.mark.parametrize(("raw", "segments", "query"), ACCEPTED.values(), ids=ACCEPTED)
def test_parse_target_accepts_what_every_server_reads_alike(raw: str, segments: tuple[str, ...], query: str) -> None:
    target = parse_target(raw)

    assert target == Target(raw.partition("?")[0], segments, query)
    assert isinstance(target, Target)
    assert target.text == raw


@pytest.mark.parametrize(("raw", "reason"), REFUSED.values(), ids=REFUSED)
def test_parse_target_refuses_what_servers_read_differently(raw: str, reason: Reason) -> None:
    assert parse_target(raw) is reason


@pytest.mark.parametrize("raw", ["/?", "/v1/users?"], ids=["behind the root", "behind a path"])
def test_parse_target_never_drops_an_empty_query_in_silence(raw: str) -> None:
    target = parse_target(raw)

    assert isinstance(target, Reason) or target.text == raw


@given(TARGETS)
def test_an_accepted_target_is_forwarded_byte_for_byte(raw: str) -> None:
    target = parse_target(raw)
    if isinstance(target, Reason) or raw.endswith("?"):  # an empty query has its own test
        return

    assert target.text == raw
    assert parse_target(target.text) == target


@given(TARGETS)
def test_an_accepted_target_splits_as_it_was_matched(raw: str) -> None:
    target = parse_target(raw)
    if isinstance(target, Reason):
        return

    assert "/" + "/".join(target.segments) == target.path
    assert not {"", ".", ".."} & set(target.segments)
    assert target.path.isascii()
    assert not set(target.path) & set("%;\\?# \t\r\n\x00")


@given(TARGETS)
def test_the_http_client_sends_an_accepted_target_unchanged(raw: str) -> None:
    target = parse_target(raw)
    if isinstance(target, Reason):
        return

    url = URL("http://127.0.0.1:9000" + target.text, encoded=True)

    assert url.raw_path_qs == target.text
    assert (url.host, url.port) == ("127.0.0.1", 9000)
