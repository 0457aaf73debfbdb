# SPDX-License-Identifier: Apache-2.0
"""What a filter of answers has to come to: slow, over the whole document, and independent of the product's own.

Where an answer has several flaws, or where two readings of one are both safe, more than one outcome is right:
``Expected`` says which. Where the declaration does not say what becomes of something odd, it is moot, and all that
counts is that nothing denied leaves.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.model.decision import Reason
from proxy.model.inspection import Beyond, Media, Member
from proxy.model.json_path import JsonPath
from tests.support.json_source import Name, Node, data_of, parse, read_events, read_lines
from tests.support.reference_model import (
    Document,
    Exact,
    Expected,
    Maybe,
    Out,
    Reading,
    Setting,
    Tree,
    Written,
    below,
    is_declared,
    is_map_alone,
    left,
)
from tests.support.reference_records import Records


def expect(setting: Setting, data: bytes) -> Expected:
    """Return what may come of an answer."""
    expected = Expected()
    if len(data) > setting.record_bytes:  # a line, an event and what stands outside of records are bounded, too
        expected.soft.add(Reason.ANSWER_RECORD_TOO_LARGE)
    media = setting.inspection.media
    if media is Media.JSON:
        _read(setting, expected, data)
    elif media is Media.LINES:
        _read_lines(setting, expected, data)
    else:
        _read_events(setting, expected, data)
    return expected


def _read(setting: Setting, expected: Expected, data: bytes, event: str = "message") -> bool:
    """Add one document; return whether whoever reads may go on behind it."""
    parsed = parse(data, setting.limits)
    found = Expected()
    way = _Way(setting.inspection.records, [(member, member.path) for member in setting.inspection.members])
    out = None if parsed.root is None else _walk(Reading(setting, parsed, found), parsed.root, way)
    expected.moot += found.moot
    expected.seen, expected.dropped = expected.seen + found.seen, expected.dropped + found.dropped
    expected.ids += found.ids
    expected.masked = (expected.masked[0] + found.masked[0], expected.masked[1] + found.masked[1])
    if parsed.flaws:
        expected.hard |= parsed.flaws
        expected.soft |= found.hard | found.soft
        return False
    expected.hard |= found.hard
    expected.soft |= found.soft
    if out is not None and not isinstance(out, Maybe):
        expected.documents.append(Document(out, event))
    return not found.hard


def _read_lines(setting: Setting, expected: Expected, data: bytes) -> None:
    whole, rest = read_lines(data)
    if not any(whole) and not rest:
        expected.soft.add(Reason.ANSWER_EMPTY)
    for line in whole:
        if not line:
            continue
        if not line.strip(b" \t\r"):
            expected.moot.append("a line of nothing but spaces")
            return
        if not _read(setting, expected, line):
            if Reason.ANSWER_INCOMPLETE in expected.hard:
                expected.hard.add(Reason.ANSWER_MALFORMED)
            return
    if rest.strip(b" \t\r"):
        _read(setting, expected, rest)
    elif rest:
        expected.moot.append("a line of nothing but spaces")


def _read_events(setting: Setting, expected: Expected, data: bytes) -> None:
    if data.startswith(b"\xef\xbb\xbf"):
        expected.moot.append("a byte order mark before the events")
    try:
        data.decode()
    except UnicodeDecodeError:
        expected.soft |= {Reason.ANSWER_MALFORMED, Reason.ANSWER_INCOMPLETE}
        expected.moot.append("events that are not UTF-8")
    if re.search(rb"(?:^|[\r\n])event: ?[^\r\n]*[^\r\nA-Za-z0-9_.-]", data):
        expected.soft.add(Reason.ANSWER_SHAPE_UNDECLARED)
    events, rest = read_events(data)
    if not events:
        expected.soft.add(Reason.ANSWER_EMPTY)
    for event in events:
        if not event.data.strip():
            expected.hard |= {Reason.ANSWER_EMPTY, Reason.ANSWER_MALFORMED, Reason.ANSWER_INCOMPLETE}
            return
        if not _read(setting, expected, event.data, event.type):
            if Reason.ANSWER_INCOMPLETE in expected.hard:
                expected.hard.add(Reason.ANSWER_MALFORMED)
            return
    texts = [*data_of(rest)]
    (expected.hard if texts else expected.soft).update({Reason.ANSWER_INCOMPLETE} if rest else ())
    for text in texts:
        _read(setting, expected, text)


@dataclass(frozen=True)
class _Way:
    """What is still to be followed from a value on."""

    records: JsonPath | None
    members: Sequence[tuple[Member, JsonPath]]
    is_among_many: bool = False
    """Whether a wildcard was passed on the way to the records."""

    def follow(self, name: Name | None) -> "_Way":
        further = below(self.records, name)
        passed = further is not None and self.records is not None and not isinstance(self.records[0], str)
        return _Way(further, left(self.members, name), self.is_among_many or passed)

    @property
    def wants_name(self) -> bool:
        """Whether the records stand below a member, rather than below each."""
        return self.records is not None and bool(self.records) and isinstance(self.records[0], str)


def _walk(reading: Reading, node: Node, way: _Way, name: Name | None = None) -> Out | None:
    """Return what leaves of a value on the way to records and members, None where it does not."""
    if way.records == ():
        return Records(reading).record(node, name)
    for member, rest in way.members:
        if rest == ():
            return _take_member(reading, node, member)
    if not _leads_on(reading, node, way):
        return None
    out: list[tuple[Name | None, Out]] = []
    has_records = False
    for child_name, child in node.children:
        further = way.follow(child_name)
        has_records = has_records or further.records is not None
        if further.records is None and not is_declared(further.members, child):
            reading.undeclared(child_name)
            continue
        made = _walk(reading, child, further, child_name)
        if made is None and child_name is None and further.records is None:
            made = Maybe(Exact(b"null"))  # of a total among others
        if made is not None:
            out.append((child_name, made))
    if way.wants_name and not has_records:
        reasons = reading.expected.soft if way.is_among_many else reading.expected.hard
        reasons.add(Reason.ANSWER_SHAPE_UNDECLARED)
    return Tree(node.kind, tuple(out))


def _leads_on(reading: Reading, node: Node, way: _Way) -> bool:
    """Say whether records or members can stand below a value."""
    if way.records is not None and (not node.is_container or (way.wants_name and node.kind == "array")):
        reading.expected.hard.add(Reason.ANSWER_SHAPE_UNDECLARED)
        return False
    if not node.is_container or (way.records is None and node.kind == "array" and is_map_alone(way.members)):
        reading.expected.moot.append("a scalar or an array on the way to a declared member")
        return False
    return True


def _take_member(reading: Reading, node: Node, member: Member) -> Out | None:
    if node.end < 0:
        return None
    exact = Exact(reading.parsed.text(node))
    if member.beyond is Beyond.NOTHING or not reading.setting.hides:
        return exact
    seal = reading.setting.seal
    if member.beyond is Beyond.TOTAL or seal is None:
        return None
    if node.is_container or node.kind in {"true", "false"}:
        reading.expected.moot.append("a cursor that is no text")
        return None
    if node.kind == "string":
        return Written(seal(member, reading.parsed.string(node)))
    return Maybe(exact if node.kind == "null" else Written(seal(member, exact.text.decode())))
