# SPDX-License-Identifier: Apache-2.0
"""What a cell of a table of affiliates may hold, and what it means."""

import math
from decimal import Decimal
from typing import Any, Final

import pytest

from proxy.caller.affiliate_tables import ENTITIES, OF_ENTITIES, OF_HOLDINGS, columns_of_holdings, make_stake
from proxy.caller.holdings import Holding
from proxy.caller.register import Contract, Stake
from proxy.model.facts import UNKNOWN
from proxy.model.table import Column

IDS: Final = frozenset({"ly", "line-plus"})
COLUMNS: Final[dict[str, Column]] = {
    **{f"entities {column.name}": column for column in ENTITIES},
    **{f"holdings {column.name}": column for column in columns_of_holdings(IDS)},
}

MEANINGS: Final[dict[str, tuple[str, str, Any]]] = {
    "an id": ("entities id", "dalian-bpo", "dalian-bpo"),
    "a name": ("entities name", "LY Corporation", "LY Corporation"),
    "a country": ("entities country", "NO", "NO"),
    "a flag": ("entities home", "true", True),
    "a role": ("entities roles", "subsidiary", frozenset({"subsidiary"})),
    "two roles": ("entities roles", "subsidiary;contractor", frozenset({"subsidiary", "contractor"})),
    "a share": ("entities dispersed", "33.333333", Decimal("33.333333")),
    "a principal": ("entities works_for", "ly", (Contract("ly"),)),
    "two principals": ("entities works_for", "ly;line-plus", (Contract("ly"), Contract("line-plus"))),
    "nobody": ("entities works_for", "-", ()),
    "no subcontractor": ("entities subcontractors", "-", ()),
    "an instant": ("entities from", "1970-01-01T09:00:01+09:00", 1.0),
    "an owner": ("holdings owner", "ly", "ly"),
    "a state": ("holdings owner", "state:CN", "state:CN"),
    "an interest": ("holdings interest", "votingRights", "votingRights"),
    "a source": ("holdings source", "the annual report, page 7", "the annual report, page 7"),
}


@pytest.mark.parametrize(("column", "text", "meaning"), MEANINGS.values(), ids=MEANINGS)
def test_a_cell_means(column: str, text: str, meaning: object) -> None:
    assert COLUMNS[column].parse(text) == meaning


WRONG: Final = {
    "an id in upper case": ("entities id", "LY", "'LY' is no id"),
    "a word of ours as id": ("entities id", "none", "a word of ours"),
    "a blank name": ("entities name", " ", "blank"),
    "a name that is too long": ("entities name", "x" * 2001, "too long"),
    "a country in lower case": ("entities country", "jp", "write JP"),
    "a country by its name": ("entities country", "Japan", "write JP (Japan)"),
    "a flag that a program guessed": ("entities home", "TRUE", "neither true nor false"),
    "a role that is none": ("entities roles", "subsidary", "did you mean 'subsidiary'?"),
    "an empty role among others": ("entities roles", "subsidiary;", "not one of"),
    "a share of more than everything": ("entities dispersed", "100.1", "at most 100"),
    "a share with a sign of per cent": ("entities dispersed", "50%", "is no share"),
    "a share with a comma": ("entities dispersed", "33,3", "is no share"),
    "principals between commas": ("entities works_for", "ly,line-plus", "is no id"),
    "a principal written twice": ("entities works_for", "ly;ly", "stands twice"),
    "an empty id among others": ("entities subcontractors", "ly;", "is no id"),
    "nobody and somebody": ("entities subcontractors", "-;ly", "is no id"),
    "a date without an offset": ("entities from", "2026-04-01", "is no RFC 3339 instant"),
    "an owner that nobody declared": ("holdings owner", "lyy", "no affiliate 'lyy' (did you mean 'ly'?)"),
    "an owned one that nobody declared": ("holdings owned", "lyy", "no affiliate 'lyy' (did you mean 'ly'?)"),
    "a state that is none": ("holdings owner", "state:China", "write CN (China)"),
    "a state that is owned": ("holdings owned", "state:CN", "no affiliate 'state:CN'"),
    "an interest that is none": ("holdings interest", "votes", "is not one of"),
}


@pytest.mark.parametrize(("column", "text", "words"), WRONG.values(), ids=WRONG)
def test_a_cell_is_refused_that_holds(column: str, text: str, words: str) -> None:
    assert COLUMNS[column].parse(text) is None
    assert words in COLUMNS[column].explain(text)


def test_only_what_needs_a_text_has_no_empty_cells() -> None:
    assert {name for name, column in COLUMNS.items() if column.empty is None} == {
        "entities id", "entities country", "holdings owner", "holdings owned",
    }  # fmt: skip


def test_an_empty_list_is_not_one_that_is_known_to_be_empty() -> None:
    assert COLUMNS["entities works_for"].empty is UNKNOWN
    assert COLUMNS["entities subcontractors"].empty is UNKNOWN


def test_only_where_a_holding_was_found_may_be_left_out() -> None:
    assert {name for name, column in COLUMNS.items() if column.optional} == {"holdings source", "holdings retrieved_at"}
    assert not {"source", "retrieved_at"} & {*OF_HOLDINGS, *OF_ENTITIES}


STAKES: Final[dict[str, tuple[tuple[Any, Any, Any], tuple[str, str] | None]]] = {
    "an exact share": ((Decimal(51), UNKNOWN, UNKNOWN), ("51", "51")),
    "a range": ((UNKNOWN, Decimal(10), Decimal(20)), ("10", "20")),
    "a least share": ((UNKNOWN, Decimal(10), UNKNOWN), ("10", "100")),
    "a most": ((UNKNOWN, UNKNOWN, Decimal(20)), ("0", "20")),
    "no share at all": ((UNKNOWN, UNKNOWN, UNKNOWN), None),
    "an exact share and a range": ((Decimal(51), Decimal(10), UNKNOWN), None),
}


@pytest.mark.parametrize(("shares", "ends"), STAKES.values(), ids=STAKES)
def test_a_row_of_holdings_says(shares: tuple[Any, Any, Any], ends: tuple[str, str] | None) -> None:
    made = make_stake(["ly", "", *shares, False, -math.inf, math.inf])
    if ends is None:
        assert isinstance(made, str)
        assert "write `share`" in made
    else:
        assert made == Stake(Holding("ly", Decimal(ends[0]), Decimal(ends[1])))
