# SPDX-License-Identifier: Apache-2.0
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.bundle.check import load_bundle
from proxy.cli import main
from proxy.pipeline.steps import Forward, Refuse
from tests.support.bundle_folder import REFERENCE
from tests.support.keys import GRANTED, NAMES, RING, write_pseudonym_keys
from tests.support.ledger import decode_decision
from tests.support.passages import a_checkpoint, a_head, a_passage, a_token

PEOPLE = {"affiliate": "ly", "employment_type": "employee", "residence_country": "JP"}
LIFTABLE = """\
rules:
  - id: not-now
    effect: deny
    liftable: true
    when: {resource.route: user, subject.country: JP}
  - id: nor-then
    effect: deny
    when: {resource.route: report, caller.affiliate: nobody-at-all}
"""
MANIFEST = "  rules/allow.yaml: [rules]\n"
SAID = {
    "--id": "LE-2027-003",
    "--lifts": "not-now",
    "--when": "{caller.affiliate: ly}",
    "--subject": "users:42",
    "--from": "2027-01-01T00:00:00+09:00",
    "--until": "2027-02-01T00:00:00+09:00",
}
APPROVED = ["--approved-by", "corp|alice", "--approved-by", "corp|bob"]


@pytest.fixture(autouse=True)
def _before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.cli.grant.unix_seconds", lambda: 1_790_000_000.0)  # 2026-09-21


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    for source in REFERENCE.rglob("*.yaml"):
        target = folder / source.relative_to(REFERENCE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    text = (folder / "bundle.yaml").read_text(encoding="utf-8")
    added = f"{MANIFEST}  rules/liftable.yaml: [rules]\n  grants.yaml: [grants]\n"
    assert MANIFEST in text
    text = text.replace(MANIFEST, added).replace("  tests/line-2021.yaml: [tests]\n", "")
    (folder / "bundle.yaml").write_text(text, encoding="utf-8")
    (folder / "tests" / "line-2021.yaml").unlink()
    liftable = LIFTABLE.replace("nobody-at-all", "naver")
    (folder / "rules" / "liftable.yaml").write_text(liftable, encoding="utf-8")
    write_pseudonym_keys(tmp_path / "key", RING)
    return folder


def grant(folder: Path, changes: Mapping[str, str | None] | None = None, approved: list[str] | None = None) -> int:
    said = {**SAID, "--pseudonym-key": str(folder.parent / "key"), **(changes or {})}
    flags = [part for flag, value in said.items() if value is not None for part in (flag, value)]
    return main(["grant", "new", str(folder), *flags, *(APPROVED if approved is None else approved)])


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


def test_a_grant_is_written_where_there_was_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert grant(folder) == 0
    out = capsys.readouterr().out
    assert "it lifts not-now for 1 subject" in out
    (written,) = load_bundle(folder).policy.grants
    assert written.subjects == {GRANTED.of_subject("users", "42")}
    text = (folder / "grants.yaml").read_text(encoding="utf-8")
    assert "42\n" not in text
    assert "users:42" not in text
    assert stat.S_IMODE((folder / "grants.yaml").stat().st_mode) == 0o644


def test_a_second_is_appended_and_nothing_that_stands_there_is_written_anew(folder: Path) -> None:
    assert grant(folder) == 0
    file = folder / "grants.yaml"
    before = "# ours \u65e5\u672c\n" + file.read_text(encoding="utf-8") + "  # the end"
    file.write_text(before, encoding="utf-8")
    file.chmod(0o600)
    assert grant(folder, {"--id": "LE-2027-004"}) == 0
    assert file.read_text(encoding="utf-8").startswith(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.id for each in load_bundle(folder).policy.grants] == ["LE-2027-003", "LE-2027-004"]


@pytest.mark.parametrize(
    "before",
    [
        pytest.param("grants: []\n", id="an empty list"),
        pytest.param("# ours\n\ngrants: []", id="an empty list behind a comment, without a last line's end"),
    ],
)
def test_a_grant_is_the_first_in_a_file_that_holds(folder: Path, before: str) -> None:
    (folder / "grants.yaml").write_text(before, encoding="utf-8")
    assert grant(folder) == 0
    assert len(load_bundle(folder).policy.grants) == 1


REFUSED: dict[str, tuple[dict[str, str | None], list[str] | None, str]] = {
    "a rule that may not be lifted": ({"--lifts": "jp-no-china"}, None, "liftable"),
    "a rule that is none": ({"--lifts": "not-nwo"}, None, "not-now"),
    "one approver": ({}, APPROVED[:2], "expected at least one"),
    "the same approver twice": ({}, APPROVED[:2] * 2, "two different people"),
    "an end that is past": ({"--until": "2026-01-01T00:00:00+09:00"}, None, "is past"),
    "an end before the beginning": ({"--from": "2099-01-01T00:00:00Z"}, None, "does not come after"),
    "an instant without an offset": ({"--from": "2027-01-01T00:00:00"}, None, "offset"),
    "an attribute that is none": ({"--when": "{caller.affilate: ly}"}, None, "caller.affiliate"),
    "conditions that are no mapping": ({"--when": "[ly]"}, None, "--when"),
    "conditions that are no YAML": ({"--when": "{caller"}, None, "--when"),
    "conditions with an anchor": ({"--when": "{caller.affiliate: &a ly}"}, None, "--when"),
    "a subject without an API": ({"--subject": "42"}, None, "API:ID"),
    "a subject without an id": ({"--subject": "users:"}, None, "API:ID"),
    "a subject of an API that is none": ({"--subject": "user:42"}, None, "user"),
    "no key of pseudonyms": ({"--pseudonym-key": None}, None, "sekisho keygen"),
    "a key that is not there": ({"--pseudonym-key": "/nonexistent/key"}, None, "cannot be read"),
    "an id that is none": ({"--id": "a b"}, None, "reference"),
    "an id that is YAML": ({"--id": "x\n  - id: evil"}, None, "reference"),
    "a lifted rule that is YAML": ({"--lifts": "not-now]\nrules: ["}, None, "no id"),
}


@pytest.mark.parametrize(("changes", "approved", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_and_the_folder_is_as_it_was(
    folder: Path, changes: dict[str, str | None], approved: list[str] | None, told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for exists in (False, True):
        if exists:
            assert grant(folder, {"--id": "LE-2027-001"}) == 0
            crlf = (folder / "grants.yaml").read_bytes().replace(b"\n", b"\r\n")
            (folder / "grants.yaml").write_bytes(crlf)
        before = state(folder)
        assert grant(folder, changes, approved) == 2
        assert told in capsys.readouterr().err
        assert state(folder) == before


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("grants:\n- {id: A}\n", id="a grant that does not load"),
        pytest.param("- id: A\n", id="a list"),
        pytest.param("grants: [", id="half a file"),
        pytest.param("", id="nothing at all"),
    ],
)
def test_a_file_that_does_not_load_is_left_as_it_is(folder: Path, text: str) -> None:
    (folder / "grants.yaml").write_text(text, encoding="utf-8")
    before = state(folder)
    assert grant(folder) == 2
    assert state(folder) == before


def test_an_interrupt_while_the_folder_is_checked_leaves_it_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, load, times = state(folder), load_bundle, [0]

    def interrupted(path: Path) -> Any:
        times[0] += 1
        if times[0] == 2:
            raise KeyboardInterrupt
        return load(path)

    monkeypatch.setattr("proxy.cli.grant.load_bundle", interrupted)
    assert grant(folder) == 130
    assert state(folder) == before


def test_a_bundle_that_lists_no_file_for_grants_says_what_to_add(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pseudonym_keys(tmp_path / "key", RING)
    flags = [part for flag, value in SAID.items() for part in (flag, value)]
    assert main(["grant", "new", str(REFERENCE), *flags, *APPROVED, "--pseudonym-key", str(tmp_path / "key")]) == 2
    assert "grants.yaml: [grants]" in capsys.readouterr().err


# A grant that was written lifts.

INSIDE = 1_800_000_000.0  # 2027-01-15
CROSSED = {
    "whom it is for": ({}, "/v1/jp/users/42", INSIDE, True),
    "another subject": ({}, "/v1/jp/users/43", INSIDE, False),
    "who approved it": ({"sub": "alice"}, "/v1/jp/users/42", INSIDE, False),
    "another affiliate": ({"affiliate": "tokyo-bpo"}, "/v1/jp/users/42", INSIDE, False),
}


@pytest.mark.parametrize(("claims", "target", "now", "lifts"), CROSSED.values(), ids=CROSSED.keys())
def test_a_grant_that_was_written_lifts_for(
    folder: Path, claims: dict[str, str], target: str, now: float, lifts: bool  # noqa: FBT001
) -> None:  # fmt: skip
    assert grant(folder) == 0
    checkpoint = a_checkpoint(load_bundle(folder))
    step = a_passage(checkpoint).begin(a_head(target, token=a_token({**PEOPLE, "sub": "carol", **claims})))
    assert isinstance(step, Forward if lifts else Refuse)
    if isinstance(step, Refuse):
        assert step.outcome.decision is not None
        assert step.outcome.decision.rule_id == "not-now"


def test_a_written_grant_names_the_subject_by_a_key_that_stays_a_record_by_its_months(
    folder: Path,
) -> None:
    assert grant(folder) == 0
    snapshot = load_bundle(folder)
    step = a_passage(a_checkpoint(snapshot)).begin(a_head(token=a_token({**PEOPLE, "affiliate": "naver"})))
    assert isinstance(step, Refuse)
    (line,) = map(msgspec.to_builtins, map(decode_decision, step.lines))
    assert set(snapshot.policy.grants[0].subjects) == {GRANTED.of_subject("users", "42")}
    assert line["subject"]["id"] == NAMES.of_subject("users", "42") != GRANTED.of_subject("users", "42")
