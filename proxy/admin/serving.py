# SPDX-License-Identifier: Apache-2.0
"""How operators are served: paths that are read, and nothing else, by a server that tells of errors as problems.

- Every answer that is no success is a problem document (RFC 9457), also to what is no HTTP, and of a defect nothing is
  told but that there was one: it stands in the log.
- A connection carries one request, within ``CONNECTION_SECONDS``. Who holds many without asking anything loses the
  oldest: a probe that comes after them is served.
- A listener on loopback is asked by an address or as ``localhost``, and by no other name: a page that a browser on the
  same machine shows could have a name of its own point there, and read what is told (DNS rebinding).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

import msgspec
from aiohttp import web

CONNECTION_SECONDS: Final = 30.0
"""How long a connection may last: longer than any scrape, whatever its client does."""
MAX_CONNECTIONS: Final = 64
"""At once; probes and scrapes take a handful."""
SHUTDOWN_SECONDS: Final = 2.0
"""How long what is being answered may take to end when the listener does."""
ALLOWED: Final = ("GET", "HEAD")
_LOCALHOST: Final = "localhost"
_PROBLEM: Final = "application/problem+json"
_ENCODE: Final = msgspec.json.Encoder().encode

log = logging.getLogger("sekisho.admin")


class Answer(msgspec.Struct, frozen=True):
    """What is answered."""

    body: bytes
    status: int = HTTPStatus.OK
    media_type: str = "application/json"
    cache: str = "no-store"
    """``Cache-Control``."""
    allow: str = ""
    """``Allow``; empty for none."""


Page: TypeAlias = Callable[[], Awaitable[Answer]]
"""Answers one path; what it raises is a defect."""
Find: TypeAlias = Callable[[str], Page | None]
"""Returns what answers a path, as it was written; None where nothing does."""


def make_problem(status: HTTPStatus, detail: str = "", **more: Any) -> Answer:
    """Return a problem document.

    Args:
        status: of the answer.
        detail: a sentence that says what is so and how to mend it; nothing of the request.
        more: extension members; ``type`` and ``title`` may stand here, else the status says them (RFC 9457 4.2.1).
    """
    members = {"type": "about:blank", "title": status.phrase, "status": int(status)}
    told = {"detail": detail} if detail else {}
    return Answer(_ENCODE(members | told | more), status, _PROBLEM)


def make_server(find: Find, *, is_local: bool) -> web.Server:
    """Return a server, to be run by ``aiohttp.web.ServerRunner``.

    Args:
        find: says what answers a path.
        is_local: whether only this machine reaches it: then it is asked by an address or as ``localhost``.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return _render(await _answer(request, find, is_local=is_local))

    return _Server(handle, handler_cancellation=True, access_log=None, logger=log)


async def _answer(request: web.BaseRequest, find: Find, *, is_local: bool) -> Answer:
    if is_local and not _names_no_other(request.headers.get("Host", "")):
        return make_problem(
            HTTPStatus.MISDIRECTED_REQUEST,
            "This listener is on loopback, and is asked by its address or as localhost, by no other name.",
        )
    page = find(request.raw_path.partition("?")[0])
    if page is None:
        return make_problem(HTTPStatus.NOT_FOUND, "Nothing is served at this path.")
    if request.method not in ALLOWED:
        allow = ", ".join(ALLOWED)
        refusal = make_problem(HTTPStatus.METHOD_NOT_ALLOWED, f"What is here is read, and not changed: {allow}.")
        return msgspec.structs.replace(refusal, allow=allow)
    try:
        return await page()
    except Exception:  # whatever it is, the gateway goes on, and who asked is told so
        log.exception("an operator's request could not be answered")
        return make_problem(HTTPStatus.INTERNAL_SERVER_ERROR, "A defect: the gateway's log says where.")


def _names_no_other(host: str) -> bool:
    """Say whether a ``Host`` field is an address or ``localhost``; a client without one (HTTP/1.0) is no browser."""
    if not host:
        return True
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == _LOCALHOST or _is_address(name)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _render(answer: Answer) -> web.Response:
    fields = {
        "Content-Type": answer.media_type,
        "Cache-Control": answer.cache,
        "X-Content-Type-Options": "nosniff",
        "Server": "sekisho",
    }
    if answer.allow:
        fields["Allow"] = answer.allow
    response = web.Response(status=answer.status, body=answer.body, headers=fields)
    response.force_close()
    return response


class _Server(web.Server):
    """Makes connections of our kind."""

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    """One connection."""

    __slots__ = ("_ending", "_server")

    def __init__(self, server: _Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._ending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, in the place of the oldest where there are too many."""
        others = [each.transport for each in self._server.connections]
        taken = [each for each in others if each is not None and not each.is_closing()]
        if len(taken) >= MAX_CONNECTIONS:
            taken[0].abort()
        super().connection_made(transport)
        self._ending = asyncio.get_running_loop().call_later(CONNECTION_SECONDS, self._cut)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        if self._ending is not None:
            self._ending.cancel()
        super().connection_lost(exc)

    def _cut(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002 - it quotes what came
        message: str | None = None,  # noqa: ARG002 - likewise
    ) -> web.StreamResponse:
        """Answer what is no request; all else is answered before it comes here."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("a part of an answer is on its way: nothing can be said any more")
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return _render(make_problem(HTTPStatus(status), "What came is no request of HTTP/1.1."))
        log.error("an operator's request could not be answered")
        return _render(make_problem(HTTPStatus(status), "A defect: the gateway's log says where."))
