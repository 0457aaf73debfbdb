# SPDX-License-Identifier: Apache-2.0
"""What happens to every header field, in one table, and the one pass over a head that applies it.

- Names are compared in lower case with everything but letters and digits read as ``-``, because servers behind us
  (CGI, WSGI, lighttpd) read them so: an alias of a protected field never passes.
- The forwarded family and the identity family never pass: the gateway writes its own afterwards.
- A field that must stand once is refused when it is repeated, never joined.
"""

import enum
import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from proxy.model.decision import Reason
from proxy.model.request import AUTHORIZATION, VARYING, Carried, Headers, TokenPlace, canonical_name
from proxy.request.cookies import take_cookies
from proxy.request.trace import take_trace


class Treatment(enum.Enum):
    """What becomes of a request's field on its way to the API."""

    HOP_BY_HOP = "dropped: it belongs to one connection (RFC 9110 7.6.1)"
    FRAMING = "written anew by the gateway; refused if repeated"
    REWRITTEN = "dropped; what the API needs of it the gateway writes itself, below"
    IDENTITY = "dropped: the API must not believe a caller's word on who it is or where it comes from"
    OVERRIDE = "dropped: it would make another request of the one that was judged"
    AUTHORIZATION = "read by the gateway; dropped unless the API declares `authorization: forward`"
    TOKEN = "read by the gateway where the policy names it as an issuer's `token_place`; dropped; refused if repeated"  # noqa: S105
    BEHIND = "read by the gateway: the token of the person for whom the caller acts; dropped; refused if repeated"
    PURPOSE = "read by the gateway for rules that ask for it; dropped; refused if repeated or malformed"
    CERTIFICATE = "dropped; read only with `client_certificate: xfcc`, from a trusted proxy; refused if repeated"
    SINGLE = "forwarded; refused if repeated"
    TRACE = "forwarded as it came where it is what W3C Trace Context says, else dropped; the trace id is recorded"


REQUEST_FIELDS: Final[dict[str, Treatment]] = {
    "connection": Treatment.HOP_BY_HOP,
    "keep-alive": Treatment.HOP_BY_HOP,
    "proxy-connection": Treatment.HOP_BY_HOP,
    "te": Treatment.HOP_BY_HOP,
    "trailer": Treatment.HOP_BY_HOP,
    "transfer-encoding": Treatment.HOP_BY_HOP,
    "upgrade": Treatment.HOP_BY_HOP,
    "http2-settings": Treatment.HOP_BY_HOP,
    "proxy-authorization": Treatment.HOP_BY_HOP,
    "proxy-authenticate": Treatment.HOP_BY_HOP,
    "expect": Treatment.HOP_BY_HOP,
    "host": Treatment.REWRITTEN,
    "forwarded": Treatment.REWRITTEN,
    "via": Treatment.REWRITTEN,
    "x-forwarded": Treatment.IDENTITY,
    "x-host": Treatment.IDENTITY,
    "x-client-ip": Treatment.IDENTITY,
    "x-cluster-client-ip": Treatment.IDENTITY,
    "x-originating-ip": Treatment.IDENTITY,
    "client-ip": Treatment.IDENTITY,
    "true-client-ip": Treatment.IDENTITY,
    "fastly-client-ip": Treatment.IDENTITY,
    "fly-client-ip": Treatment.IDENTITY,
    "remote-addr": Treatment.IDENTITY,
    "remote-user": Treatment.IDENTITY,
    "x-user": Treatment.IDENTITY,
    "x-username": Treatment.IDENTITY,
    "x-authenticated-user": Treatment.IDENTITY,
    "x-authenticated-userid": Treatment.IDENTITY,
    "x-credential-identifier": Treatment.IDENTITY,
    "x-anonymous-consumer": Treatment.IDENTITY,
    "x-geo-country": Treatment.IDENTITY,
    "x-country-code": Treatment.IDENTITY,
    "client-cert": Treatment.IDENTITY,
    "client-cert-chain": Treatment.IDENTITY,
    "x-client-cert": Treatment.IDENTITY,
    "x-forwarded-client-cert": Treatment.CERTIFICATE,
    "proxy": Treatment.OVERRIDE,
    "x-http-method": Treatment.OVERRIDE,
    "x-method-override": Treatment.OVERRIDE,
    "authorization": Treatment.AUTHORIZATION,
    "sekisho-purpose": Treatment.PURPOSE,
    "sekisho-case": Treatment.PURPOSE,
    "sekisho-on-behalf-of": Treatment.BEHIND,
    "content-length": Treatment.FRAMING,
    "content-type": Treatment.SINGLE,
    "content-encoding": Treatment.SINGLE,
    "cookie": Treatment.SINGLE,
    "range": Treatment.SINGLE,
    "traceparent": Treatment.TRACE,
    "tracestate": Treatment.TRACE,
}
"""By canonical name. What is not named here, nor by a prefix below, is forwarded as it is."""

