# SPDX-License-Identifier: Apache-2.0
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from proxy.bundle import check, large
from proxy.caller.people import COLUMNS, PeopleInMemory, PeopleInRows
from proxy.errors import UsageError
from tests.support.bundle_folder import SMALL, Load, Problems, edited

HEADER: Final = ",".join(COLUMNS)
CHERRY: Final = "2020-04-01T00:00:00+09:00"
MAPLE: Final = "2021-10-01T00:00:00+09:00"
LISTED: Final = ("bundle.yaml", "files:\n", "files:\n  people.csv: [people]\n")
SATO: Final = "corp,e-1,branch,employee,KR,KR,KR;JP,,"


def files(*rows: str, yaml: str = "", **more: str) -> dict[str, str]:
    """Return the small bundle with a table of people, and with entries if there are some."""
    found = {**edited(LISTED), "people.csv": "\n".join((HEADER, *rows)) + "\n", **more}
    if yaml:
        found = edited(("bundle.yaml", "files:\n", "files:\n  people.yaml: [people]\n"), files=found)
        found["people.yaml"] = yaml
    return found


def test_a_table_and_entries_mean_the_same(load: Load) -> None:
    yaml = "people:\n  - {issuer: corp, subject: e-1, affiliate: branch, kind: employee, site_country: KR,"
    yaml += " residence: KR, citizenships: [KR, JP]}\n"
    entries = {**SMALL, "people.yaml": yaml}
    entries = edited(("bundle.yaml", "files:\n", "files:\n  people.yaml: [people]\n"), files=entries)
    in_memory = load(entries).people
    assert isinstance(in_memory, PeopleInMemory)
    (one,) = in_memory.find("corp", "e-1")
    Path(one.place.partition(":")[0]).unlink()
    in_rows = load(files(SATO)).people
    assert isinstance(in_rows, PeopleInRows)
    (other,) = in_rows.find("corp", "e-1")
    assert one.place.endswith("people.yaml:2")
    assert other.place.endswith("people.csv:2")
    assert [getattr(one, name) for name in one.__struct_fields__[:-1]] == [
        getattr(other, name) for name in other.__struct_fields__[:-1]
    ]


def test_a_bundle_without_people_knows_nobody(load: Load) -> None:
    assert load(SMALL).people.find("corp", "e-1") == ()


def test_a_table_and_entries_are_one_register(load: Load) -> None:
    found = load(files(f"corp,e-1,home-co,,,,,,{MAPLE}", yaml=f"""\
people:
  - {{issuer: corp, subject: e-1, affiliate: branch, from: {MAPLE}}}
  - {{issuer: corp, subject: e-2, citizenships: [JP, KR]}}
""")).people  # fmt: skip
    assert [each.affiliate for each in found.find("corp", "e-1")] == ["home-co", "branch"]
    assert found.find("corp", "e-1")[1].place.endswith("people.yaml:2")
    assert len(found.find("corp", "e-2")) == 1


