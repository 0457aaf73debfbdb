# SPDX-License-Identifier: Apache-2.0
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.origin.rfc7239 import MAX_ELEMENTS, MAX_LINE, parse_forwarded, parse_node

LINES: dict[str, tuple[str, list[dict[str, str]] | None]] = {
    "4: an obfuscated identifier": ('for="_gazonk"', [{"for": "_gazonk"}]),
    "4: a name in mixed case, an address in brackets with a port": (
        'For="[2001:db8:cafe::17]:4711"', [{"for": "[2001:db8:cafe::17]:4711"}]),
    "4: three parameters": (
        "for=192.0.2.60;proto=http;by=203.0.113.43", [{"for": "192.0.2.60", "proto": "http", "by": "203.0.113.43"}]),
    "4: two elements": ("for=192.0.2.43, for=198.51.100.17", [{"for": "192.0.2.43"}, {"for": "198.51.100.17"}]),
    "7.1: of three kinds": (
        'for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown',
        [{"for": "192.0.2.43"}, {"for": "[2001:db8:cafe::17]"}, {"for": "unknown"}]),
    "7.4: an element without `for`": ("by=203.0.113.43", [{"by": "203.0.113.43"}]),
    "white space round the line": ("\t for=_a ", [{"for": "_a"}]),
    "white space round a comma": ("for=_a \t, \tfor=_b", [{"for": "_a"}, {"for": "_b"}]),
    "a comma inside quotes": ('for="_a, for=192.0.2.1"', [{"for": "_a, for=192.0.2.1"}]),
    "a semicolon inside quotes": ('for="_a;by=_b"', [{"for": "_a;by=_b"}]),
    "an escaped quote": (r'for="_a\",for=192.0.2.1"', [{"for": '_a",for=192.0.2.1'}]),
    "an escaped backslash": (r'for="_a\\"', [{"for": "_a\\"}]),
    "empty quotes": ('for=""', [{"for": ""}]),
    "a parameter of later": ("for=_a;x-y=1", [{"for": "_a", "x-y": "1"}]),
    "as many elements as are looked at": (
        ",".join(["for=_a"] * MAX_ELEMENTS), [{"for": "_a"}] * MAX_ELEMENTS),
    "nothing": ("", None),
    "white space alone": (" \t", None),
    "a comma alone": (",", None),
    "an empty element at the right end": ("for=_a,", None),
    "an empty element at the left end": (",for=_a", None),
    "an empty element between": ("for=_a,,for=_b", None),
    "a semicolon at the end": ("for=_a;", None),
    "a semicolon at the beginning": (";for=_a", None),
    "two semicolons": ("for=_a;;by=_b", None),
    "white space round a semicolon": ("for=_a; by=_b", None),
    "white space round the equals sign": ("for = _a", None),
    "an address without `for`": ("192.0.2.1", None),
    "a name without a value": ("for=", None),
    "a value without a name": ("=192.0.2.1", None),
    "`for` twice": ("for=_a;for=_b", None),
    "`for` twice, in mixed case": ("for=_a;FOR=_b", None),
    "another parameter twice": ("for=_a;by=_b;by=_c", None),
    "IPv6 without quotes": ("for=[2001:db8::1]", None),
    "a port without quotes": ("for=192.0.2.1:80", None),
    "quotes that do not close": ('for="192.0.2.1', None),
    "quotes that do not open": ('for=192.0.2.1"', None),
    "quotes in the middle": ('for=192."0.2".1', None),
    "words behind the quotes": ('for="_a"b', None),
    "row 10: a client's open quote before a proxy's element": ('for="_a, for=192.0.2.1', None),
    "row 10: a client's open quote before a proxy's quotes": ('for="_a, for="[2001:db8::1]"', None),
    "row 10: a client's backslash before a proxy's quotes": ('for="_a\\, for="[2001:db8::1]"', None),
    "an escape at the end": ('for="_a\\', None),
    "single quotes with a comma": ("for='a, b'", None),
    "a NUL": ("for=\x00", None),
    "a NUL inside quotes": ('for="\x00"', None),
    "an escaped NUL": ('for="\\\x00"', None),
    "a line feed": ("for=_a\nfor=_b", None),
    "a line feed behind": ("for=_a\n", None),
    "a no-break space": ("for=_a,\u00a0for=_b", None),
    "full-width letters": ("\uff46or=_a", None),
    "one element too many": (",".join(["for=_a"] * (MAX_ELEMENTS + 2)), None),
    "a line that is too long": ("for=" + "a" * MAX_LINE, None),
}  # fmt: skip

