# SPDX-License-Identifier: Apache-2.0

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.errors import UsageError
from proxy.model.country import NAMES
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.origin import Geolocation
from proxy.origin.databases import Database
from proxy.origin.geoip import NOT_FOUND, DatabaseGeolocator, RegistryGeolocator

DATABASE = Path(__file__).parents[2] / "assets" / "country.mmdb"
TYPE = b"Sekisho-Country"
NOW = 1_800_000_000.0

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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0), st.integers(0, 255), st.sampled_from([ip for ip, _, _ in RECORDS.values()]))
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


def test_what_is_not_found_is_unknown() -> None:
    assert Geolocation(UNKNOWN, UNKNOWN) == NOT_FOUND
