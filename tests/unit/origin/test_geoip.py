# SPDX-License-Identifier: Apache-2.0

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from proxy.errors import UsageError
from proxy.model.country import NAMES
from proxy.model.facts import UNKNOWN, Fact, FactSet
from proxy.model.origin import ANONYMOUS, CountrySource, Geolocation
from proxy.model.ports import Geolocator
from proxy.origin.databases import Database
from proxy.origin.geoip import (
    ANONYMOUS_KEYS,
    DatabaseGeolocator,
    RegistryGeolocator,
    make_geolocator,
    read_anonymous,
    read_asn,
)
from proxy.origin.options import OriginOptions
from tests.support.mmdb import write_database

DATABASE = Path(__file__).parents[2] / "assets" / "country.mmdb"
TYPE = b"Sekisho-Country"
NOW = 1_800_000_000.0
DAY = 86_400

RECORDS: dict[str, tuple[str, Fact[str], Fact[str]]] = {
    "both countries": ("198.51.100.1", "CN", "JP"),
    "IPv6": ("2001:db8:1::1", "KR", "KR"),
    "a code in lower case": ("192.0.2.200", "JP", "US"),
    "EU and AP are no countries": ("203.0.113.1", UNKNOWN, UNKNOWN),
    "where it is registered is not where it is": ("203.0.113.17", UNKNOWN, "JP"),
    "an empty code": ("203.0.113.33", UNKNOWN, UNKNOWN),
    "a record of another make": ("203.0.113.49", UNKNOWN, UNKNOWN),
    "a code that is a number": ("203.0.113.65", UNKNOWN, UNKNOWN),
    "a code that is a list": ("203.0.113.81", UNKNOWN, UNKNOWN),
    "a record that is a text": ("203.0.113.97", UNKNOWN, UNKNOWN),
    "a name and no code": ("203.0.113.113", UNKNOWN, UNKNOWN),
    "an address that is not there": ("8.8.8.8", UNKNOWN, UNKNOWN),
    "an IPv6 address that is not there": ("2001:db8:2::1", UNKNOWN, UNKNOWN),
    "no address": ("tokyo", UNKNOWN, UNKNOWN),
    "nothing": ("", UNKNOWN, UNKNOWN),
}

REGISTRY: dict[str, tuple[str, Fact[str]]] = {
    "Japan": ("1.0.16.1", "JP"),
    "the United States": ("8.8.8.8", "US"),
    "Japan in IPv6": ("2001:200::1", "JP"),
    "China in IPv6": ("240e::1", "CN"),
    "nobody's": ("203.0.113.1", UNKNOWN),
    "multicast": ("224.0.0.1", UNKNOWN),
    "row 11: NAT64 is not the country of the address inside": ("64:ff9b::114.114.114.114", UNKNOWN),
    "row 11: 6to4 is not the country of the address inside": ("2002:7272:7272::1", UNKNOWN),
    "no address": ("tokyo", UNKNOWN),
    "nothing": ("", UNKNOWN),
}


def a_geolocator(path: Path) -> DatabaseGeolocator:
    return DatabaseGeolocator(Database("country", path))


def a_database(path: Path, kind: bytes = TYPE) -> Path:
    path.write_bytes(DATABASE.read_bytes().replace(TYPE, kind))
    return path


@pytest.mark.parametrize(("ip", "country", "registered"), RECORDS.values(), ids=RECORDS)
def test_a_database_is_believed_only_as_far_as_it_is_clear(ip: str, country: Fact[str], registered: Fact[str]) -> None:
    assert a_geolocator(DATABASE).locate(ip, NOW) == Geolocation(country, registered)


@pytest.mark.parametrize("kind", [b"Sekisho-Country", b"Sekisho-TheCity", b"Test-Enterprise"], ids=bytes.decode)
def test_every_type_that_is_opened_is_read(tmp_path: Path, kind: bytes) -> None:
    geolocator = a_geolocator(a_database(tmp_path / "a.mmdb", kind))

    assert geolocator.locate("192.0.2.1", NOW) == Geolocation("JP", "JP")
    assert geolocator.build.startswith(kind.decode())


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="country database"):
        a_geolocator(a_database(tmp_path / "a.mmdb", b"Sekisho-IsNoGeo"))


