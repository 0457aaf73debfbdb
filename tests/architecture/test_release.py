# SPDX-License-Identifier: Apache-2.0
"""What a release consists of: the same bytes wherever it is made, and all that is needed."""

import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.release.build import build
from deploy.release.commit import ROOT
from deploy.release.sbom import Described, complete, describe_installed, find_graph, find_needed, normalise, render

MIT: Final = ({"expression": "MIT", "acknowledgement": "declared"},)


def _git(folder: Path, *arguments: str) -> None:
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["/usr/bin/env", "git", *author, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of what lies here, committed or not."""
    folder = tmp_path_factory.mktemp("checkout") / "here"
    shutil.copytree(ROOT, folder, symlinks=True, ignore=shutil.ignore_patterns(
        ".git", ".venv*", "node_modules", "__pycache__", ".*_cache", ".hypothesis", "dist", "corpus"))  # fmt: skip
    _git(folder, "init", "--quiet")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "all", "--date", "2026-11-01T00:00:00Z")
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"), checkout)[0]


def test_wheel_and_source_archive_are_the_same_bytes_in_another_folder_for_another_user(
    checkout: Path, wheel: Path, tmp_path: Path
) -> None:
    other = tmp_path / "quite" / "another place"
    before = os.umask(0o077)
    try:
        _git(checkout, "clone", "--quiet", ".", str(other))
        (other / "proxy" / "no_commit_has_it.py").write_text("", encoding="utf-8")
        (other / "proxy" / "version.py").write_text("", encoding="utf-8")
        again = build(tmp_path / "dist", other)
    finally:
        os.umask(before)
    assert [path.suffix for path in again] == [".whl", ".gz"]
    for path in again:
        first = wheel.with_name(path.name)
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(first.read_bytes()).digest(), path.name


def test_the_wheel_carries_what_it_needs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {*archive.namelist()}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "proxy").rglob("*.py")}
    bundle = {f"proxy/demo/{path.relative_to(ROOT)}" for path in (ROOT / "policies").rglob("*") if path.is_file()}
    told = {name for name in names if ".dist-info/" in name}
    assert names - told == modules | bundle | {"proxy/py.typed"}
    assert {name.partition(".dist-info/")[2] for name in told} == {
        "METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"
    }  # fmt: skip


NEEDED: Final[dict[str, tuple[list[str], set[str], dict[str, set[str]]]]] = {
    "a range": (["aiohttp>=3.14,<4"], set(), {"aiohttp": set()}),
    "an extra of another": (["pyjwt[crypto]>=2"], set(), {"pyjwt": {"crypto"}}),
    "one name, however it is written": (["Typing_Extensions (>=4)"], set(), {"typing-extensions": set()}),
    "for other systems and Pythons too": (['uvloop>=0.21; sys_platform != "win32"'], set(), {"uvloop": set()}),
    "not for an extra that nobody asked for": (['cryptography; extra == "crypto"'], set(), {}),
    "for one that somebody asked for": (["cryptography; extra == 'crypto'"], {"crypto"}, {"cryptography": set()}),
}


@pytest.mark.parametrize(("requirements", "extras", "needed"), NEEDED.values(), ids=NEEDED)
def test_who_is_needed(requirements: list[str], extras: set[str], needed: dict[str, set[str]]) -> None:
    assert find_needed(requirements, extras) == needed


def test_the_graph_follows_extras_and_ends_in_circles() -> None:
    described = {
        "a": Described("1", MIT, ("b; extra == 'x'", "c")),
        "b": Described("1", MIT, ("a",)),
        "c": Described("1", (), ()),
    }
    assert find_graph(["a[x]"], described) == {"": ["a"], "a": ["b", "c"], "b": ["a"], "c": []}


def _bom(*packages: tuple[str, str]) -> dict[str, Any]:
    return {
        "metadata": {"component": {"bom-ref": "root-component", "name": "sekisho", "version": "1"}},
        "components": [
            {"bom-ref": f"line {name}", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}",
             "description": "a line"}
            for name, version in packages
        ],
    }  # fmt: skip


def test_a_bill_says_who_needs_whom_under_which_licence_for_which_wheel(tmp_path: Path) -> None:
    (tmp_path / "wheel").write_bytes(b"w")
    bom = _bom(("b", "2"), ("a", "1"), ("elsewhere", "3"))
    complete(
        bom, {"a": Described("1", MIT, ("b",)), "b": Described("2", (), ())}, ["a", "elsewhere"], tmp_path / "wheel"
    )
    first, second, third = bom["components"]
    assert (first["name"], first["licenses"], second["name"], third["name"]) == ("a", [*MIT], "b", "elsewhere")
    assert "licenses" not in second
    assert bom["dependencies"] == [
        {"ref": "pkg:pypi/a@1", "dependsOn": ["pkg:pypi/b@2"]},
        {"ref": "pkg:pypi/b@2", "dependsOn": []},
        {"ref": "pkg:pypi/elsewhere@3", "dependsOn": []},
        {"ref": "root-component", "dependsOn": ["pkg:pypi/a@1", "pkg:pypi/elsewhere@3"]},
    ]
    assert bom["metadata"]["component"]["hashes"][0]["content"] == hashlib.sha256(b"w").hexdigest()
    assert render(bom) == render({**dict(reversed(bom.items()))})


def test_a_bill_does_not_speak_of_versions_that_are_not_locked(tmp_path: Path) -> None:
    (tmp_path / "wheel").write_bytes(b"w")
    with pytest.raises(ValueError, match="a 2 is installed, and 1 is locked: make setup"):
        complete(_bom(("a", "1")), {"a": Described("2", MIT, ())}, [], tmp_path / "wheel")


def test_what_is_installed_here_is_what_a_release_locks() -> None:
    text = (ROOT / "deploy" / "lock" / "runtime.txt").read_text(encoding="utf-8")
    locked = {normalise(name): version for name, version in re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", text)}
    described = describe_installed()
    assert len(locked) > 30
    assert {name: described[name].version for name in locked if name in described} == {
        name: version for name, version in locked.items() if name in described
    }


def test_the_version_stands_in_one_place() -> None:
    (version,) = re.findall(r'(?m)^version = "([^"]+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for path in [*(ROOT / "proxy").rglob("*.py"), ROOT / "Dockerfile", ROOT / "Makefile"]:
        assert version not in re.findall(r"\d+\.\d+\.\d+", path.read_text(encoding="utf-8")), path
