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
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from proxy.caller.resolve import NOTHING_MET, CallerNeed, IntrospectionNeeded, KeysNeeded
from proxy.ledger.entry import Rendered
from proxy.ledger.lines import EndLine, Line, ReleasedLine
from proxy.model.api import Action, Api, Route
from proxy.model.caller import Caller
from proxy.model.counts import UNCOUNTED, CountsNeeded
from proxy.model.decision import Decision, Effect, Reason
from proxy.model.facts import ABSENT, Fact, known
from proxy.model.origin import Origin
from proxy.model.outcome import Outcome
from proxy.model.request import Headers, RequestHead, ResponseHead, Target
from proxy.model.subject import Subject
from proxy.origin.resolve import NOWHERE
from proxy.pipeline.answers import ANSWERS
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.counting import Counting, as_first
from proxy.policy.attributes import Facts
from proxy.policy.evaluate import decide
from proxy.request.catalog import Match, NoMatch
from proxy.request.headers import (
    RequestFields,
    parse_host,
    read_request_fields,
    select_response_fields,
)
from proxy.request.target import parse_target

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
HTTP_1_1: Final = (1, 1)
UNDECLARED_SECONDS: Final = 60
"""How long a request to an undeclared route may take that observe mode lets pass."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
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
    """Something must be asked before a decision can be made: an issuer's keys, its word on a token, or counts."""

    what: CallerNeed | CountsNeeded


class Forward(msgspec.Struct, frozen=True):
    """The request goes to the API, with these fields and its body."""

    api: Api
    target: str
    headers: Headers
    expects_continue: bool
    is_read: bool
    """Whether sending it twice does no harm."""
    seconds: float
    """How long it may take: as long as its route says, and no longer than its token and its grant hold."""
    lines: tuple[Line | Rendered, ...]


class Release(msgspec.Struct, frozen=True):
    """The API's answer goes to the caller, with these fields and its body."""

    status: int
    headers: Headers
    outcome: Outcome
    lines: tuple[Line | Rendered, ...]


