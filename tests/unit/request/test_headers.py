# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.decision import Reason
from proxy.model.request import VARYING, Headers, canonical_name
from proxy.request.headers import (
    REQUEST_FIELDS,
    REQUEST_PREFIXES,
    TABLE,
    RequestFields,
    Treatment,
    can_carry_token,
    find_varying,
    make_table,
    parse_host,
    read_request_fields,
    render_fields,
)
from proxy.request.trace import TRACE_FIELDS

HOST = ("Host", "users.internal")
TOKEN = "!#$%&'*+.^_`|~-"

FORWARDED = (Treatment.SINGLE, Treatment.TRACE)
NEVER_FORWARDED = sorted(
    {name for name, treatment in REQUEST_FIELDS.items() if treatment not in FORWARDED}
    | {prefix + end for prefix in REQUEST_PREFIXES for end in ("for", "user", "decision-id", "")}
)
PROTECTED = sorted(
    {name for name, treatment in REQUEST_FIELDS.items() if treatment not in (Treatment.HOP_BY_HOP, Treatment.TRACE)}
    | {prefix + end for prefix in REQUEST_PREFIXES for end in ("for", "user", "decision-id", "")}
)
HYPHENATED = [name for name in NEVER_FORWARDED if "-" in name.strip("-")]

# What well-known servers, meshes and frameworks behind us believe about who asks, from where, or what is asked.
BELIEVED = {
    "X-Forwarded": "a forwarded field without its ending",
    "Forwarded-For": "the same, without its beginning",
    "X-Original-Forwarded-For": "ingress-nginx",
    "X-Original-Host": "Azure Application Gateway",
    "X-Host": "several frameworks' host override",
    "X-Real-Client-IP": "Tencent and others",
    "X-Azure-ClientIP": "Azure Front Door",
    "X-Appengine-User-IP": "Google App Engine",
    "CF-Connecting-IPv6": "Cloudflare",
    "CF-IPCountry": "Cloudflare: the country, of all things",
    "CloudFront-Viewer-Country": "CloudFront: the country, of all things",
    "X-Remote-Group": "the Kubernetes front proxy",
    "X-Remote-Extra-Scopes": "the Kubernetes front proxy",
    "Impersonate-User": "the Kubernetes API",
    "X-User-Email": "devise and others",
    "X-Auth-Request-User": "oauth2-proxy",
    "X-Auth-Request-Email": "oauth2-proxy",
    "X-WebAuth-User": "Grafana",
    "X-Goog-Authenticated-User-Email": "Google IAP",
    "X-Goog-IAP-JWT-Assertion": "Google IAP",
    "X-Amzn-Oidc-Identity": "AWS load balancer",
    "X-MS-Client-Principal": "Azure App Service",
    "X-Pomerium-Jwt-Assertion": "Pomerium",
    "X-Consumer-Username": "Kong",
    "SSL-Client-Cert": "nginx and Apache",
    "X-SSL-Client-DN": "HAProxy",
    "X-Client-Cert": "several TLS terminators",
    "X-Original-Method": "nginx auth_request",
    "X-HTTP-Path-Override": "the path's method override",
}

PASSED = {
    "fields nobody declared go on as they are": (("Accept", "text/html"), ("X-Trace", "1"), ("X-Trace", "2")),
    "content fields go on": (("Content-Type", "application/json"), ("Content-Language", "ja")),
    "a cookie and a range go on": (("Cookie", "a=b"), ("Range", "bytes=0-1")),
    "a tab inside a value is allowed": (("X-A", "a\tb"),),
    "UTF-8 in a value is allowed": (("X-A", "\u65e5\u672c"),),
    "a name that only looks like a prefix": (("X-Forwardedly", "a"), ("Sekishoo", "b")),
    "row 17: a probe's User-Agent is a field as any other (CVE-2026-34457)": (("User-Agent", "kube-probe/1.29"),),
}

