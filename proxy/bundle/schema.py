# SPDX-License-Identifier: Apache-2.0
"""Applies the schema of one register to plain values, and says what is wrong in words an author can act on."""

import copy
import re
import types
import typing
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from proxy.model.entry import Entry
from proxy.model.problem import Path, Problem, nearest

E = TypeVar("E", bound=Entry)
MAX_MENDS: Final = 4
_BARE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./:_-]{0,79}")
"""What can stand in a list of YAML as it is."""

_SENTENCES: Final = {
    "list_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "too_short": "expected at least one",
    "string_type": "expected a single value",
}


def validate(model: type[E], raw: Any) -> E | list[Problem]:
    """Return the entry, or everything that is wrong with it, by path inside it."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        return [_translate(detail, model) for detail in error.errors(include_url=False)]


def salvage(model: type[E], raw: Any) -> E | None:
    """Return the entry without those of its keys that are wrong, if it can do without them.

    It is never put in force: it is looked at further, so that one mistake does not hide the next.
    """
    mended = copy.deepcopy(raw)
    for _ in range(MAX_MENDS):
        try:
            return model.model_validate(mended)
        except ValidationError as error:
            mends = [_mend(mended, detail, model) for detail in error.errors(include_url=False)]
            if not any(mends):
                return None
    return None


def _mend(raw: Any, detail: ErrorDetails, model: type[Entry]) -> bool:
    """Take away, or assume, the one value that is wrong; say whether that could be done."""
    *above, last = detail["loc"] or ("",)
    if above and isinstance(_find(raw, above), str):  # a short form, of which what it stands for is wrong
        *above, last = above
    if above and isinstance(
        last, int
    ):  # one of a list: the whole list is assumed, so that the others keep their places
        *above, last = above
        held = _model_at(model, above)
        if held is None or str(last) not in held.ASSUMED:
            return False
    parent = _find(raw, above)
    schema = _model_at(model, above)
    assumed = schema.ASSUMED.get(str(last)) if schema is not None else None
    if not isinstance(parent, dict) or (detail["type"] == "missing" and assumed is None):
        return False
    if parent.pop(last, None) is None and detail["type"] != "missing":
        return False
    if assumed is not None:
        parent[last] = assumed
    return True


def _find(raw: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        try:
            raw = raw[step]
        except (KeyError, IndexError, TypeError):
            return None
    return raw


def _translate(detail: ErrorDetails, model: type[Entry]) -> Problem:
    path: Path = tuple(step for step in detail["loc"] if step != "[key]")
    if detail["type"] == "extra_forbidden":
        return _unknown_key(path, _model_at(model, path[:-1]))
    if detail["type"] == "missing":
        return Problem(path[:-1], f"`{path[-1]}` is missing")
    if detail["type"] == "sekisho":
        return Problem(path, detail["msg"])
    written = detail["input"]
    is_bare = detail["type"] == "list_type" and isinstance(written, str) and bool(_BARE.fullmatch(written))
    mend = f": write [{written}]" if is_bare else ""
    return Problem(path, _SENTENCES.get(detail["type"], detail["msg"]) + mend)


def _unknown_key(path: Path, model: type[Entry] | None) -> Problem:
    key = str(path[-1])
    if model is not None and key in model.NOT_YET:
        return Problem(path, f"key {key!r} is not yet supported", at_key=True)
    keys = [field.alias or name for name, field in model.model_fields.items()] if model is not None else []
    return Problem(path, f"unknown key {key!r}{nearest(key, keys)}", at_key=True)


def _model_at(model: type[Entry], path: Sequence[str | int]) -> type[Entry] | None:
    """Return the schema that stands at a path inside a schema."""
    current: Any = model
    for step in path:
        current = _step(current, step)
    current = _bare(current)
    return current if isinstance(current, type) and issubclass(current, Entry) else None


def _step(annotation: Any, step: str | int) -> Any:
    bare = _bare(annotation)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        for name, field in bare.model_fields.items():
            if step in {name, field.alias}:
                return field.annotation
        return None
    arguments = typing.get_args(bare)
    return arguments[-1] if arguments else None


def _bare(annotation: Any) -> Any:
    """Strip ``Annotated`` and ``| None``."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in {types.UnionType, typing.Union}:
        rest = [argument for argument in typing.get_args(annotation) if argument is not type(None)]
        return _bare(rest[0]) if len(rest) == 1 else None
    return annotation
