# SPDX-License-Identifier: Apache-2.0
"""What the panels on denied attempts, on access across borders and on the policy must show after the story."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import yaml

from tests.support.scenes import DAY, GRANT, OBSERVED, PROBED, RULE_FILES
from tests.support.shown import (
    NOTHING,
    NOTHING_LATER,
    WEEK,
    Asked,
    Between,
    On,
    Shown,
    counted,
    number,
    on,
    summed,
    valued,
)
from tests.support.told import Key, Record, Story, sum_by, tied

A_WHILE: Final = Between(0, 900)
"""Seconds since something that the story did."""


def _denied(*parts: Callable[[Record], str], scene: str = "lively") -> Callable[[Story], Iterable[Key]]:
    return lambda story: [tuple(part(record) for part in parts) for record in story.denied(scene)]


def _affiliate(record: Record) -> str:
    return str(record["caller"]["affiliate"])


def _origin(record: Record) -> str:
    return str(record["origin"]["country"])


def _subject(record: Record) -> str:
    return str(record["subject"]["country"])


def _rule(record: Record) -> str:
    return str(record["rule"])


def _route(record: Record) -> str:
    return str(record["route"])


def _effect(record: Record) -> str:
    return str(record["effect"])


def _dropped(story: Story) -> Counter[Key]:
    """Return the records that were dropped, by affiliate."""
    dropped: Counter[Key] = Counter()
    for record, content in story.contents("lively"):
        dropped[_affiliate(record),] += content.get("dropped", 0)
    return dropped


def _became(story: Story) -> Shown:
    """Return what became of records."""
    became: Counter[Key] = Counter()
    for _, content in story.contents("lively"):
        dropped, masked = content.get("dropped", 0), content.get("masked", 0)
        became.update({("dropped",): dropped, ("masked",): masked, ("left",): content["seen"] - dropped - masked})
    return became


def _crossing(*places: int) -> Callable[[Story], Iterable[Key]]:
    def read(story: Story) -> Iterable[Key]:
        for record in story.crossing("lively"):
            key = _affiliate(record), _origin(record), _subject(record)
            yield tuple(key[place] for place in places)

    return read


def _crossed(*places: int) -> Callable[[Story], Shown]:
    return lambda story: sum_by(story.crossed("lively"), *places)


def _share(story: Story) -> float:
    allowed = [record for record in story.decisions("lively") if record["effect"] == "allow"]
    return len(story.crossing("lively")) / len(allowed)


def _unknown(story: Story) -> Iterable[Key]:
    return [(fact, _effect(record)) for record in story.decisions("ailing") for fact in record.get("unknown", ())]


def _never_applied(story: Story) -> Shown:
    """Return the rules of the lively gateway's folder that no decision names."""
    declared = [
        rule
        for path in RULE_FILES
        for rule in yaml.safe_load((story.folder / "lively" / path).read_text("utf-8"))["rules"]  # noqa: TID251 - ours
    ]
    applied = story.applied("lively")
    return {
        (rule["id"], rule["effect"], rule.get("mode", "enforce")): 1
        for rule in declared
        if (rule["id"],) not in applied
    }


def _bundle(story: Story, *parts: str) -> Key:
    """Return the digests of the bundle in force."""
    return tuple(story.scenes["lively"].records("bundle")[-1][part] for part in parts)


DENIED: Final[dict[str, tuple[On, ...]]] = {
    "Denied requests": (
        on("lively", number(lambda story: len(story.denied("lively")))),
        on("sealed", number(0)),
        on("gone", NOTHING),
    ),
    "Dropped records": (on("lively", number(lambda story: _dropped(story).total())),),
    "Affiliates denied": (on("lively", number(lambda story: len(set(map(_affiliate, story.denied("lively")))))),),
    "Passed although denied": (on("observing", number(OBSERVED)), on("lively", number(0))),
    "Most routes denied to one caller": (
        on("lively", number(lambda story: max(story.most_routes("lively").values()))),
        on("asking", number(0)),
    ),
    "Most data subjects denied to one caller": (on("lively", number(PROBED)),),
    "Denied attempts by affiliate": (on("lively", counted("caller_affiliate", of=_denied(_affiliate))),),
    "Denied attempts by country the caller is tied to": (
        on(
            "lively",
            counted("tied_country", of=lambda story: [(at,) for each in story.denied("lively") for at in tied(each)]),
        ),
    ),
    "Tied to which country": (
        on("observing", valued("tied_country", of={("CN",): OBSERVED, ("JP",): OBSERVED, ("KR",): OBSERVED})),
    ),
    "Records dropped, by affiliate": (on("lively", summed("caller_affiliate", of=_dropped)),),
    "Probing, by affiliate": (
        on(
            "lively",
            Asked(("caller_affiliate",), lambda story: story.most_routes("lively")),
            Asked(("caller_affiliate",), lambda story: story.most_subjects("lively")),
        ),
    ),
    "Denied attempts by country they came from": (on("lively", counted("origin_country", of=_denied(_origin))),),
    "Denied attempts by data subject's country": (on("lively", counted("subject_country", of=_denied(_subject))),),
    "Denied attempts by rule": (on("lively", counted("rule", of=_denied(_rule))),),
    "Affiliates and data subjects' countries": (
        on("lively", counted("caller_affiliate", "subject_country", of=_denied(_affiliate, _subject))),
    ),
    "Rules and routes": (on("lively", counted("rule", "route", of=_denied(_rule, _route))),),
    "The last hour: from where, whose data": (
        on(
            "lively",
            counted("caller_affiliate", "origin_country", "subject_country", of=_denied(_affiliate, _origin, _subject)),
        ),
    ),
    "The last hour: tied to which country": (
        on(
            "lively",
            counted(
                "tied_country",
                "caller_affiliate",
                "subject_country",
                of=lambda story: [
                    (at, _affiliate(each), _subject(each)) for each in story.denied("lively") for at in tied(each)
                ],
            ),
        ),
    ),
    "The last hour: records dropped": (
        on(
            "lively",
            summed(
                "tied_country", "caller_affiliate", "subject_country", of=lambda story: story.dropped_tied("lively")
            ),
        ),
        on("observing", NOTHING),
    ),
    "What no route declares": (
        on(
            "lively",
            counted(
                "method", "shape", of=lambda story: [(r["method"], r["shape"]) for r in story.undeclared("lively")]
            ),
        ),
    ),
}

