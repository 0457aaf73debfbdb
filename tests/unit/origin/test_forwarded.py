# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.facts import UNKNOWN
from proxy.model.origin import LOCAL, ClientAddress
from proxy.origin.forwarded import MAX_HOPS, Address, find_client, parse_address

TRUSTED_BLOCKS = (ip_network("10.1.0.0/24"), ip_network("2001:db8:ffff::/64"))


def is_trusted(address: Address) -> bool:
    return any(address in block for block in TRUSTED_BLOCKS)


ADDRESSES: dict[str, tuple[str, str | None]] = {
    "IPv4": ("192.0.2.1", "192.0.2.1"),
    "IPv6 in upper case": ("2001:DB8::1", "2001:db8::1"),
    "IPv6 written out": ("2001:0db8:0:0:0:0:0:1", "2001:db8::1"),
    "row 11: IPv4 mapped into IPv6 is IPv4 (Traefik GHSA-7jmw-8259-q9jx)": ("::ffff:192.0.2.1", "192.0.2.1"),
    "row 11: mapped, in hexadecimal": ("::ffff:c000:201", "192.0.2.1"),
    "row 11: mapped, written out": ("0:0:0:0:0:FFFF:C000:0201", "192.0.2.1"),
    "row 11: IPv4-compatible is another address": ("::192.0.2.1", "::c000:201"),
    "row 11: a zone": ("fe80::1%eth0", None),
    "row 11: a zone on a mapped address": ("::ffff:192.0.2.1%1", None),
    "row 11: an octal octet": ("192.0.02.1", None),
    "row 11: one number": ("3221225985", None),
    "row 11: hexadecimal": ("0xc0.0.2.1", None),
    "row 11: three parts, which inet_aton takes": ("192.0.513", None),
    "row 11: full-width digits": ("\uff11\uff19\uff12.0.2.1", None),
    "an octet too large": ("192.0.2.256", None),
    "a prefix": ("192.0.2.0/24", None),
    "a space": ("192.0.2.1 ", None),
    "a line feed": ("192.0.2.1\n", None),
    "a NUL": ("192.0.2.1\x00", None),
    "quotes": ('"192.0.2.1"', None),
    "brackets": ("[2001:db8::1]", None),
    "a port": ("192.0.2.1:80", None),
    "a name": ("localhost", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize(("text", "canonical"), ADDRESSES.values(), ids=ADDRESSES)
def test_parse_address(text: str, canonical: str | None) -> None:
    address = parse_address(text)

    assert (str(address) if address else None) == canonical


# The grid: every form of peer against every form of chain.

TRUSTED = {
    "a trusted IPv4 peer": "10.1.0.5",
    "a trusted peer, mapped into IPv6 by a dual-stack socket": "::ffff:10.1.0.5",
    "a trusted IPv6 peer": "2001:db8:ffff::5",
}
UNTRUSTED = {
    "an untrusted IPv4 peer": "198.51.100.7",
    "an untrusted peer, mapped into IPv6 by a dual-stack socket": "::ffff:198.51.100.7",
    "a peer one address outside the trusted block": "10.1.1.0",
    "an IPv6 peer that ends like a trusted one": "::10.1.0.5",
    "a peer on this machine that nobody declared": "127.0.0.1",
}
NO_PEERS = {
    "a peer with a zone": "fe80::1%eth0",
    "a Unix socket": "",
    "a peer that is a name": "proxy.internal",
    "a trusted peer with a port": "10.1.0.5:80",
}

# What a trusted peer hands over, and the client that it names; None is unknown.
CHAINS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "no field": ((), None),
    "an empty field": (("",), None),
    "only commas": ((", ,",), None),
    "one client": (("192.0.2.1",), "192.0.2.1"),
    "one IPv6 client": (("2001:DB8::1",), "2001:db8::1"),
    "white space round it": ((" \t192.0.2.1\t ",), "192.0.2.1"),
    "row 10: the client wrote a chain of its own, further left": (("203.0.113.9, 192.0.2.1",), "192.0.2.1"),
    "row 10: the client claims to be a trusted proxy": (("10.1.0.9, 192.0.2.1",), "192.0.2.1"),
    "row 10: the client claims to be this machine": (("127.0.0.1, 192.0.2.1",), "192.0.2.1"),
    "row 10: rubbish to the left is never looked at": (("%s, <script>, ,, 192.0.2.1",), "192.0.2.1"),
    "row 10: a client behind two trusted proxies": (("203.0.113.9, 192.0.2.1, 10.1.0.9",), "192.0.2.1"),
    "row 10: a trusted proxy of the other family": (("192.0.2.1, 2001:db8:ffff::9",), "192.0.2.1"),
    "row 10: a trusted proxy, mapped": (("192.0.2.1, ::ffff:10.1.0.9",), "192.0.2.1"),
    "row 10: trusted, untrusted, trusted": (("10.1.0.8, 192.0.2.1, 10.1.0.9",), "192.0.2.1"),
    "row 10: a private client is a client": (("203.0.113.9, 10.86.0.4",), "10.86.0.4"),
    "row 9: the last of two fields is nearer": (("203.0.113.9", "192.0.2.1"), "192.0.2.1"),
    "row 9: two fields with a proxy in the second": (("203.0.113.9, 192.0.2.1", "10.1.0.9"), "192.0.2.1"),
    "row 9: an empty second field": (("192.0.2.1", ""), None),
    "only trusted proxies": (("10.1.0.8, 10.1.0.9",), None),
    "row 11: a mapped client is IPv4": (("::ffff:192.0.2.1",), "192.0.2.1"),
    "row 11: a mapped client with brackets and port": (("[::ffff:192.0.2.1]:80",), "192.0.2.1"),
    "row 11: a zone": (("fe80::1%eth0",), None),
    "row 11: a zone in brackets": (("[fe80::1%eth0]",), None),
    "row 11: an octal octet": (("192.0.02.1",), None),
    "row 11: one number": (("3221225985",), None),
    "a port behind IPv4": (("192.0.2.1:4711",), "192.0.2.1"),
    "a port behind IPv6": (("[2001:db8::1]:4711",), "2001:db8::1"),
    "brackets without a port": (("[2001:db8::1]",), "2001:db8::1"),
    "a port behind a trusted proxy": (("192.0.2.1, 10.1.0.9:80",), "192.0.2.1"),
    "a colon without a port": (("192.0.2.1:",), None),
    "a bracket that does not close": (("[2001:db8::1",), None),
    "a bracket that only closes": (("2001:db8::1]:80",), None),
    "words behind brackets": (("[2001:db8::1]x:80",), None),
    "a port that is no number": (("192.0.2.1:http",), None),
    "a port in superscript": (("192.0.2.1:\u00b2",), None),
    "a port in full-width digits": (("192.0.2.1:\uff18\uff10",), None),
    "a superscript port behind brackets": (("[2001:db8::1]:\u00b2",), None),
    "a port that no machine has": (("192.0.2.1:99999",), None),
    "two ports": (("192.0.2.1:1:2",), None),
    "quotes": (('"192.0.2.1"',), None),
    "quotes with a comma inside": (('"10.1.0.9, 192.0.2.1"',), None),
    "the words of RFC 7239": (("for=192.0.2.1",), None),
    "unknown, as Squid writes": (("192.0.2.1, unknown",), None),
    "an obfuscated name": (("192.0.2.1, _hidden",), None),
    "an empty element at the right end": (("192.0.2.1,",), None),
    "an empty element between": (("192.0.2.1, , 10.1.0.9",), None),
    "semicolons for commas": (("203.0.113.9; 192.0.2.1",), None),
    "a space for a comma": (("203.0.113.9 192.0.2.1",), None),
    "a no-break space round it": (("\u00a0192.0.2.1",), None),
    "a prefix": (("192.0.2.0/24",), None),
    "a name": (("localhost",), None),
    "as many trusted proxies as are looked at": ((", ".join(["192.0.2.1", *["10.1.0.9"] * MAX_HOPS]),), None),
    "one fewer": ((", ".join(["192.0.2.1", *["10.1.0.9"] * (MAX_HOPS - 1)]),), "192.0.2.1"),
    "a very long chain of clients": ((", ".join(["203.0.113.9"] * 50_000 + ["192.0.2.1"]),), "192.0.2.1"),
    "a very long chain of nothing": (("," * 200_000,), None),
    "very many fields": (("192.0.2.1",) * 10_000, "192.0.2.1"),
}


@pytest.mark.parametrize(
    ("peer", "chain"),
    list(product(TRUSTED.values(), CHAINS.values())),
    ids=[f"{peer} - {chain}" for peer, chain in product(TRUSTED, CHAINS)],
)
def test_a_trusted_peers_chain_is_walked_from_the_right(peer: str, chain: tuple[tuple[str, ...], str | None]) -> None:
    fields, expected = chain

    assert find_client(peer, fields, is_trusted) == (UNKNOWN if expected is None else ip_address(expected))


@pytest.mark.parametrize(
    ("peer", "fields"),
    list(product(UNTRUSTED.values(), [fields for fields, _ in CHAINS.values()])),
    ids=[f"{peer} - {chain}" for peer, chain in product(UNTRUSTED, CHAINS)],
)
def test_row_10_an_untrusted_peer_is_the_client_whatever_it_writes(peer: str, fields: tuple[str, ...]) -> None:
    assert find_client(peer, fields, is_trusted) == parse_address(peer)


@pytest.mark.parametrize("peer", NO_PEERS.values(), ids=NO_PEERS)
@pytest.mark.parametrize("fields", [(), ("192.0.2.1",), ("10.1.0.9",)], ids=["no field", "a client", "a proxy"])
def test_a_peer_that_is_no_address_is_unknown_whatever_it_writes(peer: str, fields: tuple[str, ...]) -> None:
    assert find_client(peer, fields, is_trusted) is UNKNOWN


PROXIES = st.sampled_from(["10.1.0.5", "10.1.0.9", "::ffff:10.1.0.9", "2001:db8:ffff::1", "10.1.0.9:80", "[10.1.0.9]"])
CLIENTS = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(["192.0.2.1", "::ffff:192.0.2.1", "10.1.1.0", "127.0.0.1", "[2001:db8::1]:80", "192.0.2.1:80"]),
)
RUBBISH = st.one_of(st.text(max_size=8), st.sampled_from(["", "unknown", '"192.0.2.1"', "fe80::1%1", "[", "1.2.3.4:"]))
HOPS = st.one_of(PROXIES, CLIENTS, RUBBISH)
PEERS = st.one_of(PROXIES, CLIENTS, RUBBISH)


