# SPDX-License-Identifier: Apache-2.0
"""Every metric, declared once.

- At most three free labels a metric, and their values come from the bundle's declared ids, ISO countries and our
  own enumerations: never from a request.
- Every labelled metric has a hard cap of children; what goes beyond is counted as ``other``, and in
  ``sekisho_labels_folded_total`` (``counting``).
- Detail lives in the ledger; a metric is for alerting and for looking at trends.
"""

from collections.abc import Callable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from proxy.counting import OTHER, BoundedCounter, LabelledCounter, PlainCounter, PlainHistogram
from proxy.model.decision import Effect
from proxy.model.facts import UNKNOWN, Fact, FactSet, State
from proxy.model.filtering import DROPPED, RecordCount
from proxy.model.origin import DatabaseInfo
from proxy.model.outcome import Outcome

WORKER_ENDS: Final = ("told", "by-itself", "killed")
"""How a worker may end."""

_DECISION_BUCKETS: Final = (5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2, 1e-1)
_LOOKUP_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_PASSAGE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 300)


class Metrics:
    """The metrics of one process.

    Args:
        registry: where they are registered; a fresh one by default, so that tests stand alone.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._folded = LabelledCounter(
            "sekisho_labels_folded_total",
            "Events counted under other because a metric is full.",
            ["metric"],
            self.registry,
        )
        self.decisions = self._counter(
            "sekisho_decisions_total",
            "Decisions, by effect, determining rule and route.",
            ["effect", "rule", "route"],
        )
        self.denials = self._counter(
            "sekisho_denials_total",
            "Requests denied by the policy, by caller affiliate, origin country and data subject's country.",
            ["caller_affiliate", "origin_country", "subject_country"],
        )
        self.denials_tied = self._counter(
            "sekisho_denials_tied_total",
            "Requests denied by the policy, by country the caller is tied to, affiliate and data subject's country.",
            ["tied_country", "caller_affiliate", "subject_country"],
        )
        self.records = self._counter(
            "sekisho_records_total",
            "Records of answers that were looked into, by what became of them, determining rule and route.",
            ["what", "rule", "route"],
        )
        self.records_denied = self._counter(
            "sekisho_records_denied_total",
            "Records that were dropped from answers, by caller affiliate, origin country and data subject's country.",
            ["caller_affiliate", "origin_country", "subject_country"],
        )
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
        self._declare_identity()
        self._declare_policy()
        self._declare_geolocation()
        self._declare_upstreams()
        self._declare_unlabelled()

    def _declare_identity(self) -> None:
        self.key_fetches = self._counter(
            "sekisho_key_fetches_total",
            "Fetches of issuers' key sets, by issuer and result.",
            ["issuer", "result"],
        )
        self.introspections = self._counter(
            "sekisho_introspections_total",
            "Questions to issuers whether a token is active, by issuer and answer.",
            ["issuer", "result"],
        )
        self.tls_reloads = self._counter(
            "sekisho_tls_reloads_total",
            "Attempts to renew the listener's TLS, by result.",
            ["result"],
        )

    def _declare_policy(self) -> None:
        """Declare what tells of the policy beside its decisions."""
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
        self.reloads = self._counter(
            "sekisho_reloads_total",
            "Attempts to put a changed policy folder in force, by result.",
            ["result"],
        )
        registry = self.registry
        self.bundle = Gauge(
            "sekisho_bundle_info",
            "The policy folder in force, by its two digests.",
            ["policy_digest", "registers_digest"],
            registry=registry,
        )
        self.observing = Gauge(
            "sekisho_observe_mode",
            "1 while nothing is blocked (mode: observe), 0 under enforcement.",
            registry=registry,
        )
        self.observe_until = Gauge(
            "sekisho_observe_until_timestamp_seconds",
            "When observe mode ends by itself; 0 under enforcement.",
            registry=registry,
        )
        self.bundle_since = Gauge(
            "sekisho_bundle_since_timestamp_seconds",
            "When the policy folder in force was put in force.",
            registry=registry,
        )
        self.bundle_stale = Gauge(
            "sekisho_bundle_stale",
            "1 while the policy folder as it lies there could not be put in force, and the last good one is.",
            registry=registry,
        )
        self.reviews_overdue = Gauge(
            "sekisho_reviews_overdue",
            "Rules and routes whose review_by is past.",
            registry=registry,
        )
        self.grants_active = Gauge(
            "sekisho_grants_active",
            "Grants that hold at this moment.",
            registry=registry,
        )

    def _declare_geolocation(self) -> None:
        """Declare what tells of the databases that say where addresses are."""
        registry = self.registry
        self.geolocation_reloads = self._counter(
            "sekisho_geolocation_reloads_total",
            "Attempts to put changed geolocation databases in force, by result.",
            ["result"],
        )
        self.geolocation = Gauge(
            "sekisho_geolocation_info",
            "The geolocation databases in force, by use, type and digest.",
            ["database", "type", "digest"],
            registry=registry,
        )
        self.geolocation_built = Gauge(
            "sekisho_geolocation_build_timestamp_seconds",
            "When a geolocation database was built.",
            ["database"],
            registry=registry,
        )
        self.geolocation_age = Gauge(
            "sekisho_geolocation_age_seconds",
            "How long ago a geolocation database was built.",
            ["database"],
            registry=registry,
        )
        self.geolocation_expired = Gauge(
            "sekisho_geolocation_expired",
            "1 while a geolocation database is too old to be believed, and its answers are unknown.",
            ["database"],
            registry=registry,
        )
        self.geolocation_stale = Gauge(
            "sekisho_geolocation_stale",
            "1 while the databases as they lie there could not be put in force, and the last good ones are.",
            registry=registry,
        )

    def _declare_upstreams(self) -> None:
        """Declare what tells of the connections to APIs."""
        self.upstream_connections = Gauge(
            "sekisho_upstream_connections",
            "Connections to an API, by state: busy or idle.",
            ["api", "state"],
            registry=self.registry,
        )
        self.upstream_waiting = Gauge(
            "sekisho_upstream_waiting",
            "Requests that wait for a connection to an API.",
            ["api"],
            registry=self.registry,
        )
        self.upstream_down = Gauge(
            "sekisho_upstream_down",
            "1 while an API is taken for down, because connecting to it failed again and again.",
            ["api"],
            registry=self.registry,
        )
        self.upstream_connect_failures = self._counter(
            "sekisho_upstream_connect_failures_total",
            "Failures to connect to an API, by cause.",
            ["api", "cause"],
        )
        self.upstream_ejections = self._counter(
            "sekisho_upstream_ejections_total",
            "Times that an API was taken for down.",
            ["api"],
        )

    def show_geolocation(self, databases: Sequence[DatabaseInfo], clock: Callable[[], float]) -> None:
        """Say which databases are in force.

        Args:
            databases: all of them.
            clock: reads the wall clock, seconds since 1970.
        """
        gauges = (self.geolocation, self.geolocation_built, self.geolocation_age, self.geolocation_expired)
        for gauge in gauges:
            gauge.clear()
        for each in databases:
            self.geolocation.labels(each.use, each.type, each.digest).set(1)
            self.geolocation_built.labels(each.use).set(each.built)
            self.geolocation_age.labels(each.use).set_function(_age_of(each, clock))
            self.geolocation_expired.labels(each.use).set_function(_expired(each, clock))

    def _declare_unlabelled(self) -> None:
        """Declare what has no labels from requests."""
        registry = self.registry
        self.decision_seconds = PlainHistogram(
            "sekisho_decision_seconds",
            "Time from a request's head to the decision: identity, origin, route and rules.",
            _DECISION_BUCKETS,
            registry,
        )
        self.passage_seconds = PlainHistogram(
            "sekisho_passage_seconds",
            "Time from a request's head to the end of its answer, the API's own time included.",
            _PASSAGE_BUCKETS,
            registry,
        )
        self.key_set_fetched = Gauge(
            "sekisho_key_set_fetched_timestamp_seconds",
            "When an issuer's keys were last fetched.",
            ["issuer"],
            registry=registry,
        )
        self.key_set_keys = Gauge(
            "sekisho_key_set_keys",
            "How many keys of an issuer are trusted now.",
            ["issuer"],
            registry=registry,
        )
        self.tls_certificate_expires = Gauge(
            "sekisho_tls_certificate_expiry_timestamp_seconds",
            "When the listener's own TLS certificate ends; 0 without TLS.",
            registry=registry,
        )
        self.tls_stale = Gauge(
            "sekisho_tls_stale",
            "1 while the listener's TLS as it is declared could not be put in use, and the last good one is.",
            registry=registry,
        )
        self.revocation_lists_until = Gauge(
            "sekisho_revocation_lists_until_timestamp_seconds",
            "When the first revocation list of an authority over client certificates ends.",
            ["authority"],
            registry=registry,
        )
        self.ledger_lines = PlainCounter("sekisho_ledger_lines_total", "Lines made durable.", registry)
        self.pseudonym_keys_until = Gauge(
            "sekisho_pseudonym_keys_until_timestamp_seconds",
            "The first month from now on without a key of its own for pseudonyms: its first instant.",
            registry=registry,
        )
        self.ledger_failures = Counter(
            "sekisho_ledger_failures_total",
            "Times that the ledger could not be written, so that nothing left.",
            registry=registry,
        )
        self._declare_load()
        self._declare_checkpoints()
        self._declare_counts()
        self._declare_lookups()
        self._declare_workers()

    def _declare_load(self) -> None:
        """Declare what tells how much is under way."""
        registry = self.registry
        self.passages = Gauge("sekisho_passages_in_progress", "Requests under way.", registry=registry)
        self.connections = Gauge("sekisho_connections", "Open connections of callers.", registry=registry)
        self.connections_limit = Gauge(
            "sekisho_connections_limit",
            "How many connections of callers are taken at once; 0: no limit.",
            registry=registry,
        )

    def _declare_counts(self) -> None:
        """Declare what tells whether it is known how much callers read."""
        self.counts_asked = self._counter(
            "sekisho_counts_asked_total",
            "Questions to the shared store how much a caller has read, by result.",
            ["result"],
        )
        self.counts_unavailable = Gauge(
            "sekisho_counts_unavailable",
            "1 while the shared store does not say how much callers read, and who is limited is refused.",
            registry=self.registry,
        )
        self.counts_members = Gauge(
            "sekisho_counts_members",
            "Subjects and requests that are held in memory for counting; SEKISHO_COUNTS_MAX_MEMBERS bounds them.",
            registry=self.registry,
        )

    def _declare_lookups(self) -> None:
        """Declare what tells whether directories say whose data it is."""
        registry = self.registry
        self.lookups = self._counter(
            "sekisho_lookups_total",
            "Ids for whose country somebody elsewhere was to be asked, by lookup and result.",
            ["lookup", "result"],
        )
        self.lookup_seconds = PlainHistogram(
            "sekisho_lookup_seconds",
            "Time from a question for countries to its answer, or to its deadline.",
            _LOOKUP_BUCKETS,
            registry,
        )
        self.lookup_entries = Gauge(
            "sekisho_lookup_entries",
            "Answers on ids that are kept.",
            ["lookup"],
            registry=registry,
        )
        self.lookup_down = Gauge(
            "sekisho_lookup_down",
            "1 while a lookup is taken for down, and whoever's decision hangs on it is refused.",
            ["lookup"],
            registry=registry,
        )

    def _declare_workers(self) -> None:
        """Declare what a supervisor tells of its workers."""
        self.workers_serving = Gauge(
            "sekisho_workers_serving",
            "Processes that serve callers.",
            registry=self.registry,
        )
        self.workers_serving.set(1)
        self.worker_ends = self._counter(
            "sekisho_worker_ends_total",
            "Workers that ended, by how: told, by-itself, killed.",
            ["how"],
        )
        for how in WORKER_ENDS:  # from the beginning, so that the first one is seen as a step
            self.worker_ends.begin(how)

    def _declare_checkpoints(self) -> None:
        """Declare what tells whether the ledger is signed, and whether others keep what was."""
        registry = self.registry
        self.ledger_checkpoints = Counter(
            "sekisho_ledger_checkpoints_total", "Checkpoints of the ledger that were signed.", registry=registry
        )
        self.ledger_checkpoint_at = Gauge(
            "sekisho_ledger_checkpoint_timestamp_seconds",
            "When the last checkpoint of the ledger was signed; 0 if none was yet.",
            registry=registry,
        )
        self.witness_deliveries = self._counter(
            "sekisho_witness_deliveries_total",
            "Attempts to give a checkpoint to a witness, by witness and result.",
            ["witness", "result"],
        )
        self.witness_lag = Gauge(
            "sekisho_witness_lag_seconds",
            "How long ago a witness fell behind the checkpoints that were signed; 0 while it has them.",
            ["witness"],
            registry=registry,
        )

    def _counter(self, name: str, documentation: str, labels: list[str]) -> BoundedCounter:
        return BoundedCounter(name, documentation, labels, self.registry, self._folded)

    def count_outcome(self, outcome: Outcome) -> None:
        """Count what became of one request."""
        decision = outcome.decision
        if decision is not None:
            route = outcome.route.id if outcome.route else OTHER
            effect = outcome.attempt_effect
            self.decisions.count(effect, decision.rule_id, route)
            if effect is Effect.DENY:
                self._count_denial(outcome)
            if decision.shadow is not None and decision.shadow.changes:
                for rule in decision.shadow.applied:
                    self.shadow.count(rule.id, decision.effect, decision.shadow.would)
            for lifted in decision.lifted:
                self.grants_used.count(lifted.grant, lifted.rule)
        if outcome.shape:
            self.undeclared.count(_method(outcome.method), outcome.shape)
        if outcome.is_refusal:
            counter = self.refusals if outcome.enforced else self.observed
            counter.count(str(outcome.status), outcome.reason)

    def count_records(self, outcome: Outcome, counts: Sequence[RecordCount]) -> None:
        """Count what became of records of one answer."""
        route = outcome.route.id if outcome.route else OTHER
        for each in counts:
            self.records.count(each.what, each.rule, route, amount=each.count)
            if each.what == DROPPED:
                affiliate, origin = _label(outcome.caller.affiliate), _label(outcome.origin.country)
                self.records_denied.count(affiliate, origin, each.country, amount=each.count)

    def _count_denial(self, outcome: Outcome) -> None:
        affiliate = _label(outcome.caller.affiliate)
        subject = _label(outcome.subject.country)
        self.denials.count(affiliate, _label(outcome.origin.country), subject)
        for country in _tied_countries(outcome.caller.countries):
            self.denials_tied.count(country, affiliate, subject)


class ProbeMetrics:
    """The metrics of the canary, a process of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reachable = Gauge(
            "sekisho_probe_reachable",
            "1 while an API can be reached without the gateway, from where the canary is.",
            ["api"],
            registry=self.registry,
        )
        self.probed_at = Gauge(
            "sekisho_probe_timestamp_seconds",
            "When the canary last tried all APIs.",
            registry=self.registry,
        )

    def show(self, api: str, *, is_reachable: bool) -> None:
        """Show what came of trying an API."""
        self._reachable.labels(api).set(is_reachable)


def _age_of(database: DatabaseInfo, clock: Callable[[], float]) -> Callable[[], float]:
    return lambda: clock() - database.built


def _expired(database: DatabaseInfo, clock: Callable[[], float]) -> Callable[[], float]:
    return lambda: float(not database.holds(clock()))


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _method(method: str) -> str:
    return method if method in _METHODS else OTHER


def _tied_countries(fact: Fact[FactSet]) -> frozenset[str]:
    """Return the countries a caller is tied to, with ``unknown`` where there may be others."""
    if not isinstance(fact, FactSet):
        return frozenset({fact.value}) if fact is UNKNOWN else frozenset()
    return fact.members | {UNKNOWN.value} if fact.is_open else fact.members


def _label(fact: object) -> str:
    return fact.value if isinstance(fact, State) else str(fact)
