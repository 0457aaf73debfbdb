# SPDX-License-Identifier: Apache-2.0
"""Runs everything that docs/policy-guide.md shows. How a page says what is to be run:

- Each ``##`` section begins with what the first one leaves, and changes that from top to bottom.
- ```yaml names its file in its first line; so does ```csv, in a line that is not of the file. Blocks with nothing
  between them are one change. After it the folder loads and its tests pass; or ```text follows, with exactly what is
  said against it, and the folder is as it was before.
- ```sh holds ``sekisho`` commands, each with exit code 0 or the one in its comment. ```text after it is what the last
  one prints; a line ``…`` stands for lines that are left out.
- Tables whose head is known are checked against the code. There is no other kind of fence.
"""

import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import pytest
import yaml

from proxy.bundle.check import load_bundle
from proxy.bundle.manifest import Manifest
from proxy.cli import main
from proxy.cli.init import FILES
from proxy.lifecycle.options import LifecycleOptions
from proxy.lifecycle.reload import Reloader
from proxy.model.api import Transform
from proxy.model.decision import Reason
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, FactSet, Truth
from proxy.policy.conditions import MATCHERS
from proxy.policy.matchers import AnyIn, Exists, NoneIn, NoneOf, OneOf
from proxy.policy.rules import RuleEntry
from proxy.telemetry import Metrics
from tests.support.bundle_folder import edited, problems_of, write_bundle

PAGE: Final = (Path(__file__).parents[2] / "docs" / "policy-guide.md").read_text(encoding="utf-8")
FOLDER: Final = "my-policies"
WRITTEN: Final = datetime(2026, 11, 22, 9, tzinfo=UTC)
"""The hour that the page is read in: later some of its dates are past, and what it shows is said otherwise."""


@pytest.fixture(autouse=True)
def _when_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.clock.time", SimpleNamespace(time=WRITTEN.timestamp))


class Fence(NamedTuple):
    kind: str
    text: str
    line: int
    is_joined: bool
    """Whether nothing but blank lines stands between it and the fence before it."""


class Section(NamedTuple):
    title: str
    fences: list[Fence]


def _read_page(page: str) -> list[Section]:
    sections = [Section("before the first section", [])]
    kind, body, is_joined = None, list[str](), False
    for number, line in enumerate(page.splitlines(), 1):
        if kind is None and line.startswith("```"):
            kind, body = line[3:], []
        elif kind is None:
            if line.startswith("## "):
                sections.append(Section(line[3:], []))
            is_joined = is_joined and not line.strip()
        elif line == "```":
            sections[-1].fences.append(Fence(kind, "\n".join(body) + "\n", number - len(body), is_joined))
            kind, is_joined = None, True
        else:
            body.append(line)
    assert kind is None, "the last fence does not end"
    return sections


SECTIONS: Final = _read_page(PAGE)
FIRST: Final = SECTIONS[1]


