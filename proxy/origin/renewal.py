# SPDX-License-Identifier: Apache-2.0
"""Changed geolocation databases are put in force while requests are served, or they are not, and that is told.

- The files are looked at; once one has changed and stands still, all are opened anew and checked, in a thread. What was
  read is put in force in one step: a request is judged by one set of databases from its beginning to its end.
- Whatever goes wrong, the last good databases stay in force, with the reason in the log, a metric and the readiness
  detail, until the files change again.

This module does I/O.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from proxy.errors import SekishoError
from proxy.model.ports import Geolocator
from proxy.origin.databases import take_fingerprint
from proxy.origin.geoip import make_geolocator
from proxy.origin.options import OriginOptions
from proxy.pause import Pause
from proxy.telemetry import Metrics

SETTLE_SECONDS: Final = 0.2
"""How long changed files must have stood still."""
MAX_SETTLING: Final = 50
"""Looks at files that never stand still, before they are tried as they are."""

log = logging.getLogger("sekisho.geolocation")


def take_fingerprints(options: OriginOptions) -> str:
    """Return what changes when one of the databases does."""
    paths = (options.geoip, options.geoip_asn, options.geoip_anonymous)
    return "\n".join("" if path is None else take_fingerprint(path) for path in paths)


class Renewal:
    """Watches the databases of one process.

    Args:
        options: where they are.
        tried: their fingerprints, taken before what is in force was read.
        adopt: puts a geolocator in force; an error of ours that it raises leaves the old one there.
        metrics: counted are attempts, by result.
        seconds: how often they are looked at; 0: only when told.
    """

    def __init__(
        self,
        options: OriginOptions,
        tried: str,
        adopt: Callable[[Geolocator], None],
        metrics: Metrics,
        *,
        seconds: float,
    ) -> None:
        self._options = options
        self._tried = tried
        self._adopt = adopt
        self._metrics = metrics
        self._seconds = seconds
        self._pause = Pause()
        self.stale: tuple[str, ...] = ()
        """Why the databases as they lie there are not in force; empty while they are."""

    def poke(self) -> None:
        """Look now."""
        self._pause.end()

    async def watch(self) -> None:
        """Watch until cancelled; where no database is configured there is nothing to watch."""
        if not any((self._options.geoip, self._options.geoip_asn, self._options.geoip_anonymous)):
            return
        while True:
            await self._pause.wait(self._seconds or None)
            try:
                await self.look()
            except Exception:  # the watch must outlive whatever a file does
                log.exception("the geolocation databases could not be looked at")

    async def look(self) -> None:
        """Try the databases if they have changed."""
        before = await asyncio.to_thread(take_fingerprints, self._options)
        if before == self._tried:
            return
        for _ in range(MAX_SETTLING):
            await asyncio.sleep(SETTLE_SECONDS)
            after = await asyncio.to_thread(take_fingerprints, self._options)
            if after == before:
                break
            before = after
        self._tried = before
        try:
            geolocator = await asyncio.to_thread(make_geolocator, self._options)
            self._adopt(geolocator)
        except SekishoError as error:
            self._note("failed", (str(error),))
            return
        log.info("geolocation in force", extra={"id": geolocator.version})
        self._note("loaded", ())

    def _note(self, result: str, reasons: tuple[str, ...]) -> None:
        self.stale = reasons
        self._metrics.geolocation_reloads.count(result)
        self._metrics.geolocation_stale.set(1 if reasons else 0)
        if reasons:
            log.error(
                "the geolocation databases are not in force as they lie there: the last good ones are",
                extra={"error": "\n".join(reasons)},
            )
