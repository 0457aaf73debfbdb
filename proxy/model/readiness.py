# SPDX-License-Identifier: Apache-2.0
"""Whether a gateway can decide, and what an operator should know about it."""

import msgspec


class Readiness(msgspec.Struct, frozen=True):
    """The detail of ``/readyz``."""

    ready: bool
    bundle: str
    policy: str
    registers: str
    mode: str
    """``enforce``, or ``observe`` while nothing is blocked."""
    observe_until: str | None
    issuers_without_keys: tuple[str, ...]
    geolocation: str
    emergency_denies: tuple[str, ...]
    """Ids of those in force."""
    stale: tuple[str, ...]
    """Why the policy folder as it lies there is not in force; empty while it is."""
    geolocation_doubts: tuple[str, ...] = ()
    """Databases that are too old to be believed, and those that lie there and could not be put in force."""
    pseudonym_doubts: tuple[str, ...] = ()
    """That people are named by a key of an earlier month, or that the key ring as it lies there cannot be used."""
    assertion_doubts: tuple[str, ...] = ()
    """Why the keys of assertions as they lie there are not in use."""
    tls_doubts: tuple[str, ...] = ()
    """Why TLS files as they lie there are not in use, and whether the listener's certificate has ended."""
    stopping: bool = False
    """Whether it takes no more callers, and ends once requests under way have."""


class WorkerState(msgspec.Struct, frozen=True):
    """One worker, in the detail of ``/readyz``."""

    number: int
    pid: int
    ready: bool
    why_not: str = ""


class WorkersReadiness(Readiness, frozen=True, kw_only=True):
    """The detail of ``/readyz`` where several processes serve."""

    workers: tuple[WorkerState, ...]
    """Those that take requests."""
    wanted: int
    """How many there shall be."""
