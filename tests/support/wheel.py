# SPDX-License-Identifier: Apache-2.0
"""The wheel, built as ``make wheel`` builds it, of a checkout."""

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def build_wheel(folder: Path, source: Path = ROOT, *, epoch: int = 1_700_000_000) -> Path:
    """Build the wheel of what lies in a checkout, changed or not, and return where it is.

    Args:
        folder: where it goes.
        source: the checkout.
        epoch: when its last commit was made, in seconds since 1970.
    """
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    built = subprocess.run(
        ["/usr/bin/env", f"SOURCE_DATE_EPOCH={epoch}", *command],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel
