# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from proxy.bundle.check import load_bundle
from proxy.bundle.manifest import (
    FACT_REGISTERS,
    NOT_YET_REGISTERS,
    PACK_REGISTERS,
    POLICY_REGISTERS,
    REGISTERS,
    TABLES,
)
from tests.support.bundle_folder import SMALL, edited, place_of, problems_after, problems_of, write_bundle

B = "bundle.yaml"


def test_the_registers_of_the_design_are_here_or_not_yet() -> None:
    assert set(REGISTERS) == {
        "issuers", "certificate_authorities", "revoked", "clients", "people",
        "country_sets", "affiliates", "holdings", "control_rules",
        "networks", "trusted_proxies",
        "lookups", "apis", "rules", "invariants", "purposes", "grants",
        "fixtures", "tests",
    }  # fmt: skip
    assert "subjects" in NOT_YET_REGISTERS
    assert set(TABLES) <= set(FACT_REGISTERS)
    assert set(POLICY_REGISTERS) | set(FACT_REGISTERS) == set(REGISTERS) - {"fixtures", "tests"}
    assert set(PACK_REGISTERS) < set(REGISTERS)


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        pytest.param("language: 1", "language: 2", "bundle.yaml:1:11:", "not one of: 1", id="another language"),
        pytest.param("language: 1\n", "", "bundle.yaml:1:1:", "`language` is missing", id="no language"),
        pytest.param("language", "langauge", "bundle.yaml:1:1:", "'language'", id="a key misspelt"),
        pytest.param("[employer", "[emplyer", "bundle.yaml:3:8:", "not one of", id="no such tie"),
        pytest.param("[rules]", "[ruls]", "bundle.yaml:7:16:", "'rules'", id="no such register"),
        pytest.param("[rules]", "[rules, subjects]", "bundle.yaml:7:23:", "not yet", id="a register of later"),
        pytest.param("[rules]", "rules", "bundle.yaml:7:15:", "expected a list", id="a bare register"),
        pytest.param("[rules]", "[[rules]]", "bundle.yaml:7:16:", "single value", id="a list in the list"),
        pytest.param("rules.yaml", "rule.yaml", "bundle.yaml:7:3:", "'rules.yaml'", id="a file that is not there"),
        pytest.param("  rules.yaml: [rules]\n", "", "bundle.yaml:", "rules.yaml, which is not listed", id="unlisted"),
        pytest.param("rules.yaml", "../rules.yaml", "bundle.yaml:7:3:", "leads out", id="out of the folder"),
        pytest.param("rules.yaml", "/etc/hostname", "bundle.yaml:7:3:", "leads out", id="an absolute path"),
        pytest.param("bundle: small", "include: [x]\nbundle: small", "bundle.yaml:2:10:", "mapping", id="includes"),
        pytest.param("bundle: small", "mode: observe\nbundle: small", "bundle.yaml:2:7:", "observe_until",
                     id="observing for ever"),
        pytest.param("bundle: small", "observe_until: 2027-01-01T00:00:00Z\nbundle: small", "bundle.yaml:2:",
                     "mode", id="an end of observing without a beginning"),
        pytest.param("bundle: small", "mode: observ\nbundle: small", "bundle.yaml:2:7:", "enforce, observe",
                     id="no such mode"),
        pytest.param("rules.yaml", '"a\\0b.yaml"', "bundle.yaml:7:3:", "", id="a NUL in a name"),
        pytest.param("rules.yaml", "x" * 300 + ".yaml", "bundle.yaml:7:3:", "", id="a name too long"),
        pytest.param("rules.yaml", '""', "bundle.yaml:7:3:", "", id="no name"),
        pytest.param("  rules.yaml", "  ./rules.yaml: [rules]\n  rules.yaml", "", "", id="a file twice"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_wrong(tmp_path: Path, old: str, new: str, place: str, words: str) -> None:
    problems = problems_after(tmp_path, (B, old, new))
    assert any(problem.startswith(place) and words in problem for problem in problems), problems


@pytest.mark.parametrize(
    "name", ["more.yaml", "more.yml", "deep/er/more.yaml", "More.YAML", "more.Yml", "more.csv", "deep/More.CSV"]
)
def test_a_file_that_is_not_listed_is_a_problem(tmp_path: Path, name: str) -> None:
    problems = problems_of(write_bundle(tmp_path, {**SMALL, name: "rules: []\n"}))
    assert any(f"{name}, which is not listed" in problem for problem in problems), problems


@pytest.mark.parametrize("name", ["README.md", ".git/x.yaml", ".hidden.yaml"])
def test_what_is_no_policy_file_is_left_alone(tmp_path: Path, name: str) -> None:
    assert not problems_of(write_bundle(tmp_path, {**SMALL, name: "anything"}))


def test_a_lost_file_is_a_problem(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    (tmp_path / "rules.yaml").unlink()
    assert any(problem.startswith("bundle.yaml:7:3: rules.yaml is listed") for problem in problems_of(tmp_path))


def test_a_link_that_leads_out_is_a_problem(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "in")
    (folder / "rules.yaml").rename(tmp_path / "rules.yaml")
    (folder / "rules.yaml").symlink_to(tmp_path / "rules.yaml")
    assert any("leads out" in problem for problem in problems_of(folder))


def test_a_link_to_itself_is_a_problem(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    (tmp_path / "rules.yaml").unlink()
    (tmp_path / "rules.yaml").symlink_to("rules.yaml")
    assert any(problem.startswith("bundle.yaml:7:3:") for problem in problems_of(tmp_path))


@pytest.mark.parametrize("make", ["nothing", "a file", "a folder in its place"])
def test_a_folder_without_a_manifest(tmp_path: Path, make: str) -> None:
    folder = tmp_path / "p"
    if make == "a file":
        folder.touch()
    if make == "a folder in its place":
        (folder / B).mkdir(parents=True)
    (problem,) = problems_of(folder)
    assert problem.startswith("bundle.yaml:1:1: ")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "[]\n", "x\n", "- language: 1\n", "{}\n"])
def test_a_manifest_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    problems = problems_of(write_bundle(tmp_path, {**SMALL, B: text}))
    assert problems
    assert all(problem.startswith("bundle.yaml:") for problem in problems)


def test_a_register_in_a_file_that_does_not_list_it(tmp_path: Path) -> None:
    files = edited(("cases.yaml", "tests:", "rules: []\ntests:"))
    (problem,) = problems_of(write_bundle(tmp_path, files))
    assert problem.startswith("cases.yaml:1:1: the manifest does not list 'rules' for this file")


@pytest.mark.parametrize("register", sorted(NOT_YET_REGISTERS))
def test_a_register_of_later_in_a_file(tmp_path: Path, register: str) -> None:
    (problem,) = problems_after(tmp_path, ("rules.yaml", "rules:", f"{register}: []\nrules:"))
    assert problem == f"rules.yaml:1:1: register {register!r} is not yet supported"


@pytest.mark.parametrize("register", ["issuers", "affiliates", "apis", "rules"])
def test_a_bundle_without_what_it_needs(tmp_path: Path, register: str) -> None:
    file = next(file for file, text in SMALL.items() if f"\n{register}:\n" in f"\n{text}")
    head, _, rest = SMALL[file].rpartition(f"{register}:\n")
    body = rest.splitlines(keepends=True)
    kept = next((index for index, line in enumerate(body) if not line.startswith(" ")), len(body))
    text = f"{head}{register}: []\n{''.join(body[kept:])}"
    problems = problems_of(write_bundle(tmp_path, {**SMALL, file: text}))
    assert any(f"a bundle needs {register}" in problem for problem in problems)


def test_observing_ends_at_its_instant(tmp_path: Path) -> None:
    until = "mode: observe\nobserve_until: 2027-01-01T00:00:00+09:00\n"
    snapshot = load_bundle(write_bundle(tmp_path, edited((B, "bundle: small\n", f"bundle: small\n{until}"))))
    assert snapshot.observe_until == 1798729200
    assert snapshot.observes(1798729199.9)
    assert not snapshot.observes(1798729200.0)


def test_two_folders_that_differ_in_what_they_block_differ_in_a_digest(tmp_path: Path) -> None:
    until = "mode: observe\nobserve_until: 2099-01-01T00:00:00Z\n"
    enforced = load_bundle(write_bundle(tmp_path / "a"))
    observed = load_bundle(write_bundle(tmp_path / "b", edited((B, "bundle: small\n", f"bundle: small\n{until}"))))
    assert enforced.policy_digest != observed.policy_digest


def test_ties_by_control_need_a_control_rule_that_counts(tmp_path: Path) -> None:
    """Without one, ``ties: [control]`` counts nothing, and a deny rule about countries is weaker unseen."""
    problems = problems_after(tmp_path, ("parties.yaml", "    default: true\n", ""))
    assert any(problem.startswith((place_of(SMALL, B, "control]"), "parties.yaml:")) for problem in problems), problems
