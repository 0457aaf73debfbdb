# SPDX-License-Identifier: Apache-2.0
"""What the schemas of an OpenAPI document say of path parameters and answers, as far as it can be guessed by name.

- References are followed inside the document alone, a bounded number of steps, never in a circle.
- Whatever cannot be read to its end is a gap; an answer with a gap declares no fields.
- A pattern is taken only where it is simple enough to be safe on any value, and says the whole value.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from proxy.bundle.api_answers import find_clashes
from proxy.model.json_path import parse_json_path
from proxy.request.catalog import UNRESERVED

MAX_REFS: Final = 16
MAX_DEPTH: Final = 24
MAX_NODES: Final = 200_000
"""Of schemas, over the whole document, so that references cannot multiply without end."""
MAX_ANSWER_NODES: Final = 2_000
MAX_FIELDS: Final = 200
MAX_SHOWN: Final = 40
"""Fields in one comment."""
_MAX_FIELD_LENGTH: Final = 200
_MAX_PATTERN_LENGTH: Final = 500
_MAX_REPEAT: Final = 256

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+[0-9]*|[0-9]+")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STRUCTURE: Final = frozenset({"properties", "items", "prefixItems", "allOf", "oneOf", "anyOf", "additionalProperties"})
_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_BY_FORMAT: Final = {"uuid": _UUID, "date": "[0-9]{4}-[0-9]{2}-[0-9]{2}"}
_BY_TYPE: Final = {"integer": "0|[1-9][0-9]{0,18}", "boolean": "true|false"}

# A sequence of single characters and classes, each with a repeat or none. No groups and no alternatives: what
# cannot nest cannot explode.
_ATOM: Final = re.compile(
    r"(?:[A-Za-z0-9_~-]|\\[dw.~-]|\[\^?(?:[A-Za-z0-9]-[A-Za-z0-9]|[A-Za-z0-9_.]|\\[dw.-])+-?\])"
    r"(?P<repeat>[?*+]|\{(?P<least>[0-9]{1,3})(?P<comma>,(?P<most>[0-9]{1,3})?)?\})?"
)
_MAX_OPEN_REPEATS: Final = 2
"""Of varying length: two are quadratic in at most 256 characters."""

_PERSON: Final = frozenset(
    {
        "user", "member", "customer", "account", "person", "subject", "owner", "author", "sender", "recipient",
        "reporter", "patient", "employee", "contact",
    }
)  # fmt: skip
_CATEGORIES: Final[tuple[tuple[frozenset[str], str], ...]] = tuple(
    (frozenset(words.split()), category)
    for words, category in (
        ("ip ipv4 ipv6", "user.device.ip_address"),
        ("email mail", "user.contact.email"),
        ("phone mobile tel telephone msisdn cellphone fax", "user.contact.phone_number"),
        ("address street city postcode postal zip zipcode prefecture", "user.contact.postal_address"),
        ("birth birthday birthdate dob", "user.birth_date"),
        ("gender sex", "user.gender"),
        ("username login", "user.account.username"),
        ("fullname firstname lastname surname nickname kana furigana", "user.name"),
        ("passport ssn mynumber", "user.government_id"),
        ("iban pan", "user.financial"),
        ("latitude longitude lat lng lon gps", "user.location"),
        ("uuid guid uid", "user.unique_id"),
    )
)
"""Words of a property's name to the category that is guessed; the first that fits."""
_NAME_WORDS: Final = _PERSON | {
    "first", "last", "middle", "family", "given", "full", "display", "legal", "real", "maiden", "preferred",
}  # fmt: skip


class UnresolvedError(Exception):
    """A reference leads nowhere that can be read; the message is a sentence for a comment."""


class Answer(msgspec.Struct, frozen=True):
    """What a route's answers hold."""

    fields: Mapping[str, str]
    """JSONPath to the category guessed; none where anything may be in the answer."""
    comments: tuple[str, ...]


