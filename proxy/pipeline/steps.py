# SPDX-License-Identifier: Apache-2.0
"""What a passage says to whoever drives it. Each carries the lines that must be in the ledger before it is acted on."""

from typing import Final, TypeAlias

import msgspec

from proxy.caller.resolve import CallerNeed
from proxy.ledger.entry import Rendered
from proxy.ledger.lines import Line
from proxy.model.api import Api, Upstream
from proxy.model.counts import CountsNeeded
from proxy.model.decision import Reason
from proxy.model.filtering import RecordCount
from proxy.model.outcome import Outcome
from proxy.model.subject import BodyNeeded, LookupNeeded


class Refuse(msgspec.Struct, frozen=True):
    """The caller is answered by us, with a problem document."""

    outcome: Outcome
    lines: tuple[Line | Rendered, ...]
    allowed_methods: tuple[str, ...] = ()
    error: Exception | None = None
    """What went wrong, for the operator's log alone."""


class Need(msgspec.Struct, frozen=True):
    """Something must be had before it can be decided.

    An issuer's keys, its word on a token, the request's body, a directory's word on whose data it is, or counts.
    """

    what: CallerNeed | BodyNeeded | LookupNeeded | CountsNeeded


class Forward(msgspec.Struct, frozen=True, gc=False):
    """The request goes to the API, with these fields and its body."""

    api: Api
    upstream: Upstream
    """Where the API is served for this subject."""
    target: str
    fields: bytes
    """Field lines, each ended by CRLF, without framing."""
    expects_continue: bool
    is_read: bool
    """Whether sending it twice does no harm."""
    seconds: float
    """How long it may take: as long as its route says, and no longer than its token and its grant hold."""
    lines: tuple[Line | Rendered, ...]
    max_body_bytes: int | None = None
    """The largest body that the route takes; None: as large as the gateway takes any."""
    upgrades: tuple[str, ...] = ()
    """Protocols to which the route lets a connection be upgraded, in lower case."""


class Release(msgspec.Struct, frozen=True, gc=False):
    """The API's answer goes to the caller, with these fields and its body."""

    status: int
    fields: bytes
    """Field lines, each ended by CRLF, without framing."""
    outcome: Outcome
    lines: tuple[Line | Rendered, ...]


class Inspect(msgspec.Struct, frozen=True, gc=False):
    """The API's answer is looked into: its body goes to ``Passage.inspect``, and nothing of it leaves yet."""


INSPECT: Final = Inspect()


class Part(msgspec.Struct, frozen=True, gc=False):
    """A part of an answer that is looked into may leave; what else has come is held back by the passage."""

    data: bytes
    """Of the body; may be empty."""
    lines: tuple[Line | Rendered, ...]
    release: Release | None = None
    """The head, with the first part."""
    is_last: bool = False
    """Whether the body is whole with this."""
    counts: tuple[RecordCount, ...] = ()
    """What became of the records in it, for the metrics."""
    error: Exception | None = None
    """What went wrong where refusals are only observed, for the operator's log alone."""


class Cut(msgspec.Struct, frozen=True, gc=False):
    """An answer of which something has left may not go on: the caller's connection is broken off."""

    reason: Reason
    error: Exception | None = None
    """What went wrong, for the operator's log alone."""


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The answer is through, or broke off."""

    lines: tuple[Line | Rendered, ...]


Step: TypeAlias = Refuse | Need | Forward
Looked: TypeAlias = Part | Need | Refuse | Cut | None
"""What comes of a look into a part of an answer; None where nothing may leave yet."""