CROSS_BORDER: Final[dict[str, tuple[On, ...]]] = {
    "Allowed across borders": (
        on("lively", number(lambda story: len(story.crossing("lively")))),
        on("observing", number(0)),
    ),
    "Records that crossed": (on("lively", number(lambda story: story.crossed("lively").total())),),
    "Share of allowed requests": (on("lively", number(_share)), on("sealed", NOTHING)),
    "Grants used": (on("lively", number(1)), on("observing", number(0))),
    "Allowed across borders, by affiliate": (on("lively", counted("caller_affiliate", of=_crossing(0))),),
    "Records that crossed, by affiliate": (on("lively", summed("caller_affiliate", of=_crossed(0))),),
    "Requests an hour, and a week before": (
        on("lively", counted(of=_crossing()), NOTHING),
        on("lively", NOTHING_LATER, counted(of=_crossing(), later=WEEK)),
    ),
    "Records an hour, and a week before": (
        on("lively", summed(of=_crossed()), NOTHING),
        on("lively", NOTHING_LATER, summed(of=_crossed(), later=WEEK)),
    ),
    "Share of allowed requests, hour by hour": (on("lively", number(_share)),),
    "Requests: read from where, data of whom": (
        on("lively", counted("origin_country", "subject_country", of=_crossing(1, 2))),
    ),
    "Records: read from where, data of whom": (
        on("lively", summed("origin_country", "subject_country", of=_crossed(1, 2))),
    ),
    "Who read what across borders": (
        on(
            "lively",
            counted("caller_affiliate", "origin_country", "subject_country", of=_crossing(0, 1, 2)),
            summed("caller_affiliate", "origin_country", "subject_country", of=_crossed(0, 1, 2)),
        ),
    ),
    "Grants used, by grant and rule": (
        on("lively", valued("grant", "rule", of={(GRANT, "jp-not-from-china"): 1})),
        on("ailing", NOTHING),
    ),
}

POLICY: Final[dict[str, tuple[On, ...]]] = {
    "Observe mode": (on("observing", number(1)), on("lively", number(0))),
    "Observe mode ends in": (on("observing", number(Between(DAY - 900, DAY))), on("lively", NOTHING)),
    "Not in force as it lies there": (on("ailing", number(1)), on("lively", number(0))),
    "Versions in force": (on("lively", number(1)), on("observing|sealed", number(2))),
    "Reviews overdue": (on("lively", number(1)), on("observing", number(0))),
    "Grants active": (on("lively", number(1)), on("observing", number(0))),
    "Policy in force": (on("lively", Asked(("policy_digest",), lambda story: {_bundle(story, "policy"): 1})),),
    "In force at each gateway": (
        on(
            "lively",
            Asked(
                ("policy_digest", "registers_digest", "instance"),
                lambda story: {(*_bundle(story, "policy", "registers"), "lively"): A_WHILE},
            ),
        ),
    ),
    "Reloads by result": (
        on("lively", valued("result", of={("loaded",): 1})),
        on("ailing", valued("result", of={("failed",): 1})),
        on("observing", NOTHING),
    ),
    "What enforcement would refuse": (
        on("observing", valued("status", "reason", of={("403", "rule-denies"): OBSERVED})),
        on("lively", NOTHING),
    ),
    "Decisions by effect and rule": (
        on(
            "lively",
            counted("effect", "rule", of=lambda story: [(_effect(r), _rule(r)) for r in story.decisions("lively")]),
        ),
    ),
    "Rules that applied": (on("lively", summed("rule", of=lambda story: story.applied("lively"))),),
    "Rules that never applied": (on("lively", Asked(("rule", "effect", "mode"), _never_applied)),),
    "What rules in shadow would have changed": (
        on("lively", valued("rule", "effect", "would", of={("reports-in-the-office", "allow", "deny"): 1})),
    ),
    "Unknown facts": (on("ailing", counted("fact", "effect", of=_unknown)),),
    "Grants used, by grant and rule": CROSS_BORDER["Grants used, by grant and rule"],
    "Records by what became of them": (on("lively", summed("what", of=_became)),),
    "Routes and what they came to": (
        on(
            "lively",
            counted("route", "effect", of=lambda story: [(_route(r), _effect(r)) for r in story.decisions("lively")]),
        ),
    ),
}
