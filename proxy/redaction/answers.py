# SPDX-License-Identifier: Apache-2.0
"""The head of an answer that is looked into: whether it is what its route declares, and what of it leaves.

- What an answer is stands in its status and in its declared type. What says otherwise is refused, never guessed.
- Of a status that tells of an error, the status leaves and the body never: nobody declared what it holds.
- No field leaves that is not listed here or declared. None ever does that tells of the bytes the API sent (validators,
  digests, ranges, lengths): other bytes leave, and what was dropped could be told from it.
"""

import re
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import msgspec

from proxy.model.decision import Reason
from proxy.model.inspection import Inspection, Media
from proxy.model.request import Headers, ResponseHead
from proxy.redaction.accepting import ACCEPT_ENCODING, choose_coding
from proxy.redaction.codings import IDENTITY, Decoder, Encoder, find_coding, make_decoder, make_encoder
from proxy.redaction.options import RedactionOptions

ANSWER_FIELDS: Final = frozenset(
    {
        "access-control-allow-credentials",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "access-control-max-age",
        "allow",
        "connection",  # what it names is dropped with it, where the fields are rendered
        "content-language",
        "content-security-policy",
        "cross-origin-embedder-policy",
        "cross-origin-opener-policy",
        "cross-origin-resource-policy",
        "date",
        "deprecation",
        "permissions-policy",
        "referrer-policy",
        "retry-after",
        "strict-transport-security",
        "sunset",
        "www-authenticate",  # RFC 9110 15.5.2: a 401 must have it
        "x-content-type-options",
        "x-correlation-id",
        "x-frame-options",
        "x-request-id",
    }
)
"""Fields of such an answer that leave, in lower case: they tell of the server or its policy, and not of anybody. A
``Content-Disposition`` may name a file after a person; a ``Location``, a ``Link`` or a cookie may hold an id."""

UNTRUE_FIELDS: Final = frozenset(
    {
        "accept-ranges",
        "content-digest",
        "content-encoding",
        "content-length",
        "content-md5",
        "content-range",
        "content-type",
        "digest",
        "etag",
        "last-modified",
        "repr-digest",
        "signature",
        "signature-input",
        "trailer",
        "transfer-encoding",
        "vary",
    }
)
"""Fields that no route may let leave as the API sent them, in lower case: they tell of other bytes than those that
leave. ``Content-Type``, ``Content-Encoding`` and ``Vary`` are written anew."""


class Reading(msgspec.Struct, frozen=True):
    """How an answer is read, and what of its head leaves."""

    status: int
    headers: Headers
    """With ``Content-Type``, and ``Content-Encoding`` where it is coded again; no length."""
    has_body: bool
    """Whether a body leaves: what is read, or what takes its place."""
    replacement: bytes | None
    """The body that leaves in place of the API's, which is not looked at; coded as the head says, so as it is."""
    decoder: Decoder
    encoder: Encoder


def open_answer(
    inspection: Inspection, head: ResponseHead, method: str, accept_encoding: str, *, options: RedactionOptions
) -> Reading | Reason:
    """Return how an answer is to be read, or why it may not leave.

    Args:
        inspection: what the route's answers may hold.
        head: of the answer.
        method: of the request.
        accept_encoding: of the request, joined.
        options: how answers are looked into.
    """
    status = head.status
    fields = _sort(inspection, head)
    told = fields.told
    if status in _ERRORS:
        return _replace(status, fields.leaving, method)
    if status in _EMPTY:
        return _make_reading(status, fields.leaving, has_body=False)
    if status not in _WITH_BODY or "content-range" in told:
        return Reason.ANSWER_STATUS_UNDECLARED
    if status in _MAYBE_EMPTY and told.get("content-length") == ["0"]:
        return _make_reading(status, fields.leaving, has_body=False)
    if method == "HEAD" and "content-type" not in told:  # RFC 9110 9.3.2: what comes of the content may be left out
        return _make_reading(status, fields.leaving, has_body=False)
    return _open_body(inspection, fields, accept_encoding, options, status=status, has_body=method != "HEAD")


_ERRORS: Final = range(400, 600)
_EMPTY: Final = frozenset({204, 205})
"""RFC 9110 15.3.5 and 15.3.6: without content."""
_MAYBE_EMPTY: Final = frozenset({201, 202})
"""A write that says that it answers nothing; a read that does (200) is not what was asked for."""
_WITH_BODY: Final = frozenset({200, 201, 202, 203})
"""Not those in the 200s that answer with a part (206), with many answers in one (207, 208), or with a difference to
what the caller has (226); nor one that RFC 9110 does not know."""


class _Fields(msgspec.Struct, frozen=True, gc=False):
    """The fields of an answer's head."""

    leaving: Headers
    """Those that leave as they are."""
    told: dict[str, list[str]]
    """The values of those that say what the answer is, by their names in lower case."""


_TELLING: Final = frozenset({"content-type", "content-encoding", "content-length", "content-range", "vary"})


