# SPDX-License-Identifier: Apache-2.0
"""How one answer is treated: who names and seals for it, and what it may come to."""

from collections.abc import Callable

import msgspec

from proxy.model.inspection import Member


class Treatment(msgspec.Struct, frozen=True, kw_only=True):
    """What a filter is given for one answer beside what its route declares and who judges."""

    name: Callable[[str, str], str]
    """Returns the pseudonym of a value: of its category and its text."""
    seal: Callable[[Member, str], str] | None
    """Returns a cursor given out anew, of its text; None: cursors go."""
    hides: bool
    """Whether a record could be dropped: then totals go and cursors are sealed. Else both stay as they are."""
    record_bytes: int = 1_048_576
    """The largest record, and the largest value outside of the records."""
    depth: int = 64
    """Containers that may stand in one another."""
    number_chars: int = 128
    """Characters of a number."""
