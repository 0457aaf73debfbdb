# SPDX-License-Identifier: Apache-2.0
import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.ledger.export import configure
from proxy.errors import UsageError
from proxy.ledger.chain import Chain
from proxy.ledger.lines import DecisionLine, EndLine, Line, RefusalsLine, SegmentLine

IDS = ("01M8100N6S48F2RFAX2ETFWA2C", "01M8100N6V3H3ABX584EQRRE86")
SINCE = "2026-11-22T06:45:00.000Z"


def _decision(request_id: str) -> DecisionLine:
    return DecisionLine(id=request_id, effect="allow", reason="rule-allows", released=True, method="GET", bundle="b")


def _write(folder: Path, *lines: Line, junk: bytes = b"") -> Path:
    chain = Chain("sekisho.example/ledger")
    data = b""
    for number, line in enumerate((SegmentLine(format=1, origin=chain.origin, segment=0, peaks=()), *lines)):
        staged = chain.stage([line], 1_795_329_900.0 + 3600 * number)
        chain.take(staged)
        data += staged.data
    (folder / f"{0:020d}.jsonl").write_bytes(data + junk)
    return folder


def _export(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser()
    configure(parser)
    options = parser.parse_args(arguments)
    assert options.run(options) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_decisions_come_with_their_ends_and_counts_as_they_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted = RefusalsLine(ip="192.0.2.1", count=7, reasons={"token-missing": 7}, since=SINCE, until=SINCE)
    end = EndLine(id=IDS[0], status=200, complete=True, bytes=5, seconds=0.5)
    events = _export(capsys, str(_write(tmp_path, _decision(IDS[0]), end, counted, _decision(IDS[1]))), "--ocsf")
    assert [(event["metadata"].get("uid"), event["status_id"]) for event in events] == [
        (IDS[0], 1), (None, 2), (IDS[1], 0)
    ]  # fmt: skip
    assert events[0]["duration"] == 500
    assert events[1]["count"] == 7


def test_only_what_was_written_in_a_time_is_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(_write(tmp_path, _decision(IDS[0]), _decision(IDS[1])))
    bounds = ("--since", "2026-11-22T08:00:00Z", "--until", "2026-11-22")
    assert [event["metadata"]["uid"] for event in _export(capsys, folder, "--ocsf", *bounds)] == [IDS[1]]


def test_damaged_lines_are_skipped_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _write(tmp_path, _decision(IDS[0]), junk=b"not a line\n")
    parser = argparse.ArgumentParser()
    configure(parser)
    options = parser.parse_args([str(folder), "--ocsf"])
    assert options.run(options) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert "1 line was skipped" in captured.err


def test_no_time_before_its_beginning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="is not before"):
        _export(capsys, str(tmp_path), "--ocsf", "--since", "2026-11-23", "--until", "2026-11-21")


def test_a_form_has_to_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _export(capsys, str(tmp_path))
    assert "--ocsf" in capsys.readouterr().err
