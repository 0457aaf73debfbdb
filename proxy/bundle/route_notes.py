# SPDX-License-Identifier: Apache-2.0
"""What ``check`` tells of routes although it is no problem: what does less there, or more, than it reads like."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from proxy.model.api import Route
from proxy.model.caller import UNAUTHENTICATED
from proxy.model.origin import Origin
from proxy.model.subject import Subject
from proxy.policy.attributes import Facts, Resource, Scope
from proxy.policy.matchers import conjunction
from proxy.policy.rules import Rule

MAX_NAMED: Final = 3
"""Routes that one note names; of the rest the number."""


def find_route_notes(routes: Sequence[Route], masks: Iterable[Rule]) -> tuple[str, ...]:
    """Return what a reader should know of routes.

    Args:
        routes: as they are declared.
        masks: the mask rules in force.
    """
    return (*_find_untaken(routes, masks), *_find_elsewhere(routes), *_find_bodies(routes))


def _find_untaken(routes: Sequence[Route], masks: Iterable[Rule]) -> Iterator[str]:
    """Yield the transforms that have no place to act on a route where their rule may apply: it refuses there."""
    for rule in masks:
        untaken: dict[str, list[str]] = {}
        for route in routes:
            if route.subject is not None and _may_apply(rule, route):
                for category in rule.transforms:
                    if not _can_take(route, category):
                        untaken.setdefault(category, []).append(route.id)
        for category, ids in untaken.items():
            where = f"of which {_name(ids)} declare{'s' if len(ids) == 1 else ''} no field"
            asked = f"rule {rule.id} asks {rule.transforms[category]} of {category}"
            yield f"{asked}, {where}: what it applies to is refused there"


def _may_apply(rule: Rule, route: Route) -> bool:
    """Say whether what a rule asks of routes alone leaves it possible on this one."""
    asked = [condition.literal for condition in rule.when if condition.literal.scope is Scope.RESOURCE]
    return any(
        conjunction(literal(_facts_of(resource)) for literal in asked) is not False
        for resource in Resource.at_places(route).values()
    )


def _facts_of(resource: Resource) -> Facts:
    return Facts(caller=UNAUTHENTICATED, origin=Origin(), subject=Subject(), resource=resource)


def _can_take(route: Route, category: str) -> bool:
    fields = () if route.inspection is None else route.inspection.fields
    return any(
        declared == category or declared.startswith(f"{category}.") or category.startswith(f"{declared}.")
        for declared in {field.category for field in fields}
    )


def _name(ids: Sequence[str]) -> str:
    shown = [f"route {id_}" for id_ in ids[:MAX_NAMED]]
    more = [f"{len(ids) - MAX_NAMED} more"] if len(ids) > MAX_NAMED else []
    *first, last = [*shown, *more]
    return f"{', '.join(first)} and {last}" if first else last


def _find_elsewhere(routes: Iterable[Route]) -> Iterator[str]:
    """Yield the routes whose requests go to one upstream although others are declared for some countries."""
    for route in routes:
        subject = route.subject
        if subject is None or not route.api.upstreams or subject.country is not None:
            continue
        if subject.is_in_answer or subject.header:
            yield (
                f"route {route.id} is served by the default upstream of {route.api.id}, whoever it is about: "
                "only its answer tells the country"
            )


def _find_bodies(routes: Iterable[Route]) -> Iterator[str]:
    """Yield the searches by POST: which filters stand in a body nobody declares."""
    for route in routes:
        is_told = route.subject is not None and route.subject.is_in_answer
        if is_told and route.searchable_by is not None and "POST" in route.methods:
            yield (
                f"route {route.id} is searched by its body, too, of which `searchable_by` says nothing: hidden records "
                "could be found by probing"
            )
