# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from proxy.bundle.check import load_bundle
from tests.support.bundle_folder import edited, write_bundle


@pytest.mark.parametrize(
    ("rule", "note"),
    [
        pytest.param(
            "{id: r, effect: deny, when: {caller.groups: {any: [banned]}}}",
            "rule r does not deny whoever lacks the claim behind caller.groups",
            id="a deny that is escaped by leaving a claim out",
        ),
        pytest.param(
            "{id: r, effect: deny, when: {caller.site_country: CN}}",
            "rule r may apply to everybody: no issuer maps caller.site_country",
            id="a deny of what nobody tells",
        ),
        pytest.param(
            "{id: r, effect: mask, transforms: {user: redact}, when: {caller.site_country: CN}}",
            "rule r may apply to everybody: no issuer maps caller.site_country",
            id="a mask of what nobody tells",
        ),
        pytest.param(
            "{id: r, effect: allow, when: {caller.site_country: JP}}",
            "rule r can never allow: no issuer maps caller.site_country",
            id="an allowance of what nobody tells",
        ),
    ],
)
def test_what_could_be_taken_for_something_else_is_noted(tmp_path: Path, rule: str, note: str) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, edited(("rules.yaml", "rules:\n", f"rules:\n  - {rule}\n"))))
    assert any(said.startswith(note) for said in snapshot.notes), snapshot.notes


def test_what_is_to_be_looked_at_again_is_listed_by_its_date(tmp_path: Path) -> None:
    rule = "rules:\n  - {id: r, effect: deny, when: {action: delete}, review_by: 2026-01-31}\n"
    snapshot = load_bundle(write_bundle(tmp_path, edited(("rules.yaml", "rules:\n", rule))))
    assert [review.what for review in snapshot.overdue("2026-02-01")] == ["rule r"]
    assert snapshot.overdue("2026-01-31") == ()


REGISTER = """
  - {id: expired, country: JP, until: 2020-01-01T00:00:00Z}
  - id: a
    country: JP
    owners: [{id: b, share: 30}, {id: home-co, share: 20, until: 2020-01-01T00:00:00Z}]
    works_for: [{id: home-co, until: 2020-01-01T00:00:00Z}]
  - {id: b, country: JP, owners: [{id: a, share: 60}]}
country_sets:
"""


@pytest.mark.parametrize(
    "note",
    [
        "affiliate expired expired at 2020-01-01T00:00:00.000Z: its people are of no affiliate",
        "affiliate a: the holding of home-co expired at 2020-01-01T00:00:00.000Z: it is nobody's who is known",
        "affiliate a: its work for home-co expired at 2020-01-01T00:00:00.000Z",
        "affiliates a and b hold one another in a circle: review what they are worth",
        "affiliate a: b holds 30 per cent: a minority to watch",
    ],
)
def test_what_to_review_among_the_affiliates_is_noted(tmp_path: Path, note: str) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, edited(("parties.yaml", "\ncountry_sets:\n", REGISTER))))
    assert note in snapshot.notes
