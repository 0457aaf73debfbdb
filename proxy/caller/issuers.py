# SPDX-License-Identifier: Apache-2.0
"""The register ``issuers``: whom we trust to say who the caller is, and what they may say.

- An issuer without audiences or algorithms does not load: there is no "any".
- Algorithms are asymmetric.
- Its tokens stand at exactly one place of a request, are of stated types, and live no longer than stated.
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
from proxy.model.entry import Duration, Entry, Flag, Id, Text, choice, refuse, scalar, spelled, worded
from proxy.model.facts import ABSENT, EMPTY_SET, UNKNOWN, FactSet, State
from proxy.model.problem import Problem, nearest
from proxy.model.request import AUTHORIZATION, TokenPlace
from proxy.model.secret import Secret

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY_SECONDS: Final = 30
"""For clocks that differ, unless told; RFC 7519 4.1.4: "usually no more than a few minutes"."""
MAX_LEEWAY_SECONDS: Final = 300
MAX_AGE_SECONDS: Final = 24 * 3600
"""How long a token may be valid in all, unless told: a day's work, and no refresh token."""
LONGEST_AGE_SECONDS: Final = 31 * 24 * 3600
ACCESS_TOKEN: Final = "at+jwt"  # noqa: S105 - a type, no secret
PLAIN_TOKEN: Final = "jwt"  # noqa: S105
CACHE_SECONDS: Final = 30
MAX_CACHE_SECONDS: Final = 300
"""How long at most a revocation may go unnoticed."""
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
    if text.startswith("file:"):
        return text
    return parse_endpoint(text, "keys are not fetched", " nor file:PATH inside the policy folder")


def parse_endpoint(text: str, what: str = "it is not asked", otherwise: str = "") -> str:
    """Return a URL that may be asked; ValueError with a sentence for plain http over a network."""
    authority = re.match(r"https?://([^/?#]*)", text)
    if authority and (not authority[1] or "@" in authority[1]):
        raise ValueError(f"{text!r} names no host, or a user")
    if text.startswith(("https://", *_LOOPBACK)):
        return text
    if text.startswith("http://"):
        raise ValueError(f"{what} over plain http except from loopback: write https://")
    raise ValueError(f"{text!r} is {'neither an' if otherwise else 'no'} https:// URL{otherwise}")


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


_COOKIE: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
"""RFC 6265 4.1.1 ``cookie-name``."""
_HEADER: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9.-]*\+jwt|jwt")
_OTHER_TYPES: Final = frozenset(
    {"dpop+jwt", "logout+jwt", "secevent+jwt", "kb+jwt", "oauth-authz-req+jwt", "token-introspection+jwt"}
)
"""JWTs that are proofs, events and requests: none of them says who asks (RFC 8725 3.12)."""
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?")


def _parse_type(text: str) -> str:
    if text in _OTHER_TYPES:
        raise ValueError(f"{text!r} is the type of a proof, an event or a request, not of tokens that say who asks")
    if not _TYPE.fullmatch(text):
        raise ValueError(f"{text!r} is no type of tokens, such as at+jwt (RFC 9068) or jwt")
    return text


def _shaped(pattern: re.Pattern[str], what: str) -> BeforeValidator:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"{text!r} is no {what}")
        return text

    return scalar(parse, spelled(pattern))


class PlaceEntry(Entry):
    """A place of tokens other than ``Authorization``: one of the two."""

    cookie: Annotated[str, _shaped(_COOKIE, "name of a cookie")] | None = None
    header: Annotated[str, _shaped(_HEADER, "name of a header field")] | None = None
    """A field that holds the token alone, without a scheme."""


def _widen_place(raw: Any) -> Any:
    if isinstance(raw, str) and raw != AUTHORIZATION:
        raise refuse("expected `authorization`, {cookie: NAME} or {header: NAME}")
    return {} if raw == AUTHORIZATION else raw


def _widen_types(raw: Any) -> Any:
    return [raw] if isinstance(raw, str) else raw


