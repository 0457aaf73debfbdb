# SPDX-License-Identifier: Apache-2.0
"""The schemas of policy files as JSON Schema (draft 2020-12), for editors.

It comes from what the loader reads by, so that it cannot say otherwise. An editor sees what YAML guesses, and one
file: a schema may take what the loader refuses, and never refuses what the loader takes.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from proxy.bundle.apis import ApiEntry
from proxy.bundle.cases import BEHIND, CaseEntry, FixtureEntry
from proxy.bundle.manifest import Manifest, PackManifest
from proxy.caller.affiliates import ROLES, AffiliateEntry, ControlRuleEntry
from proxy.caller.authorities import AuthorityEntry
from proxy.caller.clients import ClientEntry
from proxy.caller.issuers import COUNTRIES, COUNTRY_SETS, MAPPED, TEXT_SETS, IssuerEntry
from proxy.caller.people import PersonEntry
from proxy.caller.revocation import RevokedEntry
from proxy.model.api import Action
from proxy.model.caller import KINDS
from proxy.model.country import NAMES
from proxy.model.decision import Effect
from proxy.model.entry import (
    ANY_TEXT,
    Category,
    Country,
    Entry,
    Flag,
    Id,
    Instant,
    Number,
    Shape,
    System,
    choice,
    scalar,
    worded,
)
from proxy.model.origin import ANONYMOUS
from proxy.origin.networks import Cidr, NetworkEntry
from proxy.policy.attributes import ATTRIBUTES, TIE_KINDS, Domain, Kind
from proxy.policy.conditions import MATCHERS
from proxy.policy.rules import GrantEntry, InvariantEntry, PurposeEntry, RuleEntry
from proxy.subject.lookups import LookupEntry

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_SET_NAME: Final[Shape] = {"type": "string", "pattern": r"^\$", "description": "The name of a country set: $name."}
_MEMBER: Final[Shape] = {"anyOf": [{"title": "country"} | worded(*NAMES), _SET_NAME]}
_TEXT: Final[Shape] = {"type": ["string", "number", "boolean", "null"], "pattern": r"^[^$]"}

_FACT: Final[Shape] = {"type": ["string", "number", "boolean", "null"], "minLength": 1}


class PolicyFile(Entry):
    """A file of a policy folder: any of the registers that the manifest lists for it."""

    issuers: list[IssuerEntry] | None = None
    """Whom we trust to say who a caller is, and what they may say."""
    revoked: list[RevokedEntry] | None = None
    """Tokens that end before their time."""
    certificate_authorities: list[AuthorityEntry] | None = None
    """Whose client certificates say who a service is."""
    country_sets: dict[Id, Annotated[list[Annotated[str, scalar(str, _MEMBER)]], Field(min_length=1)]] | None = None
    """Named lists of countries; `$name` stands for one, in rules and in other sets."""
    affiliates: list[AffiliateEntry] | None = None
    """Entities: who owns them, and for whom they work."""
    people: list[PersonEntry] | None = None
    """For whom people work, and where they are; large registers are tables."""
    control_rules: list[ControlRuleEntry] | None = None
    """Named ways to compute who controls whom."""
    clients: list[ClientEntry] | None = None
    """Programs through which people read, and services that read by themselves."""
    networks: list[NetworkEntry] | None = None
    """Networks whose place is known."""
    trusted_proxies: list[Cidr] | None = None
    """Blocks of addresses whose X-Forwarded-For is believed."""
    lookups: list[LookupEntry] | None = None
    """Who tells the countries of data subjects by their ids."""
    apis: list[ApiEntry] | None = None
    """What is protected, route by route. What is not declared does not pass."""
    rules: list[RuleEntry] | None = None
    """What is denied, masked and allowed. What no rule allows is denied."""
    invariants: list[InvariantEntry] | None = None
    """What no change of rules may ever make possible."""
    purposes: list[PurposeEntry] | None = None
    """What callers may say they read for."""
    grants: list[GrantEntry] | None = None
    """Dated, approved exceptions, which lift rules that say they may be lifted."""
    fixtures: list[FixtureEntry] | None = None
    """Callers that several tests speak of."""
    tests: list[CaseEntry] | None = None
    """Sentences that must stay true."""


class UrgentRule(RuleEntry):
    """A deny rule that is in force at once, whatever is wrong elsewhere."""

    effect: Annotated[Effect, choice(Effect.DENY)]
    mode: Annotated[str, choice("enforce")] = "enforce"


class EmergencyFile(Entry):
    """A file of the folder of emergency denies."""

    rules: list[UrgentRule]
    """Deny rules, and nothing else."""


FILES: Final[Mapping[str, type[Entry]]] = {
    "files": PolicyFile,
    "manifest": Manifest,
    "pack": PackManifest,
    "emergency": EmergencyFile,
}
"""What each schema is of."""
_TITLES: Final = {
    "files": "Sekisho policy file",
    "manifest": "Sekisho bundle.yaml",
    "pack": "Sekisho pack.yaml",
    "emergency": "Sekisho emergency denies",
}


class _Generator(GenerateJsonSchema):
    """Says of a model what an author may write, not what the program makes of it."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Leave null out: what may be missing is left out."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Tell defaults that are written as they read."""
        inner = self.generate_inner(schema["schema"])
        default = schema.get("default")
        return {**inner, "default": default} if isinstance(default, (str, bool)) else inner

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Hold every key to the schema of keys."""
        found: JsonSchemaValue = {"type": "object"}
        if "keys_schema" in schema and (names := self.generate_inner(schema["keys_schema"])) != {"type": "string"}:
            found["propertyNames"] = names
        if "values_schema" in schema:
            found["additionalProperties"] = self.generate_inner(schema["values_schema"])
        return found

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Leave the name of the class to the program."""
        found = super().model_schema(schema)
        found.pop("title", None)
        return found

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Leave titles to shapes, as names."""
        del schema
        return False


