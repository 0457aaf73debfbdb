# SPDX-License-Identifier: Apache-2.0
"""Of whom or what each alert must be after the story, and of nothing else: whatever it waits for aside."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from deploy.monitoring.alerts.denials import (
    BURST,
    LISTED,
    MANY_ROUTES,
    MANY_SUBJECTS,
    MANY_SUBJECTS_ANYBODY,
)
from tests.support.failing_scenes import AWAY
from tests.support.scenes import GRANT
from tests.support.told import Key, Story, tied

DECIDING: Final = ("lively", "observing", "ailing", "crowded", "asking")
"""Scenes in which somebody is decided about."""


class Told(msgspec.Struct, frozen=True):
    """Of what an alert must be."""

    labels: Key
    read: Callable[[Story], Iterable[Key]]


def _listed(story: Story) -> Counter[Key]:
    """Return how often callers who are tied to a listed country were denied."""
    return Counter(
        (country, record["caller"]["affiliate"], record["subject"]["country"])
        for scene in DECIDING
        for record in story.denied(scene)
        for country in tied(record)
        if country in LISTED
    )


def _untied(story: Story) -> Iterable[Key]:
    """Return of whom it is not known to which countries they are tied, and who were denied again and again."""
    times = Counter(
        (record["caller"]["affiliate"], record["subject"]["country"])
        for scene in DECIDING
        for record in story.denied(scene)
        if "unknown" in tied(record)
    )
    return [key for key, count in times.items() if count > BURST]


def _most_routes(story: Story) -> Iterable[Key]:
    return [key for scene in DECIDING for key, most in story.most_routes(scene).items() if most >= MANY_ROUTES]


def _most_subjects(least: int) -> Callable[[Story], Iterable[Key]]:
    return lambda story: [
        key for scene in DECIDING for key, most in story.most_subjects(scene).items() if most >= least
    ]


def _many_subjects_listed(story: Story) -> Iterable[Key]:
    denied = {(affiliate,) for _, affiliate, _ in _listed(story)}
    return denied & {*_most_subjects(MANY_SUBJECTS)(story)}


def _of(*labels: str, keys: Iterable[Key]) -> Told:
    told = tuple(keys)
    return Told(labels, lambda _: told)


def _at(*instances: str) -> Told:
    """Expect it of these gateways."""
    return _of("instance", keys=[(instance,) for instance in instances])


NOBODY: Final = _of(keys=())
"""It is not so; ``deploy/prometheus/tests`` tells when it is."""
_WHO: Final = ("tied_country", "caller_affiliate", "subject_country")

DENIALS: Final = {
    "SekishoDeniedTiedAttempt": Told(_WHO, _listed),
    "SekishoDeniedTiedBurst": Told(_WHO, lambda story: [key for key, times in _listed(story).items() if times > BURST]),
    "SekishoDeniedUntied": Told(("caller_affiliate", "subject_country"), _untied),
    "SekishoDeniedManySubjects": Told(("caller_affiliate",), _many_subjects_listed),
    "SekishoDroppedTiedRecords": _of(*_WHO, keys=[("HK", "ly", "JP")]),
    "SekishoProbingRoutes": Told(("caller_affiliate",), _most_routes),
    "SekishoProbingSubjects": Told(("caller_affiliate",), _most_subjects(MANY_SUBJECTS_ANYBODY)),
    "SekishoDenialsStopped": NOBODY,  # there is no yesterday
}
ACCESS: Final = {
    "SekishoCrossBorderRequestsRising": NOBODY,
    "SekishoCrossBorderRecordsRising": NOBODY,
    "SekishoGrantUsed": _of("grant", "rule", keys=[(GRANT, "jp-not-from-china")]),
    "SekishoShadowWouldDeny": _of("rule", keys=[("reports-in-the-office",)]),
    "SekishoUnknownFactsRising": NOBODY,
}
POLICY: Final = {
    "SekishoObserveMode": _at("observing"),
    "SekishoReloadFailed": _at("ailing"),
    "SekishoPolicyStale": _at("ailing"),
    "SekishoReviewsOverdue": _of("job", keys=[("sekisho",)]),
}
LEDGER: Final = {
    "SekishoLedgerFailing": _at("ailing"),
    "SekishoLedgerUnsigned": NOBODY,
    "SekishoWitnessFailing": NOBODY,  # behind for seconds alone
    "SekishoWitnessConflict": _at("observing"),
    "SekishoPseudonymKeysEnd": _at("observing"),
}
DEPENDENCIES: Final = {
    "SekishoKeysOld": NOBODY,
    "SekishoKeysGone": _of("instance", "issuer", keys=[("ailing", AWAY)]),
    "SekishoIntrospectionFailing": _of("instance", "issuer", keys=[("asking", "corp")]),
    "SekishoGeolocationStale": _at("ailing"),
    "SekishoGeolocationOld": _of("instance", "database", keys=[("observing", "country")]),
    "SekishoGeolocationExpired": _of("instance", "database", keys=[("ailing", "country")]),
    "SekishoCertificateEnds": _at("sealed"),
    "SekishoTlsStale": _at("sealed"),
    "SekishoRevocationListEnds": _of("instance", "authority", keys=[("sealed", "mesh")]),
    "SekishoCountsUnavailable": _at("ailing"),
    "SekishoLookupDown": _of("instance", "lookup", keys=[("ailing", "directory")]),
    "SekishoUpstreamDown": _of("instance", "api", keys=[("ailing", "users")]),
    "SekishoAnswersBroken": _of("instance", "api", keys=[("crowded", "users")]),
    "SekishoAnswersRefused": _of("api", "reason", keys=[("users", "answer-type-undeclared")]),
}
GATEWAYS: Final = {
    "SekishoDown": _at("gone"),
    "SekishoWorkersEnding": _at("crew"),
    "SekishoOverloaded": _of("instance", "reason", keys=[("crowded", "connections-exceeded")]),
    "SekishoConnectionsNearLimit": _at("crowded"),
    "SekishoLabelsFolded": _of(
        "instance",
        "metric",
        keys=[("crowded", "sekisho_undeclared_requests_total"), ("crowded", "sekisho_denied_routes_most")],
    ),
    "SekishoBypass": _of("instance", "api", keys=[("canary", "users")]),
    "SekishoProbeSilent": _at("silent"),
    "SekishoTrafficStopped": NOBODY,
}

ALERTS: Final = {**DENIALS, **ACCESS, **POLICY, **LEDGER, **DEPENDENCIES, **GATEWAYS}
