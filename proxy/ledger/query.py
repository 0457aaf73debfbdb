# SPDX-License-Identifier: Apache-2.0
"""Which decisions somebody asks for, and what one comes to when the line of its end is put beside it.

Lines are plain JSON here: one of a newer version is read as far as it is understood. ``FIELDS`` alone says where a
thing stands in a line, and what its being left out means.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from proxy.clock import parse_instant, render_instant
from proxy.model.facts import State

Row: TypeAlias = dict[str, Any]
"""A decision line; after ``Search``, with what its end says, which stands whole under ``end``."""

_UNKNOWN: Final = State.UNKNOWN.value


class Field(msgspec.Struct, frozen=True):
    """Where a value stands in a decision, and what its absence means."""

    path: tuple[str, ...]
    default: Any = ""
    """Where it is left out."""
    within: Any = None
    """Where it alone is left out, of something that is there; None for no difference."""
    is_counted: bool = True
    """Whether ``--count-by`` takes it: not what is different in every line."""


FIELDS: Final[Mapping[str, Field]] = {
    "n": Field(("n",), is_counted=False),
    "time": Field(("time",), is_counted=False),
    "id": Field(("id",), is_counted=False),
    "effect": Field(("effect",)),
    "reason": Field(("reason",)),
    "enforced": Field(("enforced",), default=True),
    "released": Field(("released",)),
    "status": Field(("status",)),
    "rule": Field(("rule",)),
    "certainty": Field(("certainty",)),
    "rules": Field(("rules",)),
    "unlisted": Field(("unlisted",), default=0, is_counted=False),
    "unknown": Field(("unknown",)),
    "transforms": Field(("transforms",)),
    "lifted": Field(("lifted",)),
    "shadow_would": Field(("shadow", "would")),
    "shadow_changes": Field(("shadow", "changes")),
    "shadow_rules": Field(("shadow", "rules")),
    "purpose": Field(("purpose",)),
    "method": Field(("method",)),
    "api": Field(("api",)),
    "route": Field(("route",)),
    "action": Field(("action",)),
    "data": Field(("data",)),
    "shape": Field(("shape",)),
    "who": Field(("caller", "who")),
    "issuer": Field(("caller", "issuer"), default=_UNKNOWN),
    "affiliate": Field(("caller", "affiliate"), default=_UNKNOWN),
    "kind": Field(("caller", "kind"), default=_UNKNOWN),
    "countries": Field(("caller", "countries"), default=_UNKNOWN),
    "countries_open": Field(("caller", "countries_open"), default=False),
    "ties": Field(("caller", "ties")),
    "on_behalf_of": Field(("caller", "on_behalf_of", "who")),
    "on_behalf_of_issuer": Field(("caller", "on_behalf_of", "issuer"), within=_UNKNOWN),
    "on_behalf_of_affiliate": Field(("caller", "on_behalf_of", "affiliate"), within=_UNKNOWN),
    "on_behalf_of_kind": Field(("caller", "on_behalf_of", "kind"), within=_UNKNOWN),
    "ip": Field(("origin", "ip"), default=_UNKNOWN),
    "origin_country": Field(("origin", "country"), default=_UNKNOWN),
    "network": Field(("origin", "network"), default=State.ABSENT.value),
    "origin_source": Field(("origin", "source"), default="none"),
    "registered_country": Field(("origin", "registered_country"), default=_UNKNOWN),
    "asn": Field(("origin", "asn"), default=_UNKNOWN),
    "anonymous": Field(("origin", "anonymous"), default=_UNKNOWN),
    "anonymous_open": Field(("origin", "anonymous_open"), default=False),
    "subject_country": Field(("subject", "country"), default=_UNKNOWN),
    "subject": Field(("subject", "id"), default=_UNKNOWN),
    "records_seen": Field(("content", "seen"), is_counted=False),
    "records_dropped": Field(("content", "dropped"), within=0, is_counted=False),
    "records_masked": Field(("content", "masked"), within=0, is_counted=False),
    "subjects": Field(("content", "subjects"), within=0, is_counted=False),
    "bundle": Field(("bundle",)),
    "geolocation": Field(("geolocation",)),
    "trace": Field(("trace",), is_counted=False),
    "upstream": Field(("upstream",)),
    "complete": Field(("complete",)),
    "bytes": Field(("bytes",), is_counted=False),
    "seconds": Field(("seconds",), is_counted=False),
    "end_reason": Field(("end", "reason")),
    "end_time": Field(("end", "time"), is_counted=False),
    "end_n": Field(("end", "n"), is_counted=False),
    "counts_subjects_1h": Field(("counts", "subjects_1h"), is_counted=False),
    "counts_subjects_24h": Field(("counts", "subjects_24h"), is_counted=False),
    "counts_country_subjects_1h": Field(("counts", "country_subjects_1h"), is_counted=False),
    "counts_country_subjects_24h": Field(("counts", "country_subjects_24h"), is_counted=False),
    "counts_requests_1m": Field(("counts", "requests_1m"), is_counted=False),
    "bytes_in": Field(("end", "bytes_in"), within=0, is_counted=False),
}
"""Name to field, in the order of the columns of CSV. New ones are added at the end, none is renamed."""

_CRITERIA: Final[Mapping[str, tuple[str, ...]]] = {
    "who": ("who", "on_behalf_of"),
    "affiliate": ("affiliate", "on_behalf_of_affiliate"),
    "country": ("countries",),
    "subject": ("subject",),
    "subject_country": ("subject_country",),
    "origin_country": ("origin_country",),
    "rule": ("rule", "rules"),
    "reason": ("reason",),
    "api": ("api",),
    "route": ("route",),
    "action": ("action",),
}
"""What can be asked for, and the fields of which one has to say it."""
_BY_BEGINNING: Final = frozenset({"who", "subject"})
_WITHOUT_NEEDLE: Final = frozenset({"", *(state.value for state in State)})
"""What a line may say by leaving a field out."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9._:/|@-]+")
"""Texts that JSON has one way to write."""

