# SPDX-License-Identifier: Apache-2.0
"""The register ``issuers``: whom we trust to say who the caller is, and what they may say.

- An issuer without audiences or algorithms does not load: there is no "any".
- Algorithms are asymmetric.
- A value that an issuer may not assert is unknown, as if it had said nothing: in 2024 the breach came through
  authentication that was shared with the parent.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

import jmespath
import msgspec
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult
from pydantic import BeforeValidator, Field, WithJsonSchema

from proxy.model.caller import KINDS
from proxy.model.country import NAMES, refuse_country
from proxy.model.entry import Entry, Id, Text, choice, refuse, scalar, spelled, worded
from proxy.model.facts import ABSENT, EMPTY_SET, UNKNOWN, FactSet, State
from proxy.model.problem import Problem, nearest

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
TEXTS: Final = frozenset({"id", "client", "kind", "affiliate"})
COUNTRIES: Final = frozenset({"site_country", "residence"})
TEXT_SETS: Final = frozenset({"groups", "roles"})
COUNTRY_SETS: Final = frozenset({"citizenships"})
MAPPED: Final = TEXTS | COUNTRIES | TEXT_SETS | COUNTRY_SETS
"""Caller attributes that a claim can be mapped to."""

_OWN_CLAIM: Final = re.compile(r"claims\.[a-z][a-z0-9_]{0,62}")
"""An attribute of the bundle's own, one text each: rules ask for it as ``caller.claims.NAME``."""
_LOOPBACK: Final = ("http://127.0.0.1:", "http://[::1]:", "http://localhost:")
_KEY_PLACE: Final = re.compile(rf"(?:https://|file:|{'|'.join(map(re.escape, _LOOPBACK))}).*")


def parse_key_place(text: str) -> str:
    """Return where keys are fetched; ValueError with a sentence if they may not be fetched there."""
    authority = re.match(r"https?://([^/?#]*)", text)
    if authority and (not authority[1] or "@" in authority[1]):
        raise ValueError(f"{text!r} names no host, or a user")
    if text.startswith(("https://", "file:", *_LOOPBACK)):
        return text
    if text.startswith("http://"):
        raise ValueError("keys are not fetched over plain http except from loopback: write https://")
    raise ValueError(f"{text!r} is neither an https:// URL nor file:PATH inside the policy folder")


def _read_any(raw: Any) -> Any:
    if isinstance(raw, str) and raw != "any":
        raise refuse("expected `any` or a list of values that the issuer may assert")
    return None if raw == "any" else raw


Mapped = Annotated[str, WithJsonSchema({"anyOf": [worded(*sorted(MAPPED)), spelled(_OWN_CLAIM)]})]
"""A caller attribute as it is mapped; ``check_issuers`` refuses others."""
Assertable = Annotated[
    list[Text] | None,
    Field(min_length=1),
    BeforeValidator(_read_any, json_schema_input_type=Annotated[list[Text], Field(min_length=1)] | Literal["any"]),
]
"""The values that an issuer may assert; None: any."""


def _widen_claim(raw: Any) -> Any:
    return {"claim": raw} if isinstance(raw, str) else raw


_FALLING_BACK: Final = frozenset({"or_expression", "and_expression", "not_expression", "comparator"})
_GATHERING: Final = frozenset({"multi_select_list", "multi_select_dict", "multi_select_hash"})
_OF_ALL: Final = frozenset({"value_projection", "literal", "current"})
_SAFE_FUNCTIONS: Final = frozenset({"contains", "ends_with", "join", "reverse", "sort", "starts_with"})


def _refuse_fallback(node: Any, *, in_filter: bool = False) -> None:
    """Refuse an expression whose answer can become another known one because a claim is left out.

    What picks among members (a filter) may compare; what the attribute itself is may not.
    """
    if not isinstance(node, dict):
        return
    kind = node.get("type")
    if kind in _FALLING_BACK and not in_filter:
        raise ValueError(
            "`||`, `&&`, `!` and comparisons would make another known fact of a claim that is left out: map one claim"
        )
    if kind in _GATHERING or (kind in _OF_ALL and not in_filter):
        raise ValueError("an attribute comes from one claim: what is made of several, or of none, is not taken")
    if kind == "function_expression" and node["value"] not in _SAFE_FUNCTIONS:
        raise ValueError(f"the function {node['value']}() is not taken in claims")
    for place, child in enumerate(node.get("children", ())):
        is_inner = kind == "function_expression" or (kind == "filter_projection" and place == 2)
        _refuse_fallback(child, in_filter=in_filter or is_inner)


def _compile_claim(text: str) -> ParsedResult:
    try:
        compiled = jmespath.compile(text)
        _refuse_fallback(compiled.parsed)
    except RecursionError as error:
        raise ValueError(f"{text:.40}... is nested too deep") from error
    except JMESPathError as error:
        raise ValueError(f"{text!r} is no JMESPath expression: {str(error).splitlines()[0]}") from error
    return compiled


class ClaimSource(Entry):
    """Which claim an attribute comes from, and what its absence means."""

    claim: Annotated[ParsedResult, scalar(_compile_claim)]
    absent: Annotated[str, choice("empty", "unknown")] = "unknown"


