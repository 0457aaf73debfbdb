# SPDX-License-Identifier: Apache-2.0
"""The fields of every kind of line, as the tables of ``docs/ledger.md`` name them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from proxy.ledger import lines
from proxy.ledger.json_schema import make_schema
from proxy.ledger.lines import LINES

NAMES: Final = {
    "RuleRecorded": "rule",
    "PersonRecorded": "person",
    "CallerRecorded": "caller",
    "OriginRecorded": "origin",
    "SubjectRecorded": "subject",
    "ContentRecorded": "content",
    "ShadowRecorded": "shadow",
    "DatabaseRecorded": "database",
}
"""What stands inside a line, by the name that the page gives it."""
WORDS: Final = {"string": "text", "integer": "number", "number": "number", "boolean": "true or false"}


def fields() -> Iterator[tuple[str, str, str, str]]:
    """Yield of every field but the frame's: its line or part, its name, its form, and what it is if it is left out."""
    schema = make_schema()
    parts = {str(kind.__struct_config__.tag): kind.__name__ for kind in LINES} | {v: k for k, v in NAMES.items()}
    for part, name in parts.items():
        definition = schema["$defs"][name]
        for field in msgspec.structs.fields(getattr(lines, name)):
            told = "always there" if field.required else missing(field.default)
            yield part, field.name, form(definition["properties"][field.name]), told


def missing(default: object) -> str:
    """Tell what a field is that is left out."""
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, float | int):
        return f"{default:g}"
    if isinstance(default, msgspec.Struct):
        return "all is unknown"
    return default if isinstance(default, str) and default else "none"


def form(schema: Mapping[str, Any]) -> str:
    """Tell the form of a field in words."""
    if "$ref" in schema:
        return NAMES[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return ", or ".join(form(each) for each in schema["anyOf"])
    if "enum" in schema or "prefixItems" in schema:
        return "word" if "enum" in schema else "pair"
    if schema["type"] == "array":
        return f"list of {form(schema['items'])}"
    if schema["type"] == "object":
        return f"{form(schema['additionalProperties'])} by name"
    return WORDS[schema["type"]]
