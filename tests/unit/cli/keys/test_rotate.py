# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from proxy.assertion.key_file import read_keys
from proxy.assertion.keys import ES256, RETIRED_SECONDS, AssertionKey, make_ring_text
from proxy.cli import main
from proxy.clock import unix_seconds
from tests.support.assertions import KEY, write_assertion_keys


def test_the_new_key_is_published_now_and_signs_in_an_hour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_assertion_keys(tmp_path / "keys")
    before = unix_seconds()
    assert main(["keys", "rotate", str(file)]) == 0
    keys = read_keys(file)
    old, new = keys
    assert old.id == KEY.id
    assert before + 3599 <= new.since <= unix_seconds() + 3601
    assert keys.at(unix_seconds()) is old
    assert keys.at(new.since) is new
    assert new.algorithm == old.algorithm
    out = capsys.readouterr().out
    assert new.id in out
    assert "gone" not in out


def test_a_key_of_another_algorithm_is_added_and_one_long_replaced_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys"
    file.write_text(make_ring_text(KEY), encoding="ascii")
    replaced_by = AssertionKey.generate(unix_seconds() - RETIRED_SECONDS - 5, ES256)
    write_assertion_keys(file, replaced_by)
    assert main(["keys", "rotate", str(file), "--after", "5m", "--algorithm", "EdDSA"]) == 0
    kept, new = read_keys(file)
    assert (kept.id, new.algorithm) == (replaced_by.id, "EdDSA")
    assert "1 that signed nothing for an hour is gone" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        pytest.param(["--after", "1 hour"], "--after: '1 hour' is no duration", id="no duration"),
        pytest.param(["--after", "5m"], "holds a key already that signs from", id="before one that is to come"),
    ],
)
def test_what_cannot_be_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    file = write_assertion_keys(tmp_path / "keys", AssertionKey.generate(unix_seconds() + 1000, ES256))
    before = file.read_bytes()
    assert main(["keys", "rotate", str(file), *flags]) == 2
    assert told in capsys.readouterr().err
    assert file.read_bytes() == before