class IssuerEntry(Entry):
    """One issuer of tokens."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset(
        {"introspection", "leeway", "max_age", "token_type", "token_place", "sender_constrained", "discovery"}
    )
    id: Id
    operated_by: Id
    """The affiliate that administers this identity provider: a fact of its own."""
    issuer: Text
    """The exact ``iss`` of its tokens (RFC 7519 4.1.1)."""
    audience: list[Text] = Field(min_length=1)
    """At least one of them must be in ``aud``."""
    jwks: Annotated[str, scalar(parse_key_place, spelled(_KEY_PLACE))]
    algorithms: list[Annotated[str, choice(*ALGORITHMS)]] = Field(min_length=1)
    may_assert: dict[Mapped, Assertable]
    people: Annotated[str, choice("optional", "required")] = "optional"
    """Whether whoever has no row in the register of people has no known affiliate."""
    clients: Annotated[str, choice("optional", "required")] = "optional"
    """Whether a program that is not in the register of clients may be anybody's."""
    attributes: dict[
        Mapped, Annotated[ClaimSource, BeforeValidator(_widen_claim, json_schema_input_type=ClaimSource | Text)]
    ]
    """Caller attribute to the claim that it is read from, a JMESPath expression."""


class ClaimMapping(msgspec.Struct, frozen=True):
    """How one caller attribute is read from verified claims."""

    attribute: str
    claim: Any
    absent: State | FactSet
    assertable: frozenset[str] | None
    """None: any value."""


class Issuer(msgspec.Struct, frozen=True):
    """An issuer, ready for requests."""

    id: str
    operator: str
    issuer: str
    audiences: frozenset[str]
    algorithms: frozenset[str]
    key_place: str
    mappings: tuple[ClaimMapping, ...]
    assertable_affiliates: frozenset[str] | None = frozenset()
    """Also of whom it names as another issuer's; None: any."""
    needs_people: bool = False
    needs_clients: bool = False


def check_issuers(entries: Sequence[IssuerEntry], affiliate_ids: frozenset[str]) -> list[Problem]:
    """Return what is wrong across registers: operators, attributes and assertable affiliates that do not exist."""
    problems = []
    seen: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if entry.operated_by not in affiliate_ids:
            hint = nearest(entry.operated_by, affiliate_ids)
            problems.append(Problem((index, "operated_by"), f"no affiliate {entry.operated_by!r}{hint}"))
        if seen.setdefault(entry.issuer, index) != index:
            problems.append(Problem((index, "issuer"), f"{entry.issuer!r} is another issuer's, too"))
        problems += [problem.under(index) for problem in _check_attributes(entry, affiliate_ids)]
    return problems


def _check_attributes(entry: IssuerEntry, affiliate_ids: frozenset[str]) -> list[Problem]:
    problems = []
    for key in ("attributes", "may_assert"):
        for attribute in getattr(entry, key):
            if attribute not in MAPPED and not _OWN_CLAIM.fullmatch(attribute):
                hint = nearest(attribute, MAPPED)
                problems.append(Problem((key, attribute), f"no caller attribute {attribute!r}{hint}", at_key=True))
    if "affiliate" not in entry.may_assert:
        problems.append(
            Problem(("may_assert",), "say which affiliates the issuer may assert: `affiliate: any` or a list")
        )
    for attribute, source in entry.attributes.items():
        if attribute in COUNTRIES | {"kind"} and source.absent == "empty":
            message = "whoever leaves the claim out would be tied to no country by it: leave `absent` out"
            if attribute == "kind":
                message = "whoever leaves the claim out would pass for a person: leave `absent` out"
            problems.append(Problem(("attributes", attribute, "absent"), message))
    for attribute, values in entry.may_assert.items():
        problems += [
            problem.under("may_assert", attribute) for problem in _check_values(attribute, values, affiliate_ids)
        ]
    return problems


def _check_values(attribute: str, values: Sequence[str] | None, affiliate_ids: frozenset[str]) -> list[Problem]:
    problems = []
    for index, value in enumerate(values or ()):
        if attribute == "affiliate" and value not in affiliate_ids:
            problems.append(Problem((index,), f"no affiliate {value!r}{nearest(value, affiliate_ids)}"))
        elif attribute == "kind" and value not in KINDS:
            problems.append(Problem((index,), f"no kind {value!r}{nearest(value, KINDS)}"))
        elif attribute in COUNTRIES | COUNTRY_SETS and value not in NAMES:
            problems.append(Problem((index,), refuse_country(value)))
    return problems


def compile_issuer(entry: IssuerEntry) -> Issuer:
    """Return the issuer as requests need it. The entry has been checked."""
    sources: Mapping[str, ClaimSource] = {
        "id": ClaimSource.model_validate({"claim": "sub"}),
        **entry.attributes,
    }
    return Issuer(
        id=entry.id,
        operator=entry.operated_by,
        issuer=entry.issuer,
        audiences=frozenset(entry.audience),
        algorithms=frozenset(entry.algorithms),
        key_place=entry.jwks,
        mappings=tuple(
            ClaimMapping(attribute, source.claim, _absent(attribute, source), _assertable(entry, attribute))
            for attribute, source in sources.items()
        ),
        assertable_affiliates=_assertable(entry, "affiliate"),
        needs_people=entry.people == "required",
        needs_clients=entry.clients == "required",
    )


def _assertable(entry: IssuerEntry, attribute: str) -> frozenset[str] | None:
    values = entry.may_assert.get(attribute)
    return None if values is None else frozenset(values)


def _absent(attribute: str, source: ClaimSource) -> State | FactSet:
    if source.absent == "unknown":
        return UNKNOWN
    return EMPTY_SET if attribute in TEXT_SETS | COUNTRY_SETS else ABSENT
