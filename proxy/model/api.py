# SPDX-License-Identifier: Apache-2.0
"""What is protected: APIs, their upstreams and routes, as they stand once a bundle is loaded."""

import enum
from typing import Final

import msgspec

from proxy.model.facts import FactSet


class Action(enum.StrEnum):
    """What a route does with personal data."""

    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    EXPORT = "export"


class Transform(enum.StrEnum):
    """What happens to a field before it leaves."""

    REMOVE = "remove"
    """The member goes, name and value."""
    NULL = "null"
    REDACT = "redact"
    """A fixed text stands in its place."""
    MASK = "mask"
    """All but the last characters go."""
    INITIALS = "initials"
    TRUNCATE = "truncate"
    PSEUDONYMISE = "pseudonymise"
    """A keyed, stable name stands in its place."""


_STRICTEST: Final = (Transform.REMOVE, Transform.NULL, Transform.REDACT)


def combine_transforms(first: Transform, second: Transform) -> Transform:
    """Return what two transforms of one field come to: the stricter; of two milder ones that differ, redaction."""
    if first is second:
        return first
    return next((each for each in _STRICTEST if each in {first, second}), Transform.REDACT)


class AssertionMode(enum.StrEnum):
    """How the API is told, signed, what was decided on a request."""

    OFF = "off"
    CALLER = "caller"
    """One assertion for a caller and a route, used again for a few seconds."""
    REQUEST = "request"
    """One for each request, bound to its method, its target and its id."""


class Upstream(msgspec.Struct, frozen=True):
    """Where an API is served."""

    url: str
    """``http://host:port`` or ``https://host:port``, without a path, or ``unix:/path/of/socket``."""
    hosted_in: str | None


class Api(msgspec.Struct, frozen=True):
    """One protected API."""

    id: str
    hosts: tuple[str, ...]
    upstream: Upstream
    forwards_authorization: bool
    """Whether the caller's ``Authorization`` header goes on to the API."""
    assertion: AssertionMode | None = None
    """How the API is told, signed, what was decided; None: by ``caller`` where the deployment has a key for it."""


class Template(msgspec.Struct, frozen=True):
    """A value of the request target: a literal text, or one whole path parameter."""

    text: str
    is_parameter: bool


class SubjectSource(msgspec.Struct, frozen=True):
    """Where a route says whose data it is."""

    country: Template | None
    id: Template | None


class Route(msgspec.Struct, frozen=True):
    """One declared route of an API."""

    api: Api
    id: str
    methods: tuple[str, ...]
    segments: tuple[Template, ...]
    action: Action
    subject: SubjectSource | None
    """None where the route carries no personal data."""
    data: FactSet
    """The data categories of its declared fields."""
    unauthenticated: bool
    max_duration_seconds: int
    max_body_bytes: int | None = None
    """The largest request body; None: as large as the gateway takes any."""
    upgrades: tuple[str, ...] = ()
    """Protocols to which a connection may be upgraded (``websocket``), in lower case."""
