# SPDX-License-Identifier: Apache-2.0

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.facts import ABSENT, EMPTY_SET, UNKNOWN, Fact, FactSet
from proxy.model.origin import ClientAddress, CountrySource, DatabaseInfo, Geolocation, Origin
from proxy.origin.forwarded import Address
from proxy.origin.networks import NetworkEntry, compile_networks, compile_proxies
from proxy.origin.resolve import NOWHERE, SPECIAL, Origins

PUBLIC = "114.114.114.114"
OTHER = "133.1.0.1"
NOW = 1_800_000_000.0


class Atlas:
    """A geolocator that knows a country for every address there is, and notes what it was asked."""

    source = CountrySource.DATABASE
    build = version = "Atlas 1"
    databases: tuple[DatabaseInfo, ...] = ()

    def __init__(self, country: Fact[str] = "CN", asn: Fact[str] = UNKNOWN, anonymous: Fact[FactSet] = UNKNOWN) -> None:
        self.country = country
        self.asn = asn
        self.anonymous = anonymous
        self.asked: list[str] = []
        self.asked_at: list[float] = []

    def locate(self, ip: str, now: float) -> Geolocation:
        self.asked.append(ip)
        self.asked_at.append(now)
        return Geolocation(self.country, "US", self.asn, self.anonymous)


def an_origins(atlas: Atlas) -> Origins:
    networks = [
        NetworkEntry.model_validate({"id": "tokyo", "cidr": ["10.20.0.0/16", "133.0.0.0/16"], "country": "JP"}),
        NetworkEntry.model_validate({"id": "dalian", "cidr": ["10.20.86.0/24"], "country": "CN"}),
    ]
    return Origins(compile_networks(networks), compile_proxies([ip_network("10.1.0.0/24")]), atlas)


def test_a_declared_network_comes_before_geolocation() -> None:
    atlas = Atlas()

    origin = an_origins(atlas).resolve(("10.20.0.1",), NOW)

    assert origin == Origin(
        ip="10.20.0.1", country="JP", network="tokyo", source=CountrySource.NETWORK, asn=ABSENT, anonymous=EMPTY_SET
    )
    assert atlas.asked == []


def test_a_declared_network_may_have_public_addresses() -> None:
    assert an_origins(Atlas()).resolve(("133.0.0.1",), NOW).country == "JP"


def test_the_narrower_network_says_the_country() -> None:
    assert an_origins(Atlas()).resolve(("10.20.86.9",), NOW).country == "CN"


def test_row_11_a_mapped_peer_is_in_its_ipv4_network() -> None:
    assert an_origins(Atlas()).resolve(("::ffff:10.20.86.9",), NOW).network == "dalian"


def test_a_public_address_is_looked_up() -> None:
    origin = an_origins(Atlas()).resolve((PUBLIC,), NOW)

    assert origin == Origin(
        ip=PUBLIC, country="CN", registered_country="US", network=ABSENT, source=CountrySource.DATABASE
    )


def test_what_nobody_knows_is_unknown_and_has_no_source() -> None:
    origin = an_origins(Atlas(UNKNOWN)).resolve((PUBLIC,), NOW)

    assert (origin.country, origin.network, origin.source) == (UNKNOWN, ABSENT, CountrySource.NONE)


NOWHERES = {
    "a trusted proxy alone": ("10.1.0.5", ()),
    "a trusted proxy with rubbish": ("10.1.0.5", ("unknown",)),
    "a peer that is no address": ("", (PUBLIC,)),
    "row 11: a peer with a zone": ("fe80::1%eth0", (PUBLIC,)),
}


@pytest.mark.parametrize(("peer", "chain"), NOWHERES.values(), ids=NOWHERES)
def test_what_has_no_address_is_unknown_in_everything(peer: str, chain: tuple[str, ...]) -> None:
    atlas = Atlas()

    origin = an_origins(atlas).resolve((peer, *chain), NOW)

    assert origin == NOWHERE == Origin(ip=UNKNOWN, country=UNKNOWN, registered_country=UNKNOWN, network=UNKNOWN)
    assert atlas.asked == []


