# SPDX-License-Identifier: Apache-2.0
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import BundleError, KeySetError, SekishoError
from proxy.ledger.writer import LedgerWriter
from proxy.telemetry import Metrics
from tests.support.ledger import KEY
from tests.support.world import run_world

ASSETS = Path(__file__).parents[1] / "assets"
Flags = Callable[[Path], dict[str, Any]]

CANNOT_START: dict[str, tuple[Flags, type[SekishoError], str]] = {
    "no pseudonym key": (lambda _: {"pseudonym_key": None}, SekishoError, "sekisho keygen"),
    "a pseudonym key that is not there": (lambda p: {"pseudonym_key": p / "none"}, SekishoError, "--pseudonym-key"),
    "a pseudonym key that is none": (lambda p: {"pseudonym_key": _written(p / "k", "abc")}, SekishoError, "line 1"),
    "a GeoIP database that is not there": (lambda p: {"geoip": p / "none.mmdb"}, SekishoError, "--geoip"),
    "a GeoIP database that is none": (lambda p: {"geoip": _written(p / "x.mmdb", "no")}, SekishoError, "--geoip"),
    "a database of autonomous systems that is one of countries": (
        lambda _: {"geoip_asn": ASSETS / "country.mmdb"}, SekishoError, "--geoip-asn"),
    "a database of anonymous networks that is not there": (
        lambda p: {"geoip_anonymous": p / "none.mmdb"}, SekishoError, "--geoip-anonymous"),
    "keys that cannot be reached": (
        lambda _: {"jwks": {"corp": f"http://127.0.0.1:{_free_port()}/jwks.json"}}, KeySetError, "--jwks corp=URL"),
    "keys of an issuer nobody declared": (lambda _: {"jwks": {"crop": "http://x"}}, SekishoError, "mean 'corp'"),
    "certificates in a field that clients can write": (
        lambda _: {"client_certificate": "xfcc", "client_address": "proxy-protocol"}, SekishoError,
        "--client-address"),
    "an upstream of an API nobody declared": (lambda _: {"upstream": {"user": "http://x"}}, SekishoError, "'users'"),
    "an upstream that is no URL": (lambda _: {"upstream": {"users": "x"}}, SekishoError, "no URL"),
    "an address that is none": (lambda _: {"listen": "8080"}, SekishoError, "--listen"),
    "a name of a replica that no pod has": (lambda _: {"replica": "Tokyo_1"}, SekishoError, "name it as its pod is"),
    "a bundle that is not there": (lambda p: {"policies": p / "none"}, BundleError, "does not exist"),
    "a ledger that is a file": (lambda p: {"ledger": _written(p / "file", "") / "x"}, SekishoError, "--ledger"),
}  # fmt: skip


def _written(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, encoding="ascii")
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(("flags", "kind", "mend"), CANNOT_START.values(), ids=CANNOT_START.keys())
async def test_what_cannot_start_says_how_to_mend_it(
    tmp_path: Path, flags: Flags, kind: type[SekishoError], mend: str
) -> None:
    with pytest.raises(kind) as raised:
        async with run_world(tmp_path, "http://127.0.0.1:9", **flags(tmp_path)):
            pass
    assert mend in str(raised.value)
    assert "Traceback" not in str(raised.value)


async def test_a_port_that_is_taken_is_named_with_the_flag(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for flag in ("listen", "admin"):
            with pytest.raises(SekishoError, match=f"{address} is taken: name another with --{flag}"):
                async with run_world(tmp_path, "http://127.0.0.1:9", **{flag: address}):
                    pass


async def test_a_ledger_has_one_writer(tmp_path: Path) -> None:
    first = LedgerWriter(tmp_path / "ledger", Metrics(), KEY)
    with pytest.raises(SekishoError, match="Another gateway writes"):
        async with run_world(tmp_path, "http://127.0.0.1:9"):
            pass
    first.close()
    async with run_world(tmp_path, "http://127.0.0.1:9"):
        pass