REFUSED: dict[str, tuple[Headers, Reason]] = {
    "row 9: two hosts": ((HOST, HOST), Reason.HOST_REPEATED),
    "row 9: two hosts in other letter case": ((HOST, ("HOST", "evil")), Reason.HOST_REPEATED),
    "row 9: two tokens": ((("Authorization", "a"), ("authorization", "b")), Reason.AUTHORIZATION_REPEATED),
    "row 9: two lengths": ((("Content-Length", "1"), ("Content-Length", "1")), Reason.HEADER_REPEATED),
    "row 9: two content types": ((("Content-Type", "a"), ("CONTENT-TYPE", "b")), Reason.HEADER_REPEATED),
    "row 9: two cookies": ((("Cookie", "a=1"), ("Cookie", "a=2")), Reason.HEADER_REPEATED),
    "row 9: two codings": ((("Transfer-Encoding", "chunked"),) * 2, Reason.HEADER_REPEATED),
    "row 9: two identities": ((("X-Real-IP", "1"), ("X-Real-IP", "2")), Reason.HEADER_REPEATED),
    "row 8: Connection names the token": ((("Connection", "Authorization"),), Reason.CONNECTION_NAMES_PROTECTED),
    "row 8: Connection names a forwarded field": (
        (("Connection", "close, X-Forwarded-For"),),
        Reason.CONNECTION_NAMES_PROTECTED,
    ),
    "row 8: in other letter case (Traefik CVE-2026-29054)": (
        (("Connection", "x-REAL-ip"),),
        Reason.CONNECTION_NAMES_PROTECTED,
    ),
    "row 8: with underscores": ((("Connection", "sekisho_decision_id"),), Reason.CONNECTION_NAMES_PROTECTED),
    "row 8: in a second Connection field": (
        (("Connection", "close"), ("Connection", "Host")),
        Reason.CONNECTION_NAMES_PROTECTED,
    ),
    "row 8: among empty elements": ((("Connection", ",,\tcookie ,"),), Reason.CONNECTION_NAMES_PROTECTED),
    "row 8: Connection names the length, and the body becomes a request": (
        (("Connection", "Content-Length"), ("Content-Length", "5")),
        Reason.CONNECTION_NAMES_PROTECTED,
    ),
    "a name with a space": ((("X A", "1"),), Reason.HEADER_MALFORMED),
    "a space behind the name": ((("Authorization ", "a"),), Reason.HEADER_MALFORMED),
    "an empty name": ((("", "1"),), Reason.HEADER_MALFORMED),
    "a pseudo-header": (((":path", "/"),), Reason.HEADER_MALFORMED),
    "a name outside ASCII": ((("X-\u0130", "1"),), Reason.HEADER_MALFORMED),
    "a Kelvin sign, which is k in lower case": ((("Coo\u212aie", "1"),), Reason.HEADER_MALFORMED),
    "a name with a line feed": ((("X-A\n", "1"),), Reason.HEADER_MALFORMED),
    "a line feed in a value": ((("X-A", "1\nHost: evil"),), Reason.HEADER_MALFORMED),
    "a carriage return in a value": ((("X-A", "1\rb"),), Reason.HEADER_MALFORMED),
    "a NUL in a value": ((("X-A", "a\x00"),), Reason.HEADER_MALFORMED),
    "a delete in a value": ((("X-A", "a\x7f"),), Reason.HEADER_MALFORMED),
    "a byte that is no UTF-8 in a value": ((("X-A", "\udcff"),), Reason.HEADER_MALFORMED),
    "an expectation we do not know": ((("Expect", "200-ok"),), Reason.EXPECTATION_UNSUPPORTED),
    "two expectations in one field": ((("Expect", "100-continue, a"),), Reason.EXPECTATION_UNSUPPORTED),
    "an empty expectation": ((("Expect", ""),), Reason.EXPECTATION_UNSUPPORTED),
}

