# SPDX-License-Identifier: Apache-2.0
"""How an outcome becomes a line. What may never stand in one is listed in ``lines.NEVER``, and has no way in here.

What a caller, an origin and a route come to is rendered once for as long as the same value comes again: callers and
origins are kept between requests.
"""

from collections.abc import Callable, Iterable
from typing import Final, Generic, Literal, TypeVar

from proxy.clock import render_instant
from proxy.ledger.lines import (
    NO_SECONDS,
    CallerRecorded,
    DatabaseRecorded,
    DecisionLine,
    GeolocationLine,
    OriginRecorded,
    PersonRecorded,
    RuleRecorded,
    ShadowRecorded,
    SubjectRecorded,
)
from proxy.ledger.pseudonym import KeyRing, Pseudonyms
from proxy.model.api import Route
from proxy.model.caller import Caller, Part, Person, Tie
from proxy.model.decision import AppliedRule, Certainty, Decision, Shadow
from proxy.model.facts import UNKNOWN, Fact, FactSet, State, known
from proxy.model.origin import DatabaseInfo, Origin
from proxy.model.outcome import Outcome

BUNDLE_DIGITS: Final = 32
"""Of a bundle's digest, in a decision line."""
_KEPT: Final = 4096
"""Rendered callers, and rendered origins."""

Value = TypeVar("Value")
Rendered = TypeVar("Rendered")


class _Kept(Generic[Value, Rendered]):
    """Renders each value once while it lives on: found by identity, since comparing would cost as much as rendering."""

    def __init__(self, render: Callable[[Value], Rendered]) -> None:
        self._render = render
        self._found: dict[int, tuple[Value, Rendered]] = {}

    def __call__(self, value: Value) -> Rendered:
        found = self._found.get(id(value))
        if found is None:
            if len(self._found) >= _KEPT:
                self._found.clear()
            found = self._found[id(value)] = value, self._render(value)  # held, so that its identity is its own
        return found[1]


class Recorder:
    """Makes lines for one snapshot.

    Args:
        keys: of pseudonyms, by period.
        bundle: the digest of the snapshot.
        geolocation: the version of the geolocation data.
        callers: how they are named, by ``pseudonym`` or in ``clear``; data subjects are never named in clear.
    """

    def __init__(
        self, keys: KeyRing, bundle: str, geolocation: str = "", callers: Literal["pseudonym", "clear"] = "pseudonym"
    ) -> None:
        self._keys = keys
        self._names: Pseudonyms | None = None
        self._caller: _Kept[Caller, CallerRecorded]
        self._is_clear = callers == "clear"
        self._bundle = bundle[:BUNDLE_DIGITS]
        self._geolocation = geolocation
        self._origin = _Kept(_render_origin)
        self._data = _Kept(_render_data)

    def decision(
        self,
        outcome: Outcome,
        *,
        released: bool,
        upstream: int | None = None,
        whole: int | None = None,
        seconds: float = 0.0,
    ) -> DecisionLine:
        """Return the line of an outcome.

        Args:
            outcome: what was decided.
            released: whether an answer of the API leaves, or a request goes to it.
            upstream: the API's status, where the caller is answered another.
            whole: how many bytes the body has, where the whole answer is in hand: then no ``end`` line follows.
            seconds: from the request's head until now; written where the answer is in hand.
        """
        decision, route = outcome.decision, outcome.route
        names = self._keys.at(outcome.now)
        if names is not self._names:  # another month: whoever was rendered has another name
            self._names = names
            self._caller = _Kept(lambda caller: self._render_caller(caller, names))
        return DecisionLine(
            id=outcome.request_id,
            effect=outcome.effect,
            reason=outcome.reason,
            enforced=outcome.enforced,
            released=released,
            status=outcome.status,
            rule=decision.rule_id if decision else "",
            certainty=decision.rule.certainty if decision and decision.rule else "",
            rules=_render_rules(decision) if decision else (),
            unlisted=decision.unlisted if decision else 0,
            unknown=decision.unknown if decision else (),
            transforms=dict(decision.transforms) if decision else {},
            lifted=tuple((each.rule, each.grant) for each in decision.lifted) if decision else (),
            shadow=_render_shadow(decision.shadow) if decision and decision.shadow else None,
            purpose=known(outcome.purpose) or "",
            method=outcome.method,
            api=route.api.id if route else "",
            route=route.id if route else "",
            action=route.action if route else "",
            data=self._data(route) if route else (),
            shape=outcome.shape,
            caller=self._caller(outcome.caller),
            origin=self._origin(outcome.origin),
            subject=_render_subject(outcome, names),
            bundle=self._bundle,
            geolocation=self._geolocation,
            trace=outcome.trace,
            upstream=upstream,
            complete=None if whole is None else True,
            bytes=whole or 0,
            seconds=NO_SECONDS if whole is None else round(seconds, 6),
        )

    def _render_caller(self, caller: Caller, names: Pseudonyms) -> CallerRecorded:
        countries = caller.countries
        known = countries if isinstance(countries, FactSet) else None
        return CallerRecorded(
            who=self._name(caller.principal, names),
            issuer=_render(caller.issuer),
            affiliate=_render(caller.affiliate),
            kind=_render(caller.kind),
            countries=tuple(sorted(known.members)) if known else _render_state(countries),
            countries_open=known.is_open if known else False,
            ties=tuple(map(_render_tie, caller.ties)),
            on_behalf_of=self._render_person(caller.on_behalf_of, names),
        )

    def _render_person(self, person: Person, names: Pseudonyms) -> PersonRecorded | None:
        if not person.principal and person.id is not UNKNOWN:
            return None
        return PersonRecorded(
            who=self._name(person.principal, names),
            issuer=_render(person.issuer),
            affiliate=_render(person.affiliate),
            kind=_render(person.kind),
        )

    def _name(self, principal: str, names: Pseudonyms) -> str:
        return principal if self._is_clear or not principal else names.of_caller(principal)

    def name_subject(self, api: str, subject_id: str) -> str:
        """Return the keyed pseudonym under which grants name a data subject of an API."""
        return self._keys.subjects.of_subject(api, subject_id)


