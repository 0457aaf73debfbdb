# SPDX-License-Identifier: Apache-2.0
"""``make pin-images``, before a docker of the test's own."""

import os
import shutil
from pathlib import Path
from typing import Final

import pytest
import yaml

from deploy.images import KUSTOMIZATION, ROOT, find_files, find_images, main, pin, pin_replaced, read_replaced
from deploy.validation.kubernetes import KUBECTL, render
from proxy.version import VERSION
from tests.support.manifests import read_pods

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


PLACE: Final = "registry.example:5000/team/sekisho"


@pytest.mark.parametrize(
    ("entry", "pinned"),
    [
        pytest.param(
            f"  - name: sekisho\n    newName: {PLACE}\n    newTag: 0.1.0   # a remark\n",
            f"  - name: sekisho\n    newName: {PLACE}\n    digest: {B}\n    newTag: 0.1.0   # a remark\n",
            id="a place and a tag",
        ),
        pytest.param(
            f"  - newTag: '0.10'\n    newName: {PLACE}\n    name: sekisho\n",
            f"  - digest: {B}\n    newTag: '0.10'\n    newName: {PLACE}\n    name: sekisho\n",
            id="in another order, and the tag in quotes",
        ),
        pytest.param(
            f"  - {{name: sekisho, newName: {PLACE}, newTag: v4}}\n",
            f"  - {{name: sekisho, newName: {PLACE}, digest: {B}, newTag: v4}}\n",
            id="on one line",
        ),
        pytest.param(
            f"  - name: sekisho\n    digest: {A}\n    newTag: 0.1.0\n    newName: {PLACE}\n",
            f"  - name: sekisho\n    digest: {B}\n    newTag: 0.1.0\n    newName: {PLACE}\n",
            id="pinned already",
        ),
        pytest.param("  - name: sekisho\n    newTag: 0.1.0\n", None, id="no place yet"),
        pytest.param(f"  - name: sekisho\n    newName: {PLACE}\n", None, id="no tag yet"),
        pytest.param(f"  - name: sekisho\n    newName: {PLACE}\n    digest: {A}\n", None, id="a digest and no tag"),
    ],
)
def test_an_image_of_a_kustomization_is_pinned_where_it_is_said_where_it_lies(entry: str, pinned: str | None) -> None:
    text, rest = f"resources: [a.yaml]\nimages:\n  # where it lies\n{entry}", "  - name: other\n    newTag: v1\n"
    found, other = read_replaced(text + rest)
    assert other.is_open
    tag = yaml.safe_load(entry)[0].get("newTag")  # noqa: TID251 - a row above
    assert found.tagged == ("" if pinned is None else f"{PLACE}:{tag}")
    digests = {f"{PLACE}:{tag}": B, "sekisho:0.1.0": B}
    after = pin_replaced(text + rest, digests)
    assert after == (text + rest if pinned is None else text.replace(entry, pinned) + rest)
    assert pin_replaced(after, digests) == after


def test_a_kustomization_without_images_is_left_as_it_is() -> None:
    assert read_replaced("resources: [a.yaml]\n") == []


def test_overlays_are_pinned_with_the_rest_and_those_that_cannot_be_are_named(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay = checkout / "deploy" / "kubernetes" / "overlays" / "gateway" / KUSTOMIZATION
    overlay.write_text(
        overlay.read_text(encoding="utf-8").replace("- name: sekisho\n", f"- name: sekisho\n    newName: {PLACE}\n"),
        encoding="utf-8",
    )
    _know(tmp_path, KNOWN | {f"{PLACE}:{VERSION}": B})
    assert main(checkout) == 0
    told = capsys.readouterr()
    assert f"{PLACE}:{VERSION}@{B}" in told.out.splitlines()
    (image,) = read_replaced(overlay.read_text(encoding="utf-8"))
    assert not image.is_open
    left = (
        "deploy/kubernetes/overlays/sidecar-policies-git/kustomization.yaml: git-sync is not pinned: say where it lies"
    )
    assert left in told.err
    assert f"{overlay.relative_to(checkout)}:" not in told.err


@pytest.mark.skipif(shutil.which("kubectl") is None, reason=f"there is no kubectl here ({KUBECTL})")
def test_kustomize_writes_the_digest_behind_the_tag(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "overlay"
    folder.mkdir()
    entry = f"images:\n  - name: sekisho\n    newName: {PLACE}\n    newTag: 0.1.0\n"
    pinned = pin_replaced(f"resources: [pod.yaml]\n{entry}", {f"{PLACE}:0.1.0": B})
    (folder / KUSTOMIZATION).write_text(pinned, encoding="utf-8")
    pod = checkout / "deploy" / "kubernetes" / "overlays" / "canary" / "canary.yaml"
    shutil.copy(pod, folder / "pod.yaml")
    (canary,) = read_pods(render(folder))
    assert [each["image"] for each in canary.containers] == [f"{PLACE}:0.1.0@{B}"]
