# SPDX-License-Identifier: Apache-2.0
"""Emergency denies: a folder of deny rules that load by themselves. This module does I/O.

An urgent cut-off must not wait for tests, nor for somebody to mend a row elsewhere. So its files are listed nowhere,
each rule stands for itself, and what they can speak of is the vocabulary of whatever bundle is in force.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Final

import msgspec

from proxy.bundle.manifest import EMERGENCY_FOLDER
from proxy.bundle.read import Document, FileProblem, read_document
from proxy.bundle.schema import validate
from proxy.model.problem import Path, Problem
from proxy.policy.attributes import Vocabulary
from proxy.policy.compile import compile_emergency
from proxy.policy.rules import Rule, RuleEntry

MAX_FILES: Final = 100
MAX_RULES: Final = 500
"""In all files: more than that is no emergency."""


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


def read_emergency(folder: FilePath) -> Urgent:
    """Read the folder of emergency denies of a policy folder; one that is not there holds none."""
    place = folder / EMERGENCY_FOLDER
    entries: list[UrgentEntry] = []
    problems: list[FileProblem] = []
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
        document, unread = read_document(path, str(path))
        problems += unread
        if document is not None:
            for found in _read_rules(document):
                (entries if isinstance(found, UrgentEntry) else problems).append(found)  # type: ignore[arg-type]
    if len(entries) > MAX_RULES:
        problems.append(FileProblem(str(place), 1, 1, f"more than {MAX_RULES} rules: only the first are in force"))
    return Urgent(tuple(entries[:MAX_RULES]), tuple(problems))


def _strange(path: FilePath, message: str) -> FileProblem:
    return FileProblem(str(path), 1, 1, message)


def _is_inside(path: FilePath, folder: FilePath) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve()) and not path.is_dir()
    except (OSError, RuntimeError):
        return False


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
    by_file: dict[str, list[Rule]] = {}
    problems = list(urgent.problems)
    taken: set[str] = set()
    for each in urgent.entries:
        compiled = compile_emergency(each.entry, vocabulary)
        if isinstance(compiled, list):
            problems += map(each.complain, compiled)
            continue
        if compiled.id in taken:
            message = f"the id {each.entry.id!r} stands twice among the emergency denies"
            problems.append(each.complain(Problem(("id",), message)))
            compiled = compiled.renamed(f"{compiled.id}.{len(taken)}")
        taken.add(compiled.id)
        by_file.setdefault(each.document.name, []).append(compiled)
    return by_file, problems


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
