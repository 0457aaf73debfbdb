# SPDX-License-Identifier: Apache-2.0
"""An urgent cut-off depends on nothing: each rule of the folder stands for itself."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from proxy.bundle.check import load_bundle
from proxy.bundle.emergency import (
    MAX_FILES,
    MAX_RULES,
    Urgent,
    compile_urgent,
    digest_with,
    keep_broken,
    read_emergency,
    write_files,
)
from proxy.bundle.read import FileProblem
from proxy.bundle.snapshot import Snapshot
from proxy.policy.rules import Rule
from tests.support.bundle_folder import write_bundle

FOLDER: Final = "emergency_denies"
CUT: Final = "  - {id: cut, effect: deny, when: {caller.affiliate: branch}}\n"
OTHER: Final = "  - {id: apart, effect: deny, when: {subject.country: JP}}\n"


def read(folder: Path, **files: str) -> Urgent:
    """Write the small bundle with files of emergency denies, and read those."""
    write_bundle(folder)
    write_bundle(folder / FOLDER, {f"{name}.yaml": text for name, text in files.items()})
    return read_emergency(folder)


def put(folder: Path, **files: str) -> tuple[dict[str, list[str]], list[str]]:
    """Return the ids of rules in force by file, and problems, both with bare file names."""
    vocabulary = load_bundle(write_bundle(folder / "sound")).vocabulary
    by_file, problems = compile_urgent(read(folder / "own", **files), vocabulary)
    place = f"{folder / 'own' / FOLDER}/"
    ids = {file.removeprefix(place): [rule.id for rule in rules] for file, rules in by_file.items()}
    return ids, [str(problem).removeprefix(place) for problem in problems]


def test_without_a_folder_there_are_none(tmp_path: Path) -> None:
    assert read_emergency(write_bundle(tmp_path)) == Urgent()


def test_a_sound_rule_is_in_force_under_the_namespace_of_emergencies(tmp_path: Path) -> None:
    assert put(tmp_path, a=f"rules:\n{CUT}") == ({"a.yaml": ["emergency.cut"]}, [])


WRONG: Final = {
    "a rule that allows": ("effect: deny", "effect: allow", "a.yaml:2:23:", "denies, and nothing else"),
    "a rule that only watches": ("effect: deny", "effect: deny, mode: shadow", "a.yaml:2:29:", "is in force"),
    "a rule that can be lifted": ("effect: deny", "effect: deny, liftable: true", "a.yaml:2:29:", "nothing lifts it"),
    "a key that nobody knows": ("effect: deny", "efect: deny", "a.yaml:2:15:", "did you mean 'effect'?"),
    "an affiliate that nobody declared": ("branch", "brunch", "a.yaml:2:54:", "did you mean 'branch'?"),
    "an attribute that nobody knows": ("caller.affiliate", "caller.afiliate", "a.yaml:2:36:", "'caller.affiliate'"),
    "a when that is empty": ("{caller.affiliate: branch}", "{}", "a.yaml:2:35:", "empty `when`"),
    "a when that is missing": (", when: {caller.affiliate: branch}", "", "a.yaml:2:5:", "`when` is missing"),
    "an end without saying so": (
        "effect: deny", "effect: deny, effective: {until: 2027-01-01T00:00:00Z}", "a.yaml:2:48:", "`reopens: true`",
    ),
    "an id that is none": ("id: cut", "id: Cut", "a.yaml:2:10:", "no id"),
    "a rule that is a text": (CUT.strip(), "- cut", "a.yaml:2:5:", "expected a mapping"),
    "no YAML": ("rules:", "rules: [", "a.yaml:", "no YAML"),
    "another register": ("rules:", "grants: []\nrules:", "a.yaml:1:1:", "holds `rules:`, and nothing else"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "place", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, old: str, new: str, place: str, words: str) -> None:
    _, problems = put(tmp_path, a=f"rules:\n{CUT}".replace(old, new), b=f"rules:\n{OTHER}")
    assert any(problem.startswith(place) and words in problem for problem in problems), problems


@pytest.mark.parametrize(("old", "new", "place", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_keeps_no_other_rule_out_of_force(
    tmp_path: Path, old: str, new: str, place: str, words: str
) -> None:
    ids, _ = put(tmp_path, a=f"rules:\n{OTHER}{CUT.replace(old, new)}", b=f"rules:\n{OTHER.replace('apart', 'second')}")
    assert ids["b.yaml"] == ["emergency.second"]
    assert "emergency.apart" in ids["a.yaml"]


@pytest.mark.parametrize(
    "text", ["", "# off\n", "[]\n", "x\n", "rules: {}\n", "rules: x\n", "{}\n", "\x00", "rulez: []\n"]
)
def test_a_file_that_holds_no_rules_is_a_problem(tmp_path: Path, text: str) -> None:
    """Whoever wrote it believes that something is cut off."""
    ids, problems = put(tmp_path, a=text, b=f"rules:\n{OTHER}")
    assert list(ids) == ["b.yaml"]
    assert problems
    assert all(problem.startswith("a.yaml:") for problem in problems)


def test_two_rules_of_one_id_are_told_and_are_both_in_force(tmp_path: Path) -> None:
    ids, problems = put(tmp_path, a=f"rules:\n{CUT}", b=f"rules:\n{CUT.replace('branch', 'home-co')}")
    assert sum(map(len, ids.values())) == len({id_ for file in ids.values() for id_ in file}) == 2
    assert [problem[:10] for problem in problems] == ["b.yaml:2:1"]


def test_files_and_rules_are_bounded(tmp_path: Path) -> None:
    many = "".join(CUT.replace("cut", f"c{index}") for index in range(MAX_RULES + 1))
    found = read(tmp_path / "rules", a=f"rules:\n{many}")
    assert len(found.entries) == MAX_RULES
    assert [str(problem) for problem in found.problems] == [
        f"{tmp_path / 'rules' / FOLDER}:1:1: more than {MAX_RULES} rules: only the first are in force"
    ]
    crowd = read(tmp_path / "files", **{f"f{index}": f"rules:\n{CUT}" for index in range(MAX_FILES + 1)})
    assert len(crowd.entries) == MAX_FILES
    assert [f"more than {MAX_FILES} files" in str(problem) for problem in crowd.problems] == [True]


# What lies in the folder and is not read would be a cut-off that its author believes in.


def _below(place: Path) -> None:
    (place / "2026").mkdir()
    (place / "2026" / "a.yaml").write_text(f"rules:\n{CUT}", encoding="utf-8")


def _unnamed(place: Path) -> None:
    (place / "a").write_text(f"rules:\n{CUT}", encoding="utf-8")


def _leading_nowhere(place: Path) -> None:
    place.rmdir()
    place.symlink_to("not-mounted")


@pytest.mark.parametrize(
    "make", [_below, _unnamed, _leading_nowhere], ids=["in a folder below", "without a suffix", "a link to nowhere"]
)
def test_what_is_not_read_is_told(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = write_bundle(tmp_path)
    (folder / FOLDER).mkdir()
    make(folder / FOLDER)
    assert read_emergency(folder).problems


def test_a_device_is_refused_without_reading_it_whole(tmp_path: Path) -> None:
    write_bundle(tmp_path / FOLDER, {"b.yaml": f"rules:\n{CUT}"})
    (tmp_path / FOLDER / "a.yaml").symlink_to("/dev/zero")
    found = read_emergency(tmp_path)
    assert len(found.entries) == len(found.problems) == 1


@pytest.mark.parametrize("target", ["a.yaml", "nowhere.yaml"], ids=["to itself", "to nowhere"])
def test_a_link_that_cannot_be_followed_is_told(tmp_path: Path, target: str) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "a.yaml").symlink_to(target)
    (problem,) = read_emergency(tmp_path).problems
    assert "read" in problem.message


def test_a_fifo_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    os.mkfifo(tmp_path / FOLDER / "a.yaml")
    assert read_emergency(tmp_path).problems


# What a broken file said before stays.


def rules(folder: Path, *names: str) -> list[Rule]:
    text = "rules:\n" + "".join(CUT.replace("cut", name) for name in names)
    snapshot = load_bundle(write_bundle(folder))
    compiled, problems = compile_urgent(read(folder, a=text), snapshot.vocabulary)
    assert not problems
    return next(iter(compiled.values()))


KEPT: Final = {
    "a file that is sound says what holds": (["x"], ["y"], None, ["x"]),
    "a file that is gone is gone": (None, ["y"], None, None),
    "a file that is broken keeps what it said": (None, ["y"], "/d/a.yaml", ["y"]),
    "a file that is broken in part keeps the rest": (["x"], ["y", "x"], "/d/a.yaml", ["x", "y"]),
    "another file is broken, into which a rule may have moved": (["x"], ["y"], "/d/b.yaml", ["x", "y"]),
    "the folder cannot be read": (None, ["y"], "/d", ["y"]),
}


@pytest.mark.parametrize(("now", "before", "broken", "expected"), KEPT.values(), ids=KEPT)
def test_what_a_broken_file_said_stays_in_force(
    tmp_path: Path, now: list[str] | None, before: list[str], broken: str | None, expected: list[str] | None
) -> None:
    made = {rule.id.removeprefix("emergency."): rule for rule in rules(tmp_path, "x", "y")}
    problems = [FileProblem(broken, 1, 1, "x")] if broken else []
    kept = keep_broken(
        {"/d/a.yaml": [made[id_] for id_ in now]} if now else {},
        {"/d/a.yaml": [made[id_] for id_ in before]},
        problems,
    )
    ids = {file: [rule.id.removeprefix("emergency.") for rule in found] for file, found in kept.items()}
    assert ids == ({"/d/a.yaml": expected} if expected else {})


# Digests.


def test_a_digest_is_the_policys_own_where_no_emergency_is(tmp_path: Path) -> None:
    assert digest_with("sha256:0", []) == "sha256:0"
    first, second = rules(tmp_path, "x", "y")
    digests = {digest_with("sha256:0", found) for found in ([first], [second], [first, second])}
    assert len(digests | {"sha256:0"}) == 4
    assert digest_with("sha256:0", [second, first]) in digests


_PRINT: Final = """
import sys, pathlib
from proxy.bundle.check import load_bundle
print(load_bundle(pathlib.Path(sys.argv[1])).policy_digest)
"""


def test_a_digest_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Records of two gateways with one folder name one version; so do those before and after a restart."""
    rule = "  - {id: cut, effect: deny, when: {caller.countries: {any: [CN, HK, MO, RU]}}}\n"
    write_bundle(write_bundle(tmp_path) / FOLDER, {"a.yaml": f"rules:\n{rule}"})
    root = str(Path(__file__).parents[3])
    digests = {
        subprocess.run(
            [sys.executable, "-c", _PRINT, str(tmp_path)],
            env={"PYTHONPATH": root, "PYTHONHASHSEED": str(seed)},
            check=True,
            capture_output=True,
        ).stdout
        for seed in range(2)
    }
    assert len(digests) == 1


