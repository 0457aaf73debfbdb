# SPDX-License-Identifier: Apache-2.0
"""Segments held together, and the two ends of a ledger."""

import base64
from pathlib import Path

import pytest

from proxy.ledger.audit import verify_folder
from proxy.ledger.chain import Chain
from proxy.ledger.finding import Report
from proxy.ledger.lines import EndLine, RetentionLine, StopLine
from proxy.ledger.merkle import Frontier, leaf_hash
from proxy.ledger.note import SigningKey
from proxy.ledger.segments import CHECKPOINT, segment_name
from tests.support.ledger import KEY
from tests.support.tampering import START, Maker, Script, edit, segment_paths


def verify(maker: Maker) -> Report:
    return verify_folder(maker.folder, [KEY.verifier])


def told(report: Report) -> list[str]:
    return [str(fault) for fault in report.faults]


def remarks(report: Report) -> list[str]:
    return [str(remark) for remark in report.remarks]


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    """A ledger of a gateway that runs."""
    maker = Maker(tmp_path / "ledger", 5000)
    maker.append(START)
    maker.ends(57)
    return maker


def test_lines_behind_the_last_checkpoint_are_a_remark(maker: Maker) -> None:
    report = verify(maker)
    assert told(report) == []
    assert remarks(report) == ["lines 61 to 67 are covered by no checkpoint yet (7 lines)"]
    assert report.proven == ((0, 60),)
    maker.sign()
    assert remarks(verify(maker)) == []


def test_lines_of_hours_without_a_checkpoint_are_a_fault(tmp_path: Path) -> None:
    script = Script().sign()
    for _ in range(4):
        script.add(EndLine(id="0" * 26, complete=True), 1800)
    (tmp_path / segment_name(0)).write_bytes(script.data)
    assert told(verify_folder(tmp_path, [KEY.verifier])) == [
        (
            "lines 1 to 5 are covered by no checkpoint, from 2026-11-22T12:00:01.000Z to 2026-11-22T14:00:01.000Z "
            "(5 lines): a gateway signs at least every hour"
        )
    ]


def test_a_gateway_that_started_a_moment_ago_has_not_signed_yet(maker: Maker) -> None:
    maker.stop()
    maker = Maker(maker.folder, begin=maker.now + 5 * 3600)
    maker.append(START)
    maker.ends(3)
    report = verify(maker)
    assert (told(report), remarks(report)) == ([], ["lines 69 to 73 are covered by no checkpoint yet (5 lines)"])


def test_a_ledger_without_a_checkpoint_proves_nothing(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "ledger")
    maker.append(START)
    report = verify(maker)
    assert told(report) == ["no checkpoint holds: nothing shows that these lines are as they were written"]
    assert report.proven == ()


def test_a_stop_without_its_checkpoint_is_a_fault(maker: Maker) -> None:
    maker.append(StopLine())
    assert told(verify(maker)) == [
        (
            "00000000000000000051.jsonl:18 (n 68): a gateway stopped here, and signs when it does: "
            "the checkpoint behind it was cut off"
        )
    ]


def test_a_gateway_that_idles_signs_every_hour(maker: Maker) -> None:
    maker.idle(26 * 3600)
    maker.ends(20)
    maker.stop()
    report = verify(maker)
    assert (told(report), remarks(report)) == ([], [])


def test_a_gap_between_segments_is_a_fault_unless_a_gateway_stopped_or_starts(tmp_path: Path) -> None:
    day = 86400
    for ending, opening, faults in (("stop", "ends", 0), ("run", "start", 0), ("run", "ends", 1)):
        maker = Maker(tmp_path / f"{ending} {opening}")
        maker.append(START)
        maker.ends(5)
        if ending == "stop":
            maker.append(StopLine())
        maker.now += day
        if opening == "start":
            maker.append(START)
        maker.ends(5)
        maker.sign()
        report = verify(maker)
        assert [(fault.kind, fault.line) for fault in report.faults] == [("gap", 1 + 5 + 2)] * faults or faults == 0
        assert len(report.faults) == faults
        crashed = "a gateway starts, and the one before ended without `stop`"
        assert any(crashed in remark for remark in remarks(report)) == (opening == "start")