@given(PEERS, st.lists(HOPS, max_size=8))
def test_find_client_never_returns_a_trusted_proxy_and_never_raises(peer: str, fields: Sequence[str]) -> None:
    client = find_client(peer, fields, is_trusted)

    assert client is UNKNOWN or (isinstance(client, (IPv4Address, IPv6Address)) and not is_trusted(client))


@given(st.lists(HOPS, max_size=6), CLIENTS, st.lists(PROXIES, max_size=6))
def test_nothing_left_of_the_first_untrusted_hop_is_looked_at(left: list[str], client: str, right: list[str]) -> None:
    alone = find_client("10.1.0.5", [", ".join([client, *right])], is_trusted)
    if alone is UNKNOWN:  # the client drawn is a trusted proxy
        return

    assert find_client("10.1.0.5", [", ".join([*left, client, *right])], is_trusted) == alone
    assert find_client("10.1.0.5", [*left, client, *right], is_trusted) == alone


@given(st.lists(HOPS, max_size=6), RUBBISH.filter(lambda text: "," not in text), st.lists(PROXIES, max_size=6))
def test_a_hop_that_is_no_address_ends_the_walk(left: list[str], rubbish: str, right: list[str]) -> None:
    if parse_address(rubbish.strip(" \t")) is not None:
        return

    assert find_client("10.1.0.5", [",".join([*left, rubbish, *right])], is_trusted) is UNKNOWN