HOSTS: dict[str, tuple[str | None, str | Reason]] = {
    "a name": ("users.internal", "users.internal"),
    "row 6: upper case is lowered once (Istio CVE-2021-39155)": ("Users.INTERNAL", "users.internal"),
    "a port is not part of the name": ("users.internal:8080", "users.internal"),
    "an IPv4 address": ("192.0.2.1:80", "192.0.2.1"),
    "an IPv6 address": ("[2001:DB8::1]:80", "[2001:db8::1]"),
    "one letter": ("a", "a"),
    "no field at all, as HTTP/1.0 allows": (None, Reason.HOST_MISSING),
    "an empty field": ("", Reason.HOST_MALFORMED),
    "only a port": (":80", Reason.HOST_MALFORMED),
    "an ending dot, which is the same name to DNS": ("users.internal.", Reason.HOST_MALFORMED),
    "an ending dot before a port": ("users.internal.:80", Reason.HOST_MALFORMED),
    "a dot at the front": (".users.internal", Reason.HOST_MALFORMED),
    "user information": ("users.internal@evil", Reason.HOST_MALFORMED),
    "a path": ("users.internal/a", Reason.HOST_MALFORMED),
    "percent-encoding": ("users%2einternal", Reason.HOST_MALFORMED),
    "two hosts joined": ("users.internal, evil", Reason.HOST_MALFORMED),
    "a space in front": (" users.internal", Reason.HOST_MALFORMED),
    "a line feed behind": ("users.internal\n", Reason.HOST_MALFORMED),
    "a tab behind": ("users.internal\t", Reason.HOST_MALFORMED),
    "an empty port": ("users.internal:", Reason.HOST_MALFORMED),
    "two ports": ("users.internal:80:81", Reason.HOST_MALFORMED),
    "a port in full-width digits": ("users.internal:\uff18\uff10", Reason.HOST_MALFORMED),
    "a port of six digits": ("users.internal:000080", Reason.HOST_MALFORMED),
    "an underscore": ("users_internal", Reason.HOST_MALFORMED),
    "letters outside ASCII": ("\u65e5\u672c.jp", Reason.HOST_MALFORMED),
    "a Kelvin sign, which is k in lower case": ("\u212a.jp", Reason.HOST_MALFORMED),
    "an ideographic full stop, which IDNA makes a dot": ("users\u3002internal", Reason.HOST_MALFORMED),
    "an IPv6 zone": ("[fe80::1%25eth0]", Reason.HOST_MALFORMED),
    "an IPv6 address without brackets": ("2001:db8::1", Reason.HOST_MALFORMED),
    "brackets round a name": ("[users.internal]", Reason.HOST_MALFORMED),
    "a name that is too long": ("a" * 255, Reason.HOST_MALFORMED),
}

NAMES = st.one_of(
    st.sampled_from([*REQUEST_FIELDS, "accept", "x-trace", "x-forwarded-for", "sekisho-mode"]),
    st.sampled_from(sorted(REQUEST_FIELDS)).map(lambda name: name.replace("-", "_").title()),
    st.text(st.sampled_from("abXZ-_." + TOKEN), min_size=1, max_size=8),
    st.text(max_size=6),
)
VALUES = st.one_of(st.text(max_size=12), st.sampled_from(["100-continue", "close", "accept", "x-real-ip", "a, b"]))
HEADS = st.lists(st.tuples(NAMES, VALUES), max_size=8).map(tuple)


def read(*headers: tuple[str, str]) -> RequestFields:
    fields = read_request_fields(headers)
    assert isinstance(fields, RequestFields), fields
    return fields


@pytest.mark.parametrize("headers", PASSED.values(), ids=PASSED)
def test_what_is_not_protected_goes_on_unchanged_and_in_order(headers: Headers) -> None:
    assert read(HOST, *headers).forwardable == headers


@pytest.mark.parametrize(("headers", "reason"), REFUSED.values(), ids=REFUSED)
def test_an_ambiguous_head_is_refused(headers: Headers, reason: Reason) -> None:
    assert read_request_fields(headers) is reason


@pytest.mark.parametrize("name", NEVER_FORWARDED)
def test_row_10_a_caller_cannot_hand_the_api_a_field_of_ours(name: str) -> None:
    value = {"expect": "100-continue", "transfer-encoding": "chunked"}.get(name, "a")

    assert read((name, value)).forwardable == ()
    assert read((name.upper(), value)).forwardable == ()


@pytest.mark.parametrize("name", HYPHENATED)
def test_row_7_an_underscore_alias_neither_counts_nor_passes(name: str) -> None:
    for alias in (name.replace("-", "_"), name.replace("-", "_", 1), name.replace("-", "_").upper()):
        fields = read((alias, "192.0.2.1"), (alias, "192.0.2.2"))

        assert fields.forwardable == ()
        assert fields.client_address == ()


@pytest.mark.parametrize("separator", sorted(set(TOKEN) - set("-_")))
def test_row_7_any_other_separator_is_an_alias_too(separator: str) -> None:
    # lighttpd's http_cgi_encode_varname, and Apache before 2.4, write "_" for whatever is no letter or digit.
    for name in ("X-Real-IP", "X-Forwarded-For", "Sekisho-Decision-Id", "Remote-User"):
        assert read((name.replace("-", separator), "forged")).forwardable == ()


