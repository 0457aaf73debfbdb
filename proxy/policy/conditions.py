# SPDX-License-Identifier: Apache-2.0
"""The lines of a ``when``, an ``unless``, a grant or a purpose become conditions, or problems with their place.

Where the truth of a line speaks *for* access, it must be monotone: to be tied to one more country, or to leave out
a claim, is never a reason to allow. Where it speaks against access, it is the other way round:

==========================================  ====================  =================================================
a set of ties                               is asked for          because
==========================================  ====================  =================================================
``when`` of allow rules, grants, purposes,  ``only``, ``none``    ``any`` would let one good tie excuse a bad one
``unless`` of deny and mask rules
``when`` of deny and mask rules and         ``any``, ``has_all``  ``none`` and ``only`` would spare whoever has one
invariants, ``unless`` of allow rules                             good tie beside a bad one
==========================================  ====================  =================================================

Nor is to have read more: a count is asked for by ``lt`` in the first row, and by ``gt`` in the second.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from proxy.model.address import parse_block
from proxy.model.caller import TieKind
from proxy.model.country import NAMES, refuse_country
from proxy.model.counts import MAX_LIMIT
from proxy.model.entry import parse_category, parse_instant, parse_number, parse_system
from proxy.model.problem import Path, Problem, nearest
from proxy.policy.attributes import TIE_KINDS, Attribute, Domain, Kind, Scope, Vocabulary, find_attribute
from proxy.policy.expression import Expression, ExpressionFacts, compile_expression
from proxy.policy.matchers import (
    AnyIn,
    ControlOf,
    Exists,
    Glob,
    HasAll,
    InBlocks,
    NoneIn,
    NoneOf,
    OfCategories,
    OneOf,
    OnlyIn,
    Test,
    TiesBy,
    Within,
)
from proxy.policy.rules import Condition, Literal

_SCALAR: Final = ("any", "none", "not", "exists")
_SET: Final = ("any", "none", "only", "has_all")
MATCHERS: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.TEXT: (*_SCALAR, "glob"),
    Kind.COUNTRY: _SCALAR,
    Kind.TEXTS: _SET,
    Kind.COUNTRIES: _SET,
    Kind.TIES: _SET,
    Kind.CATEGORIES: _SET,
    Kind.ADDRESS: ("cidr", "exists"),
    Kind.INSTANT: ("lt", "gt", "between"),
    Kind.NUMBER: ("lt", "gt"),
}
"""What can be asked of each kind of attribute."""
_SETS: Final[Mapping[str, Callable[[frozenset[str]], Test]]] = {
    "any": AnyIn,
    "none": NoneIn,
    "only": OnlyIn,
    "has_all": HasAll,
}
_SCALARS: Final = frozenset({Kind.TEXT, Kind.COUNTRY})
_OF_COUNTRIES: Final = frozenset({Kind.COUNTRY, Kind.COUNTRIES, Kind.TIES})
_MAX_STARS: Final = 8
_MISSING_IS_ABSENT: Final = frozenset({"origin.network"})
"""Attributes that become absent, rather than unknown, when a register line goes missing: values are asked by name."""


class Standing(msgspec.Struct, frozen=True):
    """Where a line stands, and what its truth does there."""

    speaks_for: bool
    """Whether the line's truth is a reason to let a request pass."""
    name: str
    """For problems: ``an allow rule``."""
    spares_whoever_lacks: bool = False
    """Whether a claim that is left out lets a request pass here where the line asks for its presence."""
    has_exceptions: bool = False
    """Whether `unless` may stand beside it."""


def compile_conditions(
    lines: Mapping[str, Any], standing: Standing, vocabulary: Vocabulary
) -> tuple[Condition, ...] | list[Problem]:
    """Compile lines that must all hold, or say everything that is wrong with them, by path inside them."""
    problems: list[Problem] = []
    conditions = []
    for name, raw in lines.items():
        line = _Line(name, raw, standing, vocabulary)
        condition = line.compile_expression() if name == "expr" else line.compile()
        if condition is not None and not line.problems:
            conditions.append(condition)
        problems += [problem.under(name) for problem in line.problems]
    return problems or tuple(conditions)


