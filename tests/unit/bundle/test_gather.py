# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Final

import pytest

from proxy.bundle.check import load_bundle
from proxy.bundle.gather import Anything, Registers
from proxy.bundle.manifest import MANIFEST
from tests.support.bundle_folder import SMALL, edited, problems_after, problems_of, write_bundle


def a_folder(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    listed = "".join(f"  {name}.yaml: [networks, rules]\n" for name in files)
    (folder / MANIFEST).write_text(f"language: 1\nbundle: x\nties: [employer]\nfiles:\n{listed}", encoding="utf-8")
    return folder


def gathered(folder: Path) -> Registers:
    registers = Registers(folder)
    assert registers.gather() is not None
    return registers


def test_entries_of_one_register_come_from_all_files(tmp_path: Path) -> None:
    registers = gathered(a_folder(tmp_path, a="networks: [{id: one}]\n", b="networks: [{id: two}]\n"))
    assert registers.declared_ids("networks") == {"one", "two"}
    assert [item.document.name for item in registers.raw["networks"]] == [
        str(tmp_path / "a.yaml"),
        str(tmp_path / "b.yaml"),
    ]


def test_the_digest_is_of_content_and_not_of_layout(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    first = gathered(a_folder(tmp_path / "1", a="networks: [{id: one}, {id: two}]\n"))
    second = gathered(a_folder(tmp_path / "2", a="# moved\nnetworks: [{id: two}]\n", b="networks:\n  - id: one\n"))
    assert first.digest(["networks"], {}) == second.digest(["networks"], {})
    assert first.digest(["networks"], {}) != first.digest(["networks"], {"ties": "other"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("networks: [{id: one}\n", "no YAML", id="a file that is no YAML"),
        pytest.param(
            "netwroks: [{id: one}]\n", "no register 'netwroks' (did you mean 'networks'?)", id="a misspelling"
        ),
    ],
)
def test_of_a_register_that_was_not_read_whole_every_id_may_be_there(tmp_path: Path, text: str, problem: str) -> None:
    registers = gathered(a_folder(tmp_path, a=text))
    assert problem in registers.problems[0].message
    assert isinstance(registers.declared_ids("networks"), Anything)
    assert "whatever" in registers.declared_ids("networks")


def test_without_a_manifest_nothing_is_gathered(tmp_path: Path) -> None:
    registers = Registers(tmp_path)
    assert registers.gather() is None
    assert "sekisho init" in registers.problems[0].message


# Packs: rules that somebody else wrote.

PACK: Final = {
    "packs/law/pack.yaml": "language: 1\npack: law\nfiles:\n  law.yaml: [country_sets, control_rules, rules, invariants, tests]\n",  # noqa: E501
    "packs/law/law.yaml": """\
country_sets:
  china: [TW]
  far: [$china, US]
control_rules:
  - {id: stake, threshold: 25}
rules:
  - {id: no-china, effect: deny, when: {caller.countries: {any: $far, by: [control.stake]}}}
invariants:
  - {id: never-there, never: allow, when: {origin.country: {any: $china}}}
tests:
  - name: our employee reads
    given:
      caller: {affiliate: home-co, kind: employee, residence: JP}
      origin: {country: TW}
      request: GET /v1/jp/users/42
    expect: {effect: deny, rule: never-there}
""",
}
INCLUDE: Final = ("bundle.yaml", "files:\n", "include: {law: packs/law}\nfiles:\n")
LAW: Final = "packs/law/law.yaml"
WITH_PACK: Final = edited(INCLUDE, files={**SMALL, **PACK})


def test_what_a_pack_holds_stands_under_its_namespace(tmp_path: Path) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, WITH_PACK))
    assert snapshot.vocabulary.country_sets == {
        "china": frozenset({"CN", "HK"}),
        "law.china": frozenset({"TW"}),
        "law.far": frozenset({"TW", "US"}),
    }
    assert [case.name for case in snapshot.cases] == ["our employee reads", "law: our employee reads"]
    assert snapshot.cases[1].expect.rule == "law.never-there"
    assert snapshot.affiliates.current.by_id["branch"].control.keys() == {"majority", "law.stake"}
    assert {"rules law.no-china", "invariants law.never-there"} <= snapshot.places.keys()


