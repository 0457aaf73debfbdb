# SPDX-License-Identifier: Apache-2.0
r"""The request target: refused unless it reads the same for every server.

Servers repair targets differently: some decode ``%2F`` between segments, some drop ``;x`` parameters, some merge
``//`` or resolve ``..``. A gateway that repairs, too, judges one thing and forwards another. So nothing is
repaired here: what is matched is, byte for byte, what is forwarded.

=====================  ==========================================  ============================================
what is refused        reason                                      why (RFC 3986, RFC 9112)
=====================  ==========================================  ============================================
no leading slash       target-not-origin-form                      9112 3.2: absolute, authority and asterisk
                                                                   forms name another host or none
``#``                  target-has-fragment                         9112 3.2: a target has no fragment
``%`` in the path      target-percent-encoded                      3986 2.3, 6.2.2: one name, many spellings
``//``, ending ``/``   target-empty-segment                        3986 3.3: merged by some, not by others
``.`` and ``..``       target-dot-segment                          3986 5.2.4: removed by some, not by others
``\``, ``;``, space,    target-character                            3986 3.3: outside pchar, or a parameter that
control, non-ASCII                                                 some servers cut off
``?`` alone, ``%00``,   query-character                             3986 3.4: outside query, or cut short by
others, in the query                                               servers written in C
over 8,000 bytes       target-too-long                             9110 4.1 recommends 8,000 octets
=====================  ==========================================  ============================================
"""

import re
from typing import Final

from proxy.model.decision import Reason
from proxy.model.request import Target

MAX_TARGET_LENGTH: Final = 8000
"""RFC 9110 4.1: recommended minimum that all recipients support."""

_SEGMENT: Final = r"[A-Za-z0-9._~!$&'()*+,=:@-]+"
"""RFC 3986 3.3 ``pchar`` without percent-encoding and without ``;``."""
_PATH: Final = re.compile(rf"/(?:{_SEGMENT}(?:/{_SEGMENT})*)?")
_QUERY: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%(?!00)[0-9A-Fa-f]{2})+")
"""RFC 3986 3.4 ``query``, and the square brackets that form encoders leave as they are."""


def parse_target(raw: str) -> Target | Reason:
    """Return the canonical target, or the first reason why it is none."""
    if len(raw) > MAX_TARGET_LENGTH:
        return Reason.TARGET_TOO_LONG
    path, mark, query = raw.partition("?")
    if not _PATH.fullmatch(path) or "#" in query:
        return _why_not_canonical(raw, path)
    segments = tuple(path[1:].split("/")) if len(path) > 1 else ()
    if "/." in path and ("." in segments or ".." in segments):
        return Reason.TARGET_DOT_SEGMENT
    if mark and not _QUERY.fullmatch(query):
        return Reason.QUERY_CHARACTER
    return Target(path, segments, query)


def _why_not_canonical(raw: str, path: str) -> Reason:
    if "#" in raw:
        return Reason.TARGET_HAS_FRAGMENT
    if not path.startswith("/"):
        return Reason.TARGET_NOT_ORIGIN_FORM
    if "%" in path:
        return Reason.TARGET_PERCENT_ENCODED
    if "//" in path or path.endswith("/"):
        return Reason.TARGET_EMPTY_SEGMENT
    return Reason.TARGET_CHARACTER
