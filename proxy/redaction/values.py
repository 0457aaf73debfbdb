# SPDX-License-Identifier: Apache-2.0
"""One value of JSON, read strictly, in however many parts it comes.

This is the truth about a value: what ``shapes`` recognises at a glance was read here before. The first fault in the
order of the bytes is the one that is told, wherever the parts end.
"""

from typing import Any, Final

from proxy.model.decision import Reason
from proxy.model.filtering import AnswerRefusedError
from proxy.redaction.grammar import (
    CLOSE_ARRAY,
    CLOSE_OBJECT,
    COLON,
    COMMA,
    NUMBER,
    OPEN_ARRAY,
    OPEN_OBJECT,
    PUNCTUATION,
    QUOTE,
    TEXT,
    Buffer,
    Grammar,
    find_scalar_end,
    find_string_end,
    read_string,
)

OBJECT: Final = OPEN_OBJECT
ARRAY: Final = OPEN_ARRAY
STRING: Final = QUOTE
NULL: Final = 0x6E
MAX_VALUES: Final = 65_536
"""In one value of JSON: each takes 150 bytes of memory or so, however short it is."""


class Node:
    """A value, by where it stands."""

    __slots__ = ("children", "end", "kind", "names", "start", "starts")

    def __init__(self, kind: int, start: int, end: int = -1) -> None:
        self.kind = kind
        """Its first byte: ``{``, ``[``, ``"``, that of a number, ``t``, ``f`` or ``n``."""
        self.start = start
        """From where the outermost value begins; ``end`` likewise."""
        self.end = end
        self.names: list[str] = _NONE
        """Of an object's members, unescaped; each once."""
        self.starts: list[int] = _NONE
        """Where the names stand."""
        self.children: list[Node] = _NONE

    def begin_of(self, index: int) -> int:
        """Return where a member begins, or an element."""
        return self.starts[index] if self.kind == OBJECT else self.children[index].start


_NONE: Final[list[Any]] = []
"""What a value has no members of, and nobody adds to: most values have none."""
_VALUE, _FIRST, _AFTER, _NAME, _COLON = range(5)
"""What is expected: a value, what follows an opening bracket, what follows a value, a name, a colon."""


