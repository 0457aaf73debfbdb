# SPDX-License-Identifier: Apache-2.0
import re
import stat
from pathlib import Path

import pytest

from proxy.assertion.key_file import read_keys
from proxy.cli import main


@pytest.mark.parametrize(("flags", "algorithm"), [([], "EdDSA"), (["--algorithm", "ES256"], "ES256")])
def test_a_key_is_written_for_its_owner_alone_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], algorithm: str
) -> None:
    file = tmp_path / "keys"
    assert main(["keys", "new", str(file), *flags]) == 0
    (key,) = read_keys(file)
    assert key.algorithm == algorithm
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    out = capsys.readouterr().out
    assert f"SEKISHO_ASSERTION_KEY={file}" in out
    assert key.id in out
    assert not re.search(r"[0-9a-f]{16}", out)


def test_no_file_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", str(tmp_path)]) == 2
    assert "exists" in capsys.readouterr().err
