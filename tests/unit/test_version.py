# SPDX-License-Identifier: Apache-2.0
"""The version: the one that pyproject.toml says, in a form that installers read."""

import re
import tomllib
from pathlib import Path

import proxy
from proxy.version import VERSION


def test_the_version_is_that_of_the_project() -> None:
    project = Path(proxy.__file__).parents[1] / "pyproject.toml"
    assert tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"] == VERSION


def test_the_version_is_a_public_one_of_pep_440() -> None:
    assert re.fullmatch(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?", VERSION)
