# SPDX-License-Identifier: Apache-2.0
"""The connections to all APIs."""

import functools
from collections.abc import Callable, Sequence

from proxy.gateway.options import GatewayOptions
from proxy.gateway.ticker import Ticker
from proxy.gateway.upstream.exchange import Exchange, UpstreamRequest
from proxy.gateway.upstream.handle import UpstreamHandle
from proxy.gateway.upstream.pool import Pool
from proxy.gateway.upstream.tls import UpstreamTls, check_settings, read_tls
from proxy.model.api import Api, Upstream
from proxy.telemetry import Metrics


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

    def begin(self, api: Api, upstream: Upstream, request: UpstreamRequest, exchange: Exchange) -> UpstreamHandle:
        """Begin an exchange with an API at one of its places; whoever asks hears nothing before this has returned."""
        key = (api.id, upstream.url)
        pool = self._pools.get(key)
        if pool is None:  # decided before its API was declared otherwise
            pool = self._open(*key, read_tls(self._options, api.id))
        handle = UpstreamHandle(request, exchange, pool)
        pool.submit(handle)
        return handle

    def adopt(self, apis: Sequence[Api]) -> None:
        """Take the APIs that are declared now; connections to others are closed once they are not in use.

        Raises:
            UsageError: settings or files do not go with them; then nothing has changed.
        """
        check_settings(self._options, apis)
        keys = [(api.id, place.url) for api in apis for place in api.places]
        new = {key: read_tls(self._options, key[0]) for key in keys if key not in self._pools}
        for (_, url), tls in new.items():
            if url.startswith("https://"):
                tls.load()
        for key, tls in new.items():
            self._open(*key, tls)
        for key in self._pools.keys() - set(keys):
            pool = self._pools.pop(key)
            pool.retire()
            self._retired.append(pool)
        self._retired = [pool for pool in self._retired if not pool.is_empty]
        self._show([api.id for api in apis])

    def _open(self, api: str, url: str, tls: UpstreamTls) -> Pool:
        made = Pool(api, url, tls, options=self._options, metrics=self._metrics, ticker=self._ticker)
        self._pools[api, url] = made
        return made

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
            self._ticker.forget(pool)
            await pool.close()
