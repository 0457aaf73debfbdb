# SPDX-License-Identifier: Apache-2.0
"""Every attribute that a rule can ask about: its type, its values, and where it comes from. The set is closed."""

import enum
import operator
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from proxy.model.api import Action, Route, Upstream
from proxy.model.caller import KINDS, PARAGRAPHS, Caller, TieKind
from proxy.model.counts import TALLIES, UNCOUNTED, Counts
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Fact, FactSet, State
from proxy.model.origin import ANONYMOUS, Origin
from proxy.model.problem import nearest
from proxy.model.subject import Subject
from proxy.policy.matchers import ClaimOf, ControlOf


class Resource(msgspec.Struct, frozen=True):
    """What a route is, as rules see it, where one upstream of its API serves it."""

    api: str
    route: str
    data: FactSet
    hosted_in: Fact[str]
    action: str

    @classmethod
    def of(cls, route: Route, upstream: Upstream) -> "Resource":
        """Return the resource of a declared route, as one upstream of its API serves it."""
        return cls(route.api.id, route.id, route.data, upstream.hosted_in or UNKNOWN, route.action)

    @classmethod
    def at_places(cls, route: Route) -> "dict[str | None, Resource]":
        """Return the resources that a declared route is, by the country in which its API is hosted."""
        return {place.hosted_in: cls.of(route, place) for place in route.api.places}


class Facts(msgspec.Struct, frozen=True, gc=False):
    """Everything that one decision is made from."""

    caller: Caller
    origin: Origin
    subject: Subject
    resource: Resource
    purpose: Fact[str] = ABSENT
    """A declared purpose that the caller claims and may claim; unknown where it claims another."""
    case: Fact[str] = ABSENT
    """What the caller says the request is for: a ticket, a matter."""
    time: Fact[float] = UNKNOWN
    """The request's one reading of the clock, seconds since 1970."""
    counts: Counts = UNCOUNTED
    """How much the caller has read, this request included."""


class Scope(enum.Enum):
    """Which part of the facts an attribute is read from: what is kept of one part serves many requests."""

    CALLER = enum.auto()
    ORIGIN = enum.auto()
    RESOURCE = enum.auto()
    SUBJECT = enum.auto()
    REQUEST = enum.auto()
    TIME = enum.auto()
    COUNTS = enum.auto()
    MIXED = enum.auto()
    """More than one of them."""


class Kind(enum.Enum):
    """The type of an attribute."""

    TEXT = "a text"
    COUNTRY = "a country"
    TEXTS = "a set of texts"
    COUNTRIES = "a set of countries"
    TIES = "a set of countries, each with the ties that led to it"
    CATEGORIES = "a set of data categories"
    ADDRESS = "an address"
    INSTANT = "an instant"
    NUMBER = "a number"


class Domain(enum.Enum):
    """Which declared ids an attribute's values are taken from."""

    FREE = enum.auto()
    AFFILIATES = enum.auto()
    ISSUERS = enum.auto()
    NETWORKS = enum.auto()
    APIS = enum.auto()
    ROUTES = enum.auto()
    AFFILIATE_ROLES = enum.auto()
    KINDS = enum.auto()
    ACTIONS = enum.auto()
    CATEGORIES = enum.auto()
    PURPOSES = enum.auto()
    SYSTEMS = enum.auto()
    """No ids, but the numbers of autonomous systems: ``AS4134``."""
    ANONYMOUS = enum.auto()
    YES_NO = enum.auto()
    PARAGRAPHS = enum.auto()


_CLOSED: Final[Mapping[Domain, frozenset[str]]] = {
    Domain.KINDS: frozenset(KINDS),
    Domain.ACTIONS: frozenset(Action),
    Domain.ANONYMOUS: frozenset(ANONYMOUS),
    Domain.YES_NO: frozenset({"yes", "no"}),
    Domain.PARAGRAPHS: frozenset(PARAGRAPHS),
}


class Attribute(msgspec.Struct, frozen=True):
    """One attribute of the language."""

    name: str
    kind: Kind
    source: str
    """Where it comes from, for people."""
    get: Callable[[Facts], Any]
    domain: Domain = Domain.FREE

    @property
    def scope(self) -> Scope:
        """The part of the facts that it is read from."""
        return Scope.MIXED if self.name in _MIXED else _SCOPES[self.name.partition(".")[0]]

    @property
    def mapped(self) -> str:
        """What an issuer maps a claim to where it comes from a token: ``groups``, ``claims.NAME``."""
        return self.name.removeprefix("caller.").removeprefix("on_behalf_of.")

    @property
    def is_of_ties(self) -> bool:
        """Whether it is a set to which somebody is tied: one member more is never a reason to allow."""
        return self.kind is Kind.TIES or self.name.startswith("caller.control.")


_SCOPES: Final = {
    "caller": Scope.CALLER,
    "origin": Scope.ORIGIN,
    "resource": Scope.RESOURCE,
    "action": Scope.RESOURCE,
    "subject": Scope.SUBJECT,
    "purpose": Scope.REQUEST,
    "case": Scope.REQUEST,
    "time": Scope.TIME,
    "counts": Scope.COUNTS,
}


