# SPDX-License-Identifier: Apache-2.0
"""In which records somebody appears: candidates are named by every key of the ring, and looked for.

A hash cannot be turned back. Whoever resolves names must know whom to ask for, and must have the key of the month.
"""

import enum
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from proxy.ledger.pseudonym import KeyRing

MAX_NAMES: Final = 4_000_000
"""Candidates times keys that are held in memory at once: about 160 bytes each."""
CLEAR: Final = "clear"
"""In place of a period: the record says who it was, and needs no key."""
DECISION: Final = "decision"
KEYS: Final = "keys"


class Role(enum.StrEnum):
    """As what somebody appears in a record."""

    CALLER = "caller"
    PERSON = "on behalf of"
    """Somebody for whom the caller acted."""
    SUBJECT = "data subject"
    CONTENT = "in the answer"
    """A data subject in the records of an answer."""


class Candidate(msgspec.Struct, frozen=True):
    """Somebody who may appear."""

    text: str
    """``issuer|subject`` or ``api:id``."""
    is_subject: bool
    api: str = ""
    id: str = ""


def parse_candidate(text: str) -> Candidate:
    """Read a candidate: ``corp|alice``, as whom an issuer knows, or ``users:42``, a data subject of an API.

    Which of the two it is, the first of ``|`` and ``:`` says: neither the id of an issuer nor of an API has any.

    Raises:
        ValueError: it is none; the message is a sentence without its end.
    """
    at = min((place for place in (text.find("|"), text.find(":")) if place >= 0), default=-1)
    if at <= 0 or at == len(text) - 1:
        raise ValueError(f"{text!r} is neither ISSUER|SUBJECT, such as corp|alice, nor API:ID, such as users:42")
    if text[at] == "|":
        return Candidate(text, is_subject=False)
    return Candidate(text, is_subject=True, api=text[:at], id=text[at + 1 :])


class Appearance:
    """What was found of one candidate in one role.

    Args:
        candidate: who.
        role: as what.
    """

    def __init__(self, candidate: Candidate, role: Role) -> None:
        self.candidate = candidate
        self.role = role
        self.count = 0
        """Decisions; parts of answers are counted with the decision that they belong to."""
        self.first = ""
        self.last = ""
        """When the first and the last of these lines were written, RFC 3339."""
        self.periods: dict[str, int] = {}
        """Period whose key names the candidate, to the number of records; ``clear`` where no key does."""
        self.ids: list[str] = []
        """Of the first decisions, up to the limit."""
        self._parted: set[str] = set()

    def add(self, decision: str, time: str, period: str, limit: int) -> None:
        """Add a line."""
        self.first = self.first or time
        self.last = time
        if self.role is Role.CONTENT:  # told again with every part of an answer that leaves
            if decision in self._parted:
                return
            self._parted.add(decision)
        self.count += 1
        self.periods[period] = self.periods.get(period, 0) + 1
        if len(self.ids) < limit:
            self.ids.append(decision)


class _Person(msgspec.Struct):
    who: str = ""


class _Caller(msgspec.Struct):
    who: str = ""
    on_behalf_of: _Person | None = None


class _Subject(msgspec.Struct):
    id: str = ""


class _Content(msgspec.Struct):
    subject_ids: tuple[str, ...] = ()


class _Said(msgspec.Struct):
    """What names people in a line; fields of other lines are left out."""

    line: str
    time: str = ""
    id: str = ""
    caller: _Caller = msgspec.field(default_factory=_Caller)
    subject: _Subject = msgspec.field(default_factory=_Subject)
    content: _Content | None = None
    pseudonyms: str = ""


_DECODE: Final = msgspec.json.Decoder(_Said).decode


class Resolver:
    """Looks for candidates in lines.

    Args:
        ring: its keys name them.
        candidates: who is looked for.
        decision: look at this decision alone; empty for all.
        limit: how many ids of decisions are held of each appearance.

    Raises:
        ValueError: there are too many candidates for so many keys; the message is a clause with the mend.
    """

    def __init__(self, ring: KeyRing, candidates: Iterable[Candidate], *, decision: str = "", limit: int = 20) -> None:
        self.candidates = tuple(dict.fromkeys(candidates))
        names = len(self.candidates) * len(ring.periods)
        if names > MAX_NAMES:
            raise ValueError(
                f"{len(self.candidates):,} candidates by {len(ring.periods)} keys are {names:,} names, and at most "
                f"{MAX_NAMES:,} are looked for at once: split the list"
            )
        self._ring = ring
        self._only = decision
        self._limit = limit
        self._known = dict(_name(ring, self.candidates))
        self._found: dict[tuple[Candidate, Role], Appearance] = {}
        self._period = ""
        self.decisions = 0
        """Lines of decisions that were looked at."""
        self.unnamed: Counter[str] = Counter()
        """Month to decisions that name somebody by a key that is not in the ring."""
        self.others: Counter[Role] = Counter()
        """How often somebody is named who is none of the candidates."""
        self.damaged = 0
        """Lines that could not be read."""

    def look(self, line: bytes) -> None:
        """Look at a line, without its newline."""
        if self._only and self._only.encode() not in line and b'"line":"keys"' not in line:
            return
        try:
            said = _DECODE(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.damaged += 1
            return
        if said.line == KEYS:
            self._period = said.pseudonyms
        if self._only and said.id != self._only:
            return
        named = [(role, name) for role, name in _find_names(said) if name]
        self.decisions += said.line == DECISION
        for role, name in named:
            known = self._known.get(name)
            if known is None:
                self.others[role] += 1
                continue
            candidate, period = known
            found = self._found.get((candidate, role))
            if found is None:
                found = self._found[candidate, role] = Appearance(candidate, role)
            found.add(said.id, said.time, period, self._limit)
        is_hashed = any(role not in {Role.CALLER, Role.PERSON} or "|" not in name for role, name in named)
        if is_hashed and said.line == DECISION:
            self._note_period(said)

    def _note_period(self, said: _Said) -> None:
        """Count a decision whose names no key of the ring makes, as far as that can be told."""
        period = self._period or said.time[:7]
        if period not in self._ring.names:
            self.unnamed[period] += 1

    def appearances(self) -> list[Appearance]:
        """Return what was found, in the order of the candidates."""
        return [
            self._found[candidate, role]
            for candidate in self.candidates
            for role in Role
            if (candidate, role) in self._found
        ]


def _name(ring: KeyRing, candidates: Iterable[Candidate]) -> Iterator[tuple[str, tuple[Candidate, str]]]:
    """Yield every name that a candidate has in some record."""
    for each in candidates:
        if not each.is_subject:
            yield each.text, (each, CLEAR)
        for period, names in ring.names.items():
            name = names.of_subject(each.api, each.id) if each.is_subject else names.of_caller(each.text)
            yield name, (each, period)


def _find_names(said: _Said) -> Iterator[tuple[Role, str]]:
    yield Role.CALLER, said.caller.who
    if said.caller.on_behalf_of is not None:
        yield Role.PERSON, said.caller.on_behalf_of.who
    if ":" in said.subject.id:  # the state of the fact has none
        yield Role.SUBJECT, said.subject.id
    if said.content is not None:
        for each in said.content.subject_ids:
            yield Role.CONTENT, each
