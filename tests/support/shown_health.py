# SPDX-License-Identifier: Apache-2.0
"""What the panels on gateways' health must show after the story."""

import platform
from typing import Final

from proxy.counting import MAX_CHILDREN
from proxy.subject.asking import PATIENCE
from proxy.telemetry.attempts import MAX_MEMBERS
from proxy.version import VERSION
from tests.support.failing_scenes import (
    ACTIVE,
    AWAY,
    CERTIFICATE_SECONDS,
    DATABASE_AGE,
    LIST_SECONDS,
    SOUGHT,
    UNANSWERED,
    UNCONNECTED,
    WORKERS,
)
from tests.support.scenes import CUT, DAY, FOLDED, MISSHAPEN, SEATS, TURNED_AWAY
from tests.support.shown import NOTHING, Asked, Between, On, Shown, counted, number, on, summed, valued
from tests.support.told import Story

SOME: Final = Between(1)
A_MOMENT: Final = Between(1e-6, 60)
"""Seconds that something took."""
A_WHILE: Final = Between(0, 900)
"""Seconds since something that the story did."""
_FAILED: Final = "failed"


def _soon(seconds: float) -> Between:
    """Return how long it may still be until what was that far away when the story began."""
    return Between(seconds - 900, seconds)


def _refusals(story: Story) -> list[tuple[str, ...]]:
    return [(str(record["status"]), record["reason"]) for record in story.refused("lively")]


NOW: Final[dict[str, tuple[On, ...]]] = {
    "Gateways down": (on("gone", number(1)), on("lively", number(0)), on("lively|gone", number(1))),
    "Ledger cannot be written": (on("ailing", number(SOME)), on("lively", number(0))),
    "Not in force as it lies there": (
        on("ailing", number(2)),
        on("sealed", number(1)),
        on("ailing|sealed", number(3)),
        on("lively", number(0)),
    ),
    "APIs that cannot be connected to": (on("ailing", number(1)), on("lively", number(0))),
    "Lookups down": (on("ailing", number(1)), on("lively", number(0))),
    "APIs reached without the gateway": (on("lively", number(1)),),
}

GATEWAYS: Final[dict[str, tuple[On, ...]]] = {
    "Gateways that answer": (on("lively|gone", valued("instance", of={("lively",): 1, ("gone",): 0})),),
    "Versions": (
        on("crew", valued("instance", "version", "python", of={("crew", VERSION, platform.python_version()): 1})),
    ),
    "Workers that serve": (on("crew|lively", valued("instance", of={("crew",): WORKERS, ("lively",): 1})),),
    "Workers that ended": (on("crew", valued("how", of={("killed",): 1, ("told",): 0, ("by-itself",): 0})),),
    "Connections of callers": (
        on("crowded", valued("instance", of={("crowded",): SEATS}), valued("instance", of={("crowded",): SEATS})),
    ),
}

REQUESTS: Final[dict[str, tuple[On, ...]]] = {
    "Decisions by effect": (
        on("lively", counted("effect", of=lambda story: [(r["effect"],) for r in story.decisions("lively")])),
    ),
    "Refusals by reason": (
        on("lively", counted("status", "reason", of=_refusals)),
        on(
            "crowded",
            summed(
                "status",
                "reason",
                of=lambda story: {
                    ("502", "answer-type-undeclared"): MISSHAPEN,
                    ("503", "connections-exceeded"): TURNED_AWAY,
                    ("404", "route-undeclared"): len(story.undeclared("crowded")),
                },
            ),
        ),
    ),
    "Time to decide": (on("lively", *(number(A_MOMENT) for _ in range(3))),),
    "Time of a whole passage": (on("lively", *(number(A_MOMENT) for _ in range(3))),),
    "Requests under way": (on("lively", valued("instance", of={("lively",): 0})),),
    "Answers that broke off": (on("crowded", valued("reason", of={("upstream-broken",): CUT})), on("lively", NOTHING)),
    "Counted under other": (
        on(
            "crowded",
            summed(
                "metric",
                of=lambda _: {
                    ("sekisho_undeclared_requests_total",): FOLDED,
                    ("sekisho_denied_routes_most",): MAX_CHILDREN + FOLDED - MAX_MEMBERS,
                },
            ),
        ),
        on("lively", NOTHING),
    ),
}

