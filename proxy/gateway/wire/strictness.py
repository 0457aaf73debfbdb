# SPDX-License-Identifier: Apache-2.0
"""What is accepted of HTTP/1.1 framing and what is refused: one row each, with an example and the law.

The rows are what the code is held to: a test reads every example. Targets and what fields mean have tables of their
own, in ``request/target`` and ``request/headers``; they are asked once a request stands here.

- A request that is refused is answered with the reason, and the connection is closed (RFC 9112 2.2, 6.3).
- An answer that is refused is replaced by 502, and the connection to the API is closed (RFC 9112 5.2, 6.3).
- A body that is refused ends the request or the answer that it belongs to, and its connection.

What is forwarded is made from what was read, so nothing that is lenient here reaches anybody.
"""

from typing import Final

import msgspec

from proxy.gateway.wire.grammar import MAX_FIELDS, MAX_HEAD_BYTES, MAX_LINE_BYTES
from proxy.model.decision import Reason

_MALFORMED: Final = Reason.REQUEST_MALFORMED
_FIELD: Final = Reason.HEADER_MALFORMED
_CODING: Final = Reason.TRANSFER_CODING_UNSUPPORTED
_VERSION: Final = Reason.VERSION_UNSUPPORTED
_TOO_LARGE: Final = Reason.HEAD_TOO_LARGE
_REFUSED: Final = Reason.UPSTREAM_BROKEN


class Row(msgspec.Struct, frozen=True):
    """One thing that bytes may do."""

    what: str
    example: bytes
    reason: Reason | None
    """Why it is refused; None where it is accepted."""
    law: str
    """RFC and section, and what it says."""


def _line(line: bytes, fields: bytes = b"") -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


def _get(fields: bytes) -> bytes:
    return _line(b"GET / HTTP/1.1", fields)


def _put(fields: bytes) -> bytes:
    return _line(b"PUT / HTTP/1.1", fields)


def _answer(fields: bytes) -> bytes:
    return _line(b"HTTP/1.1 200 OK", fields)


_REQUEST_LINE: Final = "9112 3: request-line = method SP request-target SP HTTP-version"
_BLANKS: Final = "9112 3: recipients MAY parse on whitespace instead; lenient parsing can result in smuggling"
_HTTP_VERSION: Final = '9112 2.3: HTTP-version = "HTTP/" DIGIT "." DIGIT, case-sensitive'

REQUEST_LINES: Final = (
    Row("a request line", _line(b"GET /a?b HTTP/1.1"), None, _REQUEST_LINE),
    Row("HTTP/1.0", _line(b"GET / HTTP/1.0"), None, "9110 2.5: a lower minor version of the same major is spoken"),
    Row("any token as a method", _line(b"M-SEARCH! / HTTP/1.1"), None, "9110 9.1: the passage knows which"),
    Row("a method in lower case is another method", _line(b"get / HTTP/1.1"), None, "9110 9.1: case-sensitive"),
    Row("any word as a target", _line(b"OPTIONS * HTTP/1.1"), None, "9112 3.2: request/target knows which"),
    Row("a method that is no token", _line(b"G(T / HTTP/1.1"), _MALFORMED, "9110 9.1: method = token"),
    Row("a NUL in the method", _line(b"G\0T / HTTP/1.1"), _MALFORMED, "9110 9.1: method = token"),
    Row("two blanks before the target", _line(b"GET  / HTTP/1.1"), _MALFORMED, _BLANKS),
    Row("two blanks before the version", _line(b"GET /  HTTP/1.1"), _MALFORMED, _BLANKS),
    Row("a tab for a blank", _line(b"GET\t/ HTTP/1.1"), _MALFORMED, _BLANKS),
    Row("a vertical tab for a blank", _line(b"GET /\x0bHTTP/1.1"), _MALFORMED, _BLANKS),
    Row("a blank behind the version", _line(b"GET / HTTP/1.1 "), _MALFORMED, _BLANKS),
    Row("a blank before the method", _line(b" GET / HTTP/1.1"), _MALFORMED, _BLANKS),
    Row("a blank in the target", _line(b"GET /a b HTTP/1.1"), _MALFORMED, "9112 3.2: no whitespace in the target"),
    Row("a control in the target", _line(b"GET /\x01 HTTP/1.1"), _MALFORMED, "9112 3: no such byte in any target"),
    Row("a NUL in the target", _line(b"GET /\0 HTTP/1.1"), _MALFORMED, "9112 3: no such byte in any target"),
    Row("no target", _line(b"GET HTTP/1.1"), _VERSION, "9112 3: reads as HTTP/0.9 for a file of that name"),
    Row("a version in lower case", _line(b"GET / http/1.1"), _MALFORMED, _HTTP_VERSION),
    Row("a version of two digits", _line(b"GET / HTTP/1.10"), _MALFORMED, _HTTP_VERSION),
    Row("a version with a zero in front", _line(b"GET / HTTP/01.1"), _MALFORMED, _HTTP_VERSION),
    Row("another protocol", _line(b"GET / RTSP/1.0"), _MALFORMED, _HTTP_VERSION),
    Row("HTTP/0.9, which says no version", _line(b"GET /"), _VERSION, "9112 C.1: obsolete"),
    Row("HTTP/0.9, which says so", _line(b"GET / HTTP/0.9"), _VERSION, "9110 15.6.6: 505"),
    Row("HTTP/1.2, which nobody has defined", _line(b"GET / HTTP/1.2"), _VERSION, "9110 15.6.6: 505"),
    Row("HTTP/2, as its preface begins", b"PRI * HTTP/2.0\r\n\r\n", _VERSION, "9113 3.4; ALPN offers http/1.1 alone"),
    Row("HTTP/3 in a request line", _line(b"GET / HTTP/3.0"), _VERSION, "9110 15.6.6: 505"),
    Row("an empty line in front", b"\r\n" + _get(b""), _MALFORMED, "9112 2.2: SHOULD be ignored; nobody sends it now"),
    Row("an answer", _answer(b""), _MALFORMED, "9112 2.1: a server expects requests alone"),
    Row(
        "a line that is too long",
        _line(b"GET /" + b"a" * MAX_LINE_BYTES + b" HTTP/1.1"),
        Reason.TARGET_TOO_LONG,
        "9112 3: a target longer than any it wishes to parse MUST be answered 414",
    ),
)  # fmt: skip

