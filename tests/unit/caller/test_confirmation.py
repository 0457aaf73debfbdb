# SPDX-License-Identifier: Apache-2.0
"""A token that is bound opens only to whom it is bound to; one that is bound to something else, to nobody."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.caller.confirmation import bound_certificate, check_confirmation
from proxy.model.decision import Reason

MINE = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"
"""The example of RFC 8705 3.1."""
OTHER = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"
BOUND = {"cnf": {"x5t#S256": MINE}}
UNSUPPORTED = Reason.TOKEN_CONFIRMATION_UNSUPPORTED

GRID: dict[str, tuple[dict[str, Any], str | None, bool, Reason | None]] = {
    "not bound, no certificate, none asked": ({}, None, False, None),
    "not bound, a certificate, none asked": ({}, MINE, False, None),
    "not bound, none asked for: refused where the issuer promises it": ({}, None, True, Reason.TOKEN_UNBOUND),
    "not bound, a certificate: refused where the issuer promises it": ({}, MINE, True, Reason.TOKEN_UNBOUND),
    "bound, its certificate": (BOUND, MINE, True, None),
    "bound, its certificate, though nobody asked": (BOUND, MINE, False, None),
    "bound, no certificate": (BOUND, None, True, Reason.TOKEN_CERTIFICATE_MISSING),
    "bound, no certificate, though nobody asked": (BOUND, None, False, Reason.TOKEN_CERTIFICATE_MISSING),
    "bound, another certificate": (BOUND, OTHER, True, Reason.TOKEN_CERTIFICATE_OTHER),
    "bound, another certificate, though nobody asked": (BOUND, OTHER, False, Reason.TOKEN_CERTIFICATE_OTHER),
    "bound, an empty thumbprint shown": (BOUND, "", False, Reason.TOKEN_CERTIFICATE_OTHER),
    "bound, its certificate in another letter case": (BOUND, MINE.upper(), False, Reason.TOKEN_CERTIFICATE_OTHER),
    "bound, its certificate with padding": (BOUND, MINE + "=", False, Reason.TOKEN_CERTIFICATE_OTHER),
    "bound to a DPoP key": ({"cnf": {"jkt": MINE}}, MINE, False, UNSUPPORTED),
    "bound to a key written out": ({"cnf": {"jwk": {"kty": "EC"}}}, MINE, False, UNSUPPORTED),
    "bound to a key by its id": ({"cnf": {"kid": "k"}}, MINE, True, UNSUPPORTED),
    "bound to a certificate and a key": ({"cnf": {"x5t#S256": MINE, "jkt": MINE}}, MINE, False, UNSUPPORTED),
    "bound to an SHA-1": ({"cnf": {"x5t": MINE}}, MINE, False, UNSUPPORTED),
    "bound to nothing": ({"cnf": {}}, MINE, False, UNSUPPORTED),
    "bound to null": ({"cnf": None}, MINE, False, UNSUPPORTED),
    "bound to a text": ({"cnf": MINE}, MINE, False, UNSUPPORTED),
    "bound to a list": ({"cnf": [{"x5t#S256": MINE}]}, MINE, False, UNSUPPORTED),
    "bound to an empty thumbprint": ({"cnf": {"x5t#S256": ""}}, "", False, UNSUPPORTED),
    "bound to a null thumbprint": ({"cnf": {"x5t#S256": None}}, None, False, UNSUPPORTED),
    "bound to a list of thumbprints": ({"cnf": {"x5t#S256": [MINE]}}, MINE, False, UNSUPPORTED),
}


@pytest.mark.parametrize(("claims", "shown", "is_required", "reason"), GRID.values(), ids=GRID)
def test_a_token_that_is(claims: dict[str, Any], shown: str | None, is_required: bool, reason: Reason | None) -> None:  # noqa: FBT001
    assert check_confirmation(claims, shown, is_required=is_required) is reason


_VALUES = st.none() | st.booleans() | st.text(max_size=3) | st.just(MINE) | st.lists(st.just(MINE), max_size=1)


@given(_VALUES | st.dictionaries(st.sampled_from(["x5t#S256", "jkt", "x"]), _VALUES, max_size=2), _VALUES)
def test_whatever_it_is_bound_to_opens_to_nobody_else(confirmation: object, shown: object) -> None:
    certificate = shown if isinstance(shown, str) else None
    reason = check_confirmation({"cnf": confirmation}, certificate, is_required=False)
    assert (reason is None) == (certificate is not None and bound_certificate({"cnf": confirmation}) == certificate)
