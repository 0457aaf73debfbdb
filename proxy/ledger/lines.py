# SPDX-License-Identifier: Apache-2.0
"""The schema of the ledger: every kind of line, field by field. ``docs/ledger.md`` tells it to people.

Each line begins with the frame of ``entry``; what stands here follows it. A field with its default is left out.
A fact that is no value is written as the name of its state: ``unknown``, ``absent``, ``not applicable``.
"""

import enum
from typing import Annotated, Final, TypeAlias

import msgspec

from proxy.model.api import Action
from proxy.model.decision import Certainty, Effect, Reason
from proxy.model.facts import State

NEVER: Final = (
    "tokens, of any kind and in any part",
    "header fields and cookies, but for the 32 hexadecimal digits of a trace id",
    "request and response bodies",
    "paths, queries and parameter values: the declared route stands for them",
    "names, mail addresses and identifiers of callers, unless `ledger_callers: clear` is set",
    "identifiers of data subjects, in any other form than a keyed hash",
    "claims, but for what the policy maps to an enumerated or declared attribute",
    "keys and secrets",
)
"""What may never stand in a line. It is built from enumerations, declared ids, countries, addresses, counts, instants
and keyed hashes alone; text that a caller chose is not among its sources. ``tests/flow`` holds the gateway to it."""

UNKNOWN: Final = State.UNKNOWN.value


def _one_of(kind: type[enum.StrEnum]) -> msgspec.Meta:
    return msgspec.Meta(extra_json_schema={"enum": ["", *(each.value for each in kind)]})


EffectText: TypeAlias = Annotated[str, _one_of(Effect)]
ReasonText: TypeAlias = Annotated[str, _one_of(Reason)]
CertaintyText: TypeAlias = Annotated[str, _one_of(Certainty)]
ActionText: TypeAlias = Annotated[str, _one_of(Action)]
"""An older reader takes a word that it does not know yet: in the schema they are enumerations, here they are text."""


class Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", omit_defaults=True):
    """What follows the frame."""


# What was decided, and what left.


class RuleRecorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rule that applied."""

    id: str
    effect: EffectText
    certainty: CertaintyText
    unknown: tuple[str, ...] = ()
    """The attributes by whose being unknown it applied."""


class PersonRecorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """For whom somebody acted."""

    who: str = ""
    """Keyed hash; empty where nobody knows who."""
    issuer: str = UNKNOWN
    affiliate: str = UNKNOWN
    kind: str = UNKNOWN


class CallerRecorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who asked."""

    who: str = ""
    """Keyed hash under the key of the period; empty for nobody."""
    issuer: str = UNKNOWN
    affiliate: str = UNKNOWN
    kind: str = UNKNOWN
    countries: tuple[str, ...] | str = UNKNOWN
    """Of the ties that count; the name of the state where they are no value."""
    countries_open: bool = False
    """Whether there may be more that nobody declared."""
    ties: tuple[str, ...] = ()
    """``label:country:path``, the path in affiliate ids; ``part/label:country:path`` of whoever else takes part."""
    on_behalf_of: PersonRecorded | None = None
    """For whom it acted; left out where it acted for itself."""


class OriginRecorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """From where."""

    ip: str = UNKNOWN
    country: str = UNKNOWN
    network: str = State.ABSENT.value
    """The declared network; left out where it is in none."""
    source: str = "none"
    """What said the country: a declared network, a database, registry data, none."""
    registered_country: str = UNKNOWN
    asn: str = UNKNOWN
    anonymous: tuple[str, ...] | str = UNKNOWN
    """What the address is known to hide; the name of the state where that is not known."""
    anonymous_open: bool = False
    """Whether there may be more that nobody could tell."""


class SubjectRecorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose data."""

    country: str = UNKNOWN
    id: str = UNKNOWN
    """``api:keyed hash``, or the state of the fact."""
    source: str = ""
    """Where the country came from: ``literal`` (the route itself), ``path``, ``query``, ``header``, ``body`` or
    ``form`` of the request, ``answer``, or ``lookup:`` and the register."""


class ContentRecorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found in the records of an answer that was inspected."""

    seen: int
    """Records."""
    dropped: int = 0
    masked: int = 0
    subjects: int = 0
    """Distinct data subjects whose data left."""
    subject_ids: tuple[str, ...] = ()
    """Their names as decisions have them, ``api:keyed hash``, up to a bound."""
    left: dict[str, int] = {}
    """Records that left, by their subjects' country; ``several`` for a subject of more than one."""
    kept_back: dict[str, int] = {}
    """Records that were dropped, likewise."""
    rules: dict[str, int] = {}
    """Records that were dropped or masked, by the rule that determined it."""


class ShadowRecorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """What rules in shadow mode would have done."""

    would: EffectText
    changes: bool
    rules: tuple[RuleRecorded, ...] = ()


_NOBODY: Final = CallerRecorded()
_NOWHERE: Final = OriginRecorded()
_NO_ONE: Final = SubjectRecorded()


