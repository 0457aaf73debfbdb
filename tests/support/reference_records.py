# SPDX-License-Identifier: Apache-2.0
"""What becomes of one record: of whom it is, what is decided, and which of its fields leave."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.model.api import Transform, combine_transforms
from proxy.model.country import read_country
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.inspection import Field, Media, OnDenied
from proxy.model.json_path import JsonPath
from tests.support.json_source import Name, Node
from tests.support.reference_model import (
    Exact,
    Out,
    Reading,
    Tree,
    is_declared,
    is_map_alone,
    is_plain,
    left,
    select,
)


@dataclass
class Records:
    """Reads the records of one document."""

    reading: Reading

    def record(self, node: Node, name: Name | None) -> Out | None:
        inspection = self.reading.setting.inspection
        paths = [each.path for each in inspection.fields] + [
            each for each in (inspection.country, inspection.id) if each
        ]
        wants_object = any(path and isinstance(path[0], str) for path in paths)
        wants_container = any(paths)
        is_value = any(each.path == () for each in inspection.fields)
        if (is_value and not is_plain(node)) or (
            node.kind != "object" and (wants_object or (wants_container and node.kind != "array"))
        ):
            self.reading.expected.hard.add(Reason.ANSWER_SHAPE_UNDECLARED)
            return None
        if not node.is_container and not any(path == () for path in paths):
            self.reading.expected.moot.append("a scalar where a record stands, and nothing declared of it")
        country, id_ = self.countries(node), self.id(node, name)
        if node.end < 0:
            return None
        if len(self.reading.parsed.text(node)) > self.reading.setting.record_bytes:
            self.reading.expected.hard.add(Reason.ANSWER_RECORD_TOO_LARGE)
            return None
        self.reading.expected.seen += 1
        verdicts = [self.reading.setting.rules(each, id_) for each in country]
        denied = [verdict for verdict in verdicts if not verdict.is_allowed]
        undeclared_before = Reason.ANSWER_MEMBER_UNDECLARED in self.reading.expected.hard
        fitted = _Fields(self.reading, _combine(verdict.transforms for verdict in verdicts))
        out = fitted.take(node, [(each, each.path) for each in inspection.fields])
        if denied or fitted.is_unfit:
            if not undeclared_before and Reason.ANSWER_MEMBER_UNDECLARED in self.reading.expected.hard:
                self.reading.expected.hard.discard(Reason.ANSWER_MEMBER_UNDECLARED)
                self.reading.expected.soft.add(Reason.ANSWER_MEMBER_UNDECLARED)
            reasons = {verdict.decision.reason for verdict in denied} or {Reason.TRANSFORMS_NOT_APPLIED}
            self.deny(reasons)
            return None
        self.reading.expected.ids += [id_] if isinstance(id_, str) else []
        least, most = self.reading.expected.masked
        self.reading.expected.masked = (least + fitted.is_changed, most + fitted.is_transformed)
        return out if fitted.is_rewritten else Exact(self.reading.parsed.text(node))

    def deny(self, reasons: set[Reason]) -> None:
        inspection = self.reading.setting.inspection
        self.reading.expected.dropped += 1
        stands_alone = not inspection.records or isinstance(inspection.records[-1], str)
        if inspection.on_denied is OnDenied.REFUSE:
            self.reading.expected.hard |= reasons
        elif not stands_alone or (not inspection.records and inspection.media is not Media.JSON):
            return
        elif inspection.media is Media.JSON and all(isinstance(step, str) for step in inspection.records):
            self.reading.expected.hard |= reasons
        else:
            self.reading.expected.soft |= reasons
            self.reading.expected.moot.append("a single object that is denied, within one of many")

    def countries(self, node: Node) -> list[Fact[str]]:
        path = self.reading.setting.inspection.country
        found = [] if path is None else list(select(node, path))
        if any(each is None for each in found):
            self.reading.expected.soft |= {Reason.ANSWER_COUNTRY_MALFORMED, Reason.ANSWER_SHAPE_UNDECLARED}
        facts: list[Fact[str]] = []
        for value in found:
            if value is None:
                continue
            several = [child for _, child in value.children] if value.kind == "array" else [value]
            facts += [fact for fact in map(self.country, several, [value.kind == "array"] * len(several)) if fact]
        return list(dict.fromkeys(facts)) or [UNKNOWN]

    def country(self, node: Node, is_one_of: bool) -> Fact[str] | None:  # noqa: FBT001 - mapped
        if node.kind == "null":
            self.reading.expected.soft |= {Reason.ANSWER_COUNTRY_MALFORMED} if is_one_of else set()
            return UNKNOWN
        code = None
        if node.kind == "string" and node.end >= 0:
            code = read_country(self.reading.parsed.string(node), self.reading.setting.inspection.form)
        if code is None:
            self.reading.expected.hard.add(Reason.ANSWER_COUNTRY_MALFORMED)
        return code

    def id(self, node: Node, name: Name | None) -> Fact[str]:
        inspection = self.reading.setting.inspection
        if inspection.is_id_key:
            if name is None:
                self.reading.expected.soft.add(Reason.ANSWER_SHAPE_UNDECLARED)
            return UNKNOWN if name is None else self.id_text(name.text)
        found = [] if inspection.id is None else list(select(node, inspection.id))
        if not found:
            return UNKNOWN
        value = found[0]
        if len(found) > 1 or value is None:
            self.reading.expected.soft.add(Reason.ANSWER_SHAPE_UNDECLARED)
            self.reading.expected.moot.append("several ids, or something else on the way to one")
            return UNKNOWN
        if value.end < 0 or value.kind == "null":
            return UNKNOWN
        if value.kind == "string":
            return self.id_text(self.reading.parsed.string(value))
        text = self.reading.parsed.text(value).decode()
        if value.kind != "number" or {*text} & {*".eE"}:
            self.reading.expected.hard.add(Reason.ANSWER_SHAPE_UNDECLARED)
        return text

    def id_text(self, text: str) -> Fact[str]:
        if not text or any("\ud800" <= char <= "\udfff" for char in text):
            self.reading.expected.soft.add(Reason.ANSWER_SHAPE_UNDECLARED)
            self.reading.expected.moot.append("an id that is no text, or empty")
        return text


@dataclass
class _Fields:
    """Takes the declared fields of one record."""

    reading: Reading
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
        if not node.is_container or (node.kind == "array" and is_map_alone(fields)):
            self.reading.expected.moot.append("a scalar or array on the way to a declared field")
            return None
        out: list[tuple[Name | None, Out]] = []
        for name, child in node.children:
            below = left(fields, name)
            if not is_declared(below, child):
                self.is_rewritten = True
                self.reading.undeclared(name)
                continue
            made = self.take(child, below)
            if made is not None:
                out.append((name, made))
            elif name is None:
                out.append((name, Exact(b"null")))
        return Tree(node.kind, tuple(out))

    def value(self, node: Node, fields: Sequence[Field]) -> Out | None:
        if node.end < 0:
            return None
        raw = self.reading.parsed.text(node)
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
        made = self.reading.setting.transform(transform, raw, fields[0])
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