def _sort(inspection: Inspection, head: ResponseHead) -> _Fields:
    passing = ANSWER_FIELDS | (inspection.headers - UNTRUE_FIELDS) if inspection.headers else ANSWER_FIELDS
    leaving: list[tuple[str, str]] = []
    told: dict[str, list[str]] = {}
    for field in head.headers:
        name = field[0].lower()
        if name in passing:
            leaving.append(field)
        elif name in _TELLING:
            told.setdefault(name, []).append(field[1])
    return _Fields(tuple(leaving), told)


def _open_body(
    inspection: Inspection,
    fields: _Fields,
    accept_encoding: str,
    options: RedactionOptions,
    *,
    status: int,
    has_body: bool,
) -> Reading | Reason:
    told = fields.told
    media_type = read_media_type(inspection.media, tuple(told.get("content-type", ())))
    if isinstance(media_type, Reason):
        return media_type
    used = find_coding(tuple(told.get("content-encoding", ())))
    if isinstance(used, Reason):
        return used
    coding = choose_coding(used, accept_encoding)
    headers = [*fields.leaving, ("Content-Type", media_type)]
    if coding != IDENTITY:
        headers.append(("Content-Encoding", coding))
    vary = told.get("vary", [])
    if coding != used or coding != IDENTITY:
        vary = _add_accept_encoding(vary)
    headers += [("Vary", value) for value in vary]
    return Reading(
        status=status,
        headers=tuple(headers),
        has_body=has_body,
        replacement=None,
        decoder=make_decoder(used, options.inspect_max_ratio),
        encoder=make_encoder(coding, flushes=inspection.media is not Media.JSON),
    )


def _replace(status: int, leaving: Headers, method: str) -> Reading:
    """Put a problem document (RFC 9457 4.2.1) in the place of an error's body."""
    headers = (*leaving, ("Content-Type", "application/problem+json"))
    if method == "HEAD":
        return _make_reading(status, headers, has_body=False)
    body = _ENCODE(_Problem("about:blank", _PHRASES.get(status, _NO_PHRASE), status))
    return _make_reading(status, headers, has_body=True, replacement=body)


class _Problem(msgspec.Struct, frozen=True):
    type: str
    title: str
    status: int


_ENCODE: Final = msgspec.json.Encoder().encode
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_NO_PHRASE: Final = "Error"


def _make_reading(status: int, headers: Headers, *, has_body: bool, replacement: bytes | None = None) -> Reading:
    decoder, encoder = make_decoder(IDENTITY, 1), make_encoder(IDENTITY, flushes=False)
    return Reading(status, headers, has_body, replacement, decoder, encoder)


def _add_accept_encoding(vary: list[str]) -> list[str]:
    """Say that the answer hangs on the codings that the caller takes (RFC 9110 12.5.5)."""
    named = {name.strip(" \t").lower() for value in vary for name in value.split(",")}
    return vary if named & {ACCEPT_ENCODING, "*"} else [*vary, "Accept-Encoding"]


_TOKEN: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]++"  # noqa: S105 - RFC 9110 5.6.2
_QUOTED: Final = r'"((?:[^"\\\x00-\x1f\x7f]|\\[ -~])*+)"'
"""RFC 9110 5.6.4."""
_PARAMETER: Final = re.compile(rf"[ \t]*+;[ \t]*+(?:({_TOKEN})=(?:({_TOKEN})|{_QUOTED}))?")
"""RFC 9110 5.6.6 ``parameters``; an empty one may stand between two semicolons."""
_TYPE: Final = re.compile(rf"[ \t]*+({_TOKEN})/({_TOKEN})((?:{_PARAMETER.pattern})*+)[ \t]*+")
"""RFC 9110 8.3.1 ``media-type``."""
_LINES: Final = frozenset({"x-ndjson", "ndjson", "jsonl", "x-jsonlines", "x-jsonl", "jsonlines"})
_MAX_KEPT: Final = 128
"""Types of which it is kept what they are. An API has a few."""
_ERROR_TYPE: Final = "problem+json"
"""RFC 9457: what tells of an error is no answer of the route."""


@lru_cache(maxsize=_MAX_KEPT)
def read_media_type(media: Media, values: tuple[str, ...]) -> str | Reason:
    """Return the type of an answer as it leaves, in lower case and without parameters but its charset.

    Args:
        media: as the route declares it.
        values: of the ``Content-Type`` fields of the answer.
    """
    match = _TYPE.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or not _is_declared(media, match[1].lower(), match[2].lower()):
        return Reason.ANSWER_TYPE_UNDECLARED
    charsets = [plain or quoted for name, plain, quoted in _PARAMETER.findall(match[3]) if name.lower() == "charset"]
    essence = f"{match[1]}/{match[2]}".lower()
    if not charsets:
        return essence
    is_unicode = len(charsets) == 1 and charsets[0].lower() == "utf-8"
    return f"{essence}; charset=utf-8" if is_unicode else Reason.ANSWER_CHARSET_UNSUPPORTED


def _is_declared(media: Media, kind: str, subtype: str) -> bool:
    if media is Media.EVENTS:
        return (kind, subtype) == ("text", "event-stream")
    if kind != "application":
        return False
    if media is Media.LINES:
        return subtype in _LINES
    return subtype == "json" or (subtype.endswith("+json") and subtype not in {_ERROR_TYPE, "+json"})