# Files that hold just what is in force, so that it can be kept.


def in_force(snapshot: Snapshot, urgent: Urgent) -> Snapshot:
    """Put emergency denies in force as a reload does."""
    by_file, problems = compile_urgent(urgent, snapshot.vocabulary)
    kept = keep_broken(by_file, snapshot.urgent, problems)
    files = write_files(urgent, kept, snapshot.urgent_files, snapshot.vocabulary, is_whole=not problems)
    return snapshot.with_urgent(kept, files)


SECOND: Final = (
    'rules:\n  - {id: second, effect: deny, title: "\u5207 \\u200b \'x\' \\"y\\" ", when: {subject.country: TW}}\n'
)
TURNS: Final = {
    "nothing wrong": [{"a": f"rules:\n{CUT}", "b": SECOND}],
    "one file cannot be read": [{"a": f"rules:\n{CUT}", "b": SECOND}, {"a": "rules: [", "b": SECOND}],
    "no file can be read": [{"a": f"rules:\n{CUT}", "b": SECOND}, {"a": "rules: [", "b": "\x00"}],
    "one rule cannot be read, another is new": [
        {"a": f"rules:\n{CUT}"}, {"a": f"rules:\n{OTHER}{CUT.replace('effect', 'efect')}"},
    ],
    "a rule was changed, another is broken": [
        {"a": f"rules:\n{CUT}{OTHER}"},
        {"a": f"rules:\n{CUT.replace('branch', 'home-co')}{OTHER.replace('when', 'wen')}"},
    ],
    "broken again, and again": [
        {"a": f"rules:\n{CUT}"}, {"a": f"rules: [{OTHER}", "b": SECOND}, {"a": "x", "b": "y"}, {"c": "z"},
    ],
    "one id twice": [{"a": f"rules:\n{CUT}", "b": f"rules:\n{CUT.replace('branch', 'home-co')}"}],
    "one id twice, and then broken": [
        {"a": f"rules:\n{CUT}", "b": f"rules:\n{CUT.replace('branch', 'home-co')}"}, {"a": "x"},
    ],
    "broken and mended": [{"a": f"rules:\n{CUT}"}, {"a": "x"}, {"b": SECOND}],
    "broken, and none before": [{"a": "x"}],
}  # fmt: skip


