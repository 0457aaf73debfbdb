# SPDX-License-Identifier: Apache-2.0
"""The listener of public keys: one path, and nothing secret."""

import json

from proxy.admin.jwks import make_jwks
from proxy.assertion.keys import AssertionKeys
from tests.support.admin import serve_pages
from tests.support.assertions import KEY, KEYS, NEXT


async def test_the_keys_of_this_moment_are_served_and_nothing_else() -> None:
    held = [KEYS]
    place = "/.well-known/jwks.json"

    def publish() -> bytes:
        return held[-1].publish()

    async with serve_pages(make_jwks(publish)) as listener:
        told = await listener.ask(place)
        assert told.status == 200
        assert told.fields["content-type"] == "application/jwk-set+json"
        assert told.fields["cache-control"] == "public, max-age=300"
        assert told.fields["server"] == "sekisho"
        assert [key["kid"] for key in json.loads(told.body)["keys"]] == [KEY.id]
        assert KEY.render().split()[2] not in told.body.decode()
        held.append(AssertionKeys([KEY, NEXT]))
        again = await listener.ask(place)
        assert [key["kid"] for key in json.loads(again.body)["keys"]] == [KEY.id, NEXT.id]
        for method, path, status in (("GET", "/", 404), ("GET", "/metrics", 404), ("POST", place, 405)):
            refused = await listener.ask(path, method)
            assert (refused.status, refused.problem["status"]) == (status, status)
            assert refused.fields["cache-control"] == "no-store"
