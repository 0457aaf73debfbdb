# SPDX-License-Identifier: Apache-2.0
"""How a request of a case is decided, as a passage decides it: before its answer is there, and by its records."""

import msgspec

from proxy.bundle.cases import BY_RECORD, CaseGiven
from proxy.bundle.snapshot import Snapshot
from proxy.lifecycle.answers import AnswerTold, tell_answer, tell_subjects
from proxy.lifecycle.subjects import GivenDirectory, find_search, make_subject
from proxy.model.api import Route
from proxy.model.decision import Decision, Effect, Reason
from proxy.model.facts import UNKNOWN, Fact, known
from proxy.model.request import Target
from proxy.model.subject import Subject, Told
from proxy.pipeline.judge import AnswerJudge, FixedJudge, RecordJudge, find_strictest
from proxy.pipeline.judging import comes_in_time
from proxy.pipeline.whose import locate
from proxy.policy.attributes import Facts
from proxy.policy.evaluate import decide
from proxy.policy.partial import Partial, SubjectClass, Verdict, decide_unresolved


class Asked(msgspec.Struct, frozen=True):
    """A request of a case."""

    route: Route
    method: str
    target: Target
    given: CaseGiven
    every: tuple[Facts, ...]
    """Its facts, once for each subject; where only the answer tells it, once."""
    is_resolved: bool
    """Whether its subjects are known before the answer is."""
    directory: GivenDirectory
    reference: str
    """The name by which a grant knows the subject; empty for none."""


class Ruled(msgspec.Struct, frozen=True):
    """How a request is decided."""

    effect: str
    """``allow``, ``deny`` or ``by-record``."""
    reason: str
    """Empty where it hangs on the records."""
    decision: Decision | None
    """On the request; where only the answer tells the subject, one that stands for its classes, if all agree."""
    asked: tuple[Facts, ...]
    """The facts that rules were asked about, those of records, too."""
    partial: Partial | None = None
    """What is decided before the answer tells whose data it is."""
    answer: AnswerTold | None = None
    """What became of the answer, or of the records of which it was said whose they are."""


def rule(snapshot: Snapshot, asked: Asked) -> Ruled:
    """Decide a request of a case."""
    if asked.is_resolved:
        return _rule_resolved(snapshot, asked)
    (facts,) = asked.every
    partial = decide_unresolved(snapshot.policy, facts)
    verdict = partial.verdict
    if verdict is Verdict.DENY:
        decision = _find_common(partial) or decide(snapshot.policy, facts)
        return Ruled(Effect.DENY, decision.reason, decision, asked.every, partial)
    if verdict is Verdict.ALLOW:
        told = _look(asked, _make_judge(snapshot, asked, partial), is_untouched=True)
        return Ruled(Effect.ALLOW, Reason.RULE_ALLOWS, _find_common(partial), _find_facts(asked, told), partial, told)
    barrier = _find_barrier(asked)
    if barrier is not None:
        return Ruled(Effect.DENY, barrier, None, asked.every, partial)
    told = _look(asked, _make_judge(snapshot, asked, partial), is_untouched=False)
    refused = "" if told is None else told.refused
    effect: str = Effect.DENY if refused else BY_RECORD
    return Ruled(effect, refused, None, _find_facts(asked, told), partial, told)


def _rule_resolved(snapshot: Snapshot, asked: Asked) -> Ruled:
    if len({asked.route.api.find_upstream(each.subject.country).url for each in asked.every}) > 1:
        return Ruled(Effect.DENY, Reason.SUBJECTS_APART, None, asked.every)
    decision = find_strictest([decide(snapshot.policy, each) for each in asked.every])
    ruled = Ruled(decision.effect, decision.reason, decision, asked.every)
    source = asked.route.subject
    if decision.effect is not Effect.ALLOW or source is None:
        return ruled
    is_claimed = source.is_confirmed and not source.header and asked.given.subject is None
    claimed = frozenset(country for each in asked.every if (country := known(each.subject.country)) is not None)
    only: Fact[str] = min(claimed) if len(claimed) == 1 else UNKNOWN
    judge = FixedJudge(decision, only, claimed if is_claimed else None)
    told = _look(asked, judge, is_untouched=not (decision.transforms or is_claimed))
    if told is not None and told.refused:
        return msgspec.structs.replace(ruled, effect=Effect.DENY, reason=told.refused, answer=told)
    return msgspec.structs.replace(ruled, answer=told)


