# SPDX-License-Identifier: Apache-2.0
"""What becomes of each record of an answer that is looked into, by the rules that are in force.

- Where the request knew its subject, one decision serves every record.
- Where a country was claimed, each record has to confirm it.
- Else each record is decided by its own subject: once for each that no rule tells apart.
- A deny that hangs on data categories takes their fields alone, where the rest may leave.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final, Protocol, TypeAlias

import msgspec

from proxy.model.api import Transform, combine_transforms
from proxy.model.decision import AppliedRule, Certainty, Decision, Effect, Reason
from proxy.model.facts import UNKNOWN, Fact, FactSet
from proxy.model.filtering import AnswerRefusedError, Judge, Verdict
from proxy.model.inspection import Inspection
from proxy.model.ports import Directory
from proxy.model.subject import LookupNeeded, Subject, Told
from proxy.pipeline.whose import locate
from proxy.policy.attributes import Facts, Resource
from proxy.policy.evaluate import MAX_LISTED, decide
from proxy.policy.partial import Partial
from proxy.policy.policy import Policy

SEVERAL: Final = "several"
"""Stands for the countries of a subject that has more than one."""

MAX_KEPT: Final = 1024
"""Verdicts, and subjects with theirs, that one answer's judge keeps."""

Refer: TypeAlias = Callable[[str], str]
"""Returns the keyed pseudonym under which grants name a subject."""
_Key: TypeAlias = tuple[object, ...]


class AnswerJudge(Judge, Protocol):
    """A judge of one answer, as the passage uses it."""

    @property
    def missing(self) -> tuple[LookupNeeded, ...]:
        """What must be asked before the next record can be judged; from then on it is taken as asked."""
        ...

    def take_shown(self) -> list[Subject]:
        """Return whose records were let go since this was called last, where that is noted."""
        ...

    def name(self, verdict: Verdict) -> str:
        """Return the country of the records of a verdict."""
        ...

    def is_same_under(self, policy: Policy, facts: Facts, partial: Partial | None) -> bool:
        """Decide by another policy from now on, and say whether each verdict so far stays what it is."""
        ...


def can_take(inspection: Inspection | None, transforms: Iterable[str]) -> bool:
    """Say whether each category that is to be transformed has a declared field that is it, below it or above it."""
    if inspection is None:
        return not list(transforms)
    declared = [field.category for field in inspection.fields]
    return all(any(_meet(category, each) for each in declared) for category in transforms)


