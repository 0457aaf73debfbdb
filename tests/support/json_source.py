# SPDX-License-Identifier: Apache-2.0
"""A slow, strict reader of JSON (RFC 8259) that keeps where everything stands in its source.

It shares nothing with the product: what the product's own readers accept and refuse is held against it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from proxy.model.decision import Reason

_WHITESPACE: Final = b" \t\n\r"
_NUMBER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBER_BEGUN: Final = re.compile(rb"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*|(?:\.[0-9]+)?[eE][+-]?[0-9]*)?)?")
_NUMBER_BYTES: Final = re.compile(rb"[-+.0-9eE]+")
_STRING: Final = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_STRING_BEGUN: Final = re.compile(
    rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*(?:\\(?:u[0-9a-fA-F]{0,3})?)?'
)
_LITERAL_BEGUN: Final = re.compile(rb"t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?")
_LITERALS: Final = {b"true": "true", b"false": "false", b"null": "null"}


@dataclass
class Node:
    """One value."""

    kind: str
    """``object``, ``array``, ``string``, ``number``, ``true``, ``false`` or ``null``."""
    start: int
    end: int = -1
    """-1 where the source ends, or breaks, within it."""
    children: list[tuple["Name | None", "Node"]] = field(default_factory=list)
    """Members with their names, elements without one."""

    @property
    def is_container(self) -> bool:
        return self.kind in {"object", "array"}


@dataclass(frozen=True)
class Name:
    """The name of a member: as it is meant, and as it is written."""

    text: str
    raw: bytes


@dataclass(frozen=True)
class Limits:
    depth: int = 64
    number_chars: int = 128


@dataclass
class Parsed:
    """A document, as far as it could be read."""

    data: bytes
    root: Node | None = None
    flaws: set[Reason] = field(default_factory=set)
    """Why it may be refused as it is written; one that is written well has none."""

    def text(self, node: Node) -> bytes:
        return self.data[node.start : node.end]

    def string(self, node: Node) -> str:
        return read_string(self.text(node))


class _Broken(Exception):  # noqa: N818 - control flow
    """It cannot be read on."""


def read_string(raw: bytes) -> str:
    text = json.loads(raw)
    assert isinstance(text, str)
    return text


def parse(data: bytes, limits: Limits = Limits()) -> Parsed:
    """Read a document as far as it goes, with every flaw that a reader could meet first."""
    parsed = Parsed(data)
    end, at_end = _find_bad_unicode(data)
    reader = _Reader(parsed, data[:end], at_end, limits)
    try:
        at = reader.skip(0)
        if at == len(data):
            parsed.flaws |= {Reason.ANSWER_EMPTY} if not data else {Reason.ANSWER_EMPTY, Reason.ANSWER_INCOMPLETE}
            return parsed
        if at == end:
            parsed.flaws.add(Reason.ANSWER_EMPTY)
        at = reader.skip(reader.value(at, 1, None, None))
        if at != len(data):
            parsed.flaws |= {Reason.ANSWER_MALFORMED} | (at_end if at == end else set())
    except _Broken:
        pass
    return parsed


def _find_bad_unicode(data: bytes) -> tuple[int, set[Reason]]:
    """Return where the valid UTF-8 ends, and what it is to need more than that."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return error.start, {Reason.ANSWER_INCOMPLETE, Reason.ANSWER_MALFORMED}
        return error.start, {Reason.ANSWER_MALFORMED}
    return len(data), {Reason.ANSWER_INCOMPLETE}