def geolocation_line(version: str, databases: Iterable[DatabaseInfo]) -> GeolocationLine:
    """Return the line that says which geolocation data are put in force."""
    return GeolocationLine(
        version=version,
        databases=tuple(
            DatabaseRecorded(each.use, each.type, render_instant(each.built), each.digest) for each in databases
        ),
    )


def render_place(url: str) -> str:
    """Return where something is without what may be a secret there: user, password, query and fragment."""
    scheme, colon, rest = url.partition("://")
    if not colon:
        return url  # a path in the policy folder
    authority, slash, path = rest.partition("#")[0].partition("?")[0].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def _render(fact: Fact[str]) -> str:
    return fact.value if isinstance(fact, State) else fact


def _render_state(fact: object) -> str:
    return fact.value if isinstance(fact, State) else State.UNKNOWN.value


def _render_tie(tie: Tie) -> str:
    part = "" if tie.of is Part.CALLER else f"{tie.of}/"
    return f"{part}{tie.label}:{tie.country}:{'<'.join(tie.path)}"


def _render_data(route: Route) -> tuple[str, ...]:
    return tuple(sorted(route.data.members))


def _render_rules(decision: Decision) -> tuple[RuleRecorded, ...]:
    """Return the rules that applied; none where only the determining one did, and every fact was known."""
    applied = decision.applied
    if len(applied) == 1 and applied[0] is decision.rule and applied[0].certainty is Certainty.MATCHED:
        return ()
    return tuple(map(_render_rule, applied))


def _render_rule(rule: AppliedRule) -> RuleRecorded:
    return RuleRecorded(rule.id, rule.effect, rule.certainty, rule.unknown)


def _render_shadow(shadow: Shadow) -> ShadowRecorded:
    return ShadowRecorded(shadow.would, shadow.changes, tuple(map(_render_rule, shadow.applied)))


def _render_subject(outcome: Outcome, names: Pseudonyms) -> SubjectRecorded:
    subject, route = outcome.subject, outcome.route
    country = _render(subject.country)
    if route is None or not isinstance(subject.id, str):
        return SubjectRecorded(country, _render_state(subject.id))
    return SubjectRecorded(country, names.of_subject(route.api.id, subject.id))


def _render_origin(origin: Origin) -> OriginRecorded:
    anonymous = origin.anonymous
    return OriginRecorded(
        _render(origin.ip),
        _render(origin.country),
        _render(origin.network),
        origin.source.name.lower(),
        _render(origin.registered_country),
        _render(origin.asn),
        anonymous.value if isinstance(anonymous, State) else tuple(sorted(anonymous.members)),
        not isinstance(anonymous, State) and anonymous.is_open,
    )