# RFC 6890 and its registry: not globally reachable, or no address of anybody's machine.
SPECIAL_ADDRESSES = {
    "private": "10.99.0.1",
    "private, the second block": "172.16.0.1",
    "private, the third block": "192.168.0.1",
    "shared behind carriers (RFC 6598)": "100.64.0.1",
    "loopback": "127.0.0.1",
    "link-local": "169.254.0.1",
    "documentation": "203.0.113.1",
    "benchmarking": "198.18.0.1",
    "this network": "0.0.0.0",  # noqa: S104 - no listener
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "protocol assignments": "192.0.0.200",
    "multicast": "224.0.0.1",
    "multicast in an organisation": "239.1.1.1",
    "IPv6 loopback": "::1",
    "IPv6 unspecified": "::",
    "IPv6 unique local": "fd00::1",
    "IPv6 link-local": "fe80::1",
    "IPv6 documentation": "2001:db8::1",
    "IPv6 documentation, the second block (RFC 9637)": "3fff::1",
    "IPv6 discard": "100::1",
    "IPv6 site-local, deprecated": "fec0::1",
    "IPv6 multicast": "ff0e::1",
    "IPv4-compatible, deprecated": "::8.8.8.8",
    "NAT64 of one's own (RFC 8215)": "64:ff9b:1::1",
    "segment routing (RFC 9602)": "5f00::1",
}


@pytest.mark.parametrize("address", SPECIAL_ADDRESSES.values(), ids=SPECIAL_ADDRESSES)
def test_row_11_a_special_address_is_never_looked_up(address: str) -> None:
    atlas = Atlas("JP")

    origin = an_origins(atlas).locate(ip_address(address), NOW)

    assert atlas.asked == []
    assert origin == Origin(ip=str(ip_address(address)), network=ABSENT)


def test_row_10_what_an_untrusted_peer_writes_changes_nothing() -> None:
    origins = an_origins(Atlas())

    assert origins.resolve((PUBLIC, "10.20.0.1"), NOW) == origins.resolve((PUBLIC,), NOW)


def test_row_10_a_trusted_peer_speaks_for_the_client() -> None:
    origins = an_origins(Atlas())

    assert origins.resolve(("10.1.0.5", f"10.20.0.1, {PUBLIC}"), NOW).ip == PUBLIC
    assert origins.resolve(("10.1.0.5", f"{PUBLIC}, 10.20.0.1"), NOW).network == "tokyo"


def test_row_15_what_is_kept_for_one_chain_does_not_answer_another() -> None:
    origins = an_origins(Atlas())

    found = [
        origins.resolve(("10.1.0.5", *chain), NOW).ip for chain in ((PUBLIC,), (OTHER,), (), (PUBLIC,), (f"{PUBLIC},",))
    ]

    assert found == [PUBLIC, OTHER, UNKNOWN, PUBLIC, UNKNOWN]


def test_an_address_is_looked_up_once() -> None:
    atlas = Atlas()
    origins = an_origins(atlas)

    first = origins.resolve((PUBLIC,), NOW)

    assert origins.resolve((PUBLIC,), NOW) is first
    assert atlas.asked == [PUBLIC]


def test_what_an_untrusted_peer_writes_is_not_kept() -> None:
    origins = an_origins(Atlas())

    for number in range(50):
        origins.resolve((PUBLIC, f"{number}" * 1000), NOW)

    assert len(origins._kept) <= 1


def test_what_a_client_writes_through_a_trusted_peer_is_not_kept() -> None:
    origins = an_origins(Atlas())

    for number in range(50):
        origins.resolve(("10.1.0.5", f"{number}" * 1000 + f", {PUBLIC}"), NOW)

    assert sum(len(repr(key)) for key in origins._kept) < 10_000


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("10.1.0.7", True),
        ("::ffff:10.1.0.7", True),
        ("10.1.1.7", False),
        ("10.20.0.1", False),
        ("", False),
        ("x", False),
    ],
)
def test_a_peer_is_a_trusted_proxy_by_its_address_alone(peer: str, expected: bool) -> None:  # noqa: FBT001
    assert an_origins(Atlas()).trusts(peer) is expected