REQUEST_PREFIXES: Final[Mapping[str, Treatment]] = {
    "x-forwarded-": Treatment.REWRITTEN,
    "forwarded-": Treatment.IDENTITY,
    "x-real-": Treatment.IDENTITY,
    "x-remote-": Treatment.IDENTITY,
    "x-user-": Treatment.IDENTITY,
    "x-webauth-": Treatment.IDENTITY,
    "x-appengine-": Treatment.IDENTITY,
    "x-azure-": Treatment.IDENTITY,
    "x-pomerium-": Treatment.IDENTITY,
    "x-auth-": Treatment.IDENTITY,
    "x-envoy-": Treatment.IDENTITY,
    "x-goog-": Treatment.IDENTITY,
    "x-ms-client-": Treatment.IDENTITY,
    "x-ms-token-": Treatment.IDENTITY,
    "x-amzn-oidc-": Treatment.IDENTITY,
    "x-consumer-": Treatment.IDENTITY,
    "x-ssl-": Treatment.IDENTITY,
    "ssl-client-": Treatment.IDENTITY,
    "impersonate-": Treatment.IDENTITY,
    "cf-": Treatment.IDENTITY,
    "cloudfront-": Treatment.IDENTITY,
    "sekisho-": Treatment.IDENTITY,
    "x-http-method-": Treatment.OVERRIDE,
    "x-http-path-": Treatment.OVERRIDE,
    "x-original-": Treatment.OVERRIDE,
    "x-rewrite-": Treatment.OVERRIDE,
    "x-accel-": Treatment.OVERRIDE,
    "x-sendfile": Treatment.OVERRIDE,
}
"""By the beginning of a canonical name: families that proxies, clouds and identity-aware gateways write."""

_REPEATABLE: Final = frozenset(
    {
        "connection",
        "te",
        "trailer",
        "via",
        "forwarded",
        "x-forwarded-for",
        "keep-alive",
        "upgrade",
        "proxy-authenticate",
        "traceparent",
        "tracestate",
    }
)
"""Of the fields named here, those that RFC 9110 5.3 lets a sender write more than once, or that are no reason to refuse
anybody."""

_UNPROTECTED: Final = (None, Treatment.HOP_BY_HOP, Treatment.TRACE)
"""What ``Connection`` may name."""
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_PREFIXES: Final = tuple(REQUEST_PREFIXES)
NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""RFC 9110 5.6.2 ``token``."""
CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
"""RFC 9110 5.5: no control character but tab; a lone surrogate stands for a byte that was no UTF-8."""


class FieldTable(msgspec.Struct, frozen=True):
    """The table under one policy: with the fields and the cookies that carry tokens there."""

    treatments: Mapping[str, Treatment]
    cookies: frozenset[str] = frozenset()
    address_field: str = "x-forwarded-for"
    """The one field that may tell the client's address; empty for none."""
    has_tokens: bool = False
    """Whether tokens stand elsewhere than in ``Authorization``."""


TABLE: Final = FieldTable(REQUEST_FIELDS)
"""The table where tokens stand in ``Authorization`` alone."""
_NO_TOKEN_FIELDS: Final = (
    "sekisho-", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-real-",
    "x-forwarded-client-cert",
)  # fmt: skip
"""Beginnings of fields in which others tell us something, or we tell others."""


