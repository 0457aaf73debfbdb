# SPDX-License-Identifier: Apache-2.0
"""Asks a Redis for countries, a key for each id. This module does I/O.

- Keys are read by ``GETRANGE``, all in one exchange: no more of a value comes than one may have.
- A connection whose question broke off is closed: the next one would be given another's answers.
- A value that is no text (another type of Redis) says nothing; an empty one is as none.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ResponseError

from proxy.errors import FetchError
from proxy.model.subject import Located
from proxy.secret import read_secret
from proxy.subject.places import ID, split_ids
from proxy.subject.register import Asked, RedisKey
from proxy.subject.told import FAILED, NOT_FOUND, read_cell, read_document

MAX_VALUE_BYTES: Final = 16 * 1024


class RedisDirectory:
    """A Redis.

    Args:
        asked: how long it may take, and how many questions there are at once.
        how: the question.
        ca: PEM file of the CAs of its certificate; None: those of the system.
    """

    def __init__(self, asked: Asked, how: RedisKey, ca: Path | None) -> None:
        self._asked = asked
        self._how = how
        self._ca = ca
        self._pool: ConnectionPool | None = None

    def check(self) -> None:
        """Look whether the password and the CA can be read.

        Raises:
            FetchError: one cannot.
        """
        if self._how.password:
            read_secret(self._how.password)
        if self._ca is not None and not self._how.url.startswith("rediss:"):
            raise FetchError("SEKISHO_LOOKUP_CA names a CA, and its URL is no rediss:// whose certificate it signs")
        if self._ca is not None and not self._ca.is_file():
            raise FetchError(f"the file {self._ca} (SEKISHO_LOOKUP_CA) cannot be read")

    def split(self, ids: Sequence[str]) -> Iterable[list[str]]:
        """Return ids in parts."""
        return split_ids(ids, self._asked.batch)

    async def ask(self, ids: Sequence[str]) -> Mapping[str, Located]:
        """Return what is said of ids.

        Raises:
            redis.exceptions.RedisError: it cannot be reached, or does not answer; OSError and others likewise.
        """
        pool: Any = self._open()
        connection = await pool.get_connection()
        try:
            commands = [("GETRANGE", self._how.key.replace(ID, id_), "0", str(MAX_VALUE_BYTES)) for id_ in ids]
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            values = [await _read_value(connection) for _ in ids]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)
        return {id_: self._read(value) for id_, value in zip(ids, values, strict=True)}

    async def close(self) -> None:
        """Close the connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    def _read(self, value: bytes | None) -> Located:
        if value is None or len(value) > MAX_VALUE_BYTES:
            return FAILED
        if not value:
            return NOT_FOUND
        try:
            if self._how.select is not None:
                return read_document(value, self._how.select, self._asked.form)
            return read_cell(value.decode(), self._asked.form)
        except ValueError:  # of this key alone
            return FAILED

    def _open(self) -> ConnectionPool:
        if self._pool is None:
            place: dict[str, Any] = dict(parse_url(self._how.url))
            if self._how.password:
                place["credential_provider"] = _Password(place.pop("username", ""), self._how.password)
            if self._ca is not None:
                place["ssl_ca_certs"] = str(self._ca)
            self._pool = ConnectionPool(
                max_connections=self._asked.at_once,
                socket_timeout=self._asked.timeout_seconds,
                socket_connect_timeout=self._asked.timeout_seconds,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
                driver_info=None,
                **place,
            )
        return self._pool


class _Password(CredentialProvider):
    """Reads the password for each new connection: it may be changed while we run."""

    def __init__(self, user: str, reference: str) -> None:
        self._user = user
        self._reference = reference

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = read_secret(self._reference)
        return (self._user, password) if self._user else (password,)


async def _read_value(connection: Any) -> bytes | None:
    """Return the next value; None: what stands there is no text."""
    try:
        value = await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        if str(error).startswith("WRONGTYPE"):
            return None
        raise
    return value if isinstance(value, bytes) else None
