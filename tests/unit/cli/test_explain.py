# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from proxy.cli import main
from tests.support.bundle_folder import REFERENCE, SMALL, edited, write_bundle


def explain(folder: Path, sentence: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["explain", str(folder), sentence]) == 0
    return capsys.readouterr().out


def test_every_rule_is_shown_with_why(capsys: pytest.CaptureFixture[str]) -> None:
    out = explain(REFERENCE, "a Shanghai engineer", capsys)
    assert out.startswith("a Shanghai engineer cannot read a Japanese user: effect deny, rule jp-no-china")
    assert "deny jp-no-china applies: No China-based affiliate" in out
    assert "yes     subject.country: JP  (is JP)" in out
    assert "CN by employer: shanghai-digital" in out
    assert "allow ly-staff-read-japan does not apply" in out
    for rule in ("jp-not-from-china", "jp-export-stays-home", "status-is-public", "line-plus-runs-the-region"):
        assert rule in out


def test_a_rule_that_applies_by_unknown_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    out = explain(REFERENCE, "an address that nobody can place", capsys)
    assert "deny jp-not-from-china applies (by unknown)" in out
    assert "unknown origin.country: {any: $china}  (is unknown)" in out


def test_a_request_that_is_no_route_has_no_rules_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    out = explain(REFERENCE, "a route that nobody declared", capsys)
    assert out.splitlines() == ["a route that nobody declared does not pass: effect deny, reason route-undeclared"]


def test_a_sentence_that_is_none_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(REFERENCE), "LINE Taiwan reads a Taiwanes usr"]) == 2
    assert "did you mean 'LINE Taiwan reads a Taiwanese user'" in capsys.readouterr().err


def test_markup_in_a_sentence_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "[bold]our[/bold] employee \u2014 \u65e5\u672c"
    folder = write_bundle(tmp_path, edited(("cases.yaml", "our employee reads", f"'{sentence}'")))
    assert explain(folder, sentence, capsys).startswith(sentence)


def test_a_whole_sentence_beats_one_that_only_begins_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    longer = SMALL["cases.yaml"].replace("reads\n", "reads at night\n")
    shorter = SMALL["cases.yaml"].partition("\n")[2]
    folder = write_bundle(tmp_path, {**SMALL, "cases.yaml": longer + shorter})
    assert explain(folder, "our employee reads", capsys).startswith("our employee reads:")
