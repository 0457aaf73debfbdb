# SPDX-License-Identifier: Apache-2.0
"""The lines of a ledger as JSON Schema (draft 2020-12), for whoever reads them with other tools.

It is made from the structs of ``lines`` and the frame of ``entry``, and takes nothing that they do not name: a reader
who validates by it learns at once where a newer version says more.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any, Final, TypeAlias

import msgspec

from proxy.ledger import lines
from proxy.ledger.entry import TIME_LENGTH
from proxy.model.request_id import ALPHABET, LENGTH

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Schema: TypeAlias = dict[str, Any]

_INSTANT: Final[Schema] = {
    "type": "string",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$",
    "minLength": TIME_LENGTH,
    "maxLength": TIME_LENGTH,
}
_HASH: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9+/]{43}=$"}
_DIGEST: Final[Schema] = {"type": "string", "pattern": "^(?:sha256:)?[0-9a-f]{32,64}$"}
_ID: Final[Schema] = {"type": "string", "pattern": f"^[{ALPHABET}]{{{LENGTH}}}$"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_FRAME: Final[Mapping[str, Schema]] = {
    "n": _COUNT | {"description": "The number of the line in the ledger, from 0, and so of its leaf in the tree."},
    "prev": _HASH | {"description": "Base64 of the leaf hash of the line before; of the empty tree's root in line 0."},
    "time": _INSTANT | {"description": "When it was written, by the gateway's clock, in UTC."},
}
_FORMS: Final[Mapping[str, Schema]] = {
    "id": _ID,
    "bundle": _DIGEST,
    "policy": _DIGEST,
    "registers": _DIGEST,
    "trace": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "since": _INSTANT,
    "until": _INSTANT,
    "was": _INSTANT,
    "observe_until": _INSTANT,
    "first": _COUNT,
    "segment": _COUNT,
    "count": _COUNT,
    "bytes": _COUNT,
    "bytes_in": _COUNT,
    "cut_bytes": _COUNT,
    "unlisted": _COUNT,
    "peaks": {"type": "array", "items": _HASH},
}
"""Of fields of a line itself, where its type says less than is known of it."""


def make_schema() -> Schema:
    """Return the schema of one line, as JSON has it."""
    _, components = msgspec.json.schema_components(lines.LINES, ref_template="#/$defs/{name}")
    told = read_field_docs(lines)
    kinds = {kind.__name__ for kind in lines.LINES}
    definitions = {
        name: _close(name, component, told, is_line=name in kinds) for name, component in sorted(components.items())
    }
    return {
        "$schema": DIALECT,
        "title": "A line of a Sekisho ledger",
        "description": "Told in docs/ledger.md. A field with its default is left out.",
        "type": "object",
        "required": [*_FRAME, "line"],
        "oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in lines.LINES],
        "$defs": definitions,
    }


def _close(name: str, component: Schema, told: Mapping[tuple[str, str], str], *, is_line: bool) -> Schema:
    """Return the schema of one struct, which takes no other members than its own."""
    own = {field: _narrow(field, schema, is_line=is_line) for field, schema in component["properties"].items()}
    for field, schema in own.items():
        if (name, field) in told:
            schema["description"] = told[name, field]
    properties = {**_FRAME, **own} if is_line else own
    required = [*(_FRAME if is_line else ()), *component.get("required", ())]
    return {
        "description": component["description"],
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _narrow(field: str, schema: Schema, *, is_line: bool) -> Schema:
    """Say of a field what is known of it; what is its default by being left out, it never says."""
    narrowed = {key: value for key, value in schema.items() if key != "default"}
    if "enum" in narrowed:
        narrowed["enum"] = [word for word in narrowed["enum"] if word]
    if "anyOf" in narrowed:
        some = [each for each in narrowed.pop("anyOf") if each != {"type": "null"}]
        narrowed |= some[0] if len(some) == 1 else {"anyOf": some}
    return {**narrowed, **_FORMS.get(field, {})} if is_line else narrowed


@cache
def read_field_docs(module: ModuleType) -> Mapping[tuple[str, str], str]:
    """Return what stands below the fields of a module's structs, by the names of struct and field."""
    tree = ast.parse(inspect.getsource(module))
    return {
        (struct.name, field): " ".join(text.split())
        for struct in tree.body
        if isinstance(struct, ast.ClassDef)
        for field, text in _fields(struct)
    }


def _fields(struct: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, below in zip(struct.body, struct.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            yield statement.target.id, below.value.value
