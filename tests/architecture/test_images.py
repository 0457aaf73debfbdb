# SPDX-License-Identifier: Apache-2.0
"""``make pin-images``, before a docker of the test's own."""

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from deploy.images import ROOT, find_files, find_images, main, pin

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
KNOWN: Final = {
    "python:3.13-slim-bookworm": A,
    "prom/prometheus:v2.53.0": A,
    "prom/alertmanager:v0.27.0": B,
    "grafana/grafana:11.1.0": A,
}
SCRIPT: Final = """#!/bin/sh
[ "$1 $2 $3 $5" = "buildx imagetools inspect --format" ] || exit 64
digest=$(sed -n "s|^$4 ||p" "$(dirname "$0")/known")
[ -n "$digest" ] || { echo "ERROR: $4: not found" >&2; exit 1; }
echo "$digest"
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the files that name images, with a docker that knows what the table says."""
    root, program = tmp_path / "checkout", tmp_path / "bin" / "docker"
    for path in find_files(ROOT):
        target = root / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    program.parent.mkdir()
    program.write_text(SCRIPT, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    _know(tmp_path, KNOWN)
    return root


def _know(folder: Path, digests: dict[str, str]) -> None:
    lines = "".join(f"{image} {digest}\n" for image, digest in digests.items())
    (folder / "bin" / "known").write_text(lines, encoding="utf-8")


def _read(root: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in find_files(root))


def test_every_image_that_is_named_is_pinned_and_nothing_else_changes(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _read(checkout)
    assert set(find_images(before)) == KNOWN.keys()
    assert main(checkout) == 0
    told, after = capsys.readouterr().out.splitlines(), _read(checkout)
    assert sorted(told) == sorted(f"{image}@{digest}" for image, digest in KNOWN.items())
    for pinned in told:
        assert pinned in after
        after = after.replace(pinned, pinned.partition("@")[0])
    assert after == before


def test_it_can_be_done_again_and_takes_what_a_tag_means_by_then(checkout: Path, tmp_path: Path) -> None:
    assert main(checkout) == 0
    once = _read(checkout)
    assert main(checkout) == 0
    assert _read(checkout) == once
    _know(tmp_path, KNOWN | {"python:3.13-slim-bookworm": B})
    assert main(checkout) == 0
    assert f"ARG PYTHON_IMAGE=python:3.13-slim-bookworm@{B}\n" in _read(checkout)


@pytest.mark.parametrize("digest", ["", "sha256:1234", "<html>"], ids=["none", "a short one", "something else"])
def test_where_a_digest_cannot_be_had_no_file_is_changed(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], digest: str
) -> None:
    _know(tmp_path, KNOWN | {"grafana/grafana:11.1.0": digest})
    before = _read(checkout)
    assert main(checkout) == 2
    assert _read(checkout) == before
    assert "grafana/grafana:11.1.0: no digest could be had" in capsys.readouterr().err


def test_without_docker_it_says_where_to_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(tmp_path) == 2
    assert "docker is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ARG PYTHON_IMAGE=python:3.13\n", ["python:3.13"]),
        (f"    image: prom/prometheus:v2@{A}  # a remark\n", ["prom/prometheus:v2"]),
        ("    image: registry.example:5000/team/api:1.0\n", ["registry.example:5000/team/api:1.0"]),
        ("    image: sekisho:0.1.0\n", []),
        ("FROM busybox:1.36 AS copy\n", ["busybox:1.36"]),
        ("FROM ${PYTHON_IMAGE} AS build\n", []),
        ("    image: sekisho\n# image: python:3\n", []),
    ],
    ids=["an argument", "pinned already", "a registry with a port", "ours", "a stage", "by argument", "no tag"],
)
def test_images_are_found_where_they_are_named(text: str, found: list[str]) -> None:
    assert find_images(text) == found
    pinned = pin(text, dict.fromkeys(found, B))
    assert all(f"{image}@{B}" in pinned for image in found)
    assert pin(pinned, dict.fromkeys(found, B)) == pinned
