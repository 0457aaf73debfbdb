# SPDX-License-Identifier: Apache-2.0
"""The connections to all APIs."""

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Final

from proxy.gateway.options import GatewayOptions
from proxy.gateway.ticker import Ticker
from proxy.gateway.upstream.exchange import Exchange, UpstreamRequest
from proxy.gateway.upstream.handle import UpstreamHandle
from proxy.gateway.upstream.pool import Pool
from proxy.gateway.upstream.tls import check_settings, read_tls
from proxy.model.api import Api
from proxy.telemetry import Metrics

CLOSE_SECONDS: Final = 1.0
"""How long connections may take to be closed at the end."""


class Upstreams:
    """A pool for every API at every URL where it is.

    Args:
        options: limits and deadlines, and whom TLS believes.
        metrics: what is counted.
        ticker: asks for what is due.
    """

    def __init__(self, options: GatewayOptions, metrics: Metrics, ticker: Ticker) -> None:
        self._options = options
        self._metrics = metrics
        self._ticker = ticker
        self._pools: dict[tuple[str, str], Pool] = {}
        self._retired: list[Pool] = []

    def begin(self, api: Api, request: UpstreamRequest, exchange: Exchange) -> UpstreamHandle:
        """Begin an exchange; whoever asks hears nothing of it before this has returned."""
        key = (api.id, api.upstream.url)
        pool = self._pools.get(key) or self._open(*key)
        handle = UpstreamHandle(request, exchange, pool)
        pool.submit(handle)
        return handle

    def adopt(self, apis: Sequence[Api]) -> None:
        """Take the APIs that are declared now; connections to others are closed once they are not in use.

        Raises:
            UsageError: settings or files do not go with them; then nothing has changed.
        """
        check_settings(self._options, apis)
        made: dict[tuple[str, str], Pool] = {}
        for api in apis:
            key = (api.id, api.upstream.url)
            tls = self._pools[key].tls if key in self._pools else read_tls(self._options, api.id)
            if api.upstream.url.startswith("https://"):
                tls.load()
            made[key] = self._pools.get(key) or Pool(
                *key, tls, options=self._options, metrics=self._metrics, ticker=self._ticker
            )
        for key in self._pools.keys() - made.keys():
            self._retire(self._pools[key])
        self._pools = made
        self._show([api.id for api in apis])

    def _open(self, api: str, url: str) -> Pool:
        """Open a pool for a request that was decided before its API was declared otherwise."""
        made = Pool(
            api, url, read_tls(self._options, api), options=self._options, metrics=self._metrics, ticker=self._ticker
        )
        self._pools[api, url] = made
        return made

    def _retire(self, pool: Pool) -> None:
        pool.retire()
        self._retired = [each for each in (*self._retired, pool) if not each.is_empty]

    def _show(self, apis: Sequence[str]) -> None:
        """Have metrics look into pools when they are asked for: nothing is counted while requests pass."""
        metrics = self._metrics
        for gauge in (metrics.upstream_connections, metrics.upstream_waiting, metrics.upstream_down):
            gauge.clear()
        for api in apis:
            shown: dict[str, Callable[[Pool], int]] = {
                "busy": lambda pool: len(pool.open) - len(pool.idle),
                "idle": lambda pool: len(pool.idle),
            }
            for state, count in shown.items():
                gauge = metrics.upstream_connections.labels(api, state)
                gauge.set_function(functools.partial(self._count, api, count))
            waiting = functools.partial(self._count, api, lambda pool: len(pool.waiting))
            metrics.upstream_waiting.labels(api).set_function(waiting)
            down = functools.partial(self._count, api, lambda pool: int(pool.is_down))
            metrics.upstream_down.labels(api).set_function(down)

    def _count(self, api: str, count: Callable[[Pool], int]) -> float:
        return sum(count(pool) for pool in (*self._pools.values(), *self._retired) if pool.api == api)

    async def close(self) -> None:
        """Close all connections; what is still under way has failed."""
        pools = [*self._pools.values(), *self._retired]
        self._pools, self._retired = {}, []
        for pool in pools:
            pool.close()
            self._ticker.forget(pool)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                while not all(pool.is_empty for pool in pools):
                    await asyncio.sleep(0)
        except TimeoutError:  # the process ends, and they with it
            pass
