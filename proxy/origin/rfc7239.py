# SPDX-License-Identifier: Apache-2.0
"""The ``Forwarded`` field of RFC 7239, read strictly.

A line is its elements in the order written, or nothing at all: whoever appends to a line that somebody else began
cannot be told from that other once the line's quotes do not match. Section 4 is taken by the letter: no white space but
round commas, no parameter twice in an element, and no element without a parameter, which RFC 9110 5.6.1 would skip and
an author of a chain has no reason to write.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

MAX_ELEMENTS: Final = 64
"""Elements of a chain that are looked at, over all lines; also the most that a line may have."""
MAX_LINE: Final = 8192
"""Characters of a line; RFC 9110 5.4 lets a server set its limit."""

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR: Final = re.compile(
    rf"(?P<name>{_WORD})=(?:(?P<token>{_WORD})|"
    r'"(?P<quoted>(?:[\t !#-\[\]-~\x80-\U0010ffff]|\\[\t -~\x80-\U0010ffff])*+)")'
)
_BETWEEN: Final = re.compile(r"[ \t]*+,[ \t]*+|;")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_NODE: Final = re.compile(
    r"(?P<v4>[0-9.]{7,15})(?::(?P<port4>[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
    r"|\[(?P<v6>(?=[0-9A-Fa-f.]*:)[0-9A-Fa-f:.]{2,45})\](?::(?P<port6>[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
)
_MAX_PORT: Final = 65535


def parse_forwarded(line: str) -> Sequence[Mapping[str, str]] | None:
    """Return a field line's elements, parameter names in lower case and values unquoted; None if it is malformed."""
    text = line.strip(" \t")
    if len(text) > MAX_LINE:
        return None
    elements: list[dict[str, str]] = [{}]
    place = 0
    while True:
        pair = _PAIR.match(text, place)
        if pair is None:
            return None
        name = pair["name"].lower()
        if name in elements[-1]:
            return None
        quoted = pair["quoted"]
        elements[-1][name] = pair["token"] if quoted is None else _ESCAPED.sub(r"\1", quoted)
        place = pair.end()
        if place == len(text):
            return elements
        between = _BETWEEN.match(text, place)
        if between is None or len(elements) > MAX_ELEMENTS:
            return None
        if between.group() != ";":
            elements.append({})
        place = between.end()


def parse_node(text: str) -> str | None:
    """Return the address of a node (section 6), without brackets and port.

    None for ``unknown``, for an obfuscated identifier, and for what is no node; of what is left the caller judges
    whether it is an address.
    """
    node = _NODE.fullmatch(text)
    if node is None:
        return None
    port = node["port4"] or node["port6"] or ""
    if port.isdigit() and int(port) > _MAX_PORT:
        return None
    return str(node["v4"] or node["v6"])
