# SPDX-License-Identifier: Apache-2.0
"""A CEL expression of a rule's ``expr``: what it mentions is known at load, and it can read nothing else.

The library (cel-expr-python, over Google's cel-cpp) is given attributes as variables with dotted names, so it is the
library that finds a misspelt attribute or a text compared with a number. Then every node of the tree that it will
evaluate is looked at: what stands there and is not named here is refused. Evaluation hands over the attributes that
are mentioned, and no others.

Facts are sets and texts, so an expression takes no position in a set, computes no collection to go through, and nests
no macro in a macro: the time it takes is at most the length of the text times the size of one fact.
"""

import functools
import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

import msgspec
from cel_expr_python import cel

from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, FactSet, Truth
from proxy.model.problem import nearest
from proxy.policy.attributes import ATTRIBUTES, Attribute, Facts, Kind, Vocabulary, find_attribute

MAX_TEXT: Final = 2_000
"""In characters; the library's own bound on nesting is 32."""

MAX_MEMBERS: Final = 1_000
"""Of a set, for there to be an answer: `g in caller.groups` for each member of it takes its square."""

_SCALARS: Final = frozenset({Kind.TEXT, Kind.COUNTRY})
_OFFERED_KINDS: Final = _SCALARS | {Kind.TEXTS, Kind.COUNTRIES, Kind.TIES}
"""Not categories, of which one means those below it; not addresses and instants, which are no texts."""
_MEMBER_FUNCTIONS: Final = frozenset({"contains", "endsWith", "startsWith"})
_FUNCTIONS: Final = _MEMBER_FUNCTIONS | {"size"}
_EQUALITY: Final = frozenset({"_==_", "_!=_"})
_OPERATORS: Final = _EQUALITY | {"_&&_", "_||_", "!_", "_<_", "_<=_", "_>_", "_>=_", "@in", "_?_:_", "_+_"}
_OF_MACROS: Final = frozenset({"@not_strictly_false"})
_MACROS: Final = ("all", "exists", "exists_one", "filter", "map")
_OFFERED: Final = f"there is: {', '.join(sorted(_FUNCTIONS))}, and {', '.join(_MACROS)} of a set"
_INSTEAD: Final[Mapping[str, str]] = {
    "_[_]": "the members of a fact have no order and no keys: write `in`, or `exists`",
    "has": "`has` is not offered: every attribute is there, and null if the fact is known to be none",
    "matches": "`matches` is not offered: write `startsWith`, `endsWith`, `contains` or `==`",
}
_HOW: Final = "write `==`, `!=`, `&&`, `||`, `!`, `in` and texts in quotes"
_HAS: Final = re.compile(r"\bhas\b\s*(?:\(|//)")
_AT: Final = re.compile(r"<input>:(\d+):(\d+): (.*)")
_UNDECLARED: Final = re.compile(r"undeclared reference to '\.?([^']*)'")
_OVERLOAD: Final = re.compile(r"found no matching overload for '([^']*)' applied to '(.*)'")
_TYPES: Final[Mapping[str, str]] = {
    "list(string)": "a set of texts",
    "wrapper(string)": "a text",
    "string": "a text",
    "int": "a whole number",
    "uint": "an unsigned number",
    "double": "a fraction",
    "bytes": "bytes",
    "bool": "a truth",
    "null_type": "null",
}


class ExpressionFacts(msgspec.Struct, frozen=True):
    """Read the facts that an expression mentions, by name."""

    getters: tuple[tuple[str, Callable[[Facts], Any]], ...]

    def __call__(self, facts: Facts) -> dict[str, Any]:
        """Return each fact in whichever of the four states it is."""
        return {name: get(facts) for name, get in self.getters}


