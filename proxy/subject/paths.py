# SPDX-License-Identifier: Apache-2.0
"""Where subjects stand in a body of JSON, by JSONPath (RFC 9535): read by a library, followed here.

A path has names, indexes and wildcards, and descends once at most. It has no slice, no list and no filter: what these
leave out reaches the API unjudged. More is asked of a body than the library would (docs/adr/0014-selectors.md):

- every value on its way has what its next step names: one record without an id is a request without a subject;
- no member beside one that it names is called alike: many readers know no letter case (Go's ``encoding/json``, .NET),
  and those of protocol buffers take ``user_id`` for ``userId``;
- it does not lead to more than ``MAX_VALUES`` values, on its way either.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec
from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError
from jsonpath.segments import JSONPathRecursiveDescentSegment, JSONPathSegment
from jsonpath.selectors import IndexSelector, NameSelector, WildcardSelector

from proxy.model.decision import Reason
from proxy.model.json_path import MAX_STEPS
from proxy.model.query import fold_name

MAX_LENGTH: Final = 1000
"""Characters of a path."""
MAX_VALUES: Final = 1000
_ENVIRONMENT: Final = JSONPathEnvironment(strict=True)


class Step(msgspec.Struct, frozen=True):
    """One step of a path: to a member, to an element, or to all of both."""

    name: str | None = None
    index: int | None = None
    descends: bool = False
    """Whether it is taken from everything below, too."""

    def has_alike(self, names: Iterable[str]) -> bool:
        """Say whether some reader would take one of these members for the one that it leads to."""
        if self.name is None:
            return False
        folded = fold_name(self.name)
        for each in names:  # noqa: SIM110 - twice as fast, over all that a caller sends
            if each != self.name and fold_name(each) == folded:
                return True
        return False


class BodyPath(msgspec.Struct, frozen=True):
    """A path into documents."""

    steps: tuple[Step, ...]

    @property
    def stem(self) -> tuple[Step, ...] | None:
        """What it has in common with paths to other members of the same objects; None where it leads to no member."""
        last = self.steps[-1]
        return None if last.name is None or last.descends else self.steps[:-1]

    def find(self, document: Any) -> list[Any] | Reason:
        """Return what stands in a document where the path leads, at least one value; or why nobody can tell."""
        values = [document]
        for step in self.steps:
            below: list[Any] = []
            for value in values:
                found = _descend(step, value) if step.descends else _take(step, value)
                if isinstance(found, Reason):
                    return found
                if not found:
                    return Reason.SUBJECT_MISSING
                below += found
                if len(below) > MAX_VALUES:
                    return Reason.SUBJECTS_EXCEEDED
            values = below
        return values


@lru_cache(maxsize=1024)
def compile_selector(text: str) -> BodyPath:
    """Return a path; ValueError with a sentence if the text is none that may find subjects."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a JSONPath of {len(text)} characters is longer than {MAX_LENGTH}")
    try:
        path = _ENVIRONMENT.compile(text)
    except (JSONPathError, RecursionError) as error:
        raise ValueError(f"{text!r} is no JSONPath (RFC 9535), such as $.user.id or $.users[*].id") from error
    segments = path.segments if isinstance(path, JSONPath) else ()
    if not segments:
        raise ValueError(f"{text!r} is the whole body: say where in it, such as $.user.id or $.ids[*]")
    if len(segments) > MAX_STEPS:
        raise ValueError(f"{text!r} has more than {MAX_STEPS} steps")
    steps = tuple([_read_step(text, segment) for segment in segments])
    if sum(step.descends for step in steps) > 1:
        raise ValueError(f"{text!r} descends more than once: name the members above the second `..`")
    return BodyPath(steps)


def _read_step(text: str, segment: JSONPathSegment) -> Step:
    descends = isinstance(segment, JSONPathRecursiveDescentSegment)
    match segment.selectors:
        case (NameSelector() as selector,):
            return Step(name=selector.name, descends=descends)
        case (IndexSelector() as selector,) if not descends:
            return Step(index=selector.index)
        case (WildcardSelector(),) if not descends:
            return Step()
    raise ValueError(
        f"{text!r} selects by a filter, a slice, a list or from everything below, and what that leaves out or takes in "
        "is not sure to be what the API reads: select every element with [*], or a member with ..name"
    )


def _take(step: Step, value: Any) -> list[Any] | Reason:
    """Return what a step leads to; the reason why some reader would go elsewhere."""
    if step.name is not None:
        if not isinstance(value, dict):
            return []
        if step.has_alike(value):
            return Reason.SUBJECT_MALFORMED
        return [value[step.name]] if step.name in value else []
    if step.index is not None:
        in_it = isinstance(value, list) and -len(value) <= step.index < len(value)
        return [value[step.index]] if in_it else []
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _descend(step: Step, value: Any) -> list[Any] | Reason:
    """Return what a step leads to from a value and everything in it, in the order of the text."""
    found: list[Any] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            taken = _take(step, each)
            if isinstance(taken, Reason):
                return taken
            found += taken
            below = reversed(each.values())
        elif isinstance(each, list):
            below = reversed(each)
        else:
            continue
        waiting += [held for held in below if isinstance(held, dict | list)]
    return found