NODES: dict[str, tuple[str, str | None]] = {
    "IPv4": ("192.0.2.43", "192.0.2.43"),
    "IPv4 with a port": ("192.0.2.43:47011", "192.0.2.43"),
    "IPv4 with an obfuscated port": ("192.0.2.43:_p", "192.0.2.43"),
    "IPv6": ("[2001:db8:cafe::17]", "2001:db8:cafe::17"),
    "IPv6 with a port": ("[2001:db8:cafe::17]:47011", "2001:db8:cafe::17"),
    "row 11: mapped": ("[::ffff:192.0.2.1]", "::ffff:192.0.2.1"),
    "unknown": ("unknown", None),
    "unknown with a port": ("unknown:80", None),
    "obfuscated": ("_hidden", None),
    "obfuscated like an address": ("_192.0.2.1", None),
    "IPv6 without brackets": ("2001:db8::1", None),
    "IPv4 in brackets": ("[192.0.2.1]", None),
    "row 11: a zone": ("[fe80::1%eth0]", None),
    "row 11: one number": ("3221225985", "3221225985"),
    "row 11: full-width digits": ("\uff11\uff19\uff12.0.2.1", None),
    "a port that no machine has": ("192.0.2.1:65536", None),
    "a port that is no number": ("192.0.2.1:http", None),
    "a colon without a port": ("192.0.2.1:", None),
    "a bracket that does not close": ("[2001:db8::1", None),
    "white space": (" 192.0.2.1", None),
    "a line feed": ("192.0.2.1\n", None),
    "a NUL": ("192.0.2.1\x00", None),
    "a name": ("localhost", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize(("line", "elements"), LINES.values(), ids=LINES)
def test_a_line_is_its_elements_or_nothing(line: str, elements: list[dict[str, str]] | None) -> None:
    assert parse_forwarded(line) == elements


@pytest.mark.parametrize(("text", "address"), NODES.values(), ids=NODES)
def test_a_node_is_an_address_or_nothing(text: str, address: str | None) -> None:
    assert parse_node(text) == address


def render(elements: Sequence[Mapping[str, str]]) -> str:
    return ", ".join(";".join(f"{name}={_render_value(value)}" for name, value in each.items()) for each in elements)


def _render_value(value: str) -> str:
    if re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", value):
        return value
    escaped = re.sub(r'(["\\])', r"\\\1", value)
    return f'"{escaped}"'


NAMES = st.from_regex(r"[a-z0-9!#$%&'*+.^_`|~-]{1,8}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
ELEMENTS = st.lists(st.dictionaries(NAMES, VALUES, min_size=1, max_size=3), min_size=1, max_size=4)


@given(ELEMENTS)
def test_what_is_written_is_read(elements: list[dict[str, str]]) -> None:
    assert parse_forwarded(render(elements)) == elements


@given(st.one_of(st.text(max_size=60), st.text('for=_a1.,;:"\\[] \t', max_size=60)))
def test_the_reader_never_raises_and_what_it_reads_is_stable(line: str) -> None:
    elements: Any = parse_forwarded(line)

    if elements is not None:
        assert parse_forwarded(render(elements)) == elements


@given(st.text('for=_a1.,;:"\\[] \t', max_size=30), st.text(max_size=30))
def test_whatever_a_client_begins_cannot_hide_what_a_proxy_appends(begun: str, more: str) -> None:
    for left in (begun, more):
        elements = parse_forwarded(f'{left}, for="192.0.2.1:80";by=_edge')
        assert elements is None or elements[-1]["for"] == "192.0.2.1:80"


@given(st.text(max_size=40))
def test_a_node_never_raises(text: str) -> None:
    assert parse_node(text) is None or text
