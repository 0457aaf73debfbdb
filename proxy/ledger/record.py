# SPDX-License-Identifier: Apache-2.0
"""How an outcome becomes a line. What may never stand in one is listed in ``lines.NEVER``, and has no way in here.

A line is put together of rendered pieces, each the members of a few fields of ``lines.DecisionLine``. What a caller, an
origin, a route, a rule or a verdict comes to is rendered once, for they come again and again, and so is what they come
to together: of a request like others only the data subject and a few numbers are rendered anew. This is on the way of
every request.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from proxy.clock import render_instant
from proxy.ledger.entry import Rendered, encode
from proxy.ledger.lines import (
    CallerRecorded,
    ContentRecorded,
    DatabaseRecorded,
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
from proxy.model.counts import TALLIES, UNCOUNTED, Counts
from proxy.model.decision import AppliedRule, Certainty, Decision, Shadow
from proxy.model.facts import UNKNOWN, Fact, FactSet, State, known
from proxy.model.filtering import DROPPED, LEFT, Content, RecordCount
from proxy.model.origin import CountrySource, DatabaseInfo, Origin
from proxy.model.outcome import Outcome

BUNDLE_DIGITS: Final = 32
"""Of a bundle's digest, in a decision line."""
_KEPT: Final = 4096
"""Rendered callers, and rendered origins."""
_KEPT_TOGETHER: Final = 20_000
"""What they come to together with a route and a verdict."""

MAX_SUBJECT_IDS: Final = 4096
"""Subjects of the records of one line that are named; the count of them all is told."""

_NOBODY: Final = CallerRecorded()
_NOWHERE: Final = OriginRecorded()
_NO_ONE: Final = SubjectRecorded()

Value = TypeVar("Value")


class _Kept(Generic[Value]):
    """Renders each value once while it lives on: found by identity, since comparing would cost as much as rendering."""

    def __init__(self, render: Callable[[Value], bytes]) -> None:
        self._render = render
        self._found: dict[int, tuple[Value, bytes]] = {}

    def __call__(self, value: Value) -> bytes:
        found = self._found.get(id(value))
        if found is None:
            if len(self._found) >= _KEPT:
                self._found.clear()
            found = self._found[id(value)] = value, self._render(value)  # held, so that its identity is its own
        return found[1]


