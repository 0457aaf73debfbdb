# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at random moments under load: each answer has its record, and the ledger verifies after each start.

``python -m bench.ledger_kill`` does the same for as long as one likes.
"""

from pathlib import Path

import pytest

from bench import kills
from tests.support.ledger import read_verified

ROUNDS = [
    pytest.param("written", 3, 1, id="in the kernel"),
    pytest.param("synced", 2, 2, id="on disk"),
]


@pytest.mark.parametrize(("durability", "count", "seed"), ROUNDS)
async def test_no_answer_is_without_its_record_whenever_the_gateway_dies(
    tmp_path: Path, durability: str, count: int, seed: int
) -> None:
    done = [kill async for kill in kills.run(tmp_path, durability, count, seed, longest=0.6, at_start=0.5)]
    assert [problem for kill in done for problem in kill.problems] == []
    assert any(kill.answers for kill in done)
    assert any(kill.changes for kill in done)
    records = read_verified(tmp_path / "ledger", kills.KEY)
    assert sum(record["line"] == "start" for record in records) >= count + 1
