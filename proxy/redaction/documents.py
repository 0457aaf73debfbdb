# SPDX-License-Identifier: Apache-2.0
"""Documents of JSON, read from the top down to the units, one after another.

Containers on the way to records and to declared members are gone through as they come; everything else is a value that
is read whole: a unit, a declared member, an undeclared one. So what is held is at most one value.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.filtering import AnswerRefusedError
from proxy.model.inspection import Beyond, Inspection, Member
from proxy.redaction.grammar import (
    CLOSE_ARRAY,
    CLOSE_OBJECT,
    COLON,
    COMMA,
    LINE,
    OPEN_ARRAY,
    OPEN_OBJECT,
    QUOTE,
    Grammar,
    read_string,
)
from proxy.redaction.kept_shapes import KeptShapes
from proxy.redaction.outlet import Outlet, end_line
from proxy.redaction.places import Place
from proxy.redaction.rendering import Batch, Unit
from proxy.redaction.rulings import Rulings, countries_of, id_of, read_id
from proxy.redaction.shapes import Shape
from proxy.redaction.survey import Survey, is_plain
from proxy.redaction.values import NULL, Node, ValueReader

MAX_NAMES: Final = 65_536
"""Of an object on the way to the records: each is remembered, to know it again."""
MAX_GLANCE_BYTES: Final = 262_144
"""That are matched at once."""
LINE_FEED: Final = 0x0A
SPACE: Final = 0x20


class Means(NamedTuple):
    """What reading takes."""

    inspection: Inspection
    grammar: Grammar
    root: Place
    unit: Place
    """The place of units that no name sets apart from others."""
    reader: ValueReader
    kept: KeptShapes
    rulings: Rulings
    outlet: Outlet


class _Container:
    """One that is open."""

    __slots__ = ("is_object", "names", "place")

    def __init__(self, place: Place, *, is_object: bool) -> None:
        self.place = place
        self.is_object = is_object
        self.names: set[str] = set()


_VALUE, _FIRST, _NAME, _COLON, _AFTER, _DONE = range(6)
"""What is expected: a value, what follows an opening bracket, a name, a colon, what follows a value, no more."""


class Documents:
    """Reads documents.

    Args:
        means: what it takes.
    """

    def __init__(self, means: Means) -> None:
        self._means = means
        self._space = means.grammar.skip
        self._is_lines = means.grammar is LINE
        space = means.grammar.space
        self._separators = re.compile(
            rb"%b\n" % space if means.root is means.unit else rb"%b,%b" % (space, space)
        ).match
        """Matches what stands between two units in a row."""
        self._max_bytes, self._max_depth, _ = means.reader.limits
        self._data = bytearray()
        self._at = 0
        self._is_ended = False
        self._is_reading = False
        """Whether a value was begun to be read by the book."""
        self._glanced = 0
        """How many bytes there were when no shape matched."""
        self._met: Shape | None = None
        """That of the unit before, where a shape was found."""
        self._run: Shape | None = None
        """That of the last two units in a row."""
        self._separator = b""
        """What stood between two units before."""
        self._frame: Callable[[bytes], bytes] = end_line if self._is_lines else bytes
        self._begin()

    def _begin(self) -> None:
        self._open: list[_Container] = []
        self._place: Place | None = self._means.root
        self._raw_name = b""
        self._name = ""
        self._expected = _VALUE
        self._is_empty = True
        """Whether nothing of the document has come."""

    def read(self, data: bytes) -> None:
        """Take more of the text, and go on as far as it reaches.

        Raises:
            AnswerRefusedError: it is not what is declared.
        """
        self._data += data
        steps = (
            self._read_value,
            self._read_first,
            self._read_name,
            self._read_colon,
            self._read_after,
            self._read_on,
        )
        while steps[self._expected]():
            pass
        if self._at:
            del self._data[: self._at]
            self._at = 0

    def end(self) -> None:
        """Take the end of the text.

        Raises:
            AnswerRefusedError: it is not whole, or not what is declared.
        """
        self._is_ended = True
        self.read(b"")
        if self._expected == _DONE:
            self._means.outlet.end_document(self._frame)
        elif not self._is_empty:
            raise AnswerRefusedError(Reason.ANSWER_INCOMPLETE)
        elif not self._is_lines:
            raise AnswerRefusedError(Reason.ANSWER_EMPTY)

    def read_whole(self, data: bytes, frame: Callable[[bytes], bytes]) -> None:
        """Read one document, and begin anew.

        Args:
            data: the document.
            frame: in which what is left of it leaves.

        Raises:
            AnswerRefusedError: it is not what is declared.
        """
        self._frame = frame
        self.read(data)
        self.end()
        self._is_ended = False
        self._begin()

    # Each step reads one thing, and says whether there may be another.

    def _look(self) -> int:
        """Return the next byte that is no space; -1 where there is none yet."""
        data, at = self._data, self._at
        if at < len(data) and data[at] <= SPACE:
            skipped = self._space(data, at)
            self._at = at = skipped.end() if skipped else at
        return data[at] if at < len(data) else -1

    def _read_first(self) -> bool:
        container = self._open[-1]
        byte = self._look()
        if byte == (CLOSE_OBJECT if container.is_object else CLOSE_ARRAY):
            self._close()
        elif byte >= 0:
            self._expected = _NAME if container.is_object else _VALUE
        return byte >= 0

    def _read_name(self) -> bool:
        byte = self._look()
        if byte < 0:
            return False
        if byte != QUOTE:
            raise AnswerRefusedError(Reason.ANSWER_MALFORMED)
        found = self._read_by_book()
        if found is None:
            return False
        container = self._open[-1]
        self._raw_name = found[0]
        self._name = read_string(self._raw_name)
        if self._name in container.names:
            raise AnswerRefusedError(Reason.ANSWER_KEY_REPEATED)
        if len(container.names) == MAX_NAMES:
            raise AnswerRefusedError(Reason.ANSWER_TOO_LARGE)
        container.names.add(self._name)
        self._place = container.place.names.get(self._name, container.place.others)
        self._expected = _COLON
        return True

    def _read_colon(self) -> bool:
        byte = self._look()
        if byte == COLON:
            self._at += 1
            self._expected = _VALUE
        elif byte >= 0:
            raise AnswerRefusedError(Reason.ANSWER_MALFORMED)
        return byte >= 0

    def _read_after(self) -> bool:
        container = self._open[-1]
        byte = self._look()
        if byte == COMMA:
            self._at += 1
            self._expected = _NAME if container.is_object else _VALUE
        elif byte == (CLOSE_OBJECT if container.is_object else CLOSE_ARRAY):
            self._close()
        elif byte >= 0:
            raise AnswerRefusedError(Reason.ANSWER_MALFORMED)
        return byte >= 0

    def _read_on(self) -> bool:
        """Read what follows a document: another one where each is a line, else nothing."""
        byte = self._look()
        if byte < 0:
            return False
        if byte != LINE_FEED or not self._is_lines:
            raise AnswerRefusedError(Reason.ANSWER_MALFORMED)
        self._at += 1
        self._means.outlet.end_document(self._frame)
        self._begin()
        return True

    def _read_value(self) -> bool:
        if not self._is_reading:
            byte = self._look()
            if byte < 0:
                return False
            if byte == LINE_FEED and self._is_lines and self._is_empty:
                self._at += 1
                return True
            self._is_empty = False
            if self._enter(byte):
                return True
        if self._place is self._means.unit and self._glance():
            return True
        found = self._read_by_book()
        if found is None:
            return False
        self._glanced = 0
        self._take_value(*found)
        self._value_ends()
        return True

    # Containers.

    def _enter(self, byte: int) -> bool:
        """Open a container on the way to something that is declared; False where none begins."""
        place = self._place
        if place is None or place.is_unit or place.leaf is not None:
            return False
        is_object = byte == OPEN_OBJECT
        if not is_object and (byte != OPEN_ARRAY or place.others is None or place.needed is not None):
            return False
        if len(self._open) >= self._max_depth:
            raise AnswerRefusedError(Reason.ANSWER_TOO_DEEP)
        self._means.outlet.open(self._raw_name, b"{" if is_object else b"[")
        self._open.append(_Container(place, is_object=is_object))
        self._at += 1
        self._begin_item()
        self._expected = _FIRST
        return True

    def _begin_item(self) -> None:
        self._raw_name = b""
        self._name = ""
        self._place = self._open[-1].place.others if self._open else None

    def _close(self) -> None:
        container = self._open.pop()
        needed = container.place.needed
        if needed is not None and needed not in container.names:
            raise AnswerRefusedError(Reason.ANSWER_SHAPE_UNDECLARED)
        self._at += 1
        self._means.outlet.close(b"}" if container.is_object else b"]")
        self._value_ends()

    def _value_ends(self) -> None:
        self._begin_item()
        self._expected = _AFTER if self._open else _DONE

    # Values.

    def _read_by_book(self) -> tuple[bytes, Node] | None:
        """Return the value that begins here, None where it is not whole yet."""
        reader = self._means.reader
        if not self._is_reading:
            reader.begin(len(self._open))
            self._is_reading = True
        node = reader.read(self._data, self._at, is_ended=self._is_ended)
        if node is None:
            return None
        self._is_reading = False
        end = self._at + node.end
        raw = bytes(self._data[self._at : end])
        self._at = end
        return raw, node

    def _take_value(self, raw: bytes, node: Node) -> None:
        means, place = self._means, self._place
        if place is None:
            is_declared = False
        elif place.is_unit:
            self._take_unit(place, raw, node)
            return
        elif place.leads_to_records:
            raise AnswerRefusedError(Reason.ANSWER_SHAPE_UNDECLARED)
        else:
            is_declared = node.kind == NULL or (place.leaf is not None and is_plain(node))
        if not is_declared:
            if means.inspection.refuses_undeclared:
                raise AnswerRefusedError(Reason.ANSWER_MEMBER_UNDECLARED)
        elif place is not None and isinstance(place.leaf, Member):
            self._take_member(place.leaf, raw)
        else:
            means.outlet.put(self._raw_name, raw)

    def _take_member(self, member: Member, raw: bytes) -> None:
        means = self._means
        how = means.rulings.beyond(member)
        made: bytes | None = raw
        if how is not None:
            made = None if how is Beyond.TOTAL else means.rulings.changer(member, how)(raw)
        if made is not None or not self._raw_name:
            means.outlet.put(self._raw_name, b"null" if made is None else made)

    def _take_unit(self, place: Place, raw: bytes, node: Node) -> None:
        means, inspection = self._means, self._means.inspection
        survey = Survey(inspection, place, node)
        countries = countries_of(inspection, survey.record, raw)
        if place is means.unit:
            means.kept.note(raw, node, survey)
        means.outlet.unit(Unit(raw, self._raw_name, countries, self._id_of(survey, raw), None, survey))

    def _id_of(self, survey: Survey, raw: bytes) -> Fact[str]:
        inspection = self._means.inspection
        if inspection.is_id_key:
            return self._name if self._raw_name else UNKNOWN
        return id_of(inspection, survey.record, raw)

    # Units of a known shape.

    def _glance(self) -> bool:
        """Take units that look as others did; False where none stands here, or none that is whole."""
        available = len(self._data) - self._at
        if available < 2 * self._glanced:
            return False
        start = self._at
        while self._expected == _VALUE:
            if self._run is not None and not self._raw_name and self._glance_at_many(self._run):
                continue
            found = self._find_shape()
            if found is None:
                self._run = None
                self._glanced = len(self._data) - self._at
                break
            self._take_recognised(*found)
        return self._at > start

    def _find_shape(self) -> tuple[Shape, re.Match[bytes]] | None:
        stop = min(len(self._data), self._at + self._max_bytes)
        for shape in self._means.kept.shapes:
            match = shape.plain.match(self._data, self._at, stop)
            if match is not None:
                return shape, match
        return None

    def _take_recognised(self, shape: Shape, match: re.Match[bytes]) -> None:
        means, plan = self._means, shape.plain
        if means.inspection.is_id_key:
            id_: Fact[str] = self._name if self._raw_name else UNKNOWN
        else:
            id_ = read_id(match[plan.id]) if plan.id else UNKNOWN
        self._is_reading = False
        self._glanced = 0
        self._at = match.end()
        country = match[plan.country] if plan.country else b""
        means.outlet.recognised(shape, match[1], self._raw_name, country, id_)
        is_again = means.kept.shapes[0] is shape
        means.kept.meet(shape)
        behind = (
            None if self._raw_name or not (self._open or self._is_lines) else self._separators(self._data, self._at)
        )
        if behind is None:
            self._value_ends()
            return
        self._separator = behind[0]
        self._run = shape if is_again else None
        self._at = behind.end()
        if not self._open:
            means.outlet.end_document(self._frame)
            self._begin()

    def _glance_at_many(self, shape: Shape) -> bool:
        """Take units in a row of one shape, each with what stood behind the one before; False where there is none."""
        outlet = self._means.outlet
        size = min(MAX_GLANCE_BYTES, self._max_bytes)
        with memoryview(self._data) as view, view[self._at : self._at + size] as text:
            batch = Batch(shape, outlet.plan_of(shape), text, self._separator, is_lines=not self._open)
            if not batch.count:
                return False
            self._at += batch.size
            outlet.batch(batch)
        if not self._open:
            self._begin()
        return True
