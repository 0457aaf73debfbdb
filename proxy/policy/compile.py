# SPDX-License-Identifier: Apache-2.0
"""Rules as they are written become tests, or problems with their place.

Everything that can be wrong with a rule is found here, at load: an attribute, an id, a country or a matcher that
does not exist; a matcher that does not fit its attribute; in allow rules, a matcher that would let a missing or a
good fact excuse a bad one.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from proxy.model.country import NAMES, refuse_country
from proxy.model.decision import Effect, Severity
from proxy.model.entry import parse_id
from proxy.model.problem import Path, Problem, nearest
from proxy.policy.attributes import (
    TIE_KINDS,
    Attribute,
    Domain,
    Kind,
    Vocabulary,
    find_attribute,
)
from proxy.policy.matchers import Test, any_in, none_in, none_of, of_categories, one_of, only_in, ties_by
from proxy.policy.rules import Condition, Policy, Rule, RuleEntry

_SCALARS: Final = frozenset({Kind.TEXT, Kind.COUNTRY})
_OF_COUNTRIES: Final = frozenset({Kind.COUNTRY, Kind.COUNTRIES, Kind.TIES})
_SCALAR_TESTS: Final[Mapping[str, Callable[[frozenset[str]], Test]]] = {
    "any": one_of,
    "none": none_of,
    "not": none_of,
}
_SET_TESTS: Final[Mapping[str, Callable[[frozenset[str]], Test]]] = {
    "any": any_in,
    "none": none_in,
    "only": only_in,
}
_NOT_YET: Final = frozenset({"glob", "cidr", "lt", "gt", "between", "exists", "has_all"})
_CATEGORY: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
_SEVERITIES: Final = tuple(Severity)
MAX_NESTED_SETS: Final = 16


def compile_policy(rules: Iterable[Rule]) -> Policy:
    """Order compiled rules: denies by severity and id, allows by id."""
    by_id = sorted(rules, key=lambda rule: rule.id)
    denies = sorted(
        (rule for rule in by_id if rule.effect is Effect.DENY), key=lambda rule: _SEVERITIES.index(rule.severity)
    )
    return Policy(tuple(denies), tuple(rule for rule in by_id if rule.effect is Effect.ALLOW))


def compile_rule(entry: RuleEntry, vocabulary: Vocabulary) -> Rule | list[Problem]:
    """Compile one rule, or say everything that is wrong with it."""
    if not entry.when:
        return [Problem(("when",), "an empty `when` would match everything: write `always: true` if that is meant")]
    if "always" in entry.when:
        return _compile_always(entry)
    problems: list[Problem] = []
    conditions = []
    for name, raw in entry.when.items():
        compiled = _Line(name, raw, entry.effect, vocabulary).compile()
        if isinstance(compiled, Condition):
            conditions.append(compiled)
        else:
            problems += [problem.under("when", name) for problem in compiled]
    return problems or _rule(entry, conditions)


def _compile_always(entry: RuleEntry) -> Rule | list[Problem]:
    if entry.when != {"always": "true"}:
        return [Problem(("when", "always"), "`always: true` stands alone")]
    return _rule(entry, [])


def _rule(entry: RuleEntry, conditions: Sequence[Condition]) -> Rule:
    return Rule(entry.id, entry.effect, entry.title or entry.id, Severity(entry.severity), tuple(conditions))


class _Line:
    """One line of a ``when`` on its way to a test."""

    def __init__(self, name: str, raw: Any, effect: Effect, vocabulary: Vocabulary) -> None:
        self.name = name
        self.raw = raw
        self.effect = effect
        self.vocabulary = vocabulary
        self.problems: list[Problem] = []

    def fail(self, message: str, *path: str | int, at_key: bool = False) -> None:
        self.problems.append(Problem(path, message, at_key))

    def compile(self) -> Condition | list[Problem]:
        attribute = find_attribute(self.name, self.vocabulary)
        if self.name in {"expr", "unless"}:
            attribute = f"`{self.name}` is not yet supported"
        if isinstance(attribute, str):
            return [Problem((), attribute, at_key=True)]
        test = self._scalar(attribute) if attribute.kind in _SCALARS else self._set(attribute)
        if self.problems or test is None:
            return self.problems
        get = attribute.get
        if isinstance(self.raw, dict) and "by" in self.raw:
            find = ties_by(frozenset(self.raw["by"]))
            get = lambda facts: find(facts.caller)  # noqa: E731 - one line of glue
        return Condition(self.name, get, test, _show(self.raw), attribute.source)

    def _scalar(self, attribute: Attribute) -> Test | None:
        if isinstance(self.raw, str):
            if self.raw.startswith("$"):
                self.fail(f"write {{any: {self.raw}}}")
                return None
            return one_of(self._values(attribute, [self.raw], ()))
        matcher = self._matcher(attribute, _SCALAR_TESTS)
        if matcher is None:
            return None
        operand = self.raw[matcher]
        if matcher == "not":
            if not isinstance(operand, str) or operand.startswith("$"):
                self.fail("`not` takes one value; for several write {none: […]}", "not")
                return None
            operand = [operand]
        return _SCALAR_TESTS[matcher](self._values(attribute, operand, (matcher,)))

    def _set(self, attribute: Attribute) -> Test | None:
        if isinstance(self.raw, str):
            self.fail(f"{self.name} is {attribute.kind.value}: write {{any: [{self.raw}]}}")
            return None
        matcher = self._matcher(attribute, _SET_TESTS)
        if matcher is None:
            return None
        values = self._values(attribute, self.raw[matcher], (matcher,))
        if attribute.kind is Kind.CATEGORIES:
            return of_categories(values, matcher)
        if "by" in self.raw:
            self._check_labels(self.raw["by"])
        return _SET_TESTS[matcher](values)

    def _matcher(self, attribute: Attribute, tests: Mapping[str, Any]) -> str | None:
        """Return the one matcher of the line, or None after saying why there is none."""
        if not isinstance(self.raw, dict) or not self.raw:
            self.fail(f"expected a value or one of: {', '.join(tests)}")
            return None
        modifiers = {"by"} if attribute.kind is Kind.TIES else set()
        for key in self.raw:
            if key in _NOT_YET:
                self.fail(f"matcher `{key}` is not yet supported", key, at_key=True)
            elif key not in tests and key not in modifiers:
                self.fail(f"no matcher {key!r} for {attribute.kind.value}{nearest(key, tests)}", key, at_key=True)
        found: list[str] = [key for key in self.raw if key in tests]
        if not self.problems and len(found) != 1:
            self.fail(f"expected exactly one of: {', '.join(tests)}")
        if self.problems:
            return None
        self._refuse_excuses(attribute, found[0])
        return found[0]

    def _refuse_excuses(self, attribute: Attribute, matcher: str) -> None:
        """In allow rules, refuse what would let one good tie or one missing claim excuse a bad one."""
        if self.effect is not Effect.ALLOW:
            return
        of_ties = attribute.kind is Kind.TIES or attribute.name.startswith("caller.control.")
        if of_ties and matcher == "any":
            self.fail(
                "in an allow rule `any` would let one good tie excuse a bad one: use `only` or `none`",
                matcher,
                at_key=True,
            )
        emptied = attribute.name.removeprefix("caller.") in self.vocabulary.empty_when_absent
        if emptied and matcher in {"none", "not", "only"}:
            self.fail(
                f"in an allow rule `{matcher}` on a claim mapped with `absent: empty` would allow whoever lacks the "
                f"claim: use `any`",
                matcher,
                at_key=True,
            )

    def _values(self, attribute: Attribute, operand: Any, path: Path) -> frozenset[str]:
        """Return the values of a matcher with sets resolved; problems are noted on the way."""
        if isinstance(operand, str):
            if not operand.startswith("$"):
                self.fail(
                    f"expected a list, or a country set such as $name, found {operand!r}{self._meant(operand)}", *path
                )
                return frozenset()
            return self._value(attribute, operand, path)
        if not isinstance(operand, list) or not operand:
            self.fail("expected a list with at least one value", *path)
            return frozenset()
        values: set[str] = set()
        for index, value in enumerate(operand):
            place = (*path, index) if path and path != ("not",) else path
            if isinstance(value, str):
                values |= self._value(attribute, value, place)
            else:
                self.fail("expected a single value", *place)
        return frozenset(values)

    def _value(self, attribute: Attribute, value: str, path: Path) -> frozenset[str]:
        if value.startswith("$"):
            return self._resolve_set(attribute, value, path)
        if attribute.kind in _OF_COUNTRIES:
            if value not in NAMES:
                self.fail(
                    refuse_country(value) if not self._meant(value) else f"{value!r} is no country{self._meant(value)}",
                    *path,
                )
        elif attribute.domain is Domain.CATEGORIES:
            self._check_category(value, path)
        elif attribute.domain is not Domain.FREE and value not in (known := self.vocabulary.values(attribute.domain)):
            self.fail(f"{self.name} has no value {value!r}{nearest(value, known)}", *path)
        elif not value:
            self.fail("the value is empty", *path)
        return frozenset({value})

    def _meant(self, word: str) -> str:
        """Say what a bare word was probably meant to be."""
        if word.lower() in self.vocabulary.country_sets and word.lower() == word.lower().strip():
            return f" (did you mean ${word.lower()}?)"
        return f" (write [{word}])" if word in NAMES else ""

    def _resolve_set(self, attribute: Attribute, value: str, path: Path) -> frozenset[str]:
        sets = self.vocabulary.country_sets
        if attribute.kind not in _OF_COUNTRIES:
            self.fail(f"{value} is a set of countries, {self.name} is {attribute.kind.value}", *path)
        elif value[1:] not in sets:
            self.fail(f"no country set {value!r}{nearest(value, (f'${name}' for name in sets))}", *path)
        else:
            return sets[value[1:]]
        return frozenset()

    def _check_category(self, value: str, path: Path) -> None:
        declared = self.vocabulary.values(Domain.CATEGORIES)
        related = any(
            value == name or value.startswith(f"{name}.") or name.startswith(f"{value}.") for name in declared
        )
        if not _CATEGORY.fullmatch(value) or not related:
            self.fail(f"no field of any route is declared as {value!r} or below it{nearest(value, declared)}", *path)

    def _check_labels(self, raw: Any) -> None:
        known = TIE_KINDS | {f"control.{rule}" for rule in self.vocabulary.control_rules}
        if not isinstance(raw, list) or not raw:
            self.fail(f"expected a list of: {', '.join(sorted(known))}", "by")
            return
        for index, label in enumerate(raw):
            if not isinstance(label, str) or label not in known:
                self.fail(f"no kind of tie {label!r}{nearest(str(label), known)}", "by", index)


def _show(raw: Any) -> str:
    """Render a matcher as it would be written on one line."""
    if isinstance(raw, dict):
        return "{" + ", ".join(f"{key}: {_show(value)}" for key, value in raw.items()) + "}"
    if isinstance(raw, list):
        return "[" + ", ".join(map(_show, raw)) + "]"
    return str(raw)


def resolve_country_sets(entries: Mapping[str, Any]) -> tuple[dict[str, frozenset[str]], list[Problem]]:
    """Resolve country sets that may name one another.

    Returns:
        The sets by name, and what is wrong with them by path.
    """
    resolver = _Sets(entries)
    return {name: resolver.resolve(name, ()) for name in entries}, resolver.problems


class _Sets:
    def __init__(self, entries: Mapping[str, Any]) -> None:
        self.entries = entries
        self.problems: list[Problem] = []
        self._done: dict[str, frozenset[str]] = {}

    def resolve(self, name: str, above: tuple[str, ...]) -> frozenset[str]:
        if name not in self._done:
            self._done[name] = self._read(name, (*above, name))
        return self._done[name]

    def _read(self, name: str, above: tuple[str, ...]) -> frozenset[str]:
        raw = self.entries[name]
        try:
            parse_id(name)
        except ValueError as error:
            self.problems.append(Problem((name,), str(error), at_key=True))
        if len(above) > MAX_NESTED_SETS:
            self.problems.append(Problem((name,), f"sets name one another more than {MAX_NESTED_SETS} deep"))
            return frozenset()
        if not isinstance(raw, list) or not raw:
            self.problems.append(Problem((name,), "expected a list with at least one country"))
            return frozenset()
        return frozenset().union(*(self._member(name, index, value, above) for index, value in enumerate(raw)))

    def _member(self, name: str, index: int, value: Any, above: tuple[str, ...]) -> frozenset[str]:
        if isinstance(value, str) and value.startswith("$"):
            other = value[1:]
            if other in above:
                message = f"{value} contains itself"
            elif other not in self.entries:
                message = f"no country set {value!r}{nearest(value, (f'${known}' for known in self.entries))}"
            else:
                return self.resolve(other, above)
        elif not isinstance(value, str):
            message = "expected a country code, or a set such as $name"
        elif value in NAMES:
            return frozenset({value})
        else:
            message = refuse_country(value)
        self.problems.append(Problem((name, index), message))
        return frozenset()
