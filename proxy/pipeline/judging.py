# SPDX-License-Identifier: Apache-2.0
"""Whose data one request is about, and may they: what a passage decides before the API is asked, and decides anew.

Where the request knows its subject, that is one decision. Where only the answer does, it is one for each class of
subject that the rules tell apart: all denied, nobody is asked; all allowed, nothing is looked into; else a judge
decides each record of the answer.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from proxy.model.api import READING, Route, SubjectSource, Upstream
from proxy.model.caller import Caller
from proxy.model.counts import UNCOUNTED, Counts, CountsNeeded
from proxy.model.decision import Certainty, Decision, Effect, Reason
from proxy.model.facts import ABSENT, UNKNOWN, Fact
from proxy.model.inspection import Beyond, Inspection
from proxy.model.origin import Origin
from proxy.model.query import Query
from proxy.model.request import ResponseHead
from proxy.model.subject import BodyNeeded, Subject, Told
from proxy.origin.resolve import NOWHERE
from proxy.pipeline.approach import Asked
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.counting import Counting, as_first
from proxy.pipeline.counting_answers import AnswerCounting
from proxy.pipeline.judge import AnswerJudge, FixedJudge, RecordJudge, can_take, find_strictest, hangs_on_country
from proxy.pipeline.whose import Wanted, Whose, locate
from proxy.policy.attributes import Facts
from proxy.policy.evaluate import decide
from proxy.policy.partial import Partial, Verdict, decide_unresolved
from proxy.request.catalog import Match
from proxy.request.cursors import unseal_query
from proxy.request.headers import has_body
from proxy.request.query import check_searchable, parse_query
from proxy.subject.selectors import select_answer_country, select_subject

_NOBODY: Final = Caller()
_NO_ONE: Final = Subject()
_ANSWERED: Final = Subject(source="answer")
"""Whose data it is, the answer will tell."""

Wants: TypeAlias = Wanted | CountsNeeded


class _JudgedBy(NamedTuple):
    """What a request is decided by, beside its subject."""

    checkpoint: Checkpoint
    match: Match
    caller: Caller
    origin: Origin


def find_refusal(decision: Decision, inspection: Inspection | None) -> Reason | None:
    """Return why a decision lets nothing pass, None if it does.

    An allowance with transforms needs declared fields that they can be applied to.
    """
    if decision.effect is not Effect.ALLOW:
        return decision.reason
    if decision.transforms and not can_take(inspection, decision.transforms):
        return Reason.TRANSFORMS_NOT_APPLIED
    return None


def comes_in_time(route: Route, method: str) -> bool:
    """Say whether an answer can still tell whose data it is: not after a write, in a tunnel, or without a body."""
    return route.action in READING and method != "HEAD" and not route.upgrades


class Judging:
    """A request as far as its judgement goes.

    Args:
        checkpoint: what is shared.
        request_id: unique.
        now: the one reading of the wall clock, seconds since 1970.
    """

    _method = "other"
    _match: Match | None = None
    _origin: Origin = NOWHERE
    _caller: Caller = _NOBODY
    _subject: Subject = _NO_ONE
    _purpose: Fact[str] = ABSENT
    _decision: Decision | None = None
    _counting: Counting | None = None
    """Where it is counted what the caller reads."""
    _counts: Counts = UNCOUNTED
    """How much the caller has read, as far as that was counted."""
    _shown: AnswerCounting | None = None
    """Counts whom the answer shows, where a limit may hang on that."""
    _whose: Whose | None = None
    """Finds out whose data it is, where the path does not say."""
    _subjects: tuple[Subject, ...] | None = None
    """Those that ``_whose`` found; None while that is not known, or where the path says."""
    _judge: AnswerJudge | None = None
    """Judges the records of the answer; None where it is not looked into."""
    _hides = False
    """Whether a record of the answer could be dropped."""
    _awaits_header = False
    """Whether the head of the answer tells the subject's country, and that is decided then."""
    _judged_by: "_JudgedBy | None" = None
    """By what it is decided then, where another bundle was put in force meanwhile."""
    _header = ""
    """The field of the answer's head that tells the country, in lower case: it does not reach the caller."""
    _place: Upstream | None = None
    """Where the API is served for all of several subjects; None where the one country says."""
    _target_text: str | None = None
    """What is asked of the API, where that is not what was asked of us: a cursor was sealed."""
    ends_at = math.inf
    """Seconds since 1970 by which it ends, by what was decided since the API was asked."""

    def __init__(self, checkpoint: Checkpoint, request_id: str, now: float) -> None:
        self._checkpoint = checkpoint
        self._request_id = request_id
        self._now = now

    # Before the API is asked.

    def _decide(self, match: Match, caller: Caller, asked: Asked) -> Reason | Wants | None:
        """Return why it is refused, what must be had first, or None where it is allowed."""
        checkpoint, route = self._checkpoint, match.route
        if route.id not in checkpoint.elsewhere:
            subject = select_subject(route.subject, match.parameters)
        else:
            found = self._find_subjects(match, asked, route.subject)
            if not isinstance(found, tuple):
                return found
            if len(found) != 1:
                return self._decide_many(match, caller, asked, found)
            subject = found[0]
        facts = checkpoint.find_facts(match, caller, self._origin, subject, asked.approach.fields, self._now)
        self._subject, self._purpose = facts.subject, facts.purpose
        api = route.api.id
        decision = self._count(route, facts) if api in checkpoint.counted else decide(checkpoint.snapshot.policy, facts)
        if isinstance(decision, CountsNeeded):
            return decision
        self._decision = decision
        counting = self._counting
        is_counted = counting is not None and route.id in checkpoint.counted_in_answers
        if decision.effect is Effect.ALLOW and not decision.transforms and self._whose is None and not is_counted:
            return None if counting is None else counting.settle(None)  # nearly every request that is allowed
        reason = self._settle(route, decision, asked)
        if reason is None and is_counted and counting is not None:
            counted = msgspec.structs.replace(facts, counts=counting.counts)
            self._shown = self._make_answer_counting(route, counted, counting)
        return reason if self._counting is None else self._counting.settle(reason)

    def _find_subjects(
        self, match: Match, asked: Asked, source: SubjectSource | None
    ) -> tuple[Subject, ...] | Wanted | Reason:
        if source is None:
            return (select_subject(source, match.parameters),)
        whose = self._whose
        if whose is None:
            whose = self._whose = Whose(source)
            self._header = source.header
        found = whose.find(
            match, asked.target, asked.approach.fields.forwardable, self._checkpoint.directory, self._now
        )
        if isinstance(found, tuple):
            self._subjects = found
        return found

    def _count(self, route: Route, facts: Facts) -> Decision | CountsNeeded:
        """Decide by how much the caller has read, or return what must be asked for that."""
        checkpoint, policy = self._checkpoint, self._checkpoint.snapshot.policy
        first = decide(policy, as_first(facts))
        if find_refusal(first, route.inspection) is not None:
            return first
        counting = self._counting
        if counting is None:
            counting = self._counting = Counting(checkpoint.volume, checkpoint.counted[route.api.id])
        awaits = route.id in checkpoint.counted_in_answers
        counted = counting.find(facts, self._request_id, checkpoint.recorder, awaits=awaits)
        if isinstance(counted, CountsNeeded):
            return counted
        return first if counting.is_as_first else decide(policy, counted)

    def _settle(self, route: Route, decision: Decision, asked: Asked) -> Reason | None:
        """Return why a decision lets nothing pass, and else have the answer looked into where it has to be."""
        whose, source = self._whose, route.subject
        reason = find_refusal(decision, route.inspection)
        if reason is not None:
            is_unsure = whose is not None and whose.has_failed and hangs_on_country(decision)
            return Reason.LOOKUP_UNAVAILABLE if is_unsure else reason
        is_confirmed = whose is not None and source is not None and source.is_confirmed
        counts_shown = route.id in self._checkpoint.counted_in_answers and self._method != "HEAD"
        if not decision.transforms and not is_confirmed and not counts_shown:
            return None
        if is_confirmed and (route.action not in READING or self._method == "HEAD"):
            return Reason.SUBJECT_UNRESOLVED  # an answer that comes too late, or that has nothing to confirm it with
        claimed = None
        if is_confirmed and source is not None and not source.header:
            claimed = frozenset(each.country for each in self._subjects or () if isinstance(each.country, str))
        if decision.transforms or claimed is not None or counts_shown:
            self._judge = FixedJudge(decision, self._subject.country, claimed, notes_shown=counts_shown)
        self._awaits_header = is_confirmed and claimed is None
        if route.searchable_by is None or not (decision.transforms or claimed is not None):
            return None
        query = self._check_search(route, asked)
        return query if isinstance(query, Reason) else None

    def _decide_many(
        self, match: Match, caller: Caller, asked: Asked, subjects: tuple[Subject, ...]
    ) -> Reason | Wants | None:
        """Decide where there are several subjects, or none yet."""
        checkpoint, route = self._checkpoint, match.route
        if not subjects:
            needed = self._ask_searching_body(route, asked)
            if needed is not None:
                return needed
            lookup = route.subject.lookup if route.subject is not None else ""
            answered = Subject(source=f"lookup:{lookup}") if lookup else _ANSWERED
            facts = checkpoint.find_facts(match, caller, self._origin, answered, asked.approach.fields, self._now)
            self._subject, self._purpose = facts.subject, facts.purpose
            if route.api.id in checkpoint.counted:
                counted = self._count_as_it_stands(route, facts)
                if isinstance(counted, CountsNeeded):
                    return counted
                facts = counted
            reason = self._decide_unresolved(route, facts, asked)
            return reason if self._counting is None else self._counting.settle(reason)
        first, *others = [route.api.find_upstream(each.country) for each in subjects]
        if any(other.url != first.url for other in others):
            return Reason.SUBJECTS_APART
        self._place = first
        every = self._find_all_facts(checkpoint, match, caller, asked, subjects)
        self._subject, self._purpose = _join(subjects), every[0].purpose
        if route.api.id in checkpoint.counted:
            return self._decide_counted(route, every, asked)
        decision = self._decision = find_strictest([decide(checkpoint.snapshot.policy, each) for each in every])
        return self._settle(route, decision, asked)

    def _count_as_it_stands(self, route: Route, facts: Facts) -> Facts | CountsNeeded:
        """Return the facts with how much the caller has read before this request."""
        checkpoint = self._checkpoint
        if self._counting is None:
            self._counting = Counting(checkpoint.volume, checkpoint.counted[route.api.id])
        return self._counting.find(facts, self._request_id, checkpoint.recorder, awaits=True)

    def _decide_counted(self, route: Route, every: list[Facts], asked: Asked) -> Reason | Wants | None:
        """Decide on several subjects by how much the caller has read, all of them included."""
        policy = self._checkpoint.snapshot.policy
        standing = self._count_as_it_stands(route, msgspec.structs.replace(every[0], subject=_ANSWERED))
        if isinstance(standing, CountsNeeded):
            return standing
        counted = [msgspec.structs.replace(each, counts=standing.counts) for each in every]
        decision = self._decision = find_strictest([decide(policy, each) for each in counted])
        reason = self._settle(route, decision, asked)
        if reason is None:
            if self._shown is None and self._counting is not None:
                self._shown = self._make_answer_counting(route, counted[0], self._counting)
                needed = self._shown.ask(each.subject for each in counted)
                if needed is not None:
                    return needed
            reason = None if self._shown is None else self._hold_limits(self._shown, route)
        return reason if self._counting is None else self._counting.settle(reason)

    def _make_answer_counting(self, route: Route, facts: Facts, counting: Counting) -> AnswerCounting:
        checkpoint = self._checkpoint
        return AnswerCounting(
            checkpoint.volume,
            checkpoint.counted[route.api.id],
            counting=counting,
            facts=facts,
            request_id=self._request_id,
            recorder=checkpoint.recorder,
        )

    def _hold_limits(self, shown: AnswerCounting, route: Route) -> Reason | None:
        """Return why those who are shown may not be, by how much the caller has read with them."""
        policy = self._checkpoint.snapshot.policy
        crossed = shown.judge(lambda facts: _say(decide(policy, facts)))
        self._counts = shown.counts
        if crossed is None:
            return None
        decision = self._decision = decide(policy, crossed.facts)
        return crossed.find_reason(find_refusal(decision, route.inspection))

    def _find_all_facts(
        self, checkpoint: Checkpoint, match: Match, caller: Caller, asked: Asked, subjects: Sequence[Subject]
    ) -> list[Facts]:
        fields = asked.approach.fields
        return [checkpoint.find_facts(match, caller, self._origin, each, fields, self._now) for each in subjects]

    def _decide_unresolved(self, route: Route, facts: Facts, asked: Asked) -> Reason | None:
        """Decide before the subject is known."""
        policy = self._checkpoint.snapshot.policy
        partial = decide_unresolved(policy, facts)
        verdict = partial.verdict
        effect = Effect.DENY if verdict is Verdict.DENY else Effect.ALLOW
        decision = self._decision = _represent(partial, effect) or decide(policy, facts)
        if verdict is Verdict.DENY:
            return decision.reason
        is_counted = route.id in self._checkpoint.counted_in_answers
        if verdict is Verdict.ALLOW and not (is_counted and self._counting is not None):
            return None
        return self._await_answer(route, facts, asked, partial)

    def _await_answer(self, route: Route, facts: Facts, asked: Asked, partial: Partial) -> Reason | None:
        """Have the answer tell whose data it is, or return why it comes too late for that."""
        checkpoint, source, inspection = self._checkpoint, route.subject, route.inspection
        is_in_time = comes_in_time(route, self._method)
        if is_in_time and source is not None and source.header:
            self._awaits_header = True
            return None
        if not is_in_time or source is None or inspection is None:
            return Reason.SUBJECT_UNRESOLVED
        counting = self._counting if route.id in checkpoint.counted_in_answers else None
        self._judge = RecordJudge(
            checkpoint.snapshot.policy,
            facts,
            partial,
            inspection,
            lookup=(source.lookup, checkpoint.directory),
            refer=checkpoint.refer(route.api.id),
            notes_shown=counting is not None,
        )
        if counting is not None:
            self._shown = self._make_answer_counting(route, facts, counting)
        self._hides = partial.verdict is not Verdict.ALLOW
        if not self._hides:
            return None
        query = self._check_search(route, asked)
        return self._open_cursors(route, asked, query) if isinstance(query, Query) else query

    def _ask_searching_body(self, route: Route, asked: Asked) -> BodyNeeded | None:
        """Return that the body must be had by which an answer is searched that could hide records."""
        is_searching = self._method != "GET" and route.inspection is not None and has_body(asked.approach.headers)
        return self._whose.ask_body() if is_searching and self._whose is not None else None

    def _check_search(self, route: Route, asked: Asked) -> Query | Reason | None:
        """Return the query, None where there is none, or why this may not be searched for where something is hidden."""
        reason = self._check_searching_body(route, asked)
        if reason is not None or not asked.target.raw_query:
            return reason
        query = parse_query(asked.target.raw_query)
        if isinstance(query, Reason):
            return query
        return check_searchable(query, route.searchable_by or frozenset()) or query

    def _check_searching_body(self, route: Route, asked: Asked) -> Reason | None:
        headers, whose = asked.approach.headers, self._whose
        if not has_body(headers):
            return None
        if self._method == "GET":
            return Reason.BODY_UNDECLARED  # RFC 9110 9.3.1 gives it no meaning, and some APIs search by it
        if not self._hides or whose is None:
            return None  # the request itself says whose data it is about
        allowed = route.searchable_by or frozenset()
        return whose.check_search(headers, allowed.difference(_find_cursors(route)))

    def _open_cursors(self, route: Route, asked: Asked, query: Query) -> Reason | None:
        """Have the API asked by its own cursors; return why they are none that were given out."""
        cursors = _find_cursors(route)
        if not cursors:
            return None
        seal, audience = self._checkpoint.seal, self._caller.principal
        opened = unseal_query(query, cursors, lambda name, text: seal.open(audience, route.id, name, text))
        if isinstance(opened, Reason):
            return opened
        self._target_text = f"{asked.target.path}?{opened}"
        return None

    # Once the API has answered.

    def _judge_head(self, head: ResponseHead, asked: Asked) -> Reason | None:
        """Decide by the country that the head of the answer tells; return why it may not leave."""
        match = self._match
        if not self._awaits_header or match is None or match.route.subject is None:
            return None
        by = self._judged_by or _JudgedBy(self._checkpoint, match, self._caller, self._origin)
        country = select_answer_country(match.route.subject, head.headers)
        if isinstance(country, Reason):
            return country
        if match.route.subject.country is not None:
            claimed = {each.country for each in self._subjects or ()}
            is_confirmed = isinstance(country, str) and claimed == {country}
            return None if is_confirmed else Reason.SUBJECT_NOT_CONFIRMED
        subject = msgspec.structs.replace(_ANSWERED, country=country)
        self._subjects = (subject,)
        fields = asked.approach.fields
        facts = by.checkpoint.find_facts(by.match, by.caller, by.origin, subject, fields, self._now)
        if self._counting is not None:
            facts = msgspec.structs.replace(facts, counts=self._counting.counts)
        self._subject = facts.subject
        decision = self._decision = decide(by.checkpoint.snapshot.policy, facts)
        if decision.transforms:
            self._judge = FixedJudge(decision, subject.country)
        return find_refusal(decision, match.route.inspection)

    # Under another bundle.

    def _is_refused(self, checkpoint: Checkpoint, asked: Asked, now: float) -> bool:
        """Say whether a request that is under way would be refused now, or let through otherwise than it is."""
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
        if self._match is None or self._is_declared_otherwise(self._match.route, match.route):
            return True
        subjects = self._subjects
        if subjects is None:
            subjects = (select_subject(match.route.subject, match.parameters),)
        elif match.route.subject is not None and match.route.subject.lookup:
            subjects = _locate_anew(checkpoint, match.route.subject.lookup, subjects, now)
        every = [
            checkpoint.find_facts(match, caller, origin, each, approach.fields, now)
            for each in subjects or (_ANSWERED,)
        ]
        if self._counting is not None:  # it is counted already, and once
            every = [msgspec.structs.replace(each, counts=self._counting.counts) for each in every]
        if not subjects:
            self._judged_by = _JudgedBy(checkpoint, match, caller, origin)
            return self._is_judged_otherwise(checkpoint, every[0])
        decision = find_strictest([decide(checkpoint.snapshot.policy, each) for each in every])
        self.ends_at = min(caller.until, decision.until, self._now + match.route.max_duration_seconds)
        transforms = self._decision.transforms if self._decision else {}
        return find_refusal(decision, match.route.inspection) is not None or decision.transforms != transforms

    def _is_declared_otherwise(self, before: Route, now: Route) -> bool:
        """Say whether the subject was found, or the answer is looked into, by what is declared no longer."""
        is_elsewhere = self._subjects is not None and now.subject != before.subject
        return is_elsewhere or (self._judge is not None and now.inspection != before.inspection)

    def _is_judged_otherwise(self, checkpoint: Checkpoint, facts: Facts) -> bool:
        policy = checkpoint.snapshot.policy
        partial = decide_unresolved(policy, facts)
        self.ends_at = min(self.ends_at, facts.caller.until)
        if partial.verdict is Verdict.DENY:
            return True
        if self._judge is None:
            return partial.verdict is not Verdict.ALLOW and not self._awaits_header
        if partial.verdict is not Verdict.ALLOW and not self._hides:
            return True  # it tells of records that could be dropped now
        return not self._judge.is_same_under(policy, facts, partial)