def clean(text: str) -> str:
    """Return a text in one line, bounded, without characters that a reader cannot see."""
    shown = "".join(character if character.isprintable() else " " for character in text[:1000])
    shown = " ".join(shown.split())
    return shown if len(shown) <= 200 else f"{shown[:200]}…"


def split_words(text: str) -> list[str]:
    """Return the words of a name in any of the usual spellings, in lower case; ASCII alone."""
    return [word.lower() for word in _WORDS.findall(text[:1000])]


def is_country(name: str) -> bool:
    """Say whether a parameter looks like a country."""
    return "country" in name.split("_") or name in {"cc", "nation"}


def is_id(name: str) -> bool:
    """Say whether a parameter looks like somebody's id."""
    return name.rsplit("_", maxsplit=1)[-1] in {"id", "uuid", "uid", "guid"} or name in _PERSON


def guess_category(name: str) -> str | None:
    """Return the category of a property by its name, or None."""
    words = [_singular(word) for word in split_words(name)]
    known = set(words)
    if known >= {"user", "name"}:
        return "user.account.username"
    for signs, category in _CATEGORIES:
        if not signs.isdisjoint(known):
            return category
    rest = known - {"name", "id"}
    if "name" in known and rest <= _NAME_WORDS:
        return "user.name"
    return "user.unique_id" if words[-1:] == ["id"] and rest <= _PERSON else None


def _singular(word: str) -> str:
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def find_pattern(schema: Mapping[str, Any]) -> str | None:
    """Return a pattern for the values of a path parameter, or None if the schema says nothing that can be taken."""
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if choices is not None:
        return _match_choices(choices)
    if isinstance(schema.get("pattern"), str):
        return take_pattern(schema["pattern"])
    kind = schema.get("type")
    kinds = [word for word in kind if word != "null"] if isinstance(kind, list) else [kind]
    if len(kinds) != 1 or not isinstance(kinds[0], str):
        return None
    by_format = schema.get("format")
    if kinds[0] == "string" and isinstance(by_format, str):
        return _BY_FORMAT.get(by_format)
    return _BY_TYPE.get(kinds[0])


def _match_choices(choices: Any) -> str | None:
    texts = choices if isinstance(choices, list) else []
    if not texts or not all(isinstance(text, str) and UNRESERVED.fullmatch(text) for text in texts):
        return None
    pattern = "|".join(text.replace(".", r"\.") for text in texts)
    return pattern if len(pattern) <= _MAX_PATTERN_LENGTH else None


def take_pattern(text: str) -> str | None:
    """Return a document's pattern without its anchors, or None where it is not anchored or not simple."""
    if len(text) > _MAX_PATTERN_LENGTH or not text.startswith("^") or not text.endswith("$"):
        return None
    inside = text[1:-1]
    varying, position = 0, 0
    while position < len(inside):
        atom = _ATOM.match(inside, position)
        if atom is None or int(atom["least"] or 0) > _MAX_REPEAT or int(atom["most"] or 0) > _MAX_REPEAT:
            return None
        varying += atom["repeat"] is not None and (atom["least"] is None or atom["comma"] is not None)
        position = atom.end()
    try:
        re.compile(inside)
    except re.error:
        return None
    return inside if inside and varying <= _MAX_OPEN_REPEATS else None