_MIXED: Final = frozenset({"origin.matches_residence"})
"""Attributes that are read from more than one part."""


class Vocabulary(msgspec.Struct, frozen=True):
    """What a bundle declares, for rules to speak of."""

    ids: Mapping[Domain, AbstractSet[str]]
    country_sets: Mapping[str, frozenset[str]]
    control_rules: frozenset[str]
    empty_when_absent: frozenset[str]
    """Caller attributes that some issuer maps with ``absent: empty``."""
    paragraph_rules: frozenset[str] = frozenset()
    """Control rules with paragraphs."""
    claims: frozenset[str] = frozenset()
    """Names under which some issuer maps a claim of its own."""

    namespace: str = ""
    """Of the pack whose rules speak, which means its own sets and control rules by their bare names."""

    def values(self, domain: Domain) -> AbstractSet[str]:
        """Return the values of a domain."""
        return _CLOSED.get(domain) or self.ids.get(domain, frozenset())

    def qualify(self, name: str) -> str:
        """Return the full name of a set, a control rule or a rule that is written without its namespace."""
        return f"{self.namespace}.{name}" if self.namespace else name

    def find_set(self, name: str) -> frozenset[str] | None:
        """Return a country set, None if there is none of that name."""
        qualified = self.qualify(name)
        is_there = qualified in self.country_sets
        return self.country_sets[qualified] if is_there else None

    def set_names(self) -> list[str]:
        """Return the names of country sets as they are written here."""
        return self._written(self.country_sets)

    def control_names(self) -> list[str]:
        """Return the names of control rules as they are written here."""
        return self._written(self.control_rules)

    def _written(self, names: Iterable[str]) -> list[str]:
        prefix = self.qualify("")
        return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]

    def attribute_names(self) -> list[str]:
        """Return every attribute that a rule can name here."""
        controls = [
            f"caller.control.{rule}.{part}" for rule in self.control_names() for part in ("countries", "owners")
        ]
        controls += [f"caller.control.{rule}.paragraph" for rule in self._written(self.paragraph_rules)]
        return [*ATTRIBUTES, *controls, *(f"caller.claims.{name}" for name in self.claims)]


def _at(name: str, kind: Kind, source: str, domain: Domain = Domain.FREE, place: str = "") -> Attribute:
    return Attribute(name, kind, source, operator.attrgetter(place or name), domain)


_PERSON: Final = (
    ("id", Kind.TEXT, "token, the claim mapped to id (sub); certificate, the service's name", Domain.FREE),
    ("issuer", Kind.TEXT, "token, the declared issuer's id", Domain.ISSUERS),
    ("issuer_operator", Kind.TEXT, "issuers, operated_by", Domain.AFFILIATES),
    ("kind", Kind.TEXT, "token, the claim mapped to kind, and people", Domain.KINDS),
    (
        "affiliate",
        Kind.TEXT,
        "token, the claim mapped to affiliate, and people; of a service, clients",
        Domain.AFFILIATES,
    ),
    ("affiliate_country", Kind.COUNTRY, "affiliates, country", Domain.FREE),
    ("affiliate_roles", Kind.TEXTS, "affiliates, roles", Domain.AFFILIATE_ROLES),
    ("site_country", Kind.COUNTRY, "token, the claim mapped to site_country, and people", Domain.FREE),
    ("residence", Kind.COUNTRY, "token, the claim mapped to residence, and people", Domain.FREE),
    ("citizenships", Kind.COUNTRIES, "token, the claim mapped to citizenships, and people", Domain.FREE),
    ("groups", Kind.TEXTS, "token, the claim mapped to groups", Domain.FREE),
    ("roles", Kind.TEXTS, "token, the claim mapped to roles", Domain.FREE),
)
"""What can be asked of whoever calls, and of whoever it acts for."""


def match_residence(facts: Facts) -> Fact[str]:
    """Say whether a person is where it lives, ``yes`` or ``no``; a service lives nowhere."""
    here, home = facts.origin.country, facts.caller.residence
    if home is NOT_APPLICABLE:
        return NOT_APPLICABLE
    if isinstance(here, State) or isinstance(home, State):
        return UNKNOWN
    return "yes" if here == home else "no"


COUNTS: Final = "counts."
"""What the names of counts begin with."""

