# SPDX-License-Identifier: Apache-2.0
"""What is counted of requests: how they were decided, by which rules, between which countries, and how long it took.

Requests come to the same again and again. Those that are alike are counted together, in one number; what each metric
has of them is told apart when somebody asks (``_Kinds``). So a request costs the same however much is counted of it.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from proxy.counting import OTHER, Found, PlainHistogram
from proxy.model.api import Route
from proxy.model.decision import Decision, Effect, Reason
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Fact, FactSet, State
from proxy.model.filtering import DROPPED, RecordCount
from proxy.model.outcome import Outcome
from proxy.telemetry.attempts import Attempts, Who
from proxy.telemetry.declaring import Declaring

_DECISION_BUCKETS: Final = (5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2, 1e-1)
_PASSAGE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 300)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NOWHERE: Final = (ABSENT, NOT_APPLICABLE)
"""Facts that put nobody in any country."""
_BY_API: Final = frozenset(reason for reason in Reason if reason.startswith(("answer-", "upstream-")))
"""Why a request fails for what an API answered, or because it did not answer."""
MAX_KINDS: Final = 128
"""Kinds of requests that are counted together: to tell them apart holds nobody up for longer than a millisecond."""
_MOST_ROUTES: Final = "sekisho_denied_routes_most"
_FROM_WHERE: Final = ("caller_affiliate", "origin_country", "subject_country")
_TIED_TO_WHAT: Final = ("tied_country", "caller_affiliate", "subject_country")


_Key = tuple[object, ...]
"""What requests have in common that are alike to every metric; what is known by its identity is held with them."""


class _Kind:
    """Requests that are alike to every metric.

    Args:
        outcome: of one of them.
    """

    __slots__ = ("count", "outcome", "place", "who")

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.count = 0
        self.who: Who | None = None
        """Whoever is denied, where that is somebody."""
        self.place = 0


class DecisionMetrics(Declaring):
    """The metrics of requests."""

    title = "Requests and decisions"

    def declare(self) -> None:
        """Declare its metrics."""
        self.attempts = Attempts(self._key, lambda: self._folded.count(_MOST_ROUTES))
        self._kinds: dict[_Key, _Kind] = {}
        self._declare_judging()
        self._declare_rules()
        self._declare_denials()
        self._declare_crossings()
        self._declare_refusals()
        self.records = self._counter(
            "sekisho_records_total",
            "Records of answers that were looked into, by what became of them, determining rule and route.",
            ["what", "rule", "route"],
        )

    def _declare_judging(self) -> None:
        self.decisions = self._counter(
            "sekisho_decisions_total",
            "Decisions, by effect, determining rule and route.",
            ["effect", "rule", "route"],
        )
        self.unknown_facts = self._counter(
            "sekisho_unknown_facts_total",
            "Decisions in which a fact was unknown that a rule asked for, by attribute and effect of the decision.",
            ["fact", "effect"],
        )
        self.decision_seconds = PlainHistogram(
            "sekisho_decision_seconds",
            "Time from a request's head to the decision: identity, origin, route and rules.",
            _DECISION_BUCKETS,
            self.registry,
        )
        self.passage_seconds = PlainHistogram(
            "sekisho_passage_seconds",
            "Time from a request's head to the end of its answer, the API's own time included.",
            _PASSAGE_BUCKETS,
            self.registry,
        )

    def _declare_rules(self) -> None:
        """Declare what tells which rules have a part in decisions."""
        self.rules_applied = self._counter(
            "sekisho_rules_applied_total",
            "Decisions in which a rule applied, determining or not, those in shadow mode included.",
            ["rule"],
        )
        self.shadow = self._counter(
            "sekisho_shadow_decisions_total",
            "Decisions that rules in shadow mode would have changed, by rule, what it is now and what it would be.",
            ["rule", "effect", "would"],
        )
        self.grants_used = self._counter(
            "sekisho_grants_used_total",
            "Rules that a grant lifted, by grant and rule.",
            ["grant", "rule"],
        )

    def _declare_denials(self) -> None:
        self.denials = self._counter(
            "sekisho_denials_total",
            "Requests denied by the policy, by caller affiliate, origin country and data subject's country.",
            _FROM_WHERE,
        )
        self.denials_tied = self._counter(
            "sekisho_denials_tied_total",
            "Requests denied by the policy, by country the caller is tied to, affiliate and data subject's country.",
            _TIED_TO_WHAT,
        )
        self.records_denied = self._counter(
            "sekisho_records_denied_total",
            "Records that were dropped from answers, by caller affiliate, origin country and data subject's country.",
            _FROM_WHERE,
        )
        self.records_denied_tied = self._counter(
            "sekisho_records_denied_tied_total",
            "Records that were dropped from answers, by country the caller is tied to, affiliate and data subject's "
            "country.",
            _TIED_TO_WHAT,
        )
        self.denied_routes_most = Found(
            _MOST_ROUTES,
            "Of all callers of an affiliate: the most distinct routes that one was denied within the last hour.",
            ["caller_affiliate"],
            self.registry,
            self.attempts.find_most_routes,
        )
        self.denied_subjects_most = Found(
            "sekisho_denied_subjects_most",
            "Of all callers of an affiliate: the most distinct data subjects that one was denied within the last hour.",
            ["caller_affiliate"],
            self.registry,
            self.attempts.find_most_subjects,
        )

    def _declare_crossings(self) -> None:
        """Declare what tells of data that cross a border."""
        self.cross_border_requests = self._counter(
            "sekisho_cross_border_requests_total",
            "Allowed requests for data of a subject of another country than the origin or the caller's affiliate.",
            _FROM_WHERE,
        )
        self.cross_border_records = self._counter(
            "sekisho_cross_border_records_total",
            "Records that left of subjects of another country than the origin or the caller's affiliate.",
            _FROM_WHERE,
        )

    def _declare_refusals(self) -> None:
        self.refusals = self._counter(
            "sekisho_refusals_total",
            "Requests that were refused, by status and reason.",
            ["status", "reason"],
        )
        self.observed = self._counter(
            "sekisho_observed_refusals_total",
            "Requests that observe mode let through and that will be refused under enforcement, by status and reason.",
            ["status", "reason"],
        )
        self.undeclared = self._counter(
            "sekisho_undeclared_requests_total",
            "Requests to targets no route declares; shape is the path with all but declared words replaced by *.",
            ["method", "shape"],
        )
        self.answers_cut = self._counter(
            "sekisho_answers_cut_total",
            "Answers that broke off after they had begun to leave, by reason.",
            ["reason"],
        )
        self.upstream_failures = self._counter(
            "sekisho_upstream_failures_total",
            "Requests that were refused, or whose answers were cut, for what an API answered or because it did not.",
            ["api", "reason"],
        )

    def count_outcome(self, outcome: Outcome) -> None:
        """Count what became of one request. This is on the way of every request."""
        decision, caller = outcome.decision, outcome.caller
        is_allowed = outcome.reason is Reason.RULE_ALLOWS and decision is not None and decision.effect is Effect.ALLOW
        key = (
            id(decision), id(outcome.route), outcome.reason, outcome.status, outcome.effect, outcome.enforced,
            outcome.subject.country, outcome.origin.country, caller.affiliate, caller.affiliate_country,
            0 if is_allowed else id(caller), outcome.shape, outcome.method,
        )  # fmt: skip
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._begin_kind(key, outcome)
        kind.count += 1
        if kind.who is not None:
            self.attempts.note(kind.who, kind.place, _whose(outcome), int(outcome.now))

    def _begin_kind(self, key: _Key, outcome: Outcome) -> _Kind:
        """Begin to count requests that are like this one."""
        if len(self._kinds) >= MAX_KINDS:
            self.settle()
        kind = self._kinds[key] = _Kind(outcome)
        is_denied = outcome.decision is not None and outcome.attempt_effect is Effect.DENY
        principal = outcome.caller.principal
        if principal and (is_denied or outcome.shape):
            kind.who = _label(outcome.caller.affiliate), self.attempts.name(principal)
            kind.place = self.attempts.name(outcome.shape or (outcome.route.id if outcome.route else OTHER))
        return kind

    def settle(self) -> None:
        """Count by each metric what was counted together."""
        kinds = [*self._kinds.values()]
        self._kinds.clear()
        for kind in kinds:
            self._count(kind.outcome, kind.count)

    def _count(self, outcome: Outcome, amount: int) -> None:
        """Count requests that came to the same."""
        decision = outcome.decision
        if decision is not None:
            route = outcome.route.id if outcome.route else OTHER
            effect = outcome.attempt_effect
            self.decisions.count(effect, decision.rule_id, route, amount=amount)
            self._count_rules(decision, effect, amount)
            if effect is Effect.DENY:
                self._count_denial(outcome, amount)
            elif _crosses(outcome, country := outcome.subject.country):
                affiliate, origin = _label(outcome.caller.affiliate), _label(outcome.origin.country)
                self.cross_border_requests.count(affiliate, origin, _label(country), amount=amount)
        if outcome.shape:
            self.undeclared.count(_method(outcome.method), outcome.shape, amount=amount)
        if outcome.is_refusal:
            counter = self.refusals if outcome.enforced else self.observed
            counter.count(str(outcome.status), outcome.reason, amount=amount)
            if outcome.enforced:
                self._count_failure(outcome.route, outcome.reason, amount)

    def count_cut(self, route: Route | None, reason: Reason) -> None:
        """Count an answer that broke off.

        Args:
            route: that was asked; None where none is declared, and refusals are only observed.
            reason: why.
        """
        self.answers_cut.count(reason)
        self._count_failure(route, reason, 1)

    def _count_failure(self, route: Route | None, reason: Reason, amount: int) -> None:
        if reason in _BY_API:
            self.upstream_failures.count(route.api.id if route else OTHER, reason, amount=amount)

    def _count_rules(self, decision: Decision, effect: Effect, amount: int) -> None:
        for rule in decision.applied:
            self.rules_applied.count(rule.id, amount=amount)
        for fact in decision.unknown:
            self.unknown_facts.count(fact, effect, amount=amount)
        shadow = decision.shadow
        if shadow is not None:
            for rule in shadow.applied:
                self.rules_applied.count(rule.id, amount=amount)
                if shadow.changes:
                    self.shadow.count(rule.id, decision.effect, shadow.would, amount=amount)
        for lifted in decision.lifted:
            self.grants_used.count(lifted.grant, lifted.rule, amount=amount)

    def count_records(self, outcome: Outcome, counts: Sequence[RecordCount]) -> None:
        """Count what became of records of one answer."""
        route = outcome.route.id if outcome.route else OTHER
        affiliate, origin = _label(outcome.caller.affiliate), _label(outcome.origin.country)
        for each in counts:
            self.records.count(each.what, each.rule, route, amount=each.count)
            if each.what == DROPPED:
                self.records_denied.count(affiliate, origin, each.country, amount=each.count)
                for country in _tied_countries(outcome.caller.countries):
                    self.records_denied_tied.count(country, affiliate, each.country, amount=each.count)
            elif each.country != UNKNOWN.value and _crosses(outcome, each.country):
                self.cross_border_records.count(affiliate, origin, each.country, amount=each.count)

    def _count_denial(self, outcome: Outcome, amount: int) -> None:
        affiliate = _label(outcome.caller.affiliate)
        subject = _label(outcome.subject.country)
        self.denials.count(affiliate, _label(outcome.origin.country), subject, amount=amount)
        for country in _tied_countries(outcome.caller.countries):
            self.denials_tied.count(country, affiliate, subject, amount=amount)


def _whose(outcome: Outcome) -> Iterable[str]:
    """Return whose data was asked for, by API and id, each once; nobody where that is not known."""
    route, subject = outcome.route, outcome.subject.id
    if route is None:
        return ()
    if isinstance(subject, str):
        return (f"{route.api.id}|{subject}",)
    ids = dict.fromkeys(each.id for each in outcome.subjects)
    return [f"{route.api.id}|{id_}" for id_ in ids if isinstance(id_, str)]


def _crosses(outcome: Outcome, country: Fact[str]) -> bool:
    """Whether data of a subject of a country cross a border: where somebody is, or works, may be another country.

    Where that is unknown it may; nobody who works for no affiliate works anywhere.
    """
    if isinstance(country, State):
        return False
    origin, affiliate = outcome.origin.country, outcome.caller.affiliate_country
    return (origin != country and origin not in _NOWHERE) or (affiliate != country and affiliate not in _NOWHERE)


def _method(method: str) -> str:
    return method if method in _METHODS else OTHER


def _tied_countries(fact: Fact[FactSet]) -> frozenset[str]:
    """Return the countries a caller is tied to, with ``unknown`` where there may be others."""
    if not isinstance(fact, FactSet):
        return frozenset({fact.value}) if fact is UNKNOWN else frozenset()
    return fact.members | {UNKNOWN.value} if fact.is_open else fact.members


def _label(fact: object) -> str:
    return fact.value if isinstance(fact, State) else str(fact)