class IntrospectionEntry(Entry):
    """Where an issuer is asked whether a token is still active (RFC 7662)."""

    ASSUMED: ClassVar[Mapping[str, Any]] = {"secret": {"secret": "env:SECRET"}, "client_id": "assumed"}
    url: Annotated[str, scalar(parse_endpoint, spelled(_KEY_PLACE))]
    client_id: Text
    """Who we are there."""
    secret: Secret
    cache: Duration = CACHE_SECONDS
    """How long an answer is believed: how late a revocation may be noticed."""


class IssuerEntry(Entry):
    """One issuer of tokens."""

    ASSUMED: ClassVar[Mapping[str, Any]] = {
        "audience": ["assumed"],
        "algorithms": ["ES256"],
        "may_assert": {"affiliate": "any"},
        "token_type": "jwt",
        "jwks_hosts": [],
    }
    id: Id
    operated_by: Id
    """The affiliate that administers this identity provider: a fact of its own."""
    issuer: Text
    """The exact ``iss`` of its tokens (RFC 7519 4.1.1)."""
    audience: list[Text] = Field(min_length=1)
    """At least one of them must be in ``aud``."""
    jwks: Annotated[str, scalar(parse_key_place, spelled(_KEY_PLACE))] | None = None
    """Where its keys are; left out: as its own metadata says (OpenID Connect Discovery 4, RFC 8414)."""
    discovery: Flag | None = None
    jwks_hosts: list[Annotated[str, _shaped(_HOST, "host, in lower case")]] = Field(default_factory=list)
    """Hosts, other than the issuer's own, that its metadata may name for its keys."""
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
    leeway: Duration = LEEWAY_SECONDS
    """How far its clock and ours may differ."""
    max_age: Duration = MAX_AGE_SECONDS
    """How long its tokens may be valid, from ``iat`` to ``exp``."""
    token_type: (
        Annotated[
            list[Annotated[str, scalar(_parse_type, spelled(_TYPE))]],
            Field(min_length=1),
            BeforeValidator(
                _widen_types,
                json_schema_input_type=Annotated[
                    list[Annotated[str, scalar(_parse_type, spelled(_TYPE))]], Field(min_length=1)
                ]
                | Annotated[str, scalar(_parse_type, spelled(_TYPE))],
            ),
        ]
        | None
    ) = None
    """What ``typ`` of its tokens may say; left out: jwt or at+jwt, without more."""
    token_place: Annotated[
        PlaceEntry,
        BeforeValidator(_widen_place, json_schema_input_type=PlaceEntry | Literal["authorization"]),
    ] = PlaceEntry()
    """Where its tokens stand in a request."""
    sender_constrained: Annotated[str, choice("certificate")] | None = None
    """``certificate``: its tokens are bound to the caller's TLS certificate (RFC 8705)."""
    introspection: IntrospectionEntry | None = None


class ClaimMapping(msgspec.Struct, frozen=True):
    """How one caller attribute is read from verified claims."""

    attribute: str
    claim: Any
    absent: State | FactSet
    assertable: frozenset[str] | None
    """None: any value."""


class Introspection(msgspec.Struct, frozen=True):
    """Where and how an issuer is asked about tokens."""

    url: str
    client_id: str
    secret: str
    """A reference."""
    cache_seconds: int


class Issuer(msgspec.Struct, frozen=True):
    """An issuer, ready for requests."""

    id: str
    operator: str
    issuer: str
    audiences: frozenset[str]
    algorithms: frozenset[str]
    key_place: str
    """Empty: its own metadata says where."""
    mappings: tuple[ClaimMapping, ...]
    assertable_affiliates: frozenset[str] | None = frozenset()
    """Also of whom it names as another issuer's; None: any."""
    needs_people: bool = False
    needs_clients: bool = False
    key_hosts: frozenset[str] = frozenset()
    """Hosts that its metadata may name beside its own."""
    leeway: int = LEEWAY_SECONDS
    max_age: int = MAX_AGE_SECONDS
    types: frozenset[str] = frozenset({PLAIN_TOKEN, ACCESS_TOKEN})
    is_rfc9068: bool = False
    """Whether it states that its tokens are of the type ``at+jwt``, which brings claims of its own."""
    place: TokenPlace = AUTHORIZATION
    is_bound: bool = False
    """Whether its tokens must be bound to the caller's certificate."""
    introspection: Introspection | None = None


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
        found = [*_check_attributes(entry, affiliate_ids), *_check_keys(entry), *_check_tokens(entry)]
        problems += [problem.under(index) for problem in found]
    return problems