def find_deciding(snapshot: Snapshot, asked: Asked) -> Facts:
    """Return the facts of the subject by whom a request is decided: the first that is denied, else the first."""
    denied = (each for each in asked.every if decide(snapshot.policy, each).effect is not Effect.ALLOW)
    return next(denied, asked.every[0])


def _find_barrier(asked: Asked) -> Reason | None:
    """Return why a subject that the answer tells is told too late, or may not be searched for."""
    route = asked.route
    if (
        not comes_in_time(route, asked.method)
        or route.subject is None
        or (route.inspection is None and not route.subject.header)
    ):
        return Reason.SUBJECT_UNRESOLVED
    return None if route.subject.header else find_search(route, asked.target)


def _make_judge(snapshot: Snapshot, asked: Asked, partial: Partial) -> AnswerJudge | None:
    inspection, source = asked.route.inspection, asked.route.subject
    if inspection is None or source is None:
        return None
    (facts,) = asked.every
    refer = (lambda _: asked.reference) if asked.reference else None
    return RecordJudge(
        snapshot.policy, facts, partial, inspection, lookup=(source.lookup, asked.directory), refer=refer
    )


def _look(asked: Asked, judge: AnswerJudge | None, *, is_untouched: bool) -> AnswerTold | None:
    """Look into the answer that a case gives.

    Args:
        asked: the request.
        judge: decides its records; None where they cannot be looked at.
        is_untouched: whether the answer leaves as it came, so that its records are only counted.
    """
    given, inspection = asked.given, asked.route.inspection
    if judge is None or inspection is None:
        return None
    if given.subjects is not None:
        return tell_subjects(inspection, judge, map(make_subject, given.subjects))
    if given.answer is None:
        return None
    told = tell_answer(inspection, judge, given.answer, hides=not is_untouched and not asked.is_resolved)
    return AnswerTold(told.records, given.answer, subjects=told.subjects) if is_untouched else told


def _find_facts(asked: Asked, told: AnswerTold | None) -> tuple[Facts, ...]:
    """Return the facts of a request and of the records of its answer."""
    if told is None or asked.route.subject is None:
        return asked.every
    (facts,) = asked.every
    subjects = [each for subject in told.subjects for each in _locate(asked, subject)]
    return (facts, *(msgspec.structs.replace(facts, subject=each) for each in dict.fromkeys(subjects)))


def _locate(asked: Asked, subject: Subject) -> tuple[Subject, ...]:
    lookup = asked.route.subject.lookup if asked.route.subject else ""
    found = locate(asked.directory, lookup, subject, 0.0) if lookup else (subject,)
    return (subject,) if isinstance(found, Told) else found


def _find_common(partial: Partial) -> Decision | None:
    """Return the decision that all classes of subject come to, as far as they agree on the rule."""
    decisions = [each.decision for each in partial.classes if each.decision is not None]
    same = {(each.rule_id, each.reason) for each in decisions}
    return decisions[0] if len(same) == 1 and len(decisions) == len(partial.classes) else None


class Outcome(msgspec.Struct, frozen=True):
    """What is decided on some subjects before the answer tells whose data it is."""

    subjects: str
    """Countries, ``any other``, ``unknown``; with ids where rules name some."""
    effect: str
    """``allow``, ``deny``, or ``by-record``: it hangs on more than rules name."""
    rule: str
    is_by_unknown: bool
    transforms: tuple[tuple[str, str], ...]


def list_outcomes(partial: Partial) -> tuple[Outcome, ...]:
    """Return what is decided before the answer is there, each outcome once with the subjects that come to it."""
    names_ids = bool(partial.by_id)
    found: dict[tuple[str, str, bool, tuple[tuple[str, str], ...]], dict[str, None]] = {}
    for each in partial.classes:
        decision = each.decision
        determining = None if decision is None else decision.rule
        key = (
            str(each.effect or BY_RECORD),
            "" if decision is None else decision.rule_id,
            determining is not None and determining.certainty == "by-unknown",
            tuple(sorted((category, str(how)) for category, how in each.transforms)),
        )
        found.setdefault(key, {})[_name_class(each, names_ids=names_ids)] = None
    return tuple(Outcome(", ".join(subjects), *key) for key, subjects in found.items())


def _name_class(each: SubjectClass, *, names_ids: bool) -> str:
    return f"{each.country} with the id {each.id}" if names_ids else str(each.country)