class Ended(msgspec.Struct, frozen=True):
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

    __slots__ = (
        "_answered", "_api", "_caller", "_certificate", "_chain", "_checkpoint", "_counting", "_decision",
        "_expects_continue", "_fields", "_forwarded", "_host", "_is_whole", "_is_written", "_match", "_met",
        "_method", "_now", "_origin", "_outcome", "_purpose", "_recorded", "_request_id", "_shape", "_shown",
        "_subject", "_target", "_upstream", "ends_at",
    )  # fmt: skip

    def __init__(self, checkpoint: Checkpoint, request_id: str, now: float) -> None:
        self._checkpoint = checkpoint
        self._request_id = request_id
        self._now = now
        self._method = "other"
        self._target: Target | None = None
        self._fields: RequestFields | None = None
        self._host = ""
        self._expects_continue = False
        self._api: Api | None = None
        self._match: Match | None = None
        self._shape = ""
        self._origin: Origin = NOWHERE
        self._caller: Caller = _NOBODY
        self._subject: Subject = _NO_ONE
        self._purpose: Fact[str] = ABSENT
        self._certificate: bytes | None = None
        self._shown: bytes | None = None
        self._chain: tuple[str, ...] = ("",)
        """The connection's other end, and what it says of whose request it passes on."""
        self._decision: Decision | None = None
        self._outcome: Outcome | None = None
        self._counting: Counting | None = None
        self._met = NOTHING_MET
        self._recorded = False
        """Whether the decision's line was handed out."""
        self._is_written = False
        """Whether the ledger took it."""
        self._forwarded = False
        self._answered: int | None = None
        self._upstream: int | None = None
        """The API's own status, where the caller is answered another."""
        self._is_whole = False
        """Whether it is recorded that the whole answer was given to the caller."""
        self.ends_at = math.inf
        """Seconds since 1970 by which it ends, by what it was decided anew."""

    # What a driver calls.

    def begin(self, head: RequestHead) -> Step:
        """Take a request's head, up to a decision or a need."""
        return self._guard(lambda: self._read(head) or self._cross())

    def note_peer(self, peer_ip: str, proxied: tuple[str, ...] = ()) -> None:
        """Take note of who sent bytes that are no request."""
        self._origin = self._checkpoint.origins.resolve((peer_ip, *proxied), self._now)

    def supply(self, need: Need) -> Step:
        """Go on after this need was met, or could not be. It is not raised again."""
        if not isinstance(need.what, CountsNeeded):
            self._met |= {need.what}
        return self._guard(self._cross)

    def answer(self, head: ResponseHead, whole: int | None = None, seconds: float = 0.0) -> Refuse | Release:
        """Take the head of the API's answer.

        Args:
            head: of the answer.
            whole: the length of its body, where all of it is in hand: then one line says how it was decided and how
                it ended.
            seconds: since the request's head.
        """
        if not 200 <= head.status <= 599:
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
        if self._outcome is None or (complete and self._is_whole):
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
        self._outcome = self._make_outcome(decided, reason, enforced=True, status=self._answered)
        lines = self._record(released=False)
        if was_recorded:  # the decision is in the ledger already: say how it ended
            lines = self.end(complete=False, reason=reason).lines
        return Refuse(self._outcome, lines, error=error)

    # The five questions.

    def _guard(self, step: Callable[[], Step]) -> Step:
        try:
            return step()
        except Exception as error:  # noqa: BLE001 - no exception path may reach an allow
            return self._refuse(Reason.DECISION_FAILED, error=error)

    def _read(self, head: RequestHead) -> Step | None:
        """What is asked, and from where."""
        checkpoint = self._checkpoint
        fields = read_request_fields(head.headers, checkpoint.fields)
        if isinstance(fields, Reason):
            self.note_peer(head.peer_ip, head.proxied)
            return self._refuse(fields)
        self._chain = (head.peer_ip, *(fields.client_address or head.proxied))
        self._origin = checkpoint.origins.resolve(self._chain, self._now)
        self._certificate = head.certificate
        shown = checkpoint.find_shown(head.peer_ip, head.certificate, fields)
        if isinstance(shown, Reason):
            return self._refuse(shown)
        self._shown = shown
        reason = self._read_target(head, fields)
        return None if reason is None else self._refuse(reason)

    def _read_target(self, head: RequestHead, fields: RequestFields) -> Reason | None:
        """Find the API and the canonical target, or the reason why there is none."""
        if head.version < HTTP_1_1 and fields.has_transfer_coding:
            return Reason.REQUEST_MALFORMED  # RFC 9112 6.1: its framing is faulty
        if head.method not in METHODS:
            return Reason.METHOD_UNSUPPORTED
        self._method = head.method
        target, host = parse_target(head.raw_target), parse_host(fields.host)
        if isinstance(target, Reason) or isinstance(host, Reason):
            return target if isinstance(target, Reason) else Reason(host)
        api = self._checkpoint.snapshot.catalog.find_api(host)
        if api is None:
            return Reason.HOST_UNDECLARED
        self._fields, self._target, self._host, self._api = fields, target, host, api
        self._expects_continue = fields.expects_continue and head.version >= HTTP_1_1  # RFC 9110 10.1.1
        return None

    def _cross(self) -> Step:
        """Who asks, and then whose data it is."""
        if self._api is None or self._target is None or self._fields is None:
            return self._refuse(Reason.DECISION_FAILED)
        checkpoint, fields = self._checkpoint, self._fields
        match = checkpoint.snapshot.catalog.match(self._api, self._method, self._target.segments)
        if isinstance(match, Match):
            self._match = match
        caller = checkpoint.find_caller(match, fields, self._shown, self._now, self._met)
        if isinstance(caller, (KeysNeeded, IntrospectionNeeded)):
            return Need(caller)
        if isinstance(caller, Reason):
            return self._refuse(caller)
        self._caller = caller
        if isinstance(match, NoMatch):
            self._shape = match.shape
            return self._refuse(match.reason, allowed_methods=match.allowed)
        return self._judge(match, caller, fields)

    def _judge(self, match: Match, caller: Caller, fields: RequestFields) -> Step:
        """May they."""
        checkpoint, api = self._checkpoint, match.route.api.id
        facts = checkpoint.find_facts(match, caller, self._origin, fields, self._now)
        self._subject, self._purpose = facts.subject, facts.purpose
        if api in checkpoint.counted:
            counted = self._count(api, facts)
            if isinstance(counted, CountsNeeded):
                return Need(counted)
            facts = counted
        decision = self._decision = decide(checkpoint.snapshot.policy, facts)
        reason = find_refusal(decision)
        if self._counting is not None:
            reason = self._counting.settle(reason)
        if reason is not None:
            return self._refuse(reason)
        self._outcome = self._make_outcome(Effect.ALLOW, decision.reason, enforced=True, status=None)
        return self._forward()

    def _count(self, api: str, facts: Facts) -> Facts | CountsNeeded:
        """Return the facts with how much the caller has read, or what must be asked for that."""
        checkpoint, first = self._checkpoint, as_first(facts)
        if find_refusal(decide(checkpoint.snapshot.policy, first)) is not None:
            return first
        if self._counting is None:
            self._counting = Counting(checkpoint.volume, checkpoint.counted[api])
        return self._counting.find(facts, self._request_id, checkpoint.recorder)

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
        if self._api is None or self._target is None or self._fields is None:
            return False
        if checkpoint.snapshot.observes(now):
            return False
        try:
            return self._is_refused(checkpoint, self._target, self._fields, now)
        except Exception:  # noqa: BLE001 - no exception path may keep an answer flowing
            return True

    def _is_refused(self, checkpoint: Checkpoint, target: Target, fields: RequestFields, now: float) -> bool:
        api = checkpoint.snapshot.catalog.find_api(self._host)
        if api is None or self._api is None or api.id != self._api.id:
            return True
        match = checkpoint.snapshot.catalog.match(api, self._method, target.segments)
        shown = checkpoint.find_shown(self._chain[0], self._certificate, fields)
        if isinstance(shown, Reason):
            return True
        caller = checkpoint.find_caller(match, fields, shown, now, None)
        if not isinstance(caller, Caller) or not isinstance(match, Match):
            return True
        origin = checkpoint.origins.resolve(self._chain, now)
        facts = checkpoint.find_facts(match, caller, origin, fields, now)
        if self._counting is not None:  # it is counted already, and once
            facts = msgspec.structs.replace(facts, counts=self._counting.counts)
        decision = decide(checkpoint.snapshot.policy, facts)
        self.ends_at = min(caller.until, decision.until, self._now + match.route.max_duration_seconds)
        return find_refusal(decision) is not None

    # What comes of it.

    def _refuse(
        self, reason: Reason, *, allowed_methods: tuple[str, ...] = (), error: Exception | None = None
    ) -> Refuse | Forward:
        observed = self._api is not None and self._checkpoint.snapshot.observes(self._now)
        self._outcome = self._make_outcome(Effect.DENY, reason, enforced=not observed, status=ANSWERS[reason].status)
        if observed:
            return self._forward()
        return Refuse(self._outcome, self._record(released=False), allowed_methods, error)

    def _forward(self) -> Forward:
        if self._api is None or self._target is None:
            raise AssertionError("only a canonical request to a declared API is forwarded")
        self._forwarded = True
        route = self._match.route if self._match else None
        is_read = route.action is Action.READ if route else self._method in _SAFE
        return Forward(
            api=self._api,
            target=self._target.text,
            headers=self._upstream_headers(self._api),
            expects_continue=self._expects_continue,
            is_read=is_read,
            seconds=self._seconds_left(route),
            lines=() if is_read else self._record(released=True),
        )

    def _seconds_left(self, route: Route | None) -> float:
        """Return how long the request may take: it outlives neither its route's limit, its token nor its grant."""
        until = min(self._caller.until, self._decision.until if self._decision else math.inf)
        return max(0.0, min(route.max_duration_seconds if route else UNDECLARED_SECONDS, until - self._now))

    def _release(self, head: ResponseHead, whole: int | None, seconds: float) -> Refuse | Release:
        if self._outcome is None or not self._forwarded:
            return self.fail(Reason.DECISION_FAILED)
        self._answered = head.status
        if self._outcome.enforced:
            self._outcome = msgspec.structs.replace(self._outcome, status=head.status)
        route = self._match.route if self._match else None
        fields = select_response_fields(head.headers, personal_data=route is None or route.subject is not None)
        observed = () if self._outcome.enforced else ((MODE, "observe"),)
        lines = self._record(released=True, whole=whole, seconds=seconds)
        if whole is not None:
            lines = lines or self.end(complete=True, bytes_sent=whole, seconds=seconds).lines
            self._is_whole = True
        return Release(head.status, (*fields, (DECISION_ID, self._request_id), *observed), self._outcome, lines)

    def _upstream_headers(self, api: Api) -> Headers:
        """Return the fields that go to the API: what may pass, then our own, which nobody can forge."""
        if self._fields is None:
            raise AssertionError("only a request whose fields were read is forwarded")
        own = [("Host", self._host if api.hosts else api.upstream.url.partition("://")[2])]
        if api.hosts:
            own.append(("X-Forwarded-Host", self._host))
        address = known(self._origin.ip)
        if address is not None:
            own.append(("X-Forwarded-For", address))
        own.append((DECISION_ID, self._request_id))
        if api.forwards_authorization and self._fields.authorization is not None:
            own.append(("Authorization", self._fields.authorization))
        return (*own, *self._fields.forwardable)

    def _record(self, *, released: bool, whole: int | None = None, seconds: float = 0.0) -> tuple[Line | Rendered, ...]:
        """Return the decision's line, once a passage."""
        if self._recorded or self._outcome is None:
            return ()
        line = self._checkpoint.recorder.decision(
            self._outcome, released=released, upstream=self._upstream, whole=whole, seconds=seconds
        )
        self._recorded = True
        return (line,)

    def _make_outcome(self, effect: Effect, reason: Reason, *, enforced: bool, status: int | None) -> Outcome:
        return Outcome(
            request_id=self._request_id,
            now=self._now,
            method=self._method,
            route=self._match.route if self._match else None,
            shape=self._shape,
            caller=self._caller,
            origin=self._origin,
            subject=self._subject,
            counts=self._counting.counts if self._counting else UNCOUNTED,
            purpose=self._purpose,
            trace=self._fields.trace if self._fields else "",
            decision=self._decision,
            effect=effect,
            reason=reason,
            enforced=enforced,
            status=status,
        )