OVERLAPS = {
    "the same row twice": (
        files(SATO, SATO), "people.csv:3:1: the same person is engaged at the same time in people.csv:2",
    ),
    "a row that begins before another ends": (
        files(f"corp,e-1,,,,,,{CHERRY},", "corp,e-2,,,,,,,", f"corp,e-1,,,,,,,{MAPLE}"),
        "people.csv:4:1: the same person is engaged at the same time in people.csv:2",
    ),
    "a row and an entry": (
        files(SATO, yaml="people:\n  - {issuer: corp, subject: e-1}\n"),
        "the same person is engaged at the same time in",
    ),
    "two entries": (
        {**edited(("bundle.yaml", "files:\n", "files:\n  p.yaml: [people]\n")),
         "p.yaml": "people:\n  - {issuer: corp, subject: e-1}\n  - {issuer: corp, subject: e-1}\n"},
        "p.yaml:3:5: the same person is engaged at the same time in p.yaml:2",
    ),
    "two tables": (
        edited(("bundle.yaml", "files:\n", "files:\n  more.csv: [people]\n"),
               files={**files(SATO), "more.csv": f"{HEADER}\n{SATO}\n"}),
        "the same person is engaged at the same time in",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("found", "words"), OVERLAPS.values(), ids=OVERLAPS)
def test_somebody_engaged_twice_at_once_is_a_problem_that_names_both_rows(
    problems: Problems, found: Mapping[str, str], words: str
) -> None:
    (problem,) = problems(found)
    assert words in problem


NO_OVERLAPS = {
    "one after the other": [f"corp,e-1,,,,,,,{MAPLE}", f"corp,e-1,,,,,,{MAPLE},"],
    "the same subject of two issuers": [SATO, SATO.replace("corp", "login")],
    "two spellings": [SATO, SATO.replace("e-1", "E-1")],
}


@pytest.mark.parametrize("rows", NO_OVERLAPS.values(), ids=NO_OVERLAPS)
def test_these_are_not_at_once(load: Load, rows: list[str]) -> None:
    login = SMALL["parties.yaml"].partition("affiliates:")[0].partition("issuers:\n")[2]
    login = login.replace("id: corp", "id: login").replace("https://idp.example.jp\n", "https://login.example.jp\n")
    found = edited(("parties.yaml", "affiliates:\n", f"{login}affiliates:\n"), files=files(*rows))
    assert load(found).people.find("corp", rows[0].split(",")[1])


PROGRAM: Final = "clients:\n  - {id: robot, issuer: corp, client: e-1, affiliate: branch}\n"


@pytest.mark.parametrize("as_table", [True, False], ids=["in a table", "in entries"])
def test_a_person_and_a_program_of_one_name_are_a_problem(load: Load, problems: Problems, *, as_table: bool) -> None:
    listed = ("bundle.yaml", "files:\n", "files:\n  clients.yaml: [clients]\n")
    if as_table:
        found, place = files(SATO), "people.csv:2"
    else:
        found = edited(("bundle.yaml", "files:\n", "files:\n  people.yaml: [people]\n"))
        found, place = {**found, "people.yaml": "people:\n  - {issuer: corp, subject: e-1}\n"}, "people.yaml:2"
    found = {**edited(listed, files=found), "clients.yaml": PROGRAM}
    expected = f"clients.yaml:2:39: 'e-1' of 'corp' is a person in {place}: it cannot be both"
    assert problems(found) == [expected]
    load({**found, "clients.yaml": PROGRAM.replace("e-1", "E-1")})


def test_an_end_before_the_begin_is_a_problem(problems: Problems) -> None:
    assert problems(files(SATO, f"corp,e-2,,,,,,{MAPLE},{CHERRY}")) == [
        "people.csv:3:1: `until` is not after `from`: the engagement would never be in force"
    ]


def test_problems_of_a_table_are_told_with_those_of_other_registers(problems: Problems) -> None:
    found = edited(("rules.yaml", "caller.kind: employee", "caller.kind: boss"), files=files("corp,e-1,nobody,,,,,,"))
    assert [problem.partition(":")[0] for problem in problems(found)] == ["people.csv", "rules.yaml"]


def test_what_is_wrong_with_an_entry_beside_a_table_is_told_once(problems: Problems) -> None:
    yaml = f"""\
people:
  - {{issuer: corp, subject: " e-2", affiliate: branch}}
  - {{issuer: corp, subject: e-3, affiliate: nobody}}
  - {{issuer: corp, subject: e-4, from: {MAPLE}, until: {CHERRY}}}
  - {{issuer: corp, subject: e-5, kind: boss, email: x}}
"""
    places = [problem.partition(": ")[0] for problem in problems(files(SATO, yaml=yaml))]
    lines = [place.rpartition(":")[0] for place in places]
    assert lines == [f"people.yaml:{line}" for line in (2, 3, 4, 5, 5)]


MANIFESTS = {
    "not there": ("people.csv: [people]", "persons.csv: [people]", "persons.csv is listed here and missing"),
    "not listed": ("  people.csv: [people]\n", "", "people.csv, which is not listed"),
    "outside of the folder": ("people.csv: [people]", "../people.csv: [people]", "leads out of the policy folder"),
    "of two registers": ("people.csv: [people]", "people.csv: [people, networks]", "the rows of one register: people"),
    "of no register": ("people.csv: [people]", "people.csv: []", "the rows of one register: people"),
    "of a register that is no table": ("people.csv: [people]", "people.csv: [rules]", "rows of one register: people"),
    "of a register that does not exist": ("people.csv: [people]", "people.csv: [persons]", "'persons'"),
}


@pytest.mark.parametrize(("old", "new", "words"), MANIFESTS.values(), ids=MANIFESTS)
def test_the_manifest_names_every_table_with_its_register(problems: Problems, old: str, new: str, words: str) -> None:
    told = problems(edited(("bundle.yaml", old, new), files=files(SATO)))
    assert any(words in problem for problem in told), told


def test_a_pack_may_not_hold_people(problems: Problems) -> None:
    found = edited(("bundle.yaml", "files:\n", "include: {x: packs/x}\nfiles:\n"), files=SMALL)
    found["packs/x/pack.yaml"] = "language: 1\npack: x\nfiles: {people.csv: [people]}\n"
    found["packs/x/people.csv"] = f"{HEADER}\n{SATO}\n"
    assert any("a pack may not hold 'people'" in problem for problem in problems(found))


def test_a_table_that_is_too_large_is_refused_unread(problems: Problems, tmp_path: Path) -> None:
    found = files(SATO)
    del found["people.csv"]
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "people.csv").touch()
    os.truncate(tmp_path / "policies" / "people.csv", 10 * 2**30)
    assert problems(found) == ["people.csv:1:1: the file is larger than 256 MiB"]


