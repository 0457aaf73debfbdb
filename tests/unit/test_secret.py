# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from proxy.errors import FetchError
from proxy.secret import MAX_SECRET_BYTES, read_secret, read_secret_file


def test_a_secret_is_what_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    for written, secret in (("one", "one"), ("two\n", "two"), ("three\r\n", "three"), (" four \n\n", " four \n")):
        file.write_bytes(written.encode())
        assert read_secret(f"file:{file}") == read_secret_file(file) == secret
        monkeypatch.setenv("OF_A_TEST", secret)
        assert read_secret("env:OF_A_TEST") == secret


@pytest.mark.parametrize("written", [b"", b"\n", b"x" * (MAX_SECRET_BYTES + 1), b"\xff"])
def test_a_file_that_holds_none(tmp_path: Path, written: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(written)
    with pytest.raises(FetchError, match="the secret"):
        read_secret(f"file:{file}")


def test_a_place_that_holds_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OF_A_TEST", raising=False)
    for place in (f"file:{tmp_path}", f"file:{tmp_path}/none", "env:OF_A_TEST"):
        with pytest.raises(FetchError):
            read_secret(place)
