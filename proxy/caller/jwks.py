# SPDX-License-Identifier: Apache-2.0
"""Fetches issuers' key sets and keeps them. This module does I/O.

- The places are fixed by the bundle or the deployment, or are where an issuer's own metadata says (``discovery``):
  nothing in a token leads to a fetch elsewhere, redirects are not followed, and a document is bounded in size and time.
- Fetches of one issuer are joined, and spaced: a flood of unknown key ids causes one fetch each interval.
- A fetch that fails leaves the last good keys in place until they are stale, by a clock that nobody sets; then there
  are none, and the answer is 503 (``keys-unavailable``), never an older or a default key.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import aiohttp

from proxy.caller.discovery import metadata_places, read_metadata
from proxy.caller.issuers import Issuer
from proxy.caller.keys import KeySet, parse_key_set
from proxy.caller.options import CallerOptions
from proxy.clock import elapsed_seconds, unix_seconds
from proxy.errors import FetchError, KeySetError, KeysWithdrawnError
from proxy.fetch import Fetched, fetch
from proxy.telemetry import Metrics

MAX_DOCUMENT_BYTES: Final = 512 * 1024

log = logging.getLogger("sekisho.keys")


class KeyStore:
    """The key sets of all issuers of one bundle.

    Args:
        issuers: the declared issuers.
        folder: the policy folder, inside which ``file:`` places are.
        options: how often, how long, and where this deployment finds keys.
        metrics: counted are fetches, by result.
    """

    def __init__(self, issuers: Iterable[Issuer], folder: Path, options: CallerOptions, metrics: Metrics) -> None:
        self._issuers = {issuer.id: issuer for issuer in issuers}
        self._folder = folder
        self._options = options
        self._metrics = metrics
        self.sets: Mapping[str, KeySet] = {}
        """Replaced whenever it changes, and never changed itself: who holds the same one holds the same keys."""
        """The keys that may be trusted now: those that are stale are taken out."""
        self.failed: set[str] = set()
        """Issuers whose last fetch failed."""
        self.changed_at = -math.inf
        """Seconds since 1970 when an issuer last published other keys, or took them back."""
        self._fetched: dict[str, float] = {}
        """Readings of the monotonic clock, as all times here."""
        self._tried: dict[str, float] = {}
        self._ageing: dict[str, asyncio.TimerHandle] = {}
        self._under_way: dict[str, asyncio.Future[None]] = {}
        """Fetches are this store's own, not of the request that asked: a caller who leaves ends none."""

    def place(self, issuer_id: str) -> str:
        """Return where the issuer's keys, or the metadata that say where they are, are fetched."""
        issuer = self._issuers[issuer_id]
        return self._options.jwks.get(issuer_id) or issuer.key_place or metadata_places(issuer.issuer)[0]

    async def fetch_all(self) -> None:
        """Fetch every issuer's keys.

        Raises:
            KeySetError: an issuer's keys could not be had; the message names the issuer, the place and the mend.
        """
        for issuer_id in self._issuers:
            await self._fetch_first(issuer_id)

    async def _fetch_first(self, issuer_id: str) -> None:
        try:
            await self._fetch(issuer_id)
        except KeySetError as error:
            raise KeySetError(
                f"The keys of issuer {issuer_id!r} cannot be had from {self.place(issuer_id)}: {error}. "
                f"Start or mend that place, or name another with --jwks {issuer_id}=URL."
            ) from error

    async def adopt(self, issuers: Iterable[Issuer]) -> Callable[[], None]:
        """Take over the issuers of another bundle: keys of those that are new, or say otherwise, are fetched first.

        Raises:
            KeySetError: an issuer's keys could not be had; then nothing has changed.

        Returns:
            What takes it back, should the bundle not be put in force after all.
        """
        declared = {issuer.id: issuer for issuer in issuers}
        new = [issuer for issuer in declared.values() if not self._is_same(issuer) or self._is_file(issuer)]
        before, sets, fetched = self._issuers, dict(self.sets), dict(self._fetched)
        touched = {issuer.id for issuer in new} | (before.keys() - declared.keys())

        def undo() -> None:
            self._issuers = before
            for issuer_id in touched:  # no others: theirs may have been renewed or withdrawn meanwhile
                if issuer_id in sets:
                    self._hold(issuer_id, sets[issuer_id], fetched[issuer_id])
                elif issuer_id in before:
                    self._drop(issuer_id)
                else:
                    self._forget(issuer_id)

        self._issuers = {**before, **{issuer.id: issuer for issuer in new}}
        try:
            for issuer in new:
                await self._fetch_first(issuer.id)
        except BaseException:
            undo()
            raise
        self._issuers = declared
        for issuer_id in before.keys() - declared.keys():
            self._forget(issuer_id)
        return undo

    def _hold(self, issuer_id: str, key_set: KeySet, fetched: float) -> None:
        """Trust an issuer's keys until they are stale."""
        self._drop(issuer_id)
        left = fetched + self._options.jwks_stale_seconds - elapsed_seconds()
        self.sets, self._fetched[issuer_id] = {**self.sets, issuer_id: key_set}, fetched
        self._metrics.key_set_keys.labels(issuer_id).set(len(key_set.keys))
        self._metrics.key_set_fetched.labels(issuer_id).set(unix_seconds() - (elapsed_seconds() - fetched))
        self._ageing[issuer_id] = asyncio.get_running_loop().call_later(left, self._drop, issuer_id)

    def _drop(self, issuer_id: str) -> None:
        """Trust an issuer's keys no more."""
        timer = self._ageing.pop(issuer_id, None)
        if timer is not None:
            timer.cancel()
        if issuer_id in self.sets:
            self.sets = {id_: key_set for id_, key_set in self.sets.items() if id_ != issuer_id}
            self._metrics.key_set_keys.labels(issuer_id).set(0)

    def _forget(self, issuer_id: str) -> None:
        """Hold and tell nothing of an issuer that is not declared: its age would be alerted for ever."""
        self._drop(issuer_id)
        self.failed.discard(issuer_id)
        for gauge in (self._metrics.key_set_fetched, self._metrics.key_set_keys):
            gauge.remove(issuer_id)

    def _is_same(self, issuer: Issuer) -> bool:
        old = self._issuers.get(issuer.id)
        return old is not None and _sources(old) == _sources(issuer)

    def _is_file(self, issuer: Issuer) -> bool:
        return self._options.jwks.get(issuer.id, issuer.key_place).startswith("file:")

    async def refresh(self, issuer_id: str) -> None:
        """Fetch an issuer's keys anew, unless that was tried a moment ago; a failure is logged and counted.

        Whoever asks while a fetch is under way waits for that one.
        """
        since = elapsed_seconds() - self._tried.get(issuer_id, float("-inf"))
        if issuer_id in self._under_way or since >= self._options.jwks_minimum_seconds:
            await asyncio.shield(self._renew(issuer_id))

    async def keep_fresh(self) -> None:
        """Fetch all key sets at an interval, until cancelled, however often callers made them be fetched."""
        while True:
            await asyncio.sleep(self._options.jwks_refresh_seconds)
            for issuer_id in list(self._issuers):
                await asyncio.shield(self._renew(issuer_id))

    async def close(self) -> None:
        """End the fetches that are under way, and trust no keys any more."""
        for issuer_id in [*self.sets]:
            self._drop(issuer_id)
        for renewal in [*self._under_way.values()]:
            renewal.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    def _renew(self, issuer_id: str) -> asyncio.Future[None]:
        """Return the fetch that is under way, or a new one."""
        renewal = self._under_way.get(issuer_id)
        if renewal is None:
            renewal = self._under_way[issuer_id] = asyncio.ensure_future(self._fetch_quietly(issuer_id))
            renewal.add_done_callback(lambda _: self._under_way.pop(issuer_id, None))
        return renewal

    async def _fetch_quietly(self, issuer_id: str) -> None:
        try:
            await self._fetch(issuer_id)
        except KeySetError as error:
            log.warning("keys not refreshed", extra={"issuer": issuer_id, "error": str(error)})
        except Exception:  # one issuer's document must not stop the others' keys from being renewed
            log.exception("keys not refreshed", extra={"issuer": issuer_id})

    async def _fetch(self, issuer_id: str) -> None:
        issuer = self._issuers.get(issuer_id)
        if issuer is None:
            raise KeySetError("the issuer is not declared any more")
        try:
            key_set = parse_key_set(await self._read(issuer), issuer.algorithms)
        except Exception as error:
            if isinstance(error, KeysWithdrawnError):
                self._drop(issuer_id)
                self.changed_at = unix_seconds()
            self.failed.add(issuer_id)
            self._metrics.key_fetches.count(issuer_id, "failed")
            raise
        finally:
            self._tried[issuer_id] = elapsed_seconds()
        if not self._is_same(issuer):  # another bundle was put in force, or taken back, while it was read
            raise KeySetError("the issuer was declared otherwise meanwhile")
        self.failed.discard(issuer_id)
        held = self.sets.get(issuer_id)
        is_unchanged = held is not None and held.generation == key_set.generation
        if not is_unchanged:
            self.changed_at = unix_seconds()
        self._hold(issuer_id, held if held is not None and is_unchanged else key_set, self._tried[issuer_id])
        self._metrics.key_fetches.count(issuer_id, "fetched")
        for misfit in key_set.left_out:
            log.warning("key left out", extra={"issuer": issuer_id, "error": misfit})

    async def _read(self, issuer: Issuer) -> bytes:
        """Read an issuer's key set, wherever it is."""
        place = self._options.jwks.get(issuer.id) or issuer.key_place
        if place.startswith("file:"):
            return _read_inside(self._folder, place.removeprefix("file:"))
        timeout = aiohttp.ClientTimeout(total=self._options.jwks_timeout_seconds)
        try:
            async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
                return await _get(session, place or await _discover(session, issuer))
        except FetchError as error:
            raise KeySetError(str(error)) from error


