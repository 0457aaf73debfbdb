# SPDX-License-Identifier: Apache-2.0
"""What whoever counts is asked: for one request, and for those whom a part of its answer shows."""

from collections.abc import Iterable, Mapping
from typing import Final

from proxy.ledger.record import Recorder
from proxy.model.counts import TALLIES, Asked, Count, CountsNeeded
from proxy.model.facts import Fact, State
from proxy.model.subject import Subject
from proxy.policy.attributes import Facts
from proxy.policy.counted import find_states, whose_count

_FIRST_BY_COUNTRY: Final[Mapping[str, Fact[int]]] = {name: 1 for name, tally in TALLIES.items() if tally.is_by_country}


def make_question(
    asked: tuple[Asked, ...], facts: Facts, request_id: str, recorder: Recorder, *, awaits: bool = False
) -> CountsNeeded:
    """Return what is to be asked for one request, and what of it nobody needs to be asked.

    Args:
        asked: what is counted.
        facts: of the request.
        request_id: its id.
        recorder: names who is counted, and for whom, without naming them.
        awaits: whether the answer tells the subjects: their numbers are then asked for as they stand.
    """
    whose, subject, api = whose_count(facts.caller), facts.subject, facts.resource.api
    if isinstance(whose, State):
        return CountsNeeded(request_id, (), {each.tally.name: whose for each in asked})
    caller = recorder.name_counted(api, whose)
    requests = (request_id.encode(),)
    known = _find_awaited(subject) if awaits else find_states(subject)
    subjects = () if awaits or not isinstance(subject.id, str) else (recorder.name_counted(api, subject.id),)
    counts = tuple(
        Count(
            each,
            caller,
            str(subject.country) if each.tally.is_by_country else "",
            subjects if each.tally.is_of_subjects else requests,
        )
        for each in asked
        if each.tally.name not in known
    )
    names = {each.tally.name for each in asked}
    return CountsNeeded(request_id, counts, {name: fact for name, fact in known.items() if name in names})


def _find_awaited(subject: Subject) -> Mapping[str, Fact[int]]:
    """Return the tallies that are as those of a first request until it is known of which country the subjects are."""
    return {} if isinstance(subject.country, str) else _FIRST_BY_COUNTRY


def make_question_of(
    subjects: Iterable[Subject], asked: tuple[Asked, ...], facts: Facts, question_id: str, recorder: Recorder
) -> CountsNeeded:
    """Return what is to be asked for those whom a part of an answer shows, all together.

    Of more members than rules tell apart, so many are asked for: the number is the largest with these alone.
    """
    whose, api = whose_count(facts.caller), facts.resource.api
    if isinstance(whose, State):
        states = {each.tally.name: whose for each in asked if each.tally.is_of_subjects}
        return CountsNeeded(question_id, (), states)
    groups: dict[str, dict[bytes, None]] = {"": {}}
    for subject in subjects:
        if isinstance(subject.id, str):
            member = recorder.name_counted(api, subject.id)
            groups[""][member] = None
            if isinstance(subject.country, str):
                groups.setdefault(subject.country, {})[member] = None
    caller = recorder.name_counted(api, whose)
    counts = tuple(
        Count(each, caller, group, tuple(members)[: each.at_most])
        for each in asked
        if each.tally.is_of_subjects
        for group, members in groups.items()
        if members and each.tally.is_by_country is bool(group)
    )
    return CountsNeeded(question_id, counts, {})