APIS: Final[dict[str, tuple[On, ...]]] = {
    "APIs": (on("ailing", valued("api", of={("users",): 1, ("users/JP",): 0})),),
    "Connections to APIs": (
        on(
            "ailing",
            summed("api", "state", of=lambda _: {("users/JP", "idle"): 1}),
            valued("api", of={("users",): 0, ("users/JP",): 0}),
        ),
    ),
    "Failures to connect to APIs": (
        on(
            "ailing",
            valued("api", "cause", of={("users", "connect"): UNCONNECTED}),
            valued("api", of={("users",): 1}),
        ),
        on("lively", NOTHING, NOTHING),
    ),
    "Requests that fail at their API": (
        on(
            "crowded",
            valued(
                "api", "reason", of={("users", "answer-type-undeclared"): MISSHAPEN, ("users", "upstream-broken"): CUT}
            ),
        ),
        on("lively", NOTHING),
    ),
    "Lookups": (on("ailing", valued("lookup", of={("directory",): 1})),),
    "Lookups by result": (
        on("lively", valued("lookup", "result", of={("directory", "found"): 1})),
        on(
            "ailing",
            valued(
                "lookup",
                "result",
                of={("directory", _FAILED): Between(PATIENCE, SOUGHT - 1), ("directory", "skipped"): SOME},
            ),
        ),
    ),
    "Time of lookups": (on("lively", number(A_MOMENT)),),
    "Answers of directories that are kept": (
        on("lively", valued("instance", "lookup", of={("lively", "directory"): 1})),
    ),
    "Questions to the shared store of counts": (
        on("ailing", valued("result", of={(_FAILED,): SOME, ("skipped",): SOME})),
        on("lively", NOTHING),
    ),
    "The shared store of counts": (on("ailing|lively", valued("instance", of={("ailing",): 1, ("lively",): 0})),),
    "Held for counting": (on("lively", valued("instance", of={("lively",): SOME})),),
}

LEDGER: Final[dict[str, tuple[On, ...]]] = {
    "Not signed for": (on("lively", number(A_WHILE)), on("gone", NOTHING)),
    "Witness behind": (on("observing", number(Between(1, 900))), on("lively", NOTHING)),
    "Keys that name people end in": (
        on("lively", number(Between(27 * DAY, 62 * DAY))),
        on("observing", number(Between(-31 * DAY, 0))),
    ),
    "Checkpoints signed": (on("lively", number(lambda story: len(story.scenes["lively"].records("checkpoint")))),),
    "Lines of the ledger": (
        on("lively", Asked(("instance",), lambda story: {("lively",): story.scenes["lively"].count_lines()})),
    ),
    "Checkpoints given to witnesses": (
        on("observing", valued("result", of={("delivered",): SOME, ("conflict",): SOME})),
        on("lively", NOTHING),
    ),
}


def _keys(story: Story) -> Shown:
    return {("corp", "fetched"): SOME, (AWAY, "fetched"): SOME, (AWAY, _FAILED): SOME}


TRUST: Final[dict[str, tuple[On, ...]]] = {
    "Age of issuers' keys": (on("ailing", valued("issuer", of={("corp",): Between(0, 10), (AWAY,): Between(3, 900)})),),
    "Keys that are trusted": (on("ailing", valued("issuer", of={("corp",): 1, (AWAY,): 0})),),
    "Questions to issuers": (
        on("ailing", Asked(("issuer", "result"), _keys), NOTHING),
        on(
            "asking",
            valued("issuer", "result", of={("corp", "fetched"): 1, ("naver-sso", "fetched"): 1}),
            valued("issuer", "result", of={("corp", "active"): ACTIVE, ("corp", _FAILED): UNANSWERED}),
        ),
    ),
    "Age of geolocation databases": (
        on("ailing", valued("database", of={("country",): Between(DATABASE_AGE, DATABASE_AGE + 900)})),
        on("lively", NOTHING),
    ),
    "Geolocation databases": (on("ailing", valued("database", of={("country",): 1})),),
    "Databases and TLS renewed": (
        on("ailing", valued("result", of={(_FAILED,): 1}), NOTHING),
        on("sealed", NOTHING, valued("result", of={("loaded",): 1, (_FAILED,): 1})),
    ),
    "Certificate ends in": (on("sealed", number(_soon(CERTIFICATE_SECONDS))), on("lively", NOTHING)),
    "Revocation list ends in": (on("sealed", number(_soon(LIST_SECONDS))), on("lively", NOTHING)),
    "What is not in force as it lies there": (
        on("ailing", *(valued("instance", of={("ailing",): value}) for value in (1, 1, 0))),
        on("sealed", *(valued("instance", of={("sealed",): value}) for value in (0, 0, 1))),
    ),
}

HEALTH: Final = {**NOW, **GATEWAYS, **REQUESTS, **APIS, **LEDGER, **TRUST}
