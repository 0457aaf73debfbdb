# SPDX-License-Identifier: Apache-2.0
"""The lines of the ledger, and how an outcome becomes one.

What may never stand in a line, by construction: tokens, cookies, bodies, paths, queries, Referer and any header
value, parameter values, claims. A line is built from enumerations, declared ids, countries, addresses, counts and
keyed pseudonyms alone; text that a caller chose is not among its sources.

A fact that is no value is written as the name of its state: ``unknown``, ``absent``, ``not applicable``.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from proxy.clock import render_instant
from proxy.ledger.pseudonym import KeyRing, Pseudonyms
from proxy.model.caller import Part, Person, Tie
from proxy.model.decision import AppliedRule, Shadow
from proxy.model.facts import UNKNOWN, Fact, FactSet, State, known
from proxy.model.origin import DatabaseInfo
from proxy.model.outcome import Outcome


class Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", omit_defaults=True):
    """What every line has."""

    time: str
    """RFC 3339, UTC."""


class StartLine(Line, frozen=True, kw_only=True, tag="start"):
    """A gateway begins to take requests."""

    version: str
    geolocation: str
    upstreams: dict[str, str]
    """API id to where this deployment finds it."""
    key_places: dict[str, str]
    """Issuer id to where this deployment finds its keys."""


class StopLine(Line, frozen=True, kw_only=True, tag="stop"):
    """A gateway ends in order."""


class BundleLine(Line, frozen=True, kw_only=True, tag="bundle"):
    """A bundle is put in force."""

    bundle: str
    policy: str
    registers: str
    mode: str
    observe_until: str = ""


class DatabaseRecorded(msgspec.Struct, frozen=True):
    """A geolocation database."""

    use: str
    type: str
    built: str
    """RFC 3339, UTC."""
    digest: str


class GeolocationLine(Line, frozen=True, kw_only=True, tag="geolocation"):
    """Geolocation data are put in force: what decision lines from here on call by its version."""

    version: str
    databases: tuple[DatabaseRecorded, ...]


class RuleApplied(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rule that applied."""

    id: str
    effect: str
    certainty: str
    unknown: tuple[str, ...] = ()


class PersonRecorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """For whom somebody acted."""

    who: str
    """Keyed pseudonym; empty where nobody knows who."""
    issuer: str
    affiliate: str
    kind: str


class CallerRecorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who asked."""

    who: str
    """Keyed pseudonym; empty for nobody."""
    issuer: str
    affiliate: str
    kind: str
    countries: tuple[str, ...] | str = ()
    """Of the ties that count; the name of the state where they are no value."""
    countries_open: bool = False
    """Whether there may be more that nobody declared."""
    ties: tuple[str, ...] = ()
    """``label:country:path``, the path in affiliate ids; ``part/label:country:path`` of whoever else takes part."""
    on_behalf_of: "PersonRecorded | None" = None
    """For whom it acted; left out where it acted for itself."""


class OriginRecorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """From where."""

    ip: str
    country: str
    network: str
    source: str
    registered_country: str = State.UNKNOWN.value
    asn: str = State.UNKNOWN.value
    anonymous: tuple[str, ...] | str = State.UNKNOWN.value
    """What the address is known to hide; the name of the state where that is not known."""
    anonymous_open: bool = False
    """Whether there may be more that nobody could tell."""


class SubjectRecorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose data."""

    country: str
    id: str
    """Keyed pseudonym, or the state of the fact."""


class ShadowRecorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """What rules in shadow mode would have done."""

    would: str
    changes: bool
    rules: tuple[RuleApplied, ...]


class DecisionLine(Line, frozen=True, kw_only=True, tag="decision"):
    """What was decided of one request, durable before anything of the answer leaves."""

    id: str
    """The request's id; a caller is told it as ``decision_id``."""
    effect: str
    reason: str
    enforced: bool = True
    """False where observe mode let a refusal pass."""
    released: bool
    """Whether an answer of the API leaves; then an ``end`` line follows."""
    status: int | None
    rule: str = ""
    certainty: str = ""
    rules: tuple[RuleApplied, ...] = ()
    """At most as many as a decision lists; ``unlisted`` counts the others."""
    unlisted: int = 0
    unknown: tuple[str, ...] = ()
    transforms: dict[str, str] = {}
    """Data category to what was done to it."""
    lifted: tuple[tuple[str, str], ...] = ()
    """Rules that a grant lifted, each with the grant."""
    shadow: ShadowRecorded | None = None
    """What rules in shadow mode would have done."""
    purpose: str = ""
    """Only where the caller claimed one that it may."""
    method: str
    api: str = ""
    route: str = ""
    action: str = ""
    data: tuple[str, ...] = ()
    shape: str = ""
    caller: CallerRecorded
    origin: OriginRecorded
    subject: SubjectRecorded
    policy: str
    registers: str
    geolocation: str = ""
    """The version of the geolocation data."""


class EndLine(Line, frozen=True, kw_only=True, tag="end"):
    """How the answer to a request ended."""

    id: str
    status: int | None
    complete: bool
    reason: str = ""
    """Why it is not complete."""
    bytes_sent: int
    seconds: float


