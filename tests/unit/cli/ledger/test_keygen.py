# SPDX-License-Identifier: Apache-2.0
import argparse
import stat
from pathlib import Path

import pytest

from proxy.cli.ledger import keygen
from proxy.errors import UsageError
from proxy.ledger.key_file import read_signing_key, read_verifier_keys

NAME = "ledger.example/tokyo-1"


def _run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    keygen.configure(parser)
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


def test_a_key_is_made_and_its_verifier_key_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key"
    assert _run(str(file), "--name", NAME) == 0
    out = capsys.readouterr().out
    key = read_signing_key(file)
    assert key.name == NAME
    assert read_verifier_keys(tmp_path / "key.pub") == (key.verifier,)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"\n{key.verifier}\n" in out, "on a line of its own, to be copied"
    assert key.render() not in out, "the key itself is never shown"
    assert str(file) in out


def test_two_keys_of_one_name_differ(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert _run(str(tmp_path / name), "--name", NAME) == 0
    assert read_signing_key(tmp_path / "a").verifier != read_signing_key(tmp_path / "b").verifier


def test_no_name_is_taken_silently(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _run(str(tmp_path / "key"))
    assert "--name" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("tokyo 1", id="a space"),
        pytest.param("a+b", id="a plus"),
        pytest.param("a\tb", id="a tab"),
        pytest.param("a\x7fb", id="a control character that C2SP lets pass"),
        pytest.param("a\u202eb", id="a character that turns the direction of reading"),
        pytest.param("a\u200bb", id="a space of no width"),
        pytest.param("a\udcffb", id="bytes that are no UTF-8"),
    ],
)
def test_what_is_no_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--name cannot be"):
        _run(str(tmp_path / "key"), "--name", name)
    assert not list(tmp_path.iterdir())


def test_a_key_is_never_written_over_another(tmp_path: Path) -> None:
    file = tmp_path / "key"
    assert _run(str(file), "--name", NAME) == 0
    before = file.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        _run(str(file), "--name", NAME)
    assert file.read_bytes() == before