@given(PEERS, st.lists(HOPS, min_size=1, max_size=8))
def test_how_hops_are_spread_over_fields_does_not_matter(peer: str, hops: list[str]) -> None:
    assert find_client(peer, hops, is_trusted) == find_client(peer, [",".join(hops)], is_trusted)


@given(st.one_of(st.text(max_size=20), st.ip_addresses().map(str)))
def test_a_canonical_address_is_canonical(text: str) -> None:
    address = parse_address(text)
    if address is None:
        return

    assert parse_address(str(address)) == address
    assert isinstance(address, IPv4Address) or (address.ipv4_mapped is None and address.scope_id is None)


# The other places where a trusted proxy may say whose request it passes on.

FORWARDED: dict[str, tuple[tuple[str, ...], str | None]] = {
    "no field": ((), None),
    "an empty field": (("",), None),
    "one client": (("for=192.0.2.1",), "192.0.2.1"),
    "one client among other parameters, in mixed case": (("By=_edge;FOR=192.0.2.1;proto=https",), "192.0.2.1"),
    "an IPv6 client with a port": (('for="[2001:DB8::1]:4711"',), "2001:db8::1"),
    "an IPv4 client with a port": (('for="192.0.2.1:4711"',), "192.0.2.1"),
    "row 11: a mapped client is IPv4": (('for="[::ffff:192.0.2.1]"',), "192.0.2.1"),
    "row 11: a mapped trusted proxy": (('for=192.0.2.1, for="[::ffff:10.1.0.9]"',), "192.0.2.1"),
    "row 11: a zone": (('for="[fe80::1%eth0]"',), None),
    "row 11: an octal octet": (("for=192.0.02.1",), None),
    "row 10: the client wrote an element of its own, further left": (("for=203.0.113.9, for=192.0.2.1",), "192.0.2.1"),
    "row 10: the client claims to be a trusted proxy": (("for=10.1.0.9, for=192.0.2.1",), "192.0.2.1"),
    "row 10: a client behind two trusted proxies": (("for=203.0.113.9,for=192.0.2.1,for=10.1.0.9",), "192.0.2.1"),
    "row 10: the client's quotes do not close": (('for="203.0.113.9, for=192.0.2.1',), None),
    "row 10: the client's quotes do not close, in a line of its own": (('for="x', "for=192.0.2.1"), "192.0.2.1"),
    "row 10: a client's `for` beside the proxy's": (("for=203.0.113.9;for=192.0.2.1",), None),
    "row 9: the last of two fields is nearer": (("for=203.0.113.9", "for=192.0.2.1"), "192.0.2.1"),
    "row 9: two fields with a proxy in the second": (("for=203.0.113.9, for=192.0.2.1", "for=10.1.0.9"), "192.0.2.1"),
    "row 9: a malformed second field": (("for=192.0.2.1", "for"), None),
    "an obfuscated client": (("for=_hidden",), None),
    "an obfuscated proxy before a client": (("for=192.0.2.1, for=_hidden",), None),
    "an unknown client": (("for=unknown",), None),
    "an element that does not say for whom": (("for=192.0.2.1, by=10.1.0.9",), None),
    "an empty element at the right end": (("for=192.0.2.1,",), None),
    "what X-Forwarded-For would say": (("192.0.2.1",), None),
    "only trusted proxies": (("for=10.1.0.8, for=10.1.0.9",), None),
    "as many trusted proxies as are looked at": ((",".join(["for=192.0.2.1", *["for=10.1.0.9"] * MAX_HOPS]),), None),
    "one fewer": ((",".join(["for=192.0.2.1", *["for=10.1.0.9"] * (MAX_HOPS - 1)]),), "192.0.2.1"),
    "very many fields of trusted proxies": (("for=192.0.2.1", *["for=10.1.0.9"] * 10_000), None),
    "very many fields": (("for=192.0.2.1",) * 10_000, "192.0.2.1"),
}