def test_a_rule_of_a_pack_has_one_id_everywhere(tmp_path: Path) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, WITH_PACK))
    assert [rule.id for rule in snapshot.policy.denies] == ["law.never-there", "law.no-china", "no-china"]
    assert {case.expect.rule for case in snapshot.cases} <= {rule.id for rule in snapshot.policy.rules}


@pytest.mark.parametrize(
    ("file", "old", "new", "place", "words"),
    [
        pytest.param(LAW, "$far", "$majority", f"{LAW}:7:", "no country set '$majority'", id="a set of nobody's"),
        pytest.param(LAW, "[$china, US]", "[$law.china, US]", f"{LAW}:3:9:", "no country set",
                     id="its own set under its full name"),
        pytest.param(LAW, "control.stake", "control.majority", f"{LAW}:7:", "no kind of tie 'control.majority'",
                     id="a control rule of the bundle's"),
        pytest.param(LAW, "rule: never-there", "rule: staff", f"{LAW}:16:", "'law.staff'", id="a rule of the bundle's"),
        pytest.param(LAW, "\nrules:", "\ngrants: []\nrules:", f"{LAW}:6:1:", "a pack may not hold 'grants'", id="grants"),  # noqa: E501
        pytest.param(LAW, "\nrules:", "\naffiliates: []\nrules:", f"{LAW}:6:1:", "may not hold", id="affiliates"),
        pytest.param(LAW, "\nrules:", "\napis: []\nrules:", f"{LAW}:6:1:", "may not hold", id="APIs"),
        pytest.param(LAW, "\nrules:", "\nissuers: []\nrules:", f"{LAW}:6:1:", "may not hold", id="issuers"),
        pytest.param(LAW, "\nrules:", "\ntrusted_proxies: []\nrules:", f"{LAW}:6:1:", "may not hold", id="proxies"),
        pytest.param("packs/law/pack.yaml", "tests]", "tests, purposes]", "packs/law/pack.yaml:4:", "may not hold",
                     id="a register in its manifest"),
        pytest.param("packs/law/pack.yaml", "pack: law", "pack: law\nties: [site]", "packs/law/pack.yaml:3:1:",
                     "unknown key 'ties'", id="ties"),
        pytest.param("packs/law/pack.yaml", "pack: law", "pack: law\ninclude: {x: y}", "packs/law/pack.yaml:3:1:",
                     "unknown key 'include'", id="a pack in a pack"),
        pytest.param("packs/law/pack.yaml", "language: 1", "language: 2", "packs/law/pack.yaml:1:11:", "not one of",
                     id="another language"),
        pytest.param("packs/law/pack.yaml", "law.yaml:", "lw.yaml:", "packs/law/pack.yaml:4:3:",
                     "did you mean 'law.yaml'?", id="a file that is missing"),
        pytest.param("packs/law/pack.yaml", "law.yaml:", "../../rules.yaml: [rules]\n  law.yaml:", "", "stands twice",
                     id="a file of the bundle's"),
        pytest.param("bundle.yaml", "{law: packs/law}", "{law: packs/lw}", "bundle.yaml:4:16:", "no pack in packs/lw",
                     id="a folder that is missing"),
        pytest.param("bundle.yaml", "{law: packs/law}", "{law: ../law}", "bundle.yaml:4:16:", "no pack in",
                     id="a folder outside"),
        pytest.param("bundle.yaml", "{law: packs/law}", "{law: /etc}", "bundle.yaml:4:16:", "no pack in", id="/etc"),
        pytest.param("bundle.yaml", "{law: packs/law}", "{Law: packs/law}", "bundle.yaml:4:", "no id",
                     id="a namespace that is no id"),
        pytest.param("bundle.yaml", "{law: packs/law}", "{emergency.x: packs/law}", "bundle.yaml:4:11:",
                     "of emergency denies", id="the namespace of emergencies"),
        pytest.param("bundle.yaml", "{law: packs/law}", "[packs/law]", "bundle.yaml:4:10:", "mapping", id="a list"),
        pytest.param("rules.yaml", "id: no-china", "id: law.no-china", "", "stands twice", id="an id of the bundle's"),
        pytest.param(LAW, "id: never-there", "id: no-china", f"{LAW}:9:10:", "is a rule's, too",
                     id="an invariant named as a rule"),
    ],
)  # fmt: skip
def test_a_pack_that_is_wrong(tmp_path: Path, file: str, old: str, new: str, place: str, words: str) -> None:  # noqa: PLR0917
    problems = problems_after(tmp_path, (file, old, new), files=WITH_PACK)
    assert any(problem.startswith(place) and words in problem for problem in problems), problems


