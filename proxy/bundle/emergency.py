# SPDX-License-Identifier: Apache-2.0
"""Emergency denies: a folder of deny rules that load by themselves. This module does I/O.

An urgent cut-off must not wait for tests, nor for somebody to mend a row elsewhere. So its files are listed nowhere,
each rule stands for itself, and what they can speak of is the vocabulary of whatever bundle is in force.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Final

import msgspec

from proxy.bundle.manifest import EMERGENCY_FOLDER
from proxy.bundle.read import (
    MAX_FILE_BYTES,
    Document,
    FileProblem,
    escape_unseen,
    parse_document,
    read_bytes,
)
from proxy.bundle.schema import validate
from proxy.model.problem import Path, Problem
from proxy.policy.attributes import Vocabulary
from proxy.policy.compile import compile_emergency
from proxy.policy.rules import EMERGENCY, Rule, RuleEntry

MAX_FILES: Final = 100
MAX_RULES: Final = 500
"""In all files: more than that is no emergency."""
PUT_TOGETHER: Final = "in-force.yaml"
_TOLD: Final = """\
# Put together by Sekisho: the emergency denies that were in force while something was wrong in this folder,
# those that could be read and those that stood here before.
"""


class UrgentEntry(msgspec.Struct, frozen=True):
    """One emergency deny as it is written, and where it stands."""

    document: Document
    path: Path
    entry: RuleEntry

    def complain(self, problem: Problem) -> FileProblem:
        """Return a problem of the rule with its place."""
        where = problem.under(*self.path)
        line, column = self.document.locate(where.path, at_key=where.at_key)
        return FileProblem(self.document.name, line, column, where.message)


class Urgent(msgspec.Struct, frozen=True):
    """What the folder holds: the rules that can be read, and what is wrong with the rest."""

    entries: tuple[UrgentEntry, ...] = ()
    problems: tuple[FileProblem, ...] = ()
    files: Mapping[str, bytes] = {}
    """The content of the files that were read, by their paths inside the policy folder."""


def read_emergency(folder: FilePath) -> Urgent:
    """Read the folder of emergency denies of a policy folder; one that is not there holds none."""
    place = folder / EMERGENCY_FOLDER
    entries: list[UrgentEntry] = []
    problems: list[FileProblem] = []
    read: dict[str, bytes] = {}
    try:
        files = sorted(path for path in place.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return Urgent() if not place.is_symlink() else Urgent((), (_strange(place, "this link leads nowhere"),))
    except OSError as error:
        return Urgent((), (_strange(place, f"the folder cannot be read: {error.strerror}"),))
    for path in [
        path for path in files if path.suffix.lower() not in {".yaml", ".yml"} or not _is_inside(path, folder)
    ]:
        problems.append(_strange(path, "here lie files NAME.yaml, of this folder, and nothing else: it is not read"))
        files.remove(path)
    if len(files) > MAX_FILES:
        problems.append(FileProblem(str(place), 1, 1, f"more than {MAX_FILES} files: only the first are read"))
    for path in files[:MAX_FILES]:
        data = read_bytes(path, str(path), MAX_FILE_BYTES)
        if isinstance(data, FileProblem):
            problems.append(data)
            continue
        read[f"{EMERGENCY_FOLDER}/{_spell(path.name)}"] = data
        for found in _read_entries(data, str(path)):
            (entries if isinstance(found, UrgentEntry) else problems).append(found)  # type: ignore[arg-type]
    if len(entries) > MAX_RULES:
        problems.append(FileProblem(str(place), 1, 1, f"more than {MAX_RULES} rules: only the first are in force"))
    return Urgent(tuple(entries[:MAX_RULES]), tuple(problems), read)


def _spell(name: str) -> str:
    """Return a file's name as text that can be written anywhere."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _strange(path: FilePath, message: str) -> FileProblem:
    return FileProblem(str(path), 1, 1, message)


def _is_inside(path: FilePath, folder: FilePath) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve()) and not path.is_dir()
    except (OSError, RuntimeError):
        return False


def _read_entries(data: bytes, name: str) -> Iterator[UrgentEntry | FileProblem]:
    document, problems = parse_document(data, name)
    yield from problems if document is None else _read_rules(document)


def _read_rules(document: Document) -> Iterable[UrgentEntry | FileProblem]:
    value: Any = document.value
    if not isinstance(value, dict) or set(value) != {"rules"} or not isinstance(value["rules"], list):
        line, column = document.place.value
        yield FileProblem(document.name, line, column, "a file of emergency denies holds `rules:`, and nothing else")
        if not isinstance(value, dict) or not isinstance(value.get("rules"), list):
            return
    for index, raw in enumerate(value["rules"]):
        entry = validate(RuleEntry, raw)
        if isinstance(entry, RuleEntry):
            yield UrgentEntry(document, ("rules", index), entry)
            continue
        for problem in entry:
            where = problem.under("rules", index)
            line, column = document.locate(where.path, at_key=where.at_key)
            yield FileProblem(document.name, line, column, where.message)