class Expression:
    """One expression, compiled."""

    __slots__ = ("_kinds", "_program", "_sets", "compared", "mentions", "text")

    def __init__(
        self, text: str, kinds: Mapping[str, Kind], compared: frozenset[tuple[str, str]], program: cel.Expression
    ) -> None:
        self.text = text
        self.mentions = frozenset(kinds)
        """Every attribute that it can read."""
        self.compared = compared
        """Attributes with the texts they are compared with, for whoever knows which texts there are."""
        self._kinds = kinds
        self._sets = frozenset(name for name, kind in kinds.items() if kind not in _SCALARS)
        self._program = program

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (self.text, dict(self._kinds), self.compared)

    def __call__(self, facts: Mapping[str, Any]) -> Truth:
        """Ask of facts in their four states: unknown without evaluation if one could be something else."""
        given = [facts[name] for name in self.mentions]
        if any(fact is UNKNOWN or (isinstance(fact, FactSet) and fact.is_open) for fact in given):
            return None
        if any(fact is NOT_APPLICABLE for fact in given):
            return False
        return self.evaluate({name: self._known(name, fact) for name, fact in zip(self.mentions, given, strict=True)})

    def _known(self, name: str, fact: object) -> object:
        if fact is ABSENT:
            return () if name in self._sets else None
        return fact.members if isinstance(fact, FactSet) else fact

    def evaluate(self, values: Mapping[str, object]) -> Truth:
        """Evaluate with a text, None or a collection of texts for each attribute; None for what gives no answer."""
        try:
            given = {name: _convert(values[name]) for name in self.mentions}
            answer = self._program.eval(data=given).value()
        except (LookupError, RuntimeError, TypeError, ValueError):
            return None
        return answer if isinstance(answer, bool) else None


def compile_expression(text: str, vocabulary: Vocabulary) -> Expression | str:
    """Compile an expression, or say what is wrong with it."""
    problem = _refuse_text(text)
    if problem:
        return problem
    known = _attributes(vocabulary)
    try:
        checking, evaluating = _environments(tuple(known.items()))
        checked, program = checking.compile(text), evaluating.compile(text)
    except (RuntimeError, TypeError) as error:
        return _explain(str(error), text, vocabulary)
    given = checked.return_type().name()
    if given != "BOOL":
        return f"an expression is a question and gives true or false, this one gives {_name_type(given.lower())}"
    tree = _Tree(known)
    try:
        tree.read(program.serialize())
    except _RefusedError as refused:
        return str(refused)
    if not tree.mentions:
        return "the expression asks about no attribute, so its answer never changes"
    kinds = {name: known[name] for name in tree.mentions}
    return Expression(text, kinds, frozenset(tree.compared), program)


def _revive(text: str, kinds: Mapping[str, Kind], compared: frozenset[tuple[str, str]]) -> Expression:
    """Make an expression that another process has compiled: the program itself does not travel."""
    # One environment serves nearly all: to make one for each set of attributes takes longer than the expressions do.
    usual = {name: each.kind for name, each in ATTRIBUTES.items() if each.kind in _OFFERED_KINDS}
    known = tuple(sorted({**usual, **kinds}.items(), key=operator.itemgetter(0)))
    return Expression(text, kinds, compared, _environments(known)[1].compile(text))


def _refuse_text(text: str) -> str:
    if not text.strip():
        return "the expression is empty"
    if len(text) > MAX_TEXT:
        return f"an expression has at most {MAX_TEXT} characters, this one has {len(text)}: split it into rules"
    for character in text:
        if not character.isprintable() and character not in "\n\t":
            return f"an expression holds no invisible character, this one holds U+{ord(character):04X}"
    return _INSTEAD["has"] if _HAS.search(text) else ""


def _attributes(vocabulary: Vocabulary) -> dict[str, Kind]:
    """Return the attributes that an expression can read, with their kinds."""
    found = (find_attribute(name, vocabulary) for name in vocabulary.attribute_names())
    kinds = {attribute.name: attribute.kind for attribute in found if isinstance(attribute, Attribute)}
    return {name: kind for name, kind in kinds.items() if kind in _OFFERED_KINDS}


@functools.lru_cache(maxsize=16)
def _environments(known: tuple[tuple[str, Kind], ...]) -> tuple[cel.Env, cel.Env]:
    """Make an environment to check expressions, where scalars are nullable texts, and one to evaluate, of any type.

    The library takes no Python text for a variable that it knows to be a nullable one.
    """
    texts = cel.Type.List(cel.Type.STRING)

    def make(scalar: cel.Type) -> cel.Env:
        return cel.NewEnv(variables={name: scalar if kind in _SCALARS else texts for name, kind in known})

    return make(cel.Type("google.protobuf.StringValue")), make(cel.Type.DYN)


def _convert(value: object) -> str | list[str] | None:
    """Return a fact as the library wants it; ValueError for what it must not be given."""
    if value is None or isinstance(value, str):
        return value if value is None or value.isascii() else _check_text(value)
    if not isinstance(value, Collection):
        raise TypeError("a fact is a text, None, or a collection of texts")
    if len(value) > MAX_MEMBERS:
        raise ValueError("a fact has too many members")
    return [_check_text(member) for member in value]