class DecisionLine(Line, frozen=True, kw_only=True, tag="decision"):
    """What was decided of one request, durable before it is acted on."""

    id: str
    """The request's id, a ULID; a caller is told it as ``decision_id``. Its first ten characters are the instant by
    which it was decided, in milliseconds."""
    effect: EffectText
    reason: ReasonText
    enforced: bool = True
    """False where observe mode let a refusal pass."""
    released: bool
    """Whether an answer of the API leaves, or a request that is no read goes to it."""
    status: int | None = None
    """What the caller is answered, as far as that is known by now."""
    rule: str = ""
    """The determining rule."""
    certainty: CertaintyText = ""
    rules: tuple[RuleRecorded, ...] = ()
    """Those that applied, at most as many as a decision lists; left out where the determining one says it all."""
    unlisted: int = 0
    """How many applied beyond those."""
    unknown: tuple[str, ...] = ()
    """Attributes that rules asked for and that were unknown."""
    transforms: dict[str, str] = {}
    """Data category to what was done to it."""
    lifted: tuple[tuple[str, str], ...] = ()
    """Rules that a grant lifted, each with the grant."""
    shadow: ShadowRecorded | None = None
    purpose: str = ""
    """Only where the caller claimed one that it may."""
    method: str
    api: str = ""
    route: str = ""
    action: ActionText = ""
    data: tuple[str, ...] = ()
    """Categories of data that the route declares."""
    shape: str = ""
    """Of an undeclared target: its path with everything but declared words replaced by ``*``."""
    caller: CallerRecorded = _NOBODY
    origin: OriginRecorded = _NOWHERE
    subject: SubjectRecorded = _NO_ONE
    counts: dict[str, int] = {}
    """How much the caller had read, this request included, where some rule asks for that."""
    content: ContentRecorded | None = None
    bundle: str
    """The first 32 hexadecimal digits of the digest of the bundle that decided."""
    geolocation: str = ""
    """The version of the geolocation data."""
    trace: str = ""
    """The trace id of the request's ``traceparent`` (W3C Trace Context)."""
    upstream: int | None = None
    """The API's own status, where the caller is answered another."""
    complete: bool | None = None
    """Where the whole answer was in hand: that it is given to the caller's connection. No ``end`` line follows then,
    but where it broke off after all."""
    bytes: int = 0
    """Of that answer's body."""
    seconds: float = 0.0
    """From the request's head to this line."""


class ReleasedLine(Line, frozen=True, kw_only=True, tag="released"):
    """A part of an answer is about to leave."""

    id: str
    bytes: int
    """Of the body up to and with this part."""
    content: ContentRecorded | None = None


class EndLine(Line, frozen=True, kw_only=True, tag="end"):
    """How the answer to a request ended."""

    id: str
    status: int | None = None
    complete: bool
    reason: ReasonText = ""
    """Why it is not complete."""
    upstream: int | None = None
    bytes: int = 0
    """Of the answer's body that left, or that came through a tunnel from the API."""
    content: ContentRecorded | None = None
    """What was found in all of an answer that left in parts; whose data it was, its parts say."""
    bytes_in: int = 0
    """That came through a tunnel from the caller."""
    seconds: float = 0.0
    """From the request's head."""


class RefusalsLine(Line, frozen=True, kw_only=True, tag="refusals"):
    """Refusals of unknown callers beyond the number that is recorded one by one."""

    ip: str
    """The address, or the /64 of IPv6; ``other`` where there were too many."""
    count: int
    reasons: dict[str, int]
    since: str
    until: str


# What was in force.


class StartLine(Line, frozen=True, kw_only=True, tag="start"):
    """A gateway begins to take requests."""

    version: str
    replica: str = ""
    """Which one of those that share a key this gateway is; empty where it is the only one."""
    durability: str
    """``written``: lines are in the kernel before anything leaves. ``synced``: on disk."""
    geolocation: str
    upstreams: dict[str, str]
    """API id, or ``API/COUNTRY`` where it has a place for subjects of a country, to where this deployment finds it."""
    key_places: dict[str, str]
    """Issuer id to where this deployment finds its keys, without user, password and query."""


class StopLine(Line, frozen=True, kw_only=True, tag="stop"):
    """A gateway ends in order."""


class BundleLine(Line, frozen=True, kw_only=True, tag="bundle"):
    """A bundle is put in force."""

    bundle: str
    """Its digest, whole; ``bundles/<digest>`` beside the segments keeps it."""
    name: str
    policy: str
    registers: str
    mode: str
    observe_until: str = ""
    revision: str = ""
    """The commit of the git work tree that it was loaded from."""


class DatabaseRecorded(msgspec.Struct, frozen=True):
    """A geolocation database."""

    use: str
    type: str
    built: str
    digest: str


class GeolocationLine(Line, frozen=True, kw_only=True, tag="geolocation"):
    """Geolocation data are put in force: what decision lines from here on call by its version."""

    version: str
    databases: tuple[DatabaseRecorded, ...]


class KeysLine(Line, frozen=True, kw_only=True, tag="keys"):
    """Under which period's key people are named from here on."""

    pseudonyms: str


# The ledger of itself.


class SegmentLine(Line, frozen=True, kw_only=True, tag="segment"):
    """The first line of every segment."""

    format: int
    """1: what is described here."""
    origin: str
    """The name of the ledger, and of its checkpoints."""
    segment: int
    """Its number, from 0."""
    peaks: tuple[str, ...]
    """Base64 of the roots of the perfect subtrees over all lines before, largest first."""


class CheckpointLine(Line, frozen=True, kw_only=True, tag="checkpoint"):
    """A signature over all lines before this one."""

    note: str
    """A C2SP signed note of a checkpoint, whose size is this line's number."""


class RecoveredLine(Line, frozen=True, kw_only=True, tag="recovered"):
    """An unfinished last line, which nobody was answered on, was cut off after a crash."""

    cut_bytes: int


class ClockLine(Line, frozen=True, kw_only=True, tag="clock"):
    """The clock was set back: this line's time is less than that of the line before."""

    was: str


class RetentionLine(Line, frozen=True, kw_only=True, tag="retention"):
    """Older lines are removed, as the operator set."""

    first: int
    """The number of the first line that is kept."""


LINES: Final = (
    SegmentLine, CheckpointLine, RecoveredLine, ClockLine, RetentionLine, StartLine, StopLine, BundleLine,
    GeolocationLine, KeysLine, DecisionLine, ReleasedLine, EndLine, RefusalsLine,
)  # fmt: skip
"""Every kind of line."""