class Reader:
    """Reads schemas of one document, within one allowance."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self.nodes_left = MAX_NODES

    def resolve(self, node: Any) -> tuple[Any, frozenset[str]]:
        """Follow a node's references; return where they lead, and the references followed.

        Raises:
            UnresolvedError: they lead outside, nowhere, in a circle or too far.
        """
        followed: list[str] = []
        while isinstance(node, dict) and "$ref" in node:
            ref = node["$ref"]
            if not isinstance(ref, str) or not ref.startswith("#/"):
                raise UnresolvedError(f"the reference {clean(str(ref))} leads out of the document")
            if ref in followed or len(followed) >= MAX_REFS:
                raise UnresolvedError(f"the reference {clean(ref)} leads in a circle")
            followed.append(ref)
            node = self._find(ref)
        return node, frozenset(followed)

    def _find(self, ref: str) -> Any:
        node: Any = self._document
        for step in ref[2:].split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and re.fullmatch("[0-9]{1,6}", key) and int(key) < len(node):
                node = node[int(key)]
            elif isinstance(node, dict) and key in node:
                node = node[key]
            else:
                raise UnresolvedError(f"the reference {clean(ref)} leads nowhere")
        return node

    def find_patterns(
        self, item: Mapping[str, Any], operation: Mapping[str, Any], names: Mapping[str, str]
    ) -> tuple[dict[str, str], list[str]]:
        """Return patterns of path parameters, and comments.

        Args:
            item: the path item; its parameters hold for all its operations.
            operation: the operation; its parameters come before those.
            names: our names of the path's parameters to the document's.
        """
        schemas: dict[str, Any] = {}
        comments: list[str] = []
        for holder in (item, operation):
            listed = holder.get("parameters")
            for unresolved in listed[:MAX_FIELDS] if isinstance(listed, list) else ():
                try:
                    parameter, _ = self.resolve(unresolved)
                    if isinstance(parameter, dict) and parameter.get("in") == "path":
                        schemas[str(parameter.get("name"))], _ = self.resolve(parameter.get("schema"))
                except UnresolvedError as error:
                    comments.append(f"A parameter was not read: {error}.")
        patterns = {}
        for ours, theirs in names.items():
            schema = schemas.get(theirs)
            pattern = find_pattern(schema) if isinstance(schema, dict) else None
            if pattern is not None:
                patterns[ours] = pattern
            elif isinstance(schema, dict) and ("pattern" in schema or "enum" in schema):
                comments.append(f"What may stand at {{{ours}}} was not taken: check whether it needs a pattern.")
        return patterns, comments

    def read_answer(self, operation: Mapping[str, Any]) -> Answer:
        """Return what the JSON answers of success hold, by name."""
        walk = _Walk(self)
        responses = operation.get("responses")
        for status, unresolved in responses.items() if isinstance(responses, dict) else ():
            if re.fullmatch("2([0-9]{2}|XX)", status):
                walk.enter_response(unresolved)
        return walk.sum_up()


class _Walk:
    """Goes through the schemas of one operation's answers."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._nodes_left = MAX_ANSWER_NODES
        self._guessed: dict[str, str] = {}
        self._others: dict[str, None] = {}
        self._gaps: dict[str, None] = {}

    def enter_response(self, unresolved: Any) -> None:
        """Go through every kind of content that one response may have."""
        try:
            response, _ = self._reader.resolve(unresolved)
        except UnresolvedError as error:
            self._gap(str(error))
            return
        content = response.get("content") if isinstance(response, dict) else None
        for kind, media in content.items() if isinstance(content, dict) else ():
            base = kind.partition(";")[0].strip().lower()
            if base == "application/json" or base.endswith("+json"):
                self._enter(media.get("schema") if isinstance(media, dict) else None, "$", None, 0, frozenset())
            else:
                self._gap(f"there are answers of {clean(kind)}")

    def sum_up(self) -> Answer:
        """Return what was found; fields only where the whole answer is known."""
        comments = []
        for path, other in find_clashes({path: parse_json_path(path) for path in self._guessed}).items():
            self._gap(f"{path} may stand in place of {other}")
        fields = {} if self._gaps else self._guessed
        if self._gaps:
            more = f" (and {len(self._gaps) - 1} more)" if len(self._gaps) > 1 else ""
            comments.append(f"No fields, so it counts as carrying anything: {next(iter(self._gaps))}{more}.")
            comments += [f"  guessed: {path}: {category}" for path, category in self._guessed.items()]
        elif not fields:
            comments.append("No fields, so it counts as carrying anything: nothing in its answer was guessed.")
        if self._others:
            shown = ", ".join(list(self._others)[:MAX_SHOWN])
            more = f" and {len(self._others) - MAX_SHOWN} more" if len(self._others) > MAX_SHOWN else ""
            comments.append(f"Not guessed: {shown}{more}")
        return Answer(fields, tuple(comments))

    def _gap(self, sentence: str) -> None:
        if len(self._gaps) < MAX_FIELDS:
            self._gaps[sentence] = None

    def _spend(self, depth: int) -> bool:
        """Take one node from both allowances."""
        self._nodes_left -= 1
        self._reader.nodes_left -= 1
        if self._nodes_left < 0 or self._reader.nodes_left < 0 or depth > MAX_DEPTH:
            self._gap("the schema is too large to be read whole")
            return False
        return True

    def _enter(self, unresolved: Any, path: str, category: str | None, depth: int, above: frozenset[str]) -> None:
        """Go through one schema.

        Args:
            unresolved: the schema.
            path: JSONPath to what it describes.
            category: what the names above were guessed to be.
            depth: how deep it lies.
            above: the references that lead here; one of them again is a circle, and holds nothing new.
        """
        if not self._spend(depth):
            return
        try:
            schema, followed = self._reader.resolve(unresolved)
        except UnresolvedError as error:
            self._gap(str(error))
            return
        if followed & above:
            return
        if not isinstance(schema, dict) or (
            isinstance(unresolved, dict) and followed and _STRUCTURE & unresolved.keys()
        ):
            self._gap(f"{path} has no schema that can be read")
            return
        inner = depth + 1, above | followed
        parts = list(_parts(schema))
        for part in parts:
            self._enter(part, path, category, *inner)
        for item in _items(schema):
            self._enter(item, f"{path}[*]", category, *inner)
        properties = schema.get("properties")
        for name, part in properties.items() if isinstance(properties, dict) else ():
            self._enter_property(name, part, path, category, inner)
        self._close(schema, path, category)

    def _enter_property(
        self, name: str, part: Any, path: str, category: str | None, inner: tuple[int, frozenset[str]]
    ) -> None:
        field = f"{path}.{name}"
        if not _NAME.fullmatch(name) or len(field) > _MAX_FIELD_LENGTH:
            self._gap(f"{clean(field)} cannot be said as a field")
            return
        self._enter(part, field, guess_category(name) or category, *inner)

    def _close(self, schema: Mapping[str, Any], path: str, category: str | None) -> None:
        """Take a schema that has nothing below it as a field, and what may have anything below it as a gap."""
        free = schema.get("additionalProperties", "false") != "false" or "patternProperties" in schema
        kinds = schema.get("type")
        listed = kinds if isinstance(kinds, list) else [kinds]
        has_below = bool(_STRUCTURE & schema.keys() - {"additionalProperties"})
        if not has_below and ("object" in listed or "array" in listed):
            free = True
        says_what = kinds is not None or bool({"enum", "const", "format", "pattern"} & schema.keys())
        if free or (not has_below and not says_what):
            self._gap(f"{path} may hold anything")
        elif not has_below and path == "$":
            self._gap("the whole answer is a single value")
        elif not has_below:
            self._take(path, category)

    def _take(self, path: str, category: str | None) -> None:
        if category is None:
            self._others[path] = None
        elif len(self._guessed) < MAX_FIELDS:
            self._guessed[path] = category
        else:
            self._gap(f"there are more than {MAX_FIELDS} fields")


def _parts(schema: Mapping[str, Any]) -> Iterator[Any]:
    for key in ("allOf", "oneOf", "anyOf"):
        listed = schema.get(key)
        yield from listed if isinstance(listed, list) else ()


def _items(schema: Mapping[str, Any]) -> Iterable[Any]:
    listed = schema.get("prefixItems")
    return [*(listed if isinstance(listed, list) else ()), *([schema["items"]] if "items" in schema else [])]
