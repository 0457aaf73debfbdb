# SPDX-License-Identifier: Apache-2.0
"""The connections to all APIs."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from proxy.gateway.options import GatewayOptions
from proxy.gateway.ticker import Ticker
from proxy.gateway.upstream.exchange import Exchange, UpstreamRequest
from proxy.gateway.upstream.handle import UpstreamHandle
from proxy.gateway.upstream.pool import Pool
from proxy.gateway.upstream.tls import UpstreamTls, check_settings, read_tls
from proxy.model.api import Api, Upstream
from proxy.telemetry import Metrics

_Key: TypeAlias = tuple[str, str]
"""An API's id, and a URL."""


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
            pool = self._open(key, _name_places([api])[key], read_tls(self._options, api.id))
        handle = UpstreamHandle(request, exchange, pool)
        pool.submit(handle)
        return handle

    def adopt(self, apis: Sequence[Api]) -> None:
        """Take the APIs that are declared now; connections to others are closed once they are not in use.

        Raises:
            UsageError: settings or files do not go with them; then nothing has changed.
        """
        check_settings(self._options, apis)
        names = _name_places(apis)
        new = {key: read_tls(self._options, key[0]) for key in names if key not in self._pools}
        for (_, url), tls in new.items():
            if url.startswith("https://"):
                tls.load()
        for key, tls in new.items():
            self._open(key, names[key], tls)
        for key in self._pools.keys() - names.keys():
            pool = self._pools.pop(key)
            pool.retire()
            self._retired.append(pool)
        self._retired = [pool for pool in self._retired if not pool.is_empty]
        for key, name in names.items():
            self._pools[key].name = name
        self._show(names.values())

    def _open(self, key: _Key, name: str, tls: UpstreamTls) -> Pool:
        made = Pool(name, key[1], tls, options=self._options, metrics=self._metrics, ticker=self._ticker)
        self._pools[key] = made
        return made

    def _show(self, names: Iterable[str]) -> None:
        """Have metrics look into pools when they are asked for: nothing is counted while requests pass."""
        metrics = self._metrics
        for gauge in (metrics.upstream_connections, metrics.upstream_waiting, metrics.upstream_down):
            gauge.clear()
        for name in names:
            shown: dict[str, Callable[[Pool], int]] = {
                "busy": lambda pool: len(pool.open) - len(pool.idle),
                "idle": lambda pool: len(pool.idle),
            }
            for state, count in shown.items():
                gauge = metrics.upstream_connections.labels(name, state)
                gauge.set_function(functools.partial(self._count, name, count))
            waiting = functools.partial(self._count, name, lambda pool: len(pool.waiting))
            metrics.upstream_waiting.labels(name).set_function(waiting)
            metrics.upstream_down.labels(name).set_function(functools.partial(self._is_down, name))

    def find_tls_doubts(self) -> tuple[str, ...]:
        """Return why the TLS files of APIs as they lie there are not in use, as far as connections were made since."""
        told = (f"{pool.name}: the old TLS stays: {pool.tls.stale}" for pool in self._pools.values() if pool.tls.stale)
        return tuple(told)

    def _count(self, name: str, count: Callable[[Pool], int]) -> float:
        return sum(count(pool) for pool in (*self._pools.values(), *self._retired) if pool.name == name)

    def _is_down(self, name: str) -> float:
        return any(pool.is_down for pool in self._pools.values() if pool.name == name)

    async def close(self) -> None:
        """Close all connections; what is still under way has failed."""
        pools = [*self._pools.values(), *self._retired]
        self._pools, self._retired = {}, []
        for pool in pools:
            self._ticker.forget(pool)
            await pool.close()


def _name_places(apis: Iterable[Api]) -> dict[_Key, str]:
    """Return what metrics call each place; one that serves several countries is called after the first."""
    return {(api.id, place.url): name for api in apis for name, place in reversed(api.named_places)}
