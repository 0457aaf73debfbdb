# SPDX-License-Identifier: Apache-2.0
"""When nothing more is taken on; over real sockets in ``tests/server/test_limits.py``."""

import json

from tests.support.crossings import Bench, a_request


async def test_a_gateway_that_cannot_keep_up_takes_nothing_on() -> None:
    with Bench() as bench:
        caller = bench.connect()
        bench.gateway.ticker.is_late = True
        caller.send(a_request())
        head, _, body = caller.written.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 5" in head
        assert json.loads(body)["reason"] == "overloaded"
        assert bench.apis.asked == []
        bench.gateway.ticker.is_late = False
        caller.send(a_request())  # over the same connection
        assert len(bench.apis.asked) == 1
        bench.ask.answer()
        await bench.finish()
