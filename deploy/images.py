# SPDX-License-Identifier: Apache-2.0
"""``python -m deploy.images``: puts the digest behind the tag of every image that is named (``make pin-images``).

A registry says what a tag means today; a digest goes on meaning that. All of them are asked for before anything is
written, and a digest that stands there already is replaced: what follows the tag is never trusted to be its own.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PATTERNS: Final = ("Dockerfile", "deploy/**/Dockerfile", "deploy/compose/compose.yaml")
"""Which files name images, below the root. Overlays of Kubernetes are pinned by `digest` in place of `newTag`."""
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


def pin_files(paths: Iterable[Path]) -> dict[str, str]:
    """Pin every image that the files name, and return the digests.

    Raises:
        PinError: one cannot be had; then no file was changed.
    """
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    images = dict.fromkeys(image for text in texts.values() for image in find_images(text))
    digests = {image: ask_registry(image) for image in images}
    for path, text in texts.items():
        path.write_text(pin(text, digests), encoding="utf-8")
    return digests


def main(root: Path = ROOT) -> int:
    """Pin, and tell; 2 if that cannot be done."""
    if shutil.which("docker") is None:
        print("docker is missing: run this where it is installed and can reach the registries.", file=sys.stderr)
        return 2
    try:
        digests = pin_files(find_files(root))
    except (PinError, subprocess.TimeoutExpired) as error:
        print(f"{error}\nNo file was changed.", file=sys.stderr)
        return 2
    for image, digest in digests.items():
        print(f"{image}@{digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
