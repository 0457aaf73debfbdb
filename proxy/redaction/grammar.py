# SPDX-License-Identifier: Apache-2.0
"""JSON as bytes, by the letter of RFC 8259: its tokens, whole or so far.

- A grammar is the same for one document and for documents a line, but for the line feed, which ends the latter.
- Every pattern is possessive: nothing is looked at twice, and no text makes one slow.
- The bytes are known to be UTF-8 (RFC 3629) before they come here.
"""

import json
import re
from typing import Final

from proxy.model.decision import Reason
from proxy.model.filtering import AnswerRefusedError

Buffer = bytes | bytearray

_ESCAPE: Final = rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})'
_PLAIN: Final = rb"[ !#-\[\]-\xff]*+"
"""What may stand unescaped: all but controls, the quotation mark and the reverse solidus. Said by what it is: CPython
goes through a set faster than through its complement."""
_BODY: Final = rb"%b(?:%b%b)*+" % (_PLAIN, _ESCAPE, _PLAIN)
STRING: Final = rb'"%b(?:"|(?:%b%b)++")' % (_PLAIN, _ESCAPE, _PLAIN)
_NUMBER: Final = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+"
_WORDS: Final = (b"true", b"false", b"null")

_IS_NUMBER: Final = re.compile(_NUMBER).fullmatch
_IS_INTEGER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*+)").fullmatch
_NUMBER_SO_FAR: Final = re.compile(rb"-?(?:(?:0|[1-9][0-9]*+)(?:\.[0-9]*+)?+(?:[eE][+-]?[0-9]*+)?+)?+").match
_STRING_SO_FAR: Final = re.compile(_BODY).match
_ESCAPE_SO_FAR: Final = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?+").fullmatch

PUNCTUATION: Final = 1
TEXT: Final = 2
NUMBER: Final = 3
WORD: Final = 4
"""What a token is: the number of its group."""

QUOTE: Final = 0x22
COMMA: Final = 0x2C
COLON: Final = 0x3A
OPEN_ARRAY: Final = 0x5B
CLOSE_ARRAY: Final = 0x5D
OPEN_OBJECT: Final = 0x7B
CLOSE_OBJECT: Final = 0x7D


class Grammar:
    """The tokens of JSON.

    Args:
        space: the characters that may stand between two tokens.
    """

    __slots__ = ("skip", "space", "token")

    def __init__(self, space: bytes) -> None:
        self.space = rb"[%b]*+" % space
        self.skip = re.compile(self.space).match
        """Matches what stands between two tokens; always does."""
        self.token = re.compile(
            rb"%b(?:([{}\[\]:,])|(%b)|(%b)(?=[^-+.0-9eE])|(true|false|null))" % (self.space, STRING, _NUMBER)
        ).match
        """Matches a token that is whole, with the space before it."""


DOCUMENT: Final = Grammar(rb" \t\n\r")
LINE: Final = Grammar(rb" \t\r")


def scalar_pattern(number_chars: int) -> bytes:
    """Return a pattern of any string, ``true``, ``false``, ``null``, and of numbers; of long ones perhaps not.

    Args:
        number_chars: no number with more characters matches.
    """
    digits = max(number_chars // 4 - 2, 1)
    number = rb"-?(?:0|[1-9][0-9]{0,%d}+)(?:\.[0-9]{1,%d}+)?+(?:[eE][+-]?[0-9]{1,%d}+)?+" % (digits, digits, digits)
    escaped = rb'"%b(?:%b%b)++"' % (_PLAIN, _ESCAPE, _PLAIN)  # last: most strings have no escape
    return rb'(?:"%b"|%b|true|false|null|%b)' % (_PLAIN, number, escaped)


def find_string_end(data: Buffer, at: int, stop: int) -> tuple[int, bool]:
    """Return where a string ends, behind its quotation mark, or from where to look on once there is more of it.

    Args:
        data: the text.
        at: somewhere in the string.
        stop: where the text ends by now.

    Returns:
        the place, and whether it is the end.

    Raises:
        AnswerRefusedError: it is no string.
    """
    match = _STRING_SO_FAR(data, at, stop)
    end = match.end() if match else at
    if end < stop and data[end] == QUOTE:
        return end + 1, True
    if end == stop or _ESCAPE_SO_FAR(data, end, stop):
        return end, False
    raise AnswerRefusedError(Reason.ANSWER_MALFORMED)


def find_scalar_end(data: Buffer, at: int, stop: int, number_chars: int, *, is_ended: bool) -> int:
    """Return where a number ends with the text, -1 where a number or a word may go on in what is to come.

    For what ``Grammar.token`` does not match.

    Raises:
        AnswerRefusedError: it is neither.
    """
    so_far = _NUMBER_SO_FAR(data, at, stop)
    end = so_far.end() if so_far else at
    if end - at > number_chars:
        raise AnswerRefusedError(Reason.ANSWER_NUMBER_TOO_LONG)
    if end > at and end == stop:
        return end if is_ended and _IS_NUMBER(data, at, stop) else -1
    if end == at and stop - at < len(b"false"):
        text = bytes(data[at:stop])
        if any(len(text) < len(word) and word.startswith(text) for word in _WORDS):
            return -1
    raise AnswerRefusedError(Reason.ANSWER_MALFORMED)


def read_string(raw: bytes) -> str:
    """Return the text of a string with its quotation marks. Half a surrogate pair stays one (RFC 8259 8.2)."""
    if b"\\" not in raw:
        return raw[1:-1].decode()
    text: str = json.loads(raw)
    return text


def is_integer(raw: bytes) -> bool:
    """Say whether a number has neither fraction nor exponent."""
    return _IS_INTEGER(raw) is not None