def test_pr_76_an_address_nobody_knows_is_no_private_one() -> None:
    """traefik-geoblock PR #76: what had no country was taken for a private address, and let through."""
    unknown = an_origins(Atlas(UNKNOWN)).resolve((PUBLIC,), NOW)
    private = an_origins(Atlas()).resolve(("192.168.7.7",), NOW)

    assert unknown.country is UNKNOWN
    assert private.country is UNKNOWN
    assert unknown.network == private.network == ABSENT
    assert private.anonymous is UNKNOWN


def test_a_declared_network_of_public_addresses_says_the_country_and_geolocation_the_rest() -> None:
    atlas = Atlas("CN", asn="AS2500", anonymous=FactSet(frozenset({"hosting"})))

    origin = an_origins(atlas).resolve(("133.0.0.1",), NOW)

    assert (origin.country, origin.registered_country, origin.asn) == ("JP", "US", "AS2500")
    assert origin.anonymous == EMPTY_SET
    assert origin.source is CountrySource.NETWORK


def test_a_declared_network_says_itself_what_it_hides() -> None:
    entry = NetworkEntry.model_validate(
        {"id": "vpn", "cidr": ["10.30.0.0/16"], "country": "JP", "anonymous": ["vpn", "anonymous"]}
    )
    origins = Origins(compile_networks([entry]), compile_proxies([]), Atlas())

    assert origins.resolve(("10.30.0.1",), NOW).anonymous == FactSet(frozenset({"vpn", "anonymous"}))


def test_a_public_address_has_what_geolocation_says_of_it() -> None:
    hidden = FactSet(frozenset({"tor"}), is_open=True)

    origin = an_origins(Atlas(asn="AS4134", anonymous=hidden)).resolve((PUBLIC,), NOW)

    assert (origin.asn, origin.anonymous) == ("AS4134", hidden)


@given(st.ip_addresses())
def test_row_11_what_python_calls_not_global_is_special(address: Address) -> None:
    assert address.is_global or SPECIAL.find(address)


def test_what_was_found_is_found_again_once_a_database_is_too_old() -> None:
    atlas = Atlas()
    atlas.databases = (
        DatabaseInfo("country", "t", 0.0, "sha256:1", NOW + 10),
        DatabaseInfo("asn", "t", 0.0, "sha256:2", NOW + 20),
    )
    origins = an_origins(atlas)

    for seconds in (0, 9.9, 10, 19, 20, 30, 40):
        origins.resolve((PUBLIC,), NOW + seconds)

    assert atlas.asked_at == [NOW, NOW + 10, NOW + 20]


def test_what_was_believed_a_moment_ago_is_not_kept_for_later() -> None:
    """Of two requests the later may be resolved first; what the earlier still believes must not outlive that."""
    atlas = Atlas()
    atlas.databases = (DatabaseInfo("country", "t", 0.0, "sha256:1", NOW),)
    origins = an_origins(atlas)

    for moment in (NOW, NOW - 1):
        origins.resolve((OTHER,), moment)
        origins.resolve((PUBLIC,), moment)
    origins.resolve(("198.41.0.4",), NOW - 1)
    origins.resolve(("198.41.0.4",), NOW + 1)

    assert atlas.asked_at == [NOW, NOW, NOW - 1, NOW + 1]


def test_only_trusted_proxies_are_trusted() -> None:
    origins = an_origins(Atlas())

    trusted = ["10.1.0.5", "::ffff:10.1.0.5", "10.1.1.5", "", "fe80::1%eth0", PUBLIC]
    assert [origins.trusts(peer) for peer in trusted] == [True, True, False, False, False, False]


@pytest.mark.parametrize("place", ClientAddress)
def test_lessons_4_6_without_trusted_proxies_the_peer_is_the_client(place: ClientAddress) -> None:
    origins = Origins(compile_networks([]), compile_proxies([]), Atlas(), place)

    assert origins.resolve((PUBLIC, OTHER), NOW).ip == PUBLIC
