# SPDX-License-Identifier: Apache-2.0
"""The wheel by itself: installed where there is no checkout, beside the packages that it needs and nothing of ours."""

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

import pytest

from tests.support.wheel import build_wheel

VERBS: Final = {
    "its version": (["--version"], "sekisho "),
    "a first folder": (["init", "my-policies"], "holds a small bundle that loads"),
    "which loads": (["check", "my-policies"], "loads: bundle my-apis"),
    "and whose tests pass": (["test", "my-policies"], "2"),
    "a schema for editors": (["schema", "files"], "json-schema.org"),
    "the schema of the record": (["ledger", "schema"], "json-schema.org"),
    "keys of pseudonyms": (["keygen", "pseudonym.key"], "holds new keys"),
    "a key of the ledger": (["ledger", "keygen", "ledger.key", "--name", "ledger.example.com/a"], "ledger.example.com"),
    "the story, on the bundle that it brings": (["demo"], "outcomes are the expected ones"),
}
"""In this order."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; what it needs is taken from this one, as it lies there."""
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    wheel = build_wheel(folder)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True, cwd=folder)
    (place,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (place / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, check=False)


@pytest.mark.timeout(300)
def test_every_first_step_works_where_there_is_no_checkout(installed: Path) -> None:
    told = _run(installed, str(installed / "venv" / "bin" / "python"), "-c", "import proxy; print(proxy.__file__)")
    assert told.stdout.startswith(f"{installed}/venv/"), told
    for sentence, (arguments, said) in VERBS.items():
        ran = _run(installed, str(installed / "venv" / "bin" / "sekisho"), *arguments)
        assert ran.returncode == 0, f"{sentence}: {ran.stdout}{ran.stderr}"
        assert said in ran.stdout, f"{sentence}: {ran.stdout}"