async def _discover(session: aiohttp.ClientSession, issuer: Issuer) -> str:
    """Return where an issuer's metadata says that its keys are."""
    by_openid, by_oauth = metadata_places(issuer.issuer)
    found = await fetch(session, by_openid, limit=MAX_DOCUMENT_BYTES)
    document = await _get(session, by_oauth) if found.status == 404 else _whole(found)
    return read_metadata(document, issuer)


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    return _whole(await fetch(session, url, limit=MAX_DOCUMENT_BYTES))


def _whole(found: Fetched) -> bytes:
    if found.status != 200:
        raise KeySetError(f"it answered {found.status}")
    return found.body


def _sources(issuer: Issuer) -> tuple[object, ...]:
    """Return what an issuer's keys depend on."""
    return issuer.issuer, issuer.key_place, issuer.key_hosts, issuer.algorithms


def _read_inside(folder: Path, name: str) -> bytes:
    """Read a file inside the folder; a path that leads out of it is refused, symbolic links included."""
    try:
        path = (folder / name).resolve()
    except (RuntimeError, ValueError) as error:
        raise KeySetError(f"{name!r} is no file: {error}") from error
    if not path.is_relative_to(folder.resolve()):
        raise KeySetError(f"{name!r} leads out of the policy folder")
    try:
        with path.open("rb") as file:
            document = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise KeySetError(f"{name!r}: {error.strerror}") from error
    if len(document) > MAX_DOCUMENT_BYTES:
        raise KeySetError(f"{name!r} is larger than {MAX_DOCUMENT_BYTES} bytes")
    return document
