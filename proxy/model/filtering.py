# SPDX-License-Identifier: Apache-2.0
"""What becomes of the records of an answer.

``redaction`` reads answers and knows no rule; ``pipeline`` judges records and knows no JSON. What passes between them
stands here.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from proxy.model.api import Transform
from proxy.model.decision import NO_TRANSFORMS, Decision, Reason
from proxy.model.facts import Fact


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What becomes of records of one subject, or of many that no rule tells apart."""

    decision: Decision
    is_allowed: bool
    transforms: Mapping[str, Transform] = NO_TRANSFORMS
    """Data category to what is done to fields of it, and below it; ``remove`` for what a deny takes alone."""


class Judge(Protocol):
    """Decides records."""

    tells_ids: bool
    """Whether the id of a subject has a part in it; else there is one verdict for a country."""

    def judge(self, country: Fact[str], id_: Fact[str]) -> Verdict | None:
        """Return what becomes of a record, None where somebody must be asked first.

        Where it is None, the judge has taken note of what must be asked: whoever filters looks ahead, so that all of a
        batch is asked at once, and comes again.

        Args:
            country: of the subject, as the record has it.
            id_: of the subject; unknown where the record has none.
        """
        ...


class Content(msgspec.Struct, frozen=True):
    """What was found in records since this was last asked, and what of it leaves."""

    seen: int = 0
    dropped: int = 0
    masked: int = 0
    """Records that leave with a field transformed."""
    ids: tuple[str, ...] = ()
    """Of the subjects of the records that leave, in their order; with repetitions."""
    by_verdict: tuple[tuple[Verdict, int], ...] = ()
    """How many records each verdict was given to."""
    unfit: int = 0
    """Records that were dropped because a transform did not fit a value."""


LEFT: Final = "left"
MASKED: Final = "masked"
DROPPED: Final = "dropped"


class RecordCount(msgspec.Struct, frozen=True):
    """How many records came to the same, for records and metrics."""

    what: str
    """``left``, ``masked`` or ``dropped``."""
    rule: str
    """The determining rule, or a reason where none is."""
    country: str
    """Of their subjects: a code, ``unknown``, or ``several``."""
    count: int


class AnswerRefusedError(Exception):
    """An answer may not leave, or not go on.

    Args:
        reason: why.
        verdict: on the record that is denied, where that is why.
    """

    def __init__(self, reason: Reason, verdict: Verdict | None = None) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.verdict = verdict


class Filter(Protocol):
    """Reads a body in parts, and returns what of it may leave. What it returns does not hang on where the parts end."""

    is_waiting: bool
    """Whether it stands before a record that the judge cannot decide yet: ``feed(b"")`` tries again."""

    def feed(self, data: bytes) -> bytes:
        """Take more of the body, and return what may leave by now.

        Raises:
            AnswerRefusedError: it may not go on. Nothing of what was returned before was wrong.
        """
        ...

    def end(self) -> bytes:
        """Take the end of the body, and return the rest of what may leave.

        Raises:
            AnswerRefusedError: as above; a body that is not whole, too.
        """
        ...

    def take_content(self) -> Content:
        """Return what was found since this was called last, in what was returned up to now."""
        ...