BROKEN = {
    "empty": b"",
    "text": b"country,code\n",
    "the end is missing": DATABASE.read_bytes()[:-200],
    "only the marker": b"\xab\xcd\xefMaxMind.com",
    "a key of the metadata is damaged": DATABASE.read_bytes().replace(b"binary_format", b"binary_foxmat"),
    "metadata that is no map": b"\x00" * 64 + b"\xab\xcd\xefMaxMind.com\x43abc",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_database_is_a_usage_error_at_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mmdb"
    path.write_bytes(content)

    with pytest.raises(UsageError, match="GeoIP database"):
        a_geolocator(path)


def test_a_missing_database_is_a_usage_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mmdb", tmp_path):
        with pytest.raises(UsageError, match="cannot be opened"):
            a_geolocator(path)


def test_a_database_is_in_memory_once_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "a.mmdb"
    shutil.copy(DATABASE, path)
    geolocator = a_geolocator(path)

    path.write_bytes(DATABASE.read_bytes().replace(b"BCN", b"BKP"))

    assert geolocator.locate("198.51.100.1", NOW).country == "CN"
    assert a_geolocator(path).locate("198.51.100.1", NOW).country == "KP"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0), st.integers(0, 255), st.sampled_from([ip for ip, _, _ in RECORDS.values()]))
@example(852132980770227276677644288, 225, "203.0.113.1")  # a number larger than its place: the reader warns
def test_a_damaged_database_never_raises_at_request_time(tmp_path: Path, where: int, byte: int, ip: str) -> None:
    content = bytearray(DATABASE.read_bytes())
    content[where % (content.index(b"\xab\xcd\xefMaxMind.com"))] = byte
    path = tmp_path / "damaged.mmdb"
    path.write_bytes(content)

    try:
        geolocator = a_geolocator(path)
    except UsageError:  # seen at once
        return
    located = geolocator.locate(ip, NOW)

    assert located.country is UNKNOWN or located.country in NAMES
    assert located.registered_country is UNKNOWN or located.registered_country in NAMES


@pytest.mark.parametrize(("ip", "country"), REGISTRY.values(), ids=REGISTRY)
def test_the_registries_say_the_registrants_country(ip: str, country: Fact[str]) -> None:
    assert RegistryGeolocator().locate(ip, NOW) == Geolocation(country, country)


@given(st.one_of(st.text(max_size=20), st.ip_addresses().map(str)))
def test_the_registries_never_raise_and_say_only_countries(ip: str) -> None:
    located = RegistryGeolocator().locate(ip, NOW)

    assert located.country is UNKNOWN or located.country in NAMES


# Autonomous systems and anonymous networks.

ASNS: dict[str, tuple[Any, Fact[str]]] = {
    "a number": ({"autonomous_system_number": 4134}, "AS4134"),
    "with its organisation": ({"autonomous_system_number": 2500, "autonomous_system_organization": "WIDE"}, "AS2500"),
    "the largest": ({"autonomous_system_number": 2**32 - 1}, "AS4294967295"),
    "under traits, as Enterprise has it": ({"traits": {"autonomous_system_number": 4134}}, "AS4134"),
    "too large": ({"autonomous_system_number": 2**32}, UNKNOWN),
    "zero, which is nobody's (RFC 7607)": ({"autonomous_system_number": 0}, UNKNOWN),
    "a text": ({"autonomous_system_number": "4134"}, UNKNOWN),
    "a truth": ({"autonomous_system_number": True}, UNKNOWN),
    "no number": ({"autonomous_system_organization": "WIDE"}, UNKNOWN),
    "traits that are a text": ({"traits": "x"}, UNKNOWN),
    "a record that is a text": ("AS4134", UNKNOWN),
    "a record that is a list": ([4134], UNKNOWN),
    "no record: deleting one must not make it known": (None, UNKNOWN),
    "what cannot be told": (UNKNOWN, UNKNOWN),
}


@pytest.mark.parametrize(("record", "expected"), ASNS.values(), ids=ASNS)
def test_an_autonomous_system_is_believed_only_as_far_as_it_is_clear(record: Any, expected: Fact[str]) -> None:
    assert read_asn(record) == expected


def hides(*names: str, is_open: bool = False) -> FactSet:
    return FactSet(frozenset(names), is_open)


HIDDEN: dict[str, tuple[Any, Fact[FactSet]]] = {
    "every flag": (dict.fromkeys(ANONYMOUS_KEYS, True), hides(*ANONYMOUS)),
    "a VPN": ({"is_anonymous": True, "is_anonymous_vpn": True}, hides("anonymous", "vpn")),
    "hosting alone": ({"is_hosting_provider": True}, hides("hosting")),
    "flags that say no": ({"is_anonymous": False, "is_tor_exit_node": False}, hides()),
    "a flag that is a text": ({"is_anonymous": "yes", "is_tor_exit_node": True}, hides("tor", is_open=True)),
    "a flag that is a number": ({"is_anonymous": 1}, hides(is_open=True)),
    "no record: such a database lists nothing else": (None, hides()),
    "what cannot be told": (UNKNOWN, UNKNOWN),
    "a record of another make": ({"country": {"iso_code": "JP"}}, UNKNOWN),
    "an empty record": ({}, UNKNOWN),
    "a record that is a text": ("vpn", UNKNOWN),
    "a record that is a list": ([True], UNKNOWN),
}


