# SPDX-License-Identifier: Apache-2.0
"""What has left, held against what the reference filter says of it."""

import json

from proxy.model.decision import Reason
from proxy.model.filtering import AnswerRefusedError, Content
from proxy.model.inspection import Media
from tests.support.json_source import Limits, Node, Parsed, parse, read_events, read_lines
from tests.support.judging import Run, TableJudge
from tests.support.reference_filter import expect
from tests.support.reference_model import Document, Exact, Expected, Maybe, Out, Setting, Tree, Written

ANY: Limits = Limits(10_000, 10_000_000)


def compare(out: Out, parsed: Parsed, node: Node, where: str = "$") -> None:
    """Fail where what has left is not what had to."""
    if isinstance(out, Maybe):
        out = out.out
    if isinstance(out, Exact):
        assert parsed.text(node) == out.text, f"{where}: {parsed.text(node)!r} is not {out.text!r}"
    elif isinstance(out, Written):
        assert node.kind == "string", f"{where}: not a string"
        assert parsed.string(node) == out.text, f"{where}: {parsed.text(node)!r} is not {out.text!r}"
    else:
        assert node.kind == out.kind, f"{where}: {node.kind} for {out.kind}"
        _compare_children(out, parsed, node, where)


def _compare_children(out: Tree, parsed: Parsed, node: Node, where: str) -> None:
    left = list(node.children)
    for number, (name, child) in enumerate(out.children):
        at = f"{where}[{number if name is None else name.text!r}]"
        is_next = bool(left) and (name is None or (left[0][0] is not None and left[0][0].raw == name.raw))
        if isinstance(child, Maybe) and not is_next:
            continue
        assert is_next, f"{at}: not there"
        compare(child, parsed, left.pop(0)[1], at)
    assert not left, f"{where}: {len(left)} more than may leave: {parsed.text(left[0][1])!r}"


def read_documents(media: Media, data: bytes) -> list[tuple[str, bytes]]:
    """Read what has left as a strict reader does, as event types and documents."""
    if media is Media.JSON:
        return [("message", data)]
    if media is Media.LINES:
        whole, rest = read_lines(data)
        return [("message", line) for line in [*whole, *([rest] if rest else [])]]
    events, incomplete = read_events(data)
    assert all(line.startswith((b":", b"retry:")) for line in incomplete), (
        "what has left ends in the middle of an event"
    )
    return [(event.type, event.data) for event in events]


def read_compact(media: Media, data: bytes) -> list[tuple[str, bytes]]:
    """Read what has left, without its gaps: names and scalars as they are written."""
    compact = []
    for type_, document in read_documents(media, data):
        parsed = parse(document, ANY)
        assert parsed.root is not None
        assert not parsed.flaws
        compact.append((type_, _without_gaps(parsed, parsed.root)))
    return compact


def _without_gaps(parsed: Parsed, node: Node) -> bytes:
    if not node.is_container:
        return parsed.text(node)
    items = [(b"" if name is None else name.raw + b":") + _without_gaps(parsed, child) for name, child in node.children]
    return (b"{%b}" if node.kind == "object" else b"[%b]") % b",".join(items)


def check_output(setting: Setting, expected: Expected, data: bytes) -> None:
    """Fail where a whole output is not what it had to be."""
    documents = read_documents(setting.inspection.media, data)
    for _, document in documents:
        parsed = parse(document, ANY)
        assert not parsed.flaws, f"what has left is not JSON: {parsed.flaws} {document!r}"
    if expected.moot:
        return
    assert len(documents) == len(expected.documents), "documents went missing, or too many left"
    for (type_, document), wanted in zip(documents, expected.documents, strict=True):
        assert type_ == wanted.type
        parsed = parse(document, ANY)
        assert parsed.root is not None
        compare(wanted.out, parsed, parsed.root)


def check_run(setting: Setting, expected: Expected, run: Run) -> None:
    """Fail where a run came to something that is not among what may come of the answer."""
    if run.reason is not None:
        assert expected.moot or run.reason in expected.hard | expected.soft, f"nothing is {run.reason}"
        return
    assert not expected.hard, f"let pass what is {expected.hard}"
    check_output(setting, expected, run.output)
    if not expected.moot:
        assert (run.seen, run.dropped) == (expected.seen, expected.dropped)
        assert run.ids == expected.ids
        assert expected.masked[0] <= run.masked <= expected.masked[1]


# The reference as a filter: nothing leaves before the end.


def render(out: Out) -> bytes:
    if isinstance(out, Exact):
        return out.text
    if isinstance(out, Written):
        return json.dumps(out.text).encode()
    if isinstance(out, Maybe):
        return render(out.out)
    items = [(b"" if name is None else name.raw + b":") + render(child) for name, child in out.children]
    return (b"{%b}" if out.kind == "object" else b"[%b]") % b",".join(items)


def render_all(media: Media, documents: list[Document]) -> bytes:
    texts = [(each.type, render(each.out)) for each in documents]
    if media is Media.JSON:
        return b"".join(text for _, text in texts)
    if media is Media.LINES:
        return b"".join(text + b"\n" for _, text in texts)
    return b"".join(
        b"event: %b\n%b\n" % (type_.encode(), b"".join(b"data: %b\n" % line for line in text.split(b"\n")))
        for type_, text in texts
    )


class ReferenceFilter:
    """Takes a whole body, and then says what may leave."""

    is_waiting = False

    def __init__(self, setting: Setting, judge: TableJudge) -> None:
        self._setting = setting
        self._data = b""
        self._expected = Expected()

    def feed(self, data: bytes) -> bytes:
        self._data += data
        return b""

    def end(self) -> bytes:
        self._expected = expected = expect(self._setting, self._data)
        reasons = expected.hard or (expected.soft if expected.moot else set[Reason]())
        if reasons:
            raise AnswerRefusedError(min(reasons))
        return render_all(self._setting.inspection.media, expected.documents)

    def take_content(self) -> Content:
        found, self._expected = self._expected, Expected()
        return Content(found.seen, found.dropped, found.masked[0], tuple(found.ids))