def make_table(places: Iterable[TokenPlace], address_field: str = TABLE.address_field) -> FieldTable:
    """Return the table where tokens stand at these places, and the client's address in this field; empty: in none."""
    named = [place.partition(" ") for place in places if place != AUTHORIZATION]
    fields = {name: Treatment.TOKEN for kind, _, name in named if kind == "header"}
    cookies = frozenset(name for kind, _, name in named if kind == "cookie")
    made = FieldTable(REQUEST_FIELDS | fields, cookies, address_field, has_tokens=bool(named))
    return TABLE if made == TABLE else made


def can_carry_token(field: str) -> bool:
    """Say whether a field, in lower case, may be named as the place of tokens: one that means nothing else."""
    return field not in REQUEST_FIELDS and field not in VARYING and not field.startswith(_NO_TOKEN_FIELDS)


class RequestFields(msgspec.Struct, frozen=True):
    """What one pass over a request's head found."""

    host: str | None
    authorization: str | None
    carried: Carried
    """What stood at other places of tokens."""
    client_address: tuple[str, ...]
    """Every value of the one field that may tell the client's address, in the order received."""
    forwarded_certificate: str | None
    """The value of ``X-Forwarded-Client-Cert``. Not to be believed but from a trusted proxy."""
    behind: str | None
    """The raw token of the person for whom the caller acts."""
    expects_continue: bool
    has_transfer_coding: bool
    purpose: str | None
    """What the caller says it reads for; ``case`` names the matter. Neither is to be believed yet."""
    case: str | None
    traced: Headers
    """The fields of a trace, as received."""
    dropped: frozenset[str]
    """Canonical names of fields that ``Connection`` names: they go no further."""
    forwardable: Headers
    """What goes on to the API, before the gateway adds its own; but for the fields of ``find_varying``."""


def has_body(headers: Headers) -> bool:
    """Say whether a request has a body, by the fields that frame it (RFC 9112 6.3)."""
    framing = {name.lower(): value for name, value in headers if name.lower() in _FRAMING}
    return bool(framing) and framing != {"content-length": "0"}


def read_request_fields(headers: Headers, table: FieldTable = TABLE) -> RequestFields | Reason:
    """Sort the fields of a request by the table, or return the first reason to refuse it."""
    treatments = table.treatments
    address_field = table.address_field
    single: dict[str, str] = {}
    addresses: list[str] = []
    forwardable: list[tuple[str, str]] = []
    traced: list[tuple[str, str]] = []
    passing: Mapping[Treatment | None, list[tuple[str, str]]]
    passing = {Treatment.SINGLE: forwardable, Treatment.TRACE: traced}
    listed: list[str] = []
    for name, value in headers:
        if not NAME.fullmatch(name) or CONTROL.search(value):
            return Reason.HEADER_MALFORMED
        canonical = canonical_name(name)
        treatment = treatments.get(canonical)
        if treatment is None and not canonical.startswith(_PREFIXES):
            forwardable.append((name, value))
            continue
        if canonical != name.lower():
            continue  # an alias of a protected field: it neither counts nor passes
        if canonical not in _REPEATABLE:
            if canonical in single:
                return _REPEATED.get(canonical, Reason.HEADER_REPEATED)
            single[canonical] = value
        if treatment in passing:
            passing[treatment].append((name, value))
        elif canonical == address_field:
            addresses.append(value)
        elif canonical == "connection":
            listed.append(value)
    return _finish(single, addresses, forwardable, listed, traced=tuple(traced), table=table)


_REPEATED: Final = {
    "host": Reason.HOST_REPEATED,
    "authorization": Reason.AUTHORIZATION_REPEATED,
    "sekisho-on-behalf-of": Reason.AUTHORIZATION_REPEATED,
}