class _Common(msgspec.Struct, frozen=True):
    """What lines have in common whose requests differ in the data subject's id and in numbers alone."""

    values: tuple[object, ...]
    """What it was made of, held, so that the identity of each is its own."""
    front: bytes
    """Between the request's id and the data subject's name."""
    back: bytes
    """Behind that."""


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
        self._caller: _Kept[Caller]
        self._is_clear = callers == "clear"
        self._bundle = _members(bundle=bundle[:BUNDLE_DIGITS])
        self._bundle_there = self._bundle + (_members(geolocation=geolocation) if geolocation else b"")
        self._origin = _Kept(_render_origin)
        self._judgements: dict[tuple[object, ...], bytes] = {}
        self._routes: dict[tuple[str, str], bytes] = {}
        self._common: dict[tuple[object, ...], _Common] = {}

    def decision(
        self,
        outcome: Outcome,
        *,
        released: bool,
        upstream: int | None = None,
        whole: int | None = None,
        seconds: float = 0.0,
        content: ContentRecorded | None = None,
    ) -> Rendered:
        """Return the line of an outcome.

        Args:
            outcome: what was decided.
            released: whether an answer of the API leaves, or a request goes to it.
            upstream: the API's status, where the caller is answered another.
            whole: how many bytes the body has, where the whole answer is in hand: then no ``end`` line follows.
            seconds: from the request's head until now; written where the answer is in hand.
            content: what was found in the records of an answer that is in hand.
        """
        names = self._keys.at(outcome.now)
        if names is not self._names:  # another month: whoever was rendered has another name
            self._names = names
            self._caller = _Kept(lambda caller: self._render_caller(caller, names))
            self._common.clear()
        route, subject_id, caller = outcome.route, outcome.subject.id, outcome.caller
        if route is not None and isinstance(subject_id, str):
            common = self._find_common(outcome, route, released)
            front, back = common.front, common.back
            name = names.of_subject(route.api.id, subject_id).encode()
        else:
            front, name, back = (
                self._render_front(outcome, released) + _render_subject(outcome),
                b"",
                self._back(outcome),
            )
        body = b'{"line":"decision","id":%b%b%b%b%b%b%b%b%b' % (
            encode(outcome.request_id),
            front,
            name,
            back,
            b"" if outcome.counts is UNCOUNTED else _render_counts(outcome.counts),
            b"" if content is None else _members(content=content),
            b',"trace":' + encode(outcome.trace) if outcome.trace else b"",
            b"" if upstream is None else _members(upstream=upstream),
            b"}" if whole is None else b',"complete":true,"bytes":%d,"seconds":%.6f}' % (whole, seconds),
        )
        return Rendered(body, "" if released or caller.principal else _render(outcome.origin.ip), outcome.reason)

    def _find_common(self, outcome: Outcome, route: Route, released: bool) -> _Common:  # noqa: FBT001 - as above
        """Return what the line of a request has in common with those of others, of a route with a data subject.

        It is kept by all that it is made of: what is known by its identity is held with it. Beside that it is made of
        the recorder's own settings alone, and of the keys of a month, with which it goes.
        """
        decision, caller, origin, subject = outcome.decision, outcome.caller, outcome.origin, outcome.subject
        key = (
            id(decision), id(caller), id(origin), id(route), subject.country, subject.source, outcome.purpose,
            outcome.method, outcome.effect, outcome.reason, outcome.enforced, outcome.status, released,
        )  # fmt: skip
        common = self._common.get(key)
        if common is None:
            if len(self._common) >= _KEPT_TOGETHER:
                self._common.clear()
            country = encode(_render(subject.country))
            source = b',"source":%b' % encode(subject.source) if subject.source else b""
            front = self._render_front(outcome, released) + b',"subject":{"country":%b%b,"id":"' % (country, source)
            values = (decision, caller, origin, route)
            common = self._common[key] = _Common(values, front, b'"}' + self._back(outcome))
        return common

    def _render_front(self, outcome: Outcome, released: bool) -> bytes:  # noqa: FBT001 - as above
        """Render what came of it, what was asked for, by whom and from where."""
        return b"".join(
            (
                self._judge(outcome, released),
                self._asked(outcome),
                self._caller(outcome.caller),
                self._origin(outcome.origin),
            )
        )

    def _back(self, outcome: Outcome) -> bytes:
        """Return by what it was judged. Of a declared network geolocation had nothing to say."""
        return self._bundle if outcome.origin.source is CountrySource.NETWORK else self._bundle_there

    def _judge(self, outcome: Outcome, released: bool) -> bytes:  # noqa: FBT001 - as above
        """Render what came of it, and which rules applied.

        The usual case is kept: one rule, all of whose facts are known, and nothing else.
        """
        decision = outcome.decision
        rule = "" if decision is None else decision.rule_id
        if decision is not None and not _is_plain(decision):
            return _render_verdict(outcome, released) + _render_judgement(decision)
        key = rule, outcome.effect, outcome.reason, outcome.enforced, released, outcome.status
        found = self._judgements.get(key)
        if found is None:
            judged = b"" if decision is None else _render_judgement(decision)
            found = self._judgements[key] = _render_verdict(outcome, released) + judged
        return found

    def _asked(self, outcome: Outcome) -> bytes:
        """Render what was asked for, and what for."""
        route, purpose = outcome.route, known(outcome.purpose)
        if route is None:
            found = _members(method=outcome.method) + (_members(shape=outcome.shape) if outcome.shape else b"")
        else:
            kept = self._routes.get((route.id, outcome.method))
            if kept is None:
                kept = self._routes[route.id, outcome.method] = _render_route(route, outcome.method)
            found = kept
        return found + _members(purpose=purpose) if purpose else found

    def _render_caller(self, caller: Caller, names: Pseudonyms) -> bytes:
        countries = caller.countries
        known = countries if isinstance(countries, FactSet) else None
        recorded = CallerRecorded(
            who=self._name(caller.principal, names),
            issuer=_render(caller.issuer),
            affiliate=_render(caller.affiliate),
            kind=_render(caller.kind),
            countries=tuple(sorted(known.members)) if known else _render_state(countries),
            countries_open=known.is_open if known else False,
            ties=tuple(map(_render_tie, caller.ties)),
            on_behalf_of=self._render_person(caller.on_behalf_of, names),
        )
        return b"" if recorded == _NOBODY else _members(caller=recorded)

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

    def name_value(self, audience: str, category: str, text: str) -> str:
        """Return the keyed pseudonym that stands in a value's place, the same again for the same audience."""
        return self._keys.fields.of(audience, category, text)

    @property
    def cursor_key(self) -> bytes:
        """The key under which the cursors of APIs are sealed."""
        return self._keys.cursors

    def tell_content(self, content: Content, counts: Sequence[RecordCount], api: str, now: float) -> ContentRecorded:
        """Return what is recorded of the records of a part of an answer; subjects by their keyed pseudonyms."""
        ids = tuple(dict.fromkeys(content.ids))
        named = tuple(self._keys.at(now).of_subjects(api, ids[:MAX_SUBJECT_IDS]))
        left, dropped, rules = Counter[str](), Counter[str](), Counter[str]()
        for each in counts:
            (dropped if each.what == DROPPED else left)[each.country] += each.count
            if each.what != LEFT:
                rules[each.rule] += each.count
        return ContentRecorded(
            seen=content.seen,
            dropped=content.dropped,
            masked=content.masked,
            subjects=len(ids),
            subject_ids=named,
            left=dict(left),
            kept_back=dict(dropped),
            rules=dict(rules),
        )

    def name_counted(self, api: str, name: str) -> bytes:
        """Return the keyed pseudonym under which what somebody reads at an API is counted."""
        return self._keys.counts.of(api, name)