REAL_IP: dict[str, tuple[tuple[str, ...], str | None]] = {
    "no field": ((), None),
    "an empty field": (("",), None),
    "one client": (("192.0.2.1",), "192.0.2.1"),
    "white space round it": (("\t192.0.2.1 ",), "192.0.2.1"),
    "an IPv6 client": (("2001:DB8::1",), "2001:db8::1"),
    "a port": (("192.0.2.1:80",), "192.0.2.1"),
    "row 11: a mapped client is IPv4": (("::ffff:192.0.2.1",), "192.0.2.1"),
    "row 11: a zone": (("fe80::1%eth0",), None),
    "row 11: one number": (("3221225985",), None),
    "row 10: a trusted proxy": (("10.1.0.9",), None),
    "row 10: a trusted proxy, mapped": (("::ffff:10.1.0.9",), None),
    "row 9: a list": (("203.0.113.9, 192.0.2.1",), None),
    "row 9: two fields": (("192.0.2.1", "192.0.2.1"), None),
    "a NUL": (("192.0.2.1\x00",), None),
    "a word": (("unknown",), None),
}

PROXIED: dict[str, tuple[tuple[str, ...], str | None]] = {
    "no header": ((), None),
    "a client": (("192.0.2.1",), "192.0.2.1"),
    "an IPv6 client": (("2001:db8::1",), "2001:db8::1"),
    "row 11: a mapped client is IPv4": (("::ffff:c000:201",), "192.0.2.1"),
    "row 10: another trusted proxy: there is no chain to walk": (("10.1.0.9",), None),
    "row 10: the proxy itself, as a client": (("10.1.0.5",), None),
    "a source that the proxy does not know": (("",), None),
    "two headers": (("192.0.2.1", "192.0.2.1"), None),
    "the proxy's own connection, twice": ((LOCAL, LOCAL), None),
}