def _locate_anew(checkpoint: Checkpoint, lookup: str, subjects: tuple[Subject, ...], now: float) -> tuple[Subject, ...]:
    """Return subjects as a register has them now; as they were, where it cannot tell at once."""
    found: dict[Subject, None] = {}
    for each in subjects:
        located = locate(checkpoint.directory, lookup, each, now)
        found |= dict.fromkeys((each,) if isinstance(located, Told) else located)
    return tuple(found)


def _find_cursors(route: Route) -> list[str]:
    """Return the query parameters in which cursors come back."""
    members = () if route.inspection is None else route.inspection.members
    return [each.parameter for each in members if each.beyond is Beyond.CURSOR]


def _join(subjects: tuple[Subject, ...]) -> Subject:
    """Return what several subjects have in common, for the record."""
    countries, ids = {each.country for each in subjects}, {each.id for each in subjects}
    return Subject(
        country=countries.pop() if len(countries) == 1 else UNKNOWN,
        id=ids.pop() if len(ids) == 1 else UNKNOWN,
        source=subjects[0].source,
    )


def _say(decision: Decision) -> object:
    """Return what a decision comes to, to be compared."""
    return decision.effect, tuple(sorted(decision.transforms.items()))


def _represent(partial: Partial, effect: Effect) -> Decision | None:
    """Return the decision that stands for those of an effect: one by a rule that matched, before others."""
    decisions = [each.decision for each in partial.classes if each.effect is effect and each.decision is not None]
    matched = [each for each in decisions if each.rule is not None and each.rule.certainty is Certainty.MATCHED]
    return next(iter(matched or decisions), None)
