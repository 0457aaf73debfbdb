# SPDX-License-Identifier: Apache-2.0
"""One outcome feeds the answer, the ledger and the metrics, so that they cannot disagree."""

import msgspec

from proxy.model.api import Route
from proxy.model.caller import Caller
from proxy.model.counts import UNCOUNTED, Counts
from proxy.model.decision import Decision, Effect, Reason
from proxy.model.facts import Fact
from proxy.model.origin import Origin
from proxy.model.subject import Subject


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """Where a passage stands: what was found out, what was decided, and what the caller is answered."""

    request_id: str
    """Also the ``decision_id`` that a caller is told."""
    now: float
    """The request's one reading of the clock, seconds since 1970."""
    method: str
    route: Route | None
    shape: str
    """Of an undeclared target: its path with everything but declared words replaced by ``*``."""
    caller: Caller
    origin: Origin
    subject: Subject
    purpose: Fact[str]
    decision: Decision | None
    """None where it did not come to a decision: an ambiguous request, no valid token."""
    effect: Effect
    """Of the gateway as a whole: ``deny`` whenever the caller is refused, or would be under enforcement."""
    reason: Reason
    enforced: bool
    """False where a refusal was only observed and the request went on."""
    status: int | None
    """What the caller is answered, None while it is not known yet; a refusal's own status if only observed."""
    trace: str = ""
    """The trace id that the request came with."""
    counts: Counts = UNCOUNTED
    """How much the caller has read, where that was asked for."""
    subjects: tuple[Subject, ...] = ()
    """Each of those whom a request names that may name several; ``subject`` is what these have in common."""

    @property
    def attempt_effect(self) -> Effect:
        """What became of what the caller tried: one whom a rule allows may search for what it may not see.

        What we or an API could not do is nobody's attempt.
        """
        is_refused = self.effect is Effect.DENY and self.status is not None and self.status < 500
        return Effect.DENY if is_refused or self.decision is None else self.decision.effect

    @property
    def is_refusal(self) -> bool:
        """Whether the gateway answers itself, or would under enforcement."""
        return self.reason is not Reason.RULE_ALLOWS