DEFAULT_RULE: Final = "default"
"""What stands in the place of a rule where none allows."""
OBSERVED: Final = "observed"
"""An effect to ask for beside those of decisions: a refusal that was only observed."""


def find_value(row: Mapping[str, Any], name: str) -> Any:
    """Return what a decision says under the name of a field, its default where that is left out."""
    field = FIELDS[name]
    *above, last = field.path
    value: Any = row
    for key in above:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, dict):
        return field.default
    value = value.get(last)
    if value is None:
        return field.default if field.within is None else field.within
    return value


def find_words(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return what a decision says under the name of a field as words: the members of a list, of each rule its id.

    A list of rules that is left out holds the determining one alone.
    """
    value = find_value(row, name)
    if value == "" and name == "rules":
        rule = find_words(row, "rule")
        return () if rule == (DEFAULT_RULE,) else rule
    return (value,) if isinstance(value, str) else render_words(value)


def render_words(value: Any) -> tuple[str, ...]:
    """Return a value as words, whatever it is: a line of a newer version may hold anything."""
    if isinstance(value, list):
        return tuple(map(_render_member, value))
    if isinstance(value, dict):
        return tuple(f"{key}={_render_member(member)}" for key, member in value.items())
    return (_render_scalar(value),)


def _render_member(member: Any) -> str:
    if isinstance(member, dict) and isinstance(member.get("id"), str):
        return str(member["id"])
    if isinstance(member, list) and len(member) == 2 and all(isinstance(each, str) for each in member):
        return "=".join(member)
    return msgspec.json.encode(member).decode() if isinstance(member, list | dict) else _render_scalar(member)


def _render_scalar(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


class Filter(msgspec.Struct, frozen=True):
    """Which decisions are asked for: all of these, each by any of its values."""

    wanted: Mapping[str, frozenset[str]] = {}
    """Criterion to values; of ``who`` and ``subject`` also their beginnings."""
    effects: frozenset[str] = frozenset()
    since: str = ""
    """RFC 3339 in UTC with milliseconds, as lines say their time; empty for no bound."""
    until: str = ""
    """Likewise; the instant itself is outside."""

    def find_needles(self) -> tuple[tuple[bytes, ...], ...]:
        """Return bytes that a line has to hold, one of each group, to be worth decoding."""
        groups = []
        for name, values in self.wanted.items():
            if all(_PLAIN.fullmatch(value) and value not in _WITHOUT_NEEDLE for value in values):
                quote = "" if name in _BY_BEGINNING else '"'
                groups.append(tuple(f"{quote}{value}{quote}".encode() for value in sorted(values)))
        return tuple(groups)

    def matches(self, row: Row) -> bool:
        """Say whether a decision is asked for; its time is asked about elsewhere."""
        if self.effects and not self.effects & _effects(row):
            return False
        return all(
            any(_says(row, field, values, by_beginning=name in _BY_BEGINNING) for field in _CRITERIA[name])
            for name, values in self.wanted.items()
        )

    def is_within(self, time: str) -> bool:
        """Say whether a line's time is asked for."""
        return self.since <= time and not (self.until and time >= self.until)

    def may_be_unknown_callers(self) -> bool:
        """Say whether refusals of unknown callers, which floods leave as a count, could be among what is asked for."""
        return not self.wanted.keys() - {"origin_country", "reason"} and (not self.effects or "deny" in self.effects)


def _effects(row: Row) -> set[str]:
    effect = str(find_value(row, "effect"))
    return {effect, OBSERVED} if find_value(row, "enforced") is False else {effect}


def _says(row: Row, field: str, values: frozenset[str], *, by_beginning: bool) -> bool:
    words = find_words(row, field)
    if not by_beginning:
        return any(word in values for word in words)
    beginnings = tuple(value for value in values if "|" not in value)  # somebody in clear begins nobody else
    return any(
        word in values or word.startswith(beginnings) or word.partition(":")[2].startswith(beginnings) for word in words
    )


_JOINED: Final = ("bytes", "seconds", "status", "upstream", "complete")
_SETTLED_SECONDS: Final = 600.0
"""An answer that was in hand whole, and broke off all the same, did so within this time."""
MAX_HELD: Final = 10_000
MAX_WAITING: Final = 100_000


def join_end(row: Row, end: Row) -> None:
    """Put beside a decision what the line of its end says."""
    row |= {"bytes": 0, "seconds": 0.0} | {key: end[key] for key in _JOINED if end.get(key) is not None}
    row["end"] = end


_DECISION: Final = b'","line":"decision",'
_HEAD_BYTES: Final = 160
"""Within which our frame says the kind of a line."""


class _Held:
    __slots__ = ("is_combined", "is_ready", "row")

    def __init__(self, row: Row, *, is_ready: bool, is_combined: bool) -> None:
        self.row = row
        self.is_ready = is_ready
        self.is_combined = is_combined
        """Whether it says itself how the answer ended, so that an end follows only where that changed."""


class Search:
    """Finds decisions among lines, and joins each with the line of its end.

    Rows come in the order of their decisions, but that one whose end is long in coming lets others pass. Held are at
    most ``MAX_HELD`` that are ready and ``MAX_WAITING`` that are not; beyond that the oldest goes without its end.

    Args:
        asked: which.
        decode: returns what a line says, None for one that cannot be read, which it tells.
    """

    def __init__(self, asked: Filter, decode: Callable[[Any], Row | None]) -> None:
        self._asked = asked
        self._decode = decode
        self._needles = asked.find_needles()
        self._held: dict[str, _Held] = {}
        self._settling: deque[tuple[str, str]] = deque()
        """When a row that waits for a late end is ready without one, and its id."""
        self._limit = MAX_HELD
        self.found = 0
        """How many decisions are asked for, so far."""
        self.uncounted = 0
        """Refusals within the time that floods left as a count alone: no decision tells of them."""

    def is_dismissed(self, data: bytes) -> bool:
        """Say whether a line is a decision that its bytes alone show not to be asked for: ``take`` needs not see it."""
        return (
            bool(self._needles)
            and not self._settling
            and data.find(_DECISION, 0, _HEAD_BYTES) > 0
            and data[-1:] == b"}"
            and not all(any(map(data.__contains__, group)) for group in self._needles)
        )

    def take(self, kind: bytes, time: str, data: bytes, source: Any) -> Iterator[Row]:
        """Look at the next line and return rows that are ready.

        Args:
            kind: of the line.
            time: of the line.
            data: the line.
            source: what ``decode`` takes for it.
        """
        if self._settling and self._settling[0][0] <= time:
            yield from self._settle(time)
        if kind == b"decision":
            if self._asked.is_within(time) and all(any(map(data.__contains__, group)) for group in self._needles):
                yield from self._add(self._decode(source), time)
        elif kind == b"end":
            if self._held:
                yield from self._end(self._decode(source))
        elif kind == b"start":  # one gateway writes a ledger: what the one before it left open stays so
            yield from self.finish()
        elif kind == b"refusals" and self._asked.may_be_unknown_callers() and self._asked.is_within(time):
            count = (self._decode(source) or {}).get("count")
            self.uncounted += count if isinstance(count, int) else 0

    def _add(self, row: Row | None, time: str) -> Iterator[Row]:
        if row is None or not self._asked.matches(row):
            return
        self.found += 1
        key = str(row.get("id", ""))
        if key in self._held:
            yield self._held.pop(key).row
        is_combined = isinstance(row.get("complete"), bool)
        self._held[key] = _Held(row, is_ready=row.get("released") is not True, is_combined=is_combined)
        if is_combined:
            self._settling.append((_later(time), key))
        yield from self._release()

    def _end(self, end: Row | None) -> Iterator[Row]:
        if end is None:
            return
        held = self._held.get(str(end.get("id", "")))
        if held is not None:
            join_end(held.row, end)
            held.is_ready = not self._may_break_off(held, end)
            yield from self._release()

    def _may_break_off(self, held: _Held, end: Row) -> bool:
        """Say whether another end may follow: of what is no read, one is written before its whole answer leaves."""
        if held.is_combined or end.get("complete") is not True or find_value(held.row, "action") == "read":
            return False
        held.is_combined = True
        self._settling.append((_later(str(end.get("time", ""))), str(end.get("id", ""))))
        return True

    def _settle(self, time: str) -> Iterator[Row]:
        """Let go of rows whose answer was whole when they were written, and for which no other end came."""
        while self._settling and self._settling[0][0] <= time:
            held = self._held.get(self._settling.popleft()[1])
            if held is not None:
                held.is_ready = True
        yield from self._release()

    def _release(self) -> Iterator[Row]:
        while self._held:
            key, first = next(iter(self._held.items()))
            if not first.is_ready and len(self._held) <= MAX_WAITING:
                break
            del self._held[key]
            yield first.row
        if len(self._held) > self._limit:
            for key in [key for key, held in self._held.items() if held.is_ready or held.is_combined]:
                yield self._held.pop(key).row
            self._limit = max(MAX_HELD, 2 * len(self._held))

    def finish(self) -> Iterator[Row]:
        """Return what is still held: nothing more comes."""
        held, self._held = self._held, {}
        self._settling.clear()
        for each in held.values():
            yield each.row


def _later(time: str) -> str:
    try:
        return render_instant(parse_instant(time) + _SETTLED_SECONDS)
    except (ValueError, OverflowError):
        return ""


def count_by(rows: Iterable[Row], name: str) -> list[tuple[str, int]]:
    """Count decisions by the values of a field, the most frequent first; each member of a list counts by itself."""
    counts: dict[str, int] = {}
    for row in rows:
        for word in dict.fromkeys(find_words(row, name) or ("",)):
            counts[word] = counts.get(word, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
