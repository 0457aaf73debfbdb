# SPDX-License-Identifier: Apache-2.0
"""Where something stands in a JSON document: the part of JSONPath (RFC 9535) that can be followed while reading.

``$`` is the document, ``.name`` or ``['any name']`` a member, ``[*]`` or ``.*`` every element of an array or every
member of an object (RFC 9535 2.3.2: the two spellings mean the same). Nothing else: no index, no filter, no descent,
since what those select depends on what stands elsewhere.
"""

import enum
import re
from typing import Final, TypeAlias


class Every(enum.Enum):
    """The wildcard."""

    EVERY = "*"


EVERY: Final = Every.EVERY
Step: TypeAlias = str | Every
JsonPath: TypeAlias = tuple[Step, ...]
"""From the top down; empty for the document itself."""

MAX_STEPS: Final = 32
_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|(\[\*\]|\.\*)|\['([^'\\\x00-\x1f]{1,256})'\]")


def parse_json_path(text: str) -> JsonPath:
    """Return a path; ValueError with a sentence if the text is none of ours."""
    if not text.startswith("$"):
        raise ValueError(f"{text!r} is no JSONPath: it begins with $, such as $.user.name or $.users[*]")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise ValueError(
                f"{text!r} is no JSONPath that can be followed while reading: after {text[:at]!r} stands neither "
                ".name, ['name'] nor [*]"
            )
        steps.append(EVERY if match[2] else match[1] or match[3])
        at = match.end()
    if len(steps) > MAX_STEPS:
        raise ValueError(f"{text!r} has more than {MAX_STEPS} steps")
    return tuple(steps)


def render_json_path(path: JsonPath) -> str:
    """Return the text of a path."""
    parts = []
    for step in path:
        if isinstance(step, Every):
            parts.append("[*]")
        else:
            parts.append(f".{step}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", step) else f"['{step}']")
    return "$" + "".join(parts)
