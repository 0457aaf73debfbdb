# SPDX-License-Identifier: Apache-2.0
"""What a decision says under which name, and which decisions somebody asks for.

Lines are plain JSON here: one of a newer version is read as far as it is understood. ``FIELDS`` alone says where a
thing stands in a line, and what its being left out means.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from proxy.model.facts import State

Row: TypeAlias = dict[str, Any]
"""A decision line; after ``Search``, with what its parts and its end say, which stands under ``end``."""

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
    "subject_source": Field(("subject", "source")),
    "records_left": Field(("content", "left"), is_counted=False),
    "records_kept_back": Field(("content", "kept_back"), is_counted=False),
    "records_rules": Field(("content", "rules"), is_counted=False),
    "records_subjects": Field(("content", "subject_ids"), is_counted=False),
}
"""Name to field, in the order of the columns of CSV. New ones are added at the end, none is renamed."""

_CRITERIA: Final[Mapping[str, tuple[str, ...]]] = {
    "who": ("who", "on_behalf_of"),
    "affiliate": ("affiliate", "on_behalf_of_affiliate"),
    "country": ("countries",),
    "subject": ("subject", "records_subjects"),
    "subject_country": ("subject_country", "records_left", "records_kept_back"),
    "origin_country": ("origin_country",),
    "rule": ("rule", "rules", "records_rules"),
    "reason": ("reason", "end_reason"),
    "api": ("api",),
    "route": ("route",),
    "action": ("action",),
    "trace": ("trace",),
}
"""What can be asked for, and the fields of which one has to say it."""
_IN_PARTS: Final = frozenset({"subject", "subject_country", "rule", "reason"})
"""What may be said of an answer that leaves in parts: in lines behind the decision, of its records and of its end."""
_BY_BEGINNING: Final = frozenset({"who", "subject"})
_WITHOUT_NEEDLE: Final = frozenset({"", *(state.value for state in State)})
"""What a line may say by leaving a field out."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9._:/|@-]+")
"""Texts that JSON has one way to write."""
_RELEASED: Final = b'"released":true'
_COMPLETE: Final = b'"complete":'

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

    def find_needles(self) -> "Needles":
        """Return bytes that a line has to hold, one of each group, to be worth decoding."""
        groups: list[tuple[bytes, ...]] = []
        late: list[tuple[bytes, ...]] = []
        for name, values in self.wanted.items():
            if all(_PLAIN.fullmatch(value) and value not in _WITHOUT_NEEDLE for value in values):
                quote = "" if name in _BY_BEGINNING else '"'
                group = tuple(f"{quote}{value}{quote}".encode() for value in sorted(values))
                (late if name in _IN_PARTS else groups).append(group)
        return Needles(tuple(groups), tuple(late))

    def matches(self, row: Row) -> bool:
        """Say whether a decision is asked for; its time is asked about elsewhere."""
        return self._matches(row, frozenset())

    def may_match(self, row: Row) -> bool:
        """Say whether a decision may be asked for once more is known of its answer, which leaves in parts."""
        is_open = find_value(row, "released") is True and not isinstance(row.get("complete"), bool)
        return self._matches(row, _IN_PARTS if is_open else frozenset())

    def _matches(self, row: Row, besides: frozenset[str]) -> bool:
        if self.effects and not self.effects & _effects(row):
            return False
        return all(
            any(_says(row, field, values, by_beginning=name in _BY_BEGINNING) for field in _CRITERIA[name])
            for name, values in self.wanted.items()
            if name not in besides
        )

    def is_within(self, time: str) -> bool:
        """Say whether a line's time is asked for."""
        return self.since <= time and not (self.until and time >= self.until)

    def may_be_unknown_callers(self) -> bool:
        """Say whether refusals of unknown callers, which floods leave as a count, could be among what is asked for."""
        return not self.wanted.keys() - {"origin_country", "reason"} and (not self.effects or "deny" in self.effects)


class Needles(msgspec.Struct, frozen=True):
    """Bytes of which the line of a decision that is asked for holds one of each group."""

    groups: tuple[tuple[bytes, ...], ...]
    late: tuple[tuple[bytes, ...], ...] = ()
    """What lines behind the decision may say instead, where the answer leaves in parts."""

    def __bool__(self) -> bool:
        return bool(self.groups or self.late)

    def are_in(self, data: bytes) -> bool:
        """Say whether a decision line may be asked for."""
        if not all(any(map(data.__contains__, group)) for group in self.groups):
            return False
        return all(any(map(data.__contains__, group)) for group in self.late) or (
            _RELEASED in data and _COMPLETE not in data
        )


def _effects(row: Row) -> set[str]:
    effect = str(find_value(row, "effect"))
    return {effect, OBSERVED} if find_value(row, "enforced") is False else {effect}


def _find_names(row: Row, field: str) -> tuple[str, ...]:
    """Return what a field names: of numbers by name the names."""
    value = find_value(row, field)
    return tuple(map(str, value)) if isinstance(value, dict) else find_words(row, field)


def _says(row: Row, field: str, values: frozenset[str], *, by_beginning: bool) -> bool:
    words = _find_names(row, field)
    if not by_beginning:
        return any(word in values for word in words)
    beginnings = tuple(value for value in values if "|" not in value)  # somebody in clear begins nobody else
    return any(
        word in values or word.startswith(beginnings) or word.partition(":")[2].startswith(beginnings) for word in words
    )


def count_by(rows: Iterable[Row], name: str) -> list[tuple[str, int]]:
    """Count decisions by the values of a field, the most frequent first; each member of a list counts by itself."""
    counts: dict[str, int] = {}
    for row in rows:
        for word in dict.fromkeys(find_words(row, name) or ("",)):
            counts[word] = counts.get(word, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
