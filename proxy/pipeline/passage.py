# SPDX-License-Identifier: Apache-2.0
"""One request's way through, as a synchronous value: it does no I/O, awaits nothing and reads no clock.

A driver calls, in this order::

    begin(head)      → Refuse | Need | Forward
    supply(need)     → Refuse | Need | Forward      as long as there is a need
    answer(head)     → Refuse | Release | Inspect   once the API has answered
    inspect(data)    → Refuse | Need | Part | Cut   for each part of an answer that is looked into
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

from proxy.assertion.assertions import Judged
from proxy.caller.resolve import NOTHING_MET, IntrospectionNeeded, KeysNeeded
from proxy.model.api import Action, Route
from proxy.model.caller import Caller
from proxy.model.counts import CountsNeeded
from proxy.model.decision import Decision, Effect, Reason
from proxy.model.filtering import AnswerRefusedError
from proxy.model.inspection import Inspection
from proxy.model.request import RequestHead, ResponseHead
from proxy.model.subject import BodyNeeded, LookupNeeded
from proxy.pipeline.answers import ANSWERS
from proxy.pipeline.approach import Approach, Asked
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.judge import AnswerJudge
from proxy.pipeline.looking import Look, Passed
from proxy.pipeline.recording import DECISION_ID, Recording
from proxy.pipeline.steps import INSPECT, Cut, Forward, Inspect, Looked, Need, Part, Refuse, Release, Step
from proxy.redaction.accepting import join_accept_encoding
from proxy.redaction.answers import open_answer
from proxy.redaction.filters import make_filter
from proxy.redaction.treatment import Treatment
from proxy.request.catalog import Match, NoMatch
from proxy.request.headers import find_varying, render_fields
from proxy.request.target import parse_target

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
HTTP_1_1: Final = (1, 1)
UNDECLARED_SECONDS: Final = 60
"""How long a request to an undeclared route may take that observe mode lets pass."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SWITCHING: Final = 101


