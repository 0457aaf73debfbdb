# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest

from proxy.bundle.check import load_bundle
from proxy.cli import main
from tests.support.bundle_folder import REFERENCE, SMALL, edited, write_bundle


def test_the_reference_bundle_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(REFERENCE)]) == 0
    out = capsys.readouterr().out
    cases = load_bundle(REFERENCE).cases
    assert all(f"ok     {case.name}" in out for case in cases)
    assert out.endswith(f"{len(cases)} passed, 0 failed\n")


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
        "0 passed, 1 failed",
    ]


@pytest.mark.parametrize("text", ["tests: []\n", "{}\n"], ids=["an empty list", "no tests at all"])
def test_a_bundle_without_tests_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert main(["test", str(write_bundle(tmp_path, {**SMALL, "cases.yaml": text}))]) == 1
    assert "There is no test" in capsys.readouterr().out


def test_a_weaker_policy_fails_the_reference_tests(tmp_path: Path) -> None:
    """The tests of the reference bundle notice when any one deny rule can no longer be true."""
    files = {str(path.relative_to(REFERENCE)): path.read_text(encoding="utf-8") for path in REFERENCE.rglob("*.yaml")}
    head, *rules = re.split(r"(?m)^(?=  - id: )", files["rules/deny.yaml"])
    assert len(rules) >= 6
    unnoticed = []
    for index, rule in enumerate(rules):
        weaker = rule.replace("when: {", "when: {resource.hosted_in: AQ, ")
        assert weaker != rule
        text = head + "".join([*rules[:index], weaker, *rules[index + 1 :]])
        code = main(["test", str(write_bundle(tmp_path / str(index), {**files, "rules/deny.yaml": text}))])
        assert code in {0, 1}
        if code == 0:
            unnoticed.append(rule.splitlines()[0])
    assert not unnoticed