def _finish(
    single: Mapping[str, str],
    addresses: list[str],
    forwardable: list[tuple[str, str]],
    listed: list[str],
    *,
    traced: Headers,
    table: FieldTable,
) -> RequestFields | Reason:
    named = {canonical_name(option.strip()) for value in listed for option in value.split(",")} - {
        "",
        "close",
    }
    if named:
        if any(_is_protected(name, table) for name in named):
            return Reason.CONNECTION_NAMES_PROTECTED
        forwardable = [(name, value) for name, value in forwardable if canonical_name(name) not in named]
    expect = single.get("expect")
    if expect is not None and expect.lower() != "100-continue":
        return Reason.EXPECTATION_UNSUPPORTED
    coding = single.get("transfer-encoding")
    if coding is not None and coding.strip().lower() != "chunked":
        return Reason.TRANSFER_CODING_UNSUPPORTED  # RFC 9112 6.1: a coding that is not understood is 501
    purpose, case = single.get("sekisho-purpose"), single.get("sekisho-case")
    if not all(said is None or _CASE.fullmatch(said) for said in (purpose, case)):
        return Reason.HEADER_MALFORMED
    carried: Carried = ()
    if table.has_tokens:
        taken = _take_tokens(single, forwardable, table)
        if isinstance(taken, Reason):
            return taken
        carried, forwardable = taken
    return RequestFields(
        host=single.get("host"),
        authorization=single.get("authorization"),
        carried=carried,
        client_address=tuple(addresses),
        forwarded_certificate=single.get("x-forwarded-client-cert"),
        behind=single.get("sekisho-on-behalf-of"),
        expects_continue=expect is not None,
        has_transfer_coding=coding is not None,
        purpose=purpose,
        case=case,
        traced=traced,
        dropped=frozenset(named),
        forwardable=tuple(forwardable),
    )


def _take_tokens(
    single: Mapping[str, str], forwardable: list[tuple[str, str]], table: FieldTable
) -> tuple[Carried, list[tuple[str, str]]] | Reason:
    """Return what stands at the named places of tokens, and the fields that go on without it."""
    carried = [
        (f"header {name}", value) for name, value in single.items() if table.treatments.get(name) is Treatment.TOKEN
    ]
    if table.cookies and "cookie" in single:
        taken = take_cookies(single["cookie"], table.cookies)
        if isinstance(taken, Reason):
            return taken
        tokens, rest = taken
        if tokens:
            carried += [(f"cookie {name}", value) for name, value in tokens.items()]
            forwardable = [
                (name, rest if canonical_name(name) == "cookie" else value)
                for name, value in forwardable
                if rest or canonical_name(name) != "cookie"
            ]
    return tuple(carried), forwardable


def _is_protected(name: str, table: FieldTable) -> bool:
    return table.treatments.get(name) not in _UNPROTECTED or name.startswith(_PREFIXES)


_CASE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:/-]{0,62}[A-Za-z0-9])?")
"""What names a purpose or a matter: a word, a ticket's or a file's number."""
_HOST: Final = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
)
"""RFC 9110 7.2 ``Host``, without user information, percent-encoding or an ending dot."""


def find_varying(fields: RequestFields, apart: Headers) -> tuple[str, Headers]:
    """Return the trace id of a request, and of its fields that are new each time those that go on.

    Args:
        fields: all others.
        apart: those that stand apart from them.
    """
    going_on = (*fields.traced, *apart) if fields.traced else apart
    if fields.dropped:
        going_on = tuple([each for each in going_on if each[0].lower() not in fields.dropped])
    return take_trace(going_on)


def parse_host(raw: str | None) -> str | Reason:
    """Return the host name in lower case without its port, or the reason to refuse it.

    RFC 9112 3.2: a server MUST answer 400 to a request without ``Host``, with more than one, or an invalid one.
    """
    if raw is None:
        return Reason.HOST_MISSING
    match = _HOST.fullmatch(raw)
    return match["name"].lower() if match else Reason.HOST_MALFORMED


def render_fields(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return field lines as they stand in a head, each ended by CRLF (RFC 9112 5).

    Args:
        fields: names and values in which no line ends: the functions here that return fields let none pass.
    """
    return "".join([f"{name}: {value}\r\n" for name, value in fields]).encode()