def _check_text(value: object) -> str:
    """Return a text that is UTF-8: the library hands anything else to C++ as a null pointer."""
    if not isinstance(value, str):
        raise TypeError("a member of a fact is a text")
    value.encode()
    return value


def _explain(error: str, text: str, vocabulary: Vocabulary) -> str:
    """Turn what the library says into one sentence."""
    if "recursion" in error:
        return "the expression is nested too deeply: split it into rules"
    places = list(_AT.finditer(error))
    if not places:
        return f"this is no CEL expression; {_HOW}"
    for at in places:  # a function that does not exist makes its macro's variable undeclared as well, and earlier
        undeclared = _UNDECLARED.search(at[3])
        if undeclared and _is_called(undeclared[1], text):
            name = undeclared[1]
            return _INSTEAD.get(name, f"no function {name!r}{nearest(name, (*_FUNCTIONS, *_MACROS))}") + _place(at)
    return _explain_first(places[0], vocabulary) + _place(places[0])


def _explain_first(at: re.Match[str], vocabulary: Vocabulary) -> str:
    undeclared, overload = _UNDECLARED.search(at[3]), _OVERLOAD.search(at[3])
    if undeclared:
        return _explain_name(undeclared[1], vocabulary)
    if overload:
        return _explain_types(overload[1], overload[2])
    if "operand of a select" in at[3]:
        return "there is nothing below a text, a set or a variable"
    what = at[3].removeprefix("Syntax error: ").partition(" expecting ")[0]
    return f"this is no CEL expression: {what}; {_HOW}"


def _place(at: re.Match[str]) -> str:
    return f" (line {at[1]}, column {at[2]} of the expression)"


