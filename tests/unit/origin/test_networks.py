# SPDX-License-Identifier: Apache-2.0

from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.model.address import parse_block
from proxy.origin.networks import (
    Network,
    NetworkEntry,
    Prefixes,
    check_networks,
    check_proxies,
    compile_networks,
    compile_proxies,
)


def a_network(id_: str, *cidr: str, country: str = "JP", proxies: str = "false") -> NetworkEntry:
    return NetworkEntry.model_validate({"id": id_, "cidr": list(cidr), "country": country, "proxies": proxies})


BLOCKS = {
    "IPv4": ("10.20.0.0/16", "10.20.0.0/16"),
    "IPv6 in upper case": ("2001:DB8::/32", "2001:db8::/32"),
    "one address": ("10.1.0.5/32", "10.1.0.5/32"),
    "one address without its length": ("10.1.0.5", "10.1.0.5/32"),
}

NO_BLOCKS = {
    "nothing": "",
    "a name": "tokyo-office",
    "bits of a host": "10.20.0.1/16",
    "a length too long": "10.20.0.0/33",
    "no length behind the slash": "10.20.0.0/",
    "a range": "10.20.0.0-10.20.255.255",
    "an octal octet": "010.20.0.0/16",
    "a space": " 10.20.0.0/16",
    "a length in full-width digits": "10.20.0.0/\uff11\uff16",
    "row 11: IPv4 mapped into IPv6, which no canonical address is ever in": "::ffff:10.86.0.0/112",
    "row 11: every mapped address at once": "::ffff:0:0/96",
    "row 11: a zone, which no canonical address has": "fe80::%eth0/64",
    "a wildcard mask, which is not CIDR notation": "10.0.0.0/0.255.255.255",
    "a netmask, which is not CIDR notation": "10.20.0.0/255.255.0.0",
}


@pytest.mark.parametrize(("text", "block"), BLOCKS.values(), ids=BLOCKS)
def test_parse_block(text: str, block: str) -> None:
    assert str(parse_block(text)) == block


@pytest.mark.parametrize("text", NO_BLOCKS.values(), ids=NO_BLOCKS)
def test_parse_block_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="no block of addresses"):
        parse_block(text)


@given(st.one_of(st.text(max_size=20), st.ip_addresses().map(lambda address: f"{address}/24")))
def test_parse_block_is_stable_and_says_what_is_wrong(text: str) -> None:
    try:
        block = parse_block(text)
    except ValueError as error:
        assert "no block of addresses" in str(error)  # noqa: PT017 - either outcome is right
        return

    assert parse_block(str(block)) == block


@pytest.mark.parametrize(
    "raw",
    [
        {"id": "a", "country": "JP"},
        {"id": "a", "cidr": [], "country": "JP"},
        {"id": "a", "cidr": "10.0.0.0/8", "country": "JP"},
        {"id": "a", "cidr": ["10.0.0.1/8"], "country": "JP"},
        {"id": "a", "cidr": ["10.0.0.0/8"]},
        {"id": "a", "cidr": ["10.0.0.0/8"], "country": "jp"},
        {"id": "a", "cidr": ["10.0.0.0/8"], "country": "JP", "proxies": "yes"},
        {"id": "a", "cidr": ["10.0.0.0/8"], "country": "JP", "trusted": "true"},
        {"id": "unknown", "cidr": ["10.0.0.0/8"], "country": "JP"},
    ],
    ids=[
        "no block",
        "an empty list",
        "a block that is no list",
        "bits of a host",
        "no country",
        "a country in lower case",
        "yes is no flag",
        "an unknown key",
        "an id that records say themselves",
    ],
)
def test_a_network_entry_refuses(raw: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NetworkEntry.model_validate(raw)


NETWORKS = compile_networks(
    [
        a_network("office", "10.0.0.0/8", "2001:db8::/32"),
        a_network("floor", "10.86.0.0/16", country="CN"),
        a_network("desk", "10.86.4.2", country="KR"),
    ]
)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "office"),
        ("10.86.4.1", "floor"),
        ("10.86.4.2", "desk"),
        ("10.255.255.255", "office"),
        ("11.0.0.0", None),
        ("9.255.255.255", None),
        ("2001:db8:ffff::1", "office"),
        ("2001:db9::", None),
        ("::a56:402", None),
    ],
    ids=[
        "the wide block",
        "the longer prefix wins",
        "one address wins over both",
        "the last address of a block",
        "one past it",
        "one before it",
        "IPv6",
        "past IPv6",
        "the same number in the other family",
    ],
)
def test_the_longest_prefix_wins(address: str, network: str | None) -> None:
    found = NETWORKS.find(ip_address(address))

    assert (found.id if isinstance(found, Network) else found) == network


def test_no_blocks_hold_no_address() -> None:
    assert Prefixes([]).find(IPv4Address("10.0.0.1")) is None


def test_a_block_of_all_addresses_holds_all_of_its_family() -> None:
    everything = compile_proxies([ip_network("0.0.0.0/0")])

    assert everything.find(ip_address("255.255.255.255")) is True
    assert everything.find(ip_address("::1")) is None


