# SPDX-License-Identifier: Apache-2.0
import contextlib
from pathlib import Path
from typing import Final

import pytest

from proxy.bundle.check import load_bundle
from proxy.errors import UsageError
from proxy.lifecycle.limits import check_counts
from proxy.volume.options import VolumeOptions
from tests.support.bundle_folder import edited, write_bundle

LIMIT: Final = "rules:\n  - {id: few, effect: deny, when: {counts.subjects_1h: {gt: 100}}}\n"
SHARED: Final = VolumeOptions(counts="redis://cache:6379/0")


@pytest.mark.parametrize(
    ("rules", "options", "workers", "is_refused"),
    [
        pytest.param(LIMIT, VolumeOptions(), 2, True, id="two workers would each count by themselves"),
        pytest.param(LIMIT, VolumeOptions(), 1, False, id="one worker counts for itself"),
        pytest.param(LIMIT, SHARED, 2, False, id="two workers share a Redis"),
        pytest.param("rules:\n", VolumeOptions(), 2, False, id="nothing is counted"),
    ],
)
def test_limits_that_cannot_be_counted_are_refused(
    tmp_path: Path,
    rules: str,
    options: VolumeOptions,
    workers: int,
    is_refused: bool,  # noqa: FBT001
) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, edited(("rules.yaml", "rules:\n", rules))))
    message = "'few' of the bundle small asks how much a caller has read, and 2 workers .* SEKISHO_COUNTS=redis://"
    with pytest.raises(UsageError, match=message) if is_refused else contextlib.nullcontext():
        check_counts(snapshot, options, workers)
