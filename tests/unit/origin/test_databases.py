# SPDX-License-Identifier: Apache-2.0
import hashlib
import math
import os
from pathlib import Path

import pytest

from proxy.clock import unix_seconds
from proxy.errors import UsageError
from proxy.origin import databases
from proxy.origin.databases import DAY_SECONDS, Database, take_fingerprint
from tests.support.mmdb import render_database, write_database

BUILT = 1_700_000_000
ASN = {"198.51.100.0/24": {"autonomous_system_number": 4134}}
JP = {"198.51.100.0/24": {"country": {"iso_code": "JP"}}}


def a_database(path: Path, kind: str = "GeoLite2-ASN", built: int = BUILT, ip_version: int = 6) -> Path:
    return write_database(path, ASN, kind=kind, built=built, ip_version=ip_version)


def test_a_database_says_what_it_is(tmp_path: Path) -> None:
    path = a_database(tmp_path / "a.mmdb")

    info = Database("asn", path).info

    assert (info.use, info.type, info.built, info.until) == ("asn", "GeoLite2-ASN", BUILT, math.inf)
    assert info.digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert info.holds(0.0)
    assert info.holds(1e12)


def test_a_database_is_believed_until_it_is_too_old(tmp_path: Path) -> None:
    info = Database("asn", a_database(tmp_path / "a.mmdb"), 30).info

    assert info.holds(BUILT + 30 * DAY_SECONDS - 1)
    assert not info.holds(BUILT + 30 * DAY_SECONDS)


def test_how_old_a_database_of_tomorrow_is_cannot_be_told(tmp_path: Path) -> None:
    path = a_database(tmp_path / "a.mmdb", built=int(unix_seconds()) + 3 * 86_400)

    assert Database("asn", path).info.until == math.inf
    with pytest.raises(UsageError, match=r"how old it is cannot be told.*--geoip-asn"):
        Database("asn", path, 30)


KINDS = {
    "country": ("GeoLite2-Country", "GeoIP2-City", "GeoIP2-Enterprise", "DBIP-Country-Lite"),
    "asn": ("GeoLite2-ASN", "GeoIP2-ISP", "DBIP-ASN-Lite"),
    "anonymous": ("GeoIP2-Anonymous-IP", "GeoIP-Anonymous-Plus"),
}
OTHERS = {"country": "GeoLite2-ASN", "asn": "GeoIP2-Anonymous-IP", "anonymous": "GeoLite2-Country"}


@pytest.mark.parametrize(("use", "kind"), [(use, kind) for use, kinds in KINDS.items() for kind in kinds])
def test_every_type_of_a_use_is_taken(tmp_path: Path, use: str, kind: str) -> None:
    assert Database(use, a_database(tmp_path / "a.mmdb", kind)).info.type == kind


@pytest.mark.parametrize(("use", "kind"), OTHERS.items())
def test_a_type_of_another_use_is_refused_by_its_flag(tmp_path: Path, use: str, kind: str) -> None:
    with pytest.raises(UsageError, match=rf"is a '{kind}'.*--geoip"):
        Database(use, a_database(tmp_path / "a.mmdb", kind))


def test_what_is_not_there_is_none_and_what_cannot_be_told_is_an_error(tmp_path: Path) -> None:
    both = Database("asn", a_database(tmp_path / "a.mmdb"))
    four = Database("asn", a_database(tmp_path / "b.mmdb", ip_version=4))

    assert both.get("198.51.100.1") == {"autonomous_system_number": 4134}
    assert both.get("192.0.2.1") is both.get("2001:db8::1") is four.get("192.0.2.1") is None
    for database, ip in ((four, "2001:db8::1"), (both, "tokyo"), (both, "")):
        with pytest.raises(LookupError):
            database.get(ip)


IN_PLACE = {
    "cut to nothing": b"",
    "cut in half": render_database(ASN, kind="GeoLite2-ASN")[:100],
    "written over": b"x" * 100_000,
}


@pytest.mark.parametrize("content", IN_PLACE.values(), ids=IN_PLACE)
def test_what_happens_to_the_file_changes_nothing_of_what_is_open(tmp_path: Path, content: bytes) -> None:
    path = a_database(tmp_path / "a.mmdb")
    database = Database("asn", path)

    with path.open("r+b") as file:  # the same file, where a map of it would end the process
        file.truncate(0)
        file.write(content)

    assert database.get("198.51.100.1") == {"autonomous_system_number": 4134}
    path.unlink()
    assert database.get("198.51.100.1") == {"autonomous_system_number": 4134}


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))

    databases_open = [Database("asn", a_database(tmp_path / "a.mmdb"))]
    with pytest.raises(UsageError):
        Database("asn", tmp_path / "none.mmdb")

    assert databases_open[0].get("198.51.100.1")
    assert list(folder.iterdir()) == []


def test_a_file_that_changes_while_it_is_read_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = iter([(1, 1), (2, 2)])
    monkeypatch.setattr(databases, "_shape", lambda _: next(shapes))

    with pytest.raises(UsageError, match="changed while it was read"):
        Database("asn", a_database(tmp_path / "a.mmdb"))


def test_a_broken_tree_is_seen_before_the_database_is_used(tmp_path: Path) -> None:
    content = bytearray(render_database(ASN, kind="GeoLite2-ASN"))
    content[:8] = b"\x7f\xff\xff\xff" * 2  # the root leads out of the file
    path = tmp_path / "a.mmdb"
    path.write_bytes(content)

    with pytest.raises(UsageError, match="cannot be opened"):
        Database("asn", path)


def test_a_file_that_is_no_database_is_named_and_not_the_copy_that_was_made_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.mmdb"
    path.write_text("network,country\n")

    with pytest.raises(UsageError) as caught:
        Database("country", path)

    assert f"{path} cannot be opened: it is no MaxMind-format database" in str(caught.value)
    assert "/sekisho-" not in str(caught.value)


def test_a_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mmdb"
    found = [take_fingerprint(path)]
    a_database(path)
    found.append(take_fingerprint(path))
    a_database(path)  # another file of the same bytes
    found.append(take_fingerprint(path))
    os.utime(path, (1, 1))
    found.append(take_fingerprint(path))
    path.write_bytes(b"x")
    found.append(take_fingerprint(path))

    assert len(set(found)) == len(found)
    assert take_fingerprint(path) == found[-1]
