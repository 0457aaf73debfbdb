# SPDX-License-Identifier: Apache-2.0
"""What is asked of the gateways, as a table; before anything is timed, each gateway proves that it answers it so.

- A workload is a row: path, body, who asks, over how many connections, and what must come back, to the byte.
- All but one are sent by h2load, every request the same bytes: that suits whoever keeps what it has worked out for a
  head that it has seen. `MANY_CALLERS` is the other end: no two requests of ten thousand are alike.
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from bench.answers import ARCHIVE_BODY, HISTORY_BODY, KIBIBYTE, NOTED_BODY, SMALL_BODY
from bench.callers import Callers, render_head, round_of
from bench.duties import request_headers
from bench.harness import BenchError
from bench.identity import AFFILIATE, LISTED_AFFILIATE
from bench.load import LEAST_EACH, Load, drive, fill
from bench.processes import LOOPBACK, allotted_cores
from bench.setting import Duty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bench.harness import Answered
    from bench.identity import Issuer
    from bench.setting import Contender


@dataclass(frozen=True, slots=True)
class Workload:
    """Say what is asked, and what must come back."""

    id: str
    """Of its figures."""
    title: str
    path: str = "/v1/users/417"
    answer: bytes | None = SMALL_BODY
    """The body that must come back; None: whatever the gateway says itself, and nothing of the API's."""
    status: int = 200
    upload_bytes: int = 0
    """Length of the body that is posted; 0 asks with GET."""
    affiliate: str = AFFILIATE
    callers: int = 1
    connections: int = 32
    duty: Duty | None = None
    """The duty without which a contender cannot take part."""
    share: float = 0.3
    """Length of its rounds, in that of the small GET's."""

    def takes(self, contender: Contender) -> bool:
        """Return whether a contender takes part."""
        return self.duty is None or self.duty in contender.duties


SMALL: Final = Workload("small", "small GET", share=1.0)
HISTORY: Final = Workload("history", "64 KiB GET", path="/v1/users/417/history", answer=HISTORY_BODY)
DENIED: Final = Workload(
    "denied", "denied request", answer=None, status=403, affiliate=LISTED_AFFILIATE, duty=Duty.CLAIM_RULE
)
MANY_CALLERS: Final = Workload("callers", "10,000 distinct tokens", callers=10_000, duty=Duty.TOKEN)

WORKLOADS: Final = (
    SMALL,
    HISTORY,
    Workload("archive", "1 MiB download", path="/v1/users/417/archive", answer=ARCHIVE_BODY),
    Workload(
        "notes", "4 KiB POST", path="/v1/users/417/notes", answer=NOTED_BODY, status=201, upload_bytes=4 * KIBIBYTE
    ),
    DENIED,
    MANY_CALLERS,
    Workload("connections", "1,000 connections", connections=1000, share=0.5),
)


def verify_workload(workload: Workload, contender: Contender, issuer: Issuer) -> None:
    """Prove that a contender answers the workload as it must.

    Raises:
        BenchError: If it does not; nothing may be timed then.
    """
    headers = request_headers(issuer.token(affiliate=workload.affiliate))
    status, body = ask(workload, contender.port, headers)
    is_right = body == workload.answer if workload.answer is not None else SMALL_BODY not in body
    if status != workload.status or not is_right:
        raise BenchError(f"{contender.name}, {workload.title}: {status} with {len(body)} bytes: {body[:200]!r}")


def ask(workload: Workload, port: int, headers: dict[str, str]) -> tuple[int, bytes]:
    """Send one request on a connection of its own."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        if workload.upload_bytes:
            connection.request("POST", workload.path, upload_of(workload), {**headers, **TYPED})
        else:
            connection.request("GET", workload.path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


TYPED: Final = {"Content-Type": "application/json"}


def upload_of(workload: Workload) -> bytes:
    """Return what is posted."""
    return b'{"note": "seen"}'.ljust(workload.upload_bytes)


# How it is sent

Sending: TypeAlias = "Callable[[Contender, float], Callable[[], Answered]]"
"""Warms a contender up, and returns what sends it a round of about so many seconds."""


def make_sending(workload: Workload, issuer: Issuer, folder: Path) -> Sending:
    """Sign the tokens and write the body that a workload needs, once for all contenders."""
    if workload.callers > 1:
        return partial(send_many, make_callers(workload, issuer))
    headers = request_headers(issuer.token(affiliate=workload.affiliate))
    upload = folder / f"{workload.id}.json" if workload.upload_bytes else None
    if upload is not None:
        upload.write_bytes(upload_of(workload))
        headers |= TYPED
    return partial(send_same, workload, headers, upload)


def send_same(
    workload: Workload, headers: Mapping[str, str], upload: Path | None, contender: Contender, seconds: float
) -> Callable[[], Answered]:
    """Prepare rounds of one request, again and again."""
    load = Load(
        contender.url_of(workload.path),
        headers,
        allotted_cores().driver,
        requests=max(500, LEAST_EACH * workload.connections),
        connections=workload.connections,
        status_class=workload.status // 100,
        upload=upload,
    )
    return partial(drive, fill(load, seconds))


def send_many(shared: Callers, contender: Contender, seconds: float) -> Callable[[], Answered]:
    """Prepare rounds of requests that differ, with a turn of their own."""
    return round_of(replace(shared), contender.port, seconds)


def make_callers(workload: Workload, issuer: Issuer) -> Callers:
    """Return the requests of many callers, each for another user's record."""
    heads = [
        render_head(f"/v1/users/{number}", request_headers(issuer.token(sub=f"e-{number:06}")))
        for number in range(1, workload.callers + 1)
    ]
    return Callers(heads, workload.status, workload.answer or b"", allotted_cores().driver)
