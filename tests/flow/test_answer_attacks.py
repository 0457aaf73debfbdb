# SPDX-License-Identifier: Apache-2.0
"""What a caller who may see some records tries in order to see others, and what an API sends that could let it."""

import json
from typing import Any, Final

import pytest

from proxy.model.api import Transform
from proxy.model.inspection import Beyond, Field, Inspection, Member
from proxy.model.json_path import parse_json_path
from proxy.redaction.filters import make_filter
from proxy.redaction.treatment import Treatment
from tests.support.judging import ALLOWED, DENIED, Table, TableJudge, allowed_with, drive, name_value, seal_cursor

P: Final = parse_json_path
PAGED: Final = Inspection(
    records=P("$.users[*]"),
    country=P("$.country"),
    fields=(Field(P("$.name"), "user.name"), Field(P("$.country"), "user.country")),
    members=(Member(P("$.total"), Beyond.TOTAL),),
)
TABLE: Final = Table({"JP": DENIED, "TW": ALLOWED, "KR": allowed_with({"user.name": Transform.NULL})})


def run(countries: str) -> list[Any]:
    """Filter a page of records that look alike, and return those that leave."""
    users = [{"name": f"N{at}", "country": country} for at, country in enumerate(countries.split())]
    judge = TableJudge(TABLE)
    inspection = Inspection(**{name: getattr(PAGED, name) for name in PAGED.__struct_fields__})  # with nothing learned
    made = make_filter(inspection, judge, Treatment(name=name_value, seal=seal_cursor, hides=True))
    done = drive(made, judge, [json.dumps({"users": users, "total": len(users)}).encode()])
    assert done.error is None
    document = json.loads(done.output)
    assert document.keys() == {"users"}
    records: list[Any] = document["users"]
    return records


@pytest.mark.parametrize(
    "countries",
    [
        pytest.param("TW " * 9, id="records that leave as they are, beside a total that does not"),
        pytest.param("TW " * 6 + "KR TW JP TW", id="then one that is changed, in a row with one that is not"),
        pytest.param("KR " * 6 + "TW KR JP TW", id="the other way round"),
        pytest.param("TW KR " * 9, id="by turns"),
    ],
)
def test_records_that_look_alike_leave_each_as_it_may(countries: str) -> None:
    named = enumerate(countries.split())
    expected = [
        {"name": None if country == "KR" else f"N{at}", "country": country} for at, country in named if country != "JP"
    ]
    assert run(countries) == expected