def test_the_peaks_that_a_segment_says_are_held_against_the_tree_before_it(maker: Maker) -> None:
    maker.stop()
    second = segment_paths(maker.folder)[1]

    def other(line: bytes) -> bytes:
        at = line.index(b'"peaks":["') + 12
        return line[:at] + (b"A" if line[at : at + 1] != b"A" else b"B") + line[at + 1 :]

    edit(second, lambda lines: [other(lines[0]), *lines[1:]])
    report = verify(maker)
    assert told(report) == [
        "00000000000000000026.jsonl:1 (n 26): this line was changed: the next line says that it had another hash"
    ]
    assert report.proven == ((0, 25), (27, 68))


def test_lines_linked_anew_up_to_the_end_of_a_segment_do_not_fit_the_next(maker: Maker) -> None:
    maker.stop()
    first = segment_paths(maker.folder)[0]

    def write_anew(lines: list[bytes]) -> list[bytes]:
        kept = lines[:24]
        for line in lines[24:]:
            changed = line.replace(b'"bytes":2', b'"bytes":3')
            at = changed.index(b'"prev":"') + 8
            kept.append(changed[:at] + base64.b64encode(leaf_hash(kept[-1])) + changed[at + 44 :])
        return kept

    edit(first, lambda lines: [*lines[:23], lines[23].replace(b'"bytes":', b'"bytes":1'), *lines[24:]])
    edit(first, write_anew)
    assert told(verify(maker)) == [
        "00000000000000000000.jsonl:26 (n 25): this line was changed: the next line says that it had another hash",
        (
            "00000000000000000026.jsonl:1 (n 26): between lines 21 and 25, at the end of 00000000000000000000.jsonl, "
            "something was changed, put in or left out: the signed tree that this segment continues is another"
        ),
    ]


def test_a_signed_line_may_say_that_what_is_missing_at_the_front_was_removed(maker: Maker) -> None:
    first = segment_paths(maker.folder)[0]
    maker.append(RetentionLine(first=26))
    first.unlink()
    missing = [
        (
            "00000000000000000026.jsonl (n 0): lines 0 to 25 are missing, and no checkpoint follows "
            "the `retention` line that says so"
        )
    ]
    assert told(verify(maker)) == missing
    maker.ends(1)
    maker.sign()
    assert told(verify(maker)) == missing, "anybody could have put it there, for somebody to sign it later"
    maker.append(RetentionLine(first=26))
    maker.sign()
    maker.stop()
    report = verify(maker)
    assert told(report) == []
    assert remarks(report) == ["00000000000000000026.jsonl (n 26): lines 0 to 25 are removed, as a signed line says"]
    assert report.proven == ((26, 73),)
    segment_paths(maker.folder)[0].unlink()
    assert told(verify(maker)) == [
        (
            "00000000000000000051.jsonl (n 26): lines 26 to 50 are missing: the ledger begins with 51, "
            "and no `retention` line says so"
        )
    ]


def test_what_no_segment_shows_is_not_said_to_be_proven(maker: Maker) -> None:
    maker.stop()
    edit(segment_paths(maker.folder)[1], lambda lines: [*lines[:5], *lines[9:]])
    report = verify(maker)
    assert report.proven == ((0, 24), (35, 68))


def test_a_segment_of_which_not_all_findings_are_kept_is_not_said_to_be_proven(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.stop()
    edit(segment_paths(maker.folder)[1], lambda lines: [line + b" " for line in lines])
    for module in ("verify", "readings"):
        monkeypatch.setattr(f"proxy.ledger.{module}.MAX_FINDINGS", 20)
    report = verify(maker)
    assert (len(report.faults), report.more) == (20, 5)
    assert report.proven == ((0, 25), (51, 68))


def test_another_ledger_does_not_go_on_with_this_one(maker: Maker) -> None:
    other = SigningKey.generate("other.example/ledger")
    for path in segment_paths(maker.folder)[1:]:
        path.unlink()
    lines = segment_paths(maker.folder)[0].read_bytes().split(b"\n")[:-1]
    tree = Frontier()
    tree.extend([leaf_hash(line) for line in lines])
    chain = Chain(other.name, tree, base64.b64encode(leaf_hash(lines[-1])), maker.now, 1)
    path = maker.folder / segment_name(chain.size)
    data = b""
    for make in (chain.segment, lambda: chain.sign(other)[1]):
        staged = chain.stage([make()], maker.now)
        chain.take(staged)
        data += staged.data
    path.write_bytes(data)
    (maker.folder / CHECKPOINT).unlink(missing_ok=True)
    report = verify_folder(maker.folder, [KEY.verifier, other.verifier])
    assert [fault.kind for fault in report.faults] == ["origin"], "whoever verifies may believe both keys"