@pytest.mark.parametrize("name", BELIEVED, ids=[f"{name}: {who}" for name, who in BELIEVED.items()])
def test_row_10_what_servers_behind_us_believe_is_never_the_callers_word(name: str) -> None:
    assert read((name, "forged")).forwardable == ()


@pytest.mark.parametrize("name", PROTECTED)
def test_row_8_connection_may_name_no_protected_field(name: str) -> None:
    assert read_request_fields((("Connection", name),)) is Reason.CONNECTION_NAMES_PROTECTED


def test_row_8_connection_drops_what_it_names_and_its_aliases() -> None:
    fields = read(("Connection", "close, X-A"), ("x-a", "1"), ("X_A", "2"), ("X-B", "3"))

    assert fields.forwardable == (("X-B", "3"),)


def test_row_8_connection_may_name_the_fields_of_a_trace_which_are_then_of_one_hop() -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    trace = (("traceparent", parent), ("tracestate", "a=1"))
    fields = read(("Connection", "traceparent, X-Request-Id"), *trace, ("X-B", "3"))
    assert fields.forwardable == (("X-B", "3"),)
    for apart in ((), trace, (*trace, ("X-REQUEST-ID", "1"))):
        assert find_varying(fields, apart) == ("", ())
    assert find_varying(read(("Connection", "tracestate"), trace[0]), (trace[1],)) == (parent[3:35], (trace[0],))


def test_fields_that_are_new_each_time_go_on_wherever_they_stood() -> None:
    parent = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    fields = read(("X-B", "3"), parent)
    apart = (("x-request-id", "1"),)
    assert fields.forwardable == (("X-B", "3"),)
    assert find_varying(fields, apart) == (parent[1][3:35], (parent, *apart))
    assert find_varying(read(("X-B", "3")), (*apart, parent)) == (parent[1][3:35], (*apart, parent))
    assert find_varying(fields, (parent,)) == ("", ())  # two parents are none


def test_what_is_new_each_time_means_nothing_to_us_but_a_trace() -> None:
    assert {name for name in VARYING if name in REQUEST_FIELDS} == TRACE_FIELDS
    assert not [name for name in VARYING if name.startswith(tuple(REQUEST_PREFIXES)) or name != name.lower()]
    assert not [name for name in VARYING if can_carry_token(name)]


@pytest.mark.parametrize("value", ["keep-alive", "close", "upgrade, HTTP2-Settings", "TE", "", ","])
def test_row_8_connection_may_name_hop_by_hop_fields(value: str) -> None:
    fields = read(("Connection", value), ("Upgrade", "websocket"), ("TE", "trailers"), ("Accept", "a"))

    assert fields.forwardable == (("Accept", "a"),)


def test_the_forwarded_chain_keeps_the_order_of_its_fields() -> None:
    fields = read(("X-Forwarded-For", "a, b"), ("Accept", "x"), ("x-forwarded-for", "c"), ("X_Forwarded_For", "d"))

    assert fields.client_address == ("a, b", "c")


@pytest.mark.parametrize(
    ("headers", "expects"),
    [((), False), ((("Expect", "100-continue"),), True), ((("expect", "100-Continue"),), True)],
    ids=["none", "as registered", "in other letter case"],
)
def test_expect_continue_is_ours_to_answer(headers: Headers, expects: bool) -> None:  # noqa: FBT001 - a table's column
    assert read(*headers).expects_continue is expects


def test_host_and_authorization_are_read_and_not_passed_on() -> None:
    fields = read(HOST, ("Authorization", "Bearer x"))

    assert (fields.host, fields.authorization, fields.forwardable) == ("users.internal", "Bearer x", ())


def test_an_alias_of_authorization_or_host_is_never_read() -> None:
    fields = read(("Proxy_Authorization", "Bearer x"), ("X_Real_IP", "192.0.2.1"))

    assert (fields.host, fields.authorization, fields.forwardable) == (None, None, ())


@given(HEADS)
def test_reading_a_head_never_raises_and_only_takes_away(headers: Headers) -> None:
    fields = read_request_fields(headers)
    if isinstance(fields, Reason):
        return

    rest = iter(headers)
    assert all(field in rest for field in fields.forwardable)  # a subsequence: nothing added, nothing moved
    for name, value in fields.forwardable:
        assert canonical_name(name) not in NEVER_FORWARDED
        assert not canonical_name(name).startswith(tuple(REQUEST_PREFIXES))
        assert not set(value) & set("\r\n\x00")
    assert read_request_fields(fields.forwardable) == RequestFields(
        host=None,
        authorization=None,
        carried=(),
        client_address=(),
        forwarded_certificate=None,
        behind=None,
        expects_continue=False,
        has_transfer_coding=False,
        purpose=None,
        case=None,
        traced=(),
        dropped=frozenset(),
        forwardable=fields.forwardable,
    )


