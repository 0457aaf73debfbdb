# SPDX-License-Identifier: Apache-2.0
"""Asks another party over HTTP, once. This module does I/O.

An answer is bounded in size and time; redirects are not followed; whatever goes wrong is a ``FetchError`` that names
neither what was sent nor what came.
"""

from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from proxy.errors import FetchError


class Fetched(msgspec.Struct, frozen=True):
    """What was answered."""

    status: int
    media_type: str
    body: bytes


async def fetch(
    session: aiohttp.ClientSession,
    url: str | URL,
    *,
    limit: int,
    form: Mapping[str, str] | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Fetched:
    """Ask, and return the whole answer.

    Args:
        session: brings the time limit.
        url: where.
        limit: bytes of the answer, decoded.
        form: sent by POST, if there is one.
        body: sent by POST as it is, if there is one; ``headers`` say what it is.
        headers: sent with it.

    Raises:
        FetchError: it cannot be reached, is too late or too large, or speaks no HTTP.
    """
    data = form if body is None else body
    method = "GET" if data is None else "POST"
    try:
        async with session.request(method, url, data=data, headers=headers, allow_redirects=False) as response:
            return Fetched(response.status, response.content_type, await _read_bounded(response, limit))
    except aiohttp.ClientConnectorError as error:
        raise FetchError(f"it cannot be reached ({error.os_error.strerror or 'no such host'})") from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise FetchError(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from error


async def _read_bounded(response: Any, limit: int) -> bytes:
    document = bytearray()
    async for chunk in response.content.iter_any():
        document += chunk
        if len(document) > limit:
            raise FetchError(f"it is larger than {limit} bytes")
    return bytes(document)