def _meet(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def hangs_on_country(decision: Decision) -> bool:
    """Say whether a denial might be another decision, were the subject's country known."""
    is_matched = decision.rule is not None and decision.rule.certainty is Certainty.MATCHED
    return not is_matched and "subject.country" in decision.unknown


def find_strictest(decisions: Sequence[Decision]) -> Decision:
    """Return what several decisions come to together: the first that denies, else all transforms added up."""
    for decision in decisions:
        if decision.effect is not Effect.ALLOW:
            return decision
    first, *rest = decisions
    if not rest:
        return first
    transforms: dict[str, Transform] = {}
    for decision in decisions:
        for category, transform in decision.transforms.items():
            transforms[category] = combine_transforms(transforms.get(category, transform), transform)
    applied, unlisted = list_applied(decisions)
    return msgspec.structs.replace(
        first,
        applied=applied,
        unlisted=unlisted,
        transforms=transforms,
        unknown=tuple(sorted({name for each in decisions for name in each.unknown})),
        until=min(each.until for each in decisions),
    )


def list_applied(decisions: Sequence[Decision]) -> tuple[tuple[AppliedRule, ...], int]:
    """Return the rules that applied, each once, as many as a decision lists; and how many more did, at least."""
    rules = {rule.id: rule for decision in decisions for rule in decision.applied}
    beyond = max(0, len(rules) - MAX_LISTED) + max(each.unlisted for each in decisions)
    return tuple(rules.values())[:MAX_LISTED], beyond


class FixedJudge:
    """Lets every record leave as the request was decided: it knew whose data it is about.

    Args:
        decision: on the request.
        country: of its subject; unknown where there are several.
        claimed: the countries that each record has to confirm; None where nothing has to be confirmed.
        notes_shown: whether to take note of each subject whose record leaves.
    """

    def __init__(
        self,
        decision: Decision,
        country: Fact[str],
        claimed: frozenset[str] | None = None,
        *,
        notes_shown: bool = False,
    ) -> None:
        self.tells_ids = notes_shown
        self._shown: list[Subject] = []
        self.missing: tuple[LookupNeeded, ...] = ()
        self._country = country
        self._claimed = claimed
        self._verdict = Verdict(decision, is_allowed=True, transforms=decision.transforms)

    def judge(self, country: Fact[str], id_: Fact[str]) -> Verdict:
        """Return what becomes of a record.

        Raises:
            AnswerRefusedError: it is of another country than was claimed.
        """
        if self._claimed is not None and country not in self._claimed:
            raise AnswerRefusedError(Reason.SUBJECT_NOT_CONFIRMED)
        if self.tells_ids:
            self._shown.append(Subject(country=self._country, id=id_, source="answer"))
        return self._verdict

    def take_shown(self) -> list[Subject]:
        """Return whose records were let go since this was called last; nobody where the request counted them."""
        shown, self._shown = self._shown, []
        return shown

    def name(self, verdict: Verdict) -> str:  # noqa: ARG002 - the same of all
        """Return the country of the records of a verdict."""
        return self._country if isinstance(self._country, str) else SEVERAL

    def is_same_under(self, policy: Policy, facts: Facts, partial: Partial | None) -> bool:  # noqa: ARG002 - as above
        """Say whether each verdict so far stays what it is: the request itself is decided anew."""
        return True


class RecordJudge:
    """Decides each record by its own subject.

    Args:
        policy: decides.
        facts: of the request.
        partial: what is decided before the subject is known.
        inspection: what the answer may hold.
        lookup: the register that tells a record's country by its id, and who keeps it; empty where the record does.
        refer: names a subject as grants do; None where there is no grant.
        notes_shown: whether to take note of each subject whose record leaves.
    """

    def __init__(
        self,
        policy: Policy,
        facts: Facts,
        partial: Partial,
        inspection: Inspection,
        *,
        lookup: tuple[str, Directory],
        refer: Refer | None = None,
        notes_shown: bool = False,
    ) -> None:
        self._policy = policy
        self._facts = facts
        self._partial = partial
        self._inspection = inspection
        self._lookup, self._directory = lookup
        self._refer = refer
        self.tells_ids = _hangs_on_ids(partial) or refer is not None or bool(self._lookup) or notes_shown
        self._shown: list[Subject] | None = [] if notes_shown else None
        self._missing: dict[str, None] = {}
        self._is_asked: frozenset[str] = frozenset()
        """Last. Whoever could not be told of then is taken as unknown; the filter goes on at least up to there."""
        self._verdicts: dict[_Key, Verdict] = {}
        self._countries: dict[int, str] = {}
        self._subjects: dict[tuple[Fact[str], Fact[str]], Verdict] = {}
        """What was judged, a bounded number of it, to be judged again under another policy."""

    @property
    def missing(self) -> tuple[LookupNeeded, ...]:
        """What must be asked before the next record can be judged; from then on it is taken as asked."""
        if not self._missing:
            return ()
        ids, self._missing = tuple(self._missing), {}
        self._is_asked = frozenset(ids)
        return (LookupNeeded(self._lookup, ids),)

    def judge(self, country: Fact[str], id_: Fact[str]) -> Verdict | None:
        """Return what becomes of a record, None where a directory must be asked first."""
        subject = self._name(country, id_)
        if not self._lookup:
            verdict = self._judge(subject)
            self._note((subject,), verdict)
            return verdict
        time = self._facts.time
        located = locate(self._directory, self._lookup, subject, time if isinstance(time, float) else 0.0)
        if located is Told.NOT_FOUND and id_ not in self._is_asked:
            self._missing[str(id_)] = None
            return None
        has_failed = isinstance(located, Told)
        if isinstance(located, Told):
            located = (msgspec.structs.replace(subject, country=UNKNOWN),)
        verdict = self._find_strictest([self._judge(each) for each in located])
        if has_failed and not verdict.is_allowed and hangs_on_country(verdict.decision):
            raise AnswerRefusedError(Reason.LOOKUP_UNAVAILABLE, verdict)  # dropped, it would seem not to be there
        self._note(located, verdict)
        return verdict

    def take_shown(self) -> list[Subject]:
        """Return whose records were let go since this was called last, where that is noted."""
        if not self._shown:
            return []
        shown, self._shown = self._shown, []
        return shown

    def _name(self, country: Fact[str], id_: Fact[str]) -> Subject:
        reference = self._refer(id_) if self._refer is not None and isinstance(id_, str) else ""
        return Subject(country=country, id=id_, reference=reference, source="answer")

    def _note(self, subjects: Sequence[Subject], verdict: Verdict) -> None:
        if self._shown is not None and verdict.is_allowed:
            self._shown += subjects

    def _judge(self, subject: Subject) -> Verdict:
        decision = self._partial.find(subject).decision
        facts = msgspec.structs.replace(self._facts, subject=subject)
        if decision is None or self._refer is not None:  # a grant names subjects one by one
            decision = decide(self._policy, facts)
        verdict = self._keep(subject.country, self._make(decision, facts))
        if len(self._subjects) < MAX_KEPT:
            self._subjects[subject.country, subject.id if self.tells_ids else UNKNOWN] = verdict
        return verdict

    def _find_strictest(self, verdicts: Sequence[Verdict]) -> Verdict:
        if len(verdicts) == 1:
            return verdicts[0]
        for verdict in verdicts:
            if not verdict.is_allowed:
                return verdict
        decision = find_strictest([each.decision for each in verdicts])
        transforms: dict[str, Transform] = {}
        for verdict in verdicts:
            for category, transform in verdict.transforms.items():
                transforms[category] = combine_transforms(transforms.get(category, transform), transform)
        return self._keep(SEVERAL, Verdict(decision, is_allowed=True, transforms=transforms))

    def _make(self, decision: Decision, facts: Facts) -> Verdict:
        if decision.effect is not Effect.ALLOW:
            return self._spare(decision, facts) or Verdict(decision, is_allowed=False)
        if can_take(self._inspection, decision.transforms):
            return Verdict(decision, is_allowed=True, transforms=decision.transforms)
        refused = msgspec.structs.replace(decision, effect=Effect.DENY, reason=Reason.TRANSFORMS_NOT_APPLIED)
        return Verdict(refused, is_allowed=False)

    def _spare(self, denied: Decision, facts: Facts) -> Verdict | None:
        """Return a verdict that takes some categories of data alone, where that is all that is denied."""
        resource = facts.resource
        declared = frozenset(field.category for field in self._inspection.fields)
        spared = frozenset(each for each in declared if self._allows(facts, frozenset({each})) is not None)
        if not spared or spared == declared:
            return None
        decision = self._allows(facts, spared)
        if decision is None or resource.data.is_open:
            return None
        transforms = {**decision.transforms, **dict.fromkeys(declared - spared, Transform.REMOVE)}
        applied, unlisted = list_applied([decision, denied])
        decision = msgspec.structs.replace(decision, applied=applied, unlisted=unlisted)
        return Verdict(decision, is_allowed=True, transforms=transforms)

    def _allows(self, facts: Facts, data: frozenset[str]) -> Decision | None:
        """Return the decision on some categories of data alone, where it allows them and asks nothing impossible."""
        decision = decide(self._policy, msgspec.structs.replace(facts, resource=_narrow(facts.resource, data)))
        is_allowed = decision.effect is Effect.ALLOW and can_take(self._inspection, decision.transforms)
        return decision if is_allowed else None

    def _keep(self, country: Fact[str], verdict: Verdict) -> Verdict:
        """Return a verdict that says the same of records of the same country, so that they are counted together."""
        decision = verdict.decision
        key = (
            country, verdict.is_allowed, decision.rule_id, decision.reason, decision.applied, decision.lifted,
            decision.until, frozenset(verdict.transforms.items()),
        )  # fmt: skip
        kept = self._verdicts.get(key)
        if kept is None:
            if len(self._verdicts) >= MAX_KEPT:
                return verdict
            kept = self._verdicts[key] = verdict
            self._countries[id(verdict)] = country if isinstance(country, str) else UNKNOWN.value
        return kept

    def name(self, verdict: Verdict) -> str:
        """Return the country of the records of a verdict."""
        return self._countries.get(id(verdict), SEVERAL)

    def is_same_under(self, policy: Policy, facts: Facts, partial: Partial | None) -> bool:
        """Decide by another policy from now on, and say whether each verdict so far stays what it is."""
        if partial is None or (_hangs_on_ids(partial) and not self.tells_ids):
            return False  # verdicts are held by country alone
        before, self._subjects = self._subjects, {}
        self._policy, self._facts, self._partial = policy, facts, partial
        is_full = len(before) >= MAX_KEPT
        return not is_full and all(
            _says_the_same(self._judge(self._name(country, id_)), verdict) for (country, id_), verdict in before.items()
        )


def _hangs_on_ids(partial: Partial) -> bool:
    """Say whether the id of a subject may have a part in its decision."""
    return bool(partial.by_id) or any(each.decision is None for each in partial.classes)


def _says_the_same(one: Verdict, other: Verdict) -> bool:
    return one.is_allowed == other.is_allowed and dict(one.transforms) == dict(other.transforms)


@lru_cache(maxsize=1024)
def _narrow(resource: Resource, data: frozenset[str]) -> Resource:
    """Return a resource with some of its data alone; the same one again, since decisions are kept by it."""
    return msgspec.structs.replace(resource, data=FactSet(data))
