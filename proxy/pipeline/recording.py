# SPDX-License-Identifier: Apache-2.0
"""What is said of one request: its outcome, its lines in the ledger, and the head of its answer.

One outcome feeds all three, so that they cannot disagree. The decision's line is handed out once.
"""

from typing import Final

from proxy.clock import render_http_date
from proxy.ledger.entry import Rendered
from proxy.ledger.lines import ContentRecorded, EndLine, Line, ReleasedLine
from proxy.ledger.record import add_contents
from proxy.model.api import Route
from proxy.model.counts import UNCOUNTED
from proxy.model.decision import Effect, Reason
from proxy.model.outcome import Outcome
from proxy.model.request import Headers
from proxy.pipeline.answers import ANSWERS
from proxy.pipeline.approach import Asked
from proxy.pipeline.judging import Judging
from proxy.pipeline.looking import NOTHING_FOUND, Found
from proxy.pipeline.steps import Ended, Refuse
from proxy.request.response_headers import render_response_fields

DECISION_ID: Final = "Sekisho-Decision-Id"
MODE: Final = "Sekisho-Mode"
_DENYING: Final = frozenset({Reason.SUBJECT_NOT_CONFIRMED, Reason.SUBJECT_UNRESOLVED, Reason.TRANSFORMS_NOT_APPLIED})
"""What denies an answer, although a rule allows the request."""


class Recording(Judging):
    """A request as far as what is said of it goes."""

    _asked: Asked | None = None
    """What is asked, once it is canonical and an API is meant."""
    _shape = ""
    _effect = Effect.DENY
    _reason = Reason.DECISION_FAILED
    """Why; this one while nothing is decided."""
    _is_judged = False
    _enforced = True
    _status: int | None = None
    """As the outcome has it."""
    _recorded = False
    """Whether the decision's line was handed out."""
    _is_written = False
    """Whether the ledger took it."""
    _forwarded = False
    _answered: int | None = None
    _upstream: int | None = None
    """The API's own status, where the caller is answered another."""
    _is_whole = False
    """Whether it is recorded that the whole answer was given to the caller."""

    _found: ContentRecorded | None = None
    """What was found in the parts that left of an answer that is looked into."""

    # What a driver calls.

    @property
    def route(self) -> Route | None:
        """Return the route that is asked; None where none is declared, or it is not known yet."""
        return self._match.route if self._match else None

    def part(self, bytes_sent: int, content: ContentRecorded | None = None) -> Line:
        """Return the line of a part of the answer that is about to leave.

        Args:
            bytes_sent: of the body, up to and with this part.
            content: what was found in its records, where it was looked into.
        """
        return ReleasedLine(id=self._request_id, bytes=bytes_sent, content=content)

    def end(
        self,
        *,
        complete: bool,
        reason: Reason | None = None,
        bytes_sent: int = 0,
        bytes_taken: int = 0,
        seconds: float = 0.0,
    ) -> Ended:
        """Say how the answer ended.

        Args:
            complete: whether all of the answer went out.
            reason: why not.
            bytes_sent: of the body, or through a tunnel to the caller.
            bytes_taken: through a tunnel from the caller.
            seconds: since the request's head.
        """
        if not self._is_judged or (complete and self._is_whole):
            return Ended(())
        line = EndLine(
            id=self._request_id,
            status=self._answered,
            complete=complete,
            reason=reason or "",
            upstream=self._upstream,
            bytes=bytes_sent,
            content=self._found,
            bytes_in=bytes_taken,
            seconds=round(seconds, 6),
        )
        return Ended((line,))

    def note_written(self) -> None:
        """Take note that the ledger took the lines so far; whether they are on disk may be in doubt yet."""
        self._is_written = self._recorded

    def fail(self, reason: Reason, error: Exception | None = None) -> Refuse:
        """Refuse because the driver cannot go on. Nothing of an answer has left.

        Args:
            reason: what went wrong.
            error: for the operator's log.
        """
        was_recorded = self._recorded and (self._is_written or reason is not Reason.LEDGER_UNAVAILABLE)
        self._is_whole = False
        self._recorded = was_recorded  # what the ledger did not take is written again, should it take it now
        decided = self._decision.effect if self._decision and self._forwarded else Effect.DENY
        if reason in _DENYING:
            decided = Effect.DENY
        self._answered = ANSWERS[reason].status
        self._judge_as(decided, reason, status=self._answered)
        outcome = self._make_outcome()
        lines = self._record(outcome, released=False)
        if was_recorded:  # the decision is in the ledger already: say how it ended
            lines = self.end(complete=False, reason=reason).lines
        return Refuse(outcome, lines, error=error)

    # How it is said.

    def _answer_with(self, status: int, headers: Headers) -> bytes:
        """Return the field lines of an answer that reaches the caller, and take note of its status."""
        self._answered = status
        if self._enforced:
            self._status = status
        route = self.route
        fields = render_response_fields(
            headers,
            render_http_date(int(self._now)),
            personal_data=route is None or route.subject is not None,
        )
        own = f"Server: sekisho\r\n{DECISION_ID}: {self._request_id}\r\n"
        if not self._enforced:
            own += f"{MODE}: observe\r\n"
        return fields + own.encode()

    def _tell_content(self, found: Found, api: str) -> ContentRecorded | None:
        """Return what is recorded of the records of a part of an answer."""
        if found is NOTHING_FOUND:
            return None
        return self._checkpoint.recorder.tell_content(found.content, found.counts, api, self._now)

    def _tell_part(self, bytes_sent: int, content: ContentRecorded | None) -> Line:
        """Return the line of a part of an answer that is looked into; its end will say what was found in all."""
        if content is not None:
            self._found = content if self._found is None else add_contents(self._found, content)
        return self.part(bytes_sent, content)

    def _record(
        self,
        outcome: Outcome,
        *,
        released: bool,
        whole: int | None = None,
        seconds: float = 0.0,
        content: ContentRecorded | None = None,
    ) -> tuple[Line | Rendered, ...]:
        """Return the decision's line, once a passage."""
        if self._recorded:
            return ()
        line = self._checkpoint.recorder.decision(
            outcome, released=released, upstream=self._upstream, whole=whole, seconds=seconds, content=content
        )
        self._recorded = True
        return (line,)

    def _tell_rest(self, whole: int, seconds: float, content: ContentRecorded | None) -> tuple[Line | Rendered, ...]:
        """Return the lines of an answer that leaves whole, where the decision was recorded before."""
        told = () if content is None else (self._tell_part(whole, content),)
        self._is_whole = False
        lines = self.end(complete=True, bytes_sent=whole, seconds=seconds).lines
        self._is_whole = True
        return (*told, *lines)

    def _judge_as(self, effect: Effect, reason: Reason, *, enforced: bool = True, status: int | None = None) -> None:
        self._effect, self._reason, self._enforced, self._status = effect, reason, enforced, status
        self._is_judged = True

    def _make_outcome(self) -> Outcome:
        return Outcome(
            self._request_id,
            self._now,
            self._method,
            self.route,
            self._shape,
            self._caller,
            self._origin,
            self._subject,
            self._purpose,
            self._decision,
            self._effect,
            self._reason,
            self._enforced,
            self._status,
            self._asked.trace if self._asked else "",
            self._counting.counts if self._counting and self._counts is UNCOUNTED else self._counts,
            self._subjects or (),
        )
