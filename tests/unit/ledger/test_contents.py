# SPDX-License-Identifier: Apache-2.0
"""Whatever parts say, they are put together; ``test_search`` shows it among lines."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.contents import Contents, tell_records

TOLD = [
    pytest.param({"seen": 1}, "1 record", id="one"),
    pytest.param({"seen": 0}, "0 records", id="none"),
    pytest.param(
        {"seen": 3, "dropped": 1, "masked": 2, "subjects": 1}, "3 records, 1 dropped, 2 masked, 1 person", id="all"
    ),
    pytest.param({"seen": 3, "subjects": 2, "subject_ids": ["a", "b"]}, "3 records, 2 people", id="nobody is named"),
    pytest.param(None, "", id="an answer that was not looked into"),
]
NUMBERS = st.dictionaries(st.sampled_from(["JP", "TW", "KR"]), st.integers(0, 9))
PARTS = st.lists(
    st.builds(
        lambda seen, dropped, left, ids, more: {
            "seen": seen, "dropped": dropped, "left": left, "subjects": len(ids) + more, "subject_ids": sorted(ids),
        },
        st.integers(0, 9), st.integers(0, 9), NUMBERS, st.frozensets(st.sampled_from("abcdef")), st.integers(0, 3),
    ),
    max_size=5,
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(["seen", "dropped", "left", "kept_back", "rules", "subjects", "subject_ids", "new"])


@pytest.mark.parametrize(("content", "told"), TOLD)
def test_in_words(content: object, told: str) -> None:
    assert tell_records(content) == told


def put_together(parts: list[Any]) -> dict[str, Any]:
    contents = Contents()
    for part in parts:
        contents.add(part)
    return contents.sum_up()


@given(PARTS)
def test_numbers_are_added_and_people_are_counted_once(parts: list[dict[str, Any]]) -> None:
    said = put_together(parts)
    assert said.get("seen", 0) == sum(part["seen"] for part in parts)
    for country in ("JP", "TW", "KR"):
        assert said.get("left", {}).get(country, 0) == sum(part["left"].get(country, 0) for part in parts)
    named = {each for part in parts for each in part["subject_ids"]}
    assert set(said.get("subject_ids", ())) == named
    assert said.get("subjects", 0) - len(named) == sum(part["subjects"] - len(part["subject_ids"]) for part in parts)


@given(st.lists(ANYTHING | st.dictionaries(KEYS, ANYTHING), max_size=3))
def test_parts_of_a_newer_version_never_break_a_reader(parts: list[Any]) -> None:
    assert all(isinstance(tell_records(part), str) for part in [*parts, put_together(parts)])