def test_a_pipe_is_no_table(problems: Problems, tmp_path: Path) -> None:
    found = files(SATO)
    del found["people.csv"]
    (tmp_path / "policies").mkdir()
    os.mkfifo(tmp_path / "policies" / "people.csv")
    assert any("people.csv" in problem for problem in problems(found))


def test_the_content_of_a_table_is_in_the_digest_of_registers(load: Load) -> None:
    without, one = load(SMALL), None
    for rows in ([SATO], [SATO, "corp,e-2,,,,,,,"]):
        loaded = load(files(*rows))
        assert loaded.policy_digest == without.policy_digest
        assert loaded.registers_digest not in {without.registers_digest, one}
        one = loaded.registers_digest


def test_a_table_that_was_sound_before_is_not_read_again(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    load(files(SATO))
    monkeypatch.setattr(large, "Sheet", None)
    assert load(files(SATO)).people.find("corp", "e-1")


def test_a_table_is_read_again_once_an_id_that_it_names_is_gone(load: Load, problems: Problems) -> None:
    load(files(SATO))
    found = edited(("parties.yaml", "id: branch", "id: twig"), files=files(SATO))
    assert any("people.csv:2:10: affiliate: no affiliate 'branch'" in problem for problem in problems(found))


def test_nothing_is_told_of_ids_whose_register_cannot_be_read(problems: Problems) -> None:
    found = edited(("parties.yaml", "issuers:", "issuers: ]"), files=files(SATO))
    assert not [problem for problem in problems(found) if problem.startswith("people.csv")]


def test_no_file_is_made_of_a_folder_that_does_not_load(problems: Problems, tmp_path: Path) -> None:
    problems(edited(("rules.yaml", "caller.kind: employee", "caller.kind: boss"), files=files(SATO)))
    assert list((tmp_path / "registers").iterdir()) == []


def test_a_folder_for_files_that_cannot_be_used_is_told(load: Load, tmp_path: Path) -> None:
    (tmp_path / "registers").touch()
    with pytest.raises(UsageError, match="SEKISHO_REGISTERS_FOLDER"):
        load(files(SATO))


def test_only_a_bundle_with_tables_needs_the_folder(load: Load, tmp_path: Path) -> None:
    load(SMALL)
    assert not (tmp_path / "registers").exists()
    check.load_bundle(tmp_path / "policies")
