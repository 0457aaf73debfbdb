# SPDX-License-Identifier: Apache-2.0
"""The fields of a request in which tokens stand: none that means something else."""

from collections.abc import Iterable

from proxy.caller.issuers import IssuerEntry
from proxy.model.problem import Problem
from proxy.request.headers import can_carry_token


def check_token_places(entries: Iterable[IssuerEntry]) -> list[Problem]:
    """Return the issuers whose tokens would stand in a field that means something else."""
    return [
        Problem((index, "token_place", "header"), f"{entry.token_place.header!r} means something else: name another")
        for index, entry in enumerate(entries)
        if entry.token_place.header is not None and not can_carry_token(entry.token_place.header.lower())
    ]


def find_token_fields(entries: Iterable[IssuerEntry]) -> frozenset[str]:
    """Return the fields in which tokens stand, in lower case."""
    return frozenset(entry.token_place.header.lower() for entry in entries if entry.token_place.header is not None)
