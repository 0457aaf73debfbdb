# SPDX-License-Identifier: Apache-2.0
"""What loads bundles with large registers, and tells what is wrong with one."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.errors import BundleError
from tests.support.bundle_folder import Load, Problems, write_bundle


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_files(found: Mapping[str, str]) -> Snapshot:
        return load_bundle(write_bundle(tmp_path / "policies", found), None, tmp_path / "registers")

    return load_files


@pytest.fixture
def problems(load: Load, tmp_path: Path) -> Problems:
    def tell(found: Mapping[str, str]) -> list[str]:
        with pytest.raises(BundleError) as told:
            load(found)
        return [problem.replace(f"{tmp_path}/policies/", "") for problem in told.value.problems]

    return tell
