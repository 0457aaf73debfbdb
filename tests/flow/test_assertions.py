# SPDX-License-Identifier: Apache-2.0
"""An API is told what was decided, signed; nobody else can tell it, and nothing goes out unsigned."""

from typing import Any

import msgspec
import pytest

from proxy.assertion.assertions import Assertions
from proxy.assertion.keys import AssertionKeys
from proxy.bundle.snapshot import Snapshot
from proxy.model.api import AssertionMode
from proxy.model.decision import Reason
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.steps import Forward, Refuse
from proxy.request.catalog import Catalog
from tests.support.assertions import KEY, KEYS, read_assertion
from tests.support.passages import (
    NOW,
    REQUEST_ID,
    a_checkpoint,
    a_head,
    a_passage,
    a_token,
    read_lines,
    reference_bundle,
)
from tests.support.world import ENGINEER


def declaring(mode: AssertionMode | None, **changes: Any) -> Snapshot:
    """Return the reference bundle with this mode declared by its only API."""
    snapshot = reference_bundle()
    (api,) = snapshot.catalog.apis
    told = msgspec.structs.replace(api, assertion=mode)
    routes = [msgspec.structs.replace(route, api=told) for route in snapshot.catalog.routes]
    catalog = Catalog([told], routes, {(told.id, route.id): {} for route in routes})
    return msgspec.structs.replace(snapshot, catalog=catalog, **changes)


def signing(mode: AssertionMode | None = None, keys: AssertionKeys = KEYS, **changes: Any) -> Checkpoint:
    snapshot = declaring(mode, **changes)
    return a_checkpoint(snapshot, Assertions(keys, "sekisho", snapshot.digest))


def forwarded(checkpoint: Checkpoint, *parts: Any, **more: Any) -> list[tuple[str, str]]:
    step = a_passage(checkpoint).begin(a_head(*parts, **more))
    assert isinstance(step, Forward)
    return list(read_lines(step.fields))


def assertions_in(fields: list[tuple[str, str]]) -> list[str]:
    return [value for name, value in fields if name.lower().replace("_", "-") == "sekisho-assertion"]


def test_an_api_that_declares_nothing_is_told_who_calls() -> None:
    (token,) = assertions_in(forwarded(signing()))
    claims = read_assertion(token, now=NOW)
    assert claims["sub"].startswith("corp|")
    assert claims["affiliate"] == "ly"
    assert claims["affiliate_country"] == "JP"
    assert (claims["effect"], claims["bundle"]) == ("allow", declaring(None).digest)
    assert "decision" not in claims


def test_an_api_that_declares_it_is_told_of_this_request() -> None:
    (token,) = assertions_in(forwarded(signing(AssertionMode.REQUEST)))
    claims = read_assertion(token, now=NOW)
    assert (claims["decision"], claims["htm"]) == (REQUEST_ID, "GET")


def test_an_api_that_wants_none_and_a_deployment_without_a_key_have_no_field() -> None:
    assert assertions_in(forwarded(signing(AssertionMode.OFF))) == []
    assert assertions_in(forwarded(a_checkpoint())) == []


ALIASES = ("Sekisho-Assertion", "sekisho-assertion", "SEKISHO_ASSERTION", "Sekisho_Assertion", "sekisho.assertion")


@pytest.mark.parametrize("mode", [None, AssertionMode.OFF])
@pytest.mark.parametrize("name", ALIASES)
def test_what_a_caller_writes_there_never_arrives(name: str, mode: AssertionMode | None) -> None:
    fields = forwarded(signing(mode), "/v1/jp/users/42", (name, "forged"))
    assert "forged" not in {value for _, value in fields}
    assert len(assertions_in(fields)) == (0 if mode else 1)


def test_a_caller_cannot_have_it_dropped_as_a_field_of_one_hop() -> None:
    step = a_passage(signing()).begin(a_head("/v1/jp/users/42", ("Connection", "close, Sekisho-Assertion")))
    assert isinstance(step, Refuse)
    assert step.outcome.reason is Reason.CONNECTION_NAMES_PROTECTED


class Broken(AssertionKeys):
    """A ring that cannot sign."""

    def at(self, now: float) -> Any:
        raise OSError("no key today")


@pytest.mark.parametrize("mode", [None, AssertionMode.CALLER, AssertionMode.REQUEST])
@pytest.mark.parametrize("observing", [False, True], ids=["enforced", "observed"])
@pytest.mark.parametrize("is_denied", [False, True], ids=["allowed", "denied"])
def test_what_cannot_be_signed_does_not_go_out(mode: AssertionMode | None, *, observing: bool, is_denied: bool) -> None:
    until = {"observe_until": NOW + 60} if observing else {}
    passage = a_passage(signing(mode, Broken([KEY]), **until))
    step = passage.begin(a_head(token=a_token(ENGINEER if is_denied else None)))
    assert isinstance(step, Refuse)
    assert not passage.is_under_way
    if is_denied and not observing:
        assert step.outcome.reason is Reason.RULE_DENIES
    else:
        assert (step.outcome.status, step.outcome.reason) == (503, Reason.DECISION_FAILED)
        assert step.outcome.enforced
        assert isinstance(step.error, OSError)
    assert len(step.lines) == 1


def test_what_observe_mode_lets_pass_is_told_as_the_refusal_that_it_is() -> None:
    checkpoint = signing(observe_until=NOW + 60)
    (allowed,) = assertions_in(forwarded(checkpoint))
    (denied,) = assertions_in(forwarded(checkpoint, token=a_token(ENGINEER)))
    (nobody,) = assertions_in(forwarded(checkpoint, token=None))
    told = [read_assertion(token, now=NOW) for token in (allowed, denied, nobody)]
    assert [claims["effect"] for claims in told] == ["allow", "deny", "deny"]
    assert told[1]["affiliate"] == "shanghai-digital"
    assert "sub" not in told[2]


def test_none_outlives_its_token() -> None:
    (token,) = assertions_in(forwarded(signing(), token=a_token(exp=int(NOW) + 5)))
    leeway = 30
    assert read_assertion(token, now=NOW)["exp"] <= int(NOW) + 5 + leeway


def test_nothing_of_it_is_recorded() -> None:
    passage = a_passage(signing())
    step = passage.begin(a_head("/v1/jp/users/42", method="GET"))
    assert isinstance(step, Forward)
    (token,) = assertions_in(list(read_lines(step.fields)))
    lines = passage.fail(Reason.UPSTREAM_TIMEOUT).lines
    assert lines
    assert token.split(".")[2] not in repr(lines)