def compile_urgent(urgent: Urgent, vocabulary: Vocabulary) -> tuple[dict[str, list[Rule]], list[FileProblem]]:
    """Compile what can be compiled, by file; a rule that cannot be is told, and keeps no other out of force."""
    problems = list(urgent.problems)
    by_file: dict[str, list[Rule]] = {}
    for each, rule in _compile_each(urgent.entries, vocabulary, problems):
        by_file.setdefault(each.document.name, []).append(rule)
    return by_file, problems


def _compile_each(
    entries: Iterable[UrgentEntry], vocabulary: Vocabulary, problems: list[FileProblem]
) -> Iterator[tuple[UrgentEntry, Rule]]:
    """Yield what can be compiled, each rule under an id of its own, and note what is wrong."""
    taken: set[str] = set()
    for each in entries:
        compiled = compile_emergency(each.entry, vocabulary)
        if isinstance(compiled, list):
            problems += map(each.complain, compiled)
            continue
        if compiled.id in taken:
            message = f"the id {each.entry.id!r} stands twice among the emergency denies"
            problems.append(each.complain(Problem(("id",), message)))
            compiled = compiled.renamed(f"{compiled.id}.{len(taken)}")
        taken.add(compiled.id)
        yield each, compiled


def keep_broken(
    now: dict[str, list[Rule]], before: Mapping[str, Sequence[Rule]], problems: Sequence[FileProblem]
) -> dict[str, list[Rule]]:
    """Return the emergency denies to put in force: while something is broken, also what was said before and is gone.

    Args:
        now: the rules that can be read, by file.
        before: the rules in force, by file.
        problems: what is wrong. A rule may have moved into the file that is broken, so any problem keeps all of them.
    """
    kept = dict(now)
    if not problems:
        return kept
    ids = {rule.id for rules in now.values() for rule in rules}
    for file, rules in before.items():
        lost = [rule for rule in rules if rule.id not in ids]
        if lost:
            kept[file] = [*kept.get(file, []), *lost]
    return kept


def write_files(
    urgent: Urgent,
    kept: Mapping[str, Sequence[Rule]],
    before: Mapping[str, bytes],
    vocabulary: Vocabulary,
    *,
    is_whole: bool,
) -> Mapping[str, bytes]:
    """Return files that hold just the emergency denies in force, by their paths inside the policy folder.

    Args:
        urgent: what was read.
        kept: what is in force of that, and of what was said before, by file.
        before: the files that held what was in force before.
        vocabulary: of the bundle in force.
        is_whole: whether nothing was wrong; then the files that were read are it. Otherwise no file says it: one is
            put together of the rules as they are written.
    """
    if is_whole:
        return urgent.files
    found = [each for path, data in sorted(before.items()) for each in _read_entries(data, path)]
    written = {}
    for entries in ([each for each in found if isinstance(each, UrgentEntry)], urgent.entries):
        for each, rule in _compile_each(entries, vocabulary, []):
            raw: Any = each.document.value
            for step in each.path:
                raw = raw[step]
            written[rule.id] = {"title": rule.title, **raw, "id": rule.id.removeprefix(f"{EMERGENCY}.")}
    rules = [written[rule.id] for rules in kept.values() for rule in rules]
    if not rules:
        return {}
    lines = ",\n".join(escape_unseen(json.dumps(rule, ensure_ascii=False)) for rule in rules)
    return {f"{EMERGENCY_FOLDER}/{PUT_TOGETHER}": f"{_TOLD}rules: [\n{lines}\n]\n".encode()}


def digest_with(policy_digest: str, rules: Iterable[Rule]) -> str:
    """Return the digest of a policy with emergency denies; without any it is the policy's own."""
    written = sorted(json.dumps(_describe(rule)) for rule in rules)
    if not written:
        return policy_digest
    content = json.dumps([policy_digest, written])
    return "sha256:" + hashlib.sha256(content.encode()).hexdigest()


def _describe(rule: Rule) -> list[Any]:
    """Return a rule as it is written, so that it is called the same in every process."""
    blocks = [rule.when, *(block.conditions for block in rule.unless)]
    conditions = [[[each.attribute, each.text] for each in block] for block in blocks]
    return [rule.id, rule.title, rule.severity, conditions]
