# SPDX-License-Identifier: Apache-2.0
"""What is to be counted, for a policy to decide by: nothing, unless some rule asks for it.

An API's requests are counted where a rule that can apply to one of its routes asks for a count, and then on all of its
routes: else what a count means would hang on which other rules there are. Rules in shadow mode are counted for, too,
since nobody could try a limit otherwise.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from proxy.model.caller import Caller
from proxy.model.counts import TALLIES, Asked
from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, Fact, State
from proxy.model.origin import Origin
from proxy.model.subject import Subject
from proxy.policy.attributes import COUNTS, Facts, Resource, Scope
from proxy.policy.matchers import Within
from proxy.policy.policy import Policy
from proxy.policy.rules import Condition, Grant, Rule

_NOBODY: Final = Caller()
_NOWHERE: Final = Origin()
_NO_ONE: Final = Subject()


def find_counted(policy: Policy, resources: Iterable[Resource]) -> Mapping[str, tuple[Asked, ...]]:
    """Return what is counted, by API; an API of which nothing is counted is not there."""
    counting = [each for each in _all(policy) if any(_limits(each))]
    found: dict[str, dict[str, list[int]]] = {}
    for resource in resources if counting else ():
        told = found.setdefault(resource.api, {})
        for each in counting:
            if isinstance(each, Grant) or _is_possible(each, resource):
                for name, number in _limits(each):
                    told.setdefault(name, []).append(number)
    return {
        api: tuple(Asked(tally, max(told[name]), min(told[name])) for name, tally in TALLIES.items() if name in told)
        for api, told in found.items()
        if told
    }


def find_counting(policy: Policy) -> tuple[str, ...]:
    """Return the ids of the rules and grants that ask for a count."""
    return tuple(each.id for each in _all(policy) if any(_limits(each)))


def _all(policy: Policy) -> Iterator[Rule | Grant]:
    yield from policy.rules
    yield from policy.grants


def _limits(rule: Rule | Grant) -> Iterator[tuple[str, int]]:
    """Yield the tallies that a rule asks for, each with the number from which on it says something else."""
    for condition in _conditions(rule):
        test = condition.literal.test
        if condition.attribute.startswith(COUNTS) and isinstance(test, Within):
            beyond = test.end if test.start < 0 else test.start
            yield condition.attribute.removeprefix(COUNTS), int(beyond)


def _conditions(rule: Rule | Grant) -> Iterator[Condition]:
    yield from rule.when
    if isinstance(rule, Rule):
        for block in rule.unless:
            yield from block.conditions


def _is_possible(rule: Rule, resource: Resource) -> bool:
    facts = Facts(_NOBODY, _NOWHERE, _NO_ONE, resource)
    return all(literal(facts) is not False for literal in rule.literals if literal.scope is Scope.RESOURCE)


def whose_count(caller: Caller) -> Fact[str]:
    """Return whom a request is counted for: the person for whom the caller acts, else the caller itself.

    Nobody knows how much somebody has read of whom nobody knows who it is.
    """
    if caller.affiliate is NOT_APPLICABLE:
        return NOT_APPLICABLE
    return caller.on_behalf_of.principal or caller.principal or UNKNOWN


def find_states(subject: Subject) -> Mapping[str, State]:
    """Return the tallies of subjects that nobody can count here, each with what it is."""
    if not isinstance(subject.id, str):
        state = NOT_APPLICABLE if subject.id is NOT_APPLICABLE else UNKNOWN
        return {name: state for name, tally in TALLIES.items() if tally.is_of_subjects}
    if not isinstance(subject.country, str):
        return {name: UNKNOWN for name, tally in TALLIES.items() if tally.is_by_country}
    return {}