ATTRIBUTES: Final[Mapping[str, Attribute]] = {
    attribute.name: attribute
    for attribute in (
        *(_at(f"caller.{name}", kind, source, domain) for name, kind, source, domain in _PERSON),
        _at("caller.client", Kind.TEXT, "token, the claim mapped to client; certificate, the service's name"),
        _at(
            "caller.countries",
            Kind.TIES,
            "affiliates, control rules, people and token: every country that the caller is tied to, or its client, "
            "or for whom it acts",
        ),
        *(
            _at(
                f"caller.on_behalf_of.{name}",
                kind,
                f"the same of the person for whom the caller acts: {source}",
                domain,
            )
            for name, kind, source, domain in _PERSON
        ),
        _at("origin.ip", Kind.ADDRESS, "connection and forwarded chain: the client's address"),
        _at("origin.country", Kind.COUNTRY, "networks, else geolocation of the client's address"),
        _at(
            "origin.registered_country",
            Kind.COUNTRY,
            "geolocation: where the block of addresses is registered",
        ),
        _at("origin.network", Kind.TEXT, "networks", Domain.NETWORKS),
        _at("origin.asn", Kind.TEXT, "geolocation: the autonomous system that announces the address", Domain.SYSTEMS),
        _at(
            "origin.anonymous",
            Kind.TEXTS,
            "networks, else geolocation: what the address hides of where its user is",
            Domain.ANONYMOUS,
        ),
        Attribute(
            "origin.matches_residence",
            Kind.TEXT,
            "origin.country and caller.residence: whether they are the same",
            match_residence,
            Domain.YES_NO,
        ),
        _at("subject.country", Kind.COUNTRY, "the route's subject"),
        _at("subject.id", Kind.TEXT, "the route's subject"),
        _at("resource.api", Kind.TEXT, "apis", Domain.APIS),
        _at("resource.route", Kind.TEXT, "apis, routes", Domain.ROUTES),
        _at("resource.data", Kind.CATEGORIES, "apis, the route's `fields` or `data`", Domain.CATEGORIES),
        _at("resource.hosted_in", Kind.COUNTRY, "apis, the upstream's hosted_in"),
        _at("action", Kind.TEXT, "apis, the route's action", Domain.ACTIONS, place="resource.action"),
        _at("purpose", Kind.TEXT, "request, Sekisho-Purpose, where purposes let the caller claim it", Domain.PURPOSES),
        _at("case", Kind.TEXT, "request, Sekisho-Case"),
        _at("time", Kind.INSTANT, "the gateway's clock, read once a request"),
        *(_at(f"{COUNTS}{tally.name}", Kind.NUMBER, f"counted: {tally.says}") for tally in TALLIES.values()),
    )
}
"""By name. ``caller.control.RULE.countries`` and ``.owners`` are added for each declared control rule,
``.paragraph`` for one with ``paragraphs``,
``caller.claims.NAME`` for each claim that an issuer maps under a name of its own."""

NOT_YET: Final = frozenset({"subject.persona"})
"""Attributes of the language that this version does not take yet."""
_MOVED: Final = {"caller.type": "caller.kind", "caller.country": "caller.countries", "resource.action": "action"}
"""Words that are not ours, and ours for them."""


def find_attribute(name: str, vocabulary: Vocabulary) -> Attribute | str:
    """Return the attribute of that name, or a sentence that says why there is none."""
    attribute = ATTRIBUTES.get(name)
    if attribute is not None:
        return attribute
    if name.startswith("caller.control."):
        return _find_control(name, vocabulary)
    if name.startswith("caller.claims."):
        return _find_claim(name, vocabulary.claims)
    if name in NOT_YET:
        return f"attribute {name!r} is not yet supported"
    if name in _MOVED:
        return f"no attribute {name!r} (did you mean {_MOVED[name]!r}?)"
    same_end = [known for known in ATTRIBUTES if known.rpartition(".")[2] == name.rpartition(".")[2]]
    hint = f" (did you mean {same_end[0]!r}?)" if len(same_end) == 1 else nearest(name, ATTRIBUTES)
    return f"no attribute {name!r}{hint or '; docs/attributes.md lists them'}"


def _find_control(name: str, vocabulary: Vocabulary) -> Attribute | str:
    rule, dot, part = name.removeprefix("caller.control.").rpartition(".")
    if not dot or part not in {"countries", "owners", "paragraph"}:
        return f"{name!r} ends neither in .countries nor in .owners nor in .paragraph"
    qualified = vocabulary.qualify(rule)
    if qualified not in vocabulary.control_rules:
        return f"no control rule {rule!r}{nearest(rule, vocabulary.control_names())}"
    if part == "paragraph":
        if qualified not in vocabulary.paragraph_rules:
            return f"the control rule {rule!r} has no `paragraphs`"
        return Attribute(name, Kind.TEXTS, f"{_BY_RULE} {rule}", ControlOf(qualified, part), Domain.PARAGRAPHS)
    kind, domain = (Kind.COUNTRIES, Domain.FREE) if part == "countries" else (Kind.TEXTS, Domain.AFFILIATES)
    return Attribute(name, kind, f"{_BY_RULE} {rule}", ControlOf(qualified, part), domain)


def _find_claim(name: str, claims: Iterable[str]) -> Attribute | str:
    claim = name.removeprefix("caller.claims.")
    if claim not in claims:
        return f"no issuer maps a claim to {name.removeprefix('caller.')!r}{nearest(claim, claims)}"
    return Attribute(name, Kind.TEXT, f"token, the claim mapped to claims.{claim}", ClaimOf(claim))


_BY_RULE: Final = "affiliates, by the control rule"
TIE_KINDS: Final = frozenset(TieKind)