@pytest.mark.parametrize("turns", TURNS.values(), ids=TURNS)
def test_what_is_in_force_can_be_written_and_loaded_again(tmp_path: Path, turns: list[dict[str, str]]) -> None:
    snapshot = load_bundle(write_bundle(tmp_path / "sound"))
    for number, files in enumerate(turns):
        snapshot = in_force(snapshot, read(tmp_path / str(number), **files))
    copy = write_bundle(tmp_path / "copy")
    write_bundle(copy, {path: data.decode() for path, data in snapshot.urgent_files.items()})
    assert load_bundle(copy).digest == snapshot.digest
    assert [source.path for source in snapshot.sources[len(snapshot.base_sources) :]] == sorted(snapshot.urgent_files)


def test_a_file_with_nothing_wrong_is_kept_to_the_letter(tmp_path: Path) -> None:
    text = f"# since the call at nine\nrules:\n{CUT}"
    snapshot = in_force(load_bundle(write_bundle(tmp_path / "sound")), read(tmp_path, a=text))
    assert snapshot.urgent_files == {f"{FOLDER}/a.yaml": text.encode()}


def test_a_name_that_is_no_text_is_spelled(tmp_path: Path) -> None:
    (write_bundle(tmp_path) / FOLDER).mkdir()
    (tmp_path / FOLDER / os.fsdecode(b"\xff.yaml")).write_text(f"rules:\n{CUT}")
    assert list(load_bundle(tmp_path).urgent_files) == [f"{FOLDER}/\\xff.yaml"]