def make_schema(what: str) -> dict[str, Any]:
    """Return the JSON Schema of one kind of file, a key of ``FILES``."""
    schema = FILES[what].model_json_schema(schema_generator=_Generator)
    named: dict[str, Shape] = {}
    content = {key: _name_shared(value, named) for key, value in schema.items()}
    defs = {**content.pop("$defs", {}), **named}
    head = {"$schema": DIALECT, "title": _TITLES[what], **content}
    return {**head, "$defs": dict(sorted(defs.items()))}


def _name_shared(schema: Any, named: dict[str, Shape]) -> Any:
    """Return a schema in which each part with a title is a reference to the one under that name."""
    if isinstance(schema, list):
        return [_name_shared(part, named) for part in schema]
    if not isinstance(schema, dict):
        return schema
    name = schema.get("title")
    if not isinstance(name, str):
        return {key: _name_shared(part, named) for key, part in schema.items()}
    beside = {key: schema[key] for key in ("description", "default") if key in schema}
    if name not in named:
        named[name] = {}
        whole = _MADE_HERE[name]() if name in _MADE_HERE else schema
        own = {key: part for key, part in whole.items() if key not in {"title", *beside}}
        named[name] = _name_shared(own, named)
    return {**beside, "$ref": f"#/$defs/{name}"}


def _shape(annotation: Any) -> Shape:
    """Return the shape of a scalar type."""
    return TypeAdapter(annotation).json_schema(schema_generator=_Generator)


def _conditions() -> Shape:
    """Return what the lines of a ``when`` may be."""
    lines = {
        attribute.name: {
            "description": f"{attribute.kind.value[0].upper()}{attribute.kind.value[1:]}. From: {attribute.source}.",
            **_line(attribute.kind, attribute.domain),
        }
        for attribute in ATTRIBUTES.values()
    }
    always = {"description": "True of every request; it stands alone.", **worded("true")}
    expression = {"description": "A CEL expression, for what matchers cannot say.", **ANY_TEXT}
    return {
        "type": "object",
        "properties": {**lines, "expr": expression, "always": always},
        "patternProperties": {
            r"^caller\.control\..+\.countries$": _line(Kind.COUNTRIES),
            r"^caller\.control\..+\.(owners|paragraph)$": _line(Kind.TEXTS),
            r"^caller\.claims\..+$": _line(Kind.TEXT),
        },
        "additionalProperties": False,
        "minProperties": 1,
        "dependentSchemas": {"always": {"maxProperties": 1}},
    }


