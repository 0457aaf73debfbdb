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
from typing import Final

import msgspec

from proxy.assertion.assertions import Judged
from proxy.caller.resolve import NOTHING_MET, IntrospectionNeeded, KeysNeeded
from proxy.clock import render_http_date
from proxy.ledger.entry import Rendered
from proxy.ledger.lines import EndLine, Line, ReleasedLine
from proxy.model.api import Action, Api, Route
from proxy.model.caller import Caller
from proxy.model.counts import UNCOUNTED, CountsNeeded
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
from proxy.pipeline.counting import Counting, as_first
from proxy.pipeline.steps import Ended, Forward, Need, Refuse, Release, Step
from proxy.policy.attributes import Facts
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


def find_refusal(decision: Decision) -> Reason | None:
    """Return why a decision lets nothing pass as it is, None if it does.

    An allowance with transforms needs somebody to apply them; until then it is a refusal of its own.
    """
    if decision.effect is not Effect.ALLOW:
        return decision.reason
    return Reason.TRANSFORMS_NOT_APPLIED if decision.transforms else None


class _Asked(msgspec.Struct, frozen=True, gc=False):
    """A canonical request to a declared API."""

    approach: Approach
    target: Target
    api: Api
    shown: bytes | None
    """The certificate that it came with."""


