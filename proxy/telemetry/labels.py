# SPDX-License-Identifier: Apache-2.0
"""Every label of a metric: where its values come from, and how many there can be. None comes from a request.

A metric has no more children than ``counting.MAX_CHILDREN`` beside ``other``, whatever the product of these is.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from proxy.model.country import NAMES
from proxy.model.decision import Reason
from proxy.model.facts import State

_STATES: Final = "or `absent`, `unknown`, `not applicable`"


class Label(msgspec.Struct, frozen=True):
    """What stands in a label."""

    values: str
    """Where they come from."""
    bound: str
    """How many there can be."""


_COUNTRY: Final = "ISO 3166-1 codes"
_COUNTRIES: Final = len(NAMES)
_RULES: Final = "as many as the bundle has rules"

LABELS: Final[Mapping[str, Label]] = {
    "api": Label(
        "ids of APIs of the bundle; with upstreams by country `API/CC`; of failures `other` where no route is declared",
        "as many as the bundle has upstreams, and 1",
    ),
    "authority": Label("ids of authorities over client certificates", "as many as the bundle has"),
    "caller_affiliate": Label(
        f"ids of affiliates of the bundle, {_STATES}", f"as many as the bundle has, and {len(State)}"
    ),
    "cause": Label("why a connection to an API failed, an enumeration", "6"),
    "database": Label("use of a geolocation database: `country`, `asn`, `anonymous`", "3"),
    "digest": Label("SHA-256 of a geolocation database in force", "1 for each database"),
    "effect": Label("`allow`, `deny`; of rules `mask` too", "3"),
    "fact": Label(
        "names of attributes of the policy language, and texts that the bundle maps from tokens",
        "the attributes, and those texts",
    ),
    "grant": Label("ids of grants of the bundle", "as many as the bundle has"),
    "how": Label("`told`, `by-itself`, `killed`", "3"),
    "issuer": Label("ids of issuers of the bundle", "as many as the bundle has"),
    "lookup": Label("ids of lookups of the bundle", "as many as the bundle has"),
    "method": Label("the seven methods that pass, or `other`", "8"),
    "metric": Label("names of metrics with labels", "as many as there are"),
    "mode": Label("`enforce`, `shadow`", "2"),
    "origin_country": Label(f"{_COUNTRY}, {_STATES}", f"{_COUNTRIES + len(State)}"),
    "policy_digest": Label("digest of the policy in force", "1"),
    "python": Label("version of Python", "1"),
    "reason": Label("reasons of refusals, an enumeration", f"{len(Reason)}"),
    "registers_digest": Label("digest of the registers in force", "1"),
    "result": Label("what came of an attempt, an enumeration of each metric's own", "6"),
    "route": Label("ids of routes of the bundle, or `other`", "as many as the bundle has"),
    "rule": Label("ids of rules of the bundle, or `default`; of records also a reason", _RULES),
    "shape": Label(
        "path of a request with everything replaced by `*` that is no word of a declared path",
        "what can be put together of these words; the cap holds",
    ),
    "state": Label("`busy`, `idle`", "2"),
    "status": Label("HTTP statuses that refusals have", "20"),
    "subject_country": Label(f"{_COUNTRY}, {_STATES}; of records also `several`", f"{_COUNTRIES + len(State) + 1}"),
    "tied_country": Label(f"{_COUNTRY}, or `unknown`", f"{_COUNTRIES + 1}"),
    "type": Label("what a geolocation database calls itself", "1 for each database"),
    "version": Label("version of Sekisho", "1"),
    "what": Label("`left`, `masked`, `dropped`", "3"),
    "witness": Label("names of witnesses of the deployment", "as many as it has"),
    "would": Label("`allow`, `deny`", "2"),
}
"""By name: a label means the same in every metric."""
