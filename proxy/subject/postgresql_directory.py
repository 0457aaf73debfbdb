# SPDX-License-Identifier: Apache-2.0
"""Asks a PostgreSQL database for countries. This module does I/O.

- Its library, asyncpg, is an extra (``sekisho[postgresql]``), loaded where a bundle declares such a lookup.
- Ids are one parameter, an array of texts, and never a part of the query: it casts what its columns need.
- Sessions are read-only, and every statement has a deadline there, too: nothing goes on when nobody waits for it.
- A connection whose question broke off is closed; one that is old is, too, so that a database that moves is found, and
  a password that was changed is used.
"""

import ssl
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from proxy.clock import elapsed_seconds
from proxy.errors import FetchError
from proxy.model.subject import Located
from proxy.secret import read_secret
from proxy.subject.places import IDS, split_ids
from proxy.subject.register import Asked, PostgresqlQuery
from proxy.subject.told import read_rows

MAX_ROWS: Final = 16
"""Of one id: it has no more countries than that."""
LIFETIME_SECONDS: Final = 300.0
"""How old a connection may be that is used once more."""
_MISSING: Final = "the library asyncpg is not installed: install sekisho[postgresql]"


class PostgresqlDirectory:
    """A PostgreSQL database.

    Args:
        asked: how long it may take, and how many questions there are at once.
        how: the question.
        ca: PEM file of the CAs of its certificate; None: as its URL says (``sslmode``).
    """

    def __init__(self, asked: Asked, how: PostgresqlQuery, ca: Path | None) -> None:
        self._asked = asked
        self._how = how
        self._ca = ca
        self._idle: list[tuple[Any, float]] = []
        """Connections that nobody uses, each with when it was made, by the monotonic clock."""
        self._statement = (
            f"WITH told (id, country) AS (\n{how.query.replace(IDS, '$1::text[]')}\n)\n"
            "SELECT id::text, country::text FROM told LIMIT $2"
        )

    def check(self) -> None:
        """Look whether the library is there, and secrets and the CA can be read.

        Raises:
            FetchError: one is not.
        """
        _load_library()
        self._read_url()
        self._make_context()
        if self._how.password:
            read_secret(self._how.password)

    def split(self, ids: Sequence[str]) -> Iterable[list[str]]:
        """Return ids in parts."""
        return split_ids(ids, self._asked.batch)

    async def ask(self, ids: Sequence[str]) -> Mapping[str, Located]:
        """Return what is said of ids.

        Raises:
            FetchError: it cannot be reached, or does not answer; exceptions of its library likewise.
            ValueError: an id is none of its kind, or it says more than is asked.
        """
        asyncpg = _load_library()
        connection, made = self._take() or (await self._connect(), elapsed_seconds())
        try:
            rows = await connection.fetch(self._statement, [*ids], MAX_ROWS * len(ids) + 1)
        except asyncpg.DataError as error:  # class 22: 'abc' where numbers stand; the session is sound
            self._idle.append((connection, made))
            if len(ids) == 1:
                return {}
            raise ValueError("an id is none of the kind that the query casts to") from error
        except BaseException:
            connection.terminate()
            raise
        self._idle.append((connection, made))
        if len(rows) > MAX_ROWS * len(ids):
            raise ValueError(f"it says more than {MAX_ROWS} countries of an id")
        return read_rows(rows, self._asked.form)

    async def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            connection, _ = self._idle.pop()
            connection.terminate()

    def _take(self) -> tuple[Any, float] | None:
        """Return a connection that was used last of all, is open and not old."""
        while self._idle:
            connection, made = self._idle.pop()
            if not connection.is_closed() and elapsed_seconds() - made < LIFETIME_SECONDS:
                return connection, made
            connection.terminate()
        return None

    async def _connect(self) -> Any:
        context = self._make_context()
        password = self._how.password
        try:
            return await _load_library().connect(
                self._read_url(),
                timeout=self._asked.timeout_seconds,
                server_settings={
                    "application_name": "sekisho",
                    "default_transaction_read_only": "on",
                    "statement_timeout": str(round(self._asked.timeout_seconds * 1000)),
                },
                **({} if context is None else {"ssl": context}),
                **({"password": read_secret(password)} if password else {}),
            )
        except ValueError as error:  # of its URL, which may hold a password
            raise FetchError("its URL cannot be used") from error

    def _read_url(self) -> str:
        return read_secret(self._how.url_secret) if self._how.url_secret else self._how.url

    def _make_context(self) -> ssl.SSLContext | None:
        if self._ca is None:
            return None
        try:
            return ssl.create_default_context(cafile=self._ca)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise FetchError(
                f"the file {self._ca} (SEKISHO_LOOKUP_CA) holds no CA certificate that can be read"
            ) from error


def _load_library() -> Any:
    try:
        import asyncpg  # noqa: PLC0415 - an extra, loaded only where it is used
    except ImportError as error:
        raise FetchError(_MISSING) from error
    return asyncpg
