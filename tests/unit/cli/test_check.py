# SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.bundle.check import load_bundle
from proxy.cli import main
from tests.support.bundle_folder import REFERENCE, SMALL, edited, write_bundle


def test_the_reference_bundle_loads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(REFERENCE)]) == 0
    out, err = capsys.readouterr()
    assert "loads: bundle line-2021" in out
    assert "7 deny rules, 1 mask rule, 11 allow rules" in out
    assert not err


def test_both_digests_and_the_notes_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    until = "mode: observe\nobserve_until: 2099-01-01T00:00:00Z\n"
    folder = write_bundle(tmp_path, edited(("bundle.yaml", "bundle: small\n", f"bundle: small\n{until}")))
    assert main(["check", str(folder)]) == 0
    out = capsys.readouterr().out
    snapshot = load_bundle(folder)
    assert snapshot.policy_digest in out
    assert snapshot.registers_digest in out
    assert "note: mode: observe" in out


def test_every_problem_is_shown_with_its_place_and_a_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edits = (("rules.yaml", "$china", "$chna"), ("parties.yaml", "country: KR", "country: UK"))
    assert main(["check", str(write_bundle(tmp_path, edited(*edits)))]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines() == [
        f"{tmp_path}/parties.yaml:19:14: 'UK' is no ISO 3166-1 country code: the code is GB (United Kingdom)",
        f"{tmp_path}/rules.yaml:6:31: no country set '$chna' (did you mean '$china'?)",
        "2 problems: nothing was loaded.",
    ]


def test_one_problem_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(write_bundle(tmp_path, edited(("rules.yaml", "$china", "$chna"))))]) == 2
    assert capsys.readouterr().err.endswith("1 problem: nothing was loaded.\n")


@pytest.mark.parametrize("make", ["missing", "empty", "file"])
def test_what_is_no_policy_folder_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], make: str) -> None:
    folder = tmp_path / "p"
    if make == "empty":
        folder.mkdir()
    if make == "file":
        folder.write_text("x", encoding="utf-8")
    assert main(["check", str(folder)]) == 2
    assert "sekisho init" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["check", "test", "explain"])
def test_every_verb_that_loads_exits_2_on_a_bundle_that_does_not(tmp_path: Path, verb: str) -> None:
    folder = write_bundle(tmp_path, edited(("rules.yaml", "effect: deny", "effect: dny")))
    assert main([verb, str(folder), *(["our"] if verb == "explain" else [])]) == 2


@pytest.mark.parametrize("arguments", [[], ["chek", "x"], ["check"], ["check", "x", "y"], ["check", "--all", "x"]])
def test_a_command_that_is_none_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert capsys.readouterr().err


HOSTILE = {
    "an effect in a list": ("rules.yaml", "effect: deny", "effect: [deny]"),
    "a list in a country set": ("parties.yaml", "[CN, HK]", "[[CN]]"),
    "a list among kinds of ties": ("rules.yaml", "{any: $china}", "{any: $china, by: [[employer]]}"),
    "a mapping for a residence": ("cases.yaml", "residence: JP", "residence: {JP: x}"),
    "a pattern too large": ("apis.yaml", '"[a-z]{2}"', '"a{99999999999}"'),
    "a claim nested too deep": ("parties.yaml", "kind: kind", f"kind: '{'!' * 1900}a'"),
    "an alias and the key again": ("rules.yaml", "effect: deny", "effect: *x\n    effect: deny"),
    "a NUL in a file's name": ("bundle.yaml", "  rules.yaml", '  "a\\0.yaml": [rules]\n  rules.yaml'),
    "a file's name too long": ("bundle.yaml", "  rules.yaml", f"  {'x' * 300}.yaml: [rules]\n  rules.yaml"),
}


@pytest.mark.parametrize("edit", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_bundle_exits_2_and_never_with_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: tuple[str, str, str]
) -> None:
    assert main(["check", str(write_bundle(tmp_path, edited(edit)))]) == 2
    assert f"{tmp_path}/{edit[0]}:" in capsys.readouterr().err


def test_the_command_itself_exits_2(tmp_path: Path) -> None:
    write_bundle(tmp_path, {**SMALL, "rules.yaml": "rules: [\n"})
    command = [sys.executable, "-m", "proxy.cli", "check", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tmp_path}/")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("until", "said"),
    [
        pytest.param("2999-01-01T00:00:00Z", "refusals only observed until 2999-01-01", id="while it lasts"),
        pytest.param(
            "2020-01-31T00:00:00+09:00", "ended at 2020-01-30T15:00:00.000Z: refusals are enforced", id="then"
        ),
    ],
)
def test_what_observe_mode_means_now_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], until: str, said: str
) -> None:
    folder = tmp_path / "policies"
    shutil.copytree(REFERENCE, folder)
    manifest = folder / "bundle.yaml"
    text = manifest.read_text(encoding="utf-8").replace("mode: enforce", f"mode: observe\nobserve_until: {until}\n#", 1)
    manifest.write_text(text, encoding="utf-8")
    assert main(["check", str(folder)]) == 0
    assert said in capsys.readouterr().out
