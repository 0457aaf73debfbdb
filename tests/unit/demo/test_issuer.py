# SPDX-License-Identifier: Apache-2.0
"""The demo's identity provider makes what the gateway takes, and what it must not take."""

import json
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web

from proxy.caller.keys import parse_key_set
from proxy.caller.tokens import UnverifiedToken, parse_token, verify_token
from proxy.demo.issuer import LIFETIME_SECONDS, Issuer, make_issuer_app
from proxy.model.decision import Reason
from tests.support.tokens import CORP, NOW, a_provider, an_issuer

ALGORITHMS = ("RS256", "ES256", "EdDSA")


def judge(provider: Issuer, raw_token: str, now: float = NOW) -> Any:
    issuer = an_issuer(algorithms=[provider.algorithm])
    token = parse_token(raw_token, {CORP: issuer})
    assert isinstance(token, UnverifiedToken)
    return verify_token(token, parse_key_set(json.dumps(provider.key_set()).encode(), issuer.algorithms), now)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_its_tokens_verify_by_the_keys_it_publishes(algorithm: str) -> None:
    provider = a_provider(algorithm=algorithm)
    claims = judge(provider, provider.token(NOW, affiliate="ly"))
    assert (claims["iss"], claims["sub"], claims["affiliate"]) == (CORP, "somebody", "ly")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_publishes_nothing_private(algorithm: str) -> None:
    (key,) = a_provider(algorithm=algorithm).key_set()["keys"]
    assert key.keys().isdisjoint({"d", "p", "q", "dp", "dq", "qi", "k"})
    assert (key["alg"], key["use"], key["kid"]) == (algorithm, "sig", f"key-{algorithm}")


def test_its_tokens_live_an_hour() -> None:
    provider = a_provider()
    assert isinstance(judge(provider, provider.token(NOW), NOW + LIFETIME_SECONDS - 1), dict)
    assert judge(provider, provider.token(NOW), NOW + LIFETIME_SECONDS + 60) is Reason.TOKEN_EXPIRED


def test_it_can_sign_with_a_key_it_does_not_publish() -> None:
    provider = a_provider()
    forged = provider.token(NOW, key=Issuer(CORP).key)
    assert judge(provider, forged) is Reason.TOKEN_SIGNATURE_WRONG


def test_a_claim_of_none_is_left_out_and_others_are_changed() -> None:
    provider = a_provider()
    assert judge(provider, provider.token(NOW, exp=None)) is Reason.TOKEN_CLAIM_MISSING
    assert judge(provider, provider.token(NOW, aud="billing")) is Reason.TOKEN_AUDIENCE_OTHER


def test_fields_can_be_added_to_the_header() -> None:
    raw = a_provider().token(NOW, header={"kid": "other", "jku": "https://evil.example"})
    assert jwt.get_unverified_header(raw) == {
        "alg": "ES256", "typ": "JWT", "kid": "other", "jku": "https://evil.example",
    }  # fmt: skip


def test_two_providers_have_two_keys() -> None:
    assert Issuer(CORP).key_set() != Issuer(CORP).key_set()


async def test_it_publishes_each_issuers_keys_at_its_own_place() -> None:
    provider = a_provider()
    runner = web.AppRunner(make_issuer_app({"corp": provider}))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/corp/jwks.json") as response:
                assert (response.status, response.content_type) == (200, "application/jwk-set+json")
                assert json.loads(await response.read()) == provider.key_set()
            async with session.get(f"{url}/other/jwks.json") as response:
                assert response.status == 404
    finally:
        await runner.cleanup()
