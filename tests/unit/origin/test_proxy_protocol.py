# SPDX-License-Identifier: Apache-2.0
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.origin import LOCAL
from proxy.origin.proxy_protocol import V1_MAX, V2_MAX, V2_SIGNATURE, Header, Outcome, parse_header

MORE, MALFORMED = Outcome.NEED_MORE, Outcome.MALFORMED
REST = b"GET / HTTP/1.1\r\n"


def binary(command: int, kind: int, body: bytes, length: int | None = None) -> bytes:
    return V2_SIGNATURE + bytes([command, kind]) + (len(body) if length is None else length).to_bytes(2, "big") + body


def tcp4(source: str, tlvs: bytes = b"") -> bytes:
    body = IPv4Address(source).packed + IPv4Address("10.0.0.1").packed + b"\xdd\x26\x01\xbb" + tlvs
    return binary(0x21, 0x11, body)


def tcp6(source: str, tlvs: bytes = b"") -> bytes:
    body = IPv6Address(source).packed + IPv6Address("2001:db8::2").packed + b"\xdd\x26\x01\xbb" + tlvs
    return binary(0x21, 0x21, body)


def unix() -> bytes:
    return binary(0x21, 0x31, b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0"))


# The lines of section 2.1, and the longest of each family that it counts.
WHOLE: dict[str, tuple[bytes, str]] = {
    "the first example of 2.1": (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    "the example of 2.1 with TCP6, 104 characters": (
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    "an unknown connection, the short form": (b"PROXY UNKNOWN\r\n", ""),
    "an unknown connection, the longest line there is": (
        b"PROXY UNKNOWN " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n",
        "",
    ),
    "the example of a full request": (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1"),
    "IPv6, shortened": (b"PROXY TCP6 2001:db8::7 2001:db8::2 1 2\r\n", "2001:db8::7"),
    "IPv6 in upper case": (b"PROXY TCP6 2001:DB8::7 ::1 1 2\r\n", "2001:db8::7"),
    "row 11: IPv4 mapped into IPv6": (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "::ffff:c000:201"),
    "ports of zero": (b"PROXY TCP4 192.0.2.1 192.0.2.2 0 0\r\n", "192.0.2.1"),
    "version 2 over IPv4": (tcp4("192.0.2.1"), "192.0.2.1"),
    "version 2 over IPv6": (tcp6("2001:db8::7"), "2001:db8::7"),
    "version 2 with TLVs": (tcp4("192.0.2.1", b"\x02\x00\x0aexample.jp\x04\x00\x00"), "192.0.2.1"),
    "version 2 with a TLV that lies of its length": (tcp4("192.0.2.1", b"\x02\xff"), "192.0.2.1"),
    "version 2 with as many TLVs as are taken": (tcp4("192.0.2.1", bytes(V2_MAX - 12)), "192.0.2.1"),
    "a health check": (binary(0x20, 0x00, b""), LOCAL),
    "a health check with addresses, which are passed over": (binary(0x20, 0x11, bytes(12)), LOCAL),
    "a health check of a family nobody knows": (binary(0x20, 0xFF, b"abc"), LOCAL),
    "an unspecified family": (binary(0x21, 0x00, b""), ""),
    "an unspecified family with bytes": (binary(0x21, 0x00, bytes(20)), ""),
    "a Unix socket": (unix(), ""),
    "datagrams over IPv4": (binary(0x21, 0x12, bytes(12)), ""),
    "datagrams over IPv6": (binary(0x21, 0x22, bytes(36)), ""),
}  # fmt: skip

BAD: dict[str, bytes] = {
    "HTTP": REST,
    "TLS": b"\x16\x03\x01\x02\x00",
    "a word in lower case": b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "a family in lower case": b"PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
    "a family of later": b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
    "datagrams in version 1": b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
    "a space at the end": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
    "a tab": b"PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n",
    "a NUL": b"PROXY TCP4 192.0.2.1\x00 192.0.2.2 1 2\r\n",
    "no ports": b"PROXY TCP4 192.0.2.1 192.0.2.2\r\n",
    "one port": b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
    "no destination": b"PROXY TCP4 192.0.2.1 1 2\r\n",
    "a port that no machine has": b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
    "a port with a leading zero": b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
    "a port with a sign": b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
    "row 11: an octal octet": b"PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n",
    "row 11: one number": b"PROXY TCP4 3221225985 192.0.2.2 1 2\r\n",
    "row 11: a zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "row 11: IPv6 where IPv4 is announced": b"PROXY TCP4 ::1 ::2 1 2\r\n",
    "row 11: IPv4 where IPv6 is announced": b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
    "brackets": b"PROXY TCP6 [::1] [::2] 1 2\r\n",
    "a bad destination": b"PROXY TCP4 192.0.2.1 192.0.2.256 1 2\r\n",
    "a line feed alone": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
    "a carriage return alone": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rX",
    "an unknown connection with a NUL": b"PROXY UNKNOWN \x00\r\n",
    "an unknown connection that runs on": b"PROXY UNKNOWNX\r\n",
    "a line one byte too long": b"PROXY UNKNOWN " + b"x" * (V1_MAX - 15) + b"\r\n",
    "a line that never ends": b"PROXY UNKNOWN " + b"x" * V1_MAX,
    "a signature with one byte changed": b"\r\n\r\n\x00\r\nQUIT\r" + bytes(4),
    "version 1 in the binary form": binary(0x11, 0x11, bytes(12)),
    "version 3": binary(0x31, 0x11, bytes(12)),
    "a command of later": binary(0x22, 0x11, bytes(12)),
    "a family of later, in the binary form": binary(0x21, 0x41, bytes(12)),
    "a transport of later": binary(0x21, 0x13, bytes(12)),
    "an unspecified family with a transport": binary(0x21, 0x01, bytes(12)),
    "addresses cut short": binary(0x21, 0x11, bytes(11)),
    "IPv4 addresses where IPv6 is announced": binary(0x21, 0x21, bytes(12)),
    "a Unix socket cut short": binary(0x21, 0x31, bytes(215)),
    "more TLVs than are taken": binary(0x21, 0x11, b"", length=V2_MAX + 1),
    "the longest length there is": binary(0x20, 0x00, b"", length=65535),
}  # fmt: skip


@pytest.mark.parametrize(("data", "source"), WHOLE.values(), ids=WHOLE)
def test_a_header_says_its_source_and_where_it_ends(data: bytes, source: str) -> None:
    assert parse_header(data) == parse_header(data + REST) == Header(source, len(data))


@pytest.mark.parametrize("data", [data for data, _ in WHOLE.values()], ids=WHOLE)
def test_a_header_may_come_byte_by_byte(data: bytes) -> None:
    assert {parse_header(data[:length]) for length in range(len(data))} == {MORE}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    assert parse_header(data) is MALFORMED


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_is_no_header_is_never_one_on_the_way(data: bytes) -> None:
    found = [parse_header(data[:length]) for length in range(len(data) + 1)]

    assert not any(isinstance(each, Header) for each in found)
    assert found == sorted(found, key=lambda each: each is MALFORMED), "what was refused stays refused"


def test_nothing_at_all_is_not_yet_anything() -> None:
    assert parse_header(b"") is MORE


STARTS = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", V2_SIGNATURE, V2_SIGNATURE + b"\x21\x11"])


@given(STARTS, st.binary(max_size=150))
def test_the_reader_never_raises_and_never_reads_past_its_end(start: bytes, rest: bytes) -> None:
    found = parse_header(start + rest)

    if isinstance(found, Header):
        assert 0 < found.length <= len(start + rest)
        assert parse_header((start + rest)[: found.length]) == found
        assert found.source in {"", LOCAL} or str(ip_address(found.source)) == found.source


@given(STARTS, st.binary(max_size=150), st.integers(0, 150))
def test_how_a_header_is_cut_up_does_not_matter(start: bytes, rest: bytes, cut: int) -> None:
    data = start + rest
    early, late = parse_header(data[:cut]), parse_header(data)

    assert early is MORE or early == late


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 65535))
def test_what_is_written_is_read(
    source: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address, port: int
) -> None:
    if source.version != other.version:
        return
    line = f"PROXY TCP{source.version} {source} {other} {port} {port}\r\n".encode()
    packed = binary(0x21, 0x11 if source.version == 4 else 0x21, source.packed + other.packed + bytes(4))

    for data in (line, packed):
        found = parse_header(data)
        assert isinstance(found, Header)
        assert ip_address(found.source) == source
