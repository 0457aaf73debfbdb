# SPDX-License-Identifier: Apache-2.0
"""A passage through the reference bundle without any socket: the pipeline's own bench."""

import functools
import json
from collections.abc import Mapping
from typing import Any, Final

from proxy.assertion.assertions import Assertions
from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.caller.keys import KeySet, parse_key_set
from proxy.ledger.record import Recorder
from proxy.model.request import RequestHead
from proxy.origin.geoip import RegistryGeolocator
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from tests.support.keys import RING
from tests.support.tokens import HeldSets
from tests.support.world import ISSUERS, OFFICE, POLICIES, STAFF

NOW: Final = 1_800_000_000.0
REQUEST_ID: Final = "01MCC5RM000000000000000001"
"""Of a request that was asked at ``NOW``."""


class HeldKeys:
    """The issuers' key sets, held; a test may take one away or change it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.sets: dict[str, KeySet] = HeldSets(self, {})
        self.failed: set[str] = set()
        for issuer in snapshot.issuers:
            document = json.dumps(ISSUERS[issuer.id].key_set()).encode()
            self.sets[issuer.id] = parse_key_set(document, issuer.algorithms)


@functools.cache
def reference_bundle() -> Snapshot:
    return load_bundle(POLICIES)


def a_checkpoint(snapshot: Snapshot | None = None, assertions: Assertions | None = None) -> Checkpoint:
    snapshot = snapshot or reference_bundle()
    recorder = Recorder(RING, snapshot.digest)
    return Checkpoint(snapshot, HeldKeys(snapshot), RegistryGeolocator(), recorder, assertions=assertions)


def a_passage(checkpoint: Checkpoint | None = None, request_id: str = REQUEST_ID) -> Passage:
    return Passage(checkpoint or a_checkpoint(), request_id, NOW)


def a_token(claims: Mapping[str, Any] | None = None, issuer: str = "corp", **changes: Any) -> str:
    return ISSUERS[issuer].token(NOW, **{**(claims if claims is not None else STAFF), **changes})


def a_head(
    target: str = "/v1/jp/users/42",
    *more: tuple[str, str],
    method: str = "GET",
    token: str | None = "",
    address: str | None = OFFICE,
    host: str | None = "users.internal",
    peer: str = "127.0.0.1",
) -> RequestHead:
    """Return a head that is allowed unless a part of it is changed; None leaves a field out."""
    fields = [("Host", host)] if host is not None else []
    if token is not None:
        fields.append(("Authorization", f"Bearer {token or a_token()}"))
    if address is not None:
        fields.append(("X-Forwarded-For", address))
    return RequestHead(method, target, (*fields, *more), peer)


def read_lines(fields: bytes) -> tuple[tuple[str, str], ...]:
    """Return the fields that rendered lines are, in their order."""
    *lines, end = fields.decode().split("\r\n")
    assert end == "", "the last line is ended, too"
    return tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))