def a_block(bits: int, length: int) -> IPv4Network:
    return IPv4Network((bits >> (32 - length) << (32 - length), length))


NEAR = st.integers(0x0A560000, 0x0A5600FF)
IPV4_BLOCKS = st.builds(a_block, NEAR, st.integers(8, 32))


@given(st.lists(IPV4_BLOCKS, max_size=8, unique=True), NEAR.map(IPv4Address))
def test_find_agrees_with_looking_at_every_block(blocks: list[IPv4Network], address: IPv4Address) -> None:
    holding = [block for block in blocks if address in block]

    expected = max(holding, key=lambda block: block.prefixlen) if holding else None
    assert Prefixes((block, block) for block in blocks).find(address) == expected


def test_one_block_cannot_be_two_networks() -> None:
    entries = [a_network("a", "10.0.0.0/8"), a_network("b", "10.1.0.0/16", "10.0.0.0/8")]

    (problem,) = [each for each in check_networks(entries, frozenset("ab")) if each.path != (0,)]

    assert problem.path == (1, "cidr", 1)
    assert "'a'" in problem.message


def containing(entry: NetworkEntry, *inner: str) -> NetworkEntry:
    return entry.model_copy(update={"contains": list(inner)})


A, B, C = a_network("a", "10.0.0.0/8", "10.0.0.0/8"), a_network("b", "10.1.0.0/16"), a_network("c", "10.1.2.3")

NESTED = {
    "networks side by side": ([B, a_network("c", "10.2.0.0/16")], []),
    "a network inside another, unnamed": ([A, B], [((0,), "'b' lies inside")]),
    "a network inside another, named": ([containing(A, "b"), B], []),
    "in either order": ([B, containing(A, "b")], []),
    "three deep, of which the outer names one": (
        [containing(A, "b"), containing(B, "c"), C],
        [((0,), "network 'c' lies inside")],
    ),
    "three deep, all named": ([containing(A, "b", "c"), containing(B, "c"), C], []),
    "one of several blocks lies inside": (
        [a_network("a", "10.0.0.0/8"), a_network("b", "192.0.2.0/24", "10.1.0.0/16")],
        [((0,), "network 'b'")],
    ),
    "the same numbers in the other family": ([a_network("a", "::/8"), a_network("b", "0.0.0.0/16")], []),
    "a name of nobody": ([containing(A, "b", "bb"), B], [((0, "contains", 1), "did you mean 'b'?")]),
    "a name of one that lies elsewhere": (
        [containing(A, "b"), a_network("b", "192.0.2.0/24")],
        [((0, "contains", 0), "does not lie inside")],
    ),
    "the outer named by the inner": ([containing(A, "b"), containing(B, "a")], [((1, "contains", 0), "not lie")]),
}


@pytest.mark.parametrize(("entries", "expected"), NESTED.values(), ids=NESTED)
def test_what_lies_inside_is_named(entries: list[NetworkEntry], expected: list[tuple[tuple[object, ...], str]]) -> None:
    """A row that goes missing would else leave its addresses where the wider network is."""
    found = check_networks(entries, frozenset(entry.id for entry in entries))

    assert [problem.path for problem in found] == [path for path, _ in expected]
    assert all(words in problem.message for problem, (_, words) in zip(found, expected, strict=True))


def test_what_lies_inside_may_stand_in_a_row_that_cannot_be_read() -> None:
    assert check_networks([containing(A, "b")], frozenset("ab")) == []


OVERLAPS = {
    "the same block": ("10.20.0.0/16", "false", 1),
    "a proxy inside a network of clients": ("10.20.0.5/32", "false", 1),
    "a network of clients inside the proxies": ("10.0.0.0/8", "false", 1),
    "a network that says so": ("10.20.0.5/32", "true", 0),
    "beside it": ("10.21.0.0/16", "false", 0),
    "the other family": ("2001:db8::/32", "false", 0),
    "everybody": ("0.0.0.0/0", "true", 1),
    "everybody in IPv6": ("::/0", "true", 1),
    "everybody, who are clients too": ("0.0.0.0/0", "false", 2),
}


@pytest.mark.parametrize(("proxy", "declared", "problems"), OVERLAPS.values(), ids=OVERLAPS)
def test_row_10_clients_may_not_be_trusted_by_accident(proxy: str, declared: str, problems: int) -> None:
    found = check_proxies([ip_network(proxy)], [a_network("office", "10.20.0.0/16", proxies=declared)])

    assert len(found) == problems
    assert all(problem.path == (0,) for problem in found)


@pytest.mark.parametrize("halves", [("0.0.0.0/1", "128.0.0.0/1"), ("::/1", "8000::/1")], ids=["IPv4", "IPv6"])
def test_row_10_everybody_in_two_halves_is_everybody(halves: tuple[str, str]) -> None:
    assert check_proxies([ip_network(half) for half in halves], [])