class Passage(Recording):
    """One request's way through.

    Args:
        checkpoint: what is shared; the same from begin to end, whatever is put in force meanwhile.
        request_id: unique; the caller is told it.
        now: the one reading of the wall clock, seconds since 1970.
    """

    # What is not known yet. A passage holds what it has found out, and looks the rest up here.
    _expects_continue = False
    _met = NOTHING_MET
    _head: ResponseHead | None = None
    """Of an answer that is looked into."""
    _look: Look | None = None
    """Looks into the answer, once there is one that has to be looked into."""
    _beyond: Decision | None = None
    """What a limit on how much is read would have decided of the answer, where that is only observed."""
    _counted_part: Passed | None = None
    """A part that may leave if the limits let it, while those who count are asked."""
    _sent = 0
    """Bytes of the body of an answer that is looked into."""
    _has_left = False
    """Whether something of such an answer was let go."""

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

    def supply(self, need: Need, body: bytes | None = None) -> Step:
        """Go on after this need was met, or could not be. It is not raised again.

        Args:
            need: what was needed.
            body: of the request, where that was needed.
        """
        if isinstance(need.what, KeysNeeded | IntrospectionNeeded):
            self._met |= {need.what}
        try:
            if isinstance(need.what, BodyNeeded) and self._whose is not None and body is not None:
                self._whose.take_body(body)
            return self._cross()
        except Exception as error:  # noqa: BLE001 - as above
            return self._refuse(Reason.DECISION_FAILED, error=error)

    def answer(
        self, head: ResponseHead, whole: int | None = None, seconds: float = 0.0, *, is_upgrade: bool = False
    ) -> Refuse | Release | Inspect:
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
            if self._judge is not None or self._header:
                return self._take_head(head, whole, seconds, is_upgrade=is_upgrade)
            return self._release(head, whole, seconds)
        except Exception as error:  # noqa: BLE001 - no exception path may release an answer
            return self.fail(Reason.DECISION_FAILED, error)

    def inspect(self, data: bytes, *, ended: bool, seconds: float = 0.0) -> Looked:
        """Take more of the body of an answer that is looked into.

        Args:
            data: of the body, as the API sent it; nothing, to go on once a need was met.
            ended: whether that is all of it.
            seconds: since the request's head.
        """
        try:
            looked = self._inspect(data, ended=ended, seconds=seconds)
        except AnswerRefusedError as refused:
            if refused.verdict is not None:
                self._decision = refused.verdict.decision
            return self._stop(refused.reason)
        except Exception as error:  # noqa: BLE001 - no exception path may let an answer go on
            return self._stop(Reason.DECISION_FAILED, error)
        self._has_left = self._has_left or isinstance(looked, Part)
        return looked

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

    def _find_asked(self, head: RequestHead, approach: Approach) -> Asked | Reason:
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
        trace, varying = "", b""
        if head.varying or approach.fields.traced:
            trace, going_on = find_varying(approach.fields, head.varying)
            varying = render_fields(going_on)
        return Asked(approach, target, api, shown, trace, varying)

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
        found = self._decide(match, caller, asked)
        if found is None:
            self._judge_as(Effect.ALLOW, Reason.RULE_ALLOWS)
            return self._forward(asked)
        return self._refuse(found) if isinstance(found, Reason) else Need(found)

    @property
    def expects_continue(self) -> bool:
        """Whether the caller waits to be asked for the body of its request."""
        return self._expects_continue

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

    # What comes of it.

    def _refuse(
        self, reason: Reason, *, allowed_methods: tuple[str, ...] = (), error: Exception | None = None
    ) -> Refuse | Forward:
        asked = self._asked if self._checkpoint.snapshot.observes(self._now) else None
        self._judge_as(Effect.DENY, reason, enforced=asked is None, status=ANSWERS[reason].status)
        if asked is not None:
            return self._forward(asked)
        outcome = self._make_outcome()
        return Refuse(outcome, self._record(outcome, released=False), allowed_methods, error)

    def _forward(self, asked: Asked) -> Forward | Refuse:
        route = self.route
        try:
            assertion = self._vouch(asked, route)
        except Exception as error:  # noqa: BLE001 - what cannot be signed does not go out unsigned, nor in observe mode
            return self.fail(Reason.DECISION_FAILED, error)
        self._forwarded = True
        upstream = self._place or asked.api.find_upstream(self._subject.country)
        front = asked.approach.front or self._checkpoint.fronts[upstream.url]
        rest = asked.approach.rest
        if self._judge is not None or self._awaits_header:  # nothing may ask for less than all of what is looked into
            rest = self._checkpoint.render_inspected(asked.approach, asked.api, self._method)
        is_read = route.action is Action.READ if route else self._method in _SAFE
        return Forward(
            asked.api,
            upstream,
            self._target_text or asked.target.text,
            self._render_own(front).encode() + assertion + rest + asked.varying,
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

    def _vouch(self, asked: Asked, route: Route | None) -> bytes:
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
            self._target_text or asked.target.text,
        )
        return assertions.render_field(asked.api, judged)

    def _seconds_left(self, route: Route | None) -> float:
        """Return how long the request may take: it outlives neither its route's limit, its token nor its grant."""
        until = min(self._caller.until, self._decision.until if self._decision else math.inf)
        return max(0.0, min(route.max_duration_seconds if route else UNDECLARED_SECONDS, until - self._now))

    def _take_head(
        self, head: ResponseHead, whole: int | None, seconds: float, *, is_upgrade: bool
    ) -> Refuse | Release | Inspect:
        """Take the head of an answer that says whose data it is, or that is looked into."""
        asked, route = self._asked, self.route
        if asked is None or route is None or not self._forwarded:
            return self.fail(Reason.DECISION_FAILED)
        reason = self._judge_head(head, asked)
        if self._header:
            kept = tuple([each for each in head.headers if each[0].lower() != self._header])
            head = ResponseHead(head.status, kept)
        if reason is None and is_upgrade:
            reason = Reason.TRANSFORMS_NOT_APPLIED  # in a tunnel nothing is looked into
        judge, inspection = self._judge, route.inspection
        if reason is None and judge is not None:
            look = self._open(head, judge, inspection, route)
            if isinstance(look, Look):
                self._look, self._head = look, head
                return INSPECT
            reason = look
        if reason is not None:
            if not self._checkpoint.snapshot.observes(self._now):
                return self.fail(reason)
            self._judge_as(Effect.DENY, reason, enforced=False, status=ANSWERS[reason].status)
        return self._release(head, whole, seconds)

    def _open(
        self, head: ResponseHead, judge: AnswerJudge, inspection: Inspection | None, route: Route
    ) -> Look | Reason:
        """Return a look into an answer, or why it may not leave."""
        checkpoint, asked = self._checkpoint, self._asked
        if inspection is None or asked is None:
            return Reason.TRANSFORMS_NOT_APPLIED
        options = checkpoint.inspect
        accepts = join_accept_encoding(asked.approach.headers)
        reading = open_answer(inspection, head, self._method, accepts, options=options)
        if isinstance(reading, Reason):
            return reading
        recorder, seal, caller = checkpoint.recorder, checkpoint.seal, self._caller
        audience = caller.affiliate if isinstance(caller.affiliate, str) else caller.principal
        treatment = Treatment(
            name=lambda category, text: recorder.name_value(audience, category, text),
            seal=lambda member, text: seal.seal(caller.principal, route.id, member.parameter, text),
            hides=self._hides,
            record_bytes=options.inspect_record_bytes,
        )
        return Look(
            inspection,
            reading,
            make_filter(inspection, judge, treatment),
            judge,
            hold_bytes=options.inspect_hold_bytes,
            observes=checkpoint.snapshot.observes(self._now),
        )

    def _inspect(self, data: bytes, *, ended: bool, seconds: float) -> Looked:
        """Look into a part of an answer."""
        look, head, route = self._look, self._head, self.route
        if look is None or head is None or route is None:
            return self._stop(Reason.DECISION_FAILED)
        passed = self._take_counted(look, data, ended=ended)
        if passed is None:
            return None
        if not isinstance(passed, Passed):
            return Need(passed) if not isinstance(passed, Reason) else self._stop(passed)
        self._sent += len(passed.data)
        self.ends_at = min(self.ends_at, look.until)
        error, look.error = look.error, None
        content = self._tell_content(passed.found, route.api.id)
        if not passed.is_first:
            is_nothing = content is None and not passed.data
            told = () if is_nothing else (self._tell_part(self._sent, content),)
            return Part(passed.data, told, None, passed.is_last, passed.found.counts, error)
        self._decision = self._beyond or look.find_decision() or self._decision
        if look.is_observed_refusal and self._enforced:  # else it was refused before
            self._observe_refusal(look)
        fields = self._answer_with(head.status, head.headers if look.observes else look.reading.headers)
        release = Release(head.status, fields, self._make_outcome(), ())
        if not passed.is_last:
            first = (*self._record(release.outcome, released=True), self._tell_part(self._sent, content))
            return Part(passed.data, first, release, counts=passed.found.counts, error=error)
        whole = len(passed.data)
        lines = self._record(release.outcome, released=True, whole=whole, seconds=seconds, content=content)
        self._is_whole = True
        lines = lines or self._tell_rest(whole, seconds, content)
        return Part(passed.data, lines, release, is_last=True, counts=passed.found.counts, error=error)

    def _take_counted(
        self, look: Look, data: bytes, *, ended: bool
    ) -> Passed | LookupNeeded | CountsNeeded | Reason | None:
        """Look, and hold the limits on how much somebody reads before what may leave does."""
        passed, self._counted_part = self._counted_part, None
        shown, route = self._shown, self.route
        if passed is None:
            looked = look.look(data, ended=ended)
            if looked is None or isinstance(looked, tuple):
                return None if looked is None else looked[0]
            passed = looked
            needed = None if shown is None else shown.ask(look.judge.take_shown())
            if needed is not None:
                self._counted_part = passed
                return needed
        reason = None if shown is None or route is None else self._hold_limits(shown, route)
        if reason is not None and look.observes:
            self._beyond = self._decision
            look.refused = look.refused or AnswerRefusedError(reason)
            return passed
        return reason or passed

    def _observe_refusal(self, look: Look) -> None:
        """Take note that not all of the answer would have left under enforcement."""
        refused = look.refused
        reason = Reason.RULE_DENIES if refused is None else refused.reason
        if refused is not None and refused.verdict is not None:
            self._decision = refused.verdict.decision
        self._judge_as(Effect.DENY, reason, enforced=False, status=ANSWERS[reason].status)

    def _stop(self, reason: Reason, error: Exception | None = None) -> Refuse | Cut:
        """Refuse an answer, or where something of it has left, have it cut."""
        if self._has_left:
            return Cut(reason, error)
        return self.fail(reason, error)

    def _release(self, head: ResponseHead, whole: int | None, seconds: float) -> Refuse | Release:
        if not self._forwarded:
            return self.fail(Reason.DECISION_FAILED)
        fields, outcome = self._answer_with(head.status, head.headers), self._make_outcome()
        lines = self._record(outcome, released=True, whole=whole, seconds=seconds)
        if whole is not None:
            lines = lines or self.end(complete=True, bytes_sent=whole, seconds=seconds).lines
            self._is_whole = True
        return Release(head.status, fields, outcome, lines)
