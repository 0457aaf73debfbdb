# SPDX-License-Identifier: Apache-2.0
"""``/livez``, ``/readyz``, ``/metrics`` and ``/apis/ID/health``: read-only, without anything personal."""

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Final, TypeAlias

import msgspec
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from proxy.admin.serving import Answer, Find, Page, make_problem
from proxy.model.readiness import Readiness

NOT_READY: Final = "urn:sekisho:admin:not-ready"
UNHEALTHY: Final = "urn:sekisho:admin:api-unhealthy"
_HEALTH: Final = re.compile(r"/apis/([^/]+)/health")
_ENCODE: Final = msgspec.json.Encoder().encode

AskApi: TypeAlias = Callable[[str], Awaitable[Sequence[str] | None]]
"""Asks an API at each of its places whether it is healthy, and returns what is wrong, a sentence for each place; None
where there is no such API, or nobody said where it tells."""


async def _look() -> None:
    """Look at nothing: what is told is at hand."""


def make_admin(
    metrics: Callable[[], Collector],
    readiness: Callable[[], Readiness],
    ask_api: AskApi,
    look: Callable[[], Awaitable[None]] = _look,
) -> Find:
    """Return what answers operators.

    Args:
        metrics: returns what is shown.
        readiness: returns whether requests can be decided.
        ask_api: asks an API whether it is healthy.
        look: is awaited before metrics or readiness are asked for.
    """

    async def livez() -> Answer:
        return Answer(_ENCODE({"alive": True}))

    async def readyz() -> Answer:
        await look()
        return _tell_readiness(readiness())

    async def expose() -> Answer:
        await look()
        return Answer(generate_latest(metrics()), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    pages: dict[str, Page] = {"/livez": livez, "/readyz": readyz, "/metrics": expose}

    def find(path: str) -> Page | None:
        asked = _HEALTH.fullmatch(path)
        return pages.get(path) if asked is None else partial(_tell_health, ask_api, asked[1])

    return find


def _tell_readiness(state: Readiness) -> Answer:
    if state.ready:
        return Answer(_ENCODE(state))
    told = msgspec.structs.asdict(state)
    return make_problem(HTTPStatus.SERVICE_UNAVAILABLE, _why_not(state), type=NOT_READY, title="Not ready", **told)


def _why_not(state: Readiness) -> str:
    if state.stopping:
        return "It is stopping: requests under way end, and no others are taken."
    if state.issuers_without_keys:
        return f"Nobody's token can be verified: there are no keys of {', '.join(state.issuers_without_keys)}."
    return "Workers are missing or not ready: they are listed."


async def _tell_health(ask_api: AskApi, api: str) -> Answer:
    wrong = await ask_api(api)
    if wrong is None:
        return make_problem(
            HTTPStatus.NOT_FOUND, "No such API is declared, or SEKISHO_UPSTREAM_HEALTH names no path of it."
        )
    if not wrong:
        return Answer(_ENCODE({"healthy": True}))
    return make_problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(wrong), type=UNHEALTHY, title="The API is not healthy", healthy=False
    )
