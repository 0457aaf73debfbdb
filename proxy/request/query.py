# SPDX-License-Identifier: Apache-2.0
"""The query of a request's target, on routes that ask for it."""

import re
from collections.abc import Collection
from typing import Final

from proxy.model.decision import Reason
from proxy.model.query import Query, parse_query_text

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def parse_query(raw_query: str) -> Query | Reason:
    """Return the parameters of ``Target.raw_query``, or why servers could read them differently."""
    query = parse_query_text(raw_query)
    if query is None or any(_CONTROL.search(each.name) or _CONTROL.search(each.value) for each in query.parameters):
        return Reason.QUERY_MALFORMED
    return query


def check_searchable(query: Query, allowed: Collection[str]) -> Reason | None:
    """Return why a query may not search where records could be dropped: hidden ones must not be found by probing.

    Args:
        query: of the request.
        allowed: the names of the parameters that may stand there, exactly so written.
    """
    if all(each.name in allowed and each.is_plain for each in query.parameters):
        return None
    return Reason.QUERY_UNDECLARED