def add_contents(one: ContentRecorded, other: ContentRecorded) -> ContentRecorded:
    """Return what was found in two parts of an answer together; whose data it was, each says for itself."""
    return ContentRecorded(
        seen=one.seen + other.seen,
        dropped=one.dropped + other.dropped,
        masked=one.masked + other.masked,
        left=dict(Counter(one.left) + Counter(other.left)),
        kept_back=dict(Counter(one.kept_back) + Counter(other.kept_back)),
        rules=dict(Counter(one.rules) + Counter(other.rules)),
    )


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


def _render_subject(outcome: Outcome) -> bytes:
    """Render whose data it is, where nobody is named."""
    recorded = SubjectRecorded(
        _render(outcome.subject.country), _render_state(outcome.subject.id), outcome.subject.source
    )
    return b"" if recorded == _NO_ONE else _members(subject=recorded)


def _render_tie(tie: Tie) -> str:
    part = "" if tie.of is Part.CALLER else f"{tie.of}/"
    return f"{part}{tie.label}:{tie.country}:{'<'.join(tie.path)}"


def _render_route(route: Route, method: str) -> bytes:
    members: dict[str, Any] = {"method": method, "api": route.api.id, "route": route.id, "action": route.action}
    return _members(**members, **({"data": sorted(route.data.members)} if route.data.members else {}))


def _is_plain(decision: Decision) -> bool:
    """Say whether the rule that determined it, and whose every fact is known, says it all."""
    return not (
        decision.unknown
        or decision.transforms
        or decision.lifted
        or decision.shadow is not None
        or len(decision.applied) != 1
        or decision.rule is None
        or decision.rule.certainty is not Certainty.MATCHED
    )


def _render_verdict(outcome: Outcome, released: bool) -> bytes:  # noqa: FBT001 - as above
    members: dict[str, Any] = {"effect": outcome.effect, "reason": outcome.reason}
    members |= {} if outcome.enforced else {"enforced": False}
    members |= {"released": released} | ({} if outcome.status is None else {"status": outcome.status})
    return _members(**members)


def _render_judgement(decision: Decision) -> bytes:
    """Render which rules applied, those of them that do not say it all, and what was not known."""
    says_all = len(decision.applied) == 1 and decision.applied[0] is decision.rule and not decision.rule.unknown
    members: dict[str, Any] = {
        "rule": decision.rule_id,
        "certainty": decision.rule.certainty if decision.rule else "",
        "rules": () if says_all else tuple(map(_render_rule, decision.applied)),
        "unlisted": decision.unlisted,
        "unknown": decision.unknown,
        "transforms": dict(decision.transforms),
        "lifted": tuple((each.rule, each.grant) for each in decision.lifted),
        "shadow": _render_shadow(decision.shadow) if decision.shadow else None,
    }
    return _members(**{name: value for name, value in members.items() if value})


def _render_rule(rule: AppliedRule) -> RuleRecorded:
    return RuleRecorded(rule.id, rule.effect, rule.certainty, rule.unknown)


def _render_shadow(shadow: Shadow) -> ShadowRecorded:
    return ShadowRecorded(shadow.would, shadow.changes, tuple(map(_render_rule, shadow.applied)))


def _render_counts(counts: Counts) -> bytes:
    """Render the counts that are known."""
    numbers = {name: number for name in TALLIES if isinstance(number := getattr(counts, name), int)}
    return _members(counts=numbers) if numbers else b""


def _render_origin(origin: Origin) -> bytes:
    anonymous = origin.anonymous
    members = () if isinstance(anonymous, State) else tuple(sorted(anonymous.members))
    recorded = OriginRecorded(
        ip=_render(origin.ip),
        country=_render(origin.country),
        network=_render(origin.network),
        source=origin.source.name.lower(),
        registered_country=_render(origin.registered_country),
        asn=_render(origin.asn),
        anonymous=anonymous.value if isinstance(anonymous, State) else members,
        anonymous_open=not isinstance(anonymous, State) and anonymous.is_open,
    )
    return b"" if recorded == _NOWHERE else _members(origin=recorded)


def _members(**members: Any) -> bytes:
    """Render members of an object, each with a comma before it."""
    return b"," + encode(members)[1:-1]
