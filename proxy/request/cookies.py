# SPDX-License-Identifier: Apache-2.0
"""The ``Cookie`` field (RFC 6265 4.2.1), as far as a token stands in one: that one is taken out, the others pass.

Names are compared without the blanks round them, because servers behind us read them so. A cookie of a token's name
that stands twice is refused: readers differ in which of them counts.
"""

from collections.abc import Collection
from typing import Final

from proxy.model.decision import Reason

_BLANK: Final = " \t"


def take_cookies(field: str, names: Collection[str]) -> tuple[dict[str, str], str] | Reason:
    """Return the cookies of these names with their values, and what is left of the field."""
    taken: dict[str, str] = {}
    rest = []
    for pair in field.split(";"):
        name, _, value = pair.partition("=")
        name = name.strip(_BLANK)
        if name not in names:
            rest.append(pair.strip(_BLANK))
        elif name in taken:
            return Reason.AUTHORIZATION_COOKIE_REPEATED
        else:
            taken[name] = value.strip(_BLANK)
    return taken, "; ".join(pair for pair in rest if pair)
