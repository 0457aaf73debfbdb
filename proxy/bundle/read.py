# SPDX-License-Identifier: Apache-2.0
"""YAML files become plain values: mappings, lists and text, nothing else, each with its position.

- Types come from our schemas, never from YAML's guesses, so every scalar stays text.
- Anchors, aliases, tags, merge keys and repeated keys are errors: a rule must read the same to everyone.
- Size and depth are bounded; the reader works on YAML's flat events, so depth cannot exhaust the stack.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, Final, TypeAlias

import msgspec
import yaml
from yaml.error import MarkedYAMLError, YAMLError

from proxy.model.problem import Path

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""Registers larger than this are for CSV files, not for YAML."""
MAX_DEPTH: Final = 32
MAX_PROBLEMS: Final = 200
"""Of one file, so that a file of garbage ends."""

_UNSEEN: Final = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069]|\r(?!\n)"
)

Position: TypeAlias = tuple[int, int]
"""Line and column, from 1."""


class Place(msgspec.Struct, frozen=True):
    """Where a value stands, and where what is inside it stands."""

    value: Position
    key: Position | None = None
    inside: Any = None
    """A dict or list of places, as the value itself is one of values."""


class Document(msgspec.Struct, frozen=True):
    """One file, read."""

    name: str
    value: Any
    place: Place

    def locate(self, path: Path, *, at_key: bool) -> Position:
        """Return the position of a path, or of the nearest thing above it that stands in the file."""
        place: Place = self.place
        for index, step in enumerate(path):
            try:
                place = place.inside[step]
            except (KeyError, IndexError, TypeError):
                break
            if at_key and index == len(path) - 1 and place.key is not None:
                return place.key
        return place.value


class FileProblem(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong, in a file."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


def read_bytes(path: FilePath, name: str, limit: int) -> bytes | FileProblem:
    """Return the content of a file, or why it cannot be had."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not hold anybody up
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return FileProblem(name, 1, 1, "this is no file")
            data = b"" if status.st_size > limit else file.read(limit + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return FileProblem(name, 1, 1, f"the file cannot be read: {why}")
    if status.st_size > limit or len(data) > limit:
        return FileProblem(name, 1, 1, f"the file is larger than {limit // 2**20} MiB")
    return data


def escape_unseen(text: str) -> str:
    """Return the inside of double-quoted YAML with everything escaped that may not stand in it as it is."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def parse_document(data: bytes, name: str) -> tuple[Document | None, list[FileProblem]]:
    """Read the content of one YAML file.

    Args:
        data: the content.
        name: what to call the file in problems.

    Returns:
        The document, or None, and what is wrong with the file.
    """
    builder = _Builder(name)
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
        builder.check_characters(text)
        if not builder.problems:
            builder.read(yaml.parse(text, Loader=yaml.CSafeLoader))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        builder.fail((line, 1), "the file is not UTF-8 here")
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        builder.fail(_position(mark) if mark else (1, 1), f"no YAML: {error.problem or error.context}")
    except (YAMLError, ValueError) as error:
        builder.fail((1, 1), f"no YAML: {str(error).splitlines()[0]}")
    except _TooManyProblemsError:
        pass
    if builder.problems:
        return None, builder.problems
    if builder.place is None:
        return None, [FileProblem(name, 1, 1, "the file is empty")]
    return Document(name, builder.value, builder.place), []


class _TooManyProblemsError(Exception):
    """Ends the reading of a file of garbage."""


class _Frame:
    """A mapping or list that is still open."""

    __slots__ = ("inside", "key", "key_position", "place", "value")

    def __init__(self, value: Any, inside: Any, place: Place) -> None:
        self.value = value
        self.inside = inside
        self.place = place
        self.key: str | None = None
        self.key_position: Position | None = None


class _Builder:
    """Builds plain values and their places from YAML events, with a stack of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[FileProblem] = []
        self.value: Any = None
        self.place: Place | None = None
        self._stack: list[_Frame] = []
        self._documents = 0

    def fail(self, position: Position, message: str) -> None:
        self.problems.append(FileProblem(self.name, *position, message))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _TooManyProblemsError

    def check_characters(self, text: str) -> None:
        """Refuse what ends or indents a line for YAML and not for an editor: a comment could hide a rule in it."""
        for match in _UNSEEN.finditer(text):
            before = text.rfind("\n", 0, match.start()) + 1
            position = text.count("\n", 0, match.start()) + 1, match.start() - before + 1
            self.fail(position, f"no YAML that reads the same to everyone: the character U+{ord(match[0]):04X}")

    def read(self, events: Iterator[Any]) -> None:
        for event in events:
            if isinstance(event, yaml.ScalarEvent):
                self._check_plain(event)
                self._scalar(event)
            elif isinstance(event, yaml.MappingStartEvent):
                self._open(event, {}, {})
            elif isinstance(event, yaml.SequenceStartEvent):
                self._open(event, [], [])
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                self._stack.pop()
            elif isinstance(event, yaml.AliasEvent):
                self.fail(_position(event.start_mark), "aliases are not taken: write the value out")
                top = self._stack[-1] if self._stack else None
                self._add("", Place(_position(event.start_mark), top.key_position if top else None))
            elif isinstance(event, yaml.DocumentStartEvent):
                self._start_document(event)

    def _start_document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self.fail(_position(event.start_mark), "a second document begins here: one file, one document")
            raise _TooManyProblemsError

    def _check_plain(self, event: Any) -> None:
        if event.anchor is not None:
            self.fail(_position(event.start_mark), "anchors are not taken: write the value out where it is needed")
        if event.tag is not None:
            self.fail(_position(event.start_mark), f"tags such as {event.tag!r} are not taken")

    def _open(self, event: Any, value: Any, inside: Any) -> None:
        self._check_plain(event)
        position = _position(event.start_mark)
        if len(self._stack) >= MAX_DEPTH:
            self.fail(position, f"nested deeper than {MAX_DEPTH} levels")
            raise _TooManyProblemsError
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self.fail(position, "a key must be a single text")
            top.key, top.key_position = "", position
            self._stack.append(_Frame(value, inside, Place(position, None, inside)))
            return
        place = Place(position, top.key_position if top else None, inside)
        self._add(value, place)
        self._stack.append(_Frame(value, inside, place))

    def _scalar(self, event: Any) -> None:
        position = _position(event.start_mark)
        top = self._stack[-1] if self._stack else None
        if top is None or not isinstance(top.value, dict) or top.key is not None:
            self._add(event.value, Place(position, top.key_position if top else None))
            return
        top.key, top.key_position = event.value, position
        if event.value in top.value:
            first = top.inside[event.value].key
            self.fail(position, f"{event.value!r} stands twice, first in line {first[0]}")

    def _add(self, value: Any, place: Place) -> None:
        if not self._stack:
            self.value, self.place = value, place
            return
        top = self._stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            top.inside.append(place)
        elif top.key is not None:
            top.value[top.key] = value
            top.inside[top.key] = place
            top.key = top.key_position = None


def _position(mark: Any) -> Position:
    return mark.line + 1, mark.column + 1