def test_a_file_that_a_pack_does_not_list_is_a_problem(tmp_path: Path) -> None:
    (problem,) = problems_of(write_bundle(tmp_path, {**WITH_PACK, "packs/law/more.yaml": "rules: []\n"}))
    assert problem.startswith("packs/law/pack.yaml:4:3: the folder holds more.yaml, which is not listed")


def test_a_pack_that_nobody_includes_is_a_problem(tmp_path: Path) -> None:
    assert len(problems_of(write_bundle(tmp_path, {**SMALL, **PACK}))) == 2


def test_two_packs_may_use_the_same_ids(tmp_path: Path) -> None:
    again = {file.replace("packs/law", "packs/more"): text for file, text in PACK.items()}
    files = edited(
        ("bundle.yaml", "{law: packs/law}", "{law: packs/law, more: packs/more}"), files={**WITH_PACK, **again}
    )
    assert not problems_of(write_bundle(tmp_path, files))


def test_a_pack_that_leads_out_is_a_problem(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "in", edited(INCLUDE))
    write_bundle(tmp_path, PACK)
    (folder / "packs").symlink_to(tmp_path / "packs")
    problems = problems_of(folder)
    assert any("no pack in packs/law" in problem for problem in problems), problems


def test_a_file_of_a_pack_that_leads_out_is_a_problem(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "in", WITH_PACK)
    (folder / LAW).rename(tmp_path / "law.yaml")
    (folder / LAW).symlink_to(tmp_path / "law.yaml")
    problems = problems_of(folder)
    assert any("law.yaml leads out" in problem for problem in problems), problems


def test_a_pack_allows_nothing(tmp_path: Path) -> None:
    rule = "\nrules:\n  - {id: all, effect: allow, when: {always: true}}\n"
    assert problems_after(tmp_path, (LAW, "\nrules:\n", rule), files=WITH_PACK)


def test_a_set_of_the_bundle_is_not_replaced_by_one_of_a_pack(tmp_path: Path) -> None:
    files = edited(("parties.yaml", "  china:", "  law.china: [RU]\n  china:"), files=WITH_PACK)
    assert problems_of(write_bundle(tmp_path, files))


def test_a_folder_with_a_name_too_long_is_a_problem(tmp_path: Path) -> None:
    assert problems_after(tmp_path, ("bundle.yaml", "{law: packs/law}", f"{{law: {'x' * 300}}}"), files=WITH_PACK)


@pytest.mark.parametrize("hidden", [True, False], ids=["in a folder with a dot", "behind a link"])
def test_what_a_pack_out_of_sight_does_not_list_is_a_problem(tmp_path: Path, hidden: bool) -> None:  # noqa: FBT001
    where = ".law" if hidden else "law"
    files = {file.replace("packs/law", ".law"): text for file, text in WITH_PACK.items()}
    files["bundle.yaml"] = files["bundle.yaml"].replace("packs/law", where)
    folder = write_bundle(tmp_path, {**files, ".law/lost.yaml": "rules: []\n"})
    if not hidden:
        (folder / "law").symlink_to(".law")
    assert problems_of(folder)