class Reader:
    """Somebody who types what a section shows, in a folder of their own."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.place = place
        self.capsys = capsys
        self.printed = ""

    def follow(self, section: Section) -> None:
        fences = iter([*section.fences, None])
        fence = next(fences)
        while fence is not None:
            if fence.kind in {"yaml", "csv"}:
                change = [fence]
                while (fence := next(fences)) is not None and fence.kind in {"yaml", "csv"} and fence.is_joined:
                    change.append(fence)
                is_refused = fence is not None and fence.kind == "text"
                self.change(change, fence.text if fence is not None and is_refused else "")
                fence = next(fences) if is_refused else fence
            elif fence.kind == "sh":
                for command in re.sub(r"\s*\\\n\s*", " ", fence.text).splitlines():
                    self.run(command)
                if (fence := next(fences)) is not None and fence.kind == "text":
                    _compare(fence, self.printed)
                    fence = next(fences)
            else:
                raise AssertionError(f"line {fence.line}: a fence {fence.kind!r} after nothing that it could belong to")

    def run(self, line: str) -> None:
        """Run one command; what it prints is kept."""
        command, _, comment = line.partition("  # ")
        command, _, target = command.partition(" > ")
        said = re.search(r"exit code (\d)", comment)
        words = shlex.split(command)
        assert words[0] == "sekisho", f"{line!r} is no command of ours"
        code = main(words[1:])
        out, error = self.capsys.readouterr()
        self.printed = out + error
        assert code == (int(said[1]) if said else 0), f"{line}\n{self.printed}"
        if target:
            (self.place / target.strip()).write_text(out, encoding="utf-8")

    def change(self, fences: list[Fence], refusal: str) -> None:
        """Write files; the folder is sound with them, or this is what is said against them."""
        folder, before = self.place / FOLDER, self.place / "before"
        shutil.copytree(folder, before)
        for fence in fences:
            self.write(fence)
        said = self.find_faults()
        where = f"line {fences[0].line}"
        assert said == refusal.rstrip(), f"{where}: it says\n{said or 'nothing'}"
        if refusal:
            shutil.rmtree(folder)
            before.rename(folder)
        else:
            shutil.rmtree(before)

    def write(self, fence: Fence) -> None:
        """Write a file where its first line says, and list it in the manifest if it is new."""
        first, _, rest = fence.text.partition("\n")
        name = first.removeprefix("# ")
        assert re.fullmatch(rf"[a-z0-9/_-]+\.{fence.kind}", name), f"line {fence.line}: {name!r} names no file"
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fence.text if fence.kind == "yaml" else rest, encoding="utf-8")
        manifest = self.place / FOLDER / "bundle.yaml"
        inside = name.removeprefix(f"{FOLDER}/")
        is_apart = (path.parent / "pack.yaml").exists() or inside.startswith("emergency_denies/")
        text = manifest.read_text("utf-8")
        if inside != name and not is_apart and path != manifest and f"  {inside}:" not in text:
            loaded = yaml.load(fence.text, yaml.BaseLoader) if fence.kind == "yaml" else [path.stem]  # noqa: S506, TID251 - it makes texts alone
            registers = list(loaded)
            manifest.write_text(f"{text}  {inside}: [{', '.join(registers)}]\n", encoding="utf-8")

    def find_faults(self) -> str:
        """Return what ``check`` says of the folder, or else what ``test`` says of tests that fail."""
        code = main(["check", FOLDER])
        printed = self.capsys.readouterr()
        if code:
            return printed.err.rpartition("\n")[0].rpartition("\n")[0]  # without "1 problem: nothing was loaded."
        main(["test", FOLDER])
        lines = self.capsys.readouterr().out.splitlines()
        return "\n".join(line for line in lines if line.startswith(("FAILED", "    ")))


def _compare(fence: Fence, printed: str) -> None:
    """Compare what was printed with what is shown, where ``…`` is any run of lines."""
    shown = "".join(f"{line.rstrip()}\n" for line in printed.strip().splitlines())
    pattern = "".join("(?:.*\n)*" if line == "…" else f"{re.escape(line)}\n" for line in fence.text.splitlines())
    assert re.fullmatch(pattern, shown), f"line {fence.line}: it prints\n{shown}"


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_what_the_guide_shows_happens(
    section: Section, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    reader = Reader(tmp_path, capsys)
    reader.follow(FIRST)
    if section is not FIRST:
        reader.follow(section)


def test_every_fence_of_the_guide_is_read() -> None:
    assert sum(len(section.fences) for section in SECTIONS) * 2 == len(re.findall(r"(?m)^ *(?:```|~~~)", PAGE))
    assert not re.search(r"(?m)^(?: {4}|\t)", re.sub(r"(?ms)^```.*?^```$", "", PAGE)), "code without a fence"
    assert len(PAGE.splitlines()) < 1620


def test_a_fence_of_another_kind_is_not_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = "## x\n```json\n{}\n```\n"
    with pytest.raises(AssertionError, match="line 3: a fence 'json'"):
        Reader(tmp_path, capsys).follow(_read_page(page)[1])


def _rows(*head: str) -> Iterator[list[str]]:
    """Yield the rows of the only table with this head."""
    top = f"| {' | '.join(head)} |\n"
    assert PAGE.count(top) == 1, top
    for line in PAGE.partition(top)[2].splitlines()[1:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def _code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_matcher_has_a_row_with_an_example_that_loads_where_it_says(tmp_path: Path) -> None:
    seen = set[str]()
    for matcher, example, _, rules in _rows("matcher", "example", "true when", "in"):
        seen |= {word.split(":")[0] for word in _code(matcher)}
        (written,) = _code(example)
        for effect in ("deny", "allow"):
            assert _loads(tmp_path, effect, written) is (rules in {"every rule", effect}), f"{effect} {written}"
    assert seen == {"by", "$set"}.union(*MATCHERS.values())


def _loads(folder: Path, effect: str, line: str) -> bool:
    rule = f"rules:\n  - {{id: tried, effect: {effect}, when: {{{line}}}}}\n"
    problems = problems_of(write_bundle(folder, edited(("rules.yaml", "rules:\n", rule), files=FILES)))
    assert all(re.search("good tie|reopens|has read more", problem) for problem in problems), problems
    return not problems


def test_the_table_of_kinds_says_what_each_takes() -> None:
    said = {kind: tuple(_code(matchers)) for kind, _, matchers in _rows("a fact that is", "such as", "takes")}
    assert said == {kind.value: matchers for kind, matchers in MATCHERS.items()}


def test_the_table_of_states_is_the_logic() -> None:
    words: Mapping[Truth, str] = {True: "yes", False: "no", None: "unknown"}
    states: Mapping[str, tuple[Any, Any]] = {
        "known, and JP": ("JP", FactSet(frozenset({"JP"}))),
        "known, and KR": ("KR", FactSet(frozenset({"KR"}))),
        "absent": (ABSENT, ABSENT),
        "unknown": (UNKNOWN, UNKNOWN),
        "not applicable": (NOT_APPLICABLE, NOT_APPLICABLE),
    }
    japan = frozenset({"JP"})
    rows = list(_rows("the fact is", "`JP`, `any: [JP]`", "`none: [JP]`, `not: JP`", "`exists: true`", "means"))
    assert [row[0] for row in rows] == list(states)
    for state, one, none, exists, _ in rows:
        scalar, members = states[state]
        tests: list[tuple[Callable[[Any], Truth], Any, str]] = [
            (OneOf(japan), scalar, one), (AnyIn(japan), members, one),
            (NoneOf(japan), scalar, none), (NoneIn(japan), members, none), (Exists(wanted=True), scalar, exists),
        ]  # fmt: skip
        for test, fact, said in tests:
            assert words[test(fact)] == said, f"{state}: {test}"


def test_the_tables_of_keys_are_whole() -> None:
    for head, model in (("key of a rule", RuleEntry), ("key of the manifest", Manifest)):
        keys = [_code(row[0])[0] for row in _rows(head, "says", "example")]
        assert keys == list(model.model_fields)
    assert [_code(row[0])[0] for row in _rows("transform", "the field")] == list(Transform)


def test_the_reasons_that_the_guide_names_exist() -> None:
    named = set(re.findall(r"reason\s`([a-z-]+)`", PAGE))
    assert named
    assert named <= set(Reason)


async def test_a_folder_that_does_not_load_is_told_in_the_words_of_the_guide(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, FILES))
    reloader = Reloader(
        tmp_path, tried="", upstreams={}, options=LifecycleOptions(), metrics=Metrics(),
        in_force=lambda: snapshot, adopt=lambda _: pytest.fail("it is put in force"),
        renew=lambda: pytest.fail("its keys are read again"),
    )  # fmt: skip
    write_bundle(tmp_path, edited(("rules.yaml", "$china", "$chine"), files=FILES))
    await reloader.try_folder()
    (record,) = caplog.records
    assert record.getMessage() in PAGE
    assert reloader.stale
    assert any("did you mean '$china'?" in reason for reason in reloader.stale)


def test_the_dates_of_the_guide_are_days() -> None:
    for day in re.findall(r"\b20\d\d-\d\d-\d\d\b", PAGE):
        date.fromisoformat(day)
