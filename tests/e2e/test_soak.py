# SPDX-License-Identifier: Apache-2.0
"""A minute under every fault of callers and API; ``make soak`` is the same for an hour."""

from pathlib import Path
from typing import Final

import pytest

from bench.soak import SETTLE_SECONDS, soak

SECONDS: Final = 60.0
SEED: Final = 7


@pytest.mark.timeout(SECONDS + SETTLE_SECONDS + 120)
def test_a_minute_of_faults_leaves_nothing_behind_and_gives_nobody_what_is_anothers(tmp_path: Path) -> None:
    outcome = soak(tmp_path, SECONDS, SEED)
    assert outcome.problems == []
    assert outcome.faults.total() > 0
