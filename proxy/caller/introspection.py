# SPDX-License-Identifier: Apache-2.0
"""Asks issuers whether tokens are still active (RFC 7662), and keeps what they said for a while. This module does I/O.

- Only where the bundle says, over https or from loopback; redirects are not followed; an answer is bounded in size and
  time. Requests with one token wait for one question.
- A token is known here by its SHA-256 alone: it is sent, and neither kept nor logged.
- No answer, or one that is none, is nothing: the caller of this token gets 503 (``introspection-unavailable``).
- Answers are bounded in number; the oldest go first. One that is too old to be believed is kept for ``revisit``.
"""

import asyncio
import logging
import math
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote_plus  # noqa: TID251 - a form's own coding (RFC 6749 2.3.1), not a target

import aiohttp

from proxy.caller.issuers import Introspection, Issuer
from proxy.caller.options import CallerOptions
from proxy.caller.resolve import MAX_KEPT, IntrospectionNeeded
from proxy.caller.revocation import Introspected, read_introspection
from proxy.clock import unix_seconds
from proxy.errors import FetchError, UsageError
from proxy.fetch import fetch
from proxy.secret import read_secret
from proxy.telemetry import Metrics

MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 32
"""To one issuer at once; further questions wait for one of them, within their time."""

log = logging.getLogger("sekisho.introspection")


class Introspector:
    """What the issuers of one bundle said of tokens.

    Args:
        issuers: the declared issuers.
        options: how long an answer is waited for.
        metrics: counted are questions, by answer.
    """

    def __init__(self, issuers: Iterable[Issuer], options: CallerOptions, metrics: Metrics) -> None:
        self._asked = _places(issuers)
        self._options = options
        self._metrics = metrics
        self.refused_at = -math.inf
        """Seconds since 1970 when an issuer last called a token inactive."""
        self._answers: dict[tuple[str, str], Introspected] = {}
        self._under_way: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    def find(self, issuer_id: str, token_digest: str) -> Introspected | None:
        """Return what an issuer last said of a token; None if nothing is known."""
        return self._answers.get((issuer_id, token_digest))

    def check_secrets(self, issuers: Iterable[Issuer] | None = None) -> None:
        """Look whether every secret can be read.

        Raises:
            UsageError: one cannot; the sentence names the issuer and the reference.
        """
        for issuer_id, place in (self._asked if issuers is None else _places(issuers)).items():
            try:
                read_secret(place.secret)
            except FetchError as error:
                raise UsageError(
                    f"The secret {place.secret} with which issuer {issuer_id!r} is asked about tokens: {error}."
                ) from error

    def adopt(self, issuers: Iterable[Issuer]) -> Callable[[], None]:
        """Take over the issuers of another bundle; what others said than are now to be asked is forgotten.

        Raises:
            UsageError: a secret cannot be read; then nothing has changed.

        Returns:
            What takes it back, should the bundle not be put in force after all.
        """
        declared = _places(issuers)
        self.check_secrets(issuers)
        before, answers = self._asked, self._answers

        def undo() -> None:
            self._asked, self._answers = before, answers

        self._asked = declared
        self._answers = {key: said for key, said in answers.items() if declared.get(key[0]) == before.get(key[0])}
        return undo

    async def refresh(self, need: IntrospectionNeeded) -> None:
        """Ask an issuer about a token; a failure is logged and counted.

        Whoever asks about the same token meanwhile waits for that answer.
        """
        key = need.issuer_id, need.token_digest
        question = self._under_way.get(key)
        if question is None:
            question = self._under_way[key] = asyncio.ensure_future(self._ask(need))
            question.add_done_callback(lambda _: self._under_way.pop(key, None))
        await asyncio.shield(question)

    async def close(self) -> None:
        """End the questions that are under way."""
        for question in [*self._under_way.values()]:
            question.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _ask(self, need: IntrospectionNeeded) -> None:
        place = self._asked.get(need.issuer_id)
        if place is None:
            return
        try:
            answer = await self._read_answer(place, need.raw_token)
        except FetchError as error:
            self._metrics.introspections.count(need.issuer_id, "failed")
            log.warning("token not introspected", extra={"issuer": need.issuer_id, "error": str(error)})
            return
        except Exception:  # whatever is wrong with one answer, its token alone has none
            self._metrics.introspections.count(need.issuer_id, "failed")
            log.exception("token not introspected", extra={"issuer": need.issuer_id})
            return
        self._metrics.introspections.count(need.issuer_id, "active" if answer.is_active else "inactive")
        if not answer.is_active:
            self.refused_at = unix_seconds()
        if self._asked.get(need.issuer_id) == place:  # else another bundle was put in force meanwhile
            self._keep((need.issuer_id, need.token_digest), answer)

    def _keep(self, key: tuple[str, str], answer: Introspected) -> None:
        self._answers.pop(key, None)
        if len(self._answers) >= MAX_KEPT:
            for oldest in list(self._answers)[: MAX_KEPT // 8]:
                del self._answers[oldest]
        self._answers[key] = answer

    async def _read_answer(self, place: Introspection, raw_token: str) -> Introspected:
        """Ask, and return the answer.

        Raises:
            FetchError: there is none.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._options.introspection_timeout_seconds),
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=MAX_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        user, password = quote_plus(place.client_id), quote_plus(read_secret(place.secret))
        asked = unix_seconds()
        found = await fetch(
            self._session,
            place.url,
            limit=MAX_ANSWER_BYTES,
            form={"token": raw_token, "token_type_hint": "access_token"},
            headers={
                "Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode(),
                "Accept": "application/json",
            },
        )
        if found.status != 200:
            raise FetchError(f"it answered {found.status}")
        answer = read_introspection(found.body, asked + place.cache_seconds)
        if answer is None or found.media_type != "application/json":
            raise FetchError("it answered what is no introspection (RFC 7662 2.2)")
        return answer


def _places(issuers: Iterable[Issuer]) -> dict[str, Introspection]:
    return {issuer.id: issuer.introspection for issuer in issuers if issuer.introspection is not None}
