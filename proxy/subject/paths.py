# SPDX-License-Identifier: Apache-2.0
"""Where subjects stand in a body of JSON: JSONPath (RFC 9535), by ``python-jsonpath``; docs/adr/0014-selectors.md.

A path has names, indexes and wildcards, and descends once at most. It selects no slice and no filter: what these leave
out reaches the API unjudged. So that nobody hides a subject from it,

- every value on its way has what its next step names: one record without an id is a request without a subject;
- no member beside one that it names is called alike: many readers know no letter case (Go's ``encoding/json``, .NET),
  and those of protocol buffers take ``user_id`` for ``userId``.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError, JSONPathMatch
from jsonpath.segments import JSONPathRecursiveDescentSegment, JSONPathSegment
from jsonpath.selectors import IndexSelector, NameSelector, WildcardSelector

from proxy.model.decision import Reason
from proxy.model.json_path import MAX_STEPS
from proxy.model.query import fold_name

MAX_LENGTH: Final = 1000
"""Characters of a path."""
_ENVIRONMENT: Final = JSONPathEnvironment(strict=True)
_ROOT: Final = _ENVIRONMENT.compile("$")


class BodyPath:
    """A path into documents.

    Args:
        segments: each with one selector: a name, an index or the wildcard.
    """

    __slots__ = ("_folded", "_segments", "stem")

    def __init__(self, segments: tuple[JSONPathSegment, ...]) -> None:
        self._segments = segments
        self._folded = tuple([_fold(segment) for segment in segments])
        self.stem = "".join(map(str, segments[:-1])) if _names(segments[-1:]) else None
        """What two paths to members of the same objects have in common; None where it leads to no member."""

    def find(self, document: Any) -> list[Any] | Reason:
        """Return what stands in a document where the path leads, at least one value; or why nobody can tell."""
        if not isinstance(document, dict | list):
            return Reason.SUBJECT_MISSING  # the library would read a text as one more document
        nodes = list(_ROOT.finditer(document))
        for segment, folded in zip(self._segments, self._folded, strict=True):
            below: list[JSONPathMatch] = []
            for node in nodes:
                if folded is not None and _has_alike(segment, node.obj, *folded):
                    return Reason.SUBJECT_MALFORMED
                found = list(segment.resolve([node]))
                if not found:
                    return Reason.SUBJECT_MISSING
                below += found
            nodes = below
        return [node.obj for node in nodes]


@lru_cache(maxsize=1024)
def compile_selector(text: str) -> BodyPath:
    """Return a path; ValueError with a sentence if the text is none that may find subjects."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a JSONPath of {len(text)} characters is longer than {MAX_LENGTH}")
    try:
        path = _ENVIRONMENT.compile(text)
    except (JSONPathError, RecursionError) as error:
        raise ValueError(f"{text!r} is no JSONPath (RFC 9535), such as $.user.id or $.users[*].id") from error
    if not isinstance(path, JSONPath):
        raise ValueError(f"{text!r} is more than one JSONPath: write one")  # noqa: TRY004 - of the text
    if not path.segments:
        raise ValueError(f"{text!r} is the whole body: say where in it, such as $.user.id or $.ids[*]")
    if len(path.segments) > MAX_STEPS:
        raise ValueError(f"{text!r} has more than {MAX_STEPS} steps")
    if sum(isinstance(each, JSONPathRecursiveDescentSegment) for each in path.segments) > 1:
        raise ValueError(f"{text!r} descends more than once: name the members above the second ..")
    for segment in path.segments:
        if len(segment.selectors) != 1 or not isinstance(
            segment.selectors[0], NameSelector | IndexSelector | WildcardSelector
        ):
            raise ValueError(
                f"{text!r} has a filter, a slice or a list, and what that leaves out would reach the API unjudged: "
                "select every element with [*]"
            )
    return BodyPath(path.segments)


def _names(segments: tuple[JSONPathSegment, ...]) -> bool:
    return all(
        isinstance(each.selectors[0], NameSelector) and not isinstance(each, JSONPathRecursiveDescentSegment)
        for each in segments
    )


def _fold(segment: JSONPathSegment) -> tuple[str, tuple[str, ...]] | None:
    """Return the name of a step, as it is and as the laxest reader takes it; None where it names nothing."""
    selector = segment.selectors[0]
    return (selector.name, fold_name(selector.name)) if isinstance(selector, NameSelector) else None


def _has_alike(segment: JSONPathSegment, value: Any, name: str, folded: tuple[str, ...]) -> bool:
    """Say whether some reader would take another member for the one that a step names."""
    held = _walk(value) if isinstance(segment, JSONPathRecursiveDescentSegment) else iter((value,))
    return any(key != name and fold_name(key) == folded for each in held if isinstance(each, dict) for key in each)


def _walk(value: Any) -> Iterator[Any]:
    """Yield a value and everything in it."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
