# SPDX-License-Identifier: Apache-2.0
"""What the sample issuers keep is kept, and is nobody else's to read."""

import os
import ssl
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector, web

from proxy.demo.issuer import make_issuer_app
from proxy.demo.issuer_keys import open_issuers, open_tls
from proxy.demo.story import ISSUERS
from proxy.errors import UsageError


def test_keys_are_made_once_and_are_the_same_afterwards(tmp_path: Path) -> None:
    first, second = open_issuers(tmp_path), open_issuers(tmp_path)
    assert first.keys() == ISSUERS.keys()
    assert [each.key_set() for each in first.values()] == [each.key_set() for each in second.values()]


def test_only_the_certificate_can_be_read_by_others(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        open_issuers(tmp_path)
        open_tls(tmp_path, tmp_path / "shown.pem", "issuer")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"corp.pem": 0o600, "naver-sso.pem": 0o600, "tls.pem": 0o600, "shown.pem": 0o644}


async def test_whoever_trusts_the_certificate_trusts_the_service_by_its_name(tmp_path: Path) -> None:
    shown = tmp_path / "shown.pem"
    issuers = open_issuers(tmp_path)
    runner = web.AppRunner(make_issuer_app(issuers))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=open_tls(tmp_path, shown, "issuer")).start()
        trusting = ssl.create_default_context(cafile=str(shown))
        trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # Python 3.13 asks for that by itself
        url = f"https://127.0.0.1:{runner.addresses[0][1]}/corp/jwks.json"
        async with ClientSession(connector=TCPConnector(ssl=trusting)) as session:
            async with session.get(url, server_hostname="issuer") as response:
                assert await response.json(content_type=None) == issuers["corp"].key_set()
            with pytest.raises(OSError, match="certificate verify failed"):
                await session.get(url, server_hostname="elsewhere")
    finally:
        await runner.cleanup()


def test_a_certificate_of_another_key_is_refused_with_the_mend(tmp_path: Path) -> None:
    shown, keys = tmp_path / "shown.pem", tmp_path / "keys"
    keys.mkdir()
    open_tls(tmp_path, shown, "issuer")
    with pytest.raises(UsageError, match=r"remove it, and another one is made"):
        open_tls(keys, shown, "issuer")


@pytest.mark.parametrize("text", [b"", b"\xff", b"-----BEGIN PRIVATE KEY-----\n"], ids=["empty", "no text", "cut off"])
def test_a_key_that_is_none_is_refused_with_the_mend(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "corp.pem").write_bytes(text)
    with pytest.raises(UsageError, match=r"corp\.pem is no key .* remove it"):
        open_issuers(tmp_path)


def test_a_folder_that_is_not_there_is_refused_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be made: No such file or directory\. Name another folder"):
        open_issuers(tmp_path / "absent")
