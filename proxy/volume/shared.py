# SPDX-License-Identifier: Apache-2.0
"""Counts what callers read in a Redis that workers and replicas share. This module does I/O.

- One step of the server sees a request's members and says the numbers, so that many requests at once cannot each find
  room for one. What is then denied is taken back, after the answer.
- No number, or one that is none, is nothing: whoever's decision hangs on it gets 503 (``counts-unavailable``).
- An answer bears its question's id: a connection whose answers got out of step gives nobody another's numbers.
- A server that may forget what it holds to make room (``maxmemory-policy``) counts less than was read: it is not asked.
- While it does not answer, requests do not wait for it one by one; every second some try again.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from proxy.clock import elapsed_seconds
from proxy.errors import FetchError, UsageError
from proxy.model.counts import Counted, CountsNeeded
from proxy.secret import read_secret_file
from proxy.telemetry import Metrics
from proxy.volume.options import VolumeOptions
from proxy.volume.scripts import SEE, UNSEE, name_keys, read_answer, render_question

MAX_CONNECTIONS: Final = 32
"""Of one process; further questions wait for one of them, within their time."""
PATIENCE: Final = 3
"""Questions in a row without an answer, after which no more are asked for a while."""
RETRY_SECONDS: Final = 1.0
KEEPS_ALL: Final = "noeviction"

log = logging.getLogger("sekisho.volume")


class SharedCounts:
    """What callers read, counted by a Redis.

    Args:
        options: where it is, and how long an answer is waited for.
        metrics: counted are questions, by result.

    Raises:
        UsageError: a file that is named cannot be read.
    """

    def __init__(self, options: VolumeOptions, metrics: Metrics) -> None:
        self._options = options
        self._metrics = metrics
        self._redis = _connect(options)
        self._see = self._redis.register_script(SEE)
        self._unsee = self._redis.register_script(UNSEE)
        self._under_way: set[asyncio.Future[None]] = set()
        self._is_checked = False
        self._failures = 0
        """Questions in a row that were not answered."""
        self._silent_until = 0.0
        """Until when nothing is asked, by the monotonic clock."""

    def count(self, needed: CountsNeeded) -> Counted | None:
        """Return what was answered; None where nobody was asked yet, or there was no answer."""
        return needed.answer

    def settle(self, needed: CountsNeeded, counted: Counted, *, is_allowed: bool) -> None:
        """Take back what was denied, while its answer is on its way."""
        if not is_allowed and counted.undo:
            self._hold(asyncio.ensure_future(self._take_back(needed, counted)))

    async def ask(self, needed: CountsNeeded) -> None:
        """Ask for the counts of one request; a failure is logged and counted, and the answer left out."""
        if elapsed_seconds() < self._silent_until:
            self._metrics.counts_asked.count("skipped")
            return
        question = asyncio.ensure_future(self._ask(needed))
        self._hold(question)
        try:
            await asyncio.shield(question)
        except asyncio.CancelledError:  # nobody will decide by it
            question.add_done_callback(lambda _: self._forget(needed))
            raise

    async def start(self) -> None:
        """Look whether it can be asked. If not, that is logged: callers are served as far as no limit concerns them."""
        try:
            async with asyncio.timeout(self._options.counts_timeout_seconds):
                await self._check()
        except Exception as error:  # noqa: BLE001 - whatever it is, it may be over when somebody asks
            self._note_failure(error)

    async def close(self) -> None:
        """End what is under way."""
        for question in [*self._under_way]:
            question.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._redis.aclose()

    def _hold(self, question: "asyncio.Future[None]") -> None:
        self._under_way.add(question)
        question.add_done_callback(self._under_way.discard)

    def _forget(self, needed: CountsNeeded) -> None:
        if needed.answer is not None:
            self.settle(needed, needed.answer, is_allowed=False)

    async def _ask(self, needed: CountsNeeded) -> None:
        try:
            async with asyncio.timeout(self._options.counts_timeout_seconds):
                if not self._is_checked:
                    await self._check()
                raw = await self._see(keys=name_keys(needed), args=render_question(needed))
            needed.answer = read_answer(needed, raw)
        except Exception as error:  # noqa: BLE001 - whatever is wrong, this request has no counts
            self._metrics.counts_asked.count("failed")
            self._note_failure(error)
            return
        self._metrics.counts_asked.count("counted")
        if self._failures:
            log.info("how much callers read is counted again")
        self._failures = 0
        self._metrics.counts_unavailable.set(0)

    async def _take_back(self, needed: CountsNeeded, counted: Counted) -> None:
        """Take back what a denied request was counted by; where that fails, it counts until its window ends."""
        try:
            async with asyncio.timeout(self._options.counts_timeout_seconds):
                await self._unsee(keys=name_keys(needed), args=counted.undo)
        except Exception as error:  # noqa: BLE001 - as above
            self._metrics.counts_asked.count("failed")
            self._note_failure(error)

    async def _check(self) -> None:
        """Refuse a server that may forget a count before its window ends.

        Raises:
            FetchError: it may; the library's own errors: it cannot be asked.
        """
        found: Any = await self._redis.info("memory")
        policy = found.get("maxmemory_policy")
        if found.get("maxmemory") != 0 and policy != KEEPS_ALL:
            raise FetchError(f"its maxmemory-policy may forget counts: set it to {KEEPS_ALL}")
        self._is_checked = True

    def _note_failure(self, error: Exception) -> None:
        """Log the first failure of an outage, and ask nobody for a while once there are several."""
        if not self._failures:
            log.warning("how much callers read cannot be counted", extra={"error": _describe(error)})
        self._failures += 1
        self._is_checked = False  # by then it may be another server
        self._metrics.counts_unavailable.set(1)
        if self._failures >= PATIENCE:
            self._silent_until = elapsed_seconds() + RETRY_SECONDS


class _PasswordFile(CredentialProvider):
    """Reads the password for each new connection: it may be changed while we run."""

    def __init__(self, user: str, path: Path) -> None:
        self._user = user
        self._path = path

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = read_secret_file(self._path)
        return (self._user, password) if self._user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return await asyncio.to_thread(self.get_credentials)


def _connect(options: VolumeOptions) -> Redis:
    """Return a client that has not connected yet."""
    place: dict[str, Any] = dict(parse_url(options.counts))
    user = place.pop("username", "")
    if options.counts_password_file is not None:
        try:
            read_secret_file(options.counts_password_file)
        except FetchError as error:
            raise UsageError(
                f"The file {options.counts_password_file} of SEKISHO_COUNTS_PASSWORD_FILE: {error}."
            ) from error
        place["credential_provider"] = _PasswordFile(user, options.counts_password_file)
    elif user:
        place["username"] = user
    if options.counts_ca is not None:
        if not options.counts.startswith("rediss:"):
            raise UsageError(
                "SEKISHO_COUNTS_CA names a CA, and SEKISHO_COUNTS no rediss:// whose certificate it signs."
            )
        if not options.counts_ca.is_file():
            raise UsageError(f"The file {options.counts_ca} of SEKISHO_COUNTS_CA cannot be read.")
        place["ssl_ca_certs"] = str(options.counts_ca)
    pool = BlockingConnectionPool(
        max_connections=MAX_CONNECTIONS,
        timeout=options.counts_timeout_seconds,
        socket_timeout=options.counts_timeout_seconds,
        socket_connect_timeout=options.counts_timeout_seconds,
        retry=Retry(NoBackoff(), 0),  # a question that may have been heard is not asked twice
        protocol=2,
        driver_info=None,
        **place,
    )
    return Redis.from_pool(pool)


def _describe(error: Exception) -> str:
    """Return what an operator needs to know of an error, and nothing that a server put into it."""
    return str(error) if isinstance(error, FetchError) else type(error).__name__