@pytest.mark.parametrize(("record", "expected"), HIDDEN.values(), ids=HIDDEN)
def test_what_an_address_hides_is_believed_only_as_far_as_it_is_clear(record: Any, expected: Fact[FactSet]) -> None:
    assert read_anonymous(record) == expected


def three(folder: Path, **options: Any) -> Geolocator:
    countries = {"198.51.100.0/24": {"country": {"iso_code": "JP"}, "registered_country": {"iso_code": "US"}}}
    asns = {"198.51.100.0/24": {"autonomous_system_number": 4134}}
    hidden = {"198.51.100.128/25": {"is_anonymous": True, "is_tor_exit_node": True}}
    options = {
        "geoip": write_database(folder / "c.mmdb", countries, kind="GeoLite2-Country", built=1000 * DAY),
        "geoip_asn": write_database(folder / "a.mmdb", asns, kind="GeoLite2-ASN", built=1010 * DAY),
        "geoip_anonymous": write_database(folder / "n.mmdb", hidden, kind="GeoIP2-Anonymous-IP", built=1020 * DAY),
        **options,
    }
    return make_geolocator(OriginOptions(**options))


def test_three_databases_say_what_each_knows(tmp_path: Path) -> None:
    geolocator = three(tmp_path)

    assert geolocator.source is CountrySource.DATABASE
    assert geolocator.locate("198.51.100.1", NOW) == Geolocation("JP", "US", "AS4134", hides())
    assert geolocator.locate("198.51.100.129", NOW).anonymous == hides("anonymous", "tor")
    assert geolocator.locate("8.8.8.8", NOW) == Geolocation(UNKNOWN, UNKNOWN, UNKNOWN, hides())


def test_without_a_country_database_the_registries_say_the_country(tmp_path: Path) -> None:
    geolocator = three(tmp_path, geoip=None)

    assert geolocator.source is CountrySource.REGISTRY
    assert geolocator.locate("1.0.16.1", NOW) == Geolocation("JP", "JP", UNKNOWN, hides())
    assert "iptocc" in geolocator.build


@pytest.mark.parametrize("option", ["geoip_asn", "geoip_anonymous"])
def test_without_a_database_what_it_would_say_is_unknown(tmp_path: Path, option: str) -> None:
    found = three(tmp_path, **{option: None}).locate("198.51.100.129", NOW)

    assert getattr(found, option.removeprefix("geoip_")) is UNKNOWN


def test_lessons_4_9_a_database_that_is_too_old_says_nothing(tmp_path: Path) -> None:
    geolocator = three(tmp_path, geoip_max_age_days=30)

    found = [geolocator.locate("198.51.100.129", day * DAY) for day in (1029, 1030, 1040, 1050)]

    assert [each.country for each in found] == ["JP", UNKNOWN, UNKNOWN, UNKNOWN]
    assert [each.registered_country for each in found] == ["US", UNKNOWN, UNKNOWN, UNKNOWN]
    assert [each.asn for each in found] == ["AS4134", "AS4134", UNKNOWN, UNKNOWN]
    assert [each.anonymous for each in found] == [hides("anonymous", "tor")] * 3 + [UNKNOWN]


def test_silence_of_a_database_that_is_too_old_is_no_answer(tmp_path: Path) -> None:
    assert three(tmp_path, geoip_max_age_days=30).locate("198.51.100.1", 2000 * DAY).anonymous is UNKNOWN


def test_an_ipv4_database_knows_nothing_of_ipv6(tmp_path: Path) -> None:
    path = write_database(
        tmp_path / "n4.mmdb", {"198.51.100.0/24": {"is_anonymous": True}}, kind="GeoIP2-Anonymous-IP", ip_version=4
    )
    geolocator = make_geolocator(OriginOptions(geoip_anonymous=path))

    assert geolocator.locate("2001:db8::1", NOW).anonymous is UNKNOWN
    assert geolocator.locate("192.0.2.1", NOW).anonymous == hides()


def test_other_databases_have_another_version(tmp_path: Path) -> None:
    one, same, fewer = three(tmp_path), three(tmp_path), three(tmp_path, geoip_asn=None)

    assert one.version == same.version != fewer.version
    assert [each.use for each in one.databases] == ["country", "asn", "anonymous"]
    assert all(each.digest in one.build for each in one.databases)
    assert make_geolocator(OriginOptions()).databases == ()
