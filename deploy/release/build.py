# SPDX-License-Identifier: Apache-2.0
"""``python -m deploy.release.build DIR``: wheel and source archive of the last commit, the same bytes each time."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from deploy.release.commit import ROOT, export_commit, read_epoch


def build(folder: Path, root: Path = ROOT) -> list[Path]:
    """Build what the last commit of a checkout holds, and return what was made.

    Args:
        folder: where it goes; of one name, what was there is replaced.
        root: the checkout.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with export_commit(root) as source:
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--target", "sdist"]
        built = subprocess.run(
            [*command, "--directory", str(folder.resolve())],
            cwd=source, check=True, capture_output=True, text=True,
            env={"PATH": os.defpath, "SOURCE_DATE_EPOCH": str(read_epoch(root)), "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    names = (Path(line.strip()).name for line in (built.stdout + built.stderr).splitlines())
    return [folder / name for name in names if name.endswith((".whl", ".tar.gz"))]


def main() -> int:
    """Build, and say what."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release.build", description=__doc__)
    parser.add_argument("folder", type=Path, help="where it goes, such as dist")
    for path in build(parser.parse_args().folder):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
