# SPDX-License-Identifier: Apache-2.0
"""Outcomes of requests, as what counts them sees them."""

from typing import Any

from proxy.model.api import Action, Api, Route, Upstream
from proxy.model.caller import Caller
from proxy.model.decision import AppliedRule, Certainty, Decision, Effect, Reason
from proxy.model.facts import ABSENT, EMPTY_SET, FactSet
from proxy.model.origin import Origin
from proxy.model.outcome import Outcome
from proxy.model.subject import Subject

API = Api("users", (), Upstream("http://127.0.0.1:9000", None), forwards_authorization=False)
ROUTE = Route(
    api=API,
    id="user",
    methods=("GET",),
    segments=(),
    action=Action.READ,
    subject=None,
    data=EMPTY_SET,
    unauthenticated=False,
    max_duration_seconds=60,
)
CALLER = Caller(affiliate="shanghai-digital", affiliate_country="CN", countries=FactSet(frozenset({"CN", "JP"})))


def a_decision(effect: Effect, rule: str | None) -> Decision:
    applied = AppliedRule(rule, effect, Certainty.MATCHED, "A title") if rule else None
    reason = Reason.RULE_ALLOWS if effect is Effect.ALLOW else Reason.RULE_DENIES if rule else Reason.NO_RULE_ALLOWS
    return Decision(effect, reason, applied, (applied,) if applied else (), ())


ALLOWED, DENIED = a_decision(Effect.ALLOW, "staff"), a_decision(Effect.DENY, "jp-no-china")


def an_outcome(**changes: Any) -> Outcome:
    return Outcome(
        **{
            "request_id": "0" * 26,
            "now": 0.0,
            "method": "GET",
            "route": ROUTE,
            "shape": "",
            "caller": CALLER,
            "origin": Origin(country="JP"),
            "subject": Subject(country="JP", id="42"),
            "purpose": ABSENT,
            "decision": None,
            "effect": Effect.DENY,
            "reason": Reason.RULE_DENIES,
            "enforced": True,
            "status": 403,
            **changes,
        }
    )
