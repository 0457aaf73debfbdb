# SPDX-License-Identifier: Apache-2.0
"""What is protected: APIs, their upstreams and routes, as they stand once a bundle is loaded."""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from proxy.model.country import CountryForm
from proxy.model.facts import FactSet
from proxy.model.inspection import Inspection


class Action(enum.StrEnum):
    """What a route does with personal data."""

    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    EXPORT = "export"


READING: Final = frozenset({Action.READ, Action.EXPORT})
"""What changes nothing, so that an answer of it comes in time to decide by."""


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


LOCALHOST: Final = "localhost"
"""What an API behind a Unix socket is told that it is called."""


class Upstream(msgspec.Struct, frozen=True):
    """Where an API is served."""

    url: str
    """``http://host:port`` or ``https://host:port``, without a path, or ``unix:/path/of/socket``."""
    hosted_in: str | None

    @property
    def authority(self) -> str:
        """What it is called where its API declares no host."""
        return self.url.partition("://")[2] or LOCALHOST


class Api(msgspec.Struct, frozen=True):
    """One protected API."""

    id: str
    hosts: tuple[str, ...]
    upstream: Upstream
    """Where it is served, unless ``upstreams`` says otherwise."""
    forwards_authorization: bool
    """Whether the caller's ``Authorization`` header goes on to the API."""
    assertion: AssertionMode | None = None
    """How the API is told, signed, what was decided; None: by ``caller`` where the deployment has a key for it."""
    upstreams: Mapping[str, Upstream] = {}
    """Where it is served for subjects of a country, by country."""

    @property
    def places(self) -> tuple[Upstream, ...]:
        """Everywhere it is served."""
        return (self.upstream, *self.upstreams.values())

    @property
    def named_places(self) -> tuple[tuple[str, Upstream], ...]:
        """Everywhere it is served, each place under the name that a deployment has for it: ``users``, ``users/JP``."""
        return (
            (self.id, self.upstream),
            *((f"{self.id}/{country}", place) for country, place in self.upstreams.items()),
        )

    def find_upstream(self, country: object) -> Upstream:
        """Return where it is served for subjects of a country, or of none that is known."""
        upstreams = self.upstreams
        return upstreams.get(country, self.upstream) if upstreams and isinstance(country, str) else self.upstream


class Template(msgspec.Struct, frozen=True):
    """A value of the request target: a literal text, or one whole path parameter."""

    text: str
    is_parameter: bool


class Where(enum.StrEnum):
    """Where in a request a value stands."""

    LITERAL = "literal"
    """Nowhere: the route itself says it."""
    PATH = "path"
    QUERY = "query"
    HEADER = "header"
    JSON = "body"
    """In a body of JSON (RFC 8259)."""
    FORM = "form"
    """In a body of ``application/x-www-form-urlencoded``."""


class Selector(msgspec.Struct, frozen=True):
    """Where one value of a request stands, or several."""

    where: Where
    name: str
    """The value of a literal, the name of a parameter or a form's field, a header's in lower case, a JSONPath
    (RFC 9535) of a body."""
    separator: str = ""
    """Between several values in one text (``1,2,3``); empty where the text is one value."""


class SubjectSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where a route says whose data it carries, before the API has answered and after."""

    country: Selector | None = None
    """In the request; a claim, unless ``is_authoritative``."""
    id: Selector | None = None
    """In the request."""
    form: CountryForm = CountryForm.ANY_CASE
    """How the country of the request is written."""
    is_authoritative: bool = False
    """Whether an owner vouches that the API answers for no other country."""
    lookup: str = ""
    """The register that tells the country of an id; empty for none."""
    header: str = ""
    """The field of the answer's head that tells the country, in lower case; it does not reach the caller."""
    header_form: CountryForm = CountryForm.ALPHA2
    is_in_answer: bool = False
    """Whether the records of the answer say whose they are: ``Route.inspection`` says where."""

    @property
    def is_confirmed(self) -> bool:
        """Whether the request claims a country that the answer has to confirm."""
        return self.country is not None and (self.is_in_answer or bool(self.header))


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
    """The data categories of what it carries, as far as they are declared."""
    unauthenticated: bool
    max_duration_seconds: int
    max_body_bytes: int | None = None
    """The largest request body; None: as large as the gateway takes any."""
    upgrades: tuple[str, ...] = ()
    """Protocols to which a connection may be upgraded (``websocket``), in lower case."""
    inspection: Inspection | None = None
    """What its answers may hold; None where nothing of them is declared, so that none can be looked into."""
    searchable_by: frozenset[str] | None = None
    """Query parameters that may stand where a record could be dropped: hidden ones must not be found by probing. None
    where that is not declared, because none can be dropped."""

    @property
    def is_told_ids(self) -> bool:
        """Whether it is the records of the answer that say who the subjects are, and no request does."""
        inspection, subject = self.inspection, self.subject
        if inspection is None or subject is None or subject.id is not None:
            return False
        return inspection.id is not None or inspection.is_id_key
