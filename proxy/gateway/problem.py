# SPDX-License-Identifier: Apache-2.0
"""Refusals as problem documents (RFC 9457). Nothing that a caller wrote is echoed."""

from typing import Final

import msgspec

from proxy.model.decision import Reason
from proxy.model.outcome import Outcome
from proxy.model.request import Headers
from proxy.pipeline.answers import ANSWERS
from proxy.pipeline.recording import DECISION_ID

MEDIA_TYPE: Final = "application/problem+json"
_ENCODE: Final = msgspec.json.Encoder().encode


_TOLD_BY_OTHERS: Final = ("answer", "lookup:")
"""Where a subject's country came from that the caller did not write."""
_TELLING: Final = frozenset({Reason.RULE_DENIES, Reason.TRANSFORMS_NOT_APPLIED})
"""Whether it is one of them, or ``no-rule-allows``, hangs on the subject's country, and would tell it of any id."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document."""

    type: str
    title: str
    status: int
    reason: str
    decision_id: str
    """Finds the record in the ledger."""
    rule: str = ""
    detail: str = ""


def render_problem(
    outcome: Outcome, reason: Reason, allowed_methods: tuple[str, ...], *, tell_rule: bool
) -> tuple[int, Headers, bytes]:
    """Return status, fields and body of a refusal."""
    if not tell_rule and reason in _TELLING and outcome.subject.source.startswith(_TOLD_BY_OTHERS):
        reason = Reason.NO_RULE_ALLOWS
    answer = ANSWERS[reason]
    is_told = tell_rule and reason is Reason.RULE_DENIES
    rule = outcome.decision.rule if outcome.decision and is_told else None
    body = _ENCODE(
        Problem(
            type=f"urn:sekisho:reason:{reason}",
            title=answer.title,
            status=answer.status,
            reason=reason,
            decision_id=outcome.request_id,
            rule=rule.id if rule else "",
            detail=rule.title if rule else "",
        )
    )
    fields = [("Content-Type", MEDIA_TYPE), ("Cache-Control", "no-store"), (DECISION_ID, outcome.request_id)]
    if answer.challenge:
        fields.append(("WWW-Authenticate", answer.challenge))
    if allowed_methods:
        fields.append(("Allow", ", ".join(allowed_methods)))
    if answer.status == 503:
        fields.append(("Retry-After", "5"))
    return answer.status, tuple(fields), body
