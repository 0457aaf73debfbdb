# SPDX-License-Identifier: Apache-2.0
"""One affiliate, drawn."""

import json
from pathlib import Path

import pytest

from proxy.cli import main
from tests.support.bundle_folder import REFERENCE, edited, write_bundle

VENTURE = """
  - id: seoul-fund
    country: KR
    owners_complete: true
  - id: venture
    country: SG
    owners:
      - {id: seoul-fund, min: 20, max: 45}
      - {state: CN, share: 10, until: 2020-01-01T00:00:00Z}
    works_for: [{id: home-co, from: 2019-01-01T00:00:00Z}]
  - {id: gone, country: JP, until: 2020-01-01T00:00:00Z}
country_sets:
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path, edited(("parties.yaml", "\ncountry_sets:\n", VENTURE)))


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["affiliates", "show", *arguments]) == 0
    return capsys.readouterr().out


def test_the_head_office_shows_who_owns_it_and_who_works_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "ly", "--policies", str(REFERENCE))
    for told in (
        "home",
        "a-holdings: A Holdings (JP), 62.5 %",
        "naver: NAVER (KR), 50 %",
        "dalian-bpo: Dalian BPO (CN)",
    ):
        assert told in out


def test_what_is_undisclosed_what_has_ended_and_what_is_to_be_watched_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown(capsys, "venture", "--policies", str(folder))
    for told in (
        "80 % of it is undisclosed",
        "state:CN: the state of China (CN), 10 % until 2020-01-01T00:00:00.000Z, not at this time",
        "seoul-fund holds 20 to 45 %",
        "by contract from 2019-01-01T00:00:00.000Z",
        "control rule majority: controlled by none, and possibly others",
    ):
        assert told in out


def test_it_is_shown_as_it_is_at_an_instant(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--policies", str(folder), "--at", "2019-06-01T00:00:00Z")
    assert "70 % of it is undisclosed" in shown(capsys, "venture", *at)
    assert "not an affiliate at this time" in shown(capsys, "gone", "--policies", str(folder))
    assert "not an affiliate" not in shown(capsys, "gone", *at)


def test_the_diagram_names_everybody_once_and_takes_no_markup(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "venture", "--policies", str(folder), "--mermaid")
    assert out.startswith("flowchart TB\n")
    assert out.count('n_seoul_45_fund["') == 1
    assert 'n_seoul_45_fund -- "20 to 45 %" --> n_venture' in out
    assert 'n_home_45_co -. "by contract from' in out


def test_it_is_one_json_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(shown(capsys, "venture", "--policies", str(folder), "--json"))
    assert (told["id"], [each["id"] for each in told["owners"]]) == ("venture", ["seoul-fund", "state:CN"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("ventura",), "did you mean 'venture'"), (("venture", "--at", "2027-01-01"), "no RFC 3339 instant")],
    ids=["an affiliate that is none", "a date without a time"],
)
def test_it_is_refused_in_one_sentence(
    folder: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["affiliates", "show", *arguments, "--policies", str(folder)]) == 2
    assert message in capsys.readouterr().err
