# SPDX-License-Identifier: Apache-2.0
"""The listener of public keys: one path, and nothing secret."""

import json

from aiohttp.test_utils import TestClient, TestServer

from proxy.admin.jwks import make_jwks
from proxy.assertion.keys import AssertionKeys
from tests.support.assertions import KEY, KEYS, NEXT


async def test_the_keys_of_this_moment_are_served_and_nothing_else() -> None:
    held = [KEYS]

    def publish() -> bytes:
        return held[-1].publish()

    async with TestClient(TestServer(make_jwks(publish))) as client:
        answer = await client.get("/.well-known/jwks.json")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/jwk-set+json"
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        assert answer.headers["Server"] == "sekisho"
        text = await answer.text()
        assert [key["kid"] for key in json.loads(text)["keys"]] == [KEY.id]
        assert KEY.render().split()[2] not in text
        held.append(AssertionKeys([KEY, NEXT]))
        again = await client.get("/.well-known/jwks.json")
        assert [key["kid"] for key in (await again.json(content_type=None))["keys"]] == [KEY.id, NEXT.id]
        for method, path, status in (
            ("GET", "/", 404),
            ("GET", "/metrics", 404),
            ("POST", "/.well-known/jwks.json", 405),
        ):
            assert (await client.request(method, path)).status == status