def say_duration(seconds: int) -> str:
    """Return a bound as it is said: in the largest unit that is whole."""
    unit, name = next(
        (size, name) for size, name in ((86400, "days"), (60, "minutes"), (1, "seconds")) if seconds % size == 0
    )
    return f"{seconds // unit} {name}"


_DISCOVERABLE: Final = re.compile(rf"(?:https://|{'|'.join(map(re.escape, _LOOPBACK))})[!-\"$-;=>@-~]+")
"""OpenID Connect Discovery 3: no query and no fragment."""


def _check_keys(entry: IssuerEntry) -> list[Problem]:
    if entry.jwks is not None:
        message = "keys are found at `jwks`, or by discovery: leave one of the two out"
        return [
            Problem((key,), message, at_key=True)
            for key, is_set in (("discovery", entry.discovery), ("jwks_hosts", entry.jwks_hosts))
            if is_set
        ]
    if entry.discovery is False:
        return [Problem((), "`jwks` is missing: say where its keys are, or leave `discovery` out")]
    if not _DISCOVERABLE.fullmatch(entry.issuer) or "@" in entry.issuer:
        message = f"{entry.issuer!r} is no https:// URL whose keys could be discovered: write `jwks`"
        return [Problem(("issuer",), message)]
    return []


def _check_tokens(entry: IssuerEntry) -> list[Problem]:
    problems = [
        Problem((*path, key), f"at most {say_duration(most)}", at_key=False)
        for path, key, value, most in (
            ((), "leeway", entry.leeway, MAX_LEEWAY_SECONDS),
            ((), "max_age", entry.max_age, LONGEST_AGE_SECONDS),
            (("introspection",), "cache", entry.introspection.cache if entry.introspection else 0, MAX_CACHE_SECONDS),
        )
        if value > most
    ]
    if "token_place" in entry.model_fields_set and entry.token_place.cookie and entry.token_place.header:
        problems.append(Problem(("token_place",), "tokens stand at one place: a cookie or a header field"))
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
        key_place=entry.jwks or "",
        mappings=tuple(
            ClaimMapping(attribute, source.claim, _absent(attribute, source), _assertable(entry, attribute))
            for attribute, source in sources.items()
        ),
        assertable_affiliates=_assertable(entry, "affiliate"),
        needs_people=entry.people == "required",
        needs_clients=entry.clients == "required",
        key_hosts=frozenset(entry.jwks_hosts),
        leeway=entry.leeway,
        max_age=entry.max_age,
        types=frozenset(entry.token_type or {PLAIN_TOKEN, ACCESS_TOKEN}),
        is_rfc9068=ACCESS_TOKEN in (entry.token_type or ()),
        place=_place(entry.token_place),
        is_bound=entry.sender_constrained is not None,
        introspection=_introspection(entry.introspection),
    )


def _place(entry: PlaceEntry) -> TokenPlace:
    if entry.cookie is not None:
        return f"cookie {entry.cookie}"
    return AUTHORIZATION if entry.header is None else f"header {entry.header.lower()}"


def _introspection(entry: IntrospectionEntry | None) -> Introspection | None:
    if entry is None:
        return None
    return Introspection(entry.url, entry.client_id, entry.secret.secret, entry.cache)


def _assertable(entry: IssuerEntry, attribute: str) -> frozenset[str] | None:
    values = entry.may_assert.get(attribute)
    return None if values is None else frozenset(values)


def _absent(attribute: str, source: ClaimSource) -> State | FactSet:
    if source.absent == "unknown":
        return UNKNOWN
    return EMPTY_SET if attribute in TEXT_SETS | COUNTRY_SETS else ABSENT
