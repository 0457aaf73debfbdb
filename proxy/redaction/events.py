# SPDX-License-Identifier: Apache-2.0
"""Server-sent events (WHATWG HTML 9.2): each event's data is a document.

- What leaves of an event is its type, its data, and the time after which to connect again. A type that is no plain
  word could hold anything: such an answer is refused.
- Its id does not leave: it says where among all events it stands, those that are dropped, too.
- Of a comment the colon leaves, since comments keep connections alive.
- An event without data is none. One that the answer ends in is not whole, and so is the answer.
"""

import re
from collections.abc import Callable
from typing import Final

from proxy.model.decision import Reason
from proxy.model.filtering import AnswerRefusedError
from proxy.redaction.documents import Documents
from proxy.redaction.outlet import Outlet

_LINE_END: Final = re.compile(rb"[\r\n]").search
_TYPE: Final = re.compile(rb"[A-Za-z0-9_.-]{0,64}").fullmatch
_RETRY: Final = re.compile(rb"[0-9]{1,9}").fullmatch
_CARRIAGE_RETURN: Final = 0x0D
_LINE_FEED: Final = 0x0A


class Events:
    """Reads events.

    Args:
        documents: reads their data.
        outlet: takes what is no data.
        max_bytes: the longest line, and the largest data.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_data",
        "_documents",
        "_is_after_return",
        "_max_bytes",
        "_outlet",
        "_searched",
        "_size",
        "_type",
    )

    def __init__(self, documents: Documents, outlet: Outlet, max_bytes: int) -> None:
        self._documents = documents
        self._outlet = outlet
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._at = 0
        self._searched = 0
        """Up to where in the buffer no line ends."""
        self._is_after_return = False
        """Whether the line before ended in a carriage return, so that a line feed belongs to it."""
        self._data: list[bytes] = []
        self._size = 0
        self._type = b""

    def read(self, data: bytes) -> None:
        """Take more of the stream, and go on as far as it reaches.

        Raises:
            AnswerRefusedError: it is not what is declared.
        """
        self._buffer += data
        while self._read_line():
            pass
        del self._buffer[: self._at]
        self._searched -= self._at
        self._at = 0

    def end(self) -> None:
        """Take the end of the stream.

        Raises:
            AnswerRefusedError: an event is not whole.
        """
        if self._buffer or self._data or self._type:
            raise AnswerRefusedError(Reason.ANSWER_INCOMPLETE)

    def _read_line(self) -> bool:
        buffer = self._buffer
        if self._is_after_return and self._at < len(buffer):
            self._is_after_return = False
            if buffer[self._at] == _LINE_FEED:
                self._at += 1
                self._searched = max(self._searched, self._at)
        match = _LINE_END(buffer, self._searched)
        end = match.start() if match else len(buffer)
        if end - self._at > self._max_bytes:
            raise AnswerRefusedError(Reason.ANSWER_RECORD_TOO_LARGE)
        self._searched = end + (match is not None)
        if match is None:
            return False
        line = bytes(buffer[self._at : end])
        self._is_after_return = buffer[end] == _CARRIAGE_RETURN
        self._at = end + 1
        self._take(line)
        return True

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            self._end_event()
        elif not name:
            self._pass(b":\n")
        elif name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            if self._size > self._max_bytes + 1:
                raise AnswerRefusedError(Reason.ANSWER_RECORD_TOO_LARGE)
        elif name == b"event":
            if not _TYPE(value):
                raise AnswerRefusedError(Reason.ANSWER_SHAPE_UNDECLARED)
            self._type = value
        elif name == b"retry" and _RETRY(value):
            self._pass(b"retry: %b\n" % value)

    def _pass(self, line: bytes) -> None:
        self._outlet.put(b"", line)
        self._outlet.end_document(bytes)

    def _end_event(self) -> None:
        data, self._data, self._size = self._data, [], 0
        type_, self._type = self._type, b""
        if data:
            self._documents.read_whole(b"\n".join(data), _framed(type_))


def _framed(type_: bytes) -> Callable[[bytes], bytes]:
    """Return what makes an event of a type out of a document."""
    head = b"event: %b\n" % type_ if type_ else b""
    return lambda document: b"%bdata: %b\n\n" % (head, document.replace(b"\n", b"\ndata: "))
