# SPDX-License-Identifier: Apache-2.0
"""Judges, treatments and runs of the filter of answers."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from proxy.model.api import Transform
from proxy.model.decision import Decision, Effect, Reason
from proxy.model.facts import Fact, State
from proxy.model.filtering import AnswerRefusedError, Content, Filter, Verdict
from proxy.model.inspection import Beyond, Field, Inspection, Member
from proxy.model.json_path import JsonPath, parse_json_path
from proxy.redaction.filters import make_filter
from proxy.redaction.treatment import Treatment

ALLOWED: Final = Verdict(Decision(Effect.ALLOW, Reason.RULE_ALLOWS, None, (), ()), is_allowed=True)
DENIED: Final = Verdict(Decision(Effect.DENY, Reason.RULE_DENIES, None, (), ()), is_allowed=False)
TREATMENT: Final = Treatment(
    name=lambda category, text: f"{category}/{text}", seal=lambda member, text: f"{member.parameter}!{text}", hides=True
)


def masking(transforms: Mapping[str, Transform]) -> Verdict:
    """Return a verdict that allows with transforms."""
    decision = Decision(Effect.ALLOW, Reason.RULE_ALLOWS, None, (), (), transforms)
    return Verdict(decision, is_allowed=True, transforms=transforms)


class ByCountry:
    """Judges by the country alone; what it does not know, it denies."""

    tells_ids = False

    def __init__(self, verdicts: Mapping[Fact[str], Verdict]) -> None:
        self.verdicts = verdicts
        self.asked: list[Fact[str]] = []

    def judge(self, country: Fact[str], id_: Fact[str]) -> Verdict | None:
        self.asked.append(country)
        return self.verdicts.get(country, DENIED)


class ByDirectory:
    """Judges by the id; what it was not told yet must be asked first."""

    tells_ids = True

    def __init__(self, verdicts: Mapping[str, Verdict]) -> None:
        self.verdicts = verdicts
        self.known: set[str] = set()
        self.noted: dict[str, None] = {}

    def judge(self, country: Fact[str], id_: Fact[str]) -> Verdict | None:
        if isinstance(id_, State):
            return DENIED
        if id_ not in self.known:
            self.noted[id_] = None
            return None
        return self.verdicts.get(id_, DENIED)

    def ask(self) -> tuple[str, ...]:
        """Ask for all that was noted, and return it."""
        asked = tuple(self.noted)
        self.known.update(asked)
        self.noted.clear()
        return asked


def path(text: str) -> JsonPath:
    return parse_json_path(text)


def declare(
    fields: Mapping[str, str] | None = None, members: Mapping[str, Beyond | str] | None = None, **how: Any
) -> Inspection:
    """Return an inspection; paths are texts. A member that is a text is a cursor of that parameter."""
    for name in ("records", "country", "id"):
        if isinstance(how.get(name), str):
            how[name] = path(how[name])
    declared = {"$.id": "user.id", "$.name": "user.name", "$.country": "user.country"} if fields is None else fields
    return Inspection(
        fields=tuple(Field(path(each), category) for each, category in declared.items()),
        members=tuple(
            Member(path(each), what) if isinstance(what, Beyond) else Member(path(each), Beyond.CURSOR, what)
            for each, what in (members or {}).items()
        ),
        **how,
    )


def run(
    inspection: Inspection, judge: Any, parts: Iterable[bytes], treatment: Treatment = TREATMENT
) -> tuple[bytes | Reason, Content]:
    """Return what leaves of an answer, or why it is refused, and what was found in it."""
    filter_ = make_filter(inspection, judge, treatment)
    try:
        left = [met(filter_, judge, filter_.feed(part)) for part in parts]
        left.append(met(filter_, judge, filter_.end()))
    except AnswerRefusedError as error:
        return error.reason, filter_.take_content()
    return b"".join(left), filter_.take_content()


def met(filter_: Filter, judge: Any, left: bytes) -> bytes:
    """Ask whoever must be asked until the filter goes on."""
    while filter_.is_waiting:
        assert judge.ask(), "it waits for nothing"
        left += filter_.feed(b"")
    return left


def parts_of(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]
