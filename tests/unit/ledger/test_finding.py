# SPDX-License-Identifier: Apache-2.0
"""How a finding reads."""

import pytest

from proxy.ledger.finding import Finding


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (Finding("edited", "a", 6, 5, "was changed"), "a:6 (n 5): was changed"),
        (Finding("foreign", "a", 0, -1, "is foreign"), "a: is foreign"),
        (Finding("inserted", "a", 6, -1, "was put in"), "a:6: was put in"),
        (Finding("cut", "", 0, -1, "the ledger was cut"), "the ledger was cut"),
    ],
    ids=["a line", "a file", "a line without a number", "the whole"],
)
def test_a_finding_names_its_place(finding: Finding, expected: str) -> None:
    assert str(finding) == expected