@given(st.text(max_size=12))
def test_a_canonical_name_is_canonical(name: str) -> None:
    assert canonical_name(canonical_name(name)) == canonical_name(name)
    assert canonical_name(name) == canonical_name(name.replace("-", "_"))


@pytest.mark.parametrize(("raw", "expected"), HOSTS.values(), ids=HOSTS)
def test_parse_host(raw: str | None, expected: str | Reason) -> None:
    assert parse_host(raw) == expected


@given(st.one_of(st.text(max_size=20), st.from_regex(r"[A-Za-z0-9.-]{1,20}(:\d{1,5})?", fullmatch=True)))
def test_parse_host_is_stable_and_lower_case(raw: str) -> None:
    host = parse_host(raw)
    if isinstance(host, Reason):
        return

    assert host == host.lower()
    assert host.isascii()
    assert parse_host(host) == host
    assert raw.lower().startswith(host)


def test_a_forwarded_certificate_is_read_once_and_never_passes_on() -> None:
    fields = read(("X-Forwarded-Client-Cert", "Hash=a"), ("X_Forwarded_Client_Cert", "Hash=b"), ("Accept", "x"))
    assert isinstance(fields, RequestFields)
    assert (fields.forwarded_certificate, fields.forwardable[-1:]) == ("Hash=a", (("Accept", "x"),))
    assert not [name for name, _ in fields.forwardable if "cert" in name.lower()]
    twice = (("X-Forwarded-Client-Cert", "a"), ("x-forwarded-client-cert", "a"))
    assert read_request_fields((("Host", "h"), *twice)) == Reason.HEADER_REPEATED
    named = (("Host", "h"), ("Connection", "X-Forwarded-Client-Cert"))
    assert read_request_fields(named) == Reason.CONNECTION_NAMES_PROTECTED


PLACES = ("authorization", "header x-id-token", "header x-auth-token", "cookie id_token", "cookie session")
BY_POLICY = make_table(PLACES)


def carried(*headers: tuple[str, str]) -> tuple[tuple[tuple[str, str], ...], Headers]:
    fields = read_request_fields((HOST, *headers), BY_POLICY)
    assert isinstance(fields, RequestFields)
    return fields.carried, fields.forwardable


CARRIED: dict[str, tuple[Headers, Headers, Headers]] = {
    "no token": ((("Accept", "*/*"),), (), (("Accept", "*/*"),)),
    "a token in a field": ((("X-Id-Token", "a.b.c"), ("Accept", "*/*")), (("header x-id-token", "a.b.c"),),
                           (("Accept", "*/*"),)),
    "a token in a field of the identity family": ((("X-Auth-Token", "t"),), (("header x-auth-token", "t"),), ()),
    "a token in a cookie": ((("Cookie", "a=1; id_token=t; b=2"), ("Accept", "*/*")), (("cookie id_token", "t"),),
                            (("Cookie", "a=1; b=2"), ("Accept", "*/*"))),
    "a token in the only cookie": ((("cookie", "id_token=t"),), (("cookie id_token", "t"),), ()),
    "other cookies alone, which pass as they came": ((("Cookie", "a=1;b=2 ;"),), (), (("Cookie", "a=1;b=2 ;"),)),
    "tokens at two places": ((("X-Id-Token", "t"), ("Cookie", "session=u")),
                             (("header x-id-token", "t"), ("cookie session", "u")), ()),
    "an alias of a token's field": ((("X_Id_Token", "t"), ("x-id.token", "t")), (), ()),
    "an alias of the cookie field": ((("C\u006fokie", "id_token=t"), ("Cooki_e", "id_token=t")),
                                     (("cookie id_token", "t"),), (("Cooki_e", "id_token=t"),)),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "found", "forwarded"), CARRIED.values(), ids=CARRIED)
def test_a_token_is_read_where_the_policy_says_and_goes_no_further(
    headers: Headers, found: Headers, forwarded: Headers
) -> None:
    assert carried(*headers) == (found, forwarded)


