# SPDX-License-Identifier: Apache-2.0
"""Outcomes as a gateway has them in its hands when it records: of employees who read users, under the LINE bundle."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from bench.harness import BenchError
from proxy.bundle.check import load_bundle
from proxy.caller.keys import parse_key_set
from proxy.clock import unix_seconds
from proxy.demo.issuer import Issuer
from proxy.demo.stage import REFERENCE_BUNDLE
from proxy.gateway.ids import make_request_id
from proxy.ledger.pseudonym import KeyRing
from proxy.ledger.record import Recorder
from proxy.model.request import RequestHead, ResponseHead
from proxy.origin.geoip import RegistryGeolocator
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Forward, Release

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from proxy.caller.keys import KeySet
    from proxy.model.outcome import Outcome


class Held:
    """The issuers' key sets, held."""

    failed: Collection[str] = ()

    def __init__(self, sets: Mapping[str, KeySet]) -> None:
        self.sets = sets


def make_checkpoint() -> tuple[Checkpoint, Issuer]:
    """Return what passages under the reference bundle share, and the issuer whose tokens it takes."""
    snapshot = load_bundle(REFERENCE_BUNDLE)
    issuer = Issuer("https://idp.ly.example")
    keys = Held(
        {each.id: parse_key_set(json.dumps(issuer.key_set()).encode(), each.algorithms) for each in snapshot.issuers}
    )
    ring = KeyRing.generate("2026-01", 24, secrets.token_bytes)
    geolocator = RegistryGeolocator()
    checkpoint = Checkpoint(snapshot, keys, geolocator, Recorder(ring, snapshot.digest, geolocator.version))
    return checkpoint, issuer


def make_outcomes(count: int) -> list[Outcome]:
    """Return outcomes of so many requests, a sixteenth as many callers, each of another user's record."""
    checkpoint, issuer = make_checkpoint()
    now = unix_seconds()
    staff: dict[str, Any] = {"affiliate": "ly", "employment_type": "employee", "residence_country": "JP"}
    tokens = [issuer.token(now, sub=f"e-{number:06}", **staff) for number in range(max(1, count // 16))]
    outcomes = []
    for number in range(count):
        passage = Passage(checkpoint, make_request_id(now + number / 1000), now + number / 1000)
        fields = (
            ("Host", "users.internal"),
            ("Authorization", f"Bearer {tokens[number % len(tokens)]}"),
            ("X-Forwarded-For", "10.20.3.7"),
        )
        forward = passage.begin(RequestHead("GET", f"/v1/jp/users/{number}", fields, "127.0.0.1"))
        released = passage.answer(ResponseHead(200, ()), 412, 0.004) if isinstance(forward, Forward) else forward
        if not isinstance(released, Release):
            raise BenchError(f"a request of the benchmark was not allowed: {released}")
        outcomes.append(released.outcome)
    return outcomes
