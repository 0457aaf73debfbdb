# SPDX-License-Identifier: Apache-2.0
"""Whose data: the data subject's country and id."""

import msgspec

from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, Fact


class Subject(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One data subject with one country."""

    country: Fact[str] = UNKNOWN
    id: Fact[str] = UNKNOWN
    reference: str = ""
    """Keyed pseudonym of the id, as grants name the subject; empty where there is no id, no key or no grant."""


NO_SUBJECT = Subject(country=NOT_APPLICABLE, id=NOT_APPLICABLE)
"""On a route that carries no personal data."""
