# SPDX-License-Identifier: Apache-2.0
"""Somebody to be alerted: takes what Alertmanager and Grafana post to a webhook, and tells each alert on a line."""

import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from proxy.demo.wire import explain_refusals, to_json

KEPT: Final = 100
"""How many alerts are remembered, the latest."""


def create_receiver(tell: Callable[[str], None]) -> web.Application:
    """Build the service: ``POST /ANYTHING`` takes alerts, ``GET /`` shows the latest.

    Args:
        tell: is given a line for each alert.
    """
    latest: deque[str] = deque(maxlen=KEPT)

    async def take(request: web.Request) -> web.Response:
        for line in read_alerts(await request.read()):
            latest.append(line)
            tell(line)
        return web.Response(status=204)

    async def show(_: web.Request) -> web.Response:
        return web.Response(text="".join(f"{line}\n" for line in latest) or "Nobody was alerted yet.\n")

    app = web.Application(middlewares=[explain_refusals])
    app.add_routes([web.get("/", show), web.post("/{path:.+}", take)])
    return app


def read_alerts(body: bytes) -> list[str]:
    """Return a line for each alert of a message.

    Raises:
        web.HTTPBadRequest: it is no message of a webhook.
    """
    try:
        message = json.loads(body)
        return [_render(message["receiver"], alert) for alert in message["alerts"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise web.HTTPBadRequest(text="This is no message of Alertmanager's or Grafana's webhook.") from None


def _render(receiver: str, alert: Mapping[str, Any]) -> str:
    labels: dict[str, str] = dict(alert["labels"])
    name, severity = labels.pop("alertname"), labels.pop("severity", "-")
    summary = alert.get("annotations", {}).get("summary", "")
    return f"{receiver} <- {alert['status']} {severity} {name}: {summary} {to_json(labels)}"
