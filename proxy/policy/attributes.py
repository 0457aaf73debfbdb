# SPDX-License-Identifier: Apache-2.0
"""Every attribute that a rule can ask about: its type, its values, and where it comes from. The set is closed."""

import enum
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from proxy.model.api import Action, Route
from proxy.model.caller import KINDS, Caller, TieKind
from proxy.model.facts import UNKNOWN, Fact, FactSet, State
from proxy.model.origin import Origin
from proxy.model.problem import nearest
from proxy.model.subject import Subject


class Resource(msgspec.Struct, frozen=True):
    """What a route is, as rules see it."""

    api: str
    route: str
    data: FactSet
    hosted_in: Fact[str]

    @classmethod
    def of(cls, route: Route) -> "Resource":
        """Return the resource of a declared route."""
        return cls(route.api.id, route.id, route.data, route.api.upstream.hosted_in or UNKNOWN)


class Facts(msgspec.Struct, frozen=True):
    """Everything that one decision is made from."""

    caller: Caller
    origin: Origin
    subject: Subject
    resource: Resource
    action: str


class Kind(enum.Enum):
    """The type of an attribute."""

    TEXT = "a text"
    COUNTRY = "a country"
    TEXTS = "a set of texts"
    COUNTRIES = "a set of countries"
    TIES = "a set of countries, each with the ties that led to it"
    CATEGORIES = "a set of data categories"


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


class Attribute(msgspec.Struct, frozen=True):
    """One attribute of the language."""

    name: str
    kind: Kind
    source: str
    """Where it comes from, for people."""
    get: Callable[[Facts], Any]
    domain: Domain = Domain.FREE


class Vocabulary(msgspec.Struct, frozen=True):
    """What a bundle declares, for rules to speak of."""

    ids: Mapping[Domain, frozenset[str]]
    country_sets: Mapping[str, frozenset[str]]
    control_rules: frozenset[str]
    empty_when_absent: frozenset[str]
    """Caller attributes that some issuer maps with ``absent: empty``."""

    def values(self, domain: Domain) -> frozenset[str]:
        """Return the values of a domain."""
        if domain is Domain.KINDS:
            return frozenset(KINDS)
        if domain is Domain.ACTIONS:
            return frozenset(Action)
        return self.ids.get(domain, frozenset())


def _at(name: str, kind: Kind, source: str, domain: Domain = Domain.FREE) -> Attribute:
    return Attribute(name, kind, source, operator.attrgetter(name), domain)


ATTRIBUTES: Final[Mapping[str, Attribute]] = {
    attribute.name: attribute
    for attribute in (
        _at("caller.id", Kind.TEXT, "token, the claim mapped to id (sub)"),
        _at("caller.issuer", Kind.TEXT, "token, the declared issuer's id", Domain.ISSUERS),
        _at("caller.issuer_operator", Kind.TEXT, "issuers, operated_by", Domain.AFFILIATES),
        _at("caller.client", Kind.TEXT, "token, the claim mapped to client"),
        _at("caller.kind", Kind.TEXT, "token, the claim mapped to kind", Domain.KINDS),
        _at("caller.affiliate", Kind.TEXT, "token, the claim mapped to affiliate", Domain.AFFILIATES),
        _at("caller.affiliate_country", Kind.COUNTRY, "affiliates, country"),
        _at("caller.affiliate_roles", Kind.TEXTS, "affiliates, roles", Domain.AFFILIATE_ROLES),
        _at("caller.site_country", Kind.COUNTRY, "token, the claim mapped to site_country"),
        _at("caller.residence", Kind.COUNTRY, "token, the claim mapped to residence"),
        _at("caller.citizenships", Kind.COUNTRIES, "token, the claim mapped to citizenships"),
        _at("caller.groups", Kind.TEXTS, "token, the claim mapped to groups"),
        _at("caller.roles", Kind.TEXTS, "token, the claim mapped to roles"),
        _at(
            "caller.countries",
            Kind.TIES,
            "affiliates, control rules and token: every country the caller is tied to",
        ),
        _at("origin.country", Kind.COUNTRY, "networks, else geolocation of the client's address"),
        _at(
            "origin.registered_country",
            Kind.COUNTRY,
            "geolocation: where the block of addresses is registered",
        ),
        _at("origin.network", Kind.TEXT, "networks", Domain.NETWORKS),
        _at("subject.country", Kind.COUNTRY, "the route's subject"),
        _at("subject.id", Kind.TEXT, "the route's subject"),
        _at("resource.api", Kind.TEXT, "apis", Domain.APIS),
        _at("resource.route", Kind.TEXT, "apis, routes", Domain.ROUTES),
        _at("resource.data", Kind.CATEGORIES, "apis, the categories of the route's fields", Domain.CATEGORIES),
        _at("resource.hosted_in", Kind.COUNTRY, "apis, the upstream's hosted_in"),
        _at("action", Kind.TEXT, "apis, the route's action", Domain.ACTIONS),
    )
}
"""By name. ``caller.control.RULE.countries`` and ``.owners`` are added for each declared control rule."""

NOT_YET: Final = frozenset(
    {"origin.ip", "origin.asn", "origin.anonymous", "origin.matches_residence", "subject.persona", "purpose", "case",
     "time"}
)  # fmt: skip
"""Attributes of the language that this version does not take yet."""
NOT_YET_FAMILIES: Final = ("counts.", "caller.on_behalf_of.", "caller.claims.")


def find_attribute(name: str, vocabulary: Vocabulary) -> Attribute | str:
    """Return the attribute of that name, or a sentence that says why there is none."""
    attribute = ATTRIBUTES.get(name)
    if attribute is not None:
        return attribute
    if name.startswith("caller.control."):
        return _find_control(name, vocabulary.control_rules)
    if name in NOT_YET or name.startswith(NOT_YET_FAMILIES):
        return f"attribute {name!r} is not yet supported"
    same_end = [known for known in ATTRIBUTES if known.rpartition(".")[2] == name.rpartition(".")[2]]
    hint = f" (did you mean {same_end[0]!r}?)" if len(same_end) == 1 else nearest(name, ATTRIBUTES)
    return f"no attribute {name!r}{hint or '; docs/attributes.md lists them'}"


def _find_control(name: str, rules: Iterable[str]) -> Attribute | str:
    rule, dot, part = name.removeprefix("caller.control.").rpartition(".")
    if part == "paragraph":
        return f"attribute {name!r} is not yet supported"
    if not dot or part not in {"countries", "owners"}:
        return f"{name!r} ends neither in .countries nor in .owners"
    if rule not in rules:
        return f"no control rule {rule!r}{nearest(rule, rules)}"
    kind, domain = (Kind.COUNTRIES, Domain.FREE) if part == "countries" else (Kind.TEXTS, Domain.AFFILIATES)
    return Attribute(name, kind, f"affiliates, by the control rule {rule}", _control_getter(rule, part), domain)


def _control_getter(rule: str, part: str) -> Callable[[Facts], Any]:
    def get(facts: Facts) -> Any:
        control = facts.caller.control.get(rule)
        if control is None:
            affiliate = facts.caller.affiliate
            return affiliate if isinstance(affiliate, State) else UNKNOWN
        return getattr(control, part)

    return get


TIE_KINDS: Final = frozenset(TieKind)
