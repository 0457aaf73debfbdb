# SPDX-License-Identifier: Apache-2.0
"""One request's way through, as a synchronous value: it does no I/O, awaits nothing and reads no clock.

A driver calls, in this order::

    begin(head)      → Refuse | Need | Forward
    supply(need)     → Refuse | Need | Forward      as long as there is a need
    answer(head)     → Refuse | Release             once the API has answered
    end(...)         → Ended                        once the answer is through, or broke off
    is_denied_under(...)                            whenever another bundle was put in force meanwhile
    fail(reason)     → Refuse                       whenever the driver cannot go on before release

- Every result carries the ledger lines that must be durable *before* it is acted on. Where the action is not a
  read, the decision is durable before the request goes to the API; else before anything of the answer leaves.
- No exception reaches an allow: whatever goes wrong in here is a refusal with the reason ``decision-failed``.
- In observe mode a refusal that can be forwarded at all is forwarded, and recorded and counted as the refusal it
  would have been. What is ambiguous is refused even then: there is no one request to forward.
"""

import math
from typing import Final, TypeAlias

import msgspec

from proxy.assertion.assertions import Judged
from proxy.caller.resolve import NOTHING_MET, CallerNeed
from proxy.ledger.entry import Rendered
from proxy.ledger.lines import EndLine, Line, ReleasedLine
from proxy.model.api import Action, Api, Route
from proxy.model.caller import Caller
from proxy.model.decision import Decision, Effect, Reason
from proxy.model.facts import ABSENT, Fact
from proxy.model.origin import Origin
from proxy.model.outcome import Outcome
from proxy.model.request import RequestHead, ResponseHead, Target
from proxy.model.subject import Subject
from proxy.origin.resolve import NOWHERE
from proxy.pipeline.answers import ANSWERS
from proxy.pipeline.approach import Approach
from proxy.pipeline.checkpoint import Checkpoint
from proxy.policy.evaluate import decide
from proxy.request.catalog import Match, NoMatch
from proxy.request.response_headers import render_response_fields
from proxy.request.target import parse_target

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
HTTP_1_1: Final = (1, 1)
UNDECLARED_SECONDS: Final = 60
"""How long a request to an undeclared route may take that observe mode lets pass."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SWITCHING: Final = 101
_NOBODY: Final = Caller()
_NO_ONE: Final = Subject()
DECISION_ID: Final = "Sekisho-Decision-Id"
MODE: Final = "Sekisho-Mode"


class Refuse(msgspec.Struct, frozen=True):
    """The caller is answered by us, with a problem document."""

    outcome: Outcome
    lines: tuple[Line | Rendered, ...]
    allowed_methods: tuple[str, ...] = ()
    error: Exception | None = None
    """What went wrong, for the operator's log alone."""


class Need(msgspec.Struct, frozen=True):
    """Something must be asked before a decision can be made: an issuer's keys, or its word on a token."""

    what: CallerNeed


class Forward(msgspec.Struct, frozen=True, gc=False):
    """The request goes to the API, with these fields and its body."""

    api: Api
    target: str
    fields: bytes
    """Field lines, each ended by CRLF, without framing."""
    expects_continue: bool
    is_read: bool
    """Whether sending it twice does no harm."""
    seconds: float
    """How long it may take: as long as its route says, and no longer than its token and its grant hold."""
    lines: tuple[Line | Rendered, ...]
    max_body_bytes: int | None = None
    """The largest body that the route takes; None: as large as the gateway takes any."""
    upgrades: tuple[str, ...] = ()
    """Protocols to which the route lets a connection be upgraded, in lower case."""


