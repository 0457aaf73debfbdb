# SPDX-License-Identifier: Apache-2.0
"""One request in words: everything that is recorded of it, and how to go on from there."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy.errors import UsageError
from proxy.gateway.ids import make_request_id
from proxy.ledger.lines import ContentRecorded, ReleasedLine, StopLine
from tests.support.ledger_lines import (
    BEGAN,
    WANG,
    LedgerOnDisk,
    a_decision,
    an_allowance,
    an_end,
    run_verb,
    write_ledger,
)

DENIED = a_decision()
ALLOWED = an_allowance(BEGAN + 86_400 * 30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ledger = LedgerOnDisk(tmp_path / "ledger")
    ledger.begin()
    ledger.write(DENIED, StopLine())
    ledger.now += 86_400 * 30
    ledger.begin()
    first = ContentRecorded(
        seen=3, masked=1, subjects=2, subject_ids=("users:" + "e5" * 16, "users:" + "f6" * 16), left={"TW": 3}
    )
    second = ContentRecorded(
        seen=2, dropped=1, subjects=1, subject_ids=("users:" + "f6" * 16,), left={"TW": 1}, kept_back={"JP": 1}
    )
    parts = [
        ReleasedLine(id=ALLOWED.id, bytes=256, content=first),
        ReleasedLine(id=ALLOWED.id, bytes=512, content=second),
    ]
    whole = ContentRecorded(seen=5, dropped=1, masked=1, left={"TW": 4}, kept_back={"JP": 1}, rules={"jp-no-china": 1})
    ledger.write(ALLOWED, *parts, an_end(ALLOWED.id, content=whole))
    return ledger.folder


def show(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run_verb("show", *arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return " ".join(out.split())


def test_a_denial_in_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = show(capsys, folder, DENIED.id)
    for told in (
        f"Request {DENIED.id}: deny 403 by rule jp-no-china, rule-denies",
        f"who {WANG} a keyed pseudonym",
        "affiliate shanghai-digital the company that the caller works for",
        "tied to CN (China), JP (Japan)",
        "CN by employer (shanghai-digital); JP by country",
        "address 203.0.113.9",
        "hides unknown (nobody could tell)",
        "asked for GET users user read",
        "data name, phone",
        "reason rule-denies: a deny rule applies",
        "how sure matched: every fact that the rule asks for was known",
        "released nothing of the API's answer",
        "line 1 decision",
    ):
        assert told in out, told
    assert "whole" not in out, "nothing left, so nothing can be whole"


def test_an_allowance_with_all_its_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = show(capsys, folder, ALLOWED.id)
    for told in (
        "released the API's answer",
        "bytes 512 of the answer's body",
        "whole yes",
        "line 4 decision",
        "line 5 released",
        "up to byte 256, 3 records, 1 masked, 2 people; left TW 3",
        "up to byte 512, 2 records, 1 dropped, 1 person; left TW 1; kept back JP 1",
        "line 7 end",
        f"Request {ALLOWED.id}: allow 200 by rule ly-staff-read-japan, rule-allows; 5 records",
        "records 5 found in the answer",
        "left TW (Taiwan) 4 records",
        "kept back JP (Japan) 1 records",
        "by rule jp-no-china 1 records",
        f"whose users:{'e5' * 16},",
    ):
        assert told in out, told


def test_how_to_go_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = show(capsys, folder, DENIED.id)
    assert f"A proof that the decision stands in the ledger unchanged: sekisho ledger prove {folder} {DENIED.id}" in out
    assert f"are not kept here: {folder}/bundles has no {'ab' * 16}…" in out
    kept = folder / "bundles" / ("ab" * 32)
    kept.mkdir(parents=True)
    out = show(capsys, folder, DENIED.id)
    assert f"that decided are kept in {kept}." in out
    assert f"Rule by rule: sekisho explain --ledger {folder} --id {DENIED.id}" in out


def test_the_lines_as_they_stand(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("show", folder, ALLOWED.id, "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["n"] for line in lines] == [4, 5, 6, 7]
    assert [line["line"] for line in lines] == ["decision", "released", "released", "end"]


@pytest.mark.parametrize("length", [6, 10, 12, 25])
def test_a_beginning_that_is_one_requests_alone(folder: Path, capsys: pytest.CaptureFixture[str], length: int) -> None:
    assert f"Request {ALLOWED.id}: " in show(capsys, folder, ALLOWED.id[:length].lower())


def test_a_beginning_of_several(tmp_path: Path) -> None:
    lines = [a_decision(BEGAN + n / 1000) for n in range(7)]
    write_ledger(tmp_path, lines)
    with pytest.raises(UsageError) as caught:
        run_verb("show", tmp_path, lines[0].id[:7])
    named = ", ".join(sorted(line.id for line in lines)[:5])
    assert str(caught.value) == f"{lines[0].id[:7]} begins the ids of 7 requests: {named}, …. Give more of it."


@pytest.mark.parametrize(
    "text", ["", "01F1E", "01F1E6339CGTABGXSAKD98F1K8X", "01F1E6339CU", "../../etc/x", "\x1b[2J01F1E6"]
)
def test_what_is_no_id(folder: Path, text: str) -> None:
    with pytest.raises(UsageError, match="is no id of a decision, such as 01F1E67NFFQH49ZT7AY7HWJ234"):
        run_verb("show", folder, text)


def test_an_id_as_it_was_copied(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("show", folder, f" {DENIED.id}\n") == 0
    assert capsys.readouterr().out.startswith(f"Request {DENIED.id}:")


def test_a_request_of_which_nothing_is_recorded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = make_request_id(BEGAN)
    assert run_verb("show", folder, missing) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"note: nothing is recorded of {missing}; refusals of unknown callers beyond a limit")
    assert f"`sekisho ledger tail {folder} --line refusals` shows them" in err


def test_a_request_whose_id_says_another_time_than_its_line_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = a_decision(BEGAN + 86_400 * 365)
    write_ledger(tmp_path, [later], [StopLine()])
    assert later.id in show(capsys, tmp_path, later.id)


def test_the_end_of_a_long_stream_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = an_allowance()
    ledger = LedgerOnDisk(tmp_path)
    ledger.begin()
    ledger.write(stream)
    ledger.now += 86_400 * 3
    ledger.begin()
    ledger.write(an_end(stream.id, complete=False, reason="policy-changed"))
    assert "whole no: policy-changed" in show(capsys, tmp_path, stream.id)


def test_a_request_under_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ledger(tmp_path, [ALLOWED])
    assert "whole not recorded: still under way" in show(capsys, tmp_path, ALLOWED.id)


def test_an_end_whose_decision_is_no_longer_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ledger(tmp_path, [an_end(DENIED.id)])
    out = show(capsys, tmp_path, DENIED.id)
    assert f"Request {DENIED.id}: its decision is not here" in out
    assert "line 1 end" in out


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    data = b"".join(path.read_bytes() for path in sorted(folder.glob("*.jsonl")))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    out = show(capsys, "-", ALLOWED.id)
    assert "line 7 end" in out
    assert "ledger prove" not in out, "a pipe proves nothing"


def test_ids_of_rules_are_no_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b'{"line":"decision","id":"x","rules":[{"id":"01F1E6339C"}]}\n')
    assert run_verb("show", path, "01F1E6339C") == 1


def test_hostile_lines_command_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lines"
    decision = {
        "line": "decision",
        "id": DENIED.id,
        "rule": "[bold]\x1b[2J",
        "caller": {"who": "\u202e", "ties": ["\x9b:::", 7]},
        "rules": [{"id": "\x07", "unknown": "x"}, 7],
        "shadow": {"would": "\x1b", "rules": {}},
        "bundle": "../*",
        "lifted": {"a\x1b": 1},
        "\x1b": "\x1b",
        "origin": "\x9b",
        "end": {"\x07": 1},
    }
    path.write_text(json.dumps(decision) + "\n" + json.dumps({"line": "end", "id": DENIED.id, "n": "\x1b"}) + "\n")
    for flags in ([], ["--json"]):
        assert run_verb("show", path, DENIED.id, *flags) == 0
        out, _ = capsys.readouterr()
        assert out.replace("\n", "").isprintable()
        assert "[bold]" in out
