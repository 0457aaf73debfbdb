# SPDX-License-Identifier: Apache-2.0
"""The trace that a request belongs to, as W3C Trace Context has it (Recommendation of 23 November 2021).

We make no spans. Who takes no part in a trace passes both fields on as they came (its processing model calls that
forwarding): a parent of our own making would name a span that nobody can find. What is none by the grammar goes
nowhere: it would have us carry any text of a caller's choice under a name that libraries read before they decide.

- ``traceparent`` stands once, is of version 00 and nothing more, or of a later one and begins like that (3.2.4), and
  neither of its ids is all zeros (3.2.2.3, 3.2.2.4). Else there is no trace, and no ``tracestate`` either (3.3).
- ``tracestate`` may stand in several fields, which are one list (3.3). One that is no such list is dropped alone.
- Stricter than it asks for: a later version is forwarded only where it begins like version 00, and not beyond
  ``MAX_PARENT_CHARACTERS``; a list that names a key twice, or says nothing, is dropped.
"""

import re
from collections.abc import Sequence
from typing import Final

from proxy.model.request import Headers

PARENT: Final = "traceparent"
STATE: Final = "tracestate"
TRACE_FIELDS: Final = frozenset({PARENT, STATE})
MAX_PARENT_CHARACTERS: Final = 256
"""Of a later version, which may add to the 55 of today."""
MAX_MEMBERS: Final = 32
"""Of ``tracestate`` (3.3), empty ones included."""

_IDS: Final = r"-((?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_PARENT: Final = re.compile(rf"(?:00{_IDS}|(?!00|ff)[0-9a-f]{{2}}{_IDS}(?:-[!-~]*)?)")
"""3.2.2.2 for version 00; 3.2.4 for those to come. ``ff`` is none (3.2.2.1)."""
_MEMBER: Final = re.compile(r"([a-z0-9][a-z0-9_*/@-]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
"""3.3, with the keys of Level 2, which those of Level 1 are among."""


def take_trace(fields: Headers) -> tuple[str, Headers]:
    """Return the trace id of a request, empty where it is in no trace, and the fields that go on.

    Args:
        fields: that would go on, in the order received.
    """
    parents = [value for name, value in fields if name.lower() == PARENT]
    states = [value for name, value in fields if name.lower() == STATE]
    trace = _read_parent(parents) if parents else ""
    if not trace:
        return "", tuple([each for each in fields if each[0].lower() not in TRACE_FIELDS])
    if not states or _is_state(states):
        return trace, fields
    return trace, tuple([each for each in fields if each[0].lower() != STATE])


def _read_parent(values: Sequence[str]) -> str:
    """Return the trace id, empty where there is none."""
    if len(values) != 1 or len(values[0]) > MAX_PARENT_CHARACTERS:
        return ""
    match = _PARENT.fullmatch(values[0])
    return match[1] or match[2] if match else ""


def _is_state(values: Sequence[str]) -> bool:
    """Say whether fields are one list of a state, which says something. Members are counted before any is looked at."""
    if sum(value.count(",") + 1 for value in values) > MAX_MEMBERS:
        return False
    members = [member.strip(" \t") for value in values for member in value.split(",")]
    matches = [_MEMBER.fullmatch(member) for member in members if member]
    keys = {match[1] for match in matches if match is not None}
    return 0 < len(keys) == len(matches)