class Recorder:
    """Makes lines for one snapshot.

    Args:
        keys: of pseudonyms, by period.
        policy_digest: of the snapshot.
        registers_digest: of the snapshot.
        geolocation: the version of the geolocation data.
    """

    def __init__(self, keys: KeyRing, policy_digest: str, registers_digest: str, geolocation: str = "") -> None:
        self._keys = keys
        self._policy = policy_digest
        self._registers = registers_digest
        self._geolocation = geolocation

    def decision(self, outcome: Outcome, *, released: bool) -> DecisionLine:
        """Return the line of an outcome."""
        decision, route = outcome.decision, outcome.route
        names = self._keys.at(outcome.now)
        return DecisionLine(
            time=render_instant(outcome.now),
            id=outcome.request_id,
            effect=outcome.effect,
            reason=outcome.reason,
            enforced=outcome.enforced,
            released=released,
            status=outcome.status,
            rule=decision.rule_id if decision else "",
            certainty=decision.rule.certainty if decision and decision.rule else "",
            rules=tuple(map(_render_rule, decision.applied)) if decision else (),
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
            data=tuple(sorted(route.data.members)) if route else (),
            shape=outcome.shape,
            caller=_render_caller(outcome, names),
            origin=_render_origin(outcome),
            subject=_render_subject(outcome, names),
            policy=self._policy,
            registers=self._registers,
            geolocation=self._geolocation,
        )

    def name_subject(self, api: str, subject_id: str) -> str:
        """Return the keyed pseudonym under which grants name a data subject of an API."""
        return self._keys.subjects.of_subject(api, subject_id)


def geolocation_line(now: float, version: str, databases: Iterable[DatabaseInfo]) -> GeolocationLine:
    """Return the line that says which geolocation data are put in force at wall-clock reading ``now``."""
    return GeolocationLine(
        time=render_instant(now),
        version=version,
        databases=tuple(
            DatabaseRecorded(each.use, each.type, render_instant(each.built), each.digest) for each in databases
        ),
    )


def end_line(
    request_id: str,
    status: int | None,
    ended: float,
    *,
    complete: bool,
    reason: str,
    bytes_sent: int,
    seconds: float,
) -> EndLine:
    """Return the line that says how an answer ended, at wall-clock reading ``ended``."""
    return EndLine(
        time=render_instant(ended),
        id=request_id,
        status=status,
        complete=complete,
        reason=reason,
        bytes_sent=bytes_sent,
        seconds=round(seconds, 6),
    )


_ENCODE: Final = msgspec.json.Encoder().encode
_ESCAPED: Final = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}
"""What JSON leaves as it is and readers of lines take for an end or a command (RFC 8259 7 escapes the rest)."""


def encode_line(line: Any) -> bytes:
    """Render a line as JSON with its newline; no character that ends a line anywhere is left inside."""
    data = _ENCODE(line)
    return (data if data.isascii() else data.decode().translate(_ESCAPED).encode()).replace(b"\x7f", b"\\u007f") + b"\n"


def _render(fact: Fact[str]) -> str:
    return fact.value if isinstance(fact, State) else fact


def _render_state(fact: object) -> str:
    return fact.value if isinstance(fact, State) else State.UNKNOWN.value


def _render_tie(tie: Tie) -> str:
    part = "" if tie.of is Part.CALLER else f"{tie.of}/"
    return f"{part}{tie.label}:{tie.country}:{'<'.join(tie.path)}"


def _render_rule(rule: AppliedRule) -> RuleApplied:
    return RuleApplied(rule.id, rule.effect, rule.certainty, rule.unknown)


def _render_shadow(shadow: Shadow) -> ShadowRecorded:
    return ShadowRecorded(shadow.would, shadow.changes, tuple(map(_render_rule, shadow.applied)))


def _render_caller(outcome: Outcome, names: Pseudonyms) -> CallerRecorded:
    caller = outcome.caller
    countries = caller.countries
    known = countries if isinstance(countries, FactSet) else None
    return CallerRecorded(
        who=names.of_caller(caller.principal) if caller.principal else "",
        issuer=_render(caller.issuer),
        affiliate=_render(caller.affiliate),
        kind=_render(caller.kind),
        countries=tuple(sorted(known.members)) if known else _render_state(countries),
        countries_open=known.is_open if known else False,
        ties=tuple(map(_render_tie, caller.ties)),
        on_behalf_of=_render_person(caller.on_behalf_of, names),
    )


def _render_person(person: Person, names: Pseudonyms) -> PersonRecorded | None:
    if not person.principal and person.id is not UNKNOWN:
        return None
    return PersonRecorded(
        who=names.of_caller(person.principal) if person.principal else "",
        issuer=_render(person.issuer),
        affiliate=_render(person.affiliate),
        kind=_render(person.kind),
    )


def _render_subject(outcome: Outcome, names: Pseudonyms) -> SubjectRecorded:
    subject, route = outcome.subject, outcome.route
    country = _render(subject.country)
    if route is None or not isinstance(subject.id, str):
        return SubjectRecorded(country, _render_state(subject.id))
    return SubjectRecorded(country, names.of_subject(route.api.id, subject.id))


def _render_origin(outcome: Outcome) -> OriginRecorded:
    origin = outcome.origin
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
