# SPDX-License-Identifier: Apache-2.0
"""``python -m deploy.images``: puts the digest behind the tag of every image that is named (``make pin-images``).

A registry says what a tag means today; a digest goes on meaning that. All of them are asked for before anything is
written, and a digest that stands there already is replaced: what follows the tag is never trusted to be its own.

Overlays of Kubernetes name images twice: manifests by a plain word, and ``images`` of a kustomization says where it
lies (``newName``) and which it is (``newTag``). One whose place is not said yet lies in no registry to be asked.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import yaml

ROOT: Final = Path(__file__).parents[1]
PATTERNS: Final = ("Dockerfile", "deploy/**/Dockerfile", "deploy/compose/compose.yaml", "deploy/kubernetes/**/*.yaml")
"""Which files name images, below the root."""
KUSTOMIZATION: Final = "kustomization.yaml"
OURS: Final = "sekisho"
"""It is built from the checkout and lies in no registry."""
PROGRAM_SECONDS: Final = 60
_NAMED: Final = re.compile(
    r"^(?P<before>ARG [A-Z_]+_IMAGE=|FROM |\s+image: )"
    r"(?P<tagged>[a-z0-9][a-z0-9._/-]*(?::[0-9]+/[a-z0-9._/-]+)?:[\w.-]+)"
    r"(?:@sha256:[0-9a-f]{64})?(?=\s|$)",
    re.MULTILINE,
)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class PinError(Exception):
    """An image's digest cannot be had; the message says why."""


def find_images(text: str) -> list[str]:
    """Return the images that a file names, with their tags, but for ours."""
    found = (match["tagged"] for match in _NAMED.finditer(text))
    return [tagged for tagged in found if tagged.rpartition(":")[0] != OURS]


def pin(text: str, digests: Mapping[str, str]) -> str:
    """Return a file with the digest behind each image that has one."""

    def render(match: re.Match[str]) -> str:
        tagged = match["tagged"]
        return f"{match['before']}{tagged}@{digests[tagged]}" if tagged in digests else match[0]

    return _NAMED.sub(render, text)


class Replaced(msgspec.Struct, frozen=True):
    """An entry of ``images`` in a kustomization, and where its digest stands, or would."""

    name: str
    """By which manifests call it."""
    tagged: str
    """Where it lies and which it is; empty where either is not said."""
    start: int
    end: int
    """Between which characters of the text the digest is written, key and value."""
    after: str
    """What comes behind a digest that is new, before the next key; empty where there is one already."""

    @property
    def is_open(self) -> bool:
        """Whether nothing says what it is: it has no digest, and no registry can be asked for one."""
        return bool(self.after) and not self.tagged


def read_replaced(text: str) -> list[Replaced]:
    """Return the images that a kustomization replaces others by."""
    fields = _by_key(yaml.compose(text, Loader=yaml.SafeLoader))
    return [_read_entry(entry) for entry in fields["images"][1].value] if "images" in fields else []


def _read_entry(entry: yaml.MappingNode) -> Replaced:
    fields = _by_key(entry)
    name, place, tag = (fields[key][1].value if key in fields else "" for key in ("name", "newName", "newTag"))
    tagged = f"{place}:{tag}" if place and tag else ""
    if "digest" in fields:
        key, value = fields["digest"]
        return Replaced(name, tagged, key.start_mark.index, value.end_mark.index, "")
    key, _ = fields["newTag" if tag else "name"]
    after = ", " if entry.flow_style else f"\n{' ' * key.start_mark.column}"
    return Replaced(name, tagged, key.start_mark.index, key.start_mark.index, after)


def _by_key(node: yaml.Node | None) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return {key.value: (key, value) for key, value in pairs}


def pin_replaced(text: str, digests: Mapping[str, str]) -> str:
    """Return a kustomization with the digest of each image that has one; kustomize writes it behind the tag."""
    for each in reversed(read_replaced(text)):
        if each.tagged in digests:
            text = f"{text[: each.start]}digest: {digests[each.tagged]}{each.after}{text[each.end :]}"
    return text


def ask_registry(image: str) -> str:
    """Return what an image's tag means now, for all its platforms.

    Raises:
        PinError: nobody says.
    """
    run = subprocess.run(
        ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"],
        capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    digest = run.stdout.strip()
    if run.returncode or not _DIGEST.fullmatch(digest):
        raise PinError(
            f"{image}: no digest could be had: {(run.stderr or run.stdout).strip() or 'docker says nothing'}"
        )
    return digest


def find_files(root: Path) -> list[Path]:
    """Return the files that name images."""
    return sorted({path for pattern in PATTERNS for path in root.glob(pattern)})


def _list_images(path: Path, text: str) -> list[str]:
    if path.name == KUSTOMIZATION:
        return [each.tagged for each in read_replaced(text) if each.tagged]
    return find_images(text)


def pin_files(paths: Iterable[Path]) -> dict[str, str]:
    """Pin every image that the files name, and return the digests.

    Raises:
        PinError: one cannot be had; then no file was changed.
    """
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    images = dict.fromkeys(image for path, text in texts.items() for image in _list_images(path, text))
    digests = {image: ask_registry(image) for image in images}
    for path, text in texts.items():
        changed = (pin_replaced if path.name == KUSTOMIZATION else pin)(text, digests)
        if changed != text:
            path.write_text(changed, encoding="utf-8")
    return digests


def main(root: Path = ROOT) -> int:
    """Pin, and tell; 2 if that cannot be done."""
    if shutil.which("docker") is None:
        print("docker is missing: run this where it is installed and can reach the registries.", file=sys.stderr)
        return 2
    paths = find_files(root)
    try:
        digests = pin_files(paths)
    except (PinError, subprocess.TimeoutExpired) as error:
        print(f"{error}\nNo file was changed.", file=sys.stderr)
        return 2
    for image, digest in digests.items():
        print(f"{image}@{digest}")
    for path in paths:
        if path.name == KUSTOMIZATION:
            for name in (each.name for each in read_replaced(path.read_text(encoding="utf-8")) if each.is_open):
                print(f"{path.relative_to(root)}: {name} is not pinned: say where it lies, newName.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
