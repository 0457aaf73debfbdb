# SPDX-License-Identifier: Apache-2.0
"""A look into one answer: its body goes in as it comes, what may leave comes out, and what was found is counted.

- Up to a size an answer is judged whole before anything of it leaves: what goes wrong is then a refusal.
- A larger one leaves as it is judged, unless a denied record refuses all of it: that must be known before. Events have
  no end, and are broken off at such a record.
- Where refusals are only observed the answer leaves as it came, and it is counted what would not have left.
"""

import math
from typing import Final

import msgspec

from proxy.model.decision import Decision, Effect, Reason
from proxy.model.filtering import DROPPED, LEFT, MASKED, AnswerRefusedError, Content, Filter, RecordCount, Verdict
from proxy.model.inspection import Inspection, Media, OnDenied
from proxy.model.subject import LookupNeeded
from proxy.pipeline.judge import SEVERAL, AnswerJudge, find_strictest, list_applied
from proxy.redaction.answers import Reading


class Found(msgspec.Struct, frozen=True):
    """What was found in the records of a part of an answer."""

    content: Content
    counts: tuple[RecordCount, ...]


NOTHING_FOUND: Final = Found(Content(), ())


class Passed(msgspec.Struct, frozen=True):
    """A part of the answer that may leave."""

    data: bytes
    """What may leave, coded as the caller takes it."""
    found: Found
    is_first: bool
    is_last: bool


class Look:
    """A look into one answer.

    Args:
        inspection: what it may hold.
        reading: how its body is coded, on the way in and on the way out.
        filter_: lets of it through what may leave.
        judge: whom the filter asks.
        hold_bytes: up to which size it is judged whole.
        observes: whether refusals are only observed.
    """

    def __init__(
        self,
        inspection: Inspection,
        reading: Reading,
        filter_: Filter,
        judge: AnswerJudge,
        *,
        hold_bytes: int,
        observes: bool,
    ) -> None:
        self.reading = reading
        self.judge = judge
        self._filter = filter_
        self._hold_bytes = hold_bytes
        refuses, media = inspection.on_denied is OnDenied.REFUSE, inspection.media
        self._must_be_whole = refuses and media is not Media.EVENTS  # those have no end
        self._is_flowing = media is not Media.JSON and not self._must_be_whole
        self.observes = observes
        self._held: list[bytes] = []
        """What may leave, before anything does."""
        self._taken = 0
        self._decoded = 0
        self._is_filtered = False
        """Whether the filter has seen the end."""
        self._verdicts: dict[int, Verdict] = {}
        """Those by which the head leaves: of what comes behind it, content is recorded alone."""
        self._has_begun = False
        """Whether something may leave."""
        self.refused: AnswerRefusedError | None = None
        """Why it would have been refused, where that is only observed."""
        self.error: Exception | None = None
        """What went wrong, where that is why."""
        self.until = math.inf
        """Seconds since 1970 when the first grant ends by which a record left."""

    @property
    def is_observed_refusal(self) -> bool:
        """Whether not all of it would have left, had refusals not only been observed."""
        if not self.observes:
            return False
        changed = any(each.transforms or not each.is_allowed for each in self._verdicts.values())
        return self.refused is not None or changed

    def look(self, data: bytes, *, ended: bool) -> Passed | tuple[LookupNeeded, ...] | None:
        """Take more of the body, and return what may leave, what must be asked first, or None while nothing may leave.

        Args:
            data: of the body, as the API sent it; nothing, to go on once what was needed was asked.
            ended: whether that is all of it.

        Raises:
            AnswerRefusedError: it may not leave, or not go on.
        """
        self._taken += len(data)
        if self.observes:
            self._held.append(data)
        if self.reading.has_body and self.reading.replacement is None and self.refused is None:
            try:
                passed = self._pass(data, ended=ended)
            except AnswerRefusedError as refused:
                if not self.observes:
                    raise
                self.refused = refused
            except Exception as error:  # as above: what is only observed goes on
                if not self.observes:
                    raise
                self.refused, self.error = AnswerRefusedError(Reason.DECISION_FAILED), error
            else:
                self._held += () if self.observes else passed
            missing = self.judge.missing
            if missing:
                return missing
            if ended and self.refused is None and not self._is_filtered:
                raise AnswerRefusedError(Reason.DECISION_FAILED)  # a record that nobody can judge is no end
        return self._make_last() if ended else self._make_part()

    def _pass(self, data: bytes, *, ended: bool) -> list[bytes]:
        """Decode and filter."""
        filter_, decoder = self._filter, self.reading.decoder
        passed = [filter_.feed(b"")] if filter_.is_waiting else []
        for part in decoder.feed(data):
            self._decoded += len(part)
            passed.append(filter_.feed(part))
        if ended and not filter_.is_waiting and not self._is_filtered:
            decoder.end()
            passed.append(filter_.end())
            self._is_filtered = not filter_.is_waiting
        return passed

    def _make_part(self) -> Passed | None:
        """Return what may leave by now, once anything may."""
        is_first = not self._has_begun
        if is_first and not (self._is_flowing and any(self._held)):
            if max(self._taken, self._decoded) <= self._hold_bytes:
                return None
            if self._must_be_whole and not self.observes:
                raise AnswerRefusedError(Reason.ANSWER_TOO_LARGE)
        data, found = b"".join(self._held), self._find()
        self._held.clear()
        if not data and not found.content.seen and not is_first:
            return None
        self._has_begun = True
        return Passed(data if self.observes else self.reading.encoder.encode(data), found, is_first, is_last=False)

    def _make_last(self) -> Passed:
        """Return the rest."""
        data, encoder, found = b"".join(self._held), self.reading.encoder, self._find()
        is_first, self._has_begun = not self._has_begun, True
        self._held.clear()
        if self.observes:
            return Passed(data, found, is_first, is_last=True)
        if self.reading.replacement is not None:
            return Passed(self.reading.replacement, found, is_first, is_last=True)
        data = encoder.encode(data) + encoder.end() if self.reading.has_body else b""
        return Passed(data, found, is_first, is_last=True)

    def _find(self) -> Found:
        """Return what was found since this was called last."""
        content = self._filter.take_content()
        if not content.seen:
            return NOTHING_FOUND
        counts = [self._count(verdict, number) for verdict, number in content.by_verdict]
        if content.unfit:
            counts.append(RecordCount(DROPPED, Reason.TRANSFORMS_NOT_APPLIED, SEVERAL, content.unfit))
        return Found(content, tuple(counts))

    def _count(self, verdict: Verdict, number: int) -> RecordCount:
        decision = verdict.decision
        if not self._has_begun:
            self._verdicts[id(verdict)] = verdict
        if verdict.is_allowed:
            self.until = min(self.until, decision.until)
        what = DROPPED if not verdict.is_allowed else MASKED if verdict.transforms else LEFT
        rule = decision.reason if decision.reason is Reason.TRANSFORMS_NOT_APPLIED else decision.rule_id
        if what == MASKED:  # by the first that takes something of it
            rule = next((each.id for each in decision.applied if each.effect is not Effect.ALLOW), rule)
        return RecordCount(what, rule, self.judge.name(verdict), number)

    def find_decision(self) -> Decision | None:
        """Return what the first verdicts come to together, None where there are none: what left decides."""
        left = [each.decision for each in self._verdicts.values() if each.is_allowed]
        dropped = [each.decision for each in self._verdicts.values() if not each.is_allowed]
        if not left:
            return dropped[0] if dropped else None
        together = find_strictest(left)
        applied, unlisted = list_applied([together, *dropped])
        return msgspec.structs.replace(together, applied=applied, unlisted=unlisted)