def moment(text: str) -> float:
    """Return an instant in seconds since 1970; ValueError with a sentence if the text is none."""
    return parse_instant(text).timestamp()


class _Line:
    """One line on its way to a condition."""

    def __init__(self, name: str, raw: Any, standing: Standing, vocabulary: Vocabulary) -> None:
        self.name = name
        self.raw = raw
        self.standing = standing
        self.vocabulary = vocabulary
        self.problems: list[Problem] = []

    def fail(self, message: str, *path: str | int, at_key: bool = False) -> None:
        self.problems.append(Problem(path, message, at_key))

    def compile(self) -> Condition | None:
        attribute = find_attribute(self.name, self.vocabulary)
        if isinstance(attribute, str):
            self.fail(attribute, at_key=True)
            return None
        test = self._test(attribute)
        if self.problems or test is None:
            return None
        get, key = attribute.get, self.name
        if isinstance(get, ControlOf):
            key = f"caller.control.{get.rule}.{get.part}"  # by its full name: a pack's rule may share the bare one
        if isinstance(self.raw, dict) and "by" in self.raw:
            labels = frozenset(self._qualify_label(label) for label in self.raw["by"])
            get, key = TiesBy(labels), f"{self.name} by {' '.join(sorted(labels))}"
        return Condition(self.name, Literal(key, get, test, attribute.scope), show(self.raw), attribute.source)

    def compile_expression(self) -> Condition | None:
        """Compile a CEL expression; what it mentions must be known, and may not work round the rules for ties."""
        if not isinstance(self.raw, str):
            self.fail("expected a CEL expression")
            return None
        expression = compile_expression(self.raw, self.vocabulary)
        if not isinstance(expression, Expression):
            self.fail(expression)
            return None
        found = {name: find_attribute(name, self.vocabulary) for name in sorted(expression.mentions)}
        attributes = [attribute for attribute in found.values() if isinstance(attribute, Attribute)]
        for name, text in sorted(expression.compared):
            attribute = found.get(name)
            if isinstance(attribute, Attribute):
                self._check_compared(attribute, text)
        for attribute in attributes:
            is_emptied = attribute.mapped in self.vocabulary.empty_when_absent
            if attribute.is_of_ties:
                self.fail(f"an expression may not read {attribute.name}: write a line of its own, `{{any: […]}}`")
            elif attribute.name in _MISSING_IS_ABSENT:
                self.fail(f"an expression may not read {attribute.name}: a network that goes missing would change it")
            elif is_emptied and (self.standing.speaks_for or self.standing.spares_whoever_lacks):
                why = "it is mapped with `absent: empty`, and whoever lacks the claim could pass"
                self.fail(f"in {self.standing.name} an expression may not read {attribute.name}: {why}")
        scopes = {attribute.scope for attribute in attributes}
        scope = scopes.pop() if len(scopes) == 1 else Scope.MIXED
        facts = ExpressionFacts(tuple((attribute.name, attribute.get) for attribute in attributes))
        literal = Literal(f"expr {self.raw}", facts, expression, scope)
        source = ", ".join(attribute.name for attribute in attributes) or "nothing"
        return Condition("expr", literal, self.raw, f"reads {source}")

    def _check_compared(self, attribute: Attribute, text: str) -> None:
        """Check a text that an expression compares an attribute with, as if a matcher named it."""
        if text.startswith("$"):
            self.fail(f"{text!r}: sets are for matchers, an expression names each country")
            return
        line = _Line(attribute.name, text, self.standing, self.vocabulary)
        line._value(attribute, text, ())
        self.problems += line.problems

    def _test(self, attribute: Attribute) -> Test | None:
        if isinstance(self.raw, str):
            return self._bare(attribute, self.raw)
        matcher = self._matcher(attribute)
        if matcher is None:
            return None
        operand = self.raw[matcher]
        special = {"exists": self._exists, "glob": self._glob, "cidr": self._cidr}.get(matcher)
        if special is not None:
            return special(operand)
        if attribute.kind is Kind.INSTANT:
            return self._within(matcher, operand)
        if attribute.kind is Kind.NUMBER:
            return self._beyond(matcher, operand)
        return self._listing(attribute, matcher, operand)

    def _listing(self, attribute: Attribute, matcher: str, operand: Any) -> Test | None:
        """Return the test of a matcher that takes values of the attribute."""
        if matcher == "not":
            if not isinstance(operand, str) or operand.startswith("$"):
                self.fail("`not` takes one value; for several write {none: […]}", "not")
                return None
            operand = [operand]
        values = self._values(attribute, operand, (matcher,))
        if "by" in self.raw:
            self._check_labels(self.raw["by"])
        if attribute.kind is Kind.CATEGORIES:
            return OfCategories(values, matcher)
        if attribute.kind in _SCALARS:
            return OneOf(values) if matcher == "any" else NoneOf(values)
        if matcher == "only" and attribute.is_of_ties:
            return OnlyIn(values, needs_member=True)
        return _SETS[matcher](values)

    def _bare(self, attribute: Attribute, text: str) -> Test | None:
        if attribute.mapped in self.vocabulary.empty_when_absent:
            self._refuse_excuses(attribute, "any")  # what a bare value asks
            if self.problems:
                return None
        if attribute.kind in _SCALARS and not text.startswith("$"):
            return OneOf(self._values(attribute, [text], ()))
        if attribute.kind is Kind.ADDRESS:
            self.fail(f"{self.name} is an address: write {{cidr: [{text}]}}")
        elif attribute.kind is Kind.INSTANT:
            self.fail(f"{self.name} is an instant: write {{lt: {text}}}, {{gt: …}} or {{between: […, …]}}")
        elif attribute.kind is Kind.NUMBER:
            self.fail(f"{self.name} is a number: write {{{'lt' if self.standing.speaks_for else 'gt'}: {text}}}")
        else:
            wanted = text if text.startswith("$") else f"[{text}]"
            self.fail(f"{self.name} is {attribute.kind.value}: write {{any: {wanted}}}")
        return None

    def _matcher(self, attribute: Attribute) -> str | None:
        """Return the one matcher of the line, or None after saying why there is none."""
        known = MATCHERS[attribute.kind]
        if not isinstance(self.raw, dict) or not self.raw:
            self.fail(f"expected a value or one of: {', '.join(known)}")
            return None
        modifiers = {"by"} if attribute.kind is Kind.TIES else set()
        for key in self.raw:
            if key not in known and key not in modifiers:
                self.fail(f"no matcher {key!r} for {attribute.kind.value}{nearest(key, known)}", key, at_key=True)
        found: list[str] = [key for key in self.raw if key in known]
        if not self.problems and len(found) != 1:
            several = f"found {' and '.join(found)}: make it two rules, or use `unless`" if found else "found none"
            self.fail(f"expected exactly one of: {', '.join(known)}; {several}")
        if self.problems:
            return None
        self._refuse_excuses(attribute, found[0])
        return found[0]

    def _refuse_excuses(self, attribute: Attribute, matcher: str) -> None:
        """Refuse what would let one good tie or one missing claim excuse a bad one."""
        where, speaks_for = self.standing.name, self.standing.speaks_for
        if attribute.is_of_ties and speaks_for and matcher in {"any", "has_all"}:
            self.fail(
                f"in {where} `{matcher}` would let one good tie excuse a bad one: use `only` or `none`",
                matcher,
                at_key=True,
            )
        if attribute.is_of_ties and not speaks_for and matcher in {"none", "only"}:
            other = "only" if matcher == "none" else "none"
            spared = f", or say who is spared, `unless: [{{{self.name}: {{{other}: […]}}}}]`"
            self.fail(
                f"in {where} `{matcher}` would spare whoever has one good tie beside a bad one: use `any`"
                f"{spared if self.standing.has_exceptions else ''}",
                matcher,
                at_key=True,
            )
        if attribute.kind is Kind.NUMBER and matcher != (wanted := "lt" if speaks_for else "gt"):
            spares = f"in {where} `{matcher}` would let whoever has read more pass: use `{wanted}`"
            self.fail(spares, matcher, at_key=True)
        if attribute.name in _MISSING_IS_ABSENT and matcher in {"glob", "exists"}:
            message = f"`{matcher}` would answer otherwise once a network goes missing: name the networks"
            self.fail(message, matcher, at_key=True)
        emptied = attribute.mapped in self.vocabulary.empty_when_absent
        asks_absence = matcher in {"none", "not", "only"} or (matcher == "exists" and self.raw["exists"] == "false")
        excusing = asks_absence if speaks_for else self.standing.spares_whoever_lacks and not asks_absence
        if emptied and excusing:
            mend = "use `any`" if speaks_for else "say in `when` who is allowed"
            self.fail(
                f"in {where} `{matcher}` on a claim mapped with `absent: empty` would allow whoever lacks the "
                f"claim: {mend}",
                matcher,
                at_key=True,
            )

    def _exists(self, operand: Any) -> Test | None:
        if operand not in ("true", "false"):
            self.fail("expected true or false", "exists")
            return None
        return Exists(operand == "true")

    def _listed(self, operand: Any, matcher: str) -> list[tuple[Path, str]]:
        """Return one value or a list of them, each with its place."""
        if isinstance(operand, str):
            return [((matcher,), operand)]
        if not isinstance(operand, list) or not operand:
            self.fail("expected a value, or a list with at least one", matcher)
            return []
        for index, value in enumerate(operand):
            if not isinstance(value, str):
                self.fail("expected a single value", matcher, index)
        return [((matcher, index), value) for index, value in enumerate(operand) if isinstance(value, str)]

    def _glob(self, operand: Any) -> Test:
        patterns = []
        for path, text in self._listed(operand, "glob"):
            if not 0 < text.count("*") <= _MAX_STARS or not text.strip("*"):
                message = f"{text!r} is no pattern: `*` stands for any run of characters, up to {_MAX_STARS} times"
                self.fail(message, *path)
            elif any(character in text for character in "?[]{}"):
                self.fail(f"{text!r}: only `*` is special in a pattern, and ? [ ] {{ }} are not taken", *path)
            patterns.append(tuple(text.split("*")))
        return Glob(tuple(patterns))

    def _cidr(self, operand: Any) -> Test:
        blocks = []
        for path, text in self._listed(operand, "cidr"):
            try:
                block = parse_block(text)
            except ValueError as error:
                self.fail(str(error), *path)
            else:
                blocks.append((block.version, int(block.network_address), int(block.broadcast_address)))
        return InBlocks(tuple(blocks))

    def _within(self, matcher: str, operand: Any) -> Test | None:
        texts = operand if matcher == "between" else [operand]
        if not isinstance(texts, list) or len(texts) != (2 if matcher == "between" else 1):
            self.fail("expected two instants, the first included and the second not", matcher)
            return None
        moments = []
        for index, text in enumerate(texts):
            place = (matcher, index) if matcher == "between" else (matcher,)
            try:
                moments.append(moment(text if isinstance(text, str) else ""))
            except ValueError as error:
                self.fail(str(error), *place)
        if len(moments) != len(texts):
            return None
        if matcher == "between" and moments[0] >= moments[1]:
            self.fail("the second instant does not come after the first", matcher)
        if matcher == "lt":
            return Within(-math.inf, moments[0])
        return Within(*moments) if matcher == "between" else Within(math.nextafter(moments[0], math.inf), math.inf)

    def _beyond(self, matcher: str, operand: Any) -> Test | None:
        """Return the test of a count. It holds the request itself, so that ``{lt: 1}`` would never be true."""
        least = 2 if matcher == "lt" else 1
        try:
            limit = parse_number(operand if isinstance(operand, str) else "")
        except ValueError:
            limit = 0
        if not least <= limit <= MAX_LIMIT:
            self.fail(f"expected a whole number from {least} to {MAX_LIMIT}", matcher)
            return None
        return Within(-math.inf, limit) if matcher == "lt" else Within(limit + 1, math.inf)

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
        elif attribute.domain is Domain.SYSTEMS:
            self._check_system(value, path)
        elif attribute.domain is not Domain.FREE and value not in (known := self.vocabulary.values(attribute.domain)):
            self.fail(f"{self.name} has no value {value!r}{nearest(value, known)}", *path)
        elif not value:
            self.fail("the value is empty", *path)
        elif not value.isprintable() or value != value.strip():
            self.fail("the value holds an invisible character, or a space at an end", *path)
        return frozenset({value})

    def _meant(self, word: str) -> str:
        """Say what a bare word was probably meant to be."""
        if self.vocabulary.find_set(word.lower()) is not None and word.lower() == word.lower().strip():
            return f" (did you mean ${word.lower()}?)"
        return f" (write [{word}])" if word in NAMES else ""

    def _resolve_set(self, attribute: Attribute, value: str, path: Path) -> frozenset[str]:
        if attribute.kind not in _OF_COUNTRIES:
            self.fail(f"{value} is a set of countries, {self.name} is {attribute.kind.value}", *path)
            return frozenset()
        found = self.vocabulary.find_set(value[1:])
        if found is None:
            sets = (f"${name}" for name in self.vocabulary.set_names())
            self.fail(f"no country set {value!r}{nearest(value, sets)}", *path)
            return frozenset()
        return found

    def _check_category(self, value: str, path: Path) -> None:
        message = refuse_category(value, self.vocabulary)
        if message:
            self.fail(message, *path)

    def _check_system(self, value: str, path: Path) -> None:
        try:
            parse_system(value)
        except ValueError as error:
            self.fail(str(error), *path)

    def _check_labels(self, raw: Any) -> None:
        controls = {f"control.{rule}" for rule in self.vocabulary.control_names()}
        known = TIE_KINDS - (set() if controls else {TieKind.CONTROL}) | controls
        if not isinstance(raw, list) or not raw:
            self.fail(f"expected a list of: {', '.join(sorted(known))}", "by")
            return
        for index, label in enumerate(raw):
            if not isinstance(label, str) or label not in known:
                self.fail(f"no kind of tie {label!r}{nearest(str(label), known)}", "by", index)

    def _qualify_label(self, label: str) -> str:
        kind, dot, rule = label.partition(".")
        return f"{kind}.{self.vocabulary.qualify(rule)}" if dot else label


def refuse_category(value: str, vocabulary: Vocabulary) -> str:
    """Say why a rule cannot name a data category; empty if it can."""
    try:
        parse_category(value)
    except ValueError as error:
        return str(error)
    declared = vocabulary.values(Domain.CATEGORIES)
    if value in declared:
        return ""
    related = any(value == name or value.startswith(f"{name}.") or name.startswith(f"{value}.") for name in declared)
    return "" if related else f"no field of any route is declared as {value!r} or below it{nearest(value, declared)}"


def show(raw: Any) -> str:
    """Render a matcher as it would be written on one line."""
    if isinstance(raw, dict):
        return "{" + ", ".join(f"{key}: {show(value)}" for key, value in raw.items()) + "}"
    if isinstance(raw, list):
        return "[" + ", ".join(map(show, raw)) + "]"
    return str(raw)
