# SPDX-License-Identifier: Apache-2.0
"""Callers of a gateway that runs elsewhere: a token from the sample issuer, a request, and what came of it.

Where a caller is, its address says: there is no edge proxy here that would pass on somebody else's.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from proxy.demo.story import DALIAN, OFFICE, SEOUL, STORY, TOKYO_VPN, Scene
from proxy.errors import FetchError

NETWORKS: Final[Mapping[str, str]] = {
    OFFICE: "tokyo-office",
    TOKYO_VPN: "tokyo-vpn",
    SEOUL: "seoul-office",
    DALIAN: "dalian-office",
}
"""The reference bundle's network of each address of the story that is in one."""
TIMEOUT_SECONDS: Final = 10.0


class Answered(msgspec.Struct, frozen=True):
    """What a caller got."""

    status: int
    body: bytes
    decision_id: str
    """Under which the ledger has it; empty where no gateway answered."""

    @property
    def reason(self) -> str:
        """Why it was refused, as the gateway tells it; empty if it does not."""
        try:
            problem: Any = json.loads(self.body)
        except ValueError:
            return ""
        if not isinstance(problem, dict) or self.status < 400:
            return ""
        return str(problem.get("rule") or problem.get("reason") or "")


def list_scenes(places: Mapping[str, str]) -> list[tuple[str, Scene]]:
    """Return the scenes of the story that play in one of the places, each with the network's name."""
    return [
        (NETWORKS[scene.forwarded_for], scene)
        for scene in STORY
        if NETWORKS.get(scene.forwarded_for) in places and scene.token == "good"  # noqa: S105 - a kind
    ]


async def fetch_token(session: aiohttp.ClientSession, issuer: str, name: str) -> str:
    """Return a token of somebody from the sample issuer.

    Args:
        session: brings the time limit.
        issuer: its URL.
        name: whose.

    Raises:
        FetchError: there is nobody of that name, or no issuer.
    """
    answer = await call(session, f"{issuer}/tokens/{name}")
    if answer.status != 200:
        raise FetchError(f"the issuer knows nobody called {name!r} ({answer.status})")
    return answer.body.decode("ascii", "replace")


async def call(
    session: aiohttp.ClientSession, url: str, *, method: str = "GET", token: str = "", body: str | None = None
) -> Answered:
    """Send one request.

    Args:
        session: brings the time limit.
        url: sent as it is, with nothing repaired.
        method: of the request.
        token: sent as a bearer token, if there is one.
        body: JSON, if there is one.

    Raises:
        FetchError: there is no answer.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        async with session.request(
            method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
        ) as response:
            found = response.headers.get("Sekisho-Decision-Id", "")
            return Answered(response.status, await response.read(), found)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise FetchError(f"no answer from {url}: {type(error).__name__}") from error
