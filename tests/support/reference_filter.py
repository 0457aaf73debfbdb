# SPDX-License-Identifier: Apache-2.0
"""What a filter of answers has to come to: slow, over the whole document, and independent of the product's own.

Where an answer has several flaws, or where two readings of one are both safe, more than one outcome is right:
``Expected`` says which. Where the declaration does not say what becomes of something odd, it is moot, and all that
counts is that nothing denied leaves.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from proxy.model.api import Transform, combine_transforms
from proxy.model.country import read_country
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.filtering import Verdict
from proxy.model.inspection import Beyond, Field, Inspection, Media, Member, OnDenied
from proxy.model.json_path import JsonPath, Step
from tests.support.json_source import Limits, Name, Node, Parsed, data_of, parse, read_events, read_lines

_T = TypeVar("_T")
Rules: TypeAlias = Callable[[Fact[str], Fact[str]], Verdict]
Transformer: TypeAlias = Callable[[Transform, bytes, Field], bytes | None]
Sealer: TypeAlias = Callable[[Member, str], str]


@dataclass(frozen=True)
class Exact:
    """These bytes."""

    text: bytes


@dataclass(frozen=True)
class Written:
    """This string, however it is escaped."""

    text: str


@dataclass(frozen=True)
class Tree:
    """These members or elements, whatever stands between them."""

    kind: str
    children: tuple[tuple[Name | None, "Out"], ...]


@dataclass(frozen=True)
class Maybe:
    """This, or nothing."""

    out: "Out"


Out: TypeAlias = Exact | Written | Tree | Maybe


@dataclass(frozen=True)
class Document:
    """One document that leaves: an answer has one, newline-delimited JSON and events many."""

    out: Out
    type: str = "message"
    """Of the event."""


@dataclass
class Expected:
    """What may come of an answer."""

    documents: list[Document] = field(default_factory=list)
    hard: set[Reason] = field(default_factory=set)
    """It has to be refused, for one of these, or of those that follow."""
    soft: set[Reason] = field(default_factory=set)
    """It may be refused for one of these."""
    moot: list[str] = field(default_factory=list)
    """What the declaration does not say. Then only what is true of any outcome can be asked."""
    seen: int = 0
    dropped: int = 0
    ids: list[str] = field(default_factory=list)
    masked: tuple[int, int] = (0, 0)
    """At least (records that a transform changed), at most (records with a transform on a value of theirs)."""


@dataclass(frozen=True)
class Setting:
    """What a filter is made of."""

    inspection: Inspection
    rules: Rules
    transform: Transformer
    seal: Sealer | None
    hides: bool
    record_bytes: int = 1_048_576
    limits: Limits = Limits()


def expect(setting: Setting, data: bytes) -> Expected:
    """Return what may come of an answer."""
    expected = Expected()
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
    walk = _Walk(setting, parsed, Expected())
    out = None if parsed.root is None else walk.envelope(parsed.root, setting.inspection.records, _members(setting), 0)
    found = walk.expected
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


def _members(setting: Setting) -> list[tuple[Member, JsonPath]]:
    return [(member, member.path) for member in setting.inspection.members]


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
    if rest:
        _read(setting, expected, rest)


def _read_events(setting: Setting, expected: Expected, data: bytes) -> None:
    if data.startswith(b"\xef\xbb\xbf"):
        expected.moot.append("a byte order mark before the events")
    try:
        data.decode()
    except UnicodeDecodeError:
        expected.soft |= {Reason.ANSWER_MALFORMED, Reason.ANSWER_INCOMPLETE}
        expected.moot.append("events that are not UTF-8")
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
    if rest:
        expected.hard.add(Reason.ANSWER_INCOMPLETE)
        for text in data_of(rest):
            _read(setting, expected, text)


@dataclass
class _Walk:
    """Goes through one document, also through one that ends too early."""

    setting: Setting
    parsed: Parsed
    expected: Expected
    is_reached: bool = False
    """Whether something stands where the records do."""

    def undeclared(self) -> None:
        if self.setting.inspection.refuses_undeclared:
            self.expected.hard.add(Reason.ANSWER_MEMBER_UNDECLARED)

    def envelope(
        self,
        node: Node,
        records: JsonPath | None,
        members: Sequence[tuple[Member, JsonPath]],
        stars: int,
        name: Name | None = None,
    ) -> Out | None:
        """Return what leaves of a value on the way to records and members, None where it does not."""
        if records == ():
            return self.record(node, name)
        for member, rest in members:
            if rest == ():
                return self.member(node, member)
        if not node.is_container:
            if records is not None:
                self.expected.hard.add(Reason.ANSWER_SHAPE_UNDECLARED)
            else:
                self.expected.moot.append("a scalar on the way to a declared member")
            return None
        if records is not None and node.kind == "array" and isinstance(records[0], str):
            self.expected.hard.add(Reason.ANSWER_SHAPE_UNDECLARED)
        out: list[tuple[Name | None, Out]] = []
        is_there = False
        for child_name, child in node.children:
            below = _below(records, child_name)
            is_there = is_there or below is not None
            left = _left(members, child_name)
            if below is None and not left:
                self.undeclared()
                if child_name is None:
                    self.expected.moot.append("an undeclared element of an array")
                continue
            more = stars + (below is not None and records is not None and not isinstance(records[0], str))
            made = self.envelope(child, below, left, more, child_name)
            if made is not None:
                out.append((child_name, made))
        if records is not None and isinstance(records[0], str) and not is_there and node.kind == "object":
            (self.expected.soft if stars else self.expected.hard).add(Reason.ANSWER_SHAPE_UNDECLARED)
        return Tree(node.kind, tuple(out))

    def member(self, node: Node, member: Member) -> Out | None:
        if node.end < 0:
            return None
        exact = Exact(self.parsed.text(node))
        if member.beyond is Beyond.NOTHING or not self.setting.hides:
            return exact
        if member.beyond is Beyond.TOTAL or self.setting.seal is None:
            return None
        if node.kind == "null":
            return Maybe(exact)
        if node.kind == "string":
            return Written(self.setting.seal(member, self.parsed.string(node)))
        if node.kind == "number":
            return Maybe(Written(self.setting.seal(member, exact.text.decode())))
        self.expected.moot.append("a cursor that is no string")
        return None

    # Records.

    def record(self, node: Node, name: Name | None) -> Out | None:
        inspection = self.setting.inspection
        paths = [each.path for each in inspection.fields] + [each for each in (inspection.country, inspection.id) if each]
        wants_object = any(path and isinstance(path[0], str) for path in paths)
        wants_container = any(paths)
        if node.kind != "object" and (wants_object or (wants_container and node.kind != "array")):
            self.expected.hard.add(Reason.ANSWER_SHAPE_UNDECLARED)
            return None
        if not node.is_container and not any(path == () for path in paths):
            self.expected.moot.append("a scalar where a record stands, and nothing declared of it")
        country, id_ = self.countries(node), self.id(node, name)
        if node.end < 0:
            return None
        if len(self.parsed.text(node)) > self.setting.record_bytes:
            self.expected.hard.add(Reason.ANSWER_RECORD_TOO_LARGE)
            return None
        self.expected.seen += 1
        verdicts = [self.setting.rules(each, id_) for each in country]
        denied = [verdict for verdict in verdicts if not verdict.is_allowed]
        undeclared_before = Reason.ANSWER_MEMBER_UNDECLARED in self.expected.hard
        fitted = _Fields(self, _combine(verdict.transforms for verdict in verdicts))
        out = fitted.take(node, [(each, each.path) for each in inspection.fields])
        if denied or fitted.is_unfit:
            if not undeclared_before and Reason.ANSWER_MEMBER_UNDECLARED in self.expected.hard:
                self.expected.hard.discard(Reason.ANSWER_MEMBER_UNDECLARED)
                self.expected.soft.add(Reason.ANSWER_MEMBER_UNDECLARED)
            reasons = {verdict.decision.reason for verdict in denied} or {Reason.TRANSFORMS_NOT_APPLIED}
            self.deny(reasons)
            return None
        self.expected.ids += [id_] if isinstance(id_, str) else []
        least, most = self.expected.masked
        self.expected.masked = (least + fitted.is_changed, most + fitted.is_transformed)
        return out if fitted.is_rewritten else Exact(self.parsed.text(node))

    def deny(self, reasons: set[Reason]) -> None:
        inspection = self.setting.inspection
        self.expected.dropped += 1
        stands_alone = not inspection.records or isinstance(inspection.records[-1], str)
        if inspection.on_denied is OnDenied.REFUSE:
            self.expected.hard |= reasons
        elif not stands_alone or (not inspection.records and inspection.media is not Media.JSON):
            return
        elif inspection.media is Media.JSON and all(isinstance(step, str) for step in inspection.records):
            self.expected.hard |= reasons
        else:
            self.expected.soft |= reasons
            self.expected.moot.append("a single object that is denied, within one of many")

    def countries(self, node: Node) -> list[Fact[str]]:
        path = self.setting.inspection.country
        found = [] if path is None else list(_select(node, path))
        if any(each is None for each in found):
            self.expected.soft |= {Reason.ANSWER_COUNTRY_MALFORMED, Reason.ANSWER_SHAPE_UNDECLARED}
        facts: list[Fact[str]] = []
        for value in found:
            if value is None:
                continue
            several = [child for _, child in value.children] if value.kind == "array" else [value]
            facts += [fact for fact in map(self.country, several, [value.kind == "array"] * len(several)) if fact]
        return list(dict.fromkeys(facts)) or [UNKNOWN]

    def country(self, node: Node, is_one_of: bool) -> Fact[str] | None:  # noqa: FBT001 - mapped
        if node.kind == "null":
            self.expected.soft |= {Reason.ANSWER_COUNTRY_MALFORMED} if is_one_of else set()
            return UNKNOWN
        code = None
        if node.kind == "string" and node.end >= 0:
            code = read_country(self.parsed.string(node), self.setting.inspection.form)
        if code is None:
            self.expected.hard.add(Reason.ANSWER_COUNTRY_MALFORMED)
        return code

    def id(self, node: Node, name: Name | None) -> Fact[str]:
        inspection = self.setting.inspection
        if inspection.is_id_key:
            if name is None:
                self.expected.soft.add(Reason.ANSWER_SHAPE_UNDECLARED)
            return UNKNOWN if name is None else self.id_text(name.text)
        found = [] if inspection.id is None else list(_select(node, inspection.id))
        if not found:
            return UNKNOWN
        value = found[0]
        if len(found) > 1 or value is None:
            self.expected.soft.add(Reason.ANSWER_SHAPE_UNDECLARED)
            self.expected.moot.append("several ids, or something else on the way to one")
            return UNKNOWN
        if value.end < 0 or value.kind == "null":
            return UNKNOWN
        if value.kind == "string":
            return self.id_text(self.parsed.string(value))
        text = self.parsed.text(value).decode()
        if value.kind != "number" or {*text} & {*".eE"}:
            self.expected.hard.add(Reason.ANSWER_SHAPE_UNDECLARED)
        return text

    def id_text(self, text: str) -> Fact[str]:
        if not text or any("\ud800" <= char <= "\udfff" for char in text):
            self.expected.soft.add(Reason.ANSWER_SHAPE_UNDECLARED)
            self.expected.moot.append("an id that is no text, or empty")
        return text


@dataclass
class _Fields:
    """Takes the declared fields of one record."""

    walk: _Walk
    transforms: dict[str, Transform]
    is_unfit: bool = False
    is_rewritten: bool = False
    is_transformed: bool = False
    is_changed: bool = False

    def take(self, node: Node, fields: Sequence[tuple[Field, JsonPath]]) -> Out | None:
        """Return what leaves of a value, None where it is cut."""
        here = [each for each, rest in fields if rest == ()]
        if here:
            return self.value(node, here)
        if not node.is_container:
            self.walk.expected.moot.append("a scalar on the way to a declared field")
            return None
        out: list[tuple[Name | None, Out]] = []
        for name, child in node.children:
            left = _left(fields, name)
            if not left:
                self.is_rewritten = True
                self.walk.undeclared()
                if name is None:
                    self.walk.expected.moot.append("an undeclared element of an array")
                continue
            made = self.take(child, left)
            if made is not None:
                out.append((name, made))
            elif name is None:
                out.append((name, Exact(b"null")))
        return Tree(node.kind, tuple(out))

    def value(self, node: Node, fields: Sequence[Field]) -> Out | None:
        if node.end < 0:
            return None
        raw = self.walk.parsed.text(node)
        acting = [find_transform(self.transforms, each.category) for each in fields]
        transform = None
        for each in acting:
            transform = combine_transforms(transform, each) if transform and each else transform or each
        if transform is None:
            return Exact(raw)
        self.is_rewritten = self.is_transformed = True
        if transform is Transform.REMOVE:
            self.is_changed = True
            return None
        made = self.walk.setting.transform(transform, raw, fields[0])
        if made is None:
            self.is_unfit = True
            return None
        self.is_changed = self.is_changed or made != raw
        return Exact(made)


def find_transform(transforms: dict[str, Transform], category: str) -> Transform | None:
    """Return what is done to fields of a category: what names it, what is above it, and what is below it."""
    found: Transform | None = None
    for named, transform in transforms.items():
        if f"{category}.".startswith(f"{named}.") or f"{named}.".startswith(f"{category}."):
            found = transform if found is None else combine_transforms(found, transform)
    return found


def _combine(all_transforms: Iterable[object]) -> dict[str, Transform]:
    combined: dict[str, Transform] = {}
    for transforms in all_transforms:
        assert isinstance(transforms, dict)
        for category, transform in transforms.items():
            before = combined.get(category)
            combined[category] = transform if before is None else combine_transforms(before, transform)
    return combined


def _fits(step: Step, name: Name | None) -> bool:
    return not isinstance(step, str) or (name is not None and name.text == step)


def _below(path: JsonPath | None, name: Name | None) -> JsonPath | None:
    return path[1:] if path and _fits(path[0], name) else None


def _left(paths: Sequence[tuple[_T, JsonPath]], name: Name | None) -> list[tuple[_T, JsonPath]]:
    return [(each, path[1:]) for each, path in paths if path and _fits(path[0], name)]


def _select(node: Node, path: JsonPath) -> Iterable[Node | None]:
    """Return the values at a path; None for one that something else stands in the way of."""
    if not path:
        yield node
    elif node.is_container:
        if node.kind == "array" and isinstance(path[0], str):
            yield None
        for name, child in node.children:
            if _fits(path[0], name):
                yield from _select(child, path[1:])
    elif node.kind != "null":
        yield None
