# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest

from proxy.cli import main
from tests.support.assertions import KEY, NEXT, write_assertion_keys


def test_all_public_keys_are_printed_and_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "export", str(write_assertion_keys(tmp_path / "keys", NEXT))]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == {"keys": [KEY.public, NEXT.public]}
    assert "d" not in KEY.public.keys() | NEXT.public.keys()


def test_no_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "export", str(tmp_path / "none")]) == 2
    assert "Make one with `sekisho keys new FILE`" in capsys.readouterr().err