def _is_called(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}\s*\(", text) is not None


def _explain_name(name: str, vocabulary: Vocabulary) -> str:
    found = find_attribute(name, vocabulary)
    if isinstance(found, Attribute):
        return f"{name} is {found.kind.value}: write a matcher beside the expression"
    below = sorted(known for known in _attributes(vocabulary) if known.startswith(f"{name}."))
    if below:
        return f"{name!r} is not one fact: name the attribute, such as {below[0]}"
    if name.startswith("caller.control.") and any("-" in rule for rule in vocabulary.control_names()):
        return f"{found}; an id with '-' is written in backticks, such as caller.control.`any-stake`.countries"
    return found


def _explain_types(function: str, operands: str) -> str:
    types = re.findall(r"wrapper\(string\)|list\([^()]*\)|[\w.]+", operands.removeprefix("(").removesuffix(")"))
    what = _show_function(function)
    if function in _INSTEAD:
        return _INSTEAD[function]
    return f"`{what}` does not take {' and '.join(map(_name_type, types)) or 'nothing'}"


def _show_function(function: str) -> str:
    return function.strip("_@").replace("_", " ") if function[:1] in "_!@" else function


def _name_type(name: str) -> str:
    return _TYPES.get(name, f"a {name}")


class _RefusedError(Exception):
    """What the expression does and may not, as a sentence."""


class _Tree:
    """The checked tree of an expression (``cel.expr.CheckedExpr``), looked at node by node.

    The library shows its tree as a serialised message alone; the numbers below are that message's fields.
    """

    def __init__(self, known: Mapping[str, Kind]) -> None:
        self.known = known
        self.mentions: set[str] = set()
        self.compared: set[tuple[str, str]] = set()
        self._lists: set[int] = set()
        """The nodes whose type is a list."""
        self._variables: dict[str, str] = {}
        """The variable of the macro that is being looked at, and the attribute it goes through."""

    def read(self, message: bytes) -> None:
        checked = _one(_parse(_one(_parse(message), 2)), 4)
        for entry in _parse(_one(_parse(message), 2)).get(3, ()):
            typed = _parse(_bytes(entry))
            if 6 in _parse(_one(typed, 2)):
                self._lists.add(_number(typed, 1))
        self._visit(checked)

    def _visit(self, node: bytes) -> None:
        fields = _parse(node)
        kinds = fields.keys() - {2}
        if len(kinds) != 1:
            raise _RefusedError("the expression holds something that is not offered")
        kind = kinds.pop()
        body = _parse(_one(fields, kind))
        if kind == 3:
            self._visit_constant(body)
        elif kind == 4:
            self._visit_name(_text(body, 1))
        elif kind == 6:
            self._visit_call(body)
        elif kind == 7 and body.keys() <= {1}:
            self._visit_all(body.get(1, ()))
        elif kind == 9:
            self._visit_macro(body)
        else:
            raise _RefusedError(
                "an expression holds texts, whole numbers, lists and attributes: no keys and no messages"
            )

    def _visit_all(self, nodes: Collection[int | bytes]) -> None:
        for node in nodes:
            self._visit(_bytes(node))

    def _visit_constant(self, body: "_Fields") -> None:
        if not body.keys() <= {1, 2, 3, 6}:
            raise _RefusedError("a value is a text, a whole number, true, false or null")

    def _visit_name(self, name: str) -> None:
        if name in self.known:
            self.mentions.add(name)
        elif name not in self._variables:
            raise _RefusedError(f"{name!r} is no attribute")

    def _visit_call(self, body: "_Fields") -> None:
        function = _text(body, 2)
        if not body.keys() <= {1, 2, 3}:
            raise _RefusedError("the expression holds something that is not offered")
        internal = function in _OF_MACROS and self._variables
        if function not in _OPERATORS | _FUNCTIONS and not internal:
            raise _RefusedError(_INSTEAD.get(function, f"`{_show_function(function)}` is not offered ({_OFFERED})"))
        operands = [_bytes(node) for node in (*body.get(1, ()), *body.get(3, ()))]
        if function in _EQUALITY and any(_number(_parse(node), 2) in self._lists for node in operands):
            raise _RefusedError("sets are not compared with `==`: write `in`, `all`, `exists` or `size`")
        self._visit_all(operands)
        if function in _EQUALITY or function == "@in":
            self._note(operands)

    def _note(self, operands: list[bytes]) -> None:
        """Remember which texts an attribute is compared with."""
        names = {self._variables.get(name, name) for name in map(_name_of, operands) if name}
        texts = {text for node in operands for text in _texts_of(node)}
        self.compared |= {(name, text) for name in names & self.known.keys() for text in texts}

    def _visit_macro(self, body: "_Fields") -> None:
        if self._variables:
            raise _RefusedError("a macro inside a macro is not offered: write `in`, or two rules")
        if not body.keys() <= set(range(1, 8)):
            raise _RefusedError("a macro has one variable")
        variable = _text(body, 1)
        if any(name == variable or name.startswith(f"{variable}.") for name in self.known):
            raise _RefusedError(f"the variable {variable!r} hides attributes of that name: call it something else")
        through = _one(body, 2)
        name = _name_of(through)
        if not name and 7 not in _parse(through):
            raise _RefusedError(
                "`all`, `exists` and their like go through an attribute or a written list, nothing computed"
            )
        self._visit(through)
        self._variables = {variable: name, _text(body, 3): ""}
        self._visit_all([_one(body, part) for part in (4, 5, 6, 7)])
        self._variables = {}


def _name_of(node: bytes) -> str:
    """Return the name that a node is, or nothing."""
    fields = _parse(node)
    return _text(_parse(_one(fields, 4)), 1) if 4 in fields else ""


def _texts_of(node: bytes) -> Iterator[str]:
    """Yield the texts that a node is: itself, or those of a written list."""
    fields = _parse(node)
    if 3 in fields:
        constant = _parse(_one(fields, 3))
        if 6 in constant:
            yield _text(constant, 6)
    elif 7 in fields:
        for member in _parse(_one(fields, 7)).get(1, ()):
            yield from _texts_of(_bytes(member))


_Fields = dict[int, list[int | bytes]]


def _parse(message: bytes) -> _Fields:
    """Read one protobuf message: numbers, and what has a length."""
    fields: _Fields = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value: int | bytes
        if tag & 7 == 0:
            value, at = _varint(message, at)
        elif tag & 7 == 1:
            value, at = message[at : at + 8], at + 8
        elif tag & 7 == 2:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        else:
            raise _RefusedError("the expression holds something that is not offered")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while message[at] > 127:
        number |= (message[at] & 127) << shift
        shift += 7
        at += 1
    return number | message[at] << shift, at + 1


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise _RefusedError("the expression holds something that is not offered")
    return value


def _one(fields: _Fields, field: int) -> bytes:
    """Return a field that is there at most once; an empty message is not always written."""
    values = fields.get(field, [b""])
    if len(values) != 1:
        raise _RefusedError("the expression holds something that is not offered")
    return _bytes(values[0])


def _text(fields: _Fields, field: int) -> str:
    return _one(fields, field).decode()


def _number(fields: _Fields, field: int) -> int:
    value = fields.get(field, [0])[-1]
    return value if isinstance(value, int) else 0