class Passage:
    """One request's way through.

    Args:
        checkpoint: what is shared; the same from begin to end, whatever is put in force meanwhile.
        request_id: unique; the caller is told it.
        now: the one reading of the wall clock, seconds since 1970.
    """

    # What is not known yet. A passage holds what it has found out, and looks the rest up here.
    _method = "other"
    _asked: _Asked | None = None
    """What is asked, once it is canonical and an API is meant."""
    _expects_continue = False
    _match: Match | None = None
    _shape = ""
    _origin: Origin = NOWHERE
    _caller: Caller = _NOBODY
    _subject: Subject = _NO_ONE
    _purpose: Fact[str] = ABSENT
    _decision: Decision | None = None
    _effect = Effect.DENY
    _reason = Reason.DECISION_FAILED
    """Why; this one while nothing is decided."""
    _is_judged = False
    _enforced = True
    _status: int | None = None
    """As the outcome has it."""
    _counting: Counting | None = None
    """Where it is counted what the caller reads."""
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
        if isinstance(need.what, KeysNeeded | IntrospectionNeeded):
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
        self._answered = ANSWERS[reason].status
        self._judge(decided, reason, status=self._answered)
        outcome = self._make_outcome()
        lines = self._record(outcome, released=False)
        if was_recorded:  # the decision is in the ledger already: say how it ended
            lines = self.end(complete=False, reason=reason).lines
        return Refuse(outcome, lines, error=error)

    # The five questions.

    def _read(self, head: RequestHead) -> Step | None:
        """What is asked, and from where."""
        approach = self._checkpoint.find_approach(head)
        if isinstance(approach, Reason):
            self.note_peer(head.peer_ip, head.proxied)
            return self._refuse(approach)
        self._origin = self._checkpoint.origins.resolve(approach.chain, self._now)
        asked = self._find_asked(head, approach)
        if isinstance(asked, Reason):
            return self._refuse(asked)
        self._asked = asked
        return None

    def _find_asked(self, head: RequestHead, approach: Approach) -> _Asked | Reason:
        """Find the API and the canonical target, or the reason why there is none."""
        shown, version = approach.shown, head.version
        if isinstance(shown, Reason):
            return shown
        if version < HTTP_1_1 and approach.fields.has_transfer_coding:
            return Reason.REQUEST_MALFORMED  # RFC 9112 6.1: its framing is faulty
        if head.method not in METHODS:
            return Reason.METHOD_UNSUPPORTED
        self._method = head.method
        target, api = parse_target(head.raw_target), approach.api
        if isinstance(target, Reason):
            return target
        if isinstance(api, Reason):
            return api
        if approach.fields.expects_continue:
            self._expects_continue = version >= HTTP_1_1  # RFC 9110 10.1.1
        return _Asked(approach, target, api, shown)

    def _cross(self) -> Step:
        """Who asks, whose data, and may they."""
        checkpoint, asked, now = self._checkpoint, self._asked, self._now
        if asked is None:
            return self._refuse(Reason.DECISION_FAILED)
        approach, snapshot = asked.approach, checkpoint.snapshot
        match = snapshot.catalog.match(asked.api, self._method, asked.target.segments)
        if isinstance(match, Match):
            self._match = match
        caller = checkpoint.find_caller(match, approach, asked.shown, now, self._met)
        if not isinstance(caller, Caller):
            return self._refuse(caller) if isinstance(caller, Reason) else Need(caller)
        self._caller = caller
        if isinstance(match, NoMatch):
            self._shape = match.shape
            return self._refuse(match.reason, allowed_methods=match.allowed)
        return self._decide(match, caller, asked)

    def _decide(self, match: Match, caller: Caller, asked: _Asked) -> Step:
        """May they."""
        checkpoint, api = self._checkpoint, match.route.api.id
        facts = checkpoint.find_facts(match, caller, self._origin, asked.approach.fields, self._now)
        self._subject, self._purpose = facts.subject, facts.purpose
        decision = self._count(api, facts) if api in checkpoint.counted else decide(checkpoint.snapshot.policy, facts)
        if isinstance(decision, CountsNeeded):
            return Need(decision)
        self._decision = decision
        reason = find_refusal(decision)
        if self._counting is not None:
            reason = self._counting.settle(reason)
        if reason is not None:
            return self._refuse(reason)
        self._judge(Effect.ALLOW, decision.reason)
        return self._forward(asked)

    def _count(self, api: str, facts: Facts) -> Decision | CountsNeeded:
        """Decide by how much the caller has read, or return what must be asked for that."""
        checkpoint, policy = self._checkpoint, self._checkpoint.snapshot.policy
        first = decide(policy, as_first(facts))
        if find_refusal(first) is not None:
            return first
        counting = self._counting
        if counting is None:
            counting = self._counting = Counting(checkpoint.volume, checkpoint.counted[api])
        counted = counting.find(facts, self._request_id, checkpoint.recorder)
        if isinstance(counted, CountsNeeded):
            return counted
        return first if counting.is_as_first else decide(policy, counted)

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
        if self._asked is None:
            return False
        if checkpoint.snapshot.observes(now):
            return False
        try:
            return self._is_refused(checkpoint, self._asked, now)
        except Exception:  # noqa: BLE001 - no exception path may keep an answer flowing
            return True

    def _is_refused(self, checkpoint: Checkpoint, asked: _Asked, now: float) -> bool:
        approach = asked.approach
        api = checkpoint.snapshot.catalog.find_api(approach.host)
        if api is None or api.id != asked.api.id:
            return True
        match = checkpoint.snapshot.catalog.match(api, self._method, asked.target.segments)
        shown = checkpoint.find_shown(approach.peer_ip, approach.certificate, approach.fields)
        if isinstance(shown, Reason):
            return True
        caller = checkpoint.find_caller(match, approach, shown, now, None)
        if not isinstance(caller, Caller) or not isinstance(match, Match):
            return True
        origin = checkpoint.origins.resolve(approach.chain, now)
        facts = checkpoint.find_facts(match, caller, origin, approach.fields, now)
        if self._counting is not None:  # it is counted already, and once
            facts = msgspec.structs.replace(facts, counts=self._counting.counts)
        decision = decide(checkpoint.snapshot.policy, facts)
        self.ends_at = min(caller.until, decision.until, self._now + match.route.max_duration_seconds)
        return find_refusal(decision) is not None

    # What comes of it.

    def _refuse(
        self, reason: Reason, *, allowed_methods: tuple[str, ...] = (), error: Exception | None = None
    ) -> Refuse | Forward:
        asked = self._asked if self._checkpoint.snapshot.observes(self._now) else None
        self._judge(Effect.DENY, reason, enforced=asked is None, status=ANSWERS[reason].status)
        if asked is not None:
            return self._forward(asked)
        outcome = self._make_outcome()
        return Refuse(outcome, self._record(outcome, released=False), allowed_methods, error)

    def _forward(self, asked: _Asked) -> Forward | Refuse:
        route = self._match.route if self._match else None
        try:
            assertion = self._vouch(asked, route)
        except Exception as error:  # noqa: BLE001 - what cannot be signed does not go out unsigned, nor in observe mode
            return self.fail(Reason.DECISION_FAILED, error)
        self._forwarded = True
        upstream = asked.api.find_upstream(self._subject.country)
        front = asked.approach.front or self._checkpoint.fronts[upstream.url]
        is_read = route.action is Action.READ if route else self._method in _SAFE
        return Forward(
            asked.api,
            upstream,
            asked.target.text,
            self._render_own(front).encode() + assertion + asked.approach.rest,
            self._expects_continue,
            is_read,
            self._seconds_left(route),
            () if is_read else self._record(self._make_outcome(), released=True),
            route.max_body_bytes if route else None,
            route.upgrades if route else (),
        )

    def _render_own(self, front: str) -> str:
        """Return our own field lines for the API, which nobody can forge; the caller's follow them."""
        address = self._origin.ip
        forwarded = f"X-Forwarded-For: {address}\r\n" if isinstance(address, str) else ""
        return f"{front}{forwarded}{DECISION_ID}: {self._request_id}\r\n"

    def _vouch(self, asked: _Asked, route: Route | None) -> bytes:
        """Return the field line that tells the API, signed, what was decided; empty where it is told nothing."""
        assertions = self._checkpoint.assertions
        if assertions is None:
            return b""
        judged = Judged(
            self._caller,
            route,
            self._decision,
            self._effect,
            self._now,
            self._request_id,
            self._method,
            asked.target.text,
        )
        return assertions.render_field(asked.api, judged)

    def _seconds_left(self, route: Route | None) -> float:
        """Return how long the request may take: it outlives neither its route's limit, its token nor its grant."""
        until = min(self._caller.until, self._decision.until if self._decision else math.inf)
        return max(0.0, min(route.max_duration_seconds if route else UNDECLARED_SECONDS, until - self._now))

    def _release(self, head: ResponseHead, whole: int | None, seconds: float) -> Refuse | Release:
        if not self._forwarded:
            return self.fail(Reason.DECISION_FAILED)
        self._answered = head.status
        if self._enforced:
            self._status = head.status
        outcome = self._make_outcome()
        route = self._match.route if self._match else None
        fields = render_response_fields(
            head.headers, render_http_date(int(self._now)), personal_data=route is None or route.subject is not None
        )
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
        self._is_judged = True

    def _make_outcome(self) -> Outcome:
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
            self._reason,
            self._enforced,
            self._status,
            self._asked.approach.fields.trace if self._asked else "",
            self._counting.counts if self._counting else UNCOUNTED,
        )