REFUSED_BY_POLICY: dict[str, tuple[Headers, Reason]] = {
    "a token's field twice": ((("X-Id-Token", "t"), ("x-id-token", "t")), Reason.HEADER_REPEATED),
    "a token's cookie twice": ((("Cookie", "id_token=t; id_token=u"),), Reason.AUTHORIZATION_COOKIE_REPEATED),
    "the cookie field twice": ((("Cookie", "id_token=t"), ("Cookie", "a=1")), Reason.HEADER_REPEATED),
    "a token's field named by Connection": (
        (("X-Id-Token", "t"), ("Connection", "X-Id-Token")), Reason.CONNECTION_NAMES_PROTECTED,
    ),
    "an alias of a token's field named by Connection": (
        (("Connection", "x_id_token"),), Reason.CONNECTION_NAMES_PROTECTED,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "reason"), REFUSED_BY_POLICY.values(), ids=REFUSED_BY_POLICY)
def test_row_9_a_head_is_refused_with(headers: Headers, reason: Reason) -> None:
    assert read_request_fields((HOST, *headers), BY_POLICY) is reason


def test_without_other_places_the_table_is_the_plain_one() -> None:
    assert make_table(["authorization", "authorization"]) is TABLE


def test_under_the_plain_table_other_places_are_fields_like_others() -> None:
    fields = read(("X-Id-Token", "t"), ("Cookie", "id_token=t"))
    assert fields.carried == ()
    assert fields.forwardable == (("X-Id-Token", "t"), ("Cookie", "id_token=t"))


CARRIERS = {
    "x-id-token": True, "x-auth-request-access-token": True, "cf-access-jwt-assertion": True, "token": True,
    "x-forwarded-access-token": True, "authorization": False, "cookie": False, "host": False, "connection": False,
    "content-length": False, "x-forwarded-for": False, "forwarded": False, "sekisho-token": False, "te": False,
    "proxy-authorization": False, "x-forwarded-host": False, "client-cert": False, "x-real-ip": False,
    "x-forwarded-client-cert": False,
}  # fmt: skip


@pytest.mark.parametrize(("field", "may"), CARRIERS.items())
def test_a_token_may_stand_in_a_field_that_means_nothing_else(field: str, may: bool) -> None:  # noqa: FBT001
    assert can_carry_token(field) == may


@given(HEADS)
def test_reading_a_head_under_a_policy_never_raises_and_leaves_no_token_behind(headers: Headers) -> None:
    fields = read_request_fields((*headers, ("Cookie", "a=1; id_token=t")), BY_POLICY)
    if isinstance(fields, Reason):
        return
    again = read_request_fields(fields.forwardable, BY_POLICY)
    assert isinstance(again, RequestFields)
    assert (again.carried, again.forwardable) == ((), fields.forwardable)


ADDRESS_FIELDS = {"x-forwarded-for": ("a, b", "c"), "forwarded": ("for=d", "for=e"), "x-real-ip": ("f",), "": ()}


@pytest.mark.parametrize(("name", "values"), ADDRESS_FIELDS.items(), ids=[name or "none" for name in ADDRESS_FIELDS])
def test_row_10_one_field_tells_the_address_and_none_of_the_family_passes(name: str, values: tuple[str, ...]) -> None:
    headers = (
        ("X-Forwarded-For", "a, b"), ("Forwarded", "for=d"), ("x-forwarded-for", "c"), ("X-Real-IP", "f"),
        ("FORWARDED", "for=e"), ("X_Real_IP", "g"), ("X_Forwarded_For", "h"), ("X-Client-IP", "i"), ("Via", "j"),
    )  # fmt: skip
    fields = read_request_fields(headers, make_table((), name))

    assert isinstance(fields, RequestFields)
    assert (fields.client_address, fields.forwardable) == (values, ())


def test_row_9_an_address_that_stands_once_is_refused_when_repeated() -> None:
    for name in ADDRESS_FIELDS:
        assert (
            read_request_fields((("X-Real-IP", "a"), ("x-real-ip", "a")), make_table((), name))
            is Reason.HEADER_REPEATED
        )


def test_fields_are_rendered_as_lines() -> None:
    assert render_fields((("ETag", "x"), ("X-A", "\u65e5"))) == "ETag: x\r\nX-A: \u65e5\r\n".encode()
    assert render_fields(()) == b""
