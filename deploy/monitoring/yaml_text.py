# SPDX-License-Identifier: Apache-2.0
"""YAML as a person would write it: several lines as a block, long sentences folded, reasons as comments."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any, Final, TypeAlias

import msgspec

WIDTH: Final = 120
_STEP: Final = 2
_PLAIN: Final = re.compile(r"[A-Za-z_/].*|\d+[smhdw]")
"""Begins as nothing but a word does, or is a duration: nobody takes it for a number or for YAML's own signs."""
_NOT_PLAIN: Final = re.compile(r".*(: | #|\t).*|.*[:\s]|true|false|yes|no|on|off|null|y|n", re.IGNORECASE)

Node: TypeAlias = Any
"""A mapping, a sequence, text, a number or a truth value; in a mapping, one of these that is ``Noted``."""


class Noted(msgspec.Struct, frozen=True):
    """A value of a mapping, with a comment above its key."""

    value: Node
    comment: str


class Spaced(msgspec.Struct, frozen=True):
    """A sequence with an empty line between its members."""

    members: Sequence[Node]


def write(node: Node, header: str) -> str:
    """Return a document.

    Args:
        node: a mapping.
        header: comments at its top, without their signs.
    """
    return "\n".join((*_comment(header, 0), *_lines(node, 0), ""))


def _lines(node: Node, indent: int) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if isinstance(value, Noted):
                yield from _comment(value.comment, indent)
            yield from _entry(f"{' ' * indent}{key}:", value.value if isinstance(value, Noted) else value, indent)
    else:
        is_spaced = isinstance(node, Spaced)
        for at, value in enumerate(node.members if is_spaced else node):
            if is_spaced and at:
                yield ""
            yield from _item(value, indent)


def _entry(head: str, value: Node, indent: int) -> Iterator[str]:
    if isinstance(value, Mapping | Sequence | Spaced) and not isinstance(value, str) and value:
        yield head
        yield from _lines(value, indent + _STEP)
    else:
        yield from _scalar(head, value, indent)


def _item(value: Node, indent: int) -> Iterator[str]:
    dash = f"{' ' * indent}-"
    if isinstance(value, Mapping):
        lines = list(_lines(value, indent + _STEP))
        first = next(at for at, line in enumerate(lines) if not line.lstrip().startswith("#"))
        yield from (line[_STEP:] for line in lines[:first])
        yield f"{dash} {lines[first].lstrip()}"
        yield from lines[first + 1 :]
    else:
        yield from _scalar(dash, value, indent)


def _scalar(head: str, value: Node, indent: int) -> Iterator[str]:
    inner = " " * (indent + _STEP)
    if not isinstance(value, str):
        yield f"{head} {json.dumps(value)}"
    elif "\n" in value:
        yield f"{head} |-"
        yield from (f"{inner}{line}".rstrip() for line in value.split("\n"))
    elif len(head) + len(value) >= WIDTH and " ".join(value.split()) == value:
        yield f"{head} >-"
        yield from (f"{inner}{line}" for line in _fold(value, WIDTH - len(inner)))
    else:
        is_plain = _PLAIN.fullmatch(value) and not _NOT_PLAIN.fullmatch(value)
        yield f"{head} {value if is_plain else json.dumps(value, ensure_ascii=False)}"


def _fold(text: str, width: int, hanging: str = "") -> list[str]:
    return wrap(text, width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


def _comment(text: str, indent: int) -> Iterator[str]:
    for paragraph in text.splitlines():
        hanging = "  " if paragraph.startswith("- ") else ""
        yield from (f"{' ' * indent}# {line}" for line in _fold(paragraph, WIDTH - indent - 2, hanging))
