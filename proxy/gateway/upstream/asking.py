# SPDX-License-Identifier: Apache-2.0
"""Asks an API, at each of its places, whether it is healthy, for those who cannot reach it.

An API that is bound to loopback beside its gateway, so that nobody gets round that, no orchestrator can probe.

- It is asked as the data path asks it: by the same addresses, TLS and name, but on a connection of its own, so that
  probes take none from callers, and neither is told by the other's luck.
- Nothing of an answer is read but its head, and nothing is told of it but its status.
- An API is asked at most once in ``KEPT_SECONDS``, and once at a time. Who comes meanwhile is told the same answer:
  one that is still awaited, or one to a question asked no longer ago than that.
"""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, cast

import msgspec

from proxy.clock import elapsed_seconds
from proxy.errors import UsageError
from proxy.gateway.options import GatewayOptions
from proxy.gateway.upstream.dial import dial, parse_place
from proxy.gateway.upstream.tls import UpstreamTls, read_tls
from proxy.gateway.wire.grammar import MAX_HEAD_BYTES
from proxy.gateway.wire.heads import find_head_end, read_response
from proxy.gateway.wire.render import render_request
from proxy.model.api import Api, Upstream
from proxy.model.problem import nearest
from proxy.model.request import Target
from proxy.request.target import parse_target

CONNECT_SECONDS: Final = 1.5
ASK_SECONDS: Final = 2.0
"""How long all of it may take. A kubelet waits for one second unless ``timeoutSeconds`` says more."""
KEPT_SECONDS: Final = 1.0
"""How long after a question its answer is told again. A kubelet asks no more often: probes are seconds apart."""
MAX_INTERIM: Final = 8
"""Interim answers before one that counts."""
_FIELDS: Final = "Host: {}\r\nUser-Agent: sekisho\r\nAccept: */*\r\nConnection: close\r\n"
_SWITCHING: Final = 101
_LATE: Final = f"it does not answer within {ASK_SECONDS:g} seconds"
_ENDED: Final = "it closes the connection without an answer"
_NO_HTTP: Final = "its answer is none of HTTP/1.1"


class _Question(msgspec.Struct, frozen=True):
    """What an API was asked."""

    asked_at: float
    """A reading of ``elapsed_seconds``."""
    answer: "asyncio.Task[tuple[str, ...]]"
    """What is wrong, a sentence for each place."""

    @property
    def is_fresh(self) -> bool:
        """Whether its answer is told to who asks now."""
        return not self.answer.done() or elapsed_seconds() < self.asked_at + KEPT_SECONDS


class HealthAsker:
    """Asks APIs.

    Args:
        options: where an API tells whether it is healthy, and whom TLS believes.
        apis: returns those that are declared now.
    """

    def __init__(self, options: GatewayOptions, apis: Callable[[], Sequence[Api]]) -> None:
        self._options = options
        self._apis = apis
        self._tls: dict[str, UpstreamTls] = {}
        self._questions: dict[str, _Question] = {}

    async def ask(self, api_id: str) -> tuple[str, ...] | None:
        """Return what is wrong, a sentence for each place; None where it is not known whom to ask, or for what."""
        target = self._options.upstream_health.get(api_id)
        api = next((each for each in self._apis() if each.id == api_id), None)
        if target is None or api is None:
            return None
        question = self._questions.get(api_id)
        if question is None or not question.is_fresh:
            answer = asyncio.ensure_future(self._ask_places(api, target))
            question = self._questions[api_id] = _Question(elapsed_seconds(), answer)
        return await asyncio.shield(question.answer)

    async def _ask_places(self, api: Api, target: str) -> tuple[str, ...]:
        tls = self._tls.setdefault(api.id, read_tls(self._options, api.id))
        names, places = zip(*api.named_places, strict=True)
        told = await asyncio.gather(*(_ask(place, _render(api, place, target), tls) for place in places))
        return tuple(f"{name}: {why}" for name, why in zip(names, told, strict=True) if why)

    async def close(self) -> None:
        """Ask nobody any more."""
        answers = [question.answer for question in self._questions.values()]
        for answer in answers:
            answer.cancel()
        await asyncio.gather(*answers, return_exceptions=True)


def check_health_paths(options: GatewayOptions, apis: Sequence[Api]) -> None:
    """Refuse what cannot be asked.

    Raises:
        UsageError: it names an API that nobody declares, or no path; the sentence says which.
    """
    declared = [api.id for api in apis]
    for api_id, target in options.upstream_health.items():
        if api_id not in declared:
            raise UsageError(
                f"SEKISHO_UPSTREAM_HEALTH names an API {api_id!r} that the bundle does not declare"
                f"{nearest(api_id, declared)}."
            )
        if not isinstance(parse_target(target), Target) or "?" in target:
            raise UsageError(
                f"SEKISHO_UPSTREAM_HEALTH of {api_id!r} is {target!r}, which is no plain path: write one that begins "
                'with a slash and has no query, such as {"users": "/healthz"}.'
            )


def _render(api: Api, place: Upstream, target: str) -> bytes:
    fields = _FIELDS.format(api.hosts[0] if api.hosts else place.authority)
    return render_request("GET", target, fields.encode("ascii"), None, is_chunked=False)


async def _ask(place: Upstream, request: bytes, tls: UpstreamTls) -> str:
    """Return why a place is not healthy; empty where it is."""
    asked: list[_Asked] = []

    def make() -> _Asked:
        asked.append(_Asked(request))
        return asked[-1]

    try:
        async with asyncio.timeout(ASK_SECONDS):
            fault = await dial(parse_place(place.url), tls, make, CONNECT_SECONDS)
            if fault is not None:
                return f"no connection: {fault.text}"
            return await asked[-1].why
    except TimeoutError:
        return _LATE
    finally:
        for each in asked:
            each.end()


class _Asked(asyncio.Protocol):
    """One question, and the head of the answer to it.

    Args:
        request: is sent.
    """

    def __init__(self, request: bytes) -> None:
        self.why: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why whoever answers is not healthy; empty where it is."""
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._held = b""
        self._interims = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its type
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Read heads until one counts."""
        self._held += data
        while not self.why.done() and (end := find_head_end(self._held)) >= 0:
            head, self._held = self._held[:end], self._held[end:]
            self._take(head)
        if len(self._held) >= MAX_HEAD_BYTES:
            self._settle(_NO_HTTP)

    def eof_received(self) -> None:
        """Take note that no answer comes any more."""
        self._settle(_ENDED)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever it was, it is over
        """Take note of the same."""
        self._settle(_ENDED)

    def end(self) -> None:
        """Close."""
        self.why.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _take(self, head: bytes) -> None:
        frame = read_response(head)
        if frame is None or frame.status == _SWITCHING:
            self._settle(_NO_HTTP)
        elif frame.status >= HTTPStatus.OK:
            self._settle("" if frame.status < HTTPStatus.MULTIPLE_CHOICES else f"it answers {frame.status}")
        else:
            self._interims += 1
            if self._interims > MAX_INTERIM:
                self._settle(_NO_HTTP)

    def _settle(self, why: str) -> None:
        if not self.why.done():
            self.why.set_result(why)