PLACES: dict[ClientAddress, dict[str, tuple[tuple[str, ...], str | None]]] = {
    ClientAddress.PEER: {"anything": (("192.0.2.1",), None), "nothing": ((), None), LOCAL: ((LOCAL,), None)},
    ClientAddress.X_FORWARDED_FOR: {LOCAL: ((LOCAL,), None)},
    ClientAddress.FORWARDED: {**FORWARDED, LOCAL: ((LOCAL,), None)},
    ClientAddress.X_REAL_IP: {**REAL_IP, LOCAL: ((LOCAL,), None)},
    ClientAddress.PROXY_PROTOCOL: PROXIED,
}
GRID = {
    f"{place} - {peer} - {name}": (place, address, *case)
    for place, cases in PLACES.items()
    for (peer, address), (name, case) in product(TRUSTED.items(), cases.items())
}


@pytest.mark.parametrize(("place", "peer", "said", "expected"), GRID.values(), ids=GRID)
def test_a_trusted_peer_is_believed_in_the_configured_place(
    place: ClientAddress, peer: str, said: tuple[str, ...], expected: str | None
) -> None:
    assert find_client(peer, said, is_trusted, place) == (UNKNOWN if expected is None else ip_address(expected))


@pytest.mark.parametrize("peer", TRUSTED.values(), ids=TRUSTED)
def test_a_proxys_own_connection_is_the_proxys(peer: str) -> None:
    assert find_client(peer, (LOCAL,), is_trusted, ClientAddress.PROXY_PROTOCOL) == parse_address(peer)


@pytest.mark.parametrize("place", ClientAddress)
@pytest.mark.parametrize("peer", UNTRUSTED.values(), ids=UNTRUSTED)
@pytest.mark.parametrize("said", [(), ("192.0.2.1",), ("for=192.0.2.1",), (LOCAL,), ("",)], ids=str)
def test_row_10_an_untrusted_peer_is_the_client_in_every_place(
    place: ClientAddress, peer: str, said: tuple[str, ...]
) -> None:
    assert find_client(peer, said, is_trusted, place) == parse_address(peer)


ELEMENTS = HOPS.map(lambda hop: f"for={hop}") | HOPS.map(lambda hop: f'by=_e;for="{hop}"')


@given(PEERS, st.lists(HOPS | ELEMENTS, max_size=6), st.sampled_from(ClientAddress))
def test_no_place_ever_raises_or_makes_a_client_of_a_trusted_proxy(
    peer: str, said: list[str], place: ClientAddress
) -> None:
    client = find_client(peer, said, is_trusted, place)

    assert client is UNKNOWN or (isinstance(client, (IPv4Address, IPv6Address)) and not is_trusted(client))


@given(st.lists(ELEMENTS, max_size=5), st.sampled_from(["for=192.0.2.1", 'for="[2001:db8::1]:80"']))
def test_nothing_left_of_the_proxys_own_line_of_elements_is_looked_at(left: list[str], own: str) -> None:
    alone = find_client("10.1.0.5", [own], is_trusted, ClientAddress.FORWARDED)

    assert find_client("10.1.0.5", [*left, own], is_trusted, ClientAddress.FORWARDED) == alone
    joined = find_client("10.1.0.5", [", ".join([*left, own])], is_trusted, ClientAddress.FORWARDED)
    assert joined in {alone, UNKNOWN}
