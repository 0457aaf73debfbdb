# SPDX-License-Identifier: Apache-2.0
"""JSON written oddly: any gaps, any escapes; put together to answers, cut into parts, broken."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Final

from hypothesis import strategies as st

from proxy.model.inspection import Media

COMMENT: Final = b"q7799999z"
"""What stands in the fields of events that nothing declares."""


@dataclass
class Draft:
    """A value as drawn: members or elements, or the JSON text of a scalar."""

    kind: str
    children: list[tuple[str, "Draft"]] = field(default_factory=list)
    text: str = ""


@dataclass(frozen=True)
class Style:
    """How values are written: what stands in the gaps, and how characters are escaped, over and over."""

    gaps: tuple[bytes, ...] = (b"",)
    escapes: tuple[int, ...] = (0,)
    ends: tuple[bytes, ...] = (b"\n",)


def styles(media: Media, *, is_uniform: bool) -> st.SearchStrategy[Style]:
    blank = {
        Media.JSON: (b"", b"", b" ", b"\n", b"\r\n", b"\t \n  "),
        Media.LINES: (b"", b"", b" ", b"\t"),
        Media.EVENTS: (b"", b"", b" ", b"\n"),
    }[media]
    ends: tuple[tuple[bytes, ...], ...] = ((b"\n",), (b"\r\n",), (b"\n", b"\r\n"))
    if media is Media.EVENTS:
        ends = (*ends, (b"\r",))
    return st.builds(
        Style,
        st.lists(st.sampled_from(blank), min_size=1, max_size=1 if is_uniform else 5).map(tuple),
        st.lists(st.sampled_from((0, 0, 0, 1, 2, 3)), min_size=1, max_size=1 if is_uniform else 7).map(tuple),
        st.sampled_from(ends),
    )


_SHORT: Final = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Writer:
    """Writes drafts as JSON."""

    def __init__(self, style: Style) -> None:
        self.gaps: Iterator[bytes] = cycle(style.gaps)
        self.escapes: Iterator[int] = cycle(style.escapes)

    def write(self, draft: Draft) -> bytes:
        return next(self.gaps) + self.value(draft) + next(self.gaps)

    def value(self, draft: Draft) -> bytes:
        if draft.kind == "string":
            return self.string(draft.text)
        if draft.kind not in {"object", "array"}:
            return draft.text.encode()
        items = []
        for name, child in draft.children:
            head = next(self.gaps) + self.string(name) + next(self.gaps) + b":" if draft.kind == "object" else b""
            items.append(head + self.write(child))
        inner = b",".join(items) or next(self.gaps)
        return b"{%b}" % inner if draft.kind == "object" else b"[%b]" % inner

    def string(self, text: str) -> bytes:
        return b'"' + b"".join(self.char(char) for char in text) + b'"'

    def char(self, char: str) -> bytes:
        how = next(self.escapes)
        must = char < " " or char in '"\\' or "\ud800" <= char <= "\udfff"
        if char in _SHORT and (how == 3 or (must and how == 0)):
            return _SHORT[char].encode()
        if how in {1, 2} or must:
            units = char.encode("utf-16-be", "surrogatepass")
            form = "\\u%04X" if how == 2 else "\\u%04x"
            return "".join(form % int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)).encode()
        return char.encode()


def join(media: Media, documents: list[bytes], style: Style) -> bytes:
    """Put documents together to an answer."""
    ends = cycle(style.ends)
    if media is Media.JSON:
        return documents[0]
    if media is Media.LINES:
        return b"".join(document + next(ends) for document in documents)
    return b"".join(_event(number, document, ends) for number, document in enumerate(documents))


def _event(number: int, document: bytes, ends: Iterator[bytes]) -> bytes:
    lines = [(b"data:", b"data: ")[number % 2] + line for line in document.split(b"\n")]
    if number % 3 == 1:
        lines = [b": " + COMMENT, b"event: change", b"id: " + COMMENT, *lines, b"retry: 1000", b"other: " + COMMENT]
    return b"".join(line + next(ends) for line in [*lines, b""])


def split(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Cut data into parts of sizes, over and over; no sizes: one part."""
    at = 0
    for size in cycle(sizes or [len(data) or 1]):
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size


SPLITS: Final = st.one_of(
    st.just([1]),
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.just([7]),
    st.lists(st.integers(1, 400), max_size=3),
)
PIECES: Final = (
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"',
    b"\\",
    b"\x00",
    b"\n",
    b"\xff",
    b"\xc3",
    b"e",
    b"-",
    b"\xef\xbb\xbf",
)


@st.composite
def broken(draw: st.DrawFn, body: bytes) -> bytes:
    """A body with a piece too much, or cut off."""
    at = draw(st.integers(0, len(body)))
    piece = draw(st.sampled_from((None, *PIECES)))
    return body[:at] if piece is None else body[:at] + piece + body[at:]


def texts_in(data: bytes) -> str:
    """Return all that a body says, escapes read: what is looked for is plain ASCII."""
    text = data.decode("utf-8", "replace")
    plain = text
    for code in range(0x20, 0x7F):
        for form in (f"\\u{code:04x}", f"\\u{code:04X}"):
            plain = plain.replace(form, chr(code))
    return text + "\n" + plain