class ValueReader:
    """Reads one value after another.

    Args:
        grammar: of the text.
        max_bytes: the largest value.
        max_depth: how many containers may be open at once.
        number_chars: the longest number.
    """

    __slots__ = (
        "_at",
        "_count",
        "_depth",
        "_expected",
        "_grammar",
        "_in_string",
        "_open",
        "_seen",
        "_token_start",
        "limits",
    )

    def __init__(self, grammar: Grammar, max_bytes: int, max_depth: int, number_chars: int) -> None:
        self._grammar = grammar
        self.limits = (max_bytes, max_depth, number_chars)
        self.begin(0)

    def begin(self, depth: int) -> None:
        """Expect a value in so many open containers."""
        self._at = 0
        self._depth = depth
        self._count = 0
        self._expected = _VALUE
        self._in_string = False
        self._token_start = 0
        self._open: list[Node] = []
        self._seen: list[set[str]] = []

    @property
    def has_begun(self) -> bool:
        """Whether something of the value was read."""
        return self._at > 0

    def read(self, data: Buffer, base: int, *, is_ended: bool) -> Node | None:
        """Go on, and return the value once it is whole.

        Args:
            data: the text.
            base: where the value begins there, at its first byte.
            is_ended: whether nothing follows the text.

        Raises:
            AnswerRefusedError: it is no value, or goes beyond a limit.
        """
        max_bytes, _, number_chars = self.limits
        size = len(data)
        stop = min(size, base + max_bytes)
        token = self._grammar.token
        while True:
            if not self._in_string and (match := token(data, base + self._at, stop)) is not None:
                kind = match.lastindex or 0
                start, end = match.span(kind)
                if kind == NUMBER and end - start > number_chars:
                    raise AnswerRefusedError(Reason.ANSWER_NUMBER_TOO_LONG)
            else:
                start, end = self._look_on(data, base, stop, is_ended=is_ended and stop == size)
                if end < 0:
                    if stop < size:
                        raise AnswerRefusedError(Reason.ANSWER_RECORD_TOO_LARGE)
                    return None
                kind = TEXT if data[start] == QUOTE else NUMBER
            self._at = end - base
            done = self._take(kind, data, base, start)
            if done is not None:
                return done

    def _look_on(self, data: Buffer, base: int, stop: int, *, is_ended: bool) -> tuple[int, int]:
        """Return where a token begins and ends that ended only now; the end is -1 where it has not."""
        if not self._in_string:
            skipped = self._grammar.skip(data, base + self._at, stop)
            start = skipped.end() if skipped else base + self._at
            self._at = start - base
            if start == stop:
                return start, -1
            if data[start] != QUOTE:
                return start, find_scalar_end(data, start, stop, self.limits[2], is_ended=is_ended)
            self._in_string = True
            self._token_start = self._at
            self._at += 1
        at, is_end = find_string_end(data, base + self._at, stop)
        self._at = at - base
        self._in_string = not is_end
        return base + self._token_start, at if is_end else -1

    def _take(self, kind: int, data: Buffer, base: int, start: int) -> Node | None:
        """Take a token; return the outermost value if it ends with it."""
        byte = data[start]
        expected = self._expected
        if kind == PUNCTUATION:
            return self._take_punctuation(byte, start - base)
        if expected == _VALUE or (expected == _FIRST and self._open[-1].kind == ARRAY):
            return self._close(Node(byte, start - base, self._at))
        if kind == TEXT and expected in {_NAME, _FIRST}:
            self._take_name(bytes(data[start : base + self._at]), start - base)
            return None
        raise AnswerRefusedError(Reason.ANSWER_MALFORMED)

    def _take_punctuation(self, byte: int, start: int) -> Node | None:
        expected = self._expected
        if byte in {OPEN_OBJECT, OPEN_ARRAY}:
            if expected == _VALUE or (expected == _FIRST and self._open[-1].kind == ARRAY):
                self._open_container(byte, start)
                return None
        elif byte == COMMA:
            if expected == _AFTER:
                self._expected = _NAME if self._open[-1].kind == OBJECT else _VALUE
                return None
        elif byte == COLON:
            if expected == _COLON:
                self._expected = _VALUE
                return None
        elif expected in {_FIRST, _AFTER} and byte == (CLOSE_OBJECT if self._open[-1].kind == OBJECT else CLOSE_ARRAY):
            self._seen.pop()
            node = self._open.pop()
            if not node.children:
                node.names = node.starts = node.children = _NONE
            node.end = self._at
            return self._close(node)
        raise AnswerRefusedError(Reason.ANSWER_MALFORMED)

    def _open_container(self, byte: int, start: int) -> None:
        if self._depth + len(self._open) >= self.limits[1]:
            raise AnswerRefusedError(Reason.ANSWER_TOO_DEEP)
        node = Node(byte, start)
        node.children = []
        if byte == OPEN_OBJECT:
            node.names, node.starts = [], []
        self._open.append(node)
        self._seen.append(set())
        self._expected = _FIRST

    def _take_name(self, raw: bytes, start: int) -> None:
        name, seen = read_string(raw), self._seen[-1]
        if name in seen:
            raise AnswerRefusedError(Reason.ANSWER_KEY_REPEATED)
        seen.add(name)
        node = self._open[-1]
        node.names.append(name)
        node.starts.append(start)
        self._expected = _COLON

    def _close(self, node: Node) -> Node | None:
        if not self._open:
            return node
        self._count += 1
        if self._count > MAX_VALUES:
            raise AnswerRefusedError(Reason.ANSWER_RECORD_TOO_LARGE)
        self._open[-1].children.append(node)
        self._expected = _AFTER
        return None
