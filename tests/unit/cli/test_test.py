# SPDX-License-Identifier: Apache-2.0
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from proxy.bundle.check import load_bundle
from proxy.cli import main
from tests.support.bundle_folder import REFERENCE, SMALL, edited, write_bundle
from tests.support.record_bundle import FILES


def test_the_reference_bundle_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(REFERENCE)]) == 0
    out = capsys.readouterr().out
    cases = load_bundle(REFERENCE).cases
    assert all(f"ok     {case.name}" in out for case in cases)
    assert f"{len(cases)} passed, 0 failed; 19 of 19 rules hold in some test\n" in out
    assert "never fired" not in out
    assert main(["test", str(REFERENCE), "--require-coverage"]) == 0


def test_a_test_that_fails_is_shown_with_both_sides_and_exits_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit = ("cases.yaml", "{effect: allow, rule: staff}", "{effect: deny, rule: no-china}")
    folder = write_bundle(tmp_path, edited(edit))
    assert main(["test", str(folder)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "FAILED our employee reads",
        "         expected effect deny, rule no-china",
        "         decided  effect allow, rule staff, reason rule-allows",
        "0 passed, 1 failed; 1 of 2 rules hold in some test",
        "never fired in any test: no-china",
    ]


def test_a_rule_that_no_test_has_seen_hold_fails_where_coverage_is_required(tmp_path: Path) -> None:
    folder = str(write_bundle(tmp_path, SMALL))
    assert main(["test", folder]) == 0
    assert main(["test", folder, "--require-coverage"]) == 1


def test_a_test_that_depends_on_time_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = "rules:\n  - {id: late, effect: deny, when: {always: 'true'}, effective: {from: 2030-01-01T00:00:00Z}}\n"
    folder = write_bundle(tmp_path, edited(("rules.yaml", "rules:\n", late)))
    assert main(["test", str(folder)]) == 1
    assert "(not known: time; give `at`)" in capsys.readouterr().out


def test_results_are_written_for_other_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "our & <employee> ]]> reads"
    edits = (
        ("cases.yaml", "{effect: allow, rule: staff}", "{effect: deny, rule: no-china}"),
        ("cases.yaml", "name: our employee reads", f'name: "{hostile}"'),
    )
    folder = write_bundle(tmp_path / "bundle", edited(*edits))
    junit = tmp_path / "results.xml"
    assert main(["test", str(folder), "--json", "--junit", str(junit)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["never_fired"] == ["no-china"]
    assert [(each["name"], each["passed"]) for each in told["tests"]] == [(hostile, False)]
    (suite,) = ET.parse(junit).getroot()  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    (case,) = suite
    assert case.get("name") == hostile
    assert "decided effect allow" in (case[0].text or "")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(REFERENCE), "--junit", str(tmp_path / "no" / "results.xml")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["tests: []\n", "{}\n"], ids=["an empty list", "no tests at all"])
def test_a_bundle_without_tests_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert main(["test", str(write_bundle(tmp_path, {**SMALL, "cases.yaml": text}))]) == 1
    assert "There is no test" in capsys.readouterr().out


def test_a_weaker_policy_fails_the_reference_tests(tmp_path: Path) -> None:
    """The tests of the reference bundle notice when any one deny rule can no longer be true."""
    files = {str(path.relative_to(REFERENCE)): path.read_text(encoding="utf-8") for path in REFERENCE.rglob("*.yaml")}
    head, *rules = re.split(r"(?m)^(?=  - id: )", files["rules/deny.yaml"])
    assert len(rules) >= 7
    unnoticed = []
    for index, rule in enumerate(rules):
        never = "resource.hosted_in: AQ" if "resource.hosted_in" not in rule else "action: delete"
        weaker = rule.replace("when: {", f"when: {{{never}, ")
        assert weaker != rule
        text = head + "".join([*rules[:index], weaker, *rules[index + 1 :]])
        code = main(["test", str(write_bundle(tmp_path / str(index), {**files, "rules/deny.yaml": text}))])
        assert code in {0, 1}
        if code == 0:
            unnoticed.append(rule.splitlines()[0])
    assert not unnoticed


def test_a_test_of_a_list_that_fails_names_its_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = """
  - name: nobody is dropped
    given:
      caller: {affiliate: home-co, kind: employee, residence: CN}
      origin: {country: JP}
      request: GET /v1/users
      answer: '{"users": [{"country": "TW"}, {"country": "KR"}, {"country": "JP"}]}'
    expect: {effect: by-record, records: {left: 3}}
"""
    folder = write_bundle(tmp_path / "bundle", {**FILES, "cases.yaml": FILES["cases.yaml"].rstrip() + case})
    assert main(["test", str(folder), "--junit", str(tmp_path / "results.xml")]) == 1
    out = capsys.readouterr().out
    assert (
        """\
FAILED nobody is dropped
         expected effect by-record, records left 3
         decided  effect by-record, records left 2, dropped 1, masked 0
           $.users[0]: TW, left by staff
           $.users[1]: KR, left by staff
           $.users[2]: JP, dropped by no-china
"""
        in out
    )
    assert "$.users[2]: JP, dropped by no-china" in (tmp_path / "results.xml").read_text("utf-8")
