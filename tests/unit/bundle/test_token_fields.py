# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from proxy.bundle.token_fields import check_token_places, find_token_fields
from proxy.caller.issuers import IssuerEntry

ISSUER: dict[str, Any] = {
    "id": "corp",
    "operated_by": "ly",
    "issuer": "https://idp.example.jp",
    "audience": ["gateway"],
    "jwks": "https://idp.example.jp/jwks.json",
    "algorithms": ["ES256"],
    "may_assert": {"affiliate": "any"},
    "attributes": {"affiliate": "affiliate"},
}


def issuers(*headers: str | None) -> list[IssuerEntry]:
    places = [{} if header is None else {"token_place": {"header": header}} for header in headers]
    return [IssuerEntry.model_validate({**ISSUER, **place}) for place in places]


def test_a_token_stands_in_a_field_that_means_nothing_else() -> None:
    assert check_token_places(issuers(None, "X-Token")) == []


@pytest.mark.parametrize("header", ["Host", "Content-Length", "Sekisho-Purpose", "X-Request-Id", "traceparent"])
def test_a_field_that_means_something_else_is_told_where_it_stands(header: str) -> None:
    (problem,) = check_token_places(issuers(None, header))
    assert problem.path == (1, "token_place", "header")
    assert problem.message == f"{header!r} means something else: name another"


def test_the_fields_of_tokens_are_compared_without_regard_to_case() -> None:
    assert find_token_fields(issuers("X-Token", None, "x-token", "X-Other")) == {"x-token", "x-other"}
