# SPDX-License-Identifier: Apache-2.0
"""An issuer's metadata says where its keys are, and cannot lead the gateway anywhere else (LESSONS 1 row 14: SSRF)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.caller.discovery import metadata_places, read_metadata
from proxy.caller.issuers import Issuer
from proxy.errors import KeySetError
from tests.support.tokens import an_issuer

ISSUER = "https://idp.example.jp/realms/corp"

PLACES = {
    "https://idp.example.jp": (
        "https://idp.example.jp/.well-known/openid-configuration",
        "https://idp.example.jp/.well-known/oauth-authorization-server",
    ),
    "https://idp.example.jp/": (
        "https://idp.example.jp/.well-known/openid-configuration",
        "https://idp.example.jp/.well-known/oauth-authorization-server",
    ),
    ISSUER: (
        "https://idp.example.jp/realms/corp/.well-known/openid-configuration",
        "https://idp.example.jp/.well-known/oauth-authorization-server/realms/corp",
    ),
    "http://127.0.0.1:8080/a/": (
        "http://127.0.0.1:8080/a/.well-known/openid-configuration",
        "http://127.0.0.1:8080/.well-known/oauth-authorization-server/a",
    ),
}


@pytest.mark.parametrize(("issuer", "places"), PLACES.items())
def test_metadata_is_at(issuer: str, places: tuple[str, str]) -> None:
    assert metadata_places(issuer) == places


def discovered(**changes: Any) -> Issuer:
    return an_issuer(**{"issuer": ISSUER, "jwks": None, **changes})


def metadata(**changes: Any) -> bytes:
    return json.dumps({"issuer": ISSUER, "jwks_uri": "https://idp.example.jp/keys", **changes}).encode()


FOUND: dict[str, tuple[str, dict[str, Any]]] = {
    "on the issuer's host": ("https://idp.example.jp/keys", {}),
    "on the issuer's host in capitals": ("https://IDP.example.jp/keys", {}),
    "on the issuer's host with its own port": ("https://idp.example.jp:443/keys", {}),
    "on a host that the policy names": ("https://keys.example.net/k", {"jwks_hosts": ["keys.example.net"]}),
    "on a port that the policy names": ("https://idp.example.jp:8443/k", {"jwks_hosts": ["idp.example.jp:8443"]}),
}


@pytest.mark.parametrize(("place", "declared"), FOUND.values(), ids=FOUND)
def test_keys_are_found(place: str, declared: dict[str, Any]) -> None:
    assert read_metadata(metadata(jwks_uri=place), discovered(**declared)) == place


REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "a page": b"<html>",
    "a list": b"[]",
    "an issuer twice": b'{"issuer":"x","issuer":"' + ISSUER.encode() + b'","jwks_uri":"https://idp.example.jp/k"}',
    "of another issuer": metadata(issuer="https://evil.example"),
    "of the issuer with a slash more": metadata(issuer=ISSUER + "/"),
    "of the issuer in capitals": metadata(issuer=ISSUER.upper()),
    "of no issuer": metadata(issuer=None),
    "of a list of issuers": metadata(issuer=[ISSUER]),
    "without jwks_uri": metadata(jwks_uri=None),
    "with a list of places": metadata(jwks_uri=["https://idp.example.jp/k"]),
    "that leads to plain http": metadata(jwks_uri="http://idp.example.jp/k"),
    "that leads to the metadata of a cloud": metadata(jwks_uri="http://169.254.169.254/latest/meta-data"),
    "that leads to loopback": metadata(jwks_uri="http://127.0.0.1:8500/v1/kv"),
    "that leads to a file": metadata(jwks_uri="file:///etc/passwd"),
    "that leads to another host": metadata(jwks_uri="https://evil.example/k"),
    "that leads to another port": metadata(jwks_uri="https://idp.example.jp:8443/k"),
    "that leads to a host that begins alike": metadata(jwks_uri="https://idp.example.jp.evil.example/k"),
    "that leads to a host below": metadata(jwks_uri="https://a.idp.example.jp/k"),
    "whose host is a user": metadata(jwks_uri="https://idp.example.jp@evil.example/k"),
    "whose host is a user and a colon": metadata(jwks_uri="https://idp.example.jp:x@evil.example/k"),
    "with a backslash": metadata(jwks_uri="https://idp.example.jp\\@evil.example/k"),
    "with a line break": metadata(jwks_uri="https://idp.example.jp/k\r\nX: y"),
    "with a port that is none": metadata(jwks_uri="https://idp.example.jp:99999/k"),
    "without a host": metadata(jwks_uri="https:///k"),
    "with a host in brackets that is none": metadata(jwks_uri="https://[::1/k"),
    "with letters that look alike": metadata(jwks_uri="https://idp.ex\u0430mple.jp/k"),
}


@pytest.mark.parametrize("document", REFUSED.values(), ids=REFUSED)
def test_metadata_is_refused(document: bytes) -> None:
    with pytest.raises(KeySetError):
        read_metadata(document, discovered())


def test_a_host_that_the_policy_names_is_reached_by_https_alone() -> None:
    with pytest.raises(KeySetError):
        read_metadata(metadata(jwks_uri="http://keys.example.net/k"), discovered(jwks_hosts=["keys.example.net"]))


@given(
    st.binary(max_size=50)
    | st.text("https:/@[]:0.?#\\ idp.example.jp", max_size=40).map(lambda t: metadata(jwks_uri=t))
)
def test_no_document_raises_anything_else_or_leads_elsewhere(document: bytes) -> None:
    try:
        place = read_metadata(document, discovered())
    except KeySetError:
        return
    assert place.lower().startswith("https://idp.example.jp")
