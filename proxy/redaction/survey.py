# SPDX-License-Identifier: Apache-2.0
"""What a unit holds: whose record it is, which declared values stand where, and what is undeclared.

A unit is what ``places`` says: an element, or the document, with one record in it.
"""

from collections.abc import Collection, Iterator, Mapping

from proxy.model.decision import Reason
from proxy.model.filtering import AnswerRefusedError
from proxy.model.inspection import Field, Inspection, Member
from proxy.model.json_path import EVERY, JsonPath
from proxy.redaction.places import Place, unit_steps
from proxy.redaction.values import ARRAY, NULL, OBJECT, Node


class Leaf:
    """A declared value that is there."""

    __slots__ = ("declared", "index", "node", "owner")

    def __init__(self, declared: Field | Member, node: Node, owner: Node | None, index: int) -> None:
        self.declared = declared
        self.node = node
        self.owner = owner
        """The container that it is in; None of the unit itself."""
        self.index = index


class Survey:
    """What was found in a unit.

    Args:
        place: of the unit.
        node: it.

    Raises:
        AnswerRefusedError: it is not what is declared.
    """

    __slots__ = ("_is_wild", "_refuses", "leaves", "lists", "nulls", "record", "strays", "undeclared")

    def __init__(self, inspection: Inspection, place: Place, node: Node) -> None:
        self.record = _find_record(inspection, node)
        self.leaves: list[Leaf] = []
        self.undeclared: dict[int, tuple[Node, list[int]]] = {}
        """By the start of a container: it, and the members or elements of it that do not leave."""
        self.lists: set[int] = set()
        """Starts of arrays of which every element is declared by itself."""
        self.strays: set[int] = set()
        """Starts of undeclared values where another kind of value would lead to something declared."""
        self._refuses = inspection.refuses_undeclared
        self._look(place, node, None, 0)

    def _look(self, place: Place, node: Node, owner: Node | None, index: int) -> None:
        if place.is_record and not _is_record(place, node):
            raise AnswerRefusedError(Reason.ANSWER_SHAPE_UNDECLARED)
        if place.leaf is not None:
            self.leaves.append(Leaf(place.leaf, node, owner, index))
            return
        if node.kind == ARRAY and place.others is not None and place.others.leaf is not None:
            self.lists.add(node.start)
        for at, child in enumerate(node.children):
            further = place.names.get(node.names[at], place.others) if node.kind == OBJECT else place.others
            if further is None or not _is_way(further, child):
                self._leave_out(node, at)
                if further is not None:
                    self.strays.add(child.start)
            else:
                self._look(further, child, node, at)

    def _leave_out(self, node: Node, index: int) -> None:
        if self._refuses:
            raise AnswerRefusedError(Reason.ANSWER_MEMBER_UNDECLARED)
        self.undeclared.setdefault(node.start, (node, []))[1].append(index)


def _is_record(place: Place, node: Node) -> bool:
    """Say whether a value can be the record that stands at a place: a container, or itself a declared value."""
    if place.leaf is not None:
        return is_plain(node)
    return node.kind == OBJECT or (node.kind == ARRAY and place.others is not None)


def _is_way(place: Place, node: Node) -> bool:
    """Say whether a value can be what stands at a place: declared, or a container that leads to what is."""
    if place.is_record or place.leads_to_records:
        return True
    if place.leaf is not None:
        return is_plain(node)
    return (
        node.kind == NULL
        or (bool(place.names) and node.kind == OBJECT)
        or (place.others is not None and node.kind in {OBJECT, ARRAY})
    )


def is_plain(node: Node) -> bool:
    """Say whether a value is what a declared path can mean: a scalar, or a list of scalars.

    An object has members, and none of them is declared by the name of the object.
    """
    if node.kind == OBJECT:
        return False
    return node.kind != ARRAY or not any(child.kind in {OBJECT, ARRAY} for child in node.children)


def _find_record(inspection: Inspection, node: Node) -> Node:
    """Return the record of a unit."""
    records = inspection.records
    for step in records[unit_steps(records) :]:
        if node.kind != OBJECT or step not in node.names:
            raise AnswerRefusedError(Reason.ANSWER_SHAPE_UNDECLARED)
        node = node.children[node.names.index(step)]
    return node


def follow(path: JsonPath, node: Node, fault: Reason) -> Iterator[Node]:
    """Yield what stands at a path; nothing where it is missing, or ``null`` is on the way.

    Raises:
        AnswerRefusedError: with the reason that is given, where something else is on the way.
    """
    if not path:
        yield node
    elif node.kind == OBJECT:
        for at, name in enumerate(node.names):
            if path[0] is EVERY or path[0] == name:
                yield from follow(path[1:], node.children[at], fault)
    elif node.kind == ARRAY and path[0] is EVERY:
        for child in node.children:
            yield from follow(path[1:], child, fault)
    elif node.kind != NULL:
        raise AnswerRefusedError(fault)


def cuts(node: Node, out: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield which stretches of a container go with members or elements of it, so that the rest is as well formed.

    What goes takes the comma before it along; what goes before the first that stays, the comma behind it.
    """
    kept = [at for at in range(len(node.children)) if at not in out]
    if not kept:
        yield node.begin_of(0), node.children[-1].end
        return
    if kept[0]:
        yield node.begin_of(0), node.begin_of(kept[0])
    for at in range(kept[0] + 1, len(node.children)):
        if at in out:
            yield node.children[at - 1].end, node.children[at].end


class Edits:
    """What becomes of stretches of a unit: they go, or something stands in their place.

    Args:
        survey: of the unit.
        removed: leaves that go, by number.
        replaced: leaves in whose place something stands.
    """

    __slots__ = ("gone", "replaced")

    def __init__(self, survey: Survey, removed: Collection[int], replaced: Collection[int]) -> None:
        out: dict[int, tuple[Node, list[int]]] = {
            start: (node, list(indexes)) for start, (node, indexes) in survey.undeclared.items()
        }
        self.replaced: dict[tuple[int, int], int] = {}
        """Stretch to number of the leaf; with what is removed where a container needs something in its place."""
        for number in removed:
            leaf = survey.leaves[number]
            if leaf.owner is not None and leaf.owner.kind == OBJECT:
                out.setdefault(leaf.owner.start, (leaf.owner, []))[1].append(leaf.index)
            else:
                self.replaced[leaf.node.start, leaf.node.end] = number
        for number in replaced:
            node = survey.leaves[number].node
            self.replaced[node.start, node.end] = number
        self.gone: list[tuple[int, int]] = []
        for node, indexes in out.values():
            self.gone.extend(cuts(node, set(indexes)))

    def apply(self, raw: bytes, values: Mapping[int, bytes]) -> bytes:
        """Return a unit with its edits.

        Args:
            raw: the unit.
            values: what stands in the place of leaves, by number.
        """
        stretches = [(start, end, b"") for start, end in self.gone]
        stretches += [(start, end, values[number]) for (start, end), number in self.replaced.items()]
        parts, at = [], 0
        for start, end, value in sorted(stretches):
            parts += [raw[at:start], value]
            at = end
        return b"".join([*parts, raw[at:]])
