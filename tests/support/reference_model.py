# SPDX-License-Identifier: Apache-2.0
"""What may come of an answer, as values, and how paths are followed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypeVar

from proxy.model.api import Transform
from proxy.model.decision import Reason
from proxy.model.facts import Fact
from proxy.model.filtering import Verdict
from proxy.model.inspection import Field, Inspection, Member
from proxy.model.json_path import JsonPath, Step
from tests.support.json_source import Limits, Name, Node, Parsed

T = TypeVar("T")
Rules: TypeAlias = Callable[[Fact[str], Fact[str]], Verdict]
Transformer: TypeAlias = Callable[[Transform, bytes, Field], bytes | None]
Sealer: TypeAlias = Callable[[Member, str], str]
USUAL: Final = Limits()


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

    out: "Exact | Written | Tree"


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
    limits: Limits = USUAL


@dataclass
class Reading:
    """One document that is gone through, also one that ends too early."""

    setting: Setting
    parsed: Parsed
    expected: Expected

    def undeclared(self, name: Name | None) -> None:
        """Take note of something that nothing declares."""
        if self.setting.inspection.refuses_undeclared:
            self.expected.hard.add(Reason.ANSWER_MEMBER_UNDECLARED)
        if name is None:
            self.expected.moot.append("an undeclared element of an array")


def is_map_alone(paths: Sequence[tuple[T, JsonPath]]) -> bool:
    """Say whether nothing of an array could be declared."""
    return all(path and isinstance(path[0], str) for _, path in paths)


def is_plain(node: Node) -> bool:
    """Say whether a value can stand at a declared path: a scalar, or an array of nothing but scalars."""
    return not node.is_container or (node.kind == "array" and not any(child.is_container for _, child in node.children))


def is_declared(paths: Sequence[tuple[T, JsonPath]], node: Node) -> bool:
    """Say whether a value is declared, or on the way to what is: no path ends at what has members of its own."""
    return bool(paths) and (is_plain(node) or not any(rest == () for _, rest in paths))


def fits(step: Step, name: Name | None) -> bool:
    return not isinstance(step, str) or (name is not None and name.text == step)


def below(path: JsonPath | None, name: Name | None) -> JsonPath | None:
    return path[1:] if path and fits(path[0], name) else None


def left(paths: Sequence[tuple[T, JsonPath]], name: Name | None) -> list[tuple[T, JsonPath]]:
    return [(each, path[1:]) for each, path in paths if path and fits(path[0], name)]


def select(node: Node, path: JsonPath) -> Iterator[Node | None]:
    """Return the values at a path; None for one that something else stands in the way of."""
    if not path:
        yield node
    elif node.is_container:
        if node.kind == "array" and isinstance(path[0], str):
            yield None
        for name, child in node.children:
            if fits(path[0], name):
                yield from select(child, path[1:])
    elif node.kind != "null":
        yield None
