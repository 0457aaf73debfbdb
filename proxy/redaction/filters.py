# SPDX-License-Identifier: Apache-2.0
"""The filter of an answer: bytes in, in parts of any size, and out of them what may leave.

Bytes that are no UTF-8 (RFC 3629) go no further than here; what stands before them is dealt with first, so that the
first fault in the order of the bytes is told, wherever the parts end.
"""

from codecs import utf_8_decode
from typing import Final, NamedTuple

from proxy.model.decision import Reason
from proxy.model.filtering import AnswerRefusedError, Content, Filter, Judge
from proxy.model.inspection import Inspection, Media
from proxy.redaction.documents import Documents, Means
from proxy.redaction.events import Events
from proxy.redaction.grammar import DOCUMENT, LINE, Grammar
from proxy.redaction.kept_shapes import KeptShapes
from proxy.redaction.outlet import Outlet
from proxy.redaction.places import Place, find_unit, locate
from proxy.redaction.rendering import Renderer
from proxy.redaction.rulings import Rulings
from proxy.redaction.shapes import Learner
from proxy.redaction.survey import Survey
from proxy.redaction.treatment import Treatment
from proxy.redaction.values import ValueReader

MAX_ROUTES: Final = 256
"""Routes whose shapes are kept."""


class _Known(NamedTuple):
    """What is known of a route."""

    inspection: Inspection
    root: Place
    unit: Place
    grammar: Grammar
    kept: KeptShapes


class _Knowledge:
    """What is known of routes: it follows from what they declare and from what was seen of it, and decides nothing."""

    def __init__(self) -> None:
        self._routes: dict[tuple[int, int, int, int], _Known] = {}

    def of(self, inspection: Inspection, limits: tuple[int, int, int]) -> _Known:
        """Return what is known of a route, by the identity of what it declares."""
        key = (id(inspection), *limits)
        known = self._routes.get(key)
        if known is None:
            if len(self._routes) == MAX_ROUTES:
                self._routes.pop(next(iter(self._routes)))
            grammar = LINE if inspection.media is Media.LINES else DOCUMENT
            root = locate(inspection)
            kept = KeptShapes(Learner(inspection, grammar, limits[2]))
            known = self._routes[key] = _Known(inspection, root, find_unit(root, inspection.records), grammar, kept)
        return known


_KNOWLEDGE: Final = _Knowledge()


class RecordFilter:
    """Filters one answer; see ``proxy.model.filtering.Filter``.

    Args:
        inspection: what is declared.
        judge: decides records.
        treatment: of the answer.
    """

    def __init__(self, inspection: Inspection, judge: Judge, treatment: Treatment) -> None:
        limits = (treatment.record_bytes, treatment.depth, treatment.number_chars)
        known = _KNOWLEDGE.of(inspection, limits)
        rulings = Rulings(inspection, judge, treatment)

        def resurvey(raw: bytes) -> Survey:
            node = ValueReader(known.grammar, *limits).read(raw, 0, is_ended=True)
            if node is None:
                raise AnswerRefusedError(Reason.ANSWER_INCOMPLETE)
            return Survey(inspection, known.unit, node)

        self._outlet = outlet = Outlet(inspection, rulings, Renderer(rulings, resurvey))
        reader = ValueReader(known.grammar, *limits)
        documents = Documents(
            Means(inspection, known.grammar, known.root, known.unit, reader, known.kept, rulings, outlet)
        )
        self._is_events = inspection.media is Media.EVENTS
        self._source = Events(documents, outlet, treatment.record_bytes) if self._is_events else documents
        self._rest = b""
        """The beginning of a character."""
        self.is_waiting = False
        """Whether it stands before a record that the judge cannot decide yet."""
        self._is_over = False
        """Whether nothing is read any more: the end has come, or something that is refused."""

    def feed(self, data: bytes) -> bytes:
        """Take more of the body, and return what may leave by now."""
        self._outlet.retry()
        if data and not self._is_over:
            text, self._rest, is_broken = _cut(self._rest + data if self._rest else data)
            self._read(text, is_broken=is_broken)
        return self._take()

    def end(self) -> bytes:
        """Take the end of the body, and return the rest of what may leave."""
        self._outlet.retry()
        if not self._is_over:
            self._is_over = True
            try:
                self._source.end()
            except AnswerRefusedError as error:
                self._outlet.fail(error)
            if self._rest:
                self._outlet.fail(AnswerRefusedError(Reason.ANSWER_INCOMPLETE))
        return self._take()

    def _take(self) -> bytes:
        self.is_waiting = self._outlet.is_waiting
        return self._outlet.take(whole_documents=self._is_events)

    def take_content(self) -> Content:
        """Return what was found since this was called last."""
        return self._outlet.tally.take()

    def _read(self, text: bytes, *, is_broken: bool) -> None:
        try:
            self._source.read(text)
        except AnswerRefusedError as error:
            self._is_over = True
            self._outlet.fail(error)
        if is_broken and not self._is_over:
            self._is_over = True
            self._outlet.fail(AnswerRefusedError(Reason.ANSWER_MALFORMED))


def make_filter(inspection: Inspection, judge: Judge, treatment: Treatment) -> Filter:
    """Return the filter of an answer.

    Args:
        inspection: what its route declares.
        judge: decides records.
        treatment: of the answer.
    """
    return RecordFilter(inspection, judge, treatment)


def _cut(data: bytes) -> tuple[bytes, bytes, bool]:
    """Return the whole characters at the beginning, the beginning of the next, and whether what follows is none."""
    if data.isascii():
        return data, b"", False
    try:
        _, end = utf_8_decode(data, "strict", False)  # noqa: FBT003 - whether the end has come
    except UnicodeDecodeError as error:
        return data[: error.start], b"", True
    return data[:end], data[end:], False
