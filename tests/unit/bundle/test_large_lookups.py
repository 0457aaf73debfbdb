# SPDX-License-Identifier: Apache-2.0
import pickle
from typing import Final

import pytest

from proxy.bundle import large_lookups
from proxy.bundle.snapshot import Snapshot
from proxy.bundle.tables import Sheet
from proxy.subject.register import InMemory, Table
from tests.support.bundle_folder import SMALL, Load, Problems, edited

LISTED: Final = ("bundle.yaml", "files:\n", "files:\n  lookups.yaml: [lookups]\n  staff.csv: [lookups]\n")
STAFF: Final = "lookups:\n  - {id: staff, kind: table, file: staff.csv}\n"
NAMED: Final = (
    "apis.yaml",
    '          country: "{country}"\n',
    '          country: "{country}"\n          lookup: staff\n',
)


def files(*rows: str, entries: str = STAFF, header: str = "id,country", **more: str) -> dict[str, str]:
    """Return the small bundle with a table of countries."""
    return {**edited(LISTED), "lookups.yaml": entries, "staff.csv": "\n".join((header, *rows)) + "\n", **more}


def the_table(snapshot: Snapshot, id_: str = "staff") -> InMemory:
    lookup = snapshot.lookups[id_]
    assert isinstance(lookup, Table)
    return lookup


def test_a_table_knows_its_ids_and_no_others(load: Load) -> None:
    rows = ["u-7,JP", "u-1,TW;JP", "u-10,KR", "u-7,TW", "u-7,JP", "佐藤,JP", '"a,b",TW']
    table = the_table(load(files(*rows)))
    found = {id_: table.find(id_) for id_ in ("u-1", "u-7", "u-10", "佐藤", "a,b")}
    assert found == {"u-1": ("JP", "TW"), "u-7": ("JP", "TW"), "u-10": ("KR",), "佐藤": ("JP",), "a,b": ("TW",)}
    assert [table.find(id_) for id_ in ("u-", "u-70", "U-7", "", "\ud800", "a\0", "~", "!")] == [()] * 8


def test_every_row_of_many_is_found(load: Load) -> None:
    countries = ("JP", "TW", "KR")
    table = the_table(load(files(*(f"{number * 7919 % 10_007},{countries[number % 3]}" for number in range(10_007)))))
    for number in range(10_007):
        assert table.find(str(number * 7919 % 10_007)) == (countries[number % 3],)
    assert table.find("10007") == ()


def test_countries_may_be_written_in_another_form(load: Load) -> None:
    entries = STAFF.replace("kind: table", "kind: table, format: alpha3")
    assert the_table(load(files("1,JPN;TWN", entries=entries))).find("1") == ("JP", "TW")


def test_columns_may_stand_in_any_order(load: Load) -> None:
    assert the_table(load(files("JP,1", header="country,id"))).find("1") == ("JP",)


@pytest.mark.parametrize(
    ("found", "place", "words"),
    [
        pytest.param(files("1,jp"), "staff.csv:2:3:", "write JP (upper case)", id="lower case"),
        pytest.param(files("1,JP|TW"), "staff.csv:2:3:", "several stand as JP;KR", id="another sign between"),
        pytest.param(files("1,"), "staff.csv:2:3:", "the cell is empty", id="no country"),
        pytest.param(files(",JP"), "staff.csv:2:1:", "the cell is empty", id="no id"),
        pytest.param(files(" 1,JP"), "staff.csv:2:1:", "a space stands before", id="a space before an id"),
        pytest.param(files("1,JP", header="id,land"), "staff.csv:1:4:", "no column 'land'", id="no such column"),
        pytest.param(files(), "staff.csv:1:1:", "a header and no row", id="an export that failed"),
        pytest.param(files("1,JP,x"), "staff.csv:2:1:", "3 cells", id="a cell too many"),
        pytest.param(
            files("1,JP", entries=STAFF.replace("staff.csv", "stuff.csv")),
            "lookups.yaml:2:36:",
            "the manifest lists no table 'stuff.csv' for lookups (did you mean 'staff.csv'?)",
            id="another file's name",
        ),
        pytest.param(
            files("1,JP", entries="lookups: []\n"),
            "bundle.yaml:6:3:",
            "no lookup names this table",
            id="a table of nobody",
        ),
        pytest.param(
            {**files("1,JP"), **edited(("bundle.yaml", "  staff.csv: [lookups]\n", ""), files=files("1,JP"))},
            "bundle.yaml:",
            "staff.csv, which is not listed",
            id="a table that the manifest does not list",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    problems: Problems, found: dict[str, str], place: str, words: str
) -> None:
    told = problems(found)
    assert any(problem.startswith(place) and words in problem for problem in told), told


def test_a_route_names_a_lookup_that_there_is(problems: Problems) -> None:
    found = edited(NAMED, ("lookups.yaml", "id: staff", "id: stuff"), files=files("1,JP"))
    told = problems(found)
    assert any("apis.yaml:11:19: no lookup 'staff' (did you mean 'stuff'?)" in problem for problem in told), told


def test_what_a_folder_that_could_not_be_read_holds_is_not_missed(problems: Problems) -> None:
    found = edited(NAMED, files={**files("1,JP"), "lookups.yaml": "lookups: ["})
    assert not any("no lookup" in problem for problem in problems(found))


def test_a_lookup_that_is_not_used_is_a_note(load: Load) -> None:
    assert "lookup staff is not used: no route's subject names it" in load(files("1,JP")).notes


def test_the_digest_of_the_registers_covers_entries_and_tables(load: Load) -> None:
    one = load(files("1,JP"))
    found = [
        one,
        load(files("1,JP")),
        load(files("1,TW")),
        load(files("1,JP", entries=STAFF.replace("}", ", title: x}"))),
    ]
    assert [each.policy_digest for each in found] == [one.policy_digest] * 4
    assert [each.registers_digest == one.registers_digest for each in found] == [True, True, False, False]


def test_a_bundle_without_lookups_keeps_its_name(load: Load) -> None:
    """Bundles from before there were any are named in ledgers."""
    snapshot = load(SMALL)
    assert snapshot.registers_digest == "sha256:ffd41a81a30a71501d62bb661de34d056278bb61506240637365de4b81a91674"


def test_a_table_that_was_read_is_not_read_again(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    load(files("1,JP"))

    def refuse(*_: object) -> Sheet:
        raise AssertionError("it is read again")

    monkeypatch.setattr(large_lookups, "Sheet", refuse)
    assert the_table(load(files("1,JP"))).find("1") == ("JP",)
    with pytest.raises(AssertionError):
        load(files("1,TW"))


def test_a_table_travels_as_its_path(load: Load) -> None:
    table = the_table(load(files(*(f"{number},JP" for number in range(5000)))))
    packed = pickle.dumps(table)
    assert len(packed) < 1000
    assert pickle.loads(packed).find("4711") == ("JP",)  # noqa: S301 - our own bytes


def test_tables_of_two_lookups_are_two(load: Load) -> None:
    entries = STAFF + "  - {id: same, kind: table, file: staff.csv}\n  - {id: p, kind: prefixes, prefixes: {a: JP}}\n"
    snapshot = load(files("1,JP", entries=entries))
    assert [snapshot.lookups[id_].find("1") for id_ in ("staff", "same")] == [("JP",), ("JP",)]  # type: ignore[union-attr]