class Release(msgspec.Struct, frozen=True, gc=False):
    """The API's answer goes to the caller, with these fields and its body."""

    status: int
    fields: bytes
    """Field lines, each ended by CRLF, without framing."""
    outcome: Outcome
    lines: tuple[Line | Rendered, ...]


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The answer is through, or broke off."""

    lines: tuple[Line | Rendered, ...]


Step: TypeAlias = Refuse | Need | Forward


def find_refusal(decision: Decision) -> Reason | None:
    """Return why a decision lets nothing pass as it is, None if it does.

    An allowance with transforms needs somebody to apply them; until then it is a refusal of its own.
    """
    if decision.effect is not Effect.ALLOW:
        return decision.reason
    return Reason.TRANSFORMS_NOT_APPLIED if decision.transforms else None


class Passage:
    """One request's way through.

    Args:
        checkpoint: what is shared; the same from begin to end, whatever is put in force meanwhile.
        request_id: unique; the caller is told it.
        now: the one reading of the wall clock, seconds since 1970.
    """

    # What is not known yet. A passage holds what it has found out, and looks the rest up here.
    _method = "other"
    _target: Target | None = None
    _approach: Approach | None = None
    """Once it is known which API is meant."""
    _api: Api | None = None
    _expects_continue = False
    _match: Match | None = None
    _shape = ""
    _origin: Origin = NOWHERE
    _caller: Caller = _NOBODY
    _subject: Subject = _NO_ONE
    _purpose: Fact[str] = ABSENT
    _decision: Decision | None = None
    _effect = Effect.DENY
    _reason: Reason | None = None
    """Why; None while nothing is decided."""
    _enforced = True
    _status: int | None = None
    """As the outcome has it."""
    _met = NOTHING_MET
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
    ends_at = math.inf
    """Seconds since 1970 by which it ends, by what it was decided anew."""

    def __init__(self, checkpoint: Checkpoint, request_id: str, now: float) -> None:
        self._checkpoint = checkpoint
        self._request_id = request_id
        self._now = now

    # What a driver calls.

    def begin(self, head: RequestHead) -> Step:
        """Take a request's head, up to a decision or a need."""
        try:
            return self._read(head) or self._cross()
        except Exception as error:  # noqa: BLE001 - no exception path may reach an allow
            return self._refuse(Reason.DECISION_FAILED, error=error)

    def note_peer(self, peer_ip: str, proxied: tuple[str, ...] = ()) -> None:
        """Take note of who sent bytes that are no request."""
        self._origin = self._checkpoint.origins.resolve((peer_ip, *proxied), self._now)

    def supply(self, need: Need) -> Step:
        """Go on after this need was met, or could not be. It is not raised again."""
        self._met |= {need.what}
        try:
            return self._cross()
        except Exception as error:  # noqa: BLE001 - as above
            return self._refuse(Reason.DECISION_FAILED, error=error)

    def answer(
        self, head: ResponseHead, whole: int | None = None, seconds: float = 0.0, *, is_upgrade: bool = False
    ) -> Refuse | Release:
        """Take the head of the API's answer.

        Args:
            head: of the answer.
            whole: the length of its body, where all of it is in hand: then one line says how it was decided and how
                it ended.
            seconds: since the request's head.
            is_upgrade: whether the connection is no longer HTTP's, as the request asked.
        """
        if not (200 <= head.status <= 599 or (is_upgrade and head.status == _SWITCHING)):
            self._upstream = head.status
            return self.fail(Reason.UPSTREAM_ANSWER_UNSUPPORTED)
        try:
            return self._release(head, whole, seconds)
        except Exception as error:  # noqa: BLE001 - no exception path may release an answer
            return self.fail(Reason.DECISION_FAILED, error)

    def part(self, bytes_sent: int) -> Line:
        """Return the line of a part of the answer that is about to leave.

        Args:
            bytes_sent: of the body, up to and with this part.
        """
        return ReleasedLine(id=self._request_id, bytes=bytes_sent)

    def end(self, *, complete: bool, reason: Reason | None = None, bytes_sent: int = 0, seconds: float = 0.0) -> Ended:
        """Say how the answer ended.

        Args:
            complete: whether all of the answer went out.
            reason: why not.
            bytes_sent: of the body.
            seconds: since the request's head.
        """
        if self._reason is None or (complete and self._is_whole):
            return Ended(())
        line = EndLine(
            id=self._request_id,
            status=self._answered,
            complete=complete,
            reason=reason or "",
            upstream=self._upstream,
            bytes=bytes_sent,
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
        self._answered = ANSWERS[reason].status
        self._judge(decided, reason, status=self._answered)
        outcome = self._make_outcome(reason)
        lines = self._record(outcome, released=False)
        if was_recorded:  # the decision is in the ledger already: say how it ended
            lines = self.end(complete=False, reason=reason).lines
        return Refuse(outcome, lines, error=error)

    # The five questions.

    def _read(self, head: RequestHead) -> Step | None:
        """What is asked, and from where."""
        checkpoint = self._checkpoint
        approach = checkpoint.find_approach(head)
        if isinstance(approach, Reason):
            self.note_peer(head.peer_ip, head.proxied)
            return self._refuse(approach)
        self._origin = checkpoint.origins.resolve(approach.chain, self._now)
        if isinstance(approach.shown, Reason):
            return self._refuse(approach.shown)
        reason = self._read_target(head, approach)
        return None if reason is None else self._refuse(reason)

    def _read_target(self, head: RequestHead, approach: Approach) -> Reason | None:
        """Find the API and the canonical target, or the reason why there is none."""
        if head.version < HTTP_1_1 and approach.fields.has_transfer_coding:
            return Reason.REQUEST_MALFORMED  # RFC 9112 6.1: its framing is faulty
        if head.method not in METHODS:
            return Reason.METHOD_UNSUPPORTED
        self._method = head.method
        target, api = parse_target(head.raw_target), approach.api
        if isinstance(target, Reason):
            return target
        if isinstance(api, Reason):
            return api
        self._target, self._approach, self._api = target, approach, api
        if approach.fields.expects_continue:
            self._expects_continue = head.version >= HTTP_1_1  # RFC 9110 10.1.1
        return None

    def _cross(self) -> Step:
        """Who asks, whose data, and may they."""
        checkpoint, approach, now = self._checkpoint, self._approach, self._now
        if self._api is None or self._target is None or approach is None or isinstance(approach.shown, Reason):
            return self._refuse(Reason.DECISION_FAILED)
        match = checkpoint.snapshot.catalog.match(self._api, self._method, self._target.segments)
        if isinstance(match, Match):
            self._match = match
        caller = checkpoint.find_caller(match, approach, approach.shown, now, self._met)
        if not isinstance(caller, Caller):
            return self._refuse(caller) if isinstance(caller, Reason) else Need(caller)
        self._caller = caller
        if isinstance(match, NoMatch):
            self._shape = match.shape
            return self._refuse(match.reason, allowed_methods=match.allowed)
        facts = checkpoint.find_facts(match, caller, self._origin, approach.fields, now)
        self._subject, self._purpose = facts.subject, facts.purpose
        decision = self._decision = decide(checkpoint.snapshot.policy, facts)
        reason = find_refusal(decision)
        if reason is not None:
            return self._refuse(reason)
        self._judge(Effect.ALLOW, decision.reason)
        return self._forward()

    @property
    def is_under_way(self) -> bool:
        """Whether the request has gone to the API."""
        return self._forwarded

    def is_denied_under(self, checkpoint: Checkpoint, now: float) -> bool:
        """Decide a request that is under way once more, and say whether it must be cut.

        What cannot be decided is denied. Where refusals are only observed, nothing is cut.

        Args:
            checkpoint: what is in force now.
            now: a reading of the wall clock.
        """
        if self._target is None or self._approach is None:
            return False
        if checkpoint.snapshot.observes(now):
            return False
        try:
            return self._is_refused(checkpoint, self._target, self._approach, now)
        except Exception:  # noqa: BLE001 - no exception path may keep an answer flowing
            return True

    def _is_refused(self, checkpoint: Checkpoint, target: Target, approach: Approach, now: float) -> bool:
        api = checkpoint.snapshot.catalog.find_api(approach.host)
        if api is None or self._api is None or api.id != self._api.id:
            return True
        match = checkpoint.snapshot.catalog.match(api, self._method, target.segments)
        shown = checkpoint.find_shown(approach.peer_ip, approach.certificate, approach.fields)
        if isinstance(shown, Reason):
            return True
        caller = checkpoint.find_caller(match, approach, shown, now, None)
        if not isinstance(caller, Caller) or not isinstance(match, Match):
            return True
        origin = checkpoint.origins.resolve(approach.chain, now)
        facts = checkpoint.find_facts(match, caller, origin, approach.fields, now)
        decision = decide(checkpoint.snapshot.policy, facts)
        self.ends_at = min(caller.until, decision.until, self._now + match.route.max_duration_seconds)
        return find_refusal(decision) is not None

    # What comes of it.

    def _refuse(
        self, reason: Reason, *, allowed_methods: tuple[str, ...] = (), error: Exception | None = None
    ) -> Refuse | Forward:
        observed = self._api is not None and self._checkpoint.snapshot.observes(self._now)
        self._judge(Effect.DENY, reason, enforced=not observed, status=ANSWERS[reason].status)
        if observed:
            return self._forward()
        outcome = self._make_outcome(reason)
        return Refuse(outcome, self._record(outcome, released=False), allowed_methods, error)

    def _forward(self) -> Forward | Refuse:
        if self._api is None or self._target is None or self._approach is None or self._reason is None:
            raise AssertionError("only a canonical request to a declared API is forwarded")
        route = self._match.route if self._match else None
        try:
            assertion = self._vouch(self._api, self._target, route)
        except Exception as error:  # noqa: BLE001 - what cannot be signed does not go out unsigned, nor in observe mode
            return self.fail(Reason.DECISION_FAILED, error)
        self._forwarded = True
        is_read = route.action is Action.READ if route else self._method in _SAFE
        return Forward(
            self._api,
            self._target.text,
            self._render_own(self._approach).encode() + assertion + self._approach.rest,
            self._expects_continue,
            is_read,
            self._seconds_left(route),
            () if is_read else self._record(self._make_outcome(self._reason), released=True),
            route.max_body_bytes if route else None,
            route.upgrades if route else (),
        )

    def _render_own(self, approach: Approach) -> str:
        """Return our own field lines for the API, which nobody can forge; the caller's follow them."""
        address = self._origin.ip
        forwarded = f"X-Forwarded-For: {address}\r\n" if isinstance(address, str) else ""
        return f"{approach.front}{forwarded}{DECISION_ID}: {self._request_id}\r\n"

    def _vouch(self, api: Api, target: Target, route: Route | None) -> bytes:
        """Return the field line that tells the API, signed, what was decided; empty where it is told nothing."""
        assertions = self._checkpoint.assertions
        if assertions is None:
            return b""
        judged = Judged(
            self._caller, route, self._decision, self._effect, self._now, self._request_id, self._method, target.text
        )
        return assertions.render_field(api, judged)

    def _seconds_left(self, route: Route | None) -> float:
        """Return how long the request may take: it outlives neither its route's limit, its token nor its grant."""
        until = min(self._caller.until, self._decision.until if self._decision else math.inf)
        return max(0.0, min(route.max_duration_seconds if route else UNDECLARED_SECONDS, until - self._now))

    def _release(self, head: ResponseHead, whole: int | None, seconds: float) -> Refuse | Release:
        if self._reason is None or not self._forwarded:
            return self.fail(Reason.DECISION_FAILED)
        self._answered = head.status
        if self._enforced:
            self._status = head.status
        outcome = self._make_outcome(self._reason)
        route = self._match.route if self._match else None
        fields = render_response_fields(head.headers, personal_data=route is None or route.subject is not None)
        own = f"Server: sekisho\r\n{DECISION_ID}: {self._request_id}\r\n"
        if not self._enforced:
            own += f"{MODE}: observe\r\n"
        lines = self._record(outcome, released=True, whole=whole, seconds=seconds)
        if whole is not None:
            lines = lines or self.end(complete=True, bytes_sent=whole, seconds=seconds).lines
            self._is_whole = True
        return Release(head.status, fields + own.encode(), outcome, lines)

    def _record(
        self, outcome: Outcome, *, released: bool, whole: int | None = None, seconds: float = 0.0
    ) -> tuple[Line | Rendered, ...]:
        """Return the decision's line, once a passage."""
        if self._recorded:
            return ()
        line = self._checkpoint.recorder.decision(
            outcome, released=released, upstream=self._upstream, whole=whole, seconds=seconds
        )
        self._recorded = True
        return (line,)

    def _judge(self, effect: Effect, reason: Reason, *, enforced: bool = True, status: int | None = None) -> None:
        self._effect, self._reason, self._enforced, self._status = effect, reason, enforced, status

    def _make_outcome(self, reason: Reason) -> Outcome:
        return Outcome(
            self._request_id,
            self._now,
            self._method,
            self._match.route if self._match else None,
            self._shape,
            self._caller,
            self._origin,
            self._subject,
            self._purpose,
            self._decision,
            self._effect,
            reason,
            self._enforced,
            self._status,
            self._approach.fields.trace if self._approach else "",
        )