@dataclass
class _Reader:
    parsed: Parsed
    data: bytes
    at_end: set[Reason]
    limits: Limits

    def skip(self, at: int) -> int:
        while at < len(self.data) and self.data[at] in _WHITESPACE:
            at += 1
        return at

    def fail(self, *reasons: Reason) -> _Broken:
        self.parsed.flaws |= {*reasons}
        return _Broken()

    def peek(self, at: int) -> int:
        """Return the byte at a place; a source that has none there ends too early."""
        if at >= len(self.data):
            raise self.fail(*self.at_end)
        return self.data[at]

    def misplaced(self, at: int) -> _Broken:
        """Something stands where it may not; if that ends with the source, it may as well be called incomplete."""
        number = _NUMBER_BYTES.match(self.data, at)
        if number and len(number[0]) > self.limits.number_chars:
            self.parsed.flaws.add(Reason.ANSWER_NUMBER_TOO_LONG)
        is_begun = any(each.fullmatch(self.data, at) for each in (_STRING_BEGUN, _NUMBER_BEGUN, _LITERAL_BEGUN))
        return self.fail(Reason.ANSWER_MALFORMED, *(self.at_end if is_begun else ()))

    def value(self, at: int, depth: int, parent: Node | None, name: Name | None) -> int:
        first = self.peek(at)
        kind = {ord("{"): "object", ord("["): "array", ord('"'): "string"}.get(first, "number")
        node = Node(kind, at)
        if parent is None:
            self.parsed.root = node
        else:
            parent.children.append((name, node))
        if node.is_container:
            if depth > self.limits.depth:
                raise self.fail(Reason.ANSWER_TOO_DEEP)
            node.end = self.object(node, depth) if kind == "object" else self.array(node, depth)
        elif kind == "string":
            node.end = at + len(self.token(at, _STRING, _STRING_BEGUN))
        else:
            node.end = self.scalar(node, at)
        return node.end

    def token(self, at: int, whole: re.Pattern[bytes], begun: re.Pattern[bytes]) -> bytes:
        match = whole.match(self.data, at)
        if match:
            return match[0]
        raise self.fail(*(self.at_end if begun.fullmatch(self.data, at) else {Reason.ANSWER_MALFORMED}))

    def scalar(self, node: Node, at: int) -> int:
        for literal, kind in _LITERALS.items():
            if self.data[at : at + 1] == literal[:1]:
                node.kind = kind
                self.token(at, re.compile(literal), re.compile(b"|".join(literal[:n] for n in range(1, len(literal)))))
                return at + len(literal)
        match = _NUMBER_BYTES.match(self.data, at)
        if match is None:
            raise self.fail(Reason.ANSWER_MALFORMED)
        if len(match[0]) > self.limits.number_chars:
            self.parsed.flaws.add(Reason.ANSWER_NUMBER_TOO_LONG)
        if _NUMBER.fullmatch(match[0]) is None:
            is_begun = match.end() == len(self.data) and _NUMBER_BEGUN.fullmatch(match[0])
            raise self.fail(*(self.at_end if is_begun else {Reason.ANSWER_MALFORMED}))
        return match.end()

    def object(self, node: Node, depth: int) -> int:
        names: set[str] = set()
        at = self.skip(node.start + 1)
        if self.peek(at) == ord("}"):
            return at + 1
        while True:
            if self.peek(at) != ord('"'):
                raise self.misplaced(at)
            raw = self.token(at, _STRING, _STRING_BEGUN)
            name = Name(read_string(raw), raw)
            if name.text in names:
                self.parsed.flaws.add(Reason.ANSWER_KEY_REPEATED)
            names.add(name.text)
            at = self.skip(at + len(raw))
            if self.peek(at) != ord(":"):
                raise self.misplaced(at)
            at = self.skip(self.value(self.skip(at + 1), depth + 1, node, name))
            at, is_done = self.after(at, "}")
            if is_done:
                return at

    def array(self, node: Node, depth: int) -> int:
        at = self.skip(node.start + 1)
        if self.peek(at) == ord("]"):
            return at + 1
        while True:
            at = self.skip(self.value(at, depth + 1, node, None))
            at, is_done = self.after(at, "]")
            if is_done:
                return at

    def after(self, at: int, close: str) -> tuple[int, bool]:
        """Go on behind a member or element."""
        byte = self.peek(at)
        if byte == ord(close):
            return at + 1, True
        if byte != ord(","):
            raise self.misplaced(at)
        return self.skip(at + 1), False


@dataclass(frozen=True)
class Event:
    """A server-sent event, as WHATWG HTML 9.2.6 has it dispatched."""

    type: str
    data: bytes


def read_lines(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the lines of newline-delimited JSON that end, without their ends, and what is behind the last end."""
    *whole, rest = data.split(b"\n")
    return [line.removesuffix(b"\r") for line in whole], rest


def read_events(data: bytes) -> tuple[list[Event], list[bytes]]:
    """Return the events that are dispatched, and the lines of one that the stream leaves incomplete."""
    events: list[Event] = []
    lines: list[bytes] = []
    whole = re.split(rb"\r\n|\r|\n", data)
    for line in whole[:-1]:
        if line:
            lines.append(line)
            continue
        event = _dispatch(lines)
        if event is not None:
            events.append(event)
        lines = []
    return events, [*lines, whole[-1]] if whole[-1] else lines


def _dispatch(lines: list[bytes]) -> Event | None:
    texts, type_ = list[bytes](), "message"
    for line in lines:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            texts.append(value)
        elif name == b"event":
            type_ = value.decode(errors="replace") or "message"
    return Event(type_, b"\n".join(texts)) if texts else None


def data_of(lines: list[bytes]) -> Iterator[bytes]:
    """Return the data of an event that is not dispatched."""
    event = _dispatch(lines)
    if event is not None:
        yield event.data