_BARE_LF: Final = "9112 2.2: a recipient MAY recognize a single LF as a line terminator; we do not"
_BARE_CR: Final = "9112 2.2: of a bare CR the recipient MUST consider the element invalid, or replace it"
_FOLD: Final = "9112 5.2: obs-fold MUST be refused (a request 400, an answer 502), or replaced"
_COLON: Final = "9112 5.1: no whitespace is allowed between name and colon; a server MUST reject it with 400"
_FIELD_NAME: Final = "9110 5.1: field-name = token"
_FIELD_VALUE: Final = "9110 5.5: CR, LF and NUL are invalid and dangerous, other controls invalid"
_LIMIT: Final = "6585 5: 431, when the fields in total or a single one are too large"

FIELD_LINES: Final = (
    Row("no field at all; the passage asks for Host", _get(b""), None, "9112 2.1"),
    Row("a field", _get(b"Host: a\r\n"), None, '9112 5: field-line = field-name ":" OWS field-value OWS'),
    Row("no blank behind the colon", _get(b"Host:a\r\n"), None, "9112 5: OWS"),
    Row("blanks and tabs round a value", _get(b"Host: \t a\t \r\n"), None, "9112 5.1: they are not part of the value"),
    Row("an empty value", _get(b"Accept:\r\n"), None, "9110 5.5: field-value = *field-content"),
    Row("a tab within a value", _get(b"A: b\tc\r\n"), None, "9110 5.5: field-content"),
    Row("a colon within a value", _get(b"A: b:c\r\n"), None, "9110 5.5: VCHAR"),
    Row("every character of a token in a name", _get(b"!#$%&'*+-.^_`|~09azAZ: a\r\n"), None, _FIELD_NAME),
    Row("UTF-8 in a value", _get(b"A: \xe6\x97\xa5\r\n"), None, "9110 5.5: obs-text"),
    Row("a field twice; request/headers knows which may be", _get(b"A: b\r\nA: b\r\n"), None, "9110 5.3"),
    Row("bytes that are no UTF-8 in a value", _get(b"A: \xff\r\n"), _FIELD, "9110 5.5: obs-text"),
    Row("UTF-8 that is longer than need be", _get(b"A: \xc0\xaf\r\n"), _FIELD, "3629 3: MUST be invalid"),
    Row("a NUL in a value", _get(b"A: b\0c\r\n"), _MALFORMED, _FIELD_VALUE),
    Row("a control in a value", _get(b"A: b\x01c\r\n"), _FIELD, _FIELD_VALUE),
    Row("a vertical tab round a value", _get(b"A: \x0bb\r\n"), _FIELD, _FIELD_VALUE),
    Row("a DEL in a value", _get(b"A: b\x7f\r\n"), _FIELD, _FIELD_VALUE),
    Row("a bare LF ends the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", _MALFORMED, _BARE_LF),
    Row("a bare LF ends a field line", _get(b"A: b\nC: d\r\n"), _MALFORMED, _BARE_LF),
    Row("a bare LF ends the last field line", b"GET / HTTP/1.1\r\nA: b\n\r\n", _MALFORMED, _BARE_LF),
    Row("a bare LF is the empty line", b"GET / HTTP/1.1\r\nA: b\r\n\n", _MALFORMED, _BARE_LF),
    Row("a bare CR in the request line", _line(b"GET /\r HTTP/1.1"), _MALFORMED, _BARE_CR),
    Row("a bare CR in a value", _get(b"A: b\rC: d\r\n"), _MALFORMED, _BARE_CR),
    Row("a bare CR in a name", _get(b"A\r: b\r\n"), _MALFORMED, _BARE_CR),
    Row("a bare CR before the end of a line", _get(b"A: b\r\r\n"), _MALFORMED, _BARE_CR),
    Row("a folded line", _get(b"A: b\r\n c\r\n"), _MALFORMED, _FOLD),
    Row("a line folded by a tab", _get(b"A: b\r\n\tc\r\n"), _MALFORMED, _FOLD),
    Row("a folded line that is a field by itself", _get(b"A: b\r\n C: d\r\n"), _MALFORMED, _FOLD),
    Row("a blank before the first field", _get(b" A: b\r\n"), _MALFORMED, "9112 2.2: MUST be rejected, or ignored"),
    Row("a blank before the colon", _get(b"A : b\r\n"), _MALFORMED, _COLON),
    Row("a tab before the colon", _get(b"Content-Length\t: 1\r\n"), _MALFORMED, _COLON),
    Row("a line without a colon", _get(b"A\r\n"), _MALFORMED, '9112 5: field-line = field-name ":" …'),
    Row("a line of blanks", _get(b" \r\n"), _MALFORMED, _FOLD),
    Row("an empty name", _get(b": a\r\n"), _FIELD, _FIELD_NAME),
    Row("a blank within a name", _get(b"A B: c\r\n"), _FIELD, _FIELD_NAME),
    Row("a separator in a name", _get(b"A(: c\r\n"), _FIELD, _FIELD_NAME),
    Row("a letter outside ASCII in a name", _get(b"\xe2\x84\xaaeep-Alive: c\r\n"), _FIELD, _FIELD_NAME),
    Row("as many fields as are read", _get(b"A: b\r\n" * MAX_FIELDS), None, _LIMIT),
    Row("more fields", _get(b"A: b\r\n" * (MAX_FIELDS + 1)), _TOO_LARGE, _LIMIT),
    Row("a field line that is too long", _get(b"A: " + b"b" * MAX_LINE_BYTES + b"\r\n"), _TOO_LARGE, _LIMIT),
    Row("a head that is too long", _get(b"A: %b\r\n" % (b"b" * 900) * (MAX_HEAD_BYTES // 900 + 1)), _TOO_LARGE, _LIMIT),
)  # fmt: skip

_LENGTH: Final = "9110 8.6: Content-Length = 1*DIGIT; 9112 6.3: an invalid one is an unrecoverable error"
_TWO_LENGTHS: Final = "9112 6.3: equal values MAY be taken for one; we do not"
_OVERFLOW: Final = "9110 8.6: MUST anticipate large numerals and prevent overflow"
_ONE_CODING: Final = "9112 6.1: a coding that is not understood SHOULD be answered 501"
_TAB: Final = "9112 5: OWS; but where a tab stands, llhttp reads no chunks"
_BOTH: Final = "9112 6.1, 6.3: might indicate smuggling and ought to be handled as an error"

FRAMING: Final = (
    Row("a length", _put(b"Content-Length: 5\r\n"), None, _LENGTH),
    Row("a length with zeros in front", _put(b"Content-Length: 005\r\n"), None, _LENGTH),
    Row("a length of nothing", _put(b"Content-Length: 0\r\n"), None, _LENGTH),
    Row("the largest length", _put(b"Content-Length: 999999999999999999\r\n"), None, _OVERFLOW),
    Row("a length of too many digits", _put(b"Content-Length: 1000000000000000000\r\n"), _MALFORMED, _OVERFLOW),
    Row("an empty length", _put(b"Content-Length:\r\n"), _MALFORMED, _LENGTH),
    Row("a length with a sign", _put(b"Content-Length: +5\r\n"), _MALFORMED, _LENGTH),
    Row("a length below nothing", _put(b"Content-Length: -5\r\n"), _MALFORMED, _LENGTH),
    Row("a length in hexadecimal", _put(b"Content-Length: 0x5\r\n"), _MALFORMED, _LENGTH),
    Row("a length with an underscore", _put(b"Content-Length: 1_0\r\n"), _MALFORMED, _LENGTH),
    Row("a length with a blank", _put(b"Content-Length: 5 5\r\n"), _MALFORMED, _LENGTH),
    Row("a length with a fraction", _put(b"Content-Length: 5.0\r\n"), _MALFORMED, _LENGTH),
    Row("a length in other digits", _put("Content-Length: \uff15\r\n".encode()), _MALFORMED, _LENGTH),
    Row("a list of lengths", _put(b"Content-Length: 5, 5\r\n"), _MALFORMED, _TWO_LENGTHS),
    Row("two lengths that agree", _put(b"Content-Length: 5\r\ncontent-length: 5\r\n"), _MALFORMED, _TWO_LENGTHS),
    Row("two lengths that do not", _put(b"Content-Length: 5\r\nContent-Length: 6\r\n"), _MALFORMED, _LENGTH),
    Row("a length under an alias, which frames nothing", _put(b"Content_Length: 5\r\n"), None, "9110 5.1"),
    Row("chunks", _put(b"Transfer-Encoding: chunked\r\n"), None, "9112 6.1"),
    Row("chunks in another case", _put(b"TRANSFER-ENCODING: ChunkeD\r\n"), None, "9112 7: case-insensitive"),
    Row("chunks with a tab", _put(b"Transfer-Encoding: chunked\t\r\n"), _CODING, _TAB),
    Row("a length with a tab", _put(b"Content-Length:\t5\r\n"), _MALFORMED, _TAB),
    Row("chunks with a Kelvin sign", _put("Transfer-Encoding: chun\u212aed\r\n".encode()), _CODING, _ONE_CODING),
    Row("chunks with a control", _put(b"Transfer-Encoding: \x0bchunked\r\n"), _FIELD, _FIELD_VALUE),
    Row("chunks in quotes", _put(b'Transfer-Encoding: "chunked"\r\n'), _CODING, _ONE_CODING),
    Row("chunks with a parameter", _put(b"Transfer-Encoding: chunked;q=1\r\n"), _CODING, _ONE_CODING),
    Row("another coding", _put(b"Transfer-Encoding: gzip\r\n"), _CODING, _ONE_CODING),
    Row("another coding under chunks", _put(b"Transfer-Encoding: gzip, chunked\r\n"), _CODING, _ONE_CODING),
    Row("chunks under another coding", _put(b"Transfer-Encoding: chunked, identity\r\n"), _CODING, _ONE_CODING),
    Row("an empty coding", _put(b"Transfer-Encoding:\r\n"), _CODING, _ONE_CODING),
    Row("chunks twice", _put(b"Transfer-Encoding: chunked\r\n" * 2), _MALFORMED, "9112 6.1: MUST NOT be applied twice"),
    Row("chunks twice in a list", _put(b"Transfer-Encoding: chunked, chunked\r\n"), _CODING, _ONE_CODING),
    Row("chunks and a length", _put(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), _MALFORMED, _BOTH),
    Row("a length and chunks", _put(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), _MALFORMED, _BOTH),
    Row(
        "chunks in HTTP/1.0",
        _line(b"PUT / HTTP/1.0", b"Transfer-Encoding: chunked\r\n"),
        _MALFORMED,
        "9112 6.1: MUST be treated as if the framing is faulty",
    ),
    Row("a body of a GET", _get(b"Content-Length: 5\r\n"), None, "9110 9.3.1: it has no semantics, but a frame"),
    Row(
        "h2c, which no route declares",
        _get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"),
        None,
        "9113 3.1: obsolete; refused as upgrade-unsupported by whoever asks the route",
    ),
)  # fmt: skip

_STATUS_LINE: Final = "9112 4: status-line = HTTP-version SP status-code SP [ reason-phrase ]"
_STATUS: Final = "9110 15: 100 to 599"
_NO_TRANSFER: Final = "9112 6.1: MUST NOT be sent with 1xx or 204; the connection is not used again"

ANSWERS: Final = (
    Row("an answer", _answer(b"Content-Length: 5\r\n"), None, _STATUS_LINE),
    Row("HTTP/1.0", _line(b"HTTP/1.0 200 OK"), None, "9110 2.5"),
    Row("an empty phrase", _line(b"HTTP/1.1 200 "), None, _STATUS_LINE),
    Row("no phrase and no blank before it", _line(b"HTTP/1.1 200"), None, "9112 4: left out by well-known servers"),
    Row("a phrase in any bytes", _line(b"HTTP/1.1 200 \xff\t!"), None, "9112 4: obs-text; it is not passed on"),
    Row("a status that nobody has defined", _line(b"HTTP/1.1 599 x"), None, _STATUS),
    Row("bytes that are no UTF-8 in a value", _answer(b"A: \xff\r\n"), None, "9110 5.5: the field is not passed on"),
    Row("no framing: until the connection ends", _answer(b""), None, "9112 6.3: the last rule"),
    Row("204 that has a length", _line(b"HTTP/1.1 204 x", b"Content-Length: 5\r\n"), None, _NO_TRANSFER),
    Row("204 that has chunks", _line(b"HTTP/1.1 204 x", b"Transfer-Encoding: chunked\r\n"), None, _NO_TRANSFER),
    Row("a status below 100", _line(b"HTTP/1.1 099 x"), _REFUSED, _STATUS),
    Row("a status above 599", _line(b"HTTP/1.1 600 x"), _REFUSED, "9110 15: SHOULD be treated as 5xx"),
    Row("a status of four digits", _line(b"HTTP/1.1 2000 x"), _REFUSED, _STATUS_LINE),
    Row("a status that is no number", _line(b"HTTP/1.1 2x0 x"), _REFUSED, _STATUS_LINE),
    Row("two blanks", _line(b"HTTP/1.1  200 OK"), _REFUSED, _STATUS_LINE),
    Row("a tab for a blank", _line(b"HTTP/1.1\t200 OK"), _REFUSED, _STATUS_LINE),
    Row("a NUL in the phrase", _line(b"HTTP/1.1 200 O\0K"), _REFUSED, _STATUS_LINE),
    Row("a bare CR in the phrase", _line(b"HTTP/1.1 200 O\rK"), _REFUSED, _BARE_CR),
    Row("a bare LF behind the phrase", b"HTTP/1.1 200 OK\nA: b\r\n\r\n", _REFUSED, _BARE_LF),
    Row("HTTP/2", _line(b"HTTP/2 200"), _REFUSED, _HTTP_VERSION),
    Row("HTTP/1.2", _line(b"HTTP/1.2 200 OK"), _REFUSED, _HTTP_VERSION),
    Row("another protocol", _line(b"ICY 200 OK"), _REFUSED, _HTTP_VERSION),
    Row("a blank before the colon", _answer(b"A : b\r\n"), _REFUSED, "9112 5.1: a proxy MUST remove it; we refuse it"),
    Row("a folded line", _answer(b"A: b\r\n c\r\n"), _REFUSED, _FOLD),
    Row("a bare LF", _answer(b"A: b\nC: d\r\n"), _REFUSED, _BARE_LF),
    Row("a control in a value", _answer(b"A: \x01\r\n"), _REFUSED, _FIELD_VALUE),
    Row("two lengths that agree", _answer(b"Content-Length: 5\r\n" * 2), _REFUSED, _TWO_LENGTHS),
    Row("a length with a sign", _answer(b"Content-Length: +5\r\n"), _REFUSED, _LENGTH),
    Row("another coding", _answer(b"Transfer-Encoding: gzip, chunked\r\n"), _REFUSED, "9112 6.1: not asked for"),
    Row("chunks with a tab", _answer(b"Transfer-Encoding: chunked\t\r\n"), _REFUSED, _TAB),
    Row("chunks and a length", _answer(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), _REFUSED, _BOTH),
    Row(
        "chunks in HTTP/1.0",
        _line(b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked\r\n"),
        _REFUSED,
        "9112 6.1: MUST be treated as if the framing is faulty",
    ),
    Row("more fields", _answer(b"A: b\r\n" * (MAX_FIELDS + 1)), _REFUSED, _LIMIT),
)  # fmt: skip

_CHUNK: Final = "9112 7.1: chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF; chunk-size = 1*HEXDIG"
_CHUNK_OVERFLOW: Final = "9112 7.1: MUST anticipate large numerals and prevent overflow"
_EXTENSION: Final = '9112 7.1.1: ";" name [ "=" value ], both tokens; blanks and quotes are allowed, nobody sends them'
_BOUND: Final = "9112 7.1.1: a server ought to limit the total length of chunk extensions"
_TRAILER: Final = "9112 7.1.2: read as field lines, and MAY be discarded"

CHUNKS: Final = (
    Row("chunks", b"5\r\nhello\r\n0\r\n\r\n", None, _CHUNK),
    Row("digits in both cases", b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", None, _CHUNK),
    Row("zeros in front, sixteen digits in all", b"0000000000000005\r\nhello\r\n000\r\n\r\n", None, _CHUNK),
    Row("an extension", b"5;a=b;c\r\nhello\r\n0;d\r\n\r\n", None, "9112 7.1.1: MUST ignore unrecognized extensions"),
    Row("trailers", b"5\r\nhello\r\n0\r\nA: b\r\n\r\n", None, _TRAILER),
    Row("no size", b"\r\nhello\r\n", _MALFORMED, _CHUNK),
    Row("a size with a sign", b"+5\r\nhello\r\n", _MALFORMED, _CHUNK),
    Row("a size below nothing", b"-5\r\nhello\r\n", _MALFORMED, _CHUNK),
    Row("a size with a prefix", b"0x5\r\nhello\r\n", _MALFORMED, _CHUNK),
    Row("a size with an underscore", b"0_5\r\nhello\r\n", _MALFORMED, _CHUNK),
    Row("a blank before the size", b" 5\r\nhello\r\n", _MALFORMED, _CHUNK),
    Row("a blank behind the size", b"5 \r\nhello\r\n", _MALFORMED, "9112 7.1.1: BWS, read by some, by others not"),
    Row("seventeen digits", b"00000000000000005\r\nhello\r\n", _MALFORMED, _CHUNK_OVERFLOW),
    Row("a size beyond 64 bits' half", b"ffffffffffffffff\r\n", _MALFORMED, _CHUNK_OVERFLOW),
    Row("a bare LF behind the size", b"5\nhello\r\n0\r\n\r\n", _MALFORMED, _BARE_LF),
    Row("a bare CR behind the size", b"5\rhello\r\n0\r\n\r\n", _MALFORMED, _BARE_CR),
    Row("a bare LF behind a chunk", b"5\r\nhello\n0\r\n\r\n", _MALFORMED, _BARE_LF),
    Row("a chunk longer than its size", b"5\r\nhello!\r\n0\r\n\r\n", _MALFORMED, _CHUNK),
    Row("nothing behind a chunk", b"5\r\nhello0\r\n\r\n", _MALFORMED, _CHUNK),
    Row("an extension without a name", b"5;\r\nhello\r\n", _MALFORMED, _EXTENSION),
    Row("an extension with a blank", b"5; a\r\nhello\r\n", _MALFORMED, _EXTENSION),
    Row("an extension in quotes", b'5;a="b"\r\nhello\r\n', _MALFORMED, _EXTENSION),
    Row("an extension with a bare LF", b"5;a\nb\r\nhello\r\n", _MALFORMED, _BARE_LF),
    Row("a long extension", b"5;" + b"a" * 300 + b"\r\nhello\r\n", _MALFORMED, _BOUND),
    Row("many extensions", (b"1;" + b"a" * 200 + b"\r\nx\r\n") * 100, _MALFORMED, _BOUND),
    Row("a bare LF ends the trailers", b"0\r\n\n", _MALFORMED, _BARE_LF),
    Row("a folded trailer", b"0\r\nA: b\r\n c\r\n\r\n", _MALFORMED, _FOLD),
    Row("a trailer without a colon", b"0\r\nA\r\n\r\n", _MALFORMED, _TRAILER),
    Row("long trailers", b"0\r\n" + b"A: b\r\n" * 2000, _MALFORMED, _LIMIT),
)  # fmt: skip
"""Of bodies both ways: the reason is that of a request; of an answer it is ``upstream-broken``."""
