# SPDX-License-Identifier: Apache-2.0
"""Asks a directory over HTTP for countries. This module does I/O.

An id stands percent-encoded in the URL that the bundle or the deployment says, and nothing in an answer leads
elsewhere: redirects are not followed. 404 on one id says that there is none. An answer is bounded in size, and is JSON.
"""

import ssl
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from proxy.errors import FetchError
from proxy.fetch import Fetched, fetch
from proxy.model.subject import Located
from proxy.secret import read_secret
from proxy.subject.places import measure_id, render_url, split_ids
from proxy.subject.register import Asked, HttpQuestion
from proxy.subject.told import read_document, read_records

MAX_ANSWER_BYTES: Final = 1024 * 1024
_DOWN: Final = frozenset({429, 502, 503, 504})
"""Statuses that say that nobody can be answered now (RFC 9110 15.6, RFC 6585 4)."""


class HttpDirectory:
    """A directory over HTTP.

    Args:
        asked: how long it may take, and how many questions there are at once.
        how: the question.
        ca: PEM file of the CAs of its certificate; None: those of the system.
    """

    def __init__(self, asked: Asked, how: HttpQuestion, ca: Path | None) -> None:
        self._asked = asked
        self._how = how
        self._ca = ca
        self._session: aiohttp.ClientSession | None = None

    def check(self) -> None:
        """Look whether the token and the CA can be read.

        Raises:
            FetchError: one cannot.
        """
        self._make_headers()
        self._make_context()

    def split(self, ids: Sequence[str]) -> Iterable[list[str]]:
        """Return ids in parts of which a URL has room for each."""
        return split_ids(ids, self._asked.batch, map(measure_id, ids))

    async def ask(self, ids: Sequence[str]) -> Mapping[str, Located]:
        """Return what is said of ids.

        Raises:
            FetchError: it cannot be reached, or cannot answer anybody now.
            ValueError: it answered something else than was asked.
        """
        url = render_url(self._how.url, ids)
        if url is None:  # it would be another question
            return {}
        found = await fetch(self._open(), URL(url, encoded=True), limit=MAX_ANSWER_BYTES, headers=self._make_headers())
        return self._read(found, ids)

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _read(self, found: Fetched, ids: Sequence[str]) -> Mapping[str, Located]:
        how, form = self._how, self._asked.form
        if found.status in _DOWN:
            raise FetchError(f"it answered {found.status}")
        if found.status == 404 and how.records is None:
            return {}
        if found.status != 200:
            raise ValueError(f"it answered {found.status}")
        if found.media_type != "application/json" and not found.media_type.endswith("+json"):
            raise ValueError("it answered no JSON")
        if how.records is None:
            return dict.fromkeys(ids, read_document(found.body, how.select, form))
        return read_records(found.body, how.records, how.record_id, how.select, form)

    def _make_headers(self) -> Mapping[str, str]:
        if not self._how.token:
            return {"Accept": "application/json"}
        return {"Accept": "application/json", "Authorization": f"Bearer {read_secret(self._how.token)}"}

    def _make_context(self) -> ssl.SSLContext | bool:
        if self._ca is None:
            return True
        try:
            return ssl.create_default_context(cafile=self._ca)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise FetchError(
                f"the file {self._ca} (SEKISHO_LOOKUP_CA) holds no CA certificate that can be read"
            ) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._asked.timeout_seconds),
                connector=aiohttp.TCPConnector(limit=self._asked.at_once, ssl=self._make_context()),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session