_VALUES: Final[Mapping[Domain, Iterable[str]]] = {
    Domain.KINDS: KINDS,
    Domain.ACTIONS: Action,
    Domain.AFFILIATE_ROLES: ROLES,
    Domain.ANONYMOUS: ANONYMOUS,
    Domain.YES_NO: ("yes", "no"),
}
"""Domains whose values are the same in every bundle."""


def _line(kind: Kind, domain: Domain = Domain.FREE) -> Shape:
    """Return what can be asked of an attribute: a value, or exactly one matcher."""
    operands = _operands(kind, domain)
    is_closed = domain in _VALUES or domain is Domain.SYSTEMS
    title = f"of-{(domain if is_closed else kind).name.lower().replace('_', '-')}"
    asked: Shape = {
        "type": "object",
        "properties": {name: operands[name] for name in MATCHERS[kind]},
        "additionalProperties": False,
    }
    if kind is Kind.TIES:
        labels = {"anyOf": [worded(*sorted(TIE_KINDS)), {"type": "string", "pattern": r"^control\."}]}
        asked["properties"]["by"] = {
            "description": "Only ties of these kinds.", "type": "array", "items": labels, "minItems": 1
        }  # fmt: skip
        asked["oneOf"] = [{"required": [name]} for name in MATCHERS[kind]]
    else:
        asked |= {"minProperties": 1, "maxProperties": 1}
    if kind in {Kind.TEXT, Kind.COUNTRY}:
        return {"title": title, "anyOf": [operands["not"], asked]}
    return {"title": title, **asked}


def _operands(kind: Kind, domain: Domain) -> Mapping[str, Shape]:
    """Return what each matcher takes, for one kind of attribute."""
    value, member = _value(kind, domain)
    values: Shape = {"type": "array", "items": member, "minItems": 1}
    several: Shape = values if value is member else {"anyOf": [_SET_NAME, values]}
    patterns: Shape = {"type": "string", "pattern": r"\*"}
    instant, block = _shape(Instant), _shape(Cidr)
    bound = _shape(Number) if kind is Kind.NUMBER else instant
    return {
        "any": several,
        "none": several,
        "only": several,
        "has_all": several,
        "not": value,
        "exists": _shape(Flag),
        "glob": {"anyOf": [patterns, {"type": "array", "items": patterns, "minItems": 1}]},
        "cidr": {"anyOf": [block, {"type": "array", "items": block, "minItems": 1}]},
        "lt": bound,
        "gt": bound,
        "between": {"type": "array", "items": instant, "minItems": 2, "maxItems": 2},
    }


def _value(kind: Kind, domain: Domain) -> tuple[Shape, Shape]:
    """Return what one value is, by itself and in a list."""
    if kind in {Kind.COUNTRY, Kind.COUNTRIES, Kind.TIES}:
        return _shape(Country), _MEMBER
    if kind is Kind.CATEGORIES:
        category = _shape(Annotated[str, Category])
        return category, category
    if domain is Domain.SYSTEMS:
        system = _shape(System)
        return system, system
    shape = worded(*_VALUES[domain]) if domain in _VALUES else _TEXT
    return shape, shape


def _caller() -> Shape:
    """Return what a test may say of a caller."""
    country = _shape(Country)
    properties = {
        **dict.fromkeys(sorted(MAPPED | {"issuer"}), _FACT),
        **{name: {"type": "array", "items": _FACT} for name in sorted(TEXT_SETS)},
        **{name: {"type": "array", "items": country} for name in sorted(COUNTRY_SETS)},
        **dict.fromkeys(sorted(COUNTRIES), country),
        "kind": worded(*KINDS),
    }
    person: Shape = {
        "type": "object",
        "properties": properties,
        "patternProperties": {r"^claims\.": _FACT},
        "additionalProperties": False,
    }
    behind = {"description": "The person for whom the caller acts.", **person}
    return {**person, "properties": {**properties, BEHIND: behind}}


_MADE_HERE: Final = {"conditions": _conditions, "caller": _caller}
