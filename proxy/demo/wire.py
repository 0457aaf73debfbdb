# SPDX-License-Identifier: Apache-2.0
"""How the demo's services answer: JSON, a record a line, server-sent events, and refusals as problem documents."""

import json
from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Handler


@web.middleware
async def explain_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every refusal with a problem document (RFC 9457)."""
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        problem = {
            "type": "about:blank",
            "title": refusal.reason,
            "status": refusal.status,
            "detail": refusal.text,
        }
        refusal.text = to_json(problem)
        refusal.content_type = "application/problem+json"
        raise


async def stream_lines(
    request: web.Request, pages: AsyncIterable[Iterable[Mapping[str, object]]]
) -> web.StreamResponse:
    """Answer with a record a line, page by page."""
    return await _stream(request, "application/x-ndjson", pages, "{}\n")


async def stream_events(
    request: web.Request, pages: AsyncIterable[Iterable[Mapping[str, object]]], event: str
) -> web.StreamResponse:
    """Answer with an event a record (server-sent events), page by page."""
    return await _stream(request, "text/event-stream", pages, f"event: {event}\ndata: {{}}\n\n")


async def _stream(
    request: web.Request, content_type: str, pages: AsyncIterable[Iterable[Mapping[str, object]]], frame: str
) -> web.StreamResponse:
    before, _, behind = frame.partition("{}")
    response = web.StreamResponse(headers={"Content-Type": content_type})
    # The client may go at any line. The next write says so, and nothing more is read for it.
    with suppress(ConnectionError):
        await response.prepare(request)
        async for page in pages:
            for record in page:
                await response.write(f"{before}{to_json(record)}{behind}".encode())
        await response.write_eof()
    return response


def not_found() -> web.HTTPNotFound:
    """Return the refusal of what is not there."""
    return web.HTTPNotFound(text="Nothing under this country and id.")


def to_json(value: object) -> str:
    """Return a value as JSON, in its own script."""
    return json.dumps(value, ensure_ascii=False)
