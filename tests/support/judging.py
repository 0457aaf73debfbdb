# SPDX-License-Identifier: Apache-2.0
"""Judges of records by a table, and how a filter is driven with one."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from proxy.model.api import Transform
from proxy.model.decision import Decision, Effect, Reason
from proxy.model.facts import Fact
from proxy.model.filtering import AnswerRefusedError, Filter, Verdict
from proxy.model.inspection import Member

DENIED = Verdict(Decision(Effect.DENY, Reason.RULE_DENIES, None, (), ()), is_allowed=False)
ALLOWED = Verdict(Decision(Effect.ALLOW, Reason.RULE_ALLOWS, None, (), ()), is_allowed=True)


def allowed_with(transforms: Mapping[str, Transform]) -> Verdict:
    return msgspec.structs.replace(ALLOWED, transforms=dict(transforms))


@dataclass
class Table:
    """Verdicts by country, and by id where ids tell."""

    countries: Mapping[Fact[str], Verdict] = field(default_factory=dict)
    ids: Mapping[Fact[str], Verdict] = field(default_factory=dict)
    otherwise: Verdict = DENIED
    tells_ids: bool = False

    def __call__(self, country: Fact[str], id_: Fact[str]) -> Verdict:
        by_country = self.countries.get(country, self.otherwise)
        if not by_country.is_allowed or not self.tells_ids:
            return by_country
        return self.ids.get(id_, by_country)


@dataclass
class TableJudge:
    """Knows at once, or only after it was told: then each id is asked for once."""

    table: Table
    asks: bool = False
    told: set[Fact[str]] = field(default_factory=set)
    """Ids that are known."""
    wanted: set[Fact[str]] = field(default_factory=set)
    rounds: int = 0
    tells_ids: bool = False

    def __post_init__(self) -> None:
        self.tells_ids = self.table.tells_ids or self.asks

    def judge(self, country: Fact[str], id_: Fact[str]) -> Verdict | None:
        if self.asks and id_ not in self.told:
            self.wanted.add(id_)
            return None
        return self.table(country, id_)

    def tell(self) -> None:
        assert self.wanted, "it waits, and nothing was asked"
        self.told |= self.wanted
        self.wanted.clear()
        self.rounds += 1


@dataclass
class Run:
    """What came of feeding a filter."""

    outputs: list[bytes] = field(default_factory=list)
    error: AnswerRefusedError | None = None
    seen: int = 0
    dropped: int = 0
    masked: int = 0
    ids: list[str] = field(default_factory=list)
    rounds: int = 0

    @property
    def output(self) -> bytes:
        return b"".join(self.outputs)

    @property
    def reason(self) -> Reason | None:
        return None if self.error is None else self.error.reason

    @property
    def outcome(self) -> tuple[bytes, Reason | None, int, int, int, list[str]]:
        """What must not hang on where the parts ended."""
        if self.error is not None:
            return b"", self.error.reason, 0, 0, 0, []
        return self.output, None, self.seen, self.dropped, self.masked, self.ids


def drive(made: Filter, judge: TableJudge, parts: Iterable[bytes]) -> Run:
    """Feed a body as the passage does: whatever the judge asks for is told before anything more is fed."""
    run = Run()

    def take(data: bytes) -> None:
        run.outputs.append(data)
        content = made.take_content()
        run.seen, run.dropped = run.seen + content.seen, run.dropped + content.dropped
        run.masked += content.masked
        run.ids += content.ids

    def settle() -> None:
        while made.is_waiting:
            judge.tell()
            take(made.feed(b""))

    try:
        for part in parts:
            take(made.feed(part))
            settle()
        take(made.end())
        settle()
    except AnswerRefusedError as error:
        run.error = error
    run.rounds = judge.rounds
    return run


def name_value(category: str, text: str) -> str:
    """Return a pseudonym in which no value can be found."""
    digest = hashlib.blake2b(f"{category}\0{text}".encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return "pn" + digest.translate(str.maketrans("0123456789", "ghijklmnop"))


def seal_cursor(member: Member, text: str) -> str:
    """Return a cursor in which none can be found."""
    return "sealed" + name_value(member.parameter, text)
