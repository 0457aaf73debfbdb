# SPDX-License-Identifier: Apache-2.0
"""The body of a request, read for the subjects in it: as JSON or as a form, in the one way that every reader agrees on.

What passes goes to the API as the bytes that came, so whatever two readers could take differently is refused: repeated
names (RFC 8259 4), NaN and infinities (6), a byte order mark and other encodings than UTF-8 (8.1), half surrogates
(8.2), content codings, and a type that is not the one sought.
"""

import json
import re
from typing import Any, Final

import msgspec

from proxy.model.api import SubjectSource, Where
from proxy.model.decision import Reason
from proxy.model.query import Query, parse_query_text

MAX_DEPTH: Final = 64
"""Arrays and objects one inside another: RFC 8259 9 lets readers set their limits, and theirs differ."""


class Body(msgspec.Struct, frozen=True):
    """A body that was read: a document, or a form."""

    document: Any = None
    """A text for a text and for a whole number, as it is written; ``OTHER_NUMBER`` for any other."""
    form: Query | None = None
    """None where it is a document."""


class OtherNumber:
    """A number with a fraction or an exponent, or minus zero: none that names anybody."""


OTHER_NUMBER: Final = OtherNumber()
_TOKEN: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 - RFC 9110 5.6.2
_PARAMETER: Final = rf'({_TOKEN})=({_TOKEN}|"[^"\\\x00-\x08\x0a-\x1f\x7f]*")'
_MEDIA_TYPE: Final = re.compile(rf"({_TOKEN}/{_TOKEN})((?:[ \t]*;[ \t]*(?:{_PARAMETER})?)*)")
"""RFC 9110 8.3.1 ``media-type``, with no quoted pair in a parameter."""
_EACH_PARAMETER: Final = re.compile(_PARAMETER)
_JSON: Final = re.compile(rf"application/json|{_TOKEN}/{_TOKEN}\+json")
_FORM: Final = "application/x-www-form-urlencoded"


def read_body(
    content_type: str | None, content_encoding: str | None, data: bytes, source: SubjectSource
) -> Body | Reason:
    """Return what a body says, or why it says nothing that is sure.

    Args:
        content_type: the field's value; None where there is none.
        content_encoding: likewise.
        data: all of the body.
        source: what is sought in it.
    """
    if not data:
        return Reason.BODY_MISSING
    if content_encoding is not None and content_encoding.strip().lower() != "identity":
        return Reason.BODY_CODING_UNSUPPORTED
    essence = _find_essence(content_type or "")
    sought = {each.where for each in (source.country, source.id) if each is not None}
    if essence is None or (Where.FORM in sought and essence != _FORM):
        return Reason.BODY_TYPE_UNSUPPORTED
    if Where.JSON in sought and not _JSON.fullmatch(essence):
        return Reason.BODY_TYPE_UNSUPPORTED
    return _read_form(data) if Where.FORM in sought else _read_document(data)


def read_searched(content_type: str | None, content_encoding: str | None, data: bytes) -> frozenset[str] | Reason:
    """Return by what a body searches, the fields of a form or the members of a document, or why that cannot be told.

    Args:
        content_type: the field's value; None where there is none.
        content_encoding: likewise.
        data: all of the body.
    """
    if not data:
        return frozenset()
    if content_encoding is not None and content_encoding.strip().lower() != "identity":
        return Reason.BODY_CODING_UNSUPPORTED
    essence = _find_essence(content_type or "")
    if essence == _FORM:
        body = _read_form(data)
    elif essence is not None and _JSON.fullmatch(essence):
        body = _read_document(data)
    else:
        return Reason.BODY_TYPE_UNSUPPORTED
    if isinstance(body, Reason):
        return body
    if body.form is not None:
        is_plain = all(each.is_plain for each in body.form.parameters)
        return frozenset(each.name for each in body.form.parameters) if is_plain else Reason.BODY_MALFORMED
    return frozenset(body.document) if isinstance(body.document, dict) else Reason.BODY_UNDECLARED


def _find_essence(content_type: str) -> str | None:
    """Return type and subtype in lower case; None of what is no media type, or says another charset than UTF-8."""
    match = _MEDIA_TYPE.fullmatch(content_type.strip(" \t"))
    if match is None:
        return None
    charsets = [value for name, value in _EACH_PARAMETER.findall(match[2]) if name.lower() == "charset"]
    if charsets and [value.strip('"').lower() for value in charsets] != ["utf-8"]:
        return None
    return match[1].lower()


def _read_form(data: bytes) -> Body | Reason:
    try:
        form = parse_query_text(data.decode("ascii"))
    except UnicodeDecodeError:
        return Reason.BODY_MALFORMED
    return Reason.BODY_MALFORMED if form is None else Body(form=form)


def _read_document(data: bytes) -> Body | Reason:
    try:
        text = data.decode("utf-8")
        document = json.loads(
            text,
            object_pairs_hook=_unrepeated,
            parse_constant=_refuse_constant,
            parse_int=_read_integer,
            parse_float=_read_other,
        )
        _check_depth(document)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False, default=str).encode()  # half a surrogate is no text
    except (ValueError, RecursionError):
        return Reason.BODY_MALFORMED
    return Body(document=document)


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _read_integer(text: str) -> str | OtherNumber:
    """Return a whole number as it is written: of any size, and not as a float that is near it."""
    return OTHER_NUMBER if text == "-0" else text


def _read_other(_text: str) -> OtherNumber:
    return OTHER_NUMBER


def _check_depth(document: Any) -> None:
    level = [document]
    for _ in range(MAX_DEPTH + 1):
        held = [each for each in level if isinstance(each, dict | list)]
        if not held:
            return
        level = [below for each in held for below in (each.values() if isinstance(each, dict) else each)]
    raise ValueError(f"more than {MAX_DEPTH} arrays and objects stand one inside another")
